# What a container may use: memory, processors, processes; pause and update. For Docker and Podman.

# limit CONTAINER V1_FILE V2_FILE: the limit's file in the container's cgroup. Seen from the engine's namespaces.
limit() {
	local pid path
	pid=$(q inspect -f '{{.State.Pid}}' "$1")
	if is_v2; then
		path=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
		cat "/sys/fs/cgroup$path/$3"
	else
		path=$(awk -F: -v name="${2%%/*}" '$2 == name { print $3 }' "/proc/$pid/cgroup")
		cat "/sys/fs/cgroup/${2%%/*}$path/${2#*/}"
	fi
}

check_memory_limit() {
	q run -d --memory 64m --name "$c" "$IMAGE" sleep 100
	is "$(limit "$c" memory/memory.limit_in_bytes memory.max)" 67108864
}

check_memory_more() {
	q run -d --memory 64m --memory-reservation 32m --memory-swap 128m --name "$c" "$IMAGE" sleep 100
	is "$(limit "$c" memory/memory.soft_limit_in_bytes memory.low)" 33554432
	# On v1 memory and swap together, on v2 swap alone.
	is "$(limit "$c" memory/memory.memsw.limit_in_bytes memory.swap.max)" "$(is_v2 && echo 67108864 || echo 134217728)"
}

# A program that takes more than it may: awk builds a string without end.
eat='x = "0123456789abcdef"; while (1) x = x x'

# short
check_out_of_memory_is_seen() {
	local status=0
	d run --memory 16m --memory-swap 16m --name "$c" "$IMAGE" awk "BEGIN { $eat }" || status=$?
	is "$status" 137
	# conmon 2.1.6 has seen it, and left its note where Podman 4.3 does not look.
	[ ! -e oom ] || return 0
	is "$(d inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' "$c")" "true 137"
}

check_out_of_memory_of_a_child() {
	q run --memory 16m --memory-swap 16m --name "$c" "$IMAGE" sh -c "awk 'BEGIN { $eat }'; echo child \$?; exit 3" >"$work/said" 2>&1 || is $? 3
	has "$(cat "$work/said")" 'child 137'
	# Whether the engine calls it an OOM kill depends on which event comes first.
	is "$(d inspect -f '{{.State.ExitCode}}' "$c")" 3
}

check_cpu_limits() {
	q run -d --cpus 0.5 --name "$c" "$IMAGE" sleep 100
	if is_v2; then
		is "$(limit "$c" '' cpu.max)" "50000 100000"
	else
		is "$(limit "$c" cpu/cpu.cfs_quota_us '')" 50000
		is "$(limit "$c" cpu/cpu.cfs_period_us '')" 100000
	fi
}

check_cpu_shares_and_sets() {
	q run -d --cpu-shares 512 --cpuset-cpus 0 --cpuset-mems 0 --name "$c" "$IMAGE" sleep 100
	is "$(limit "$c" cpu/cpu.shares cpu.weight)" "$(is_v2 && echo 20 || echo 512)"
	is "$(limit "$c" cpuset/cpuset.cpus cpuset.cpus)" 0
	is "$(d exec "$c" grep Cpus_allowed_list /proc/self/status | field Cpus_allowed_list)" 0
}

# short
check_pids_limit() {
	q run -d --pids-limit 20 --name "$c" "$IMAGE" sleep 100
	is "$(limit "$c" pids/pids.max pids.max)" 20
	has "$(q run --rm --pids-limit 5 "$IMAGE" sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done' 2>&1 || true)" fork
}

check_blkio_weight() {
	q run -d --device-read-bps /dev/vda:1mb --name "$c" "$IMAGE" sleep 100 2>"$work/err" || skip "no limits of block devices here: $(tail -n 1 "$work/err")"
	has "$(limit "$c" blkio/blkio.throttle.read_bps_device io.max)" 1048576
}

check_cgroup_parent() {
	local parent=/tested/parent
	[ "$DRIVER" = cgroupfs ] || parent=tested-parent.slice
	q run -d --cgroup-parent $parent --name "$c" "$IMAGE" sleep 100
	has "$(cat "/proc/$(q inspect -f '{{.State.Pid}}' "$c")/cgroup")" "$parent/"
}

check_container_sees_its_limits() {
	local file=/sys/fs/cgroup/memory/memory.limit_in_bytes
	! is_v2 || file=/sys/fs/cgroup/memory.max
	is "$(d run --rm --memory 64m "$IMAGE" cat $file)" 67108864
	ends 1 d run --rm --memory 64m "$IMAGE" sh -c "echo 1000000000 >$file"
}

# short
check_pause_and_unpause() {
	local first
	q run -d --name "$c" "$IMAGE" sh -c 'while :; do date +%s%N >/tick; done'
	eventually q exec "$c" test -s /tick
	d pause "$c"
	is "$(d inspect -f '{{.State.Status}} {{.State.Paused}}' "$c")" "paused true"
	has "$(q ps -a --format '{{.Names}} {{.Status}}')" aused
	first=$(cut -d' ' -f14,15 "/proc/$(q inspect -f '{{.State.Pid}}' "$c")/stat")
	sleep 0.3
	is "$(cut -d' ' -f14,15 "/proc/$(q inspect -f '{{.State.Pid}}' "$c")/stat")" "$first"
	d unpause "$c"
	is "$(d inspect -f '{{.State.Status}}' "$c")" running
	first=$(q exec "$c" cat /tick)
	eventually eval '[ "$(q exec "$c" cat /tick)" != "$first" ]'
}

check_pause_twice_and_stop() {
	q run -d --name "$c" "$IMAGE" sleep 100
	d pause "$c"
	d pause "$c" && return 1
	d unpause "$c"
	d unpause "$c" && return 1
	d stop -t 0 "$c"
}

check_kill_while_paused() {
	q run -d --name "$c" "$IMAGE" sleep 100
	q pause "$c"
	q rm -f "$c"
	hasnt "$(d ps -a --format '{{.Names}}')" "$c"
}

# short
check_update() {
	q run -d --memory 64m --memory-swap 64m --name "$c" "$IMAGE" sleep 100
	d update --memory 128m --memory-swap 128m --cpu-shares 300 "$c"
	is "$(limit "$c" memory/memory.limit_in_bytes memory.max)" 134217728
	local weight=$(limit "$c" cpu/cpu.shares cpu.weight)
	# 12 is what runc made of 300 before 1.3, when 1024 were not yet the kernel's usual 100.
	[ "$weight" = 12 ] && is_v2 || is "$weight" "$(is_v2 && echo 39 || echo 300)"
	is_v2 || is "$(limit "$c" memory/memory.memsw.limit_in_bytes '')" 134217728
}

check_update_of_cpus_and_pids() {
	q run -d --pids-limit 50 --name "$c" "$IMAGE" sleep 100
	d update --cpus 0.25 --pids-limit 33 "$c" || d update --cpus 0.25 "$c"
	is "$(limit "$c" cpu/cpu.cfs_quota_us cpu.max)" "$(is_v2 && echo 25000 100000 || echo 25000)"
	d update --cpuset-cpus 0 "$c"
	is "$(limit "$c" cpuset/cpuset.cpus cpuset.cpus)" 0
}

check_update_that_is_refused() {
	q run -d --name "$c" "$IMAGE" sleep 100
	d update --cpuset-cpus 900 "$c" && return 1
	is "$(d inspect -f '{{.State.Status}}' "$c")" running
}
