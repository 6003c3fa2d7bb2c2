# Pods, as Kubernetes makes them.

# pod [MORE]: a pod in the test's name; MORE is text in its `linux` part.
pod() {
	local name='hostname: "box"'
	pod_parent=/kubepods/pod-$c
	[ "$DRIVER" = cgroupfs ] || pod_parent=/kubepods.slice/kubepods-pod_${c//-/_}.slice
	case ${1:-} in *network:\ 2*) name= ;; esac
	mkdir -p "$work/logs"
	pod_config="metadata { name: \"$c\" uid: \"uid-$c\" namespace: \"tested\" } $name log_directory: \"$work/logs\"
		linux { cgroup_parent: \"$pod_parent\" ${1:-} }"
	pod=$(echo "config { $pod_config } runtime_handler: \"tested\"" | cri RunPodSandbox RunPodSandboxRequest Id | value id)
}

# made NAME LINE [MORE]: a container of the pod that runs a line of shell; MORE is text in its config.
made() {
	local line=${2//\\/\\\\}
	echo "pod_sandbox_id: \"$pod\" sandbox_config { $pod_config } config { metadata { name: \"$1\" } image { image: \"$IMAGE\" }
		command: \"sh\" args: \"-c\" args: \"${line//\"/\\\"}\" log_path: \"$1\" ${3:-} }" |
		cri CreateContainer CreateContainerRequest Id | value id
}

started() {
	local id
	id=$(made "$@")
	echo "id: \"$id\"" | cri StartContainer Id Empty
	echo "$id"
}

state() { echo "id: \"$1\"" | cri ContainerStatus Id ContainerStatusResponse; }
# 0 is created (and not printed), 1 running, 2 exited.
exited() { [ "$(state "$1" | value state)" = 2 ]; }
log() { sed 's/^[^ ]* [a-z]* [A-Z] //' "$work/logs/$1"; }

in_it() {
	local id=$1 word cmd=
	shift
	for word; do cmd="$cmd cmd: \"${word//\"/\\\"}\""; done
	echo "container_id: \"$id\" $cmd timeout: 20" | cri ExecSync ExecSyncRequest ExecSyncResponse
}

# short
check_cri_is_ready() {
	has "$(cri Version Empty VersionResponse </dev/null)" 'containerd'
	is "$(cri Status Empty StatusResponse </dev/null | grep -c 'status: true')" 2
}

# short
check_cri_pod_and_container() {
	local id
	pod
	is "$(echo "id: \"$pod\"" | cri PodSandboxStatus Id PodSandboxStatusResponse | value runtime_handler)" tested
	id=$(started main 'echo out; hostname; exit 3')
	eventually exited "$id"
	is "$(state "$id" | value exit_code)" 3
	is "$(state "$id" | value reason)" Error
	is "$(log main | xargs)" "out box"
	echo "id: \"$id\"" | cri RemoveContainer Id Empty
}

check_cri_program_not_found() {
	local id
	pod
	id=$(made main true)
	id=$(echo "pod_sandbox_id: \"$pod\" sandbox_config { $pod_config } config { metadata { name: \"none\" } image { image: \"$IMAGE\" }
		command: \"no-such-program\" log_path: \"none\" }" | cri CreateContainer CreateContainerRequest Id | value id)
	has "$(echo "id: \"$id\"" | ends 1 cri StartContainer Id Empty)" 'executable file not found in $PATH'
	state "$id" | grep -E 'state|exit_code|reason' | tee -a "$seen"
	is "$(state "$id" | value exit_code)" 128
	is "$(state "$id" | value reason)" StartError
}

# short
check_cri_exec() {
	local id found
	pod
	id=$(started main 'sleep 1000')
	found=$(in_it "$id" sh -c 'echo out; echo err >&2; exit 9')
	is "$(echo "$found" | value exit_code)" 9
	has "$found" 'stdout: "out\n"'
	has "$found" 'stderr: "err\n"'
	has "$(ends 1 in_it "$id" no-such-program)" 'executable file not found in $PATH'
}

check_cri_exec_time_limit() {
	local id
	pod
	id=$(started main 'sleep 1000')
	echo "container_id: \"$id\" cmd: \"sleep\" cmd: \"100\" timeout: 1" | cri ExecSync ExecSyncRequest ExecSyncResponse && return 1
	has "$(in_it "$id" ps)" 'sleep 1000'
	hasnt "$(in_it "$id" ps)" 'sleep 100\n'
}

check_cri_stop_is_graceful() {
	local id
	pod
	id=$(started main 'trap "exit 5" TERM; echo ready; while :; do sleep 0.1; done')
	eventually grep -q ready "$work/logs/main"
	echo "container_id: \"$id\" timeout: 10" | cri StopContainer StopContainerRequest Empty
	is "$(state "$id" | value exit_code)" 5
}

check_cri_stop_kills() {
	local id
	pod
	id=$(started main 'trap "" TERM; echo ready; while :; do sleep 0.1; done')
	eventually grep -q ready "$work/logs/main"
	echo "container_id: \"$id\" timeout: 1" | cri StopContainer StopContainerRequest Empty
	is "$(state "$id" | value exit_code)" 137
}

