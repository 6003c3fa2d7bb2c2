# What hack/engines and hack/soak do on the host: packages, the image, namespaces and a cgroup to start an engine in, and
# taking all of it away again. Needs $parts, $hack, say, die.

# A runtime's name, and where it is.
runtime_path() {
	case $1 in
	*/*) readlink -e "$1" ;;
	corten) [ -n "${CORTEN:-}" ] && readlink -e "$CORTEN" || "$hack/build" | xargs -r readlink -e ;;
	*) PATH=$PATH:/usr/sbin:/sbin command -v "$1" ;;
	esac
}

# prepare: a folder and the image. What is made is removed at the end of the script.
prepare() {
	sweep
	state=$(mktemp -d /var/tmp/corten-engines.XXXXXX)
	echo $$ >"$state/pid"
	trap finish EXIT
	trap 'exit 130' INT TERM HUP
	make_image "$state/image.tar"
}

# What is left of a run that was killed itself: its processes have ended with it.
sweep() {
	local folder pid
	for folder in /var/tmp/corten-engines.*; do
		pid=$(cat "$folder/pid" 2>/dev/null) || continue
		[ ! -d "/proc/$pid" ] || continue
		state=$folder cgroups=corten-engines.$pid
		[ ! -e "$state/hierarchies" ] || cgroups_remove
		rm -rf "$folder"
	done
}

finish() {
	trap '' INT TERM HUP
	[ -z "${child:-}" ] || kill -KILL "$child" 2>/dev/null || true
	[ -z "${child:-}" ] || wait "$child" 2>/dev/null || true
	cgroups_remove
	[ "$DRIVER" = cgroupfs ] || { systemctl stop tested.service 2>/dev/null || true; leave_mounts; }
	rm -rf "$state" || { sleep 1; rm -rf "$state"; }
}

# in_namespaces ENGINE RUNTIME_NAME RUNTIME PLACE PROGRAM [ARG]...: starts the engine in namespaces of its own and runs one
# of our programs beside it. Results go to PLACE. All of it ends with the program, or with us.
in_namespaces() {
	local status=0
	export PARTS=$parts STATE=$state ENGINE=$1 RUNTIME_NAME=$2 RUNTIME=$3 PLACE=$4 SLOW=${slow:-1}
	shift 4
	rm -rf "$PLACE"
	mkdir -p "$PLACE"
	if [ "$DRIVER" = systemd ]; then
		in_a_service "$@" || status=$?
		return $status
	fi
	cgroups_make
	# The shells in between go into the cgroup, so that the new cgroup namespace begins there, and then out of its way.
	setpriv --pdeathsig KILL bash -c '. "$PARTS/cgroups.sh"; cgroups_enter "$1"; exec unshare -C bash "$PARTS/between" "$@"' \
		bash "$cgroups" "$@" </dev/null &
	child=$!
	wait "$child" || status=$?
	child=
	cgroups_remove
	rm -rf "$state/private"
	return $status
}

# The same with systemd, on a machine that is there for nothing else: in the first namespaces, where systemd is.
in_a_service() {
	local status=0
	systemd-run --quiet --pipe --wait --collect --unit tested.service -p KillSignal=KILL -p OOMPolicy=continue -p TasksMax=infinity \
		-p LimitNOFILE=1048576 -E PARTS -E STATE -E ENGINE -E RUNTIME_NAME -E RUNTIME -E PLACE -E SLOW -E DRIVER \
		bash "$PARTS/inside" "$@" </dev/null || status=$?
	leave_mounts
	rm -rf "$state/private"
	return $status
}

leave_mounts() {
	local place
	awk -v under="$state/private/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | tac |
		while read -r place; do umount -l "$place"; done
}

. "$parts/install.sh"
. "$parts/cgroups.sh"
. "$parts/image.sh"
