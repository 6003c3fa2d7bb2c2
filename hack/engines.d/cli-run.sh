# The life of a container as a user knows it: run, start, stop, logs, what is said of it. For Docker and Podman.

# short
check_run_prints() { is "$(d run --rm "$IMAGE" echo hello)" hello; }

check_run_streams_are_apart() {
	is "$(d run --rm "$IMAGE" sh -c 'echo out; echo err >&2' 2>/dev/null)" out
	is "$(d run --rm "$IMAGE" sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" err
}

check_run_reads_stdin() { is "$(printf 'one\ntwo\n' | d run --rm -i "$IMAGE" wc -l)" 2; }

check_run_stdin_of_a_megabyte() {
	is "$(head -c 1048576 /dev/zero | d run --rm -i "$IMAGE" sh -c 'cat | wc -c')" 1048576
}

check_run_output_of_a_megabyte() {
	is "$(q run --rm "$IMAGE" head -c 1048576 /dev/zero | wc -c)" 1048576
}

check_run_environment() {
	local found
	# Podman passes variables in any order.
	found=$(q run --rm -e ONE=1 --env TWO='a b' --hostname box "$IMAGE" env)
	has "$found" ONE=1
	has "$found" 'TWO=a b'
	has "$found" FROM_IMAGE=yes
	has "$found" HOSTNAME=box
	has "$found" HOME=/root
}

check_run_env_file() {
	printf 'THREE=3\n' >"$work/env"
	is "$(d run --rm --env-file "$work/env" "$IMAGE" sh -c 'echo $THREE')" 3
}

check_run_workdir() {
	is "$(d run --rm -w /tmp "$IMAGE" pwd)" /tmp
}

check_run_entrypoint() {
	is "$(d run --rm --entrypoint /bin/echo "$IMAGE" from entrypoint)" "from entrypoint"
}

check_run_hostname() { is "$(d run --rm --hostname corten-box "$IMAGE" hostname)" corten-box; }

check_run_labels_and_cidfile() {
	d run -d --name "$c" --label tested=yes --cidfile "$work/cid" "$IMAGE" sleep 100
	is "$(cat "$work/cid")" "$(q inspect -f '{{.Id}}' "$c")"
	has "$(d ps -q --no-trunc --filter label=tested=yes)" "$(cat "$work/cid")"
}

check_exit_code_0() { ends 0 d run --rm "$IMAGE" true; }

# short
check_exit_code_42() { ends 42 d run --rm "$IMAGE" sh -c 'exit 42'; }

# short
check_exit_code_126_not_executable() {
	has "$(ends 126 d run --rm "$IMAGE" /not-executable)" 'permission denied'
}

check_exit_code_126_a_directory() { ends 126 d run --rm "$IMAGE" /tmp; }

# short
check_exit_code_127_not_found() {
	local said
	said=$(ends 127 d run --rm "$IMAGE" no-such-program)
	has "$said" 'no-such-program'
	has "$said" 'executable file'
	has "$said" 'not found in $PATH'
}

check_exit_code_127_no_such_path() {
	has "$(ends 127 d run --rm "$IMAGE" /no/such/program)" 'no such file or directory'
}

check_exit_code_127_no_interpreter() {
	# The file is there, what its first line names is not.
	d run --rm "$IMAGE" /bad-interpreter && return 1
	[ $? != 0 ]
}

check_exit_code_137_killed() {
	# The program is the first of its process namespace: a signal that ends it has to come from outside.
	"${cli[@]}" run --rm --name "$c" "$IMAGE" sleep 100 &
	eventually prints true q inspect -f '{{.State.Running}}' "$c"
	d kill "$c"
	ends 137 wait $!
}

check_exit_code_143_terminated() { ends 143 d run --rm --init "$IMAGE" sh -c 'kill -TERM $$'; }

check_exit_code_of_start_attach() {
	d create --name "$c" "$IMAGE" sh -c 'exit 9'
	ends 9 d start -a "$c"
}

