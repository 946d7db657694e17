//! What this host's kernel says of itself: links, routes, neighbours, sockets, counters, tables.
//!
//! Everything is read without privilege, of the calling thread's network namespace (`/proc/thread-self/net`,
//! rtnetlink, `sock_diag`, ethtool). Reads are bounded; nothing waits for the network and nothing is written.
//! What cannot be read says why and the rest goes on. Never says what a reading means: that is the judge's.
//!
//! Netlink messages are taken apart here, by the few fields that we need, and unknown or short attributes are passed
//! over: with a typed decoder of whole messages one attribute of a newer kernel costs the whole reading.

mod counters;
pub mod drops;
mod error;
mod ethtool;
mod flows;
mod links;
mod listeners;
mod neighbor;
mod netlink;
mod privileges;
pub mod proc_text;
mod procfs;
mod route;
mod sample;
mod snapshot;
mod sock_diag;
mod tables;

pub use counters::{ip_in_counts, min_ttl_drops};
pub use error::HostError;
pub use flows::flows;
pub use listeners::{Listener, Program, Visitors, listeners, program_of, visitors};
pub use neighbor::{NeighborWatch, neighbor, read_neighbor};
pub use privileges::{ping_socket_allowed, privileges};
pub use route::route;
pub use sample::{Sampler, Wanted, sample};
pub use snapshot::Snapshot;
pub use tables::{conntrack, fd_usage, listen_queue, rp_filter};
