# containerd's CRI plugin, as the kubelet calls it: gRPC by curl, its messages by protoc. Nothing else is needed.
. "$PARTS/engine-containerd.sh"

# cri METHOD REQUEST RESPONSE: the request as protobuf's text on standard input, the response the same way on output.
cri() {
	local size status
	protoc --proto_path="$PARTS" --encode="runtime.v1.$2" cri.proto >"$work/message"
	size=$(stat -c %s "$work/message")
	# gRPC puts a byte (not compressed) and the length, in four, before a message.
	{
		printf '\0'
		printf "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((size >> 24)) $((size >> 16 & 255)) $((size >> 8 & 255)) $((size & 255)))"
		cat "$work/message"
	} >"$work/request"
	curl -sS --max-time 50 --http2-prior-knowledge --unix-socket $socket -H 'content-type: application/grpc' -H 'te: trailers' \
		--data-binary "@$work/request" -D "$work/headers" -o "$work/response" "http://cri/runtime.v1.RuntimeService/$1"
	status=$(tr -d '\r' <"$work/headers" | sed -n 's/^grpc-status: //p')
	# How often a state is asked for depends on the clock.
	[ "$1" = ContainerStatus ] || {
		echo "\$ $1"
		[ "$status" = 0 ] || tr -d '\r' <"$work/headers" | sed -n 's/^grpc-message: /! /p'
	} >>"$seen"
	if [ "$status" != 0 ]; then
		tr -d '\r' <"$work/headers" | sed -n 's/^grpc-message: //p' >&2
		return 1
	fi
	tail -c +6 "$work/response" | protoc --proto_path="$PARTS" --decode="runtime.v1.$3" cri.proto
}

# The first value of a field.
value() { sed -n "s/^ *$1: \"\{0,1\}\([^\"]*\)\"\{0,1\}$/\1/p" | head -n 1; }

clean_up() {
	local pod work seen
	work=$(mktemp -d) seen=$work/seen
	for pod in $(cri ListPodSandbox Empty ListPodSandboxResponse </dev/null | sed -n 's/^ *id: "\(.*\)"/\1/p'); do
		echo "id: \"$pod\"" | cri StopPodSandbox Id Empty
		echo "id: \"$pod\"" | cri RemovePodSandbox Id Empty
	done
	rm -rf "$work"
}
