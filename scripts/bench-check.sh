#!/usr/bin/env bash
# How much slower is a whole `faultmap check` than `curl` on the same healthy HTTPS URL?
#
# Both run in turn on the client of a lab network (a scenario's clean twin: two links of 0.3 ms, a router, DNS, TLS), so the network is
# the same and nothing else is on it. Prints medians, 95th percentiles and the ratio. Needs curl and bash 5; no root.
#
#   scripts/bench-check.sh [RUNS] [PROGRAM]      default: 50 runs of target/release/faultmap, which is built first
set -eu

SCENARIO=http-500
URL=https://server.lab/
MOST_RUNS=10000

main() {
    if [ "${1:-}" = --inside ]; then
        inside "$2" "$3"
        return
    fi
    local runs=${1:-50} program=${2:-}
    case $runs in
        '' | *[!0-9]*) fail "not a number of runs: $runs" ;;
    esac
    [ "$runs" -ge 3 ] && [ "$runs" -le "$MOST_RUNS" ] || fail "between 3 and $MOST_RUNS runs"
    command -v curl >/dev/null || fail "curl is missing"
    cd "$(dirname "$0")/.."
    if [ -z "$program" ]; then
        cargo build --quiet --release --package faultmap
        program=target/release/faultmap
    fi
    program=$(realpath "$program")
    exec "$program" lab up "$SCENARIO" --twin --unprivileged -- bash "$PWD/scripts/bench-check.sh" --inside "$runs" "$program"
}

fail() {
    echo "bench-check: $1" >&2
    exit 2
}

# On the lab's client.
inside() {
    local runs=$1 program=$2 ca curl_times=() check_times=() i
    ca=$(find_ca)
    # One of each unmeasured: caches of the kernel, files in memory.
    curl_once "$ca"
    check_once "$program" "$ca"
    for ((i = 0; i < runs; i++)); do
        # The order changes, so that neither always finds what the other has warmed.
        if ((i % 2)); then
            curl_times+=("$(timed curl_once "$ca")")
            check_times+=("$(timed check_once "$program" "$ca")")
        else
            check_times+=("$(timed check_once "$program" "$ca")")
            curl_times+=("$(timed curl_once "$ca")")
        fi
    done
    report "$runs" "${curl_times[*]}" "${check_times[*]}"
}

find_ca() {
    local folder
    for folder in /mnt /media /srv /opt; do
        if [ -r "$folder/faultmap-lab-ca.pem" ]; then
            echo "$folder/faultmap-lab-ca.pem"
            return
        fi
    done
    fail "the lab's root certificate is not where it should be"
}

curl_once() {
    curl --silent --show-error --output /dev/null --cacert "$1" "$URL"
}

check_once() {
    "$1" check --quiet --ca "$2" "$URL" >/dev/null
}

# Runs a command and prints its wall clock in microseconds.
timed() {
    local begun=${EPOCHREALTIME/[.,]/} ended
    "$@" || fail "failed: $*"
    ended=${EPOCHREALTIME/[.,]/}
    echo $((ended - begun))
}

# The value at this percentile (nearest rank) of a list of numbers, in milliseconds.
percentile() {
    local percent=$1
    shift
    printf '%s\n' "$@" | sort -n | awk -v p="$percent" '{ v[NR] = $1 } END { r = int((NR * p + 99) / 100); if (r < 1) r = 1; printf "%.1f", v[r] / 1000 }'
}

report() {
    local runs=$1 curl_median check_median
    # Word splitting makes the lists again: they hold numbers only.
    # shellcheck disable=SC2086
    {
        curl_median=$(percentile 50 $2)
        check_median=$(percentile 50 $3)
        printf '\n%s, %d paired runs, wall clock with process start\n\n' "$URL" "$runs"
        printf '%-16s %10s %10s\n' '' 'median ms' 'p95 ms'
        printf '%-16s %10s %10s\n' 'curl' "$curl_median" "$(percentile 95 $2)"
        printf '%-16s %10s %10s\n' 'faultmap check' "$check_median" "$(percentile 95 $3)"
    }
    awk -v a="$check_median" -v b="$curl_median" 'BEGIN { printf "\nratio of medians: %.2f\n", a / b }'
}

main "$@"
