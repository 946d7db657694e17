//! The packets of the check itself, as `--capture` recorded them.

use super::ObservationId;
use crate::Layer;
use crate::verdict::Where;
use serde::{Deserialize, Serialize};

/// What was recorded, and which packets belong to which observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Packets {
    /// The file, as the user named it.
    pub file: String,
    /// Packets in it.
    pub packets: u64,
    /// Packets that the kernel had no room for while we recorded.
    pub dropped: u64,
    /// Packets beyond what a check keeps.
    pub beyond: u64,
    /// Which packets show an observation; only observations with packets.
    pub of: Vec<PacketsOf>,
    /// What the packets show by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<PacketFinding>,
}

/// The packets of one observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketsOf {
    /// The observation.
    pub observation: ObservationId,
    /// How many packets.
    pub count: u64,
    /// The numbers of the first of them, as Wireshark shows them.
    pub first: Vec<u64>,
}

/// A rule of the capture analysis that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketFinding {
    /// The rule, such as `tcp.zero-window`.
    pub rule: String,
    /// The layer at fault; absent for what concerns the recording.
    pub layer: Option<Layer>,
    /// The cause that it points to.
    pub cause: Option<String>,
    /// A sentence.
    pub text: String,
    /// The numbers of the first packets that show it.
    pub packets: Vec<u64>,
    /// How many packets show it.
    #[serde(default)]
    pub count: u64,
    /// How much it weighs by itself.
    #[serde(default)]
    pub weight: PacketWeight,
    /// The observations of which it speaks: what the check asked for, not what it provoked to compare with. Empty: of none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<ObservationId>,
    /// The packets say it outright, and no other cause has this signature: an ICMP error, two owners of an address, a window that stays shut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proves: bool,
    /// Whose side.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub side: Option<Where>,
    /// The place: an address, a service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub at: String,
}

/// How much a finding in the packets of a check weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PacketWeight {
    /// Worth knowing; nothing is wrong. What concerns the recording itself is a note, too.
    #[default]
    Note,
    /// Works, but slow or at risk.
    Warning,
    /// Something failed.
    Fault,
}

/// The rule of an answer that this host's link received and its socket never saw.
pub const ANSWER_NOT_DELIVERED: &str = "host.answer-not-delivered";

impl Packets {
    /// The packets of an observation.
    #[must_use]
    pub fn of(&self, observation: ObservationId) -> Option<&PacketsOf> {
        self.of.iter().find(|of| of.observation == observation)
    }
}
