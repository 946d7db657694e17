//! What can be told while it happens, long before the flow is over: attempts that fail, resets, windows that stay shut, questions without an answer.
//! Told once, and to whoever watches: the outcome is the same, watched or not.

use super::{Analysis, Core, Mark};
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::following::{Body, Flow};
use crate::flow::tcp::report::{self, Part};
use crate::flow::{FlowId, FlowKey, Side};
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// A SYN or a question without an answer for so long is told: the first SYN is repeated after 1 s and 3 s (RFC 6298 §2), and most resolvers give up
/// after 5 s.
const SYN_PATIENCE_NS: u64 = 3_200_000_000;
const QUESTION_PATIENCE_NS: u64 = 5_000_000_000;
/// Attempts that are waited for, findings that wait to be told, and those remembered as told.
const MOST_WAITING: usize = 16_384;
const MOST_FOUND: usize = 10_000;
const MOST_TOLD: usize = 65_536;

/// What is of no flow may happen again: told anew after so long.
const AGAIN_NS: u64 = 60_000_000_000;

type Told = (&'static str, Option<FlowId>, Option<Party>);

/// A finding in the moment when it happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Fresh {
    /// What.
    pub finding: Finding,
    /// Client and server of its flow, if it is of one.
    pub ends: Option<(SocketAddr, SocketAddr)>,
}

/// What waits to be told.
#[derive(Default)]
pub(super) struct Early {
    watched: bool,
    found: Vec<Finding>,
    /// What was told, and when.
    told: HashMap<Told, Stamp, RandomState>,
    syns: VecDeque<(Stamp, FlowKey)>,
    questions: VecDeque<(Stamp, FlowKey)>,
    /// Ends of the flows that have a finding since the last call.
    ends: HashMap<FlowId, (SocketAddr, SocketAddr), RandomState>,
}

fn told(finding: &Finding) -> Told {
    (finding.rule, finding.flow, if finding.flow.is_some() { None } else { finding.blames })
}

impl Early {
    /// A flow about which something is to be told.
    pub(super) fn meet(&mut self, flow: &Flow) {
        if self.watched && self.ends.len() < MOST_FOUND {
            let ends = flow.ends();
            self.ends.insert(flow.id, (ends.client, ends.server));
        }
    }

    fn tell(&mut self, finding: Finding) {
        if self.found.len() < MOST_FOUND && self.is_news(&finding) {
            self.found.push(finding);
        }
    }

    fn is_news(&mut self, finding: &Finding) -> bool {
        if self.told.len() >= MOST_TOLD {
            self.told.clear();
        }
        let news = self.is_open(told(finding), finding.last);
        if news {
            self.told.insert(told(finding), finding.last);
        }
        news
    }

    fn is_open(&self, what: Told, at: Stamp) -> bool {
        self.told.get(&what).is_none_or(|known| what.1.is_none() && at.since(*known) >= AGAIN_NS)
    }
}

impl Analysis {
    /// Findings since the last call, each once (what is of no flow, again after a minute); the first call begins it, and gives none. The outcome holds them, too, but for those that turned out
    /// to be a part of something else: attempts of a scan, an answer that came late.
    pub fn take_findings(&mut self) -> Vec<Fresh> {
        let core = &mut self.core;
        core.early.watched = true;
        let mut found = std::mem::take(&mut core.early.found);
        for finding in core.book.take() {
            if core.early.is_news(&finding) {
                found.push(finding);
            }
        }
        let ends = std::mem::take(&mut core.early.ends);
        found.into_iter().map(|finding| Fresh { ends: finding.flow.and_then(|flow| ends.get(&flow).copied()), finding }).collect()
    }

    /// The time, where no packet tells it: on a silent interface what stays unanswered is told all the same.
    pub fn clock(&mut self, now: Stamp) {
        if now > self.core.now && self.core.totals.all.packets > 0 {
            self.core.now = now;
            self.tick();
        }
    }

