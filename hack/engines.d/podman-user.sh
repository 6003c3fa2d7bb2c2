# What a user's Podman does in its own way.

# short
check_user_ids() {
	is "$(d run --rm "$IMAGE" cat /proc/self/uid_map | xargs)" "0 $(id -u) 1 1 100000 65536"
	q run -d --name "$c" "$IMAGE" sleep 100
	is "$(stat -c %u "/proc/$(q inspect -f '{{.State.Pid}}' "$c")")" "$(id -u)"
	is "$(q run -d --name "$c-2" -u 1000 "$IMAGE" sleep 100 | wc -c)" 65
	is "$(stat -c %u "/proc/$(q inspect -f '{{.State.Pid}}' "$c-2")")" 100999
}

# short
check_user_keeps_his_id() {
	mkdir "$work/dir"
	is "$(d run --rm --userns keep-id -v "$work/dir:/mnt" "$IMAGE" sh -c 'id -u; touch /mnt/x')" "$(id -u)"
	is "$(stat -c %u "$work/dir/x")" "$(id -u)"
	q run -d --name "$c" --userns keep-id "$IMAGE" sleep 100
	is "$(d exec "$c" id -u)" "$(id -u)"
	is "$(d exec -u 0 "$c" id -u)" 0
}

check_user_maps_a_part_of_his_ids() {
	is "$(d run --rm --uidmap 0:1:5000 --gidmap 0:1:5000 "$IMAGE" cat /proc/self/uid_map | xargs)" "0 1 5000"
	q run -d --name "$c" --uidmap 0:1:5000 --gidmap 0:1:5000 "$IMAGE" sh -c 'touch /made; sleep 100'
	is "$(stat -c %u "/proc/$(q inspect -f '{{.State.Pid}}' "$c")")" 100000
	is "$(d exec -u 1000 "$c" id -u)" 1000
}

check_user_joins_the_namespace() {
	# By `podman unshare`: already root of the namespace.
	is "$(podman_unshare "${cli[@]}" run --rm "$IMAGE" echo inside)" inside
}
podman_unshare() { "${cli[@]}" unshare "$@"; }

check_podman_user_mounts_the_root() {
	q create --name "$c" "$IMAGE" cat /put
	podman_unshare sh -c 'root=$("$@" mount '"$c"') && echo placed >"$root/put" && "$@" umount '"$c" sh "${cli[@]}"
	is "$(d start -a "$c")" placed
}

check_user_publishes_a_port() {
	q run -d -p 127.0.0.1:8089:80 --name "$c" "$IMAGE" sh -c 'echo ported >/tmp/index.html; httpd -f -p 80 -h /tmp'
	eventually prints ported busybox wget -q -O - http://127.0.0.1:8089/index.html
}

check_user_without_network() { is "$(d run --rm --network none "$IMAGE" ls /sys/class/net)" lo; }

check_user_has_no_rights_of_the_host() {
	d run --rm --privileged "$IMAGE" chroot /proc/1/root true || true
	has "$(d run --rm --cap-add SYS_TIME "$IMAGE" date -s 2000-01-01 2>&1 || true)" 'ot permitted'
	d run --rm --cap-add MKNOD "$IMAGE" mknod /tmp/x c 1 1 && return 1
	d run --rm -v /etc/shadow:/s "$IMAGE" cat /s && return 1
	[ $? != 0 ]
}

check_user_by_systemd() {
	[ "$DRIVER" = systemd ] || skip "no systemd of the user's"
	local cgroup
	q run -d --memory 64m --pids-limit 50 --name "$c" "$IMAGE" sleep 100
	cgroup=$(sed 's/^0:://' "/proc/$(q inspect -f '{{.State.Pid}}' "$c")/cgroup")
	has "$cgroup" "/user@$(id -u).service/user.slice/libpod-$(q inspect -f '{{.Id}}' "$c").scope"
	is "$(systemctl --user show --value -p MemoryMax "libpod-$(q inspect -f '{{.Id}}' "$c").scope")" 67108864
	q update --memory 128m --memory-swap 256m "$c"
	is "$(systemctl --user show --value -p MemoryMax "libpod-$(q inspect -f '{{.Id}}' "$c").scope")" 134217728
	q rm -f -t 0 "$c"
	[ ! -e "/sys/fs/cgroup$cgroup" ]
}
