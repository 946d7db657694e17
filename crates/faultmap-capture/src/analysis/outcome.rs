//! What an analysis gives in the end: totals, how good the capture is, flows and findings. What they mean together is the verdict's.

use crate::analysis::limits::BoundsHit;
use crate::analysis::names::Names;
use crate::analysis::untold::Untold;
use crate::finding::Finding;
use crate::flow::FlowRecord;
use crate::keys::KeysSeen;
use crate::packet::Stamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// Packets and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Volume {
    /// Packets.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
}

impl Volume {
    /// One more packet.
    pub const fn add(&mut self, bytes: u64) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// More of them.
    pub const fn join(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// The capture as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Totals {
    /// Packets and bytes.
    #[serde(flatten)]
    pub all: Volume,
    /// The earliest packet.
    #[serde(skip)]
    pub first: Option<Stamp>,
    /// The latest.
    #[serde(skip)]
    pub last: Option<Stamp>,
    /// Flows seen, kept or not.
    pub flows: u64,
    /// By protocol of layers 2 to 4: `arp`, `ipv4`, `tcp`. A packet counts in each of its layers.
    pub protocols: BTreeMap<&'static str, Volume>,
    /// By protocol above them, as recognised flow by flow.
    pub applications: BTreeMap<&'static str, Volume>,
    /// Packets by link type (`LINKTYPE_` number).
    pub link_types: BTreeMap<u32, u64>,
}

impl Totals {
    /// From the earliest to the latest packet, milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> f64 {
        match (self.first, self.last) {
            (Some(first), Some(last)) => last.ms_since(first),
            _ => 0.0,
        }
    }
}

/// How good the capture is. None of this is the network's fault.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Quality {
    /// Packets captured once more, unchanged.
    pub copies: u64,
    /// Packets captured once more behind a router (TTL one less).
    pub forwarded_copies: u64,
    /// Copies that a routing loop made; these are the network's fault, and not counted above.
    pub loop_copies: u64,
    /// Holes: bytes that arrived, for they were acknowledged, but are not in the capture.
    pub gaps: u64,
    /// Bytes in those holes.
    pub missing_bytes: u64,
    /// TCP connections of which one direction only was captured.
    pub one_sided_flows: u64,
    /// TCP connections without their beginning.
    pub midstream_flows: u64,
    /// Packets cut by the snap length.
    pub truncated: u64,
    /// Packets with a time before that of their predecessor, by more than 1 ms.
    pub time_backwards: u64,
    /// The furthest such step, milliseconds.
    pub furthest_back_ms: f64,
    /// Packets that the capturing kernel dropped for want of room, as it told.
    pub kernel_drops: u64,
    /// Packets that the interface dropped.
    pub interface_drops: u64,
    /// Packets with a header that cannot be read.
    pub malformed: u64,
    /// Packets of a link type that is not known.
    pub unknown_link: u64,
    /// Segments whose checksum the capturing host left to its network card.
    pub offloaded_checksums: u64,
}

/// What an analysis found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// The capture as a whole.
    pub totals: Totals,
    /// How good it is.
    pub quality: Quality,
    /// Flows in the order of their first packets; the most telling ones where there are more than the bound.
    pub flows: Vec<FlowRecord>,
    /// A station that sent something was sent something as well: both directions of the medium are in the capture.
    #[serde(skip)]
    pub heard_back: bool,
    /// Findings, worst first, then by time.
    pub findings: Vec<Finding>,
    /// Which addresses names have, as DNS told.
    #[serde(skip)]
    pub names: Names,
    /// How often each rule matched, those left out of `findings` included.
    pub rules: BTreeMap<&'static str, u64>,
    /// Which bounds were hit.
    pub bounds_hit: BoundsHit,
    /// What the user's keys were good for, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysSeen>,
    /// What is counted and not kept.
    #[serde(skip)]
    pub untold: Untold,
}
