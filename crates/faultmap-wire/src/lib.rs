//! Bytes to headers and back: Ethernet, ARP, IPv4, IPv6, TCP, UDP, ICMP, ICMPv6 and their checksums.
//!
//! Parsing borrows, never allocates and never panics, whatever the bytes. Emitting fills in lengths and checksums.
//! `parse` undoes `emit`. Nothing here opens a socket, reads a clock or knows what a fault is.

pub mod arp;
pub mod checksum;
pub mod dissect;
mod error;
pub mod ethernet;
pub mod icmp;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod names;
mod read;
pub mod rewrite;
pub mod tcp;
mod text;
pub mod udp;

pub use arp::Arp;
pub use error::WireError;
pub use ethernet::{Ethernet, Mac};
pub use icmp::Icmp;
pub use icmpv6::Icmpv6;
pub use ip::{IpPacket, proto};
pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
pub use tcp::{Tcp, TcpFlags, TcpOption};
pub use text::{printable, printable_text};
pub use udp::Udp;
