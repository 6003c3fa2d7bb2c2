# Debian's packages, without their services.

need+=(busybox:busybox-static tini:tini jq:jq ip:iproute2 setpriv:util-linux pgrep:procps)
files=()
# What the engines in $engines need.
for engine in "${engines[@]}"; do
	case $engine in
	docker) need+=(docker:docker.io containerd:containerd iptables:iptables) ;;
	podman | podman-user)
		need+=(podman:podman buildah:buildah conmon:conmon skopeo:skopeo newuidmap:uidmap)
		files+=(/usr/lib/podman/netavark:netavark /usr/bin/catatonit:catatonit
			/etc/containers/policy.json:golang-github-containers-common)
		[ "$engine" = podman ] || need+=(slirp4netns:slirp4netns fuse-overlayfs:fuse-overlayfs)
		;;
	containerd) need+=(containerd:containerd) ;;
	cri)
		need+=(containerd:containerd protoc:protobuf-compiler curl:curl)
		files+=(/usr/lib/cni/bridge:containernetworking-plugins)
		;;
	esac
done

install_packages() {
	local missing=() pair policy=/usr/sbin/policy-rc.d ours= status=0
	for pair in "${need[@]}"; do
		PATH=$PATH:/usr/sbin:/sbin command -v "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
	done
	for pair in ${files[@]+"${files[@]}"}; do
		[ -e "${pair%:*}" ] || missing+=("${pair#*:}")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	say "installing ${missing[*]}"
	if [ ! -e $policy ]; then
		ours=yes
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	{ timeout 300 apt-get update -qq &&
		DEBIAN_FRONTEND=noninteractive timeout 900 apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
		>/dev/null 2>"${TMPDIR:-/tmp}/corten-engines-apt.$$" || status=1
	[ -z "$ours" ] || rm -f $policy
	[ $status = 0 ] || cat "${TMPDIR:-/tmp}/corten-engines-apt.$$" >&2
	rm -f "${TMPDIR:-/tmp}/corten-engines-apt.$$"
	return $status
}
