//! A program here does not close sessions that their peers closed. Proven by this host's own counters; a check of a target does not see it.

use crate::Layer;
use crate::causes::{Cause, Tool};

/// `l5.close-wait-leak`
pub(super) static CAUSE: Cause = Cause {
    id: "l5.close-wait-leak",
    layer: Layer::L5,
    title: "a program here does not close sessions that their peers closed",
    what: "The other side ended the conversation and our program never closed its end: each one stays in CLOSE_WAIT for ever, with its descriptor and its memory, \
           until the descriptors run out. A leak in the program, or workers that hang.",
    shows: "Sockets in CLOSE_WAIT stay and grow in number on one local port. A few that come and go are usual.",
    confirm: &[
        Tool { run: "ss -tanp state close-wait", on: "here", why: "which program holds them" },
        Tool { run: "ls /proc/PID/fd | wc -l; grep 'open files' /proc/PID/limits", on: "here", why: "how far it is from its limit" },
    ],
    fix: &[
        "Mend the program: close the socket when read() returns 0, also on errors and time-outs.",
        "Restart it to free the descriptors until then.",
        "Look for workers that hang: a lock, a database, a backend without a time limit.",
    ],
    // `faultmap host` names it from two readings of the kernel (`crate::host`).
    claim: |_| None,
};
