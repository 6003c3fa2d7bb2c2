# containerd by `ctr`: its runc shim calls the runtime without any engine above it.

r() { d run "${run[@]}" "$@"; }
up() {
	q run -d --null-io "${run[@]}" "$@" "$IMAGE" "$c" sleep 1000
}

# short
check_ctr_run_prints() { is "$(r --rm "$IMAGE" "$c" echo hello)" hello; }

# short
check_ctr_exit_codes() {
	ends 0 r --rm "$IMAGE" "$c" true
	ends 42 r --rm "$IMAGE" "$c" sh -c 'exit 42'
	has "$(ends 1 r --rm "$IMAGE" "$c" no-such-program)" 'executable file not found in $PATH'
	q containers rm "$c" || true
	has "$(ends 1 r --rm "$IMAGE" "$c" /not-executable)" 'permission denied'
}

check_ctr_run_environment_and_directory() {
	is "$(r --rm --env ONE=1 --cwd /tmp "$IMAGE" "$c" sh -c 'echo $ONE; pwd' | xargs)" "1 /tmp"
}

# short
check_ctr_terminal() {
	terminal "exec ctr run --rm -t ${run[*]} $IMAGE $c sh -c 'tty; $wait_for_size; exit 3'" || is $? 3
	has "$(cat "$work/screen")" /dev/pts/0
	has "$(cat "$work/screen")" '33 111'
}

# short
check_ctr_detached_life() {
	local pid
	up --pid-file "$work/pid"
	has "$(q tasks ls)" RUNNING
	pid=$(cat "$work/pid")
	is "$(tr '\0' ' ' <"/proc/$pid/cmdline")" "sleep 1000 "
	d tasks kill -s TERM "$c" || true
	d tasks kill -s KILL "$c"
	eventually prints STOPPED q tasks ls
	has "$(d tasks delete "$c" 2>&1)" 'exit code 137'
	d containers delete "$c"
	is "$(d tasks ls -q)" ""
}

# short
check_ctr_exec() {
	up
	is "$(d tasks exec --exec-id e1 "$c" echo inside)" inside
	ends 7 d tasks exec --exec-id e2 "$c" sh -c 'exit 7'
	is "$(d tasks exec --exec-id e3 --user 1000 --cwd /tmp "$c" sh -c 'id -u; pwd' | xargs)" "1000 /tmp"
	has "$(ends 1 d tasks exec --exec-id e4 "$c" no-such-program)" 'executable file not found in $PATH'
	is "$(d tasks exec --exec-id e5 "$c" echo again)" again
}

check_ctr_exec_terminal() {
	up
	terminal "exec ctr tasks exec -t --exec-id e1 $c sh -c 'tty; $wait_for_size'"
	has "$(cat "$work/screen")" '33 111'
}

check_ctr_pause_and_resume() {
	up
	d tasks pause "$c"
	has "$(q tasks ls)" PAUSED
	d tasks resume "$c"
	has "$(q tasks ls)" RUNNING
}

check_ctr_ps_and_metrics() {
	hierarchies_are_mounted
	up
	q tasks exec --exec-id e1 -d "$c" sleep 500
	is "$(q tasks ps "$c" | tail -n +2 | wc -l)" 2
	has "$(q tasks metrics "$c")" memory
}

check_ctr_limits() {
	up --memory-limit 33554432 --cpus 0.5
	local path
	path=$(awk -F: '$2 == "memory" { print $3 }' "/proc/$(q tasks ls | awk -v id="$c" '$1 == id { print $2 }')/cgroup")
	if is_v2; then
		path=$(sed 's/^0:://' "/proc/$(q tasks ls | awk -v id="$c" '$1 == id { print $2 }')/cgroup")
		is "$(cat "/sys/fs/cgroup$path/memory.max")" 33554432
		is "$(cat "/sys/fs/cgroup$path/cpu.max")" "50000 100000"
	else
		is "$(cat "/sys/fs/cgroup/memory$path/memory.limit_in_bytes")" 33554432
	fi
}

check_ctr_out_of_memory_event() {
	hierarchies_are_mounted
	q events >"$work/events" 2>/dev/null &
	local watcher=$!
	sleep 0.5
	ends 137 q run --rm "${run[@]}" --memory-limit 16777216 "$IMAGE" "$c" awk 'BEGIN { x = "0123456789abcdef"; while (1) x = x x }'
	eventually grep -q /tasks/oom "$work/events"
	kill $watcher
}

# short
check_ctr_events_of_a_life() {
	local topic
	q events >"$work/events" 2>/dev/null &
	local watcher=$!
	sleep 0.5
	q run --rm "${run[@]}" "$IMAGE" "$c" true
	for topic in /tasks/create /tasks/start /tasks/exit /tasks/delete; do eventually grep -q "$topic" "$work/events"; done
	kill $watcher
}

check_ctr_mounts() {
	mkdir "$work/dir"
	echo x >"$work/dir/file"
	is "$(r --rm --mount "type=bind,src=$work/dir,dst=/mnt,options=rbind:ro" "$IMAGE" "$c" cat /mnt/file)" x
	ends 1 r --rm --mount "type=bind,src=$work/dir,dst=/mnt,options=rbind:ro" "$IMAGE" "$c-2" touch /mnt/new
	ends 1 r --rm --read-only "$IMAGE" "$c-3" touch /new
}

