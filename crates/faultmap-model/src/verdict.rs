//! The verdict: which layer, which cause, by which evidence. The words of the JSON contract.

use crate::{Layer, ObservationId};
use serde::{Deserialize, Serialize};

/// How the target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Works, and nothing is at risk.
    Healthy,
    /// Works, but slow or at risk.
    Degraded,
    /// Broken, and the cause is known.
    Fault,
    /// Broken, and two or more causes remain.
    Inconclusive,
}

impl Status {
    /// As in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Fault => "fault",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Where the fault sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// This host.
    Local,
    /// Between the hosts.
    Path,
    /// The target's host or network.
    Remote,
}

/// Where the fault sits, as exactly as the evidence tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locus {
    /// Whose side.
    #[serde(rename = "where")]
    pub side: Where,
    /// The place: an interface, an address, `between A and B`.
    pub at: String,
}

/// A cause that remains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its layer.
    pub layer: Layer,
    /// Its id.
    pub cause: String,
    /// 0 to 1.
    pub confidence: f64,
}

/// A cause that the evidence contradicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledOut {
    /// Its id.
    pub cause: String,
    /// The observations that contradict it.
    pub because: Vec<ObservationId>,
    /// In words.
    pub why: String,
}

/// A command to run next.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NextStep {
    /// The command.
    pub run: String,
    /// The host to run it on: `here`, or an address or role.
    pub on: String,
    /// What its answer tells.
    pub why: String,
}

/// What the judge says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How the target is.
    pub status: Status,
    /// The layer at fault; of the likeliest candidate when inconclusive; null when healthy.
    pub layer: Option<Layer>,
    /// The cause id, in the same way.
    pub cause: Option<String>,
    /// 0 to 1.
    pub confidence: f64,
    /// Where; null when healthy.
    pub locus: Option<Locus>,
    /// One sentence a person would say aloud.
    pub summary: String,
    /// The observations that carry the verdict.
    pub because: Vec<ObservationId>,
    /// All causes that remain, likeliest first.
    pub candidates: Vec<Candidate>,
    /// Causes that the evidence contradicts.
    pub ruled_out: Vec<RuledOut>,
    /// What follows from the named cause, or is also worth knowing: one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// What to run next.
    pub next: Vec<NextStep>,
    /// How to mend it.
    pub fix: Vec<String>,
}

impl Verdict {
    /// The process exit code of the contract: 0, 3, 4, or 11 to 17.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.status, self.layer) {
            (Status::Healthy, _) => 0,
            (Status::Degraded, _) => 3,
            (Status::Fault, Some(layer)) => 10 + layer.number(),
            (Status::Inconclusive | Status::Fault, _) => 4,
        }
    }
}
