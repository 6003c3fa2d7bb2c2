# Programs that join a container. For Docker and Podman.

up() { q run -d --name "$c" "$@"; }

# short
check_exec_prints() {
	up "$IMAGE" sleep 100
	is "$(d exec "$c" echo hello)" hello
	is "$(d exec "$c" sh -c 'echo err >&2' 2>&1 >/dev/null)" err
}

check_exec_exit_codes() {
	up "$IMAGE" sleep 100
	ends 0 d exec "$c" true
	ends 42 d exec "$c" sh -c 'exit 42'
	ends 137 d exec "$c" sh -c 'kill -9 $$'
}

check_exec_exit_code_126_not_executable() {
	up "$IMAGE" sleep 100
	has "$(ends 126 d exec "$c" /not-executable)" 'permission denied'
}

check_exec_exit_code_127_not_found() {
	up "$IMAGE" sleep 100
	has "$(d exec "$c" no-such-program 2>&1 || true)" 'not found in $PATH'
	# Docker says 126, whatever the runtime.
	ends 127 q exec "$c" no-such-program || ends 126 q exec "$c" no-such-program
}

check_exec_stdin() {
	up "$IMAGE" sleep 100
	is "$(printf 'a\nb\n' | d exec -i "$c" wc -l)" 2
}

# short
check_exec_terminal() {
	up "$IMAGE" sleep 100
	terminal "exec ${cli[*]} exec -it $c sh -c 'tty; $wait_for_size; exit 4'" || [ $? = 4 ]
	tr -d '\r' <"$work/screen" | tee -a "$seen"
	has "$(cat "$work/screen")" /dev/pts/
	has "$(cat "$work/screen")" '33 111'
}

check_exec_terminal_resize() {
	up "$IMAGE" sleep 100
	terminal "exec ${cli[*]} exec -it $c sh -c '$resize; while :; do sleep 0.1; done'" &
	eventually grep -q ready "$work/screen"
	stty -F "$(cat "$work/tty")" rows 20 cols 77
	ends 7 wait $!
	has "$(cat "$work/screen")" '20 77'
}

# short
check_exec_user_env_workdir() {
	up -e ONE=1 "$IMAGE" sleep 100
	is "$(d exec -u 1000 "$c" id -u)" 1000
	is "$(d exec -u 1000:1 "$c" id -g)" 1
	is "$(d exec -u user "$c" id -un)" user
	is "$(d exec -e TWO=2 "$c" sh -c 'echo $ONE $TWO')" "1 2"
	is "$(d exec -w /tmp "$c" pwd)" /tmp
}

check_exec_workdir_that_is_not_there() {
	up "$IMAGE" sleep 100
	d exec -w /no/such/directory "$c" pwd && return 1
	[ $? != 0 ]
}

check_exec_detached() {
	up "$IMAGE" sleep 100
	d exec -d "$c" sh -c 'echo done >/tmp/mark; sleep 100'
	eventually prints done q exec "$c" cat /tmp/mark
}

check_exec_privileges() {
	local all
	up --cap-drop ALL "$IMAGE" sleep 100
	is "$(d exec "$c" sh -c 'grep CapEff /proc/self/status' | field CapEff)" 0000000000000000
	if ! grep -q 'CapBnd:.*1fffffffff\|CapBnd:.*3fffffffff' /proc/self/status; then
		echo "the bounding set lacks capabilities: privileged not tried"
		return
	fi
	all=$(field CapEff </proc/self/status)
	is "$(d exec --privileged "$c" sh -c 'grep CapEff /proc/self/status' | field CapEff)" "$all"
}

check_exec_in_what_has_ended() {
	q run --name "$c" "$IMAGE" true
	d exec "$c" true && return 1
	[ $? != 0 ]
}

check_exec_while_paused() {
	up "$IMAGE" sleep 100
	q pause "$c"
	d exec "$c" true && return 1
	d unpause "$c"
	d exec "$c" true
}

check_exec_ends_with_the_container() {
	up "$IMAGE" sleep 100
	"${cli[@]}" exec "$c" sleep 100 &
	eventually eval '[ "$(q top "$c" | grep -c sleep)" = 2 ]'
	q kill "$c"
	ends 137 wait $!
}

check_exec_shows_in_top() {
	up "$IMAGE" sleep 100
	q exec -d "$c" sleep 200
	eventually prints 'sleep 200' q top "$c"
}

check_exec_has_the_limits() {
	up --ulimit nofile=77:88 --ulimit nproc=500:500 --security-opt no-new-privileges "$IMAGE" sleep 100
	is "$(d exec "$c" sh -c 'ulimit -n')" 77
	is "$(d exec "$c" grep NoNewPrivs /proc/self/status | field NoNewPrivs)" 1
	is "$(d exec "$c" cat /proc/self/cgroup)" "$(d exec "$c" cat /proc/1/cgroup)"
}

check_many_execs_at_once() {
	local i
	up "$IMAGE" sleep 1000
	for i in $(seq 20); do q exec "$c" echo "$i" >"$work/$i" & done
	wait
	for i in $(seq 20); do is "$(cat "$work/$i")" "$i"; done
}
