# What the runs came to: counts, the table for docs/engines.md, and what a user would see of the difference between two.

count() { awk -v word="$2" '$1 == word { n++ } END { print n + 0 }' "$1/lines" 2>/dev/null || echo 0; }

print_counts() {
	local place
	for place in "${places[@]}"; do
		[ -e "$place/lines" ] || continue
		echo "$(basename "$place" | tr . ' '): $(count "$place" ok) ok, $(count "$place" FAILED) failed," \
			"$(count "$place" skipped) skipped, $(awk '{ s += $5 } END { printf "%d", s / 1000 }' "$place/lines") s"
	done
}

print_table() {
	local place name
	for place in "${places[@]}"; do
		[ -e "$place/lines" ] || continue
		name=$(basename "$place")
		echo "| ${name%%.*} | $(paste -sd, "$place/versions" | sed 's/,/, /g') | $(date +%F) | $(count "$place" ok)" \
			"| $(count "$place" FAILED) | $(count "$place" skipped) |"
	done
}

# What is never the same twice, or names the runtime, is taken out.
same() {
	sed -E 's/[0-9a-f]{64}/ID/g; s/\b[0-9a-f]{12}\b/ID/g; s/[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(Z| *[-+][0-9:]+( [A-Z]+)?)?/TIME/g
		s/[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{5}/TIME/g; s/\b(10|172)\.[0-9]+\.[0-9]+\.[0-9]+/ADDRESS/g; s/[0-9a-f:]{17}/MAC/g
		s/ [a-z]+_[a-z]+ / NAME /g; s/(Name:\t|pid:\[|mnt:\[)[^]]*/\1X/; s/overlay(fs)?[^ ]* /overlay /; s/\b[0-9.]+ ?(seconds?|m?s)\b( ago)?/AGO/g
		s/(lowerdir|upperdir|workdir)=[^,]*/DIR/g; s/Less than a second|About a minute/AGO/g; s/size=[0-9]+k/SIZE/' "$1" |
		{ [ -n "$words" ] && cat || sed '/^!/d'; }
}

# A check that is ok with one and not with the other, or that shows something else.
print_differences() {
	local engine name one two differs=0 first=${runtimes[0]##*/} second=${runtimes[1]##*/}
	for engine in "${engines[@]}"; do
		one=$results/$engine.$first two=$results/$engine.$second
		[ -e "$one/lines" ] && [ -e "$two/lines" ] || continue
		while read -r name; do
			if [ "$(awk -v name="$name" '$4 == name { print $1 }' "$one/lines")" != "$(awk -v name="$name" '$4 == name { print $1 }' "$two/lines")" ]; then
				echo "DIFFERS $engine $name: $(awk -v name="$name" '$4 == name { print $1 }' "$one/lines") with $first," \
					"$(awk -v name="$name" '$4 == name { print $1 }' "$two/lines") with $second"
				differs=1
			elif ! cmp -s <(same "$one/seen/$name") <(same "$two/seen/$name"); then
				echo "DIFFERS $engine $name: $first (-) and $second (+) show"
				diff -U 1 <(same "$one/seen/$name") <(same "$two/seen/$name") | tail -n +4 | sed 's/^/        /'
				differs=1
			fi
		done < <(awk '{ print $4 }' "$one/lines")
	done
	[ $differs != 0 ] || echo "no difference between $first and $second"
	return $differs
}
