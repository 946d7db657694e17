//! The engine: packets in, one after the other, an [`Outcome`] out. It follows every flow within bounded memory and says what rules match; which
//! layer is at fault for the whole is not judged here. It never reads a clock: time is that of the packets.

mod limits;
mod outcome;
mod place;

pub use limits::{BoundsHit, Limits};
pub use outcome::{Outcome, Quality, Totals, Volume};
pub use place::{Mark, Place};

use crate::finding::Finding;
use crate::flow::FlowRecord;
use crate::packet::{Captured, Stamp};
use faultmap_wire::dissect::{Frame, Network, Transport, dissect};

/// Sees every flow record when its flow is over, those that the outcome has no room for included.
pub type FlowSink = Box<dyn FnMut(&FlowRecord) + Send>;

/// A step back in time that is not worth telling: queues of one network card may be this far apart.
const SMALL_STEP_BACK_NS: u64 = 1_000_000;

/// Packets become flows and findings.
pub struct Analysis {
    limits: Limits,
    totals: Totals,
    quality: Quality,
    bounds_hit: BoundsHit,
    findings: Vec<Finding>,
    taken: usize,
    flows: Vec<FlowRecord>,
    sink: Option<FlowSink>,
    place: Option<Place>,
    previous: Stamp,
}

impl Analysis {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            totals: Totals::default(),
            quality: Quality::default(),
            bounds_hit: BoundsHit::default(),
            findings: Vec::new(),
            taken: 0,
            flows: Vec::new(),
            sink: None,
            place: None,
            previous: Stamp::default(),
        }
    }

    /// Hands every flow record to `sink` as soon as the flow is over.
    pub fn set_flow_sink(&mut self, sink: FlowSink) {
        self.sink = Some(sink);
    }

    /// Takes in one packet.
    pub fn packet(&mut self, captured: &Captured<'_>) {
        self.place = None;
        self.count(captured);
        let frame = dissect(captured.link, captured.bytes, captured.wire_len as usize);
        self.count_protocols(captured, &frame);
    }

    /// The kernel or the interface dropped packets before they could be captured: numbers since the last call.
    pub fn dropped(&mut self, kernel: u64, interface: u64) {
        self.quality.kernel_drops = self.quality.kernel_drops.saturating_add(kernel);
        self.quality.interface_drops = self.quality.interface_drops.saturating_add(interface);
    }

    /// Where the last packet belongs; `None` if to no flow.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        self.place
    }

    /// What is known so far of the capture as a whole.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// How good the capture is so far.
    #[must_use]
    pub const fn quality(&self) -> &Quality {
        &self.quality
    }

    /// Findings since the last call; the outcome holds them, too.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        let new = self.findings.get(self.taken..).unwrap_or_default().to_vec();
        self.taken = self.findings.len();
        new
    }

    /// The capture is over.
    #[must_use]
    pub fn finish(self) -> Outcome {
        Outcome {
            totals: self.totals,
            quality: self.quality,
            flows: self.flows,
            findings: self.findings,
            rules: std::collections::BTreeMap::new(),
            bounds_hit: self.bounds_hit,
        }
    }

    fn count(&mut self, captured: &Captured<'_>) {
        self.totals.all.add(u64::from(captured.wire_len));
        *self.totals.link_types.entry(captured.link.0).or_default() += 1;
        self.totals.first = Some(self.totals.first.map_or(captured.at, |first| first.min(captured.at)));
        self.totals.last = Some(self.totals.last.map_or(captured.at, |last| last.max(captured.at)));
        if captured.bytes.len() < captured.wire_len as usize {
            self.quality.truncated += 1;
        }
        let back = self.previous.since(captured.at);
        if back > SMALL_STEP_BACK_NS && self.totals.all.packets > 1 {
            self.quality.time_backwards += 1;
            self.quality.furthest_back_ms = self.quality.furthest_back_ms.max(back as f64 / 1e6);
        }
        self.previous = captured.at;
    }

    fn count_protocols(&mut self, captured: &Captured<'_>, frame: &Frame<'_>) {
        let mut add = |name| self.totals.protocols.entry(name).or_default().add(u64::from(captured.wire_len));
        match frame.network {
            Network::Arp(_) => add("arp"),
            Network::Other(_) => add("other"),
            Network::Ip(packet) => {
                add(if packet.ip.src.is_ipv4() { "ipv4" } else { "ipv6" });
                match packet.transport {
                    Transport::Tcp(..) => add("tcp"),
                    Transport::Udp(..) => add("udp"),
                    Transport::Icmp(..) => add("icmp"),
                    Transport::Icmpv6(..) => add("icmpv6"),
                    Transport::Other(_) => {}
                }
            }
        }
        if frame.problem.is_some() {
            self.quality.malformed += 1;
        }
    }
}
