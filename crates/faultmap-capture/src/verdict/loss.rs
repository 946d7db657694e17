//! Loss by path: what was sent again between two hosts, of all that was sent, whatever flows it was in. One lost packet is every day's; a share is not.

mod path;
mod queue;

use super::problem::{MOST_FLOWS, Problem};
use crate::analysis::Outcome;
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::record::TcpSide;
use crate::flow::{FlowRecord, Side};
use faultmap_model::causes;
use faultmap_model::verdict::NextStep;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// TCP slows down noticeably from here on (Mathis 1997: throughput falls with the square root of loss), and so many repairs are no accident.
const WORTH_TELLING: f64 = 0.01;
const SOME: u64 = 5;
/// Fewer repairs are telling if they are more of the whole.
const HEAVY: f64 = 0.02;
const FEW: u64 = 3;

const CAUSE: &str = "l4.retransmissions";

/// It is one of the repairs that are counted here.
pub(super) fn is_repair(finding: &Finding) -> bool {
    finding.cause == Some(CAUSE) && finding.weight < Weight::Fault
}

/// What was sent again there is told otherwise: a router wanted smaller packets, a connection died, a window was closed, the capture is at fault.
fn explained(flow: &FlowRecord) -> bool {
    let rule = |rule: &str, weight: Weight| {
        matches!(rule, "icmp.frag-needed" | "ip.pmtu-blackhole") || (rule == "tcp.rto" && weight == Weight::Fault)
    };
    // Without the options of TCP, needless repairs look needed.
    // A needless repair (the tail sent again on suspicion, RFC 8985) looks needed where the receiver's words are missing.
    let one_sided = flow.packets.client == 0 || flow.packets.server == 0;
    one_sided || flow.cut.headers || flow.findings.iter().any(|found| rule(found.rule, found.weight))
}

/// What one host sent to another.
#[derive(Default)]
struct Road {
    /// Segments that came damaged, and those whose checksum cannot be judged.
    damaged: u64,
    unchecked: u64,
    /// Segments that were seen here and sent again, and of which too little was captured to compute a checksum.
    hidden: u64,
    sent: u64,
    repaired: u64,
    before: u64,
    after: u64,
    trips: queue::Trips,
    flows: BTreeSet<crate::flow::FlowId>,
}

/// The roads on which a share of packets was lost, and what is to be said of those whose sender fills its own queue.
pub(super) fn all(outcome: &Outcome) -> (Vec<Problem>, Vec<String>) {
    let mut roads: HashMap<(IpAddr, IpAddr), Road, RandomState> = HashMap::default();
    for flow in &outcome.flows {
        let Some(tcp) = flow.tcp.as_ref().filter(|_| !explained(flow)) else { continue };
        for side in [Side::Client, Side::Server] {
            let (from, to) = match side {
                Side::Client => (flow.client.ip(), flow.server.ip()),
                Side::Server => (flow.server.ip(), flow.client.ip()),
            };
            let road = roads.entry((from, to)).or_default();
            road.add(flow, side, tcp.sides.of(side));
            road.trips.add(tcp.sides.of(side), tcp.handshake.rtt_ms());
        }
    }
    // Of a thousand roads few are told of, and these in order.
    let roads: BTreeMap<(IpAddr, IpAddr), Road> = roads.into_iter().filter(|(_, road)| road.is_worth_telling()).collect();
    let filled: BTreeMap<(IpAddr, IpAddr), String> =
        roads.iter().filter(|(_, road)| !road.is_damaged()).filter_map(|(ends, road)| Some((*ends, queue::remark(road, *ends)?))).collect();
    let mut paths = path::losing(outcome);
    paths.retain(|path| !filled.keys().any(|(from, to)| path.is_between(*from, *to)));
    paths.retain(|path| !roads.iter().any(|((from, to), road)| path.is_between(*from, *to) && road.is_damaged()));
    let told = |from: IpAddr, to: IpAddr| paths.iter().any(|path| path.is_between(from, to));
    let hidden = |path: &path::Between| roads.iter().any(|((from, to), road)| path.is_between(*from, *to) && road.may_be_damaged());
    let of_path: Vec<Problem> = paths.iter().flat_map(|path| open(path.problems(outcome), hidden(path))).collect();
    let of_road = roads.into_iter().filter(|(ends, _)| !filled.contains_key(ends)).flat_map(|((from, to), road)| {
        match (road.is_damaged(), road.may_be_damaged()) {
            (true, _) => road.damage(from, to, outcome).into_iter().collect(),
            (false, _) if told(from, to) => Vec::new(),
            (false, hidden) => open(road.problem(from, to, outcome).into_iter().collect(), hidden),
        }
    });
    (of_road.chain(of_path).collect(), filled.into_values().collect())
}

/// Where the capture cut off what checksums are computed from, damage looks like loss: it stays open beside it.
fn open(problems: Vec<Problem>, hidden: bool) -> Vec<Problem> {
    let Some((first, cause)) = problems.first().zip(causes::find("l1.bit-errors")).filter(|_| hidden) else { return problems };
    let whole = NextStep {
        run: "tcpdump -ni any -s 0 -w whole.pcap tcp".to_owned(),
        on: "where it was captured".to_owned(),
        why: "whole packets show whether those that are sent again had come with a wrong checksum".to_owned(),
    };
    let text = format!("{} The capture cut the packets, so that their checksums cannot be judged: they may have come damaged.", first.text);
    let damage = Problem { cause, proven: false, confidence: 0.4, text: text.clone(), ..first.clone() };
    let unproven = |problem: Problem| Problem { proven: false, confidence: problem.confidence.min(0.6), ..problem };
    let mut all: Vec<Problem> = problems.into_iter().map(unproven).chain([damage]).collect();
    if let Some(first) = all.first_mut() {
        (first.text, first.decides) = (text, vec![whole]);
    }
    all
}

