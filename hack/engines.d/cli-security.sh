# Users, capabilities, profiles, devices, namespaces. For Docker and Podman.

status() { d run --rm "$@" "$IMAGE" grep -E '^(Cap|NoNew|Seccomp:|Uid|Gid|Groups)' /proc/self/status; }

# short
check_user() {
	is "$(d run --rm -u 1000 "$IMAGE" id -u)" 1000
	is "$(d run --rm -u user "$IMAGE" sh -c 'id -un; id -gn' | xargs)" "user user"
	is "$(d run --rm -u 1234:5678 "$IMAGE" sh -c 'id -u; id -g' | xargs)" "1234 5678"
	d run --rm -u nosuchuser "$IMAGE" true && return 1
	[ $? != 0 ]
}

check_group_add() {
	has " $(d run --rm -u 1000 --group-add 4242 --group-add wheel "$IMAGE" id -G) " ' 4242 '
	has " $(d run --rm -u 1000 --group-add 4242 --group-add wheel "$IMAGE" id -G) " ' 10 '
}

check_capabilities_by_default() {
	local found
	found=$(status)
	is "$(echo "$found" | field CapEff)" "$(echo "$found" | field CapBnd)"
	is "$(echo "$found" | field CapInh)" 0000000000000000
	is "$(echo "$found" | field CapAmb)" 0000000000000000
}

# short
check_capabilities_dropped_and_added() {
	is "$(status --cap-drop ALL | field CapBnd)" 0000000000000000
	is "$(status --cap-drop ALL --cap-add NET_ADMIN | field CapEff)" 0000000000001000
	d run --rm --cap-add NET_ADMIN "$IMAGE" ip link add type veth
	d run --rm "$IMAGE" ip link add type veth && return 1
	d run --rm --cap-drop CHOWN "$IMAGE" chown 1 /tmp && return 1
	[ $? != 0 ]
}

check_capabilities_of_a_user() {
	local found
	found=$(status -u 1000)
	is "$(echo "$found" | field CapEff)" 0000000000000000
}

check_no_new_privileges() {
	is "$(status --security-opt no-new-privileges | field NoNewPrivs)" 1
	is "$(status | field NoNewPrivs)" 0
}

check_seccomp_by_default() {
	is "$(status | field Seccomp)" 2
	# The host's clock: allowed by neither profile nor capabilities.
	has "$(ends 1 d run --rm "$IMAGE" date -s 2000-01-01)" 'ot permitted'
}

check_seccomp_unconfined() {
	is "$(status --security-opt seccomp=unconfined | field Seccomp)" 0
	d run --rm --security-opt seccomp=unconfined "$IMAGE" unshare -U true
}

