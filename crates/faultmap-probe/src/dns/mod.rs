//! Name resolution as seen from here: the configuration, the hosts file, the system's own way, and each resolver asked directly.
//!
//! Every answer is data; nothing here decides whether it is a good one. Nothing is cached and nothing is retried beyond what a datagram
//! needs (1 s and 3 s, RFC 1035 4.2.1 asks for retransmission and leaves the times open).

mod config;
mod hosts;
pub mod message;
mod order;
mod query;
mod system;
mod tcp;
pub mod trace;
mod udp;

#[cfg(test)]
mod responder;
#[cfg(test)]
mod tests;

pub use config::{config, parse_resolv_conf};
pub use hosts::{hosts, parse_hosts};
pub use order::happy_eyeballs_order;
pub use query::{DnsAsk, query, query_with_fallback};
pub use system::system;
