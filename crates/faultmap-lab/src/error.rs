//! What can go wrong with the lab itself. Never what goes wrong in the networks it builds: those are data.

use std::io;

/// A failure of the lab, never of the network under test.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The kernel or the distribution refuses user namespaces to this user.
    #[error("the lab needs a user namespace and this system forbids it: {why}\n{remedy}")]
    UserNamespaceForbidden {
        /// What the kernel said and which setting is the likely reason.
        why: String,
        /// What the user can do about it.
        remedy: String,
    },
    /// A system call failed.
    #[error("{doing} {what}: {source}")]
    System {
        /// The operation, as a verb phrase: "open", "enter network namespace of".
        doing: &'static str,
        /// The operand.
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// rtnetlink refused a request.
    #[error("rtnetlink: {doing} {what}: {source}")]
    Netlink {
        /// The operation, as a verb phrase: "create veth", "add route".
        doing: &'static str,
        /// The operand.
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The process had more than one thread when it tried to enter the sandbox.
    #[error("the sandbox must be entered by a process with one thread, this one has {threads}")]
    NotSingleThreaded {
        /// Threads seen in /proc/self/task.
        threads: usize,
    },
    /// A name that the topology does not have.
    #[error("the topology has no {kind} named {name:?}; it has {have}")]
    Unknown {
        /// "host", "link", "middlebox", ...
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are.
        have: String,
    },
    /// A topology file that does not parse or contradicts itself.
    #[error("topology {name:?}: {reason}")]
    Topology {
        /// The topology's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A closure run inside a host panicked.
    #[error("a task in the network namespace of {host:?} panicked: {message}")]
    Panicked {
        /// The host.
        host: String,
        /// The panic's message, where it had one.
        message: String,
    },
    /// A request that makes no sense for the lab, refused before any system call.
    #[error("{doing} {what}: {reason}")]
    Refused {
        /// The operation.
        doing: &'static str,
        /// The operand.
        what: String,
        /// Why not.
        reason: String,
    },
}

impl LabError {
    /// A failed system call, from an [`io::Error`] or an errno.
    pub fn system(doing: &'static str, what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        LabError::System { doing, what: what.into(), source: source.into() }
    }

    pub(crate) fn unknown<'a>(kind: &'static str, name: &str, have: impl Iterator<Item = &'a String>) -> Self {
        let have = have.map(String::as_str).collect::<Vec<_>>().join(", ");
        LabError::Unknown { kind, name: name.to_owned(), have }
    }
}
