# Files: volumes, tmpfs, read-only roots, copies, images from containers. For Docker and Podman.

check_volume_bind() {
	mkdir "$work/dir"
	echo outside >"$work/dir/file"
	is "$(d run --rm -v "$work/dir:/mnt" "$IMAGE" sh -c 'cat /mnt/file; echo inside >/mnt/new')" outside
	is "$(cat "$work/dir/new")" inside
}

# short
check_volume_bind_read_only() {
	mkdir "$work/dir"
	has "$(ends 1 d run --rm -v "$work/dir:/mnt:ro" "$IMAGE" touch /mnt/new)" 'Read-only file system'
	[ ! -e "$work/dir/new" ]
}

check_volume_bind_of_a_file() {
	echo content >"$work/file"
	is "$(d run --rm -v "$work/file:/etc/made/file" "$IMAGE" cat /etc/made/file)" content
}

check_volume_named() {
	d volume create "$c"
	d run --rm -v "$c:/mnt" "$IMAGE" sh -c 'echo kept >/mnt/file'
	is "$(d run --rm -v "$c:/mnt:ro" "$IMAGE" cat /mnt/file)" kept
	d volume rm "$c"
}

check_volume_gets_the_images_files() {
	is "$(d run --rm -v "$c:/data" "$IMAGE" cat /data/seed)" seed
	q volume rm "$c"
}

check_volume_shared_by_two() {
	q volume create "$c"
	q run -d --name "$c-1" -v "$c:/mnt" "$IMAGE" sleep 100
	q run -d --name "$c-2" -v "$c:/mnt" "$IMAGE" sleep 100
	d exec "$c-1" sh -c 'echo shared >/mnt/file'
	is "$(d exec "$c-2" cat /mnt/file)" shared
	q rm -f "$c-1" "$c-2"
	q volume rm "$c"
}

check_volumes_from() {
	q run -d --name "$c" -v /vol "$IMAGE" sh -c 'echo x >/vol/file; sleep 100'
	eventually prints x q run --rm --volumes-from "$c" "$IMAGE" cat /vol/file
}

check_volume_propagation() {
	mkdir -p "$work/shared"
	mount --bind "$work/shared" "$work/shared"
	mount --make-shared "$work/shared"
	q run -d --name "$c" -v "$work/shared:/mnt:rslave" "$IMAGE" sleep 100
	mkdir "$work/shared/sub"
	mount -t tmpfs tmpfs "$work/shared/sub"
	touch "$work/shared/sub/seen"
	d exec "$c" ls /mnt/sub/seen
	q rm -f "$c"
	umount -R "$work/shared"
}

# short
check_tmpfs() {
	local found
	found=$(d run --rm --tmpfs /scratch:rw,size=1m,mode=1777 "$IMAGE" sh -c 'grep " /scratch " /proc/mounts; touch /scratch/x; stat -c %a /scratch')
	has "$found" 'tmpfs rw,nosuid,nodev'
	has "$found" 'size=1024k'
	has "$found" 1777
	ends 1 d run --rm --tmpfs /scratch:size=64k "$IMAGE" sh -c 'head -c 100000 /dev/zero >/scratch/x'
}

check_mount_option_of_the_command() {
	mkdir "$work/dir"
	is "$(d run --rm --mount "type=bind,source=$work/dir,target=/a,readonly" --mount type=tmpfs,destination=/b "$IMAGE" \
		sh -c 'grep -c -E " (/a|/b) " /proc/mounts')" 2
}

check_read_only_root() {
	has "$(ends 1 d run --rm --read-only "$IMAGE" touch /new)" 'Read-only file system'
	d run --rm --read-only --tmpfs /tmp "$IMAGE" touch /tmp/new
	d run --rm --read-only "$IMAGE" sh -c 'echo x >/dev/null && : >/dev/shm/x'
}

