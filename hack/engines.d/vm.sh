# hack/engines in the virtual machine: what it needs goes in, and it runs there.

in_machine() {
	local corten file put=()
	corten=$(. "$parts/host.sh" && runtime_path corten) && [ -n "$corten" ] || die "no Corten"
	for file in engines engines.d rootfs; do put+=(--put "$hack/$file:/t/hack/$file"); done
	exec "$hack/vm" --packages "$parts/engines.packages" --memory 3000 --timeout "$timeout" --put "$corten:/t/corten" "${put[@]}" -- \
		env CORTEN=/t/corten /t/hack/engines --driver "$DRIVER" "$@"
}
