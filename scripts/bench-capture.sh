#!/usr/bin/env bash
# How fast is `faultmap capture` beside `tshark -q -z expert` and `tcptrace -b`, and how much memory does it take?
#
# Makes two captures (crates/faultmap-capture/examples/traffic.rs says what is in them), reads each with every program in turn, in rounds, so that what
# else the machine does hits all alike, and prints medians: seconds (of the wall, and of the processor), packets a second, megabytes, and how many times
# slower than faultmap. faultmap reads once with all cores and once held to one. Then one gigabyte and five are read from a pipe: the memory must not
# grow. Needs tshark, tcptrace, taskset and 1.5 GB of disk; no root.
#
#   scripts/bench-capture.sh [ROUNDS] [PROGRAM]      default: 3 rounds of target/release/faultmap, which is built first
set -eu

PACKETS=650000
MOST_ROUNDS=100

main() {
    local rounds=${1:-3} program=${2:-} kind
    case $rounds in
        '' | *[!0-9]*) fail "not a number of rounds: $rounds" ;;
    esac
    [ "$rounds" -ge 1 ] && [ "$rounds" -le "$MOST_ROUNDS" ] || fail "between 1 and $MOST_ROUNDS rounds"
    for kind in tshark tcptrace python3 taskset; do
        command -v "$kind" >/dev/null || fail "$kind is missing"
    done
    cd "$(dirname "$0")/.."
    cargo build --quiet --release --package faultmap-capture --example traffic
    if [ -z "$program" ]; then
        cargo build --quiet --release --package faultmap
        program=target/release/faultmap
    fi
    # Not local: the trap runs after this function.
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    for kind in mixed connections; do
        target/release/examples/traffic "$kind" "$PACKETS" >"$folder/$kind.pcap"
        compare "$rounds" "$program" "$kind" "$folder/$kind.pcap"
    done
    rm -f "$folder"/*.pcap
    for kind in 1 5; do
        stream "$program" "$kind"
    done
}

fail() {
    echo "bench-capture: $1" >&2
    exit 2
}

# All programs over one capture, in turn.
compare() {
    local rounds=$1 program=$2 kind=$3 file=$4
    python3 - "$rounds" "$program" "$kind" "$file" "$PACKETS" <<'PY'
import os, statistics, subprocess, sys, time
rounds, program, kind, file, packets = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
own = [program] + ([] if program.endswith("findings") else ["capture", "--quiet"]) + [file]
commands = {
    "faultmap capture": own,
    "faultmap, one core": ["taskset", "-c", "0"] + own,
    "tshark -z expert": ["tshark", "-r", file, "-q", "-z", "expert"],
    "tcptrace -b": ["tcptrace", "-n", "-b", file],
}
seconds, busy, memory = {name: [] for name in commands}, {name: [] for name in commands}, {name: 0 for name in commands}
for round in range(rounds + 1):
    order = list(commands)
    for name in order[round % len(order):] + order[:round % len(order)]:
        began = time.monotonic()
        with open(os.devnull, "w") as nowhere:
            child = subprocess.Popen(commands[name], stdout=nowhere, stderr=nowhere)
            _, _, used = os.wait4(child.pid, 0)
        child.returncode = 0
        # The first round warms caches.
        if round > 0:
            seconds[name].append(time.monotonic() - began)
            busy[name].append(used.ru_utime + used.ru_stime)
            memory[name] = max(memory[name], used.ru_maxrss // 1024)
fastest = statistics.median(seconds["faultmap capture"])
size = os.path.getsize(file) / 1e6
print(f"{kind}: {packets} packets, {size:.0f} MB, {rounds} rounds, medians")
for name in commands:
    took, worked = statistics.median(seconds[name]), statistics.median(busy[name])
    print(f"  {name:18} {took:8.3f} s ({worked:.3f} s of processor) {packets / took / 1e6:7.2f} M packets/s {memory[name]:6} MiB  x {took / fastest:.1f}")
PY
}

# So many gigabytes through a pipe: time and memory.
stream() {
    local program=$1 gigabytes=$2 packets
    packets=$((gigabytes * 1300000))
    target/release/examples/traffic mixed "$packets" | python3 -c '
import os, subprocess, sys, time
program, gigabytes, packets = sys.argv[1], sys.argv[2], int(sys.argv[3])
command = [program] + (["-"] if program.endswith("findings") else ["capture", "--quiet", "-"])
began = time.monotonic()
child = subprocess.Popen(command, stdin=sys.stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, _, used = os.wait4(child.pid, 0)
child.returncode = 0
busy = used.ru_utime + used.ru_stime
print(f"{gigabytes} GB through a pipe: {packets} packets, {busy:.2f} s of processor, {packets / busy / 1e6:.2f} M packets/s, {used.ru_maxrss // 1024} MiB")
' "$program" "$gigabytes" "$packets"
}

main "$@"
