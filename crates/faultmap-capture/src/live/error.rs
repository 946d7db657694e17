//! Why packets cannot be had from an interface.

use std::io;

/// A live capture could not begin, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The capability is missing.
    #[error("capturing on {interface} needs CAP_NET_RAW: run it with sudo, or once `sudo setcap cap_net_raw+ep` on the program")]
    NotAllowed {
        /// The interface asked for.
        interface: String,
    },
    /// There is no such interface in this network namespace.
    #[error("there is no interface {interface} here; there are: {}", known.join(", "))]
    NoInterface {
        /// The interface asked for.
        interface: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Its frames begin with something that is not read here.
    #[error("{interface} has frames of a kind that is not read here (ARPHRD {kind})")]
    LinkType {
        /// The interface.
        interface: String,
        /// `ARPHRD_` number, linux/if_arp.h.
        kind: u16,
    },
    /// The interface went away.
    #[error("{interface} went away")]
    Gone {
        /// The interface.
        interface: String,
    },
    /// The kernel refused.
    #[error("{operation} on {interface}: {source}")]
    System {
        /// What was tried.
        operation: &'static str,
        /// The interface.
        interface: String,
        /// Why not.
        source: io::Error,
    },
}
