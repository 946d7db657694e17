//! Distance: a path on which every round trip takes long. Only where it is what the capture is about: most of its
//! connections go that way. A loaded path is another matter; there some round trips are short.

use super::problem::{MOST_FLOWS, Problem};
use crate::analysis::Outcome;
use crate::finding::{Cited, Party, Weight};
use crate::flow::FlowRecord;
use faultmap_model::causes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Light in a fibre takes so long to the other side of the earth and back: no direct path needs more. A check says so from 100 ms on, since somebody asks why its
/// target is slow; of traffic that was captured nobody has complained yet.
const FAR_MS: f64 = 200.0;
/// Fewer handshakes tell nothing of the path: one may have been held up by chance.
const FEWEST: usize = 2;
/// A path that this share of all connections takes is what the capture is about.
const MOST: f64 = 0.5;

/// Handshakes with one host.
#[derive(Default)]
struct Way {
    count: usize,
    least_ms: f64,
    packets: Vec<u64>,
    flows: BTreeSet<crate::flow::FlowId>,
    first: crate::packet::Stamp,
    last: crate::packet::Stamp,
}

/// Hosts so far away that each exchange is felt.
pub(super) fn problems(outcome: &Outcome) -> Vec<Problem> {
    let handshakes = || {
        let meant = outcome.flows.iter().filter(|flow| !flow.searching);
        meant.filter_map(|flow| Some((flow, flow.tcp.as_ref()?.handshake.rtt_ms()?)))
    };
    if !handshakes().any(|(_, ms)| ms >= FAR_MS) {
        return Vec::new();
    }
    let mut ways: BTreeMap<(IpAddr, IpAddr), Way> = BTreeMap::new();
    for (flow, ms) in handshakes() {
        ways.entry((flow.client.ip(), flow.server.ip())).or_default().add(flow, ms);
    }
    let all: usize = ways.values().map(|way| way.count).sum();
    let far = |way: &Way| way.count >= FEWEST && way.least_ms >= FAR_MS && way.count as f64 >= all as f64 * MOST;
    ways.into_iter().filter(|(_, way)| far(way)).filter_map(|((client, server), way)| way.problem(client, server)).collect()
}

impl Way {
    fn add(&mut self, flow: &FlowRecord, ms: f64) {
        if self.count == 0 {
            (self.least_ms, self.first, self.last) = (ms, flow.first, flow.last);
        }
        self.count += 1;
        self.least_ms = self.least_ms.min(ms);
        (self.first, self.last) = (self.first.min(flow.first), self.last.max(flow.last));
        let handshake = flow.tcp.as_ref().map(|tcp| tcp.handshake).unwrap_or_default();
        if self.flows.len() < MOST_FLOWS {
            self.flows.insert(flow.id);
            self.packets.extend([handshake.syn, handshake.syn_ack].into_iter().flatten().map(|seen| seen.packet));
        }
    }

    fn problem(self, client: IpAddr, server: IpAddr) -> Option<Problem> {
        let mut cited = Cited::default();
        self.packets.iter().for_each(|packet| cited.add(crate::packet::PacketNo(*packet)));
        let text = format!(
            "The path between {client} and {server} is long: {:.0} ms for each round trip, in {} handshakes at least.",
            self.least_ms, self.count
        );
        Some(Problem {
            rule: "tcp.far",
            cause: causes::find("l3.high-latency-path")?,
            party: Party::Host(server),
            weight: Weight::Warning,
            proven: true,
            confidence: 0.88,
            text,
            times: self.count as u64,
            flows: self.flows,
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
