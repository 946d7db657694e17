//! What somebody who reads packets would point at: a rule that matched, with the packets that show it. What it means for the whole is the verdict's.

use crate::flow::FlowId;
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};

/// Packets cited by one finding; further ones are counted only.
pub const MOST_CITED: usize = 8;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// About the capture itself, never about the network.
    Capture,
    /// Worth knowing; nothing is wrong.
    Note,
    /// Works, but slow or at risk.
    Warning,
    /// Something failed.
    Fault,
}

impl Weight {
    /// As filters, tables and JSON write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// Packets that show a finding: the first few by number, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Cited {
    /// The first [`MOST_CITED`], in order.
    pub packets: Vec<u64>,
    /// All of them.
    pub count: u64,
}

impl Cited {
    /// One packet.
    #[must_use]
    pub fn one(number: PacketNo) -> Self {
        let mut cited = Self::default();
        cited.add(number);
        cited
    }

    /// One more.
    pub fn add(&mut self, number: PacketNo) {
        self.count = self.count.saturating_add(1);
        if self.packets.len() < MOST_CITED {
            self.packets.push(number.0);
        }
    }
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The rule: `tcp.zero-window`, `dns.nxdomain`, `cap.duplicate`. Stable.
    pub rule: &'static str,
    /// How much it weighs.
    pub weight: Weight,
    /// The layer at fault; `None` for what concerns the capture.
    pub layer: Option<Layer>,
    /// The cause that it proves or points to, such as `l4.zero-window`.
    pub cause: Option<&'static str>,
    /// The flow in which it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowId>,
    /// Whose fault it is, as far as the rule says: the server that refused, the address that does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blames: Option<Party>,
    /// Who says so, where it is said: the sender of an ICMP error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said_by: Option<IpAddr>,
    /// First and last time.
    #[serde(skip)]
    pub first: Stamp,
    /// Last time.
    #[serde(skip)]
    pub last: Stamp,
    /// The packets that show it.
    pub cited: Cited,
    /// A sentence with the figures: `data after 9.0 s of silence was answered by RST`. Printable, bounded.
    pub text: String,
    /// The figure that the rule is about, if there is one: milliseconds, a code, a status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

impl Finding {
    /// What every finding has. Layer, cause, flow, party, speaker and figure are set beside it, where there are any.
    #[must_use]
    pub const fn of(rule: &'static str, weight: Weight, (first, last): (Stamp, Stamp), cited: Cited, text: String) -> Self {
        Self { rule, weight, layer: None, cause: None, flow: None, blames: None, said_by: None, first, last, cited, text, value: None }
    }
}

/// Somebody in the capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// A station on the medium, by address.
    Host(IpAddr),
    /// A service.
    Service(SocketAddr),
}

impl Party {
    /// Its address.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        match self {
            Self::Host(ip) => ip,
            Self::Service(at) => at.ip(),
        }
    }
}
