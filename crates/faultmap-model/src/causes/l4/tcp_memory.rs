//! TCP has no memory left. Proven by this host's own counters; a check of a target does not see it.

use crate::Layer;
use crate::causes::{Cause, Tool};

/// `l4.tcp-memory`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.tcp-memory",
    layer: Layer::L4,
    title: "TCP has no memory left",
    what: "All TCP sockets of the host share one bound of memory (net.ipv4.tcp_mem), and connections that no program holds any more another (net.ipv4.tcp_max_orphans). \
           Near the first the kernel shrinks windows and throws away data out of order; beyond either it resets connections.",
    shows: "On the host the pages of TCP in sockstat pass the pressure mark of tcp_mem, or TCPAbortOnMemory rises. Seen from outside it looks like \
            slowness, closed windows or resets of a busy server.",
    confirm: &[
        Tool {
            run: "cat /proc/net/sockstat; sysctl net.ipv4.tcp_mem net.ipv4.tcp_max_orphans",
            on: "here",
            why: "pages in use beside low, pressure and high; orphans beside their limit",
        },
        Tool { run: "nstat -az TcpExtTCPAbortOnMemory TcpExtTCPMemoryPressures", on: "here", why: "connections that were reset for it" },
        Tool { run: "ss -tm | sort -k2 -n", on: "here", why: "whose buffers are full" },
    ],
    fix: &[
        "Find the program whose sockets hold full buffers: it does not read, or its peers do not.",
        "Raise net.ipv4.tcp_mem, if the host has the memory.",
        "Shorten net.ipv4.tcp_fin_timeout, or raise net.ipv4.tcp_max_orphans, if orphans fill it.",
    ],
    // `faultmap host` names it from two readings of the kernel (`crate::host`).
    claim: |_| None,
};
