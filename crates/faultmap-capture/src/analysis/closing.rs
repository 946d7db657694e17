//! The end of a flow, and of the analysis: what is told of each, and which records are kept.

use super::untold::LetGo;
use super::{Core, Front, Outcome, Volume};
use crate::app::End;
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::following::{Body, Flow};
use crate::flow::record::RuleCount;
use crate::flow::table::Class;
use crate::flow::tcp::report::{self, About};
use crate::flow::{FlowId, FlowRecord, Protocol, SEARCHING_TTL, Side};
use crate::keys::Keys;
use crate::packet::Stamp;
use faultmap_model::Layer;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Services that answer every datagram: NTP, SNMP, QUIC, IKE and its passage through NAT, STUN, RADIUS.
const ANSWERING_PORTS: [u16; 8] = [123, 161, 443, 500, 4500, 3478, 1812, 1813];

/// So many packets go to one station by its address in a table; a single one may be damaged.
const AGAIN: u32 = 2;

/// Why a flow is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The capture is over.
    CaptureEnded,
    /// Nothing came for the time of its class.
    Forgotten(Class),
    /// For want of room.
    PushedOut,
    /// Another connection has its ends now.
    Replaced,
}

/// The records that are kept: the most telling.
pub(super) struct Records {
    kept: Vec<FlowRecord>,
    least: BinaryHeap<Reverse<(Telling, usize)>>,
    most: usize,
    pub(super) let_go: u64,
}

/// How much a record tells: what was found, failing exchanges, volume; of equals the first.
type Telling = (Option<Weight>, bool, u64, Reverse<FlowId>);

impl Records {
    pub(super) fn new(most: usize) -> Self {
        Self { kept: Vec::new(), least: BinaryHeap::new(), most, let_go: 0 }
    }

    /// Whether one that tells so much would be kept. Where a million flows end, most records need not be made.
    fn has_room(&self, telling: Telling) -> bool {
        self.kept.len() < self.most || self.least.peek().is_some_and(|least| telling > least.0.0)
    }

    /// Keeps the more telling one. The record that is let go, if one is.
    fn keep(&mut self, record: FlowRecord, telling: Telling) -> Option<FlowRecord> {
        if self.kept.len() < self.most {
            self.least.push(Reverse((telling, self.kept.len())));
            self.kept.push(record);
            return None;
        }
        self.let_go = self.let_go.saturating_add(1);
        let Some(mut least) = self.least.peek_mut() else { return Some(record) };
        let (known, place) = least.0;
        match self.kept.get_mut(place).filter(|_| telling > known) {
            Some(slot) => {
                least.0 = (telling, place);
                Some(std::mem::replace(slot, record))
            }
            None => Some(record),
        }
    }
}

fn telling(flow: &Flow) -> Telling {
    let worst = flow.findings.iter().map(|found| found.weight).max();
    (worst, flow.exchanges.failing > 0, flow.packets.client.saturating_add(flow.packets.server), Reverse(flow.id))
}

/// A flow of which no record is made.
fn let_go(flow: &Flow, (worst, ..): Telling) -> LetGo {
    let ends = flow.ends();
    LetGo {
        server: ends.server,
        protocol: flow.key.protocol,
        state: flow.state(),
        answered: flow.packets.server > 0,
        faulty: worst == Some(Weight::Fault),
        exchanges: flow.exchanges.count,
        failing: flow.exchanges.failing,
        packets: flow.packets.client.saturating_add(flow.packets.server),
        bytes: flow.bytes.client.saturating_add(flow.bytes.server),
    }
}

