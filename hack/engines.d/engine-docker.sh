# How Docker is started here.
cli=(docker)

start_engine() {
	mkdir -p /etc/docker
	# A machine may lack a capability that --privileged asks for: no runtime can grant it.
	sed "s|@RUNTIME@|$RUNTIME|" "$PARTS/within-bounds" >"$STATE/private/bin/within-bounds"
	chmod 755 "$STATE/private/bin/within-bounds"
	cat >/etc/docker/daemon.json <<-JSON
	{"runtimes": {"tested": {"path": "$RUNTIME"}, "bounded": {"path": "$STATE/private/bin/within-bounds"}},
	 "default-runtime": "tested"}
	JSON
	# For daemons beside this one.
	echo '{}' >"$STATE/private/empty.json"
	setsid dockerd --data-root /var/lib/docker --exec-root /run/docker --pidfile /run/docker.pid --iptables=false \
		--ip6tables=false --ip-masq=false --exec-opt native.cgroupdriver=$DRIVER --experimental \
		--host unix:///run/docker.sock --log-level info --shutdown-timeout 10 >"$LOGS/dockerd" 2>&1 </dev/null 9>&- &
	wait_for_docker || return 1
	docker load -q -i "$STATE/image.tar"
}

wait_for_docker() {
	local try
	export DOCKER_HOST=unix:///run/docker.sock
	for try in $(seq $((300 * SLOW))); do
		! docker version >/dev/null 2>&1 || return 0
		kill -0 $! || return 1
		sleep 0.1
	done
	return 1
}

versions() {
	echo "Docker $(docker version --format '{{.Server.Version}}')"
	containerd --version | sed 's/.* \([0-9][^ ]*\) .*/containerd \1/'
	"$RUNTIME" --version | head -n 1
}

export DOCKER_HOST=unix:///run/docker.sock

# Privileged, but for what the machine cannot give.
bounded_run() { d run --runtime bounded "$@"; }

clean_up() {
	local left
	left=$(docker ps -aq)
	[ -z "$left" ] || timeout 60 docker rm -f -v $left
	docker volume prune -f
	[ -z "$(docker network ls -q --filter type=custom)" ] || docker network prune -f
}
