//! The engine: packets in, one after the other, an [`Outcome`] out. It follows every flow within bounded memory and says what rules match; which
//! layer is at fault for the whole is not judged here. It never reads a clock: time is that of the packets.
//!
//! The order matters: what the capture itself did to a packet comes first, so that a copy never becomes a retransmission, and a packet that goes
//! round in a loop never becomes an unanswered one.

mod book;
mod closing;
mod copies;
mod counts;
mod early;
mod errors;
mod fragments;
mod front;
mod hosts;
mod leases;
mod limits;
mod links;
mod lookups;
mod names;
mod neighbors;
mod now;
mod outcome;
mod place;
mod scans;
mod stations;
mod transports;
mod untold;

pub use early::Fresh;
pub use limits::{BoundsHit, Limits};
pub use now::FlowNow;
pub use outcome::{Outcome, Quality, Totals, Volume};
pub use place::{Mark, Place};
pub use untold::{Kind, Part, Untold, kind};

use crate::app::{Sink, Unsealed};
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::following::{Flow, Spare};
use crate::flow::stream::Room;
use crate::flow::table::{Class, Table};
use crate::flow::{FlowKey, FlowRecord};
use crate::keys::Keys;
use crate::packet::{Captured, Stamp};
use book::{Book, Gathered, Subject};
use closing::Why;
use copies::Likeness;
use early::Early;
use errors::IcmpError;
use faultmap_model::Layer;
use faultmap_wire::dissect::{Frame, Network, Packet, Transport, dissect};
use faultmap_wire::icmpv6;
use foldhash::fast::RandomState;
use fragments::Fragments;
use front::{Addressed, Look};
pub(crate) use front::{Front, Sight};
use hosts::Hosts;
use leases::Leases;
use lookups::Lookups;
use neighbors::Neighbors;
use scans::Scans;
use std::collections::{HashMap, HashSet};

/// Sees every flow record when its flow is over, those that the outcome has no room for included.
pub type FlowSink = Box<dyn FnMut(&FlowRecord) + Send>;

/// A step back in time that is not worth telling: queues of one network card may be this far apart.
const SMALL_STEP_BACK_NS: u64 = 1_000_000;
/// A step back beyond which the clock of the analysis follows: one wrong moment in the future must not keep flows alive for ever.
const LARGE_STEP_BACK_NS: u64 = 3600 * 1_000_000_000;
/// How often flows are looked through for those that are over.
const TICK_NS: u64 = 100_000_000;
/// Flows whose packets a loop made, that are remembered.
const MOST_LOOPED: usize = 4096;

/// Packets become flows and findings.
pub struct Analysis {
    table: Table<Flow>,
    core: Core,
}

/// All but the flows.
struct Core {
    limits: Limits,
    totals: Totals,
    front: Front,
    quality: Quality,
    bounds_hit: BoundsHit,
    records: closing::Records,
    untold: Untold,
    sink: Option<FlowSink>,
    place: Option<Place>,
    previous: Stamp,
    /// The capture's clock: the latest moment seen.
    now: Stamp,
    ticked: Stamp,
    flows: u64,
    hosts: Hosts,
    neighbors: Neighbors,
    leases: Leases,
    lookups: Lookups,
    fragments: Fragments,
    scans: Scans,
    book: Book,
    early: Early,
    gathered: Gatherings,
    looped: HashSet<FlowKey, RandomState>,
    /// The realm in which a SYN went by, by the ends of its connection.
    realms: HashMap<FlowKey, u32, RandomState>,
    room: Room,
    spare: Spare,
    /// What conversations give, used again for each.
    said: Sink,
}

/// Findings about the capture.
#[derive(Default)]
struct Gatherings {
    copies: Gathered,
    forwarded: Gathered,
    truncated: Gathered,
    backwards: Gathered,
    malformed: Gathered,
    gaps: Gathered,
    one_sided: Gathered,
    midstream: Gathered,
}