impl Core {
    /// A flow is over.
    pub(super) fn close(&mut self, flow: &mut Flow, why: Why) {
        let now = match why {
            Why::Forgotten(class) => Stamp(flow.last.0.saturating_add(class.patience_ns() as i64)).min(self.now),
            _ => self.now,
        };
        let how = self.end_talk(flow, now, why);
        self.remark_quality(flow);
        let found = match &flow.body {
            Body::Tcp(body) if body.tcp.is_uneventful() => Vec::new(),
            Body::Tcp(body) => report::findings(&body.tcp, &self.about(flow, now)),
            Body::Datagrams { .. } => self.unanswered(flow).into_iter().collect(),
            Body::Echo(_) => echoes(flow, now).into_iter().collect(),
            Body::Plain => Vec::new(),
        };
        for finding in found {
            flow.note(RuleCount { rule: finding.rule, count: finding.cited.count.max(1), weight: finding.weight });
            self.tell(flow, finding);
        }
        self.tell_stale(flow);
        if let Some(app) = flow.app {
            let packets = flow.packets.client.saturating_add(flow.packets.server);
            self.totals.applications.entry(app).or_default().join(Volume { packets, bytes: flow.wire_bytes });
        }
        let telling = telling(flow);
        if self.sink.is_none() && !self.records.has_room(telling) {
            self.records.let_go = self.records.let_go.saturating_add(1);
            self.untold.flow(&let_go(flow, telling));
            return self.spare.keep(&mut flow.body);
        }
        let delivered = flow.to.is_some_and(|to| self.neighbors.owner(flow.ends().server.ip()).is_some_and(|(owner, _)| owner == to));
        let record = FlowRecord { delivered, ..record(flow, how, now) };
        self.spare.keep(&mut flow.body);
        if let Some(sink) = &mut self.sink {
            sink(&record);
        }
        if let Some(record) = self.records.keep(record, telling) {
            self.untold.flow(&LetGo::from(&record));
        }
    }

    /// What went to a station that does not have the address any more.
    fn tell_stale(&mut self, flow: &mut Flow) {
        let (ends, silent) = (flow.ends(), flow.packets.server == 0);
        let Some((station, to)) = flow.macs.client.zip(flow.to).filter(|_| flow.key.protocol != Protocol::Icmp) else { return };
        let (client, server) = (ends.client.ip(), ends.server.ip());
        let unheard = silent && flow.to_it >= AGAIN;
        let stale = if unheard { self.neighbors.stale(client, station, server, to, flow.last) } else { None };
        let in_vain = flow.in_vain.filter(|_| !silent);
        let healed = in_vain.and_then(|vain| Some((vain, self.neighbors.owner(server).filter(|(owner, _)| *owner == to)?)));
        let (weight, text, claim) = match (stale, healed) {
            (Some((owner, claim)), _) => {
                let text = format!("{client} sends to {to} what is for {server}, while {owner} has told it that the address is its own");
                (Weight::Fault, text, claim)
            }
            (None, Some((vain, (owner, claim)))) => {
                let text = format!("{client} sent to {vain} in vain what is for {server}, which answered when it sent to {owner}");
                (Weight::Warning, text, claim)
            }
            (None, None) => return,
        };
        let mut finding =
            of_flow(flow, "arp.stale-neighbor", weight, (Layer::L2, Some("l2.stale-neighbor")), text, flow.packets.client as f64);
        finding.blames = Some(Party::Host(server));
        finding.cited.add(claim);
        flow.note(RuleCount { rule: finding.rule, count: finding.cited.count, weight: finding.weight });
        self.book.add(finding);
    }

    /// Attempts that failed wait until it is clear that they are no scan.
    fn tell(&mut self, flow: &Flow, finding: Finding) {
        self.early.meet(flow);
        if !matches!(finding.rule, "tcp.syn-refused" | "tcp.syn-unanswered" | "tcp.synack-retransmit" | "tcp.handshake-incomplete") {
            return self.book.add(finding);
        }
        let ends = flow.ends();
        self.scans.failed(ends.client.ip(), ends.server, finding, &mut self.book);
    }

