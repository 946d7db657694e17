//! How faultmap itself failed to read this host. A sick network is never one of these: it is data.

use nix::errno::Errno;
use std::io;

/// A reading of this host that could not be had; names the operation and its operand.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The netlink socket itself could not be had (seccomp, descriptor limit, no such protocol in this kernel).
    #[error("netlink socket: {call}: {errno:?}")]
    Socket {
        /// The system call.
        call: &'static str,
        /// Its errno.
        errno: Errno,
    },
    /// The kernel answered a request with an error.
    #[error("{operation}: the kernel answers {errno:?}")]
    Refused {
        /// The request, such as `RTM_GETLINK`.
        operation: &'static str,
        /// The errno of the answer.
        errno: Errno,
    },
    /// The kernel's answer ended before it was whole, or could not be read as one.
    #[error("{operation}: the kernel's answer cannot be read: {detail}")]
    Malformed {
        /// The request, such as `RTM_GETLINK`.
        operation: &'static str,
        /// What was wrong with it.
        detail: &'static str,
    },
    /// The name is not that of an interface of this namespace.
    #[error("no interface named {0}")]
    NoInterface(String),
    /// A file below `/proc` could not be read.
    #[error("read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}