check_mount_tree_of_a_container() {
	# Whatever order and options: what a program sees mounted is what a user sees.
	d run --rm "$IMAGE" sh -c "awk '{print \$2, \$3, \$4}' /proc/mounts" | sed 's/lowerdir=[^ ]*/LAYERS/' >"$work/mounts"
	has "$(cat "$work/mounts")" '/proc proc rw,nosuid,nodev,noexec'
	has "$(cat "$work/mounts")" '/sys sysfs ro'
	has "$(cat "$work/mounts")" '/dev/shm tmpfs'
	has "$(cat "$work/mounts")" '/etc/resolv.conf'
}

check_shm_size() { has "$(d run --rm --shm-size 3m "$IMAGE" df -k /dev/shm)" 3072; }

# short
check_copy_in_and_out() {
	q run -d --name "$c" "$IMAGE" sleep 100
	echo word >"$work/file"
	d cp "$work/file" "$c:/tmp/file"
	is "$(d exec "$c" cat /tmp/file)" word
	d cp "$c:/tmp/file" "$work/back"
	is "$(cat "$work/back")" word
	mkdir "$work/tree"
	touch "$work/tree/a" "$work/tree/b"
	d cp "$work/tree" "$c:/tmp/tree"
	is "$(d exec "$c" ls /tmp/tree | xargs)" "a b"
}

check_copy_of_a_stopped_container() {
	q run --name "$c" "$IMAGE" sh -c 'echo left >/left'
	d cp "$c:/left" "$work/left"
	is "$(cat "$work/left")" left
}

check_diff() {
	q run --name "$c" "$IMAGE" sh -c 'touch /added; rm /data/seed'
	# In any order.
	has "$(q diff "$c")" 'A /added'
	has "$(q diff "$c")" 'D /data/seed'
}

check_commit() {
	q run --name "$c" "$IMAGE" sh -c 'echo committed >/file'
	q commit "$c" "localhost/$CHECK:1"
	is "$(d run --rm "localhost/$CHECK:1" cat /file)" committed
	q rm "$c"
	q rmi "localhost/$CHECK:1"
}

check_commit_while_running() {
	q run -d --name "$c" "$IMAGE" sh -c 'echo now >/file; sleep 100'
	eventually prints now q exec "$c" cat /file
	q commit --pause=true "$c" "localhost/$CHECK:1"
	is "$(d run --rm "localhost/$CHECK:1" cat /file)" now
	is "$(d inspect -f '{{.State.Status}}' "$c")" running
	q rm -f "$c"
	q rmi "localhost/$CHECK:1"
}

check_export_and_import() {
	q run --name "$c" "$IMAGE" sh -c 'echo exported >/file'
	q export "$c" >"$work/tar"
	q import "$work/tar" "localhost/$CHECK:1"
	is "$(d run --rm "localhost/$CHECK:1" cat /file)" exported
	q rmi "localhost/$CHECK:1"
}

build() { q build -q "$@" >"$work/built" 2>&1 || { cat "$work/built"; return 1; }; }

# short
check_build_with_run_steps() {
	printf 'FROM %s\nRUN echo step one >/one && id -u >/uid\nENV X=y\nRUN ["sh", "-c", "echo $X >/two"]\nWORKDIR /w\nUSER 1000\nRUN id -u >/tmp/uid\nCMD cat /one /two /uid /tmp/uid\n' "$IMAGE" >"$work/Dockerfile"
	build -t "localhost/$CHECK:1" "$work"
	is "$(d run --rm "localhost/$CHECK:1" | xargs)" "step one y 0 1000"
	q rmi "localhost/$CHECK:1"
}

check_build_that_fails() {
	local said
	printf 'FROM %s\nRUN echo before; exit 13\n' "$IMAGE" >"$work/Dockerfile"
	said=$(q build "$work" 2>&1) && return 1
	has "$said" 'before'
	has "$said" 13
}

check_build_with_stages() {
	printf 'FROM %s AS first\nRUN echo made >/made\nFROM %s\nCOPY --from=first /made /copied\nRUN cat /copied >/again\n' \
		"$IMAGE" "$IMAGE" >"$work/Dockerfile"
	build -t "localhost/$CHECK:1" "$work"
	is "$(d run --rm "localhost/$CHECK:1" cat /again)" made
	q rmi "localhost/$CHECK:1"
}
