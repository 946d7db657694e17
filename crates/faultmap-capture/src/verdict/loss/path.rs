//! Loss of the path itself: not of TCP's data alone, which a receiver or its queue may drop, but of other packets between the same hosts as well. The
//! measure is that of a check: a share of a train of echo requests, while TCP suffers, too; a router that limits ICMP alone is no loss.

use crate::analysis::Outcome;
use crate::finding::{Cited, Party, Weight};
use crate::flow::tcp::report::hops;
use crate::flow::{FlowId, FlowRecord, Protocol};
use crate::packet::{PacketNo, Stamp};
use crate::verdict::problem::{MOST_FLOWS, Problem};
use faultmap_model::causes;
use foldhash::fast::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// Fewer echo requests say nothing, and fewer lost ones are an accident.
const TRAIN: u64 = 20;
const NOTABLE: u64 = 2;
/// Share of the train from which loss hurts TCP.
const HURTS: f64 = 0.02;
/// TCP suffers from so many repairs and this share of its packets on.
const SUFFERS: u64 = 2;
const SUFFERS_SHARE: f64 = 0.005;
/// Requests this near to the end of the capture may still be answered.
const STILL_WAITING_NS: u64 = 1_000_000_000;

/// Two hosts, and what was lost between them in either direction.
#[derive(Default)]
pub(super) struct Between {
    ends: Option<(IpAddr, IpAddr)>,
    asked: u64,
    unanswered: u64,
    /// Handshakes with a SYN or SYN-ACK sent again.
    repeated: u64,
    repaired: u64,
    sent: u64,
    on_link: bool,
    /// The client's packets start at the point of capture, and all that is known to be lost is lost behind it.
    starts_here: bool,
    lost_before: u64,
    round_trip_ms: f64,
    flows: BTreeSet<FlowId>,
    packets: Vec<u64>,
    first: Stamp,
    last: Stamp,
}

/// The paths that lose packets of more than one kind.
pub(super) fn losing(outcome: &Outcome) -> Vec<Between> {
    if outcome.quality.kernel_drops > 0 || outcome.quality.gaps > 0 {
        return Vec::new();
    }
    let mut found: HashMap<(IpAddr, IpAddr), Between, RandomState> = HashMap::default();
    for flow in outcome.flows.iter().filter(|flow| !flow.searching) {
        found.entry((flow.client.ip(), flow.server.ip())).or_default().add(flow);
    }
    for flow in outcome.flows.iter().filter(|flow| !flow.searching && flow.protocol == Protocol::Icmp) {
        if let Some(between) = found.get_mut(&(flow.client.ip(), flow.server.ip())) {
            between.train(flow, outcome);
        }
    }
    let mut losing: Vec<Between> = found.into_values().filter(Between::loses).collect();
    losing.sort_by_key(|between| between.ends);
    losing
}

impl Between {
    fn add(&mut self, flow: &FlowRecord) {
        if self.ends.is_none() {
            (self.ends, self.first, self.last) = (Some((flow.client.ip(), flow.server.ip())), flow.first, flow.last);
        }
        (self.first, self.last) = (self.first.min(flow.first), self.last.max(flow.last));
        let Some(tcp) = flow.tcp.as_ref().filter(|tcp| tcp.handshake.syn_ack.is_some() && !super::explained(flow)) else { return };
        let sides = &tcp.sides;
        let needed = sides.client.retransmits.needed().saturating_add(sides.server.retransmits.needed());
        self.repaired = self.repaired.saturating_add(u64::from(needed));
        self.sent = self.sent.saturating_add(flow.packets.client).saturating_add(flow.packets.server);
        let again = sides.client.retransmits.syn > 0 || sides.server.retransmits.syn > 0;
        self.repeated += u64::from(again);
        let full = |ttl: Option<u8>| ttl.is_some_and(|ttl| hops(ttl) == 0);
        self.starts_here |= full(sides.client.ttl);
        self.lost_before = self.lost_before.saturating_add(u64::from(sides.server.lost_before));
        self.on_link |= full(sides.client.ttl) && full(sides.server.ttl);
        self.round_trip_ms = tcp.handshake.rtt_ms().unwrap_or(0.0).max(self.round_trip_ms);
        if needed > 0 && self.flows.len() < MOST_FLOWS {
            self.flows.insert(flow.id);
        }
    }

    /// Echo requests of which some were answered.
    fn train(&mut self, flow: &FlowRecord, outcome: &Outcome) {
        if flow.packets.server == 0 || flow.packets.client < TRAIN {
            return;
        }
        let apart_ms = flow.duration_ms() / flow.packets.client.max(2) as f64;
        let ends_here = outcome.totals.last.is_some_and(|last| last.since(flow.last) < STILL_WAITING_NS);
        let on_the_way = if ends_here { (self.round_trip_ms / apart_ms.max(1.0)).ceil() as u64 + 1 } else { 0 };
        self.asked = self.asked.saturating_add(flow.packets.client);
        self.unanswered =
            self.unanswered.saturating_add(flow.packets.client.saturating_sub(flow.packets.server).saturating_sub(on_the_way));
        self.packets.push(flow.first_packet);
        if self.flows.len() < MOST_FLOWS {
            self.flows.insert(flow.id);
        }
    }

    fn loses(&self) -> bool {
        let notable = self.asked >= TRAIN && self.unanswered >= NOTABLE && self.unanswered as f64 >= self.asked as f64 * HURTS;
        notable && !self.on_link && self.repaired >= SUFFERS && self.repaired as f64 >= self.sent as f64 * SUFFERS_SHARE
    }

    pub(super) fn is_between(&self, from: IpAddr, to: IpAddr) -> bool {
        self.ends.is_some_and(|ends| ends == (from, to) || ends == (to, from))
    }

    /// The path's loss. What leaves the host where it was captured may also be dropped by its own queue or adapter, behind the capture.
    pub(super) fn problems(&self, outcome: &Outcome) -> Vec<Problem> {
        let path = self.problem(outcome);
        let queue = path.clone().zip(causes::find("l1.queue-drops")).filter(|_| self.starts_here && self.lost_before == 0);
        let queue = queue.map(|(path, cause)| Problem { cause, proven: false, confidence: 0.35, ..path });
        path.into_iter().chain(queue).collect()
    }

    fn problem(&self, outcome: &Outcome) -> Option<Problem> {
        let (client, server) = self.ends?;
        let mut cited = Cited::default();
        self.packets.iter().for_each(|packet| cited.add(PacketNo(*packet)));
        let repairs =
            outcome.findings.iter().filter(|found| super::is_repair(found) && found.flow.is_some_and(|id| self.flows.contains(&id)));
        repairs.for_each(|found| super::super::problem::join(&mut cited, &found.cited));
        let percent = self.unanswered as f64 * 100.0 / self.asked.max(1) as f64;
        let text = format!(
            "The path between {client} and {server} loses packets: {} of {} echo requests had no reply ({percent:.0} %), TCP sent {} segments again ({} \
             handshakes took more than one try).",
            self.unanswered, self.asked, self.repaired, self.repeated
        );
        Some(Problem {
            rule: "ip.loss",
            cause: causes::find("l3.packet-loss")?,
            party: Party::Host(server),
            weight: Weight::Warning,
            proven: true,
            confidence: 0.85,
            text,
            times: self.unanswered.saturating_add(self.repaired),
            flows: self.flows.clone(),
            cited,
            first: self.first,
            last: self.last,
            decides: Vec::new(),
            kinds: BTreeSet::new(),
            beyond: 0,
            weighed: true,
        })
    }
}
