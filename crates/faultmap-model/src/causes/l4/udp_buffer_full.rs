//! A UDP socket's buffer is full. Proven by this host's own counters; a check of a target does not see it.

use crate::Layer;
use crate::causes::{Cause, Tool};

/// `l4.udp-buffer-full`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.udp-buffer-full",
    layer: Layer::L4,
    title: "a UDP socket's buffer is full",
    what: "Datagrams wait in the socket's buffer until the program reads them. A program that is slow, stopped or busy elsewhere loses what comes after; \
           nobody is told, and UDP does not repeat.",
    shows: "Udp.RcvbufErrors rises, and one socket's drops (ss -uam, the d of skmem). The sender sees silence or loss, as with a lossy path.",
    confirm: &[
        Tool { run: "ss -uamnp | grep -A1 UNCONN", on: "here", why: "skmem: r near rb and a rising d name the socket" },
        Tool { run: "nstat -az UdpRcvbufErrors UdpSndbufErrors UdpMemErrors", on: "here", why: "rise while datagrams are lost" },
    ],
    fix: &[
        "Find out why the program reads too slowly: one thread for all, a stopped process, no CPU.",
        "Give the socket a larger buffer: SO_RCVBUF, and net.core.rmem_max above it.",
        "Spread the load over several sockets (SO_REUSEPORT).",
    ],
    // `faultmap host` names it from two readings of the kernel (`crate::host`).
    claim: |_| None,
};
