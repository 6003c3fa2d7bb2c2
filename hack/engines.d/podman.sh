# What only Podman has. Buildah and skopeo too.

check_podman_info_names_the_runtime() { is "$(q info --format '{{.Host.OCIRuntime.Path}}')" "$RUNTIME"; }

check_podman_by_its_configuration() {
	local cli=(podman --root "$private/lib/podman" --runroot /run/podman --cgroup-manager "$DRIVER" --events-backend file)
	sed "/\[engine\]/a runtime = \"named\"" "$CONTAINERS_CONF" >"$work/conf"
	printf '[engine.runtimes]\nnamed = ["%s"]\n' "$RUNTIME" >>"$work/conf"
	is "$(CONTAINERS_CONF=$work/conf q info --format '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}')" "named $RUNTIME"
	is "$(CONTAINERS_CONF=$work/conf d run --rm "$IMAGE" echo configured)" configured
}

# short
check_podman_pod() {
	d pod create --name "$c" --network none
	q run -d --pod "$c" --name "$c-1" "$IMAGE" sh -c 'echo pod >/tmp/index.html; httpd -f -p 80 -h /tmp'
	eventually prints pod q run --rm --pod "$c" "$IMAGE" wget -q -O - http://127.0.0.1/index.html
	is "$(q exec "$c-1" readlink /proc/self/ns/ipc)" "$(q run --rm --pod "$c" "$IMAGE" readlink /proc/self/ns/ipc)"
	has "$(d pod ps --format '{{.Name}} {{.Status}}')" Running
	d pod stop -t 0 "$c"
	d pod start "$c"
	is "$(q inspect -f '{{.State.Running}}' "$c-1")" true
	d pod rm -f -t 0 "$c"
	hasnt "$(q ps -a --format '{{.Names}}')" "$c"
}

check_podman_pod_with_a_shared_pid_namespace() {
	d pod create --name "$c" --network none --share pid,ipc,uts
	q run -d --pod "$c" --name "$c-1" "$IMAGE" sleep 12345
	has "$(d run --rm --pod "$c" "$IMAGE" ps -o args)" 'sleep 12345'
}

check_podman_pod_pause_and_limits() {
	d pod create --name "$c" --network none --cpus 0.5
	q run -d --pod "$c" --name "$c-1" "$IMAGE" sleep 100
	d pod pause "$c"
	is "$(q inspect -f '{{.State.Status}}' "$c-1")" paused
	d pod unpause "$c"
	is "$(q inspect -f '{{.State.Status}}' "$c-1")" running
}

check_podman_play_kube() {
	cat >"$work/pod.yaml" <<-YAML
	apiVersion: v1
	kind: Pod
	metadata: {name: $c}
	spec:
	  restartPolicy: Never
	  initContainers:
	  - {name: first, image: $IMAGE, command: [sh, -c, "echo made >/shared/file"], volumeMounts: [{name: v, mountPath: /shared}]}
	  containers:
	  - name: main
	    image: $IMAGE
	    command: [sh, -c, "cat /shared/file; sleep 100"]
	    securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
	    volumeMounts: [{name: v, mountPath: /shared}]
	  volumes: [{name: v, emptyDir: {}}]
	YAML
	q play kube --network none "$work/pod.yaml"
	eventually prints made q logs "$c-main"
	is "$(d exec "$c-main" id -u)" 1000
	q play kube --down "$work/pod.yaml"
}

# short
check_podman_health_check() {
	q run -d --health-cmd 'test -e /healthy' --health-interval disable --name "$c" "$IMAGE" sleep 100
	ends 1 d healthcheck run "$c"
	q exec "$c" touch /healthy
	ends 0 d healthcheck run "$c"
}

check_podman_init_container() {
	q pod create --name "$c" --network none
	q create --pod "$c" --init-ctr once --name "$c-0" "$IMAGE" sh -c 'echo first'
	q create --pod "$c" --name "$c-1" "$IMAGE" sleep 100
	d pod start "$c"
	is "$(q inspect -f '{{.State.Running}}' "$c-1")" true
}

