//! What a verdict must be for a scenario to count as understood. It compares nothing: see the runner's judgement.
//!
//! Layers and statuses are the lab's own, as the contract's JSON spells them, not the model's: the lab grades what a
//! program prints, and a change of the model that breaks the contract must show here.

use serde::{Deserialize, Serialize};

/// A layer of the OSI model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Layer {
    /// Physical.
    L1,
    /// Data link.
    L2,
    /// Network.
    L3,
    /// Transport.
    L4,
    /// Session.
    L5,
    /// Presentation.
    L6,
    /// Application.
    L7,
}

impl Layer {
    /// All seven, the lowest first.
    pub const ALL: [Layer; 7] = [Layer::L1, Layer::L2, Layer::L3, Layer::L4, Layer::L5, Layer::L6, Layer::L7];

    /// The layer that a cause's id begins with: `l4.port-filtered` is of L4.
    pub fn of_cause(cause: &str) -> Option<Layer> {
        let (layer, name) = cause.split_once('.')?;
        let sound = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let found = Layer::ALL.into_iter().find(|known| known.id() == layer);
        found.filter(|_| sound)
    }

    /// "l1" to "l7", as ids of causes begin.
    pub fn id(self) -> &'static str {
        match self {
            Layer::L1 => "l1",
            Layer::L2 => "l2",
            Layer::L3 => "l3",
            Layer::L4 => "l4",
            Layer::L5 => "l5",
            Layer::L6 => "l6",
            Layer::L7 => "l7",
        }
    }
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id().to_ascii_uppercase())
    }
}

/// The status of a verdict, as the contract names them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is wrong.
    #[default]
    Healthy,
    /// Works, but slow or at risk.
    Degraded,
    /// Broken.
    Fault,
    /// Something is wrong and more than one cause remains.
    Inconclusive,
}

/// The verdict a scenario calls for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expect {
    /// How bad it is.
    pub status: Status,
    /// The layer that broke.
    pub layer: Layer,
    /// The true cause.
    pub cause: String,
    /// Causes that are as true; rare, and each needs a comment in the file.
    #[serde(default)]
    pub also: Vec<String>,
    /// What `faultmap capture` may name instead, from the packets of the check alone: a deeper truth, or the same one as a reader of packets
    /// who knows nothing of names, proxies and intentions must call it. A check is never graded by it.
    #[serde(default)]
    pub packets: Vec<String>,
    /// Where `status` is `inconclusive`: what may remain. The true cause is always among them.
    #[serde(default)]
    pub candidates: Vec<String>,
    /// What a check without capabilities may say instead, where a socket cannot tell.
    #[serde(default)]
    pub unprivileged: Option<Unprivileged>,
}

/// The verdict allowed to a check without capabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Unprivileged {
    /// Usually `inconclusive`.
    pub status: Status,
    /// What may remain; the true cause is always among them.
    #[serde(default)]
    pub candidates: Vec<String>,
}

/// The verdict on the network without its faults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TwinExpect {
    /// Healthy, unless the story is inherently less.
    #[serde(default)]
    pub status: Status,
    /// The cause a degraded twin must name.
    #[serde(default)]
    pub cause: Option<String>,
}

impl Expect {
    /// The first thing wrong with it.
    pub(super) fn contradiction(&self) -> Option<String> {
        if self.status == Status::Healthy {
            return Some("a scenario expects a fault; a healthy network is what its twin is for".to_owned());
        }
        let of = |cause: &String| (cause.clone(), Layer::of_cause(cause));
        let unprivileged = self.unprivileged.iter().flat_map(|u| &u.candidates);
        let ids = self.also.iter().chain(&self.packets).chain(&self.candidates).chain(unprivileged).chain([&self.cause]);
        if let Some((cause, _)) = ids.map(of).find(|(_, layer)| layer.is_none()) {
            return Some(format!("{cause:?} is no cause id such as \"l4.port-filtered\""));
        }
        if Layer::of_cause(&self.cause) != Some(self.layer) {
            return Some(format!("layer {} contradicts cause {}", self.layer, self.cause));
        }
        let lists = std::iter::once(&self.candidates).chain(self.unprivileged.iter().map(|u| &u.candidates));
        if lists.into_iter().any(|list| !list.is_empty() && !list.contains(&self.cause)) {
            return Some(format!("the candidates must hold the true cause {}", self.cause));
        }
        None
    }

    /// The status that a run with these powers must have.
    pub fn status_for(&self, unprivileged: bool) -> Status {
        match &self.unprivileged {
            Some(allowed) if unprivileged => allowed.status,
            _ => self.status,
        }
    }

    /// What may remain in an inconclusive verdict of a run with these powers; empty means anything with the truth in it.
    pub fn candidates_for(&self, unprivileged: bool) -> &[String] {
        match &self.unprivileged {
            Some(allowed) if unprivileged && !allowed.candidates.is_empty() => &allowed.candidates,
            _ => &self.candidates,
        }
    }

    /// Whether naming `cause` is right.
    pub fn accepts(&self, cause: &str) -> bool {
        self.cause == cause || self.also.iter().any(|also| also == cause)
    }

    /// Whether naming `cause` is right for somebody who has the packets alone.
    pub fn packets_accept(&self, cause: &str) -> bool {
        self.accepts(cause) || self.packets.iter().any(|deeper| deeper == cause)
    }
}