impl Analysis {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let room = Room { of_flow: limits.max_waiting_of_flow, of_all: limits.max_waiting, used: 0, let_go: 0 };
        let core = Core {
            limits,
            totals: Totals::default(),
            front: Front::new(),
            quality: Quality::default(),
            bounds_hit: BoundsHit::default(),
            records: closing::Records::new(limits.max_records),
            untold: Untold::default(),
            sink: None,
            place: None,
            previous: Stamp::default(),
            now: Stamp::default(),
            ticked: Stamp::default(),
            flows: 0,
            hosts: Hosts::default(),
            neighbors: Neighbors::default(),
            leases: Leases::default(),
            lookups: Lookups::default(),
            fragments: Fragments::default(),
            scans: Scans::default(),
            book: Book::new(limits.max_findings),
            early: Early::default(),
            gathered: Gatherings::default(),
            looped: HashSet::default(),
            realms: HashMap::default(),
            room,
            spare: Spare::default(),
            said: Sink::default(),
        };
        Self { table: Table::new(), core }
    }

    /// Hands every flow record to `sink` as soon as the flow is over.
    pub fn set_flow_sink(&mut self, sink: FlowSink) {
        self.core.sink = Some(sink);
    }

    /// TLS is opened with these keys, as far as they fit.
    pub fn use_keys(&mut self, keys: Keys) {
        self.core.said.keys = Some(keys);
    }

    /// Keeps the records of TLS that are opened, for [`Analysis::take_opened`].
    pub fn keep_opened(&mut self) {
        self.core.said.shown = Some(Vec::new());
    }

    /// The records of TLS that the last packet made readable; the first 64 of them.
    pub fn take_opened(&mut self) -> Vec<Unsealed> {
        self.core.said.shown.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes in one packet.
    pub fn packet(&mut self, captured: &Captured<'_>) {
        let frame = dissect(captured.link, captured.bytes, captured.wire_len as usize);
        let sight = self.core.front.see(captured, &frame);
        self.follow(captured, &sight, |analysis| analysis.frame(captured, &frame, sight.look));
    }

    /// Who looks at the packets ahead: on another core, until [`Analysis::all_seen`].
    pub(crate) fn lookout(&mut self) -> Front {
        std::mem::replace(&mut self.core.front, Front::new())
    }

    /// Takes in one packet that was seen by the [`Analysis::lookout`].
    pub(crate) fn seen(&mut self, captured: &Captured<'_>, sight: &Sight) {
        self.follow(captured, sight, |analysis| {
            let frame = dissect(captured.link, captured.bytes, captured.wire_len as usize);
            analysis.frame(captured, &frame, sight.look);
        });
    }

    /// The lookout has seen all packets.
    pub(crate) fn all_seen(&mut self, front: Front) {
        self.core.front = front;
    }

    /// `apart` takes what is no plain segment.
    fn follow(&mut self, captured: &Captured<'_>, sight: &Sight, apart: impl FnOnce(&mut Self)) {
        self.core.place = None;
        self.core.count(captured);
        match &sight.segment {
            Some(segment) => self.tcp(captured, segment, sight.look),
            None => apart(self),
        }
        if self.core.now.since(self.core.ticked) > TICK_NS {
            self.tick();
        }
    }

    fn frame(&mut self, captured: &Captured<'_>, frame: &Frame<'_>, look: Look) {
        if frame.problem.is_some() && captured.bytes.len() >= captured.wire_len as usize {
            self.core.malformed(captured);
        }
        match &frame.network {
            Network::Arp(message) => self.core.neighbors.arp(message, frame.macs, captured.number, captured.at, &mut self.core.book),
            Network::Ip(packet) => self.ip(captured, frame, packet, look),
            Network::Other(faultmap_wire::ethernet::ARP) => self.core.neighbors.unreadable(),
            Network::Other(_) => {}
        }
    }

    /// The kernel or the interface dropped packets before they could be captured: numbers since the last call.
    pub fn dropped(&mut self, kernel: u64, interface: u64) {
        let quality = &mut self.core.quality;
        quality.kernel_drops = quality.kernel_drops.saturating_add(kernel);
        quality.interface_drops = quality.interface_drops.saturating_add(interface);
    }

    /// Where the last packet belongs; `None` if to no flow.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        self.core.place
    }

    /// Packets, bytes and times of the capture so far.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.core.totals
    }

    /// How good the capture is so far.
    #[must_use]
    pub const fn quality(&self) -> &Quality {
        &self.core.quality
    }

    /// Flows followed now.
    #[must_use]
    pub fn open_flows(&self) -> usize {
        self.table.len()
    }

    fn ip(&mut self, captured: &Captured<'_>, frame: &Frame<'_>, packet: &Packet<'_>, look: Look) {
        if look.damaged {
            return self.core.malformed(captured);
        }
        match look.likeness {
            Likeness::Looped => return self.looped(captured, frame, packet),
            Likeness::Forwarded => return self.copied(captured, frame, packet, true),
            Likeness::Copy { unique: true } => return self.copied(captured, frame, packet, false),
            Likeness::New | Likeness::Copy { unique: false } => {}
        }
        if packet.ip.fragment.is_some() {
            self.core.fragments.fragment(packet, captured.number, captured.at, &mut self.core.book);
        }
        match packet.transport {
            Transport::Tcp(..) => {
                if let Some(segment) = Addressed::of(captured, frame, packet) {
                    self.tcp(captured, &segment, look);
                }
            }
            Transport::Udp(..) => self.udp(captured, frame, packet, look),
            Transport::Icmp(..) | Transport::Icmpv6(..) => self.icmp(captured, frame, packet),
            Transport::Other(_) => {}
        }
    }

    fn copied(&mut self, captured: &Captured<'_>, frame: &Frame<'_>, packet: &Packet<'_>, forwarded: bool) {
        let core = &mut self.core;
        let (count, gathered) = if forwarded {
            (&mut core.quality.forwarded_copies, &mut core.gathered.forwarded)
        } else {
            (&mut core.quality.copies, &mut core.gathered.copies)
        };
        *count += 1;
        gathered.add(captured.number, captured.at);
        self.placed(frame, packet, Mark::Copy);
    }

    fn looped(&mut self, captured: &Captured<'_>, frame: &Frame<'_>, packet: &Packet<'_>) {
        self.core.quality.loop_copies += 1;
        if let Some(flow) = self.placed(frame, packet, Mark::Looped) {
            flow.looped = true;
        }
        if self.core.looped.len() < MOST_LOOPED
            && let Some((key, _)) = transports::key_of(frame, packet)
        {
            self.core.looped.insert(key);
        }
        let rule = "ip.routing-loop";
        let party = Some(Party::Host(packet.ip.dst));
        let at = captured.at;
        self.core.book.sight(Subject { rule, flow: None, party }, captured.number, at, || {
            let text = format!("the same packets to {} went by again and again with a falling TTL", packet.ip.dst);
            let (layer, cause) = (Some(Layer::L3), Some("l3.routing-loop"));
            Finding { layer, cause, blames: party, ..Finding::of(rule, Weight::Fault, (at, at), Cited::one(captured.number), text) }
        });
    }

    /// Notes the place of a packet that changes nothing in its flow.
    fn placed(&mut self, frame: &Frame<'_>, packet: &Packet<'_>, mark: Mark) -> Option<&mut Flow> {
        let (key, low_sends) = transports::key_of(frame, packet)?;
        let at = self.table.find(&key)?;
        let flow = self.table.get_mut(at)?;
        self.core.place = Some(Place { flow: flow.id, from: flow.side(low_sends), mark });
        Some(flow)
    }

    /// Looks for flows, questions and fragments whose time is over.
    fn tick(&mut self) {
        let now = self.core.now;
        self.core.ticked = now;
        for class in Class::ALL {
            while let Some((at, since)) = self.table.oldest(class)
                && now.since(since) > class.patience_ns()
            {
                let Some(flow) = self.table.remove(at) else { break };
                self.core.close(flow, Why::Forgotten(class));
            }
        }
        let core = &mut self.core;
        core.neighbors.expire(now, false, &core.hosts, &mut core.book);
        core.fragments.expire(now, &mut core.book);
        core.leases.expire(now, &mut core.book);
        core.lookups.expire(now);
        self.overdue();
    }

    /// The capture is over.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        for flow in self.table.drain(|flow| flow.id) {
            self.core.close(flow, Why::CaptureEnded);
        }
        self.core.finish()
    }
}

