//! What the packets of a capture show: rules that matched, and answers that came. Told by whoever read the packets; what it means is the judge's.

use crate::Layer;
use crate::verdict::{NextStep, Where};
use serde::{Deserialize, Serialize};

/// A rule about packets that matched. Its signature is that of one cause, or of several that look the same on the wire; then there is one such
/// observation for each, none of them proven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptureFinding {
    /// The rule, such as `tcp.syn-unanswered`.
    pub rule: String,
    /// The cause that has this signature.
    pub cause: String,
    /// No other cause has it.
    pub proven: bool,
    /// How sure, 0 to 1.
    pub confidence: f64,
    /// What was asked for was not done; else it was done slowly or at risk.
    pub breaks: bool,
    /// It is so although answers came from above its layer: a share of packets, exchanges or connections is concerned.
    #[serde(default)]
    pub despite_answers: bool,
    /// Whose side.
    #[serde(rename = "where")]
    pub side: Where,
    /// The place: an address, a service.
    pub at: String,
    /// A sentence with the figures.
    pub summary: String,
    /// The first packets that show it.
    pub packets: Vec<u64>,
    /// How many do.
    pub count: u64,
    /// In how many flows.
    pub flows: u64,
    /// The tests that would decide, where it is not proven.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decides: Vec<NextStep>,
}

/// The highest answer that a party gave in a capture: the road to it is proven up to that layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureAnswer {
    /// From which layer.
    pub layer: Layer,
    /// The flow in which it came.
    pub flow: u64,
}
