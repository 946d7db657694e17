//! Ports that nobody means to use: tools that look for the way knock on them, to hear the refusal. It is an answer, and no fault.

use super::Protocol;

/// Where traceroute and its kin aim (the port grows with each probe).
const TRACEROUTE: std::ops::RangeInclusive<u16> = 33_434..=33_689;
/// Discard (RFC 863): nothing is lost if it is open, and it hardly ever is.
const DISCARD: u16 = 9;

/// A refusal by this port was asked for.
pub(crate) fn is_knock(protocol: Protocol, port: u16) -> bool {
    match protocol {
        Protocol::Tcp => port == DISCARD,
        Protocol::Udp => port == DISCARD || TRACEROUTE.contains(&port),
        Protocol::Icmp | Protocol::Other(_) => false,
    }
}
