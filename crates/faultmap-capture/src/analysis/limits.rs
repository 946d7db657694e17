//! How much an analysis may remember, and which of its bounds were hit.

use serde::Serialize;

/// Bounds of one analysis. The defaults keep it within 64 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Flows followed at once; beyond, the one silent for longest is closed early.
    pub max_flows: usize,
    /// Flow records kept for the outcome; beyond, the least telling are let go. A flow sink still sees all.
    pub max_records: usize,
    /// Findings kept.
    pub max_findings: usize,
    /// Bytes of one direction that wait for a hole before them to be filled.
    pub max_waiting_of_flow: usize,
    /// The same of all flows together.
    pub max_waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_flows: 40_000, max_records: 10_000, max_findings: 5_000, max_waiting_of_flow: 1 << 20, max_waiting: 16 << 20 }
    }
}

/// How often each bound was hit. All zero: nothing was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct BoundsHit {
    /// Flows closed early for want of room.
    pub flows: u64,
    /// Records of flows that are not in the outcome.
    pub records: u64,
    /// Findings that are not in the outcome; they are in its counts by rule.
    pub findings: u64,
    /// Bytes that a conversation did not get for want of room.
    pub waiting_bytes: u64,
}

impl BoundsHit {
    /// Something was left out.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.flows > 0 || self.records > 0 || self.findings > 0 || self.waiting_bytes > 0
    }
}