# short
check_detached_wait_and_logs() {
	d run -d --name "$c" "$IMAGE" sh -c 'echo first; echo second >&2; exit 3'
	is "$(d wait "$c")" 3
	is "$(d logs "$c" 2>/dev/null)" first
	is "$(d logs "$c" 2>&1 >/dev/null)" second
	is "$(d inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}' "$c")" "exited 3 false"
}

check_logs_follow_until_the_end() {
	q run -d --name "$c" "$IMAGE" sh -c 'for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done'
	is "$(d logs -f "$c" | wc -l)" 5
}

check_logs_tail_and_timestamps() {
	q run --name "$c" "$IMAGE" seq 20
	is "$(d logs --tail 2 "$c" | xargs)" "19 20"
	has "$(q logs -t --tail 1 "$c")" T
}

# short
check_interactive_terminal() {
	terminal "exec ${cli[*]} run --rm -it $IMAGE sh -c 'tty; $wait_for_size; test -t 0 && test -t 1 && test -t 2 && echo all'"
	tr -d '\r' <"$work/screen" | tee -a "$seen"
	has "$(cat "$work/screen")" /dev/pts/0
	has "$(cat "$work/screen")" '33 111'
	has "$(cat "$work/screen")" all
}

check_terminal_resize() {
	local screen
	terminal "exec ${cli[*]} run --rm -it $IMAGE sh -c '$resize; while :; do sleep 0.1; done'" &
	eventually grep -q ready "$work/screen"
	stty -F "$(cat "$work/tty")" rows 20 cols 77
	ends 7 wait $!
	has "$(cat "$work/screen")" '20 77'
}

check_terminal_typing_and_interrupt() {
	terminal "exec ${cli[*]} run --rm -it $IMAGE sh" &
	eventually test -p "$work/keys"
	eventually grep -q '#' "$work/screen"
	echo 'echo typed $((40 + 2))' >"$work/keys"
	eventually grep -q 'typed 42' "$work/screen"
	printf 'sleep 100\n' >"$work/keys"
	sleep 0.5
	printf '\003' >"$work/keys"
	printf 'echo status $?\nexit 5\n' >"$work/keys"
	ends 5 wait $!
	has "$(cat "$work/screen")" 'status 130'
}

check_terminal_detach_and_attach() {
	terminal "exec ${cli[*]} run --name $c -it $IMAGE sh" &
	eventually grep -q '#' "$work/screen"
	printf 'X=kept\n' >"$work/keys"
	sleep 0.3
	printf '\020' >"$work/keys"
	sleep 0.3
	printf '\021' >"$work/keys"
	wait $!
	is "$(q inspect -f '{{.State.Running}}' "$c")" true
	terminal "exec ${cli[*]} attach $c" &
	sleep 1
	printf '\necho value $X\nexit 6\n' >"$work/keys"
	wait $! || is $? 6
	has "$(cat "$work/screen")" 'value kept'
}

check_attach_gets_the_output() {
	q run -d -i --name "$c" "$IMAGE" sh -c 'read x; echo got $x'
	# Its input stays open: at its end Docker's attach may leave before the output has come.
	mkfifo "$work/keys"
	exec 9<>"$work/keys"
	"${cli[@]}" attach "$c" <&9 >"$work/attached" &
	sleep 0.5
	echo word >"$work/keys"
	wait $!
	is "$(cat "$work/attached")" "got word"
}

check_attach_forwards_signals() {
	q run -d --name "$c" "$IMAGE" sh -c 'trap "echo caught; exit 11" TERM; echo ready; while :; do sleep 0.1; done'
	eventually prints ready q logs "$c"
	mkfifo "$work/keys"
	exec 9<>"$work/keys"
	"${cli[@]}" attach "$c" >"$work/attached" <&9 &
	sleep 1
	kill -TERM $!
	# Podman's attach does not give the container's status.
	wait $! || is $? 11
	has "$(cat "$work/attached")" caught
	is "$(d inspect -f '{{.State.ExitCode}}' "$c")" 11
}

