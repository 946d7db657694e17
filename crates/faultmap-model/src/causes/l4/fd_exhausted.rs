//! No file descriptor is left to make a socket with.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::HostTables;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l4.fd-exhausted`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.fd-exhausted",
    layer: Layer::L4,
    title: "no file descriptor is left",
    what: "A socket is a file descriptor. The process (EMFILE, ulimit -n) or the whole system (ENFILE, fs.file-max) has none left, usually because \
           connections or files are opened and never closed.",
    shows: "socket() fails with EMFILE or ENFILE; nothing reaches the network.",
    confirm: &[
        Tool {
            run: "ls /proc/PID/fd | wc -l; grep 'open files' /proc/PID/limits",
            on: "here",
            why: "descriptors open against the process limit",
        },
        Tool { run: "cat /proc/sys/fs/file-nr", on: "here", why: "descriptors open against the system limit" },
    ],
    fix: &[
        "Find the leak: ls -l /proc/PID/fd shows what is open.",
        "Raise the limit: ulimit -n, LimitNOFILE= of the service, fs.file-max.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure().filter(|failure| matches!(failure.errno(), Some("EMFILE" | "ENFILE")))?;
    let tables = ev.first::<HostTables>(|tables| tables.fd_limit.is_some());
    let limit = tables.and_then(|(_, tables)| tables.fd_limit).map_or_else(String::new, |limit| format!(" (limit {limit})"));
    let errno = failure.errno().unwrap_or("EMFILE");
    let summary = format!("No file descriptor is left to open a socket with{limit}: socket() fails with {errno}.");
    Some(
        Claim::proven(0.96, Where::Local, "file descriptors of this process", summary)
            .citing([failure.id])
            .citing(tables.map(|(id, _)| id)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, errno, reset};
    use super::*;
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn emfile_names_the_descriptors() {
        for (outcome, expect) in [(errno("EMFILE"), Some((0.96, true))), (errno("ENFILE"), Some((0.96, true))), (reset(), None)] {
            let seen = vec![connect("10.2.0.10:80", Role::Target, outcome)];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        }
    }
}