    /// Ends the conversation. How the flow ended.
    fn end_talk(&mut self, flow: &mut Flow, now: Stamp, why: Why) -> End {
        let cut = matches!(why, Why::CaptureEnded | Why::PushedOut);
        let (port, when) = (flow.ends().server.port(), Self::last_of(flow));
        let how = match &mut flow.body {
            Body::Tcp(body) => {
                if body.tcp.one_sided().is_some() {
                    body.tcp.abandon(flow.last);
                }
                body.tcp.settle_checksums();
                for side in [Side::Client, Side::Server] {
                    while let Some(missed) = body.tcp.settle(side, now, true) {
                        body.skip_to(side, missed, when, port, &mut self.room, &mut self.said);
                    }
                }
                body.flush(when, port, &mut self.room, &mut self.said);
                let how = body.tcp.end(cut);
                body.end(how, now, port, &mut self.said);
                how
            }
            Body::Datagrams { talk, .. } => {
                let how = if cut { End::Cut } else { End::Idle };
                let below = crate::app::Below { from_the_start: true, server_port: port, ..Default::default() };
                if let Some(talk) = talk {
                    talk.end(how, now, &below, &mut self.said);
                }
                how
            }
            Body::Echo(_) | Body::Plain if cut => End::Cut,
            Body::Echo(_) | Body::Plain => End::Idle,
        };
        self.heard_of(flow);
        how
    }

    fn remark_quality(&mut self, flow: &Flow) {
        let Body::Tcp(body) = &flow.body else { return };
        let mut told = Vec::new();
        for side in [Side::Client, Side::Server] {
            // Fragments behind the first bear no port, and are in no flow: their bytes are missed here, and not in the capture.
            let in_fragments = if side == Side::Client { flow.fragmented } else { flow.answered_in_fragments };
            let Some((packet, at)) = body.tcp.first_gap(side).filter(|_| in_fragments == 0) else { continue };
            let (bytes, holes) = body.tcp.missed(side);
            self.quality.gaps += u64::from(holes);
            self.quality.missing_bytes = self.quality.missing_bytes.saturating_add(bytes);
            told.push((packet, at));
        }
        for (packet, at) in told {
            self.gathered.gaps.add(packet, at);
        }
        if body.tcp.one_sided().is_some() {
            self.quality.one_sided_flows += 1;
            self.gathered.one_sided.add(flow.first_packet, flow.first);
        }
        if body.tcp.is_midstream() {
            self.quality.midstream_flows += 1;
            self.gathered.midstream.add(flow.first_packet, flow.first);
        }
        self.quality.offloaded_checksums += body.tcp.offloaded();
    }

    pub(super) fn about(&self, flow: &Flow, now: Stamp) -> About {
        let ends = flow.ends();
        About {
            id: flow.id,
            client: ends.client,
            server: ends.server,
            now,
            explained: flow.looped || flow.icmp_error,
            host_heard: self.hosts.knows(ends.server.ip()),
            service_answered: self.hosts.accepted_since(ends.server, flow.first),
            server_hops: self.hosts.hops_to(ends.server.ip()),
            messages_known: flow.app.is_some_and(|app| app != "tls"),
            unreadable: flow.app.is_none() && flow.cut.payload,
            message_cut: flow.findings.iter().any(|found| found.rule.contains("truncated")),
        }
    }

    /// Datagrams to a service that answers every one, and did not.
    fn unanswered(&self, flow: &Flow) -> Option<Finding> {
        let ends = flow.ends();
        let group = match ends.server.ip() {
            std::net::IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.octets()[3] == 255,
            std::net::IpAddr::V6(v6) => v6.is_multicast(),
        };
        let asks = flow.key.protocol == Protocol::Udp && ANSWERING_PORTS.contains(&ends.server.port()) && !group;
        let silent = flow.packets.client >= 2 && flow.packets.server == 0 && !flow.icmp_error && !flow.looped;
        let waited = flow.last.ms_since(flow.first);
        if !asks || !silent || waited < 1000.0 || flow.ttl < SEARCHING_TTL {
            return None;
        }
        let heard = self.hosts.knows(ends.server.ip());
        let more = if heard { "; the host answers elsewhere" } else { "" };
        let text = format!("{} datagrams to {} over {:.1} s got no answer{more}", flow.packets.client, ends.server, waited / 1e3);
        let cause = heard.then_some("l4.udp-filtered");
        Some(of_flow(flow, "udp.unanswered", Weight::Warning, (Layer::L4, cause), text, waited))
    }

