//! ICMP errors as the socket error queue reports them (`SO_EE_ORIGIN_ICMP`, linux/errqueue.h).

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// An ICMP or ICMPv6 error about one of our packets, with its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IcmpError {
    /// ICMP (v4) or ICMPv6 type, by the family of `from`.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// Who sent it. Equal to our own address when the local kernel gave up (failed neighbour, local reject).
    pub from: IpAddr,
    /// The next-hop MTU of a "fragmentation needed" or "packet too big".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// The meaning that ICMP (RFC 792, 1812) and ICMPv6 (RFC 4443) share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IcmpMeaning {
    /// v4 3/0, 3/6; v6 1/0: a router has no route.
    NoRoute,
    /// v4 3/1, 3/7; v6 1/3: the last router (or we ourselves) cannot resolve the neighbour.
    HostUnreachable,
    /// v4 3/2: the host does not speak the protocol. v6 4/1.
    ProtocolUnreachable,
    /// v4 3/3; v6 1/4: no such port, or a firewall's default reject.
    PortUnreachable,
    /// v4 3/9, 3/10, 3/13; v6 1/1, 1/5, 1/6: refused by policy.
    Prohibited,
    /// v4 3/4; v6 2/0: too big, do not fragment.
    TooBig,
    /// v4 11/0; v6 3/0: TTL exceeded in transit.
    TtlExceeded,
    /// Anything else.
    Other,
}

impl IcmpError {
    /// What the type and code mean, for either family.
    #[must_use]
    pub const fn meaning(&self) -> IcmpMeaning {
        match (self.from.is_ipv4(), self.icmp_type, self.code) {
            (true, 3, 0 | 6) | (false, 1, 0) => IcmpMeaning::NoRoute,
            (true, 3, 1 | 7 | 8) | (false, 1, 3) => IcmpMeaning::HostUnreachable,
            (true, 3, 2) | (false, 4, 1) => IcmpMeaning::ProtocolUnreachable,
            (true, 3, 3) | (false, 1, 4) => IcmpMeaning::PortUnreachable,
            (true, 3, 9 | 10 | 13) | (false, 1, 1 | 5 | 6) => IcmpMeaning::Prohibited,
            (true, 3, 4) | (false, 2, _) => IcmpMeaning::TooBig,
            (true, 11, 0) | (false, 3, 0) => IcmpMeaning::TtlExceeded,
            _ => IcmpMeaning::Other,
        }
    }
}