# short
check_seccomp_profile() {
	cat >"$work/profile" <<-'PROFILE'
	{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
	 {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
	 {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_KILL_PROCESS"}]}
	PROFILE
	has "$(ends 1 d run --rm --security-opt "seccomp=$work/profile" "$IMAGE" mkdir /new)" 'not supported'
	ends 159 d run --rm --security-opt "seccomp=$work/profile" "$IMAGE" sh -c 'chmod 700 /tmp; exit $?'
	d run --rm --security-opt "seccomp=$work/profile" "$IMAGE" touch /new
}

check_privileged() {
	local found
	# What the machine's bounding set lacks is taken out of config.json, for every runtime.
	found=$(bounded_run --rm --privileged "$IMAGE" sh -c 'grep -E "CapEff|Seccomp:|NoNewPrivs" /proc/self/status
		ls /dev | wc -l; mount -t tmpfs tmpfs /mnt && echo mounted; grep " /sys " /proc/mounts')
	is "$(echo "$found" | field Seccomp)" 0
	has "$found" mounted
	has "$found" 'sysfs rw'
	[ "$(echo "$found" | sed -n 4p)" -gt 20 ]
}

check_privileged_as_the_machine_allows() {
	# Without the machine's CAP_SYS_RESOURCE no runtime can do it: that it is said alike is what counts.
	d run --rm --privileged "$IMAGE" true || echo "status $?"
}

# short
check_devices() {
	has "$(d run --rm --device /dev/null:/dev/mine "$IMAGE" ls -l /dev/mine)" '1,   3'
	mknod "$work/loop" c 10 237
	d run --rm --device "$work/loop:/dev/mine:r" "$IMAGE" sh -c ': </dev/mine'
	d run --rm --device "$work/loop:/dev/mine:r" "$IMAGE" sh -c ': >/dev/mine' && return 1
	d run --rm --cap-add MKNOD "$IMAGE" sh -c 'mknod /tmp/mem c 1 1 && : </tmp/mem' && return 1
	[ $? != 0 ]
}

check_device_cgroup_rule() {
	d run --rm --device-cgroup-rule 'c 1:7 rw' "$IMAGE" sh -c 'mknod /tmp/full c 1 7 && : </tmp/full'
}

check_devices_by_default() {
	d run --rm "$IMAGE" sh -c 'cd /dev; ls -l | awk "{print \$1, \$NF}" | sort'
	is "$(d run --rm -t "$IMAGE" test -c /dev/console && echo there)" there
}

check_ulimits() {
	is "$(d run --rm --ulimit nofile=1000:2000 --ulimit nproc=500:500 "$IMAGE" sh -c 'ulimit -n; ulimit -Hn' | xargs)" "1000 2000"
	is "$(d run --rm --ulimit core=0 --ulimit nproc=500 --ulimit nofile=1000 "$IMAGE" sh -c 'ulimit -c; awk "/processes/ { print \$3 }" /proc/self/limits' | xargs)" "0 500"
}

check_sysctls() {
	is "$(d run --rm --sysctl net.ipv4.ip_forward=0 --sysctl kernel.shmmax=1000000 "$IMAGE" \
		sh -c 'cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax' | xargs)" "0 1000000"
	d run --rm --sysctl kernel.panic=5 "$IMAGE" true && return 1
	[ $? != 0 ]
}

check_masked_and_read_only_paths() {
	is "$(d run --rm "$IMAGE" sh -c 'wc -c </proc/timer_list; wc -c </proc/keys; ls /sys/firmware | wc -l' | xargs)" "0 0 0"
	ends 1 d run --rm "$IMAGE" sh -c 'echo 1 >/proc/sys/kernel/panic'
	ends 1 d run --rm "$IMAGE" sh -c 'echo h >/proc/sysrq-trigger'
}

check_oom_score_adj() {
	is "$(d run --rm --oom-score-adj 500 "$IMAGE" cat /proc/self/oom_score_adj)" 500
}

check_namespaces_are_new() {
	local name
	for name in mnt pid net ipc uts; do
		[ "$(q run --rm "$IMAGE" readlink /proc/self/ns/$name)" != "$(readlink /proc/self/ns/$name)" ]
	done
}

check_pid_mode_host() {
	is "$(d run --rm --pid host "$IMAGE" readlink /proc/self/ns/pid >"$work/ns"; cat "$work/ns")" "$(readlink /proc/self/ns/pid)"
}

check_pid_mode_of_a_container() {
	q run -d --name "$c" "$IMAGE" sleep 12345
	has "$(d run --rm --pid "container:$c" "$IMAGE" ps -o args)" 'sleep 12345'
}

check_ipc_modes() {
	is "$(q run --rm --ipc host "$IMAGE" readlink /proc/self/ns/ipc)" "$(readlink /proc/self/ns/ipc)"
	q run -d --name "$c" --ipc shareable "$IMAGE" sh -c 'echo x >/dev/shm/x; sleep 100'
	eventually q exec "$c" test -e /dev/shm/x
	is "$(d run --rm --ipc "container:$c" "$IMAGE" cat /dev/shm/x)" x
	d run --rm --ipc none "$IMAGE" true
}

check_uts_mode_host() { is "$(q run --rm --uts host "$IMAGE" readlink /proc/self/ns/uts)" "$(readlink /proc/self/ns/uts)"; }

# short
check_network_modes() {
	is "$(d run --rm --network none "$IMAGE" ls /sys/class/net)" lo
	is "$(q run --rm --network host "$IMAGE" readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)"
	q run -d --name "$c" "$IMAGE" sleep 100
	is "$(q run --rm --network "container:$c" "$IMAGE" readlink /proc/self/ns/net)" "$(q exec "$c" readlink /proc/self/ns/net)"
}

check_network_between_two() {
	local address
	q run -d --name "$c" "$IMAGE" sh -c 'echo served >/tmp/index.html; httpd -f -p 80 -h /tmp'
	address=$(q inspect -f '{{.NetworkSettings.IPAddress}}' "$c")
	eventually prints served q run --rm "$IMAGE" wget -q -O - "http://$address/index.html"
}

check_cgroupns_modes() {
	is "$(q run --rm --cgroupns private "$IMAGE" sed 's/.*://' /proc/self/cgroup | sort -u)" /
	is "$(q run --rm --cgroupns host "$IMAGE" readlink /proc/self/ns/cgroup)" "$(readlink /proc/self/ns/cgroup)"
}

check_process_of_the_container_seen_from_outside() {
	local pid
	q run -d --name "$c" -u 1000 -w /tmp "$IMAGE" sleep 100
	pid=$(q inspect -f '{{.State.Pid}}' "$c")
	is "$(tr '\0' ' ' <"/proc/$pid/cmdline")" "sleep 100 "
	is "$(readlink "/proc/$pid/cwd")" /tmp
	grep -E '^(Name|Uid|Gid|Groups|Cap|NoNew|Seccomp)' "/proc/$pid/status" >>"$seen"
	ls "/proc/$pid/fd" | xargs | tee -a "$seen"
	is "$(ls "/proc/$pid/fd" | xargs)" "0 1 2"
}