# short
check_podman_user_namespace() {
	is "$(d run --rm --uidmap 0:100000:5000 --gidmap 0:100000:5000 "$IMAGE" sh -c 'cat /proc/self/uid_map; id -u' | xargs)" "0 100000 5000 0"
	q run -d --name "$c" --uidmap 0:100000:5000 "$IMAGE" sh -c 'touch /made; sleep 100'
	is "$(stat -c %u "/proc/$(q inspect -f '{{.State.Pid}}' "$c")")" 100000
	is "$(d exec "$c" stat -c %u /made)" 0
	is "$(d exec -u 1000 "$c" id -u)" 1000
}

check_podman_user_namespace_with_volumes() {
	mkdir "$work/dir"
	chmod 777 "$work/dir"
	chmod 711 /run/checks "$work"
	d run --rm --uidmap 0:100000:5000 -v "$work/dir:/mnt" --tmpfs /t --read-only "$IMAGE" sh -c 'touch /mnt/x /t/x'
	is "$(stat -c %u "$work/dir/x")" 100000
	d run --rm --uidmap 0:100000:5000 -v "$work/dir:/mnt:U" "$IMAGE" sh -c 'chmod 700 /mnt; touch /mnt/y'
	d run --rm --uidmap 0:100000:5000 --network none --pid host "$IMAGE" true
}

check_podman_user_namespace_idmapped_volume() {
	mkdir "$work/dir"
	mount -t tmpfs tmpfs "$work/dir"
	touch "$work/dir/file"
	chmod 711 /run/checks "$work"
	is "$(d run --rm --uidmap 0:100000:5000 -v "$work/dir:/mnt:idmap" "$IMAGE" stat -c %u /mnt/file)" 0
	umount "$work/dir"
}

check_podman_user_namespace_auto() {
	grep -q '^containers:' /etc/subuid || { echo containers:600000:200000 >>/etc/subuid; echo containers:600000:200000 >>/etc/subgid; }
	has "$(d run --rm --userns auto "$IMAGE" cat /proc/self/uid_map)" 600000
}

check_podman_rootfs() {
	"$PARTS/../rootfs" "$work/rootfs" >/dev/null
	is "$(d run --rm --rootfs "$work/rootfs" test -e /etc/hostname && echo there)" there
	is "$(d run --rm --read-only --rootfs "$work/rootfs" echo from rootfs)" "from rootfs"
}

check_podman_systemd_mode() {
	d run --rm --systemd always "$IMAGE" sh -c 'grep -E " (/run|/run/lock|/tmp|/var/log/journal|/sys/fs/cgroup/systemd) " /proc/mounts | cut -d" " -f2,3 | sort; echo $container_uuid | wc -c'
}

check_podman_timezone_umask_and_more() {
	is "$(d run --rm --umask 0077 "$IMAGE" sh -c umask)" 0077
	has "$(q run --rm --add-host box:10.9.8.7 "$IMAGE" cat /etc/hosts)" 10.9.8.7
	is "$(d run --rm --http-proxy=false --unsetenv FROM_IMAGE "$IMAGE" sh -c 'echo "$FROM_IMAGE"')" ""
	is "$(d run --rm --secret s1 "$IMAGE" cat /run/secrets/s1 2>/dev/null || true)" ""
}

check_podman_secret() {
	echo hidden >"$work/secret"
	q secret create "$c" "$work/secret"
	is "$(d run --rm --secret "$c" "$IMAGE" cat "/run/secrets/$c")" hidden
	q secret rm "$c"
}

check_podman_pass_descriptors() {
	echo passed >"$work/file"
	is "$(podman_with_fd)" passed
}
podman_with_fd() { "${cli[@]}" run --rm --preserve-fds 1 "$IMAGE" cat /proc/self/fd/3 3<"$work/file"; }

check_podman_mount_and_unmount_the_root() {
	local root
	q create --name "$c" "$IMAGE" cat /put
	root=$(q mount "$c")
	echo placed >"$root/put"
	q umount "$c"
	is "$(d start -a "$c")" placed
}

check_podman_generate_kube() {
	q run -d --name "$c" --memory 64m "$IMAGE" sleep 100
	has "$(q generate kube "$c")" 'kind: Pod'
}

