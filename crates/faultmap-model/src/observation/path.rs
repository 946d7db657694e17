//! The path between here and there: echo trains, TTL walks, size probes.

use super::{IcmpError, Role, Transport};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// A train of ICMP echo requests (RFC 792, RFC 4443).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Echo {
    /// Where to.
    pub to: IpAddr,
    /// `Target`, `Gateway`, or `Control`.
    pub role: Role,
    /// ICMP payload bytes.
    pub payload_bytes: u32,
    /// "Do not fragment" was set.
    pub dont_fragment: bool,
    /// Requests sent.
    pub sent: u32,
    /// Replies, duplicates not counted.
    pub received: u32,
    /// Duplicate replies.
    pub duplicates: u32,
    /// Round trips of the replies, in order of sending.
    pub rtts_ms: Vec<f64>,
    /// TTL (hop limit) of the first reply.
    pub reply_ttl: Option<u8>,
    /// The first ICMP error that came instead.
    pub icmp: Option<IcmpError>,
    /// errno of the first send that failed.
    pub errno: Option<String>,
}

impl Echo {
    /// Requests without a reply.
    #[must_use]
    pub const fn lost(&self) -> u32 {
        self.sent.saturating_sub(self.received)
    }
}

/// What a walk sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WalkProtocol {
    /// TCP SYNs of plain sockets, to one port.
    Tcp,
    /// UDP datagrams to one port.
    Udp,
    /// ICMP echo requests.
    Icmp,
}

/// A walk with rising TTL toward one address and port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Destination; the port is 0 for ICMP.
    pub to: SocketAddr,
    /// `Target` for the port that failed; `Control` for another port or protocol of the same host.
    pub role: Role,
    /// What was sent.
    pub protocol: WalkProtocol,
    /// One entry per TTL from 1, without gaps, up to where the destination answered or the walk ended.
    pub hops: Vec<Hop>,
    /// The TTL at which the destination itself answered (any answer: SYN-ACK, RST, echo reply, 3/3 from it).
    pub reached_ttl: Option<u8>,
}

/// All tries with one TTL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    /// The TTL, from 1.
    pub ttl: u8,
    /// Probes sent with this TTL.
    pub sent: u32,
    /// What came back, in order.
    pub answers: Vec<HopAnswer>,
}

/// One answer to a probe with limited TTL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HopAnswer {
    /// Who answered; the destination for `Reached` and `Reset`.
    pub from: IpAddr,
    /// What it said.
    pub said: HopSaid,
    /// Round trip.
    pub rtt_ms: f64,
}

/// What answered a probe with limited TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case")]
pub enum HopSaid {
    /// An ICMP error (time exceeded at a router on the way, or another).
    Icmp(IcmpError),
    /// SYN-ACK, echo reply or UDP answer: the destination.
    Reached,
    /// A RST, by the destination or by somebody in its name.
    Reset,
}

impl Hop {
    /// Addresses of routers that said "time exceeded" at this hop, without repeats.
    #[must_use]
    pub fn routers(&self) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for answer in &self.answers {
            let expired = matches!(answer.said, HopSaid::Icmp(icmp) if icmp.meaning() == super::IcmpMeaning::TtlExceeded);
            if expired && !found.contains(&answer.from) {
                found.push(answer.from);
            }
        }
        found
    }

    /// No probe with this TTL was answered.
    #[must_use]
    pub fn silent(&self) -> bool {
        self.answers.is_empty()
    }
}

impl Walk {
    /// The highest TTL that anything answered; 0 when nothing did.
    #[must_use]
    pub fn last_answer_ttl(&self) -> u8 {
        self.hops.iter().rev().find(|hop| !hop.silent()).map_or(0, |hop| hop.ttl)
    }

    /// The router that answered at the highest TTL.
    #[must_use]
    pub fn last_router(&self) -> Option<IpAddr> {
        self.hops.iter().rev().find_map(|hop| hop.routers().first().copied())
    }

    /// A router seen at three or more different TTLs, with two or more of them above the first: packets go round.
    #[must_use]
    pub fn looping_routers(&self) -> Vec<IpAddr> {
        let mut counts: Vec<(IpAddr, u32)> = Vec::new();
        for router in self.hops.iter().flat_map(Hop::routers) {
            match counts.iter_mut().find(|(address, _)| *address == router) {
                Some((_, n)) => *n += 1,
                None => counts.push((router, 1)),
            }
        }
        counts.into_iter().filter(|(_, n)| *n >= 3).map(|(address, _)| address).collect()
    }
}

/// Datagrams of two sizes with "do not fragment", to tell a size limit from plain loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizeProbe {
    /// Where to.
    pub to: IpAddr,
    /// UDP (answered by port unreachable) or, with `Transport` absent, ICMP echo.
    pub transport: Option<Transport>,
    /// Size of the small packet, IP header included.
    pub small_bytes: u32,
    /// Small ones sent and answered.
    pub small: (u32, u32),
    /// Size of the large packet, IP header included: the MTU of the outgoing interface or the learned path MTU.
    pub large_bytes: u32,
    /// Large ones sent and answered.
    pub large: (u32, u32),
    /// "Too big" messages received, with the router that sent them.
    pub too_big: Option<IcmpError>,
    /// The largest size that was answered, when the limit was searched for.
    pub largest_answered_bytes: Option<u32>,
}
