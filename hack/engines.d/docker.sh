# What only Docker has.

check_docker_info_names_the_runtime() {
	is "$(q info --format '{{.DefaultRuntime}}')" tested
	has "$(q info --format '{{json .Runtimes}}')" "$RUNTIME"
}

check_docker_runtime_changed_by_reload() {
	# There and back, while a container of the one runs on.
	q run -d --name "$c" "$IMAGE" sleep 100
	sed -i 's/"default-runtime": "tested"/"default-runtime": "runc"/' /etc/docker/daemon.json
	kill -HUP "$(cat /run/docker.pid)"
	eventually eval '[ "$(docker info --format "{{.DefaultRuntime}}")" = runc ]'
	is "$(d exec "$c" echo still)" still
	sed -i 's/"default-runtime": "runc"/"default-runtime": "tested"/' /etc/docker/daemon.json
	kill -HUP "$(cat /run/docker.pid)"
	eventually eval '[ "$(docker info --format "{{.DefaultRuntime}}")" = tested ]'
	is "$(q inspect -f '{{.HostConfig.Runtime}}' "$c")" tested
	d stop -t 0 "$c"
}

check_docker_runtime_by_name() { is "$(d run --rm --runtime tested "$IMAGE" echo named)" named; }

check_docker_makes_the_workdir() { is "$(d run --rm -w /made/by/the/engine "$IMAGE" pwd)" /made/by/the/engine; }

check_docker_profile_forbids_user_namespaces() {
	has "$(ends 1 d run --rm "$IMAGE" unshare -U true)" 'ot permitted'
}

# short
check_docker_health_check() {
	q run -d --health-cmd 'test -e /healthy' --health-interval 1s --health-retries 2 --name "$c" "$IMAGE" sleep 100
	eventually eval '[ "$(q inspect -f "{{.State.Health.Status}}" "$c")" = unhealthy ]'
	q exec "$c" touch /healthy
	eventually eval '[ "$(q inspect -f "{{.State.Health.Status}}" "$c")" = healthy ]'
	d inspect -f '{{.State.Health.FailingStreak}}' "$c"
}

check_docker_build_kit() {
	docker buildx version >/dev/null 2>&1 || skip "Debian 12 has no buildx for its Docker"
	printf '# syntax-free\nFROM %s\nRUN echo from buildkit >/made; id -u >>/made\nRUN --mount=type=tmpfs,target=/t touch /t/x\n' "$IMAGE" >"$work/Dockerfile"
	DOCKER_BUILDKIT=1 q build --network none -t "localhost/$CHECK:1" "$work" >"$work/built" 2>&1 || { cat "$work/built"; return 1; }
	is "$(d run --rm "localhost/$CHECK:1" xargs -a /made 2>/dev/null || d run --rm "localhost/$CHECK:1" sh -c 'xargs </made')" "from buildkit 0"
	q rmi "localhost/$CHECK:1"
}

check_docker_build_kit_that_fails() {
	docker buildx version >/dev/null 2>&1 || skip "Debian 12 has no buildx for its Docker"
	printf 'FROM %s\nRUN exit 14\n' "$IMAGE" >"$work/Dockerfile"
	has "$(DOCKER_BUILDKIT=1 q build --network none "$work" 2>&1 || true)" 'exit code: 14'
}

check_docker_network_of_its_own() {
	q network create "$c"
	q run -d --network "$c" --name "$c-1" "$IMAGE" sh -c 'echo named >/tmp/index.html; httpd -f -p 80 -h /tmp'
	eventually prints named q run --rm --network "$c" "$IMAGE" wget -q -O - "http://$c-1/index.html"
	q rm -f "$c-1"
	q network rm "$c"
}

check_docker_port() {
	q run -d -p 127.0.0.1:8088:80 --name "$c" "$IMAGE" sh -c 'echo ported >/tmp/index.html; httpd -f -p 80 -h /tmp'
	eventually prints ported busybox wget -q -O - http://127.0.0.1:8088/index.html
}

check_docker_network_connect_while_running() {
	q run -d --network none --name "$c" "$IMAGE" sleep 100
	q network create "$c"
	q network disconnect none "$c"
	q network connect "$c" "$c"
	has "$(d exec "$c" ls /sys/class/net)" eth0
	q rm -f "$c"
	q network rm "$c"
}

check_docker_checkpoint() {
	local last
	needs_criu
	q run -d --network none --name "$c" "$IMAGE" sh -c "$counting"
	eventually counted "$c" 5
	d checkpoint create "$c" one
	eventually eval '[ "$(q inspect -f "{{.State.Status}}" "$c")" = exited ]'
	has "$(d checkpoint ls "$c")" one
	last=$(q logs "$c" | tail -n 1)
	d start --checkpoint one "$c"
	goes_on "$c" "$last"
	d stop -t 0 "$c"
	is "$(d inspect -f '{{.State.ExitCode}}' "$c")" 137
}