    /// All that is left to tell.
    pub(super) fn finish(mut self) -> Outcome {
        let now = self.now;
        self.neighbors.expire(now, true, &self.hosts, &mut self.book);
        self.neighbors.doubt(&mut self.book);
        self.front.links.finish(&mut self.book);
        self.fragments.expire(now, &mut self.book);
        self.leases.finish(now, &mut self.book);
        self.leases.explain_silence(&self.hosts, &mut self.book);
        self.scans.finish(&mut self.book);
        self.tell_quality();
        let Front { counts, stations, .. } = self.front;
        counts.tell(&mut self.totals);
        self.totals.flows = self.flows;
        self.bounds_hit.records = self.records.let_go;
        self.bounds_hit.findings = self.book.left_out;
        self.untold.set_findings(self.book.beyond());
        self.bounds_hit.waiting_bytes = self.room.let_go;
        let mut flows = self.records.kept;
        // Records are large: each moves once.
        flows.sort_by_cached_key(|record| record.id);
        let rules = std::mem::take(&mut self.book.rules);
        Outcome {
            totals: self.totals,
            quality: self.quality,
            flows,
            findings: self.book.into_findings(),
            heard_back: stations.heard_back(),
            names: self.lookups.names,
            rules,
            bounds_hit: self.bounds_hit,
            keys: self.said.keys.as_ref().and_then(Keys::seen),
            untold: self.untold,
        }
    }

    fn tell_quality(&mut self) {
        let (quality, gathered) = (self.quality, std::mem::take(&mut self.gathered));
        let count = |what: &super::book::Gathered| what.cited.count;
        let all = self.totals.all.packets;
        let copies = format!("{} of {all} packets are in the capture more than once; copies are left out", count(&gathered.copies));
        let forwarded =
            format!("{} packets were captured before and behind a router; the second ones are left out", count(&gathered.forwarded));
        let truncated = format!("{} packets were cut when they were captured: raise the snap length", count(&gathered.truncated));
        let backwards = format!(
            "time goes back {} times, by up to {:.1} ms: clocks or queues differ",
            count(&gathered.backwards),
            quality.furthest_back_ms
        );
        let malformed = format!("{} packets have a header that cannot be read", count(&gathered.malformed));
        let gaps = format!(
            "{} bytes in {} holes are not in the capture although they arrived: the capture lost packets, not the network",
            quality.missing_bytes, quality.gaps
        );
        let one_sided = format!("of {} connections one direction only was captured", count(&gathered.one_sided));
        let midstream = format!("{} connections began before the capture", count(&gathered.midstream));
        let told = [
            gathered.copies.finding("cap.duplicate", Weight::Capture, copies),
            gathered.forwarded.finding("cap.forwarded-copy", Weight::Capture, forwarded),
            gathered.truncated.finding("cap.truncated", Weight::Capture, truncated),
            gathered.backwards.finding("cap.time-backwards", Weight::Capture, backwards),
            gathered.malformed.finding("cap.malformed", Weight::Capture, malformed),
            gathered.gaps.finding("cap.gap", Weight::Capture, gaps),
            gathered.one_sided.finding("cap.one-sided", Weight::Capture, one_sided),
            gathered.midstream.finding("cap.midstream", Weight::Capture, midstream),
            self.drops(),
        ];
        told.into_iter().flatten().for_each(|finding| self.book.add(finding));
    }

    fn drops(&self) -> Option<Finding> {
        let Self { quality, totals, .. } = self;
        let dropped = quality.kernel_drops.saturating_add(quality.interface_drops);
        let text = format!("{dropped} packets were dropped before they could be captured: holes in flows may be the capture's");
        let times = (totals.first.unwrap_or_default(), totals.last.unwrap_or_default());
        let finding = Finding::of("cap.kernel-drop", Weight::Capture, times, Cited::default(), text);
        (dropped > 0).then_some(Finding { value: Some(dropped as f64), ..finding })
    }
}

