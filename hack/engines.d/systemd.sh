# What systemd shows of a container when it makes the cgroups. For Docker and Podman, only with --driver systemd.

# The scope's name, and one of its properties.
scope() { echo "$([ "$ENGINE" = docker ] && echo docker || echo libpod)-$(q inspect -f '{{.Id}}' "$1").scope"; }
shows() { systemctl show --value -p "$2" "$1"; }

# short
check_systemd_shows_the_limits() {
	local scope
	q run -d --memory 64m --cpus 0.5 --pids-limit 50 --name "$c" "$IMAGE" sleep 100
	scope=$(scope "$c")
	is "$(shows "$scope" ActiveState)" active
	is "$(shows "$scope" MemoryMax)" 67108864
	is "$(shows "$scope" CPUQuotaPerSecUSec)" 500ms
	is "$(shows "$scope" TasksMax)" 50
	is "$(shows "$scope" Delegate)" yes
	is "$(shows "$scope" Slice)" "$([ "$ENGINE" = docker ] && echo system || echo machine).slice"
	has "$(sed 's/^0:://' "/proc/$(q inspect -f '{{.State.Pid}}' "$c")/cgroup")" "$(shows "$scope" ControlGroup)"
	q update --memory 128m --memory-swap 256m --cpus 0.25 "$c"
	is "$(shows "$scope" MemoryMax)" 134217728
	is "$(shows "$scope" CPUQuotaPerSecUSec)" 250ms
}

# short
check_systemd_scope_goes_with_the_container() {
	local one two
	q run -d --name "$c-1" "$IMAGE" sleep 100
	q run -d --name "$c-2" "$IMAGE" sleep 100
	one=$(scope "$c-1") two=$(scope "$c-2")
	q stop -t 0 "$c-1"
	is "$(shows "$one" ActiveState)" inactive
	q rm -f "$c-2"
	is "$(shows "$two" ActiveState)" inactive
	is "$(find /sys/fs/cgroup -name "$one" -o -name "$two")" ""
	is "$(systemctl list-units --all --plain --no-legend "$one" "$two")" ""
}

check_systemd_reload_leaves_all_as_it_was() {
	q run -d --memory 64m --name "$c" "$IMAGE" sleep 100
	systemctl daemon-reload
	is "$(limit "$c" '' memory.max)" 67108864
	d exec "$c" sh -c ': </dev/null; : >/dev/null'
	q exec --privileged "$c" mknod /tmp/mem c 1 1
	ends 1 d exec --privileged "$c" sh -c ': </tmp/mem'
}

check_systemd_stops_the_scope() {
	local scope
	q run -d --name "$c" "$IMAGE" sh -c 'trap "exit 5" TERM; echo ready; while :; do sleep 0.1; done'
	eventually prints ready q logs "$c"
	scope=$(scope "$c")
	systemctl stop "$scope"
	is "$(d wait "$c")" 5
	is "$(shows "$scope" ActiveState)" inactive
}

check_systemd_out_of_memory_fails_the_scope() {
	local scope status=0
	q create --memory 16m --memory-swap 16m --name "$c" "$IMAGE" awk "BEGIN { $eat }"
	scope=$(scope "$c")
	q start -a "$c" || status=$?
	is $status 137
	# Whether it fails or not, nothing of it is left.
	is "$(systemctl list-units --all --plain --no-legend "$scope")" ""
	# The name is free again.
	ends 137 q start -a "$c"
}

check_systemd_several_at_once() {
	local i
	for i in 1 2 3 4 5 6; do q run -d --name "$c-$i" "$IMAGE" sleep 1000 >"$work/$i" 2>&1 & done
	wait
	is "$(q ps -q --filter "name=$c" | wc -l)" 6
	for i in 1 2 3 4 5 6; do q rm -f "$c-$i" & done >/dev/null
	wait
	is "$(systemctl list-units --all --plain --no-legend 'docker-*.scope' 'libpod-*.scope')" ""
}