check_ps_lists() {
	q run -d --name "$c" "$IMAGE" sleep 100
	d ps --format '{{.Names}} {{.Image}} {{.Command}}'
	has "$(d ps --format '{{.Names}} {{.Status}}')" "$c Up"
	q stop -t 0 "$c"
	hasnt "$(d ps --format '{{.Names}}')" "$c"
	has "$(d ps -a --format '{{.Names}} {{.Status}}')" "$c Exited (137)"
}

check_top() {
	local found
	q run -d --name "$c" "$IMAGE" sh -c 'sleep 100 & sleep 100'
	eventually prints 'sleep 100' q top "$c"
	found=$(q top "$c")
	is "$(echo "$found" | grep -c 'sleep 100')" 2
	has "$found" PID
}

check_stats() {
	local found
	q run -d --memory 64m --pids-limit 50 --name "$c" "$IMAGE" sleep 100
	found=$(q stats --no-stream --format '{{.Name}}: {{.MemUsage}} {{.PIDs}}' "$c")
	echo "$found"
	has "$found" "$c"
	case $found in *" 1") ;; *) return 1 ;; esac
	case $found in *6[47]*) ;; *) return 1 ;; esac
}

check_inspect_state() {
	q run -d --name "$c" "$IMAGE" sleep 100
	is "$(d inspect -f '{{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.ExitCode}}' "$c")" "running true false 0"
	[ -d "/proc/$(q inspect -f '{{.State.Pid}}' "$c")" ]
}

# short
check_stop_is_graceful() {
	d run -d --name "$c" "$IMAGE" sh -c 'trap "echo bye; exit 5" TERM; echo ready; while :; do sleep 0.1; done'
	eventually prints ready q logs "$c"
	d stop "$c"
	is "$(d inspect -f '{{.State.ExitCode}}' "$c")" 5
	has "$(d logs "$c")" bye
}

check_stop_kills_after_its_time() {
	q run -d --name "$c" "$IMAGE" sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
	eventually prints ready q logs "$c"
	d stop -t 1 "$c"
	is "$(d inspect -f '{{.State.ExitCode}}' "$c")" 137
}

check_stop_signal() {
	q run -d --stop-signal USR1 --name "$c" "$IMAGE" sh -c 'trap "exit 21" USR1; echo ready; while :; do sleep 0.1; done'
	eventually prints ready q logs "$c"
	d stop "$c"
	is "$(d inspect -f '{{.State.ExitCode}}' "$c")" 21
}

check_stop_twice() {
	q run -d --name "$c" "$IMAGE" sleep 100
	d stop -t 0 "$c"
	d stop -t 0 "$c"
}

check_kill() {
	q run -d --name "$c" "$IMAGE" sleep 100
	d kill "$c"
	is "$(d wait "$c")" 137
}

check_kill_with_a_signal() {
	q run -d --name "$c" "$IMAGE" sh -c 'trap "echo hup" HUP; echo ready; while :; do sleep 0.1; done'
	eventually prints ready q logs "$c"
	d kill -s HUP "$c"
	eventually prints hup q logs "$c"
	d kill --signal 9 "$c"
	is "$(d wait "$c")" 137
}

check_kill_of_what_has_ended() {
	q run --name "$c" "$IMAGE" true
	d kill "$c" && return 1
	[ $? != 0 ]
}

check_restart() {
	local first
	q run -d --name "$c" "$IMAGE" sh -c 'echo started; sleep 100'
	eventually prints started q logs "$c"
	first=$(q inspect -f '{{.State.Pid}}' "$c")
	d restart -t 0 "$c"
	[ "$(q inspect -f '{{.State.Pid}}' "$c")" != "$first" ]
	eventually eval '[ "$(q logs "$c" | grep -c started)" = 2 ]'
}

