# How Podman is started here: there is no daemon.
private=$STATE/private
cli=(podman --root "$private/lib/podman" --runroot /run/podman --cgroup-manager "$DRIVER" --events-backend file
	--runtime "$RUNTIME")
export CONTAINERS_CONF=/etc/containers/tested.conf

configure() {
	mkdir -p /etc/containers
	# Containers get their networks from netavark here, without changing the firewall of the host: the namespace is ours.
	cat >"$CONTAINERS_CONF" <<-'CONF'
	[engine]
	image_copy_tmp_dir = "/run/checks"
	runtime_supports_json = ["corten", "runc", "crun"]
	runtime_supports_nocgroups = ["corten", "crun"]
	[containers]
	log_driver = "k8s-file"
	CONF
	sed "s|@RUNTIME@|$RUNTIME|" "$PARTS/within-bounds" >"$private/bin/within-bounds"
	chmod 755 "$private/bin/within-bounds"
}

start_engine() {
	configure
	"${cli[@]}" load -q -i "$STATE/image.tar"
	"${cli[@]}" info >"$LOGS/info"
}

versions() {
	echo "Podman $(podman version --format '{{.Client.Version}}')"
	conmon --version | head -n 1
	buildah --version | sed 's/ (.*//; s/ version//'
	"$RUNTIME" --version | head -n 1
}

# Privileged, but for what the machine cannot give.
bounded_run() {
	local cli=("${cli[@]}" --runtime "$private/bin/within-bounds")
	d run "$@"
}

clean_up() {
	local left
	local cli=(${as[@]+"${as[@]}"} "${cli[@]}")
	"${cli[@]}" pod rm -fa -t 0
	left=$("${cli[@]}" ps -aq)
	[ -z "$left" ] || timeout 60 "${cli[@]}" rm -f -v -t 0 $left
	"${cli[@]}" volume prune -f
	"${cli[@]}" network prune -f
}
