//! The tower of a capture: for each layer what was seen of it, and whether something is wrong there.

use super::group::{Group, Severity};
use crate::analysis::{Outcome, Totals};
use crate::flow::record::State;
use crate::flow::{FlowRecord, Protocol};
use faultmap_model::report::LayerStatus;
use faultmap_model::{Layer, Verdict};
use serde::Serialize;

/// One storey.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSeen {
    /// Which.
    pub layer: Layer,
    /// How it is.
    pub status: LayerStatus,
    /// What was seen, in one line.
    pub summary: String,
    /// Groups of problems whose cause is in this layer.
    pub groups: u64,
}

/// The seven layers, L1 first.
pub(super) fn tower(outcome: &Outcome, verdict: &Verdict, groups: &[Group]) -> Vec<LayerSeen> {
    let seen = Seen::of(outcome);
    let top = seen.top(outcome);
    Layer::ALL
        .into_iter()
        .map(|layer| {
            let here: Vec<&Group> = groups.iter().filter(|group| group.layer() == Some(layer)).collect();
            let worst = here.iter().map(|group| group.severity).max();
            let candidate = verdict.candidates.iter().any(|candidate| candidate.layer == layer);
            let status = match worst {
                Some(Severity::Fault) => LayerStatus::Fail,
                Some(Severity::Inconclusive) if verdict.layer == Some(layer) => LayerStatus::Fail,
                Some(Severity::Inconclusive) => LayerStatus::Unknown,
                Some(Severity::Degraded) => LayerStatus::Warn,
                None if candidate => LayerStatus::Unknown,
                None if top >= Some(layer) => LayerStatus::Ok,
                None => LayerStatus::NotReached,
            };
            LayerSeen { layer, status, summary: seen.line(layer, outcome), groups: here.len() as u64 }
        })
        .collect()
}

/// Counts over all flows.
#[derive(Default)]
struct Seen {
    tcp: u64,
    established: u64,
    refused: u64,
    unanswered: u64,
    udp: u64,
    closed: u64,
    reset: u64,
    open: u64,
    tls: u64,
    exchanges: u64,
    failing: u64,
    repaired: u64,
    segments: u64,
}

impl Seen {
    fn of(outcome: &Outcome) -> Self {
        let mut seen = Self::default();
        for flow in &outcome.flows {
            seen.add(flow);
        }
        let untold = &outcome.untold;
        seen.exchanges = seen.exchanges.saturating_add(untold.all.exchanges);
        seen.failing = seen.failing.saturating_add(untold.all.failing);
        seen.udp = seen.udp.saturating_add(untold.datagrams);
        untold.connections.iter().for_each(|(state, count)| seen.connections(*state, *count));
        seen
    }

    fn add(&mut self, flow: &FlowRecord) {
        self.exchanges = self.exchanges.saturating_add(flow.exchanges.count);
        self.failing = self.failing.saturating_add(flow.exchanges.failing);
        self.tls += u64::from(flow.is_tls() || flow.app == Some("quic"));
        if flow.protocol == Protocol::Udp {
            self.udp += 1;
        }
        let Some(tcp) = flow.tcp.as_ref().filter(|_| flow.protocol == Protocol::Tcp) else { return };
        let repaired = |side: &crate::flow::record::TcpSide| u64::from(side.retransmits.needed());
        self.repaired = self.repaired.saturating_add(repaired(&tcp.sides.client)).saturating_add(repaired(&tcp.sides.server));
        self.segments = self.segments.saturating_add(flow.packets.client).saturating_add(flow.packets.server);
        self.connections(flow.state, 1);
    }

    /// So many TCP connections came so far.
    fn connections(&mut self, state: State, count: u64) {
        self.tcp += count;
        match state {
            State::Rej => self.refused += count,
            State::S0 | State::Rstos0 | State::Sh => self.unanswered += count,
            state => {
                self.established += count;
                match state {
                    State::Sf => self.closed += count,
                    State::Rsto | State::Rstr | State::Rstrh => self.reset += count,
                    _ => self.open += count,
                }
            }
        }
    }

