//! The packets of the check itself, as `--capture` recorded them.

use super::ObservationId;
use crate::Layer;
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
}

impl Packets {
    /// The packets of an observation.
    #[must_use]
    pub fn of(&self, observation: ObservationId) -> Option<&PacketsOf> {
        self.of.iter().find(|of| of.observation == observation)
    }
}
