//! Fragments that never arrive, as their sender sees it: datagrams that go out in fragments have no answer, and those that go out whole to the same port
//! have one. Fragments that are missing in the capture have a rule of their own.

use super::problem::{MOST_FLOWS, Problem};
use crate::analysis::Outcome;
use crate::finding::{Cited, Party, Weight};
use crate::flow::{FlowRecord, Protocol};
use crate::packet::PacketNo;
use faultmap_model::causes;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One may be lost by chance.
const FEWEST: u64 = 2;

/// What went to one port of a host, or was echoed by it.
#[derive(Default)]
struct Asked<'a> {
    /// Flows whose datagrams went out in fragments, without an answer.
    cut: Vec<&'a FlowRecord>,
    /// So many datagrams in them.
    datagrams: u64,
    /// Some that went out in fragments were answered; some that went out whole were.
    cut_answered: bool,
    whole_answered: u64,
}

/// Hosts that fragments do not reach.
pub(super) fn problems(outcome: &Outcome) -> Vec<Problem> {
    let mut asked: BTreeMap<(IpAddr, IpAddr, u16), Asked<'_>> = BTreeMap::new();
    for flow in outcome.flows.iter().filter(|flow| !flow.searching) {
        let port = match flow.protocol {
            Protocol::Udp if super::probes::TRACEROUTE.contains(&flow.server.port()) => *super::probes::TRACEROUTE.start(),
            Protocol::Udp => flow.server.port(),
            Protocol::Icmp => 0,
            _ => continue,
        };
        asked.entry((flow.client.ip(), flow.server.ip(), port)).or_default().add(flow);
    }
    asked.into_iter().filter_map(|((client, server, port), asked)| asked.problem(client, server, port)).collect()
}

impl<'a> Asked<'a> {
    fn add(&mut self, flow: &'a FlowRecord) {
        let answered = flow.packets.server > 0 || flow.findings.iter().any(|found| found.rule.starts_with("icmp."));
        match (flow.fragmented, answered) {
            (0, answered) => self.whole_answered += u64::from(answered),
            (_, true) => self.cut_answered = true,
            (datagrams, false) => {
                self.datagrams = self.datagrams.saturating_add(datagrams);
                self.cut.push(flow);
            }
        }
    }

    fn problem(self, client: IpAddr, server: IpAddr, port: u16) -> Option<Problem> {
        if self.datagrams < FEWEST || self.cut_answered || self.whole_answered == 0 {
            return None;
        }
        let mut cited = Cited::default();
        self.cut.iter().for_each(|flow| cited.add(PacketNo(flow.first_packet)));
        cited.count = self.datagrams;
        let text = format!(
            "{} datagrams from {client} to {server} that went out in fragments had no answer, while whole ones to the same port had: fragments do not arrive.",
            self.datagrams
        );
        let compared = port == 0 || super::probes::TRACEROUTE.contains(&port);
        Some(Problem {
            rule: "ip.frag-unanswered",
            cause: causes::find("l3.fragments-dropped")?,
            party: Party::Host(server),
            weight: if compared { Weight::Warning } else { Weight::Fault },
            proven: true,
            confidence: 0.85,
            text,
            times: self.datagrams,
            flows: self.cut.iter().take(MOST_FLOWS).map(|flow| flow.id).collect(),
            cited,
            first: self.cut.iter().map(|flow| flow.first).min().unwrap_or_default(),
            last: self.cut.iter().map(|flow| flow.last).max().unwrap_or_default(),
            decides: Vec::new(),
            kinds: std::collections::BTreeSet::new(),
            beyond: 0,
            weighed: true,
        })
    }
}