    /// The highest layer from which an answer was seen.
    fn top(&self, outcome: &Outcome) -> Option<Layer> {
        match () {
            () if self.exchanges > self.failing => Some(Layer::L7),
            () if self.tls > 0 => Some(Layer::L6),
            () if self.established > 0 => Some(Layer::L5),
            () if self.udp > 0 => Some(Layer::L4),
            () if outcome.totals.protocols.keys().any(|name| name.starts_with("ip")) => Some(Layer::L3),
            () if outcome.totals.all.packets > 0 => Some(Layer::L2),
            () => None,
        }
    }

    fn line(&self, layer: Layer, outcome: &Outcome) -> String {
        let totals = &outcome.totals;
        let packets = |name: &str| totals.protocols.get(name).map_or(0, |volume| volume.packets);
        match layer {
            Layer::L1 if totals.all.packets == 0 => "nothing captured".to_owned(),
            Layer::L1 => {
                let (frames, bytes) = (many(totals.all.packets, "frame"), many(totals.all.bytes, "byte"));
                format!("{frames}, {bytes}; only damage would show here")
            }
            Layer::L2 => {
                let seen =
                    [many(packets("arp"), "ARP packet"), many(packets("icmpv6"), "packet") + " of ICMPv6, as neighbour discovery is"];
                listed(&seen, "no ARP and no neighbour discovery")
            }
            Layer::L3 => {
                let seen = [
                    many(packets("ipv4"), "IPv4 packet"),
                    many(packets("ipv6"), "IPv6 packet"),
                    many(packets("icmp"), "packet") + " of ICMP",
                ];
                listed(&seen, "no IP")
            }
            Layer::L4 => self.transport(),
            Layer::L5 => {
                let ends = [(self.closed, "closed in order"), (self.reset, "reset"), (self.open, "not seen to their end")];
                let ends = ends.into_iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}"));
                listed(&ends.collect::<Vec<_>>(), "no connection was open")
            }
            Layer::L6 => listed(&[many(self.tls, "flow") + " in TLS"], "no TLS"),
            Layer::L7 => self.application(totals),
        }
    }

    fn transport(&self) -> String {
        let states = [(self.established, "established"), (self.refused, "refused"), (self.unanswered, "unanswered")];
        let states = states.into_iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}"));
        let states = states.collect::<Vec<_>>().join(", ");
        let share = self.repaired as f64 * 100.0 / self.segments.max(1) as f64;
        let seen = [
            format!("{} ({states})", many(self.tcp, "TCP connection")),
            many(self.udp, "UDP flow"),
            format!("{} sent again ({share:.2} %)", many(self.repaired, "segment")),
        ];
        listed(&seen, "no TCP and no UDP")
    }

    fn application(&self, totals: &Totals) -> String {
        let mut apps: Vec<_> = totals.applications.iter().collect();
        apps.sort_by(|a, b| b.1.packets.cmp(&a.1.packets).then(a.0.cmp(b.0)));
        let apps: Vec<&str> = apps.iter().take(6).map(|(name, _)| **name).collect();
        let apps = if apps.is_empty() { String::new() } else { format!(" ({})", apps.join(", ")) };
        let questions = many(self.exchanges, "question");
        match (self.exchanges, self.failing) {
            (0, _) => format!("no question was seen{apps}"),
            (_, 0) => format!("{questions}, each with an answer{apps}"),
            (_, failing) => format!("{questions}, {failing} without the answer that was wanted{apps}"),
        }
    }
}

/// What there is, without what there is none of; `none` where nothing is left.
fn listed(seen: &[String], none: &str) -> String {
    let there: Vec<&str> = seen.iter().map(String::as_str).filter(|text| !text.starts_with("0 ")).collect();
    if there.is_empty() { none.to_owned() } else { there.join(", ") }
}

/// So many of them: "1 flow", "2 flows".
pub(crate) fn many(number: u64, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}
