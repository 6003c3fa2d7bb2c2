# The image that all checks use, as an archive that `docker load`, `podman load` and `ctr image import` take: the tree of
# hack/rootfs (busybox), made here, nothing is pulled.
image=localhost/busy:1

make_image() {
	local work=$state/image layer config
	mkdir -p "$work"
	"$hack/rootfs" "$work/tree" >/dev/null
	# A volume gets what the image has there; a program without the right to be executed; a script without interpreter.
	mkdir -p "$work/tree/data" "$work/tree/usr/share"
	echo seed >"$work/tree/data/seed"
	echo text >"$work/tree/not-executable"
	printf '#!/no/such/interpreter\n' >"$work/tree/bad-interpreter"
	chmod 755 "$work/tree/bad-interpreter"
	tar -C "$work/tree" --numeric-owner --sort=name --mtime=@1600000000 -cf "$work/layer.tar" .
	layer=$(sha256sum <"$work/layer.tar" | cut -d' ' -f1)
	jq -nc --arg machine "$(dpkg --print-architecture)" --arg layer "sha256:$layer" '{architecture: $machine, os: "linux", created: "2026-01-01T00:00:00Z",
		config: {Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "FROM_IMAGE=yes"], Cmd: ["sh"]},
		rootfs: {type: "layers", diff_ids: [$layer]}, history: [{created: "2026-01-01T00:00:00Z", created_by: "corten"}]}' \
		>"$work/config.json"
	config=$(sha256sum <"$work/config.json" | cut -d' ' -f1).json
	mv "$work/config.json" "$work/$config"
	# The same tree, for the program that keeps a pod's namespaces.
	jq -c '.config.Cmd = ["sleep", "2147483647"]' "$work/$config" >"$work/pause.json"
	jq -nc --arg config "$config" --arg image "$image" '[{Config: $config, RepoTags: [$image], Layers: ["layer.tar"]},
		{Config: "pause.json", RepoTags: ["localhost/pause:1"], Layers: ["layer.tar"]}]' >"$work/manifest.json"
	tar -C "$work" -cf "$1" manifest.json "$config" pause.json layer.tar
	rm -rf "$work"
}