impl Road {
    fn add(&mut self, flow: &FlowRecord, side: Side, tcp: &TcpSide) {
        let repaired = u64::from(tcp.retransmits.fast.saturating_add(tcp.retransmits.timeout));
        self.sent = self.sent.saturating_add(*flow.packets.of(side));
        self.repaired = self.repaired.saturating_add(repaired);
        self.before = self.before.saturating_add(u64::from(tcp.lost_before));
        self.damaged = self.damaged.saturating_add(u64::from(tcp.bad_checksums));
        self.unchecked = self.unchecked.saturating_add(u64::from(tcp.unchecked));
        self.after = self.after.saturating_add(u64::from(tcp.lost_after));
        self.hidden = self.hidden.saturating_add(if flow.cut.payload { u64::from(tcp.lost_after) } else { 0 });
        if repaired > 0 && self.flows.len() < MOST_FLOWS {
            self.flows.insert(flow.id);
        }
    }

    /// Of what was sent, that which was sent again.
    fn share(&self) -> f64 {
        self.repaired as f64 / self.sent.max(1) as f64
    }

    fn is_worth_telling(&self) -> bool {
        (self.repaired >= SOME && self.share() >= WORTH_TELLING) || (self.repaired >= FEW && self.share() >= HEAVY)
    }

    /// Most of what was sent again had come, with a checksum that is wrong (RFC 9293 §3.1: dropped). Where a network card fills checksums in, a wrong
    /// one says nothing.
    fn is_damaged(&self) -> bool {
        self.damaged >= FEW && self.unchecked == 0 && self.damaged.saturating_mul(2) >= self.repaired && self.is_worth_telling()
    }

    /// Half of what was sent again may have been as damaged. Checksums that a network card fills in are those of its own host: nothing has happened to
    /// its packets yet.
    fn may_be_damaged(&self) -> bool {
        self.hidden > 0 && self.unchecked == 0 && self.hidden.saturating_mul(2) >= self.repaired
    }

    /// Bits that changed on the way: the loss is their consequence.
    fn damage(self, from: IpAddr, to: IpAddr, outcome: &Outcome) -> Option<Problem> {
        let damaged =
            |finding: &&Finding| finding.rule == "tcp.bad-checksum" && finding.flow.is_some_and(|flow| self.flows.contains(&flow));
        let mut cited = Cited::default();
        outcome.findings.iter().filter(damaged).for_each(|finding| super::problem::join(&mut cited, &finding.cited));
        let (count, repaired, sent, percent) = (self.damaged, self.repaired, self.sent, self.share() * 100.0);
        let problem = self.problem(from, to, outcome)?;
        let text = format!(
            "Packets from {from} to {to} are damaged on the way: {count} came with a wrong checksum and were dropped; {repaired} of {sent} were sent \
             again ({percent:.1} %)."
        );
        Some(Problem { rule: "tcp.damaged", cause: causes::find("l1.bit-errors")?, text, cited, times: count, ..problem })
    }

    fn problem(self, from: IpAddr, to: IpAddr, outcome: &Outcome) -> Option<Problem> {
        let share = self.share();
        if !self.is_worth_telling() {
            return None;
        }
        let of_road = |finding: &&Finding| is_repair(finding) && finding.flow.is_some_and(|flow| self.flows.contains(&flow));
        let findings: Vec<&Finding> = outcome.findings.iter().filter(of_road).collect();
        let place = match (self.before, self.after) {
            (0, 0) => "",
            (before, after) if before > after.saturating_mul(3) => ", lost before the point of capture",
            (before, after) if after > before.saturating_mul(3) => ", lost behind the point of capture",
            _ => ", lost on both sides of the point of capture",
        };
        let text = format!(
            "TCP repairs loss from {from} to {to}: {} of {} packets were sent again ({:.1} %){place}.",
            self.repaired,
            self.sent,
            share * 100.0
        );
        let mut cited = Cited::default();
        for finding in &findings {
            super::problem::join(&mut cited, &finding.cited);
        }
        cited.count = self.repaired;
        Some(Problem {
            rule: "tcp.loss",
            cause: causes::find(CAUSE)?,
            party: Party::Host(to),
            weight: Weight::Warning,
            proven: true,
            confidence: 0.9,
            text,
            times: self.repaired,
            flows: self.flows,
            cited,
            first: findings.iter().map(|finding| finding.first).min().or(outcome.totals.first).unwrap_or_default(),
            last: findings.iter().map(|finding| finding.last).max().or(outcome.totals.last).unwrap_or_default(),
            decides: Vec::new(),
            kinds: BTreeSet::new(),
            beyond: 0,
            weighed: true,
        })
    }
}

/// Without problems of single services that a road's damage tells already.
pub(super) fn once(problems: Vec<Problem>) -> Vec<Problem> {
    let is_damage = |problem: &Problem| problem.cause.id == "l1.bit-errors";
    let of_road = |problem: &&Problem| is_damage(problem) && problem.weighed;
    let roads: BTreeSet<crate::flow::FlowId> = problems.iter().filter(of_road).flat_map(|problem| problem.flows.iter().copied()).collect();
    let told = |problem: &Problem| is_damage(problem) && !problem.weighed && problem.flows.is_subset(&roads);
    problems.into_iter().filter(|problem| !told(problem)).collect()
}
