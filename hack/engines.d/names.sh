# Which checks there are. A check is a function `check_NAME` in one of the engine's files, in their order; a line `# short`
# before it takes it into the short form.

# Docker and Podman share their command line, so they share checks.
files_of() {
	case $1 in
	docker | podman) echo "$parts"/cli-*.sh $([ "$DRIVER" != systemd ] || echo "$parts/systemd.sh") "$parts/$1.sh" ;;
	podman-user) echo "$parts"/cli-*.sh "$parts/podman-user.sh" "$parts/podman.sh" ;;
	*) echo "$parts/$1.sh" ;;
	esac
}

# names ENGINE [SHORT] [FILTER]...
names() {
	local engine=$1 short=${2:-} name filter
	shift $(($# < 2 ? $# : 2))
	# shellcheck disable=SC2046  # a list of files
	awk -v short="$short" '
		/^check_[a-z0-9_]*\(\)/ { if (!short || wanted) { sub(/^check_/, ""); sub(/\(\).*/, ""); print } }
		{ wanted = /^# short/ }' $(files_of "$engine") | while read -r name; do
		[ $# -gt 0 ] || { echo "$name"; continue; }
		for filter; do
			case $name in *"$filter"*) echo "$name"; break ;; esac
		done
	done
}
