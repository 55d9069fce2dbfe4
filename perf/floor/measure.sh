#!/usr/bin/env bash
# Measures the floors between two network namespaces on one veth pair, one process a core, both spinning; prints JSON
# lines. Needs root, iproute2 and two cores.
#
#   perf/floor/measure.sh [PREFIX]    the namespaces are called PREFIX-<pid>-a and -b; default lunar-floor
set -euo pipefail
cd "$(dirname "$0")"
make --quiet
bin=$(cd ../../build/floor && pwd)
a=${1:-lunar-floor}-$$-a b=${1:-lunar-floor}-$$-b

clean() {
    [ -z "${other:-}" ] || kill "$other" 2>/dev/null || true
    ip netns del "$a" 2>/dev/null || true
    ip netns del "$b" 2>/dev/null || true
    rm -rf "$scratch"
}
scratch=$(mktemp -d)
trap clean EXIT
ip netns add "$a"
ip netns add "$b"
ip -n "$a" link add eth0 type veth peer name eth0 netns "$b"
ip -n "$a" addr add 198.18.0.1/24 dev eth0
ip -n "$b" addr add 198.18.0.2/24 dev eth0
ip -n "$a" link set eth0 up
ip -n "$b" link set eth0 up
mac() { ip -n "$1" -o link show eth0 | sed 's/.*link.ether \([0-9a-f:]*\).*/\1/'; }
there=(--link eth0 --here 198.18.0.2 --there 198.18.0.1 --there-mac "$(mac "$a")")
here=(--link eth0 --here 198.18.0.1 --there 198.18.0.2 --there-mac "$(mac "$b")")

# run PROGRAM NEAR-MODE FAR-MODE ARGUMENTS...: the far one first, until it says that it is ready
run() {
    local program=$1 near=$2 far=$3
    shift 3
    rm -f "$scratch/ready"
    mkfifo "$scratch/ready"
    taskset -c 1 ip netns exec "$b" "$bin/$program" "$far" "${there[@]}" "$@" > "$scratch/ready" &
    other=$!
    exec 3< "$scratch/ready"
    read -r -u 3
    taskset -c 0 ip netns exec "$a" "$bin/$program" "$near" "${here[@]}" "$@"
    if [ "$far" = pong ]; then kill "$other"; else cat <&3; fi
    wait "$other" 2>/dev/null || true
    other=
    exec 3<&-
}

rounds=${ROUNDS:-100000} seconds=${SECONDS_EACH:-2}
for repeat in $(seq "${REPEATS:-3}"); do
    for size in 64 1024; do
        run xdp_floor ping pong --size $size --count "$rounds"
        run port_floor ping pong --size $size --count "$rounds"
        run udp_floor ping pong --size $size --count "$rounds"
        run udp_floor ping pong --size $size --count "$rounds" --backend unconnected
        run port_floor ping pong --size $size --count "$rounds" --backend udp
    done
done
for size in 64 1024; do
    for burst in 64 1; do
        run xdp_floor flood sink --size $size --burst $burst --seconds "$seconds"
        run port_floor flood sink --size $size --burst $burst --seconds "$seconds"
        run port_floor flood sink --size $size --burst $burst --seconds "$seconds" --backend udp
    done
    run udp_floor flood sink --size $size --seconds "$seconds"
done
