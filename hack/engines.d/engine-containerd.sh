# How containerd is started here, with its runc shim (v2) by `ctr` and, for the engine `cri`, its CRI plugin.
private=$STATE/private
run=(--runc-binary "$RUNTIME")
cli=(ctr)
[ "$DRIVER" = cgroupfs ] || cli=(ctr_by_systemd)
# ctr has no name for the scope by itself.
ctr_by_systemd() {
	[ "$1" = run ] || { ctr "$@"; return; }
	shift
	ctr run --runc-systemd-cgroup --cgroup "system.slice:tested:${c:-x}-$BASHPID" "$@"
}
socket=/run/containerd/containerd.sock

start_engine() {
	local try
	mkdir -p /etc/containerd /etc/cni/net.d
	cat >/etc/cni/net.d/10-tested.conf <<-'CNI'
	{"cniVersion": "0.4.0", "name": "tested", "type": "bridge", "bridge": "cni0", "isGateway": true,
	 "ipam": {"type": "host-local", "subnet": "10.99.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}}
	CNI
	cat >/etc/containerd/config.toml <<-CONFIG
	version = 2
	[plugins."io.containerd.grpc.v1.cri"]
	  sandbox_image = "localhost/pause:1"
	  restrict_oom_score_adj = true
	  [plugins."io.containerd.grpc.v1.cri".cni]
	    bin_dir = "/usr/lib/cni"
	  [plugins."io.containerd.grpc.v1.cri".containerd]
	    default_runtime_name = "tested"
	    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested]
	      runtime_type = "io.containerd.runc.v2"
	      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested.options]
	        BinaryName = "$RUNTIME"
	        SystemdCgroup = $([ "$DRIVER" = systemd ] && echo true || echo false)
	CONFIG
	setsid containerd >"$LOGS/containerd" 2>&1 </dev/null 9>&- &
	disown $!
	for try in $(seq $((300 * SLOW))); do
		! ctr version >/dev/null 2>&1 || break
		kill -0 $! || return 1
		sleep 0.1
	done
	ctr images import "$STATE/image.tar"
	ctr -n k8s.io images import "$STATE/image.tar"
}

versions() {
	containerd --version | sed 's/.* \([0-9][^ ]*\) .*/containerd \1/'
	"$RUNTIME" --version | head -n 1
}

# containerd's library reads no counters while the kernel has a v1 hierarchy that is not mounted here.
hierarchies_are_mounted() {
	local line
	while IFS=: read -r _ line _; do
		[ -z "$line" ] || grep -q -E "[ ,]${line%%,*}(,|$)" /proc/self/mountinfo || skip "a hierarchy for $line is mounted elsewhere"
	done </proc/self/cgroup
}

clean_up() {
	local id
	for id in $(ctr tasks ls -q); do timeout 20 ctr tasks kill -s KILL -a "$id" || true; done
	for id in $(ctr tasks ls -q); do timeout 20 ctr tasks rm -f "$id" || true; done
	for id in $(ctr containers ls -q); do ctr containers rm "$id"; done
}