check_docker_checkpoint_of_one_that_runs_on() {
	local last
	needs_criu
	q run -d --network none --memory 64m --pids-limit 50 --name "$c" "$IMAGE" sh -c "$counting"
	eventually counted "$c" 5
	d checkpoint create --leave-running "$c" one
	is "$(q inspect -f '{{.State.Status}}' "$c")" running
	goes_on "$c" "$(q logs "$c" | tail -n 1)"
	q kill "$c"
	q wait "$c"
	d start --checkpoint one "$c"
	eventually prints 1 q exec "$c" cat /proc/1/stat
	is "$(limit "$c" memory/memory.limit_in_bytes memory.max)" 67108864
	d checkpoint rm "$c" one
}

check_docker_checkpoint_of_one_with_a_network() {
	needs_criu
	q run -d --name "$c" "$IMAGE" sh -c "$counting"
	eventually counted "$c" 5
	d checkpoint create "$c" one
	eventually eval '[ "$(q inspect -f "{{.State.Status}}" "$c")" = exited ]'
	d start --checkpoint one "$c"
	goes_on "$c" "$(q logs "$c" | tail -n 1)"
	has "$(d exec "$c" ls /sys/class/net)" eth0
}

# A second daemon, whose containers have user namespaces.
check_docker_user_namespaces() {
	local pid=/run/remapped.pid host=unix:///run/remapped.sock inner
	grep -q '^dockremap:' /etc/subuid || { echo dockremap:500000:65536 >>/etc/subuid; echo dockremap:500000:65536 >>/etc/subgid; }
	mkdir -p "$STATE/private/lib/remapped"
	# The folder's parents are closed to others; the namespace's root has to pass.
	chmod 711 "$STATE" "$STATE/private" "$STATE/private/lib" "$STATE/private/lib/remapped"
	setsid dockerd --config-file "$STATE/private/empty.json" --data-root "$STATE/private/lib/remapped" --exec-root /run/remapped --pidfile $pid --iptables=false \
		--ip6tables=false --bridge=none --userns-remap=default --add-runtime "tested=$RUNTIME" --default-runtime tested \
		--host $host --containerd /run/docker/containerd/containerd.sock >"$LOGS/dockerd.remapped" 2>&1 </dev/null &
	export DOCKER_HOST=$host
	eventually docker version
	q load -q -i "$STATE/image.tar"
	has "$(d run --rm "$IMAGE" cat /proc/self/uid_map)" 500000
	is "$(d run --rm "$IMAGE" id -u)" 0
	inner=$(q run -d "$IMAGE" sh -c 'touch /made; sleep 100')
	is "$(stat -c %u "/proc/$(q inspect -f '{{.State.Pid}}' "$inner")")" 500000
	d exec "$inner" id -u
	is "$(d run --rm --userns host "$IMAGE" sh -c 'cat /proc/self/uid_map' | xargs)" "0 0 4294967295"
	q rm -f "$inner"
	d run --rm --read-only --tmpfs /t -v /vol "$IMAGE" touch /t/x /vol/x
	kill "$(cat $pid)"
	eventually eval '! docker version'
}

check_docker_daemon_restart_with_live_containers() {
	local host=unix:///run/live.sock
	start_live() {
		setsid dockerd --config-file "$STATE/private/empty.json" --data-root "$STATE/private/lib/live" --exec-root /run/live --pidfile /run/live.pid --iptables=false \
			--ip6tables=false --bridge=none --live-restore --add-runtime "tested=$RUNTIME" --default-runtime tested \
			--host $host --containerd /run/docker/containerd/containerd.sock >>"$LOGS/dockerd.live" 2>&1 </dev/null &
		eventually docker -H $host version
	}
	mkdir -p "$STATE/private/lib/live"
	export DOCKER_HOST=$host
	start_live
	q load -q -i "$STATE/image.tar"
	q run -d --name "$c" "$IMAGE" sh -c 'while :; do date; sleep 0.1; done'
	kill -KILL "$(cat /run/live.pid)"
	eventually eval '! docker version'
	rm -f /run/live.pid
	start_live
	is "$(d inspect -f '{{.State.Status}}' "$c")" running
	is "$(d exec "$c" echo still)" still
	d stop -t 0 "$c"
	q rm "$c"
	kill "$(cat /run/live.pid)"
	eventually eval '! docker version'
}

# short
check_docker_leaves_nothing() {
	local left
	left=$(docker ps -aq)
	[ -z "$left" ] || timeout 60 docker rm -f -v $left
	is "$(docker ps -aq)" ""
	eventually eval '! pgrep -f containerd-shim-runc-v2'
	is "$(find /sys/fs/cgroup \( -path '*/docker/*' -o -name 'docker-*.scope' \) -type d)" ""
	is "$(ls /run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby 2>/dev/null || true)" ""
	is "$(find /run/docker/runtime-*/moby -mindepth 1 2>/dev/null || true)" ""
	is "$(find /run/corten /run/runc /run/crun -mindepth 1 2>/dev/null || true)" ""
	is "$(grep -E 'merged|/run/docker/netns/[0-9a-f]{12}' /proc/self/mountinfo || true)" ""
}
