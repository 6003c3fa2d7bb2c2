# What checks are written with. Sourced in the process of each check.

# A check fails with the first command that fails, and says which.
one_check() {
	set -Eeuo pipefail
	trap 'echo "line $LINENO of ${BASH_SOURCE[0]##*/}: $BASH_COMMAND: status $?"' ERR
	c=$CHECK seen=$PLACE/seen/$CHECK work=/run/checks/$CHECK
	rm -rf "$seen" "$work"
	mkdir -p "$work"
	: >"$seen"
	for file in $(files_of "$ENGINE"); do . "$file"; done
	# Programs leave files where they run: conmon its note of an OOM kill.
	cd "$work"
	! declare -F not_here >/dev/null || not_here "$CHECK"
	"check_$CHECK"
}
parts=$PARTS
. "$PARTS/names.sh"

skip() { echo "$*"; exit 77; }

# Seconds that a check may take.
limit_of() {
	case $1 in
	many_* | soak_*) echo 300 ;;
	*) echo 60 ;;
	esac
}

# d ARGS: the engine's command line. What it prints and its status are what a user sees: kept, to be compared.
d() {
	local status=0 out err
	out=$(mktemp "$work/out.XXXXXX") err=$(mktemp "$work/err.XXXXXX")
	"${cli[@]}" "$@" >"$out" 2>"$err" || status=$?
	{
		echo "\$ $*"
		sed 's/^/| /' "$out"
		sed 's/^/! /' "$err"
		[ $status = 0 ] || echo "= $status"
	} | sed "s|$RUNTIME|RUNTIME|g" >>"$seen"
	cat "$out"
	cat "$err" >&2
	return $status
}

# q ARGS: the same, for output that is never the same twice.
q() { "${cli[@]}" "$@"; }

# is ACTUAL EXPECTED
is() {
	[ "$1" = "$2" ] || { echo "found '$1', expected '$2'"; return 1; }
}

# has TEXT PART: the text has that part.
has() {
	case $1 in
	*"$2"*) ;;
	*) echo "no '$2' in: $1"; return 1 ;;
	esac
}

# hasnt TEXT PART
hasnt() {
	case $1 in
	*"$2"*) echo "'$2' in: $1"; return 1 ;;
	esac
}

# ends STATUS COMMAND...: the command ends with that status; prints what it said, errors included.
ends() {
	local expected=$1 status=0
	shift
	"$@" 2>&1 || status=$?
	[ $status = "$expected" ] || { echo "status $status instead of $expected: $*" >&2; return 1; }
}

# eventually COMMAND...: within twenty seconds. Most of what engines do has no event to wait for.
eventually() {
	local try
	for try in $(seq 200); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	echo "not within 20 s: $*"
	return 1
}

# alike COMMAND... -- PART: its output has that part.
prints() { case $("${@:2}" 2>&1) in *"$1"*) return 0 ;; *) return 1 ;; esac; }

# terminal COMMAND: runs it (a line of shell) on a terminal of 33 lines and 111 columns, whose name comes to $work/tty;
# what is written into $work/keys is typed.
terminal() {
	rm -f "$work/keys"
	mkfifo "$work/keys"
	exec 9<>"$work/keys"
	script -qec "stty rows 33 cols 111; tty >$work/tty; $1" /dev/null <&9 >"$work/screen" 2>&1 9>&-
}

# For programs on a terminal. Engines set its size a moment after the program has started.
wait_for_size='for i in $(seq 50); do stty size 2>/dev/null | grep -v ^0 && break; sleep 0.1; done'
resize='trap "stty size; stty size | grep -q ^20 && exit 7" WINCH; echo ready'

# The value of a field in /proc/PID/status as `grep` prints it.
field() { sed -n "s/^$1:[[:space:]]*//p"; }

# For checkpoints: a program that counts, and whether it goes on with what comes after LAST and not from the beginning.
needs_criu() {
	criu check >"$work/criu" 2>&1 || skip "CRIU does not work here: $(grep -m 1 -o 'Error.*' "$work/criu" || tail -n 1 "$work/criu")"
}
counting='i=0; while :; do i=$((i + 1)); echo $i; sleep 0.1; done'
counted() { [ "$(q logs "$1" | tail -n 1)" -ge "$2" ]; }
goes_on() {
	is "$(q inspect -f '{{.State.Status}}' "$1")" running
	eventually counted "$1" $(($2 + 3))
	is "$(q logs "$1" | sort | uniq -d)" ""
}

# Which cgroup layout is seen.
is_v2() { [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; }

