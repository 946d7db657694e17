//! Findings of one cause at one party, gathered into one problem.

use super::census::Census;
use crate::analysis::Outcome;
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::FlowId;
use crate::packet::Stamp;
use faultmap_model::causes::{self, Cause};
use faultmap_model::verdict::NextStep;
use std::collections::{BTreeMap, BTreeSet};

/// Flows of one problem that are remembered; further ones are counted.
pub(super) const MOST_FLOWS: usize = 1000;

/// What is wrong with one party.
#[derive(Clone)]
pub(super) struct Problem {
    pub(super) rule: &'static str,
    pub(super) cause: &'static Cause,
    pub(super) party: Party,
    /// The worst of its findings.
    pub(super) weight: Weight,
    /// Its signature is that of this cause alone, and how sure that is.
    pub(super) proven: bool,
    pub(super) confidence: f64,
    /// The sentence of its first finding of that weight.
    pub(super) text: String,
    /// Findings: exchanges or connections that went wrong.
    pub(super) times: u64,
    pub(super) flows: BTreeSet<FlowId>,
    pub(super) cited: Cited,
    pub(super) first: Stamp,
    pub(super) last: Stamp,
    pub(super) decides: Vec<NextStep>,
    /// It was weighed by what it is counted against, and needs no more weighing.
    pub(super) weighed: bool,
}

impl Problem {
    /// Of one finding.
    fn of(finding: &Finding, cause: &'static Cause, party: Party) -> Self {
        let (proven, confidence) = certainty(finding, cause);
        Self {
            rule: finding.rule,
            cause,
            party,
            weight: finding.weight,
            proven,
            confidence,
            text: finding.text.clone(),
            times: 0,
            flows: BTreeSet::new(),
            cited: Cited::default(),
            first: finding.first,
            last: finding.last,
            decides: Vec::new(),
            weighed: false,
        }
    }

    pub(super) fn add(&mut self, finding: &Finding) {
        self.times = self.times.saturating_add(1);
        if finding.weight > self.weight {
            self.weight = finding.weight;
            self.text.clone_from(&finding.text);
        }
        if let Some(flow) = finding.flow
            && self.flows.len() < MOST_FLOWS
        {
            self.flows.insert(flow);
        }
        self.first = self.first.min(finding.first);
        self.last = self.last.max(finding.last);
        join(&mut self.cited, &finding.cited);
    }
}

/// Adds the packets of `more`, in order and within the bound.
pub(super) fn join(cited: &mut Cited, more: &Cited) {
    cited.count = cited.count.saturating_add(more.count);
    for packet in &more.packets {
        if cited.packets.len() < crate::finding::MOST_CITED && !cited.packets.contains(packet) {
            cited.packets.push(*packet);
        }
    }
    cited.packets.sort_unstable();
}

/// Rules of silence: what they mean hangs on what else the party answered, see `silence`.
pub(super) fn is_silence(rule: &str) -> bool {
    matches!(rule, "tcp.syn-unanswered" | "dns.timeout" | "dns.unanswered")
}

/// Findings with a cause, by cause and party. Those that concern retransmission are weighed by the share of packets, see `loss`.
pub(super) fn gather(outcome: &Outcome, census: &Census) -> Vec<Problem> {
    let mut found: BTreeMap<(&'static str, Party), Problem> = BTreeMap::new();
    for finding in &outcome.findings {
        if finding.weight < Weight::Warning || is_silence(finding.rule) || super::loss::is_repair(finding) {
            continue;
        }
        let Some(cause) = finding.cause.and_then(causes::find) else { continue };
        let Some(party) = party(finding, outcome, census) else { continue };
        found.entry((cause.id, party)).or_insert_with(|| Problem::of(finding, cause, party)).add(finding);
    }
    found.into_values().collect()
}

/// Whom a finding is about: whom it blames, else the server of its flow.
pub(super) fn party(finding: &Finding, outcome: &Outcome, census: &Census) -> Option<Party> {
    let server = || finding.flow.and_then(|id| census.flow(outcome, id)).map(|flow| Party::Service(flow.server));
    finding.blames.or_else(server)
}

/// Causes whose signature on the wire is shared by others: packets alone make them likely at best.
const SHARED: [&str; 6] =
    ["l3.remote-blackhole", "l4.port-filtered", "l3.pmtu-blackhole", "l4.accept-queue-full", "l4.nat-idle-timeout", "l5.keepalive-race"];

fn certainty(finding: &Finding, cause: &Cause) -> (bool, f64) {
    match finding.weight {
        _ if SHARED.contains(&cause.id) => (false, 0.82),
        Weight::Fault => (true, 0.93),
        _ => (true, 0.85),
    }
}