check_start_again() {
	q run --name "$c" "$IMAGE" sh -c 'echo x >>/count; wc -l </count'
	d start -a "$c"
	d start -a "$c"
	is "$(q logs "$c" | xargs)" "1 2 3"
}

check_restart_policy_on_failure() {
	q run -d --restart on-failure:2 --name "$c" "$IMAGE" sh -c 'echo try; exit 1'
	eventually eval '[ "$(q logs "$c" | grep -c try)" = 3 ]'
	eventually eval '[ "$(q inspect -f "{{.State.Status}}" "$c")" = exited ]'
	is "$(d inspect -f '{{.RestartCount}} {{.State.ExitCode}}' "$c")" "2 1"
}

check_restart_policy_always() {
	local pid
	q run -d --restart always --name "$c" "$IMAGE" sh -c 'echo up; sleep 100'
	eventually prints up q logs "$c"
	pid=$(q inspect -f '{{.State.Pid}}' "$c")
	kill -KILL "$pid"
	eventually eval '[ "$(q logs "$c" | grep -c up)" = 2 ]'
	d stop -t 0 "$c"
	sleep 1
	is "$(d inspect -f '{{.State.Running}}' "$c")" false
}

check_rm() {
	q create --name "$c" "$IMAGE" true
	d rm "$c"
	ends 1 d rm "$c" || true
	hasnt "$(d ps -a --format '{{.Names}}')" "$c"
}

check_rm_force_of_a_running_one() {
	q run -d --name "$c" "$IMAGE" sleep 100
	d rm "$c" && return 1
	d rm -f "$c"
	hasnt "$(d ps -a --format '{{.Names}}')" "$c"
}

check_rename() {
	q run -d --name "$c" "$IMAGE" sleep 100
	d rename "$c" "$c-2"
	is "$(d inspect -f '{{.State.Running}}' "$c-2")" true
}

check_events() {
	local since
	since=$(date +%s)
	q run --name "$c" "$IMAGE" true
	q rm "$c"
	sleep 1
	# Podman shows nothing if that is over by the time that it reads.
	q events --since "$since" --until "$(($(date +%s) + SLOW))" --filter "container=$c" --format '{{.Status}}' >"$work/events"
	tr 'A-Z' 'a-z' <"$work/events" >>"$seen"
	has "$(cat "$work/events")" start
	grep -E 'die|exited|died' "$work/events"
}

check_create_start_fails_and_leaves_nothing() {
	local before
	before=$(find /sys/fs/cgroup -type d | wc -l)
	q create --name "$c" "$IMAGE" no-such-program
	ends 127 d start "$c" || ends 1 d start "$c" || ends 125 d start "$c"
	q rm -f "$c"
	is "$(find /sys/fs/cgroup -type d | wc -l)" "$before"
}

check_init_reaps() {
	local found
	q run -d --init --name "$c" "$IMAGE" sh -c '(sleep 0.1 &) ; sleep 100'
	found=$(d exec "$c" cat /proc/1/comm)
	case $found in *init* | catatonit) ;; *) echo "$found"; return 1 ;; esac
	sleep 0.5
	hasnt "$(d exec "$c" ps -o stat)" Z
}

check_many_at_once() {
	local i
	for i in $(seq 30); do q run -d --name "$c-$i" "$IMAGE" sh -c "echo $i; sleep 1000" >"$work/$i" 2>&1 & done
	wait
	is "$(q ps -q --filter "name=$c" | wc -l)" 30
	for i in $(seq 30); do is "$(q exec "$c-$i" hostname | wc -c)" 13; done
	for i in $(seq 30); do q rm -f "$c-$i" & done >/dev/null
	wait
	is "$(q ps -aq --filter "name=$c" | wc -l)" 0
}

check_many_one_after_the_other() {
	local i
	for i in $(seq 20); do is "$(q run --rm "$IMAGE" echo "$i")" "$i"; done
}
