//! One file per question. Each returns a payload of `faultmap_model::observation`; a sick network is data, never an error.
//!
//! Every question is drop-safe (dropping the future closes its sockets), spawns nothing and ends within the wait that it is given.

mod ack;
mod answer_ttl;
mod arp;
mod connect;
mod echo;
mod fragments;
mod identity;
mod repeat;
mod size;
mod udp;
mod walk;

#[cfg(test)]
mod tests;

pub use ack::ack_probe;
pub use answer_ttl::answer_ttl;
pub use arp::arp_probe;
pub use connect::{ConnectAsk, connect};
pub use echo::{EchoAsk, echo};
pub use fragments::fragments;
pub use repeat::repeat;
pub use size::size;
pub use udp::udp;
pub use walk::{WalkAsk, walk};

use faultmap_model::observation::NotAsked;

/// What a question that needs a raw socket answers when it cannot have one.
fn raw_not_asked(question: &str, error: &std::io::Error, would_settle: &str) -> NotAsked {
    let missing = matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES));
    NotAsked {
        question: question.to_owned(),
        why: if missing { "needs CAP_NET_RAW".to_owned() } else { error.to_string() },
        would_settle: would_settle.to_owned(),
        missing: missing.then(|| "CAP_NET_RAW".to_owned()),
    }
}