    /// What should have been answered by now.
    pub(super) fn overdue(&mut self) {
        let Self { table, core } = self;
        if !core.early.watched {
            return;
        }
        let now = core.now;
        let early = &core.early;
        let open = |rule, party, last| early.is_open((rule, None, Some(party)), last);
        for finding in core.neighbors.overdue(now, &core.hosts, open) {
            core.early.tell(finding);
        }
        while let Some(key) = due(&mut core.early.syns, now, SYN_PATIENCE_NS) {
            if let Some(flow) = table.find(&key).and_then(|at| table.get_mut(at)) {
                core.early_part(flow, Part::Opening, now);
            }
        }
        while let Some(key) = due(&mut core.early.questions, now, QUESTION_PATIENCE_NS) {
            if let Some(flow) = table.find(&key).and_then(|at| table.get_mut(at)) {
                core.unanswered_question(flow, now);
            }
        }
    }
}

fn due(waiting: &mut VecDeque<(Stamp, FlowKey)>, now: Stamp, patience_ns: u64) -> Option<FlowKey> {
    let (_, key) = *waiting.front().filter(|(since, _)| now.since(*since) >= patience_ns)?;
    waiting.pop_front();
    Some(key)
}

impl Core {
    /// Looks whether a segment made something certain.
    pub(super) fn early_segment(&mut self, flow: &Flow, side: Side, mark: Mark, at: Stamp) {
        if !self.early.watched {
            return;
        }
        let Body::Tcp(body) = &flow.body else { return };
        let tcp = &body.tcp;
        let attempt = tcp.is_attempt();
        if attempt && flow.packets.client == 1 && self.early.syns.len() < MOST_WAITING {
            self.early.syns.push_back((at, flow.key));
        }
        if tcp.reset().is_some_and(|reset| reset.seen.at() == at) {
            self.early_part(flow, Part::Opening, at);
            self.early_part(flow, Part::Reset, at);
        }
        match mark {
            Mark::SynAgain if attempt && flow.packets.client == 2 => self.syn_again(flow, at),
            Mark::TimeoutRetransmit if tcp.timeouts_in_a_row(side) >= report::DEAD_AFTER => self.early_part(flow, Part::Path(side), at),
            Mark::WindowProbe => self.early_part(flow, Part::Window(side.other()), at),
            _ => {}
        }
    }

    fn early_part(&mut self, flow: &Flow, part: Part, now: Stamp) {
        let Body::Tcp(body) = &flow.body else { return };
        for finding in report::so_far(&body.tcp, &self.about(flow, now), part) {
            self.early.meet(flow);
            self.early.tell(finding);
        }
    }

    fn syn_again(&mut self, flow: &Flow, at: Stamp) {
        let server = flow.ends().server;
        let waited = at.ms_since(flow.first);
        let mut cited = Cited::one(flow.first_packet);
        cited.add(flow.last_packet);
        let text = format!("the SYN to {server} had no answer for {:.1} s and was sent again", waited / 1e3);
        self.early.meet(flow);
        self.early.tell(of_flow(flow, "tcp.syn-retransmit", Layer::L4, cited, at, text, waited));
    }

    /// A datagram that asks.
    pub(super) fn early_question(&mut self, flow: &Flow, at: Stamp) {
        let first = flow.packets.client == 1 && flow.packets.server == 0;
        if self.early.watched && first && flow.app == Some("dns") && self.early.questions.len() < MOST_WAITING {
            self.early.questions.push_back((at, flow.key));
        }
    }

    fn unanswered_question(&mut self, flow: &Flow, now: Stamp) {
        if flow.packets.server > 0 || flow.icmp_error || flow.app != Some("dns") {
            return;
        }
        let waited = now.ms_since(flow.first);
        let text = format!("{} has not answered a DNS question for {:.1} s", flow.ends().server, waited / 1e3);
        let finding = of_flow(flow, "dns.unanswered", Layer::L7, Cited::one(PacketNo(flow.first_packet.0)), now, text, waited);
        self.early.meet(flow);
        self.early.tell(finding);
    }
}

fn of_flow(flow: &Flow, rule: &'static str, layer: Layer, cited: Cited, last: Stamp, text: String, value: f64) -> Finding {
    let blames = Some(Party::Service(flow.ends().server));
    let finding = Finding::of(rule, Weight::Warning, (flow.first, last), cited, text);
    Finding { layer: Some(layer), flow: Some(flow.id), blames, value: Some(value), ..finding }
}
