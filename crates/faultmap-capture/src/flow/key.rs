//! The key of a flow: equal for both directions.

use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The number of a flow within its capture, from 1, in the order of first packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FlowId(pub u64);

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who speaks: the side that opened the flow, or the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Opened the flow: sent the SYN, or the first packet where no SYN was seen and ports do not tell otherwise.
    Client,
    /// The other one.
    Server,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a flow speaks above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are those of the protocols")]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
    /// Another IP protocol.
    Other(u8),
}

/// `tcp`, `udp`, `icmp`, or the number in the IP header: `ip47`.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.pad("tcp"),
            Self::Udp => f.pad("udp"),
            Self::Icmp => f.pad("icmp"),
            Self::Other(number) => write!(f, "ip{number}"),
        }
    }
}

/// An address and a port: what a [`SocketAddr`] says of a packet, in 20 bytes in place of 32. Every packet carries two of them to its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowEnd {
    /// The address.
    pub ip: IpAddr,
    /// The port. ICMP echoes carry their identifier as both ports; other protocols 0.
    pub port: u16,
}

impl From<SocketAddr> for FlowEnd {
    fn from(at: SocketAddr) -> Self {
        Self { ip: at.ip(), port: at.port() }
    }
}

impl From<FlowEnd> for SocketAddr {
    fn from(end: FlowEnd) -> Self {
        Self::new(end.ip, end.port)
    }
}

/// Addresses, ports, protocol and realm, ordered so that both directions give the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The lower end.
    pub low: FlowEnd,
    /// The higher end.
    pub high: FlowEnd,
    /// What is spoken.
    pub protocol: Protocol,
    /// What tells equal addresses apart: `dissect::Frame::realm`.
    pub realm: u32,
}

impl FlowKey {
    /// The key of a packet from `from` to `to`, and whether `from` is its lower end.
    #[inline]
    #[must_use]
    pub fn of(from: FlowEnd, to: FlowEnd, protocol: Protocol, realm: u32) -> (Self, bool) {
        let low_sends = match (from.ip, to.ip) {
            // As the general case has it, and most packets take: address before port.
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits(), from.port) <= (b.to_bits(), to.port),
            _ => from <= to,
        };
        let (low, high) = if low_sends { (from, to) } else { (to, from) };
        (Self { low, high, protocol, realm }, low_sends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_key() {
        let end = |text: &str| FlowEnd::from(text.parse::<SocketAddr>().expect("address"));
        let (a, b) = (end("10.0.0.1:40000"), end("10.0.0.2:443"));
        let (there, back) = (FlowKey::of(a, b, Protocol::Tcp, 7), FlowKey::of(b, a, Protocol::Tcp, 7));
        assert_eq!(there.0, back.0);
        assert_ne!(there.1, back.1);
        assert_ne!(there.0, FlowKey::of(a, b, Protocol::Tcp, 8).0, "another VLAN");
    }
}