# short
check_cri_limits_and_update() {
	local id path
	pod
	id=$(started main 'sleep 1000' 'linux { resources { memory_limit_in_bytes: 67108864 cpu_shares: 256 cpu_quota: 50000 cpu_period: 100000 } }')
	if is_v2; then
		path=/sys/fs/cgroup$pod_parent/$id
		[ "$DRIVER" = cgroupfs ] || path=/sys/fs/cgroup$pod_parent/cri-containerd-$id.scope
		is "$(cat "$path/memory.max" "$path/cpu.max" "$path/cpu.weight" | xargs)" "67108864 50000 100000 10"
		echo "container_id: \"$id\" linux { memory_limit_in_bytes: 134217728 cpu_shares: 512 }" | cri UpdateContainerResources UpdateContainerResourcesRequest Empty
		is "$(cat "$path/memory.max" "$path/cpu.weight" | xargs)" "134217728 20"
		return
	fi
	path=/sys/fs/cgroup/memory/kubepods/pod-$c/$id
	is "$(cat "$path/memory.limit_in_bytes")" 67108864
	echo "container_id: \"$id\" linux { memory_limit_in_bytes: 134217728 cpu_shares: 512 }" | cri UpdateContainerResources UpdateContainerResourcesRequest Empty
	is "$(cat "$path/memory.limit_in_bytes")" 134217728
	is "$(cat "${path/memory/cpu}/cpu.shares")" 512
}

check_cri_out_of_memory() {
	local id
	hierarchies_are_mounted
	pod
	id=$(started main 'exec awk "BEGIN { x = 16; while (1) x = x x }"' 'linux { resources { memory_limit_in_bytes: 16777216 } }')
	eventually exited "$id"
	is "$(state "$id" | value reason)" OOMKilled
	is "$(state "$id" | value exit_code)" 137
}

check_cri_stats() {
	local id
	hierarchies_are_mounted
	pod
	id=$(started main 'sleep 1000')
	echo "id: \"$id\"" | cri ContainerStats Id ContainerStatsResponse >"$work/stats"
	grep -q working_set_bytes "$work/stats"
	grep -q usage_core_nano_seconds "$work/stats"
}

# short
check_cri_security_context() {
	local id
	pod
	id=$(started main 'id -u; id -g; id -G; grep -E "Cap(Eff|Bnd)|NoNew|Seccomp:" /proc/self/status; touch /x 2>/dev/null || echo read-only' 'linux { security_context { run_as_user { value: 1000 }
		run_as_group { value: 1000 } supplemental_groups: 77 readonly_rootfs: true no_new_privs: true
		capabilities { drop_capabilities: "ALL" } seccomp { profile_type: 0 } } }')
	eventually exited "$id"
	log main | tee -a "$seen"
	has "$(log main | xargs)" "1000 1000 1000 77"
	is "$(log main | field Seccomp)" 2
	is "$(log main | field NoNewPrivs)" 1
	is "$(log main | field CapBnd)" 0000000000000000
	has "$(log main)" read-only
}

check_cri_two_containers_share_the_pod() {
	local one two
	pod 'security_context { namespace_options { pid: 0 } }'
	one=$(started one 'echo x >/dev/shm/x; httpd -p 8080 -h /data; sleep 1000' 'linux { security_context { namespace_options { pid: 0 } } }')
	two=$(started two 'sleep 1000' 'linux { security_context { namespace_options { pid: 0 } } }')
	eventually prints x in_it "$two" cat /dev/shm/x
	eventually prints seed in_it "$two" wget -q -O - http://127.0.0.1:8080/seed
	has "$(in_it "$two" ps)" 'httpd'
	has "$(in_it "$one" hostname)" box
}

check_cri_container_with_own_pid_namespace() {
	local id
	pod 'security_context { namespace_options { pid: 1 } }'
	id=$(started main 'echo pid $$; sleep 1000' 'linux { security_context { namespace_options { pid: 1 } } }')
	eventually grep -q 'pid 1$' "$work/logs/main"
}

check_cri_host_namespaces() {
	local id
	pod 'security_context { namespace_options { network: 2 pid: 2 ipc: 2 } }'
	id=$(started main 'for name in net pid ipc; do readlink /proc/self/ns/$name; done' \
		'linux { security_context { namespace_options { network: 2 pid: 2 ipc: 2 } } }')
	eventually exited "$id"
	is "$(log main | xargs)" "$(for name in net pid ipc; do readlink "/proc/self/ns/$name"; done | xargs)"
}

check_cri_volumes() {
	local id
	mkdir "$work/dir"
	echo x >"$work/dir/file"
	pod
	id=$(started main 'cat /mnt/file; touch /mnt/y || echo refused; touch /rw/z' \
		"mounts { container_path: \"/mnt\" host_path: \"$work/dir\" readonly: true } mounts { container_path: \"/rw\" host_path: \"$work/dir\" }")
	eventually exited "$id"
	has "$(log main)" refused
	[ -e "$work/dir/z" ] && [ ! -e "$work/dir/y" ]
}

check_cri_sysctls() {
	local id
	pod 'sysctls { key: "net.ipv4.ip_unprivileged_port_start" value: "0" } sysctls { key: "kernel.shm_rmid_forced" value: "1" }'
	id=$(started main 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced')
	eventually exited "$id"
	is "$(log main | xargs)" "0 1"
}

check_cri_many_pods() {
	local i pods=()
	for i in 1 2 3 4 5 6 7 8; do
		(
			work=$work/$i c=$c-$i seen=/dev/null
			mkdir -p "$work"
			pod
			started main 'echo up; sleep 1000' >/dev/null
			eventually grep -q up "$work/logs/main"
			touch "$work/up"
		) &
	done
	wait
	is "$(ls "$work"/*/up | wc -l)" 8
}

# short
check_cri_leaves_nothing() {
	clean_up
	eventually eval '! pgrep -f containerd-shim-runc-v2'
	is "$(find /sys/fs/cgroup -path '*/kubepods/*' -name '*????????????????????????????????????????????????????????????????*')" ""
	is "$(find /run/containerd/runc /run/corten -mindepth 2 2>/dev/null || true)" ""
	is "$(grep rootfs /proc/self/mountinfo || true)" ""
	is "$(ls /run/netns /var/run/netns 2>/dev/null | grep cni- || true)" ""
}
