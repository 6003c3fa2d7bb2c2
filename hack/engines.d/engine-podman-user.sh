# Podman of an ordinary user: ids from /etc/subuid, no rights but his own; no cgroups, or those that his own systemd makes.
private=$STATE/private
# The tested program may lie where only root comes.
[ -e "$private/bin/$RUNTIME_NAME" ] || install -m 755 "$RUNTIME" "$private/bin/$RUNTIME_NAME"
export RUNTIME=$private/bin/$RUNTIME_NAME
. "$PARTS/engine-podman.sh"

user=1000
getent passwd $user >/dev/null || useradd -u $user tester
as=(setpriv --reuid $user --regid $user --init-groups env "HOME=$private/lib/home" "USER=$(id -un $user)" "XDG_RUNTIME_DIR=/run/user/$user")
# From a scope of his own, as from a login; what is put into scopes by systemd comes from there.
[ "$DRIVER" = cgroupfs ] ||
	as+=("DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$user/bus" systemd-run --user --scope --quiet --collect --)

everybodys() {
	[ "$(stat -c %a "/dev/$1")" != 666 ] || return 0
	[ "$DRIVER" = cgroupfs ] || { chmod 666 "/dev/$1"; return; }
	mknod "$private/$2-$3" c "$2" "$3"
	chmod 666 "$private/$2-$3"
	mount --bind "$private/$2-$3" "/dev/$1"
}

start_engine() {
	local file
	for file in subuid subgid; do
		grep -q "^$(id -un $user):" /etc/$file || echo "$(id -un $user):100000:65536" >>/etc/$file
	done
	chmod 711 "$STATE" "$private" "$private/lib" "$private/bin"
	mkdir -p "$private/lib/home" "$private/lib/podman" /run/podman /run/user/$user
	chmod 700 /run/user/$user
	chown $user:$user "$private"/lib/{home,podman} /run/podman /run/user/$user /run/checks "$PLACE/seen"
	# As udev leaves them for everybody.
	everybodys net/tun 10 200
	everybodys fuse 10 229
	configure
	"${as[@]}" "${cli[@]}" load -q -i "$STATE/image.tar"
	"${as[@]}" "${cli[@]}" info >"$LOGS/info"
}

# Checks of root's Podman that a user cannot have.
not_here() {
	case $1 in
	devices | device_cgroup_rule | volume_propagation | *_idmapped_volume) skip "makes device nodes or mounts on the host" ;;
	podman_user_namespace*) skip "maps ids that are not the user's" ;;
	podman_mount_and_unmount_the_root) skip "needs root: podman_user_mounts_the_root" ;;
	network_between_two) skip "slirp4netns leads to the host, not to other containers" ;;
	podman_checkpoint* | checkpoint*) skip "Podman wants root for checkpoints" ;;
	process_of_the_container_seen_from_outside) skip "another user may not look into /proc/PID" ;;
	ipc_modes) [ -d /dev/mqueue ] || skip "Podman binds the host's /dev/mqueue, and there is none" ;;
	esac
	is_v2 && return
	case $1 in
	*pause* | commit_while_running) skip "Podman pauses a user's containers on cgroup v2 only" ;;
	memory_* | out_of_memory_* | cpu_* | pids_limit | blkio_weight | cgroup_parent | container_sees_its_limits | update | update_of_* | stats)
		skip "Podman gives a user's containers cgroups on v2 only"
		;;
	esac
}