impl Core {
    fn count(&mut self, captured: &Captured<'_>) {
        let totals = &mut self.totals;
        totals.all.add(u64::from(captured.wire_len));
        totals.first = Some(totals.first.map_or(captured.at, |first| first.min(captured.at)));
        totals.last = Some(totals.last.map_or(captured.at, |last| last.max(captured.at)));
        if !captured.link.is_known() {
            self.quality.unknown_link += 1;
        }
        if captured.bytes.len() < captured.wire_len as usize {
            self.quality.truncated += 1;
            self.gathered.truncated.add(captured.number, captured.at);
        }
        let back = self.previous.since(captured.at);
        if back > SMALL_STEP_BACK_NS && totals.all.packets > 1 {
            self.quality.time_backwards += 1;
            self.quality.furthest_back_ms = self.quality.furthest_back_ms.max(back as f64 / 1e6);
            self.gathered.backwards.add(captured.number, captured.at);
        }
        self.previous = captured.at;
        if captured.at > self.now || self.now.since(captured.at) > LARGE_STEP_BACK_NS {
            self.now = captured.at;
            if self.ticked > self.now {
                self.ticked = self.now;
            }
        }
    }

    /// A packet that cannot be read.
    fn malformed(&mut self, captured: &Captured<'_>) {
        self.quality.malformed += 1;
        self.gathered.malformed.add(captured.number, captured.at);
    }

    /// The neighbour messages among ICMPv6.
    fn neighbor(&mut self, captured: &Captured<'_>, frame: &Frame<'_>, packet: &Packet<'_>) {
        if let Ok(message) = icmpv6::Neighbor::parse(packet.ip.payload) {
            self.neighbors.nd(&message, (packet.ip.src, frame.macs.map(|(_, to)| to)), captured.number, captured.at, &mut self.book);
        }
    }

    /// The error that a packet is, if it is one.
    fn error(packet: &Packet<'_>) -> Option<IcmpError> {
        IcmpError::read(packet)
    }
}
