//! No room is left for connections in TIME_WAIT. Proven by this host's own counters; a check of a target does not see it.

use crate::Layer;
use crate::causes::{Cause, Tool};

/// `l4.time-wait-full`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.time-wait-full",
    layer: Layer::L4,
    title: "no room is left for connections in TIME_WAIT",
    what: "A connection that this side closed stays in TIME_WAIT for a minute, so that stray segments of it do not reach the next one. Beyond \
           net.ipv4.tcp_max_tw_buckets the kernel closes connections without it. They work; but late segments may reset or garble a successor.",
    shows: "TCPTimeWaitOverflow rises, and sockstat's tw stands at the limit.",
    confirm: &[
        Tool {
            run: "nstat -az TcpExtTCPTimeWaitOverflow; sysctl net.ipv4.tcp_max_tw_buckets",
            on: "here",
            why: "rises while tw stands at the limit",
        },
        Tool {
            run: "ss -tan state time-wait | awk '{print $4}' | sort | uniq -c | sort -n | tail",
            on: "here",
            why: "with whom so many short connections are made",
        },
    ],
    fix: &["Reuse connections: keep-alive, pools, HTTP/2.", "Raise net.ipv4.tcp_max_tw_buckets."],
    // `faultmap host` names it from two readings of the kernel (`crate::host`).
    claim: |_| None,
};
