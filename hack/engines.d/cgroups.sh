# A cgroup of our own in every hierarchy. The engine's cgroup namespace begins there, so all that it makes lies below.

# Places of the hierarchies, as `TYPE PLACE OPTIONS`. Bind mounts of others' are left out.
hierarchies() { awk '$4 == "/" && / - cgroup2? / { for (i = 7; $i != "-"; i++); print $(i + 1), $5, $(i + 3) }' /proc/self/mountinfo; }

# v1 hierarchies that nobody has mounted here, but that the kernel has: they show in every /proc/PID/cgroup.
unmounted() {
	local names
	while IFS=: read -r _ names _; do
		[ -z "$names" ] || grep -q -E "[ ,]${names%%,*}(,|$)" "${STATE:-$state}/hierarchies" || echo "$names"
	done </proc/self/cgroup
}

# in_unmounted LINE: runs a line of shell in each, mounted for it alone.
in_unmounted() {
	local names
	unmounted | while read -r names; do
		unshare -m sh -c 'mkdir -p "$1" && mount -t cgroup -o "$2" cgroup "$1" && cd "$1" && eval "$3"; cd /; umount "$1"' \
			sh "${STATE:-$state}/mounted" "$names" "$1" || true
	done
}

enable_controllers() {
	local name
	for name in $(cat "$1/cgroup.controllers"); do echo "+$name" >"$1/cgroup.subtree_control" || true; done
}

cgroups_make() {
	local type place rest
	cgroups=corten-engines.$$
	# Seen from the namespaces, their roots are elsewhere.
	hierarchies >"$state/hierarchies"
	hierarchies | while read -r type place rest; do
		# Pure v2: the root's children get what there is, as systemd gives it to whoever asks.
		[ "$type" != cgroup2 ] || [ "$place" != /sys/fs/cgroup ] || enable_controllers "$place"
		mkdir -p "$place/$cgroups"
		if [ -e "$place/$cgroups/cpuset.mems" ] && [ "$type" = cgroup ]; then
			cat "$place/cpuset.cpus" >"$place/$cgroups/cpuset.cpus"
			cat "$place/cpuset.mems" >"$place/$cgroups/cpuset.mems"
		fi
	done
}

cgroups_enter() {
	local type place rest
	hierarchies | while read -r type place rest; do echo $$ >"$place/$1/cgroup.procs"; done
	in_unmounted "mkdir -p $1 && echo $$ >$1/cgroup.procs"
}

# What is in them ends; the namespaces are gone by now, or this ends them.
cgroups_remove() {
	local type place rest pid try
	[ -n "${cgroups:-}" ] || return 0
	hierarchies | while read -r type place rest; do
		for try in 1 2 3 4 5 6 7 8 9 10; do
			[ -d "$place/$cgroups" ] || break
			find "$place/$cgroups" -name cgroup.procs -exec cat {} + 2>/dev/null |
				while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done
			find "$place/$cgroups" -depth -type d -exec rmdir {} + 2>/dev/null && break
			sleep 0.2
		done
	done
	in_unmounted "find $cgroups -depth -type d -exec rmdir {} +"
	cgroups=
}

# In the new namespaces: the same hierarchies, seen from our cgroup. $1 is `v1` for a view without the unified one.
cgroups_view() {
	local type place options hierarchies=$STATE/hierarchies
	if ! grep -q '^cgroup ' "$hierarchies"; then
		umount -R /sys/fs/cgroup
		mount -t cgroup2 cgroup2 /sys/fs/cgroup
		enable_controllers /sys/fs/cgroup
		return
	fi
	# Not only covered: programs look for the first mount of a hierarchy.
	umount -R /sys/fs/cgroup
	mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
	while read -r type place options; do
		mkdir -p "$place"
		if [ "$type" = cgroup2 ]; then
			[ "$1" = v1 ] || mount -t cgroup2 cgroup2 "$place"
		else
			mount -t cgroup -o "$(echo "$options" | sed 's/^rw,//; s/^name=/none,name=/; s/\(,\|^\)xattr//')" cgroup "$place"
		fi
	done <"$hierarchies"
	unmounted | while read -r place; do
		mkdir -p "/sys/fs/cgroup/$place"
		mount -t cgroup -o "$place" cgroup "/sys/fs/cgroup/$place"
	done
	rmdir /sys/fs/cgroup/unified 2>/dev/null || true
}