check_ctr_namespaces_joined() {
	up
	local pid
	pid=$(q tasks ls | awk -v id="$c" '$1 == id { print $2 }')
	has "$(q run "${run[@]}" --rm --with-ns "pid:/proc/$pid/ns/pid" "$IMAGE" "$c-2" ps)" 'sleep 1000'
	is "$(q run "${run[@]}" --rm --with-ns "network:/proc/$pid/ns/net" "$IMAGE" "$c-3" readlink /proc/self/ns/net >"$work/ns"; cat "$work/ns")" "$(readlink "/proc/$pid/ns/net")"
}

check_ctr_net_host() { is "$(q run --rm "${run[@]}" --net-host "$IMAGE" "$c" readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)"; }

check_ctr_capabilities_seccomp_and_no_new_privileges() {
	local found
	found=$(r --rm --cap-drop CAP_NET_RAW --seccomp "$IMAGE" "$c" grep -E 'Cap|Seccomp:|NoNew' /proc/self/status)
	is "$(echo "$found" | field Seccomp)" 2
	is "$(echo "$found" | field NoNewPrivs)" 1
}

check_ctr_user_namespace() {
	is "$(r --rm --uidmap 0:100000:1000 --gidmap 0:100000:1000 "$IMAGE" "$c" cat /proc/self/uid_map | xargs)" "0 100000 1000"
}

check_ctr_rootfs() {
	"$PARTS/../rootfs" "$work/rootfs" >/dev/null
	is "$(d run --rm "${run[@]}" --rootfs "$work/rootfs" "$c" /bin/echo rootfs)" rootfs
}

check_ctr_config_file() {
	(cd "$work" && "$PARTS/../rootfs" "$work/rootfs" >/dev/null && "$RUNTIME" spec)
	jq '.process.terminal = false | .process.args = ["echo", "configured"] | .root.path = "'"$work"'/rootfs"' "$work/config.json" >"$work/new.json"
	is "$(d run --rm "${run[@]}" --config "$work/new.json" "$c")" configured
}

check_ctr_checkpoint() {
	needs_criu
	up
	d tasks checkpoint --image-path "$work/images" "$c"
	[ -s "$work/images/inventory.img" ]
	has "$(q tasks ls)" RUNNING
	d tasks checkpoint --exit --image-path "$work/more" "$c"
	eventually eval '! q tasks ls | grep RUNNING'
}

check_ctr_checkpoint_and_restore() {
	local pid
	needs_criu
	q run -d --null-io "${run[@]}" "$IMAGE" "$c" sh -c 'echo kept >/file; X=12345; sleep 1000'
	eventually q tasks exec --exec-id e1 "$c" test -s /file
	q containers checkpoint --rw --task "$c" "localhost/$CHECK:1"
	q tasks kill -s KILL "$c"
	eventually eval '! q tasks ls | grep RUNNING'
	q tasks rm -f "$c" || true
	q containers rm "$c"
	q containers restore --rw --live "$c" "localhost/$CHECK:1"
	has "$(q tasks ls)" RUNNING
	is "$(d tasks exec --exec-id e2 "$c" cat /file)" kept
	has "$(q tasks exec --exec-id e3 "$c" ps)" 'sleep 1000'
	q images rm "localhost/$CHECK:1"
}

check_ctr_shim_killed() {
	# A shim that dies: containerd takes its container away, with the runtime's `delete --force`.
	local shim pid
	up
	pid=$(q tasks ls | awk -v id="$c" '$1 == id { print $2 }')
	shim=$(awk '/^PPid/ { print $2 }' "/proc/$pid/status")
	kill -KILL "$shim"
	eventually eval "[ ! -d /proc/$pid ]"
	eventually eval '[ -z "$(q tasks ls -q)" ]'
	is "$(find /sys/fs/cgroup -type d \( -name "$c" -o -name "tested-$c-*" \))" ""
}

check_ctr_containerd_restarted() {
	up
	kill -KILL "$(pgrep -x containerd)"
	setsid containerd >>"$LOGS/containerd" 2>&1 </dev/null &
	eventually ctr version
	has "$(q tasks ls)" RUNNING
	is "$(d tasks exec --exec-id e1 "$c" echo still)" still
}

check_many_ctr_at_once() {
	local i
	for i in $(seq 30); do q run -d --null-io "${run[@]}" "$IMAGE" "$c-$i" sleep 1000 & done
	wait
	is "$(q tasks ls -q | wc -l)" 30
	for i in $(seq 30); do (q tasks kill -s KILL "$c-$i" && q tasks delete -f "$c-$i" && q containers rm "$c-$i") >/dev/null 2>&1 & done
	wait
	is "$(q tasks ls -q)" ""
}

# short
check_ctr_leaves_nothing() {
	clean_up
	eventually eval '! pgrep -f containerd-shim-runc-v2'
	is "$(find /sys/fs/cgroup \( -path '*/default/*' -o -name 'tested-*.scope' \) -type d)" ""
	is "$(find /run/containerd/runc /run/corten /run/runc /run/crun -mindepth 2 2>/dev/null || true)" ""
	is "$(ls /run/containerd/io.containerd.runtime.v2.task/default)" ""
	is "$(grep rootfs /proc/self/mountinfo || true)" ""
}