check_podman_network_between_two() {
	q network create "$c" || skip "netavark makes no network here"
	q run -d --network "$c" --name "$c" "$IMAGE" sh -c 'echo net >/tmp/index.html; httpd -f -p 80 -h /tmp' || skip "netavark makes no network here"
	eventually prints net q run --rm --network "$c" "$IMAGE" wget -q -O - "http://$(q inspect -f "{{.NetworkSettings.Networks.$c.IPAddress}}" "$c")/index.html"
}

check_podman_sd_notify() {
	q run -d --sdnotify ignore --name "$c" "$IMAGE" sleep 100
	is "$(q inspect -f '{{.State.Running}}' "$c")" true
}

check_podman_checkpoint() {
	local last
	needs_criu
	q run -d --network none --name "$c" "$IMAGE" sh -c "$counting"
	eventually counted "$c" 5
	d container checkpoint "$c"
	is "$(q inspect -f '{{.State.Status}}' "$c")" exited
	last=$(q logs "$c" | tail -n 1)
	d container restore "$c"
	goes_on "$c" "$last"
	d stop -t 0 "$c"
	is "$(d inspect -f '{{.State.ExitCode}}' "$c")" 137
}

check_podman_checkpoint_of_one_that_runs_on() {
	needs_criu
	q run -d --network none --name "$c" "$IMAGE" sh -c "$counting"
	eventually counted "$c" 5
	d container checkpoint --leave-running "$c"
	is "$(q inspect -f '{{.State.Status}}' "$c")" running
	goes_on "$c" "$(q logs "$c" | tail -n 1)"
}

check_podman_checkpoint_to_another_name() {
	needs_criu
	q run -d --network none --memory 64m --name "$c" "$IMAGE" sh -c "echo kept >/file; $counting"
	eventually counted "$c" 5
	q container checkpoint --export "$work/one.tar.gz" "$c"
	q container restore --import "$work/one.tar.gz" --name "$c-2"
	is "$(q inspect -f '{{.State.Status}}' "$c-2")" running
	is "$(d exec "$c-2" cat /file)" kept
	is "$(limit "$c-2" memory/memory.limit_in_bytes memory.max)" 67108864
}

check_podman_program_killed_from_outside() {
	# conmon sees it end.
	q run -d --name "$c" "$IMAGE" sleep 100
	kill -KILL "$(q inspect -f '{{.State.Pid}}' "$c")"
	is "$(d wait "$c")" 137
}

# short
check_buildah_run() {
	local from b=(buildah --root "$private/lib/podman" --runroot /run/podman)
	from=$("${b[@]}" from --pull-never "$IMAGE")
	"${b[@]}" run --runtime "$RUNTIME" --isolation oci --network none "$from" sh -c 'echo by buildah >/made'
	is "$("${b[@]}" run --runtime "$RUNTIME" --isolation oci --network none "$from" cat /made)" "by buildah"
	"${b[@]}" rm "$from"
}

check_buildah_build() {
	local b=(buildah --root "$private/lib/podman" --runroot /run/podman)
	printf 'FROM %s\nRUN echo built >/made\nRUN cat /made && exit 0\n' "$IMAGE" >"$work/Dockerfile"
	"${b[@]}" build --runtime "$RUNTIME" --isolation oci --network none -t "localhost/$CHECK:1" "$work"
	is "$(d run --rm "localhost/$CHECK:1" cat /made)" built
	q rmi "localhost/$CHECK:1"
}

check_skopeo_copies_what_podman_runs() {
	skopeo --tmpdir "$work" copy -q "docker-archive:$STATE/image.tar:$IMAGE" "oci:$work/oci:one"
	q pull -q "oci:$work/oci:one" >"$work/id"
	is "$(d run --rm "$(cat "$work/id")" echo copied)" copied
}

# short
check_podman_leaves_nothing() {
	local left
	"${cli[@]}" pod rm -fa -t 0
	left=$("${cli[@]}" ps -aq)
	[ -z "$left" ] || "${cli[@]}" rm -f -t 0 $left
	is "$("${cli[@]}" ps -aq)" ""
	eventually eval '! pgrep -x conmon'
	is "$(find /sys/fs/cgroup -path '*libpod-*' -type d)" ""
	is "$(find /run/corten /run/runc /run/crun -mindepth 1 2>/dev/null || true)" ""
	is "$(grep /merged /proc/self/mountinfo || true)" ""
}