/// What became of echo requests: some answered and others not, or none at all.
fn echoes(flow: &mut Flow, now: Stamp) -> Option<Finding> {
    let Body::Echo(echo) = &mut flow.body else { return None };
    let (loss, packets) = (echo.loss(now, &flow.packets), echo.packets.clone());
    let Some(loss) = loss.filter(|_| !flow.looped && !flow.icmp_error && flow.ttl >= SEARCHING_TTL) else { return echo_unanswered(flow) };
    let (client, server) = (flow.ends().client.ip(), flow.ends().server.ip());
    let share = loss.lost as f64 / loss.asked.max(1) as f64 * 100.0;
    let rtt = loss.rtt.map_or_else(String::new, |(least, mean, most)| format!("; round trips of {least:.1}/{mean:.1}/{most:.1} ms"));
    let pattern = if loss.is_outage() { ", all of them in one row" } else { "" };
    let text = format!("{} of {} echo requests from {client} to {server} got no reply ({share:.0} %){pattern}{rtt}", loss.lost, loss.asked);
    // An outage is no loss, and one in twenty may be a host that has better to do.
    let heavy = !loss.is_outage() && loss.lost >= 3 && share >= 5.0;
    let (weight, cause) = if heavy { (Weight::Warning, Some("l3.packet-loss")) } else { (Weight::Note, None) };
    let mut found = of_flow(flow, "icmp.echo-lost", weight, (Layer::L3, cause), text, share);
    found.cited.packets = packets.iter().map(|packet| packet.0).collect();
    found.cited.count = loss.lost;
    Some(found)
}

fn echo_unanswered(flow: &Flow) -> Option<Finding> {
    let silent = flow.packets.client >= 3 && flow.packets.server == 0 && !flow.icmp_error && !flow.looped;
    let server = flow.ends().server.ip();
    if !silent || flow.ttl < SEARCHING_TTL || server.is_multicast() {
        return None;
    }
    let text = format!("{} echo requests to {server} got no answer", flow.packets.client);
    Some(of_flow(flow, "icmp.echo-unanswered", Weight::Note, (Layer::L3, None), text, flow.packets.client as f64))
}

fn of_flow(
    flow: &Flow,
    rule: &'static str,
    weight: Weight,
    (layer, cause): (Layer, Option<&'static str>),
    text: String,
    value: f64,
) -> Finding {
    let ends = flow.ends();
    let blames = Some(if flow.key.protocol == Protocol::Udp { Party::Service(ends.server) } else { Party::Host(ends.server.ip()) });
    let mut cited = Cited::one(flow.first_packet);
    cited.count = flow.packets.client;
    let finding = Finding::of(rule, weight, (flow.first, flow.last), cited, text);
    Finding { layer: Some(layer), cause, flow: Some(flow.id), blames, value: Some(value), ..finding }
}

fn record(flow: &mut Flow, end: End, now: Stamp) -> FlowRecord {
    let ends = flow.ends();
    flow.findings.sort_by(|a, b| b.weight.cmp(&a.weight).then(a.rule.cmp(b.rule)));
    let state = flow.state();
    let tcp = match &flow.body {
        Body::Tcp(body) => Some(body.tcp.record(now)),
        _ => None,
    };
    FlowRecord {
        id: flow.id,
        protocol: flow.key.protocol,
        client: ends.client,
        server: ends.server,
        realm: flow.key.realm,
        app: flow.app,
        server_name: flow.server_name.take(),
        hello_bytes: flow.hello_bytes,
        decrypted: flow.decrypted,
        first_packet: flow.first_packet.0,
        first: flow.first,
        last: flow.last,
        packets: flow.packets,
        bytes: flow.bytes,
        state,
        end,
        tcp,
        exchanges: std::mem::take(&mut flow.exchanges),
        searching: flow.ttl < SEARCHING_TTL,
        cut: flow.cut,
        fragmented: flow.fragmented,
        answered_in_fragments: flow.answered_in_fragments,
        client_ttl: flow.ttl,
        asked_again: flow.asked_again,
        delivered: false,
        findings: std::mem::take(&mut flow.findings),
    }
}
