//! Findings of one cause at one party, gathered into one problem.

use super::census::Census;
use crate::analysis::{Kind, Outcome, kind};
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::{FlowId, FlowRecord};
use crate::packet::Stamp;
use faultmap_model::Layer;
use faultmap_model::causes::{self, Cause};
use faultmap_model::verdict::NextStep;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

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
    /// Kinds of its findings.
    pub(super) kinds: BTreeSet<Kind>,
    /// Findings of those kinds beyond the ones that were told; they are in `times`.
    pub(super) beyond: u64,
    pub(super) cited: Cited,
    pub(super) first: Stamp,
    pub(super) last: Stamp,
    pub(super) decides: Vec<NextStep>,
    /// It was weighed by what it is counted against, and needs no more weighing.
    pub(super) weighed: bool,
}

impl Problem {
    /// Of one finding that shares its signature with other causes.
    fn likely(finding: &Finding, cause: &'static Cause, party: Party, confidence: f64) -> Self {
        Self { proven: false, confidence, ..Self::of(finding, cause, party) }
    }

    /// What was only likely so far, a finding of this cause alone proves.
    fn prove(&mut self, finding: &Finding) {
        let (proven, confidence) = certainty(finding, self.cause);
        if proven && !self.proven {
            (self.proven, self.confidence, self.rule) = (true, confidence, finding.rule);
            self.text.clone_from(&finding.text);
            self.decides.clear();
        }
    }

    /// Of one finding.
    pub(super) fn of(finding: &Finding, cause: &'static Cause, party: Party) -> Self {
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
            kinds: BTreeSet::new(),
            beyond: 0,
            cited: Cited::default(),
            first: finding.first,
            last: finding.last,
            decides: Vec::new(),
            weighed: false,
        }
    }

    pub(super) fn add(&mut self, finding: &Finding) {
        self.times = self.times.saturating_add(1);
        self.kinds.insert(kind(finding));
        if finding.weight > self.weight {
            self.weight = finding.weight;
            self.rule = finding.rule;
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

impl Problem {
    /// Counts what was found and not told one by one.
    pub(super) fn count_untold(&mut self, outcome: &Outcome) {
        let beyond: u64 = self.kinds.iter().filter(|(_, _, blames)| blames.is_some()).map(|kind| outcome.untold.of_kind(kind)).sum();
        (self.beyond, self.times) = (beyond, self.times.saturating_add(beyond));
    }

    /// How many rules its findings are of.
    pub(super) fn rules(&self) -> u64 {
        self.kinds.iter().map(|(rule, ..)| rule).collect::<BTreeSet<_>>().len() as u64
    }

    /// Flows that it concerns, those included whose findings were not told.
    pub(super) fn concerned(&self) -> u64 {
        (self.flows.len() as u64).saturating_add(if self.flows.is_empty() { 0 } else { self.beyond })
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

/// Findings by cause and party. Where a rule is the signature of several causes, each of them is a problem that is not proven. Those that concern
/// retransmission are weighed by the share of packets, see `loss`.
pub(super) fn gather(outcome: &Outcome, census: &Census, explained: &BTreeSet<FlowId>) -> Vec<Problem> {
    let mut found: BTreeMap<(&'static str, Party), Problem> = BTreeMap::new();
    for finding in &outcome.findings {
        let told = finding.flow.is_some_and(|flow| explained.contains(&flow));
        if told || is_silence(finding.rule) || super::loss::is_repair(finding) || finding.rule == super::unheard::RULE {
            continue;
        }
        match finding.cause {
            Some("l2.remote-neighbor-unresolved") if answers_meanwhile(finding, outcome, census) => {
                for (cause, confidence) in [("l4.firewall-reject", 0.85), ("l2.remote-neighbor-unresolved", 0.2)] {
                    let Some((cause, party)) = causes::find(cause).zip(sufferer(finding, outcome, census)) else { continue };
                    let problem = found.entry((cause.id, party)).or_insert_with(|| Problem::likely(finding, cause, party, confidence));
                    problem.add(finding);
                    problem.text = format!("{}, but the host answers at other ports meanwhile", finding.text.trim_end_matches('.'));
                }
            }
            Some(cause) if finding.weight >= Weight::Warning || is_of_interest_if_usual(cause) => {
                let Some((cause, party)) = causes::find(cause).zip(party(finding, outcome, census)) else { continue };
                let problem = found.entry((cause.id, party)).or_insert_with(|| Problem::of(finding, cause, party));
                problem.add(finding);
                problem.prove(finding);
            }
            None if finding.weight == Weight::Fault => {
                for (cause, confidence) in candidates(finding, outcome, census) {
                    let Some((cause, party)) = causes::find(cause).zip(sufferer(finding, outcome, census)) else { continue };
                    let problem = found.entry((cause.id, party)).or_insert_with(|| Problem::likely(finding, cause, party, confidence));
                    problem.add(finding);
                    problem.decides = decides(finding, party, outcome, census);
                }
            }
            _ => {}
        }
    }
    found.into_values().collect()
}

/// A router says that it cannot find the host, which answers others at the same time: a neighbour that is gone stays so for seconds (RFC 4861 §10: at
/// least three requests, a second apart), so that this is a firewall's word, or that port alone is handed on to another host.
fn answers_meanwhile(finding: &Finding, outcome: &Outcome, census: &Census) -> bool {
    const MEANWHILE_NS: i64 = 2_000_000_000;
    let Some(flow) = finding.flow.and_then(|id| census.flow(outcome, id)) else { return false };
    let near = |other: &FlowRecord| {
        (finding.first.0.saturating_sub(MEANWHILE_NS)..=finding.last.0.saturating_add(MEANWHILE_NS)).contains(&other.first.0)
    };
    let elsewhere = |other: &FlowRecord| other.server.ip() == flow.server.ip() && other.server.port() != flow.server.port();
    outcome.flows.iter().any(|other| elsewhere(other) && other.packets.server > 0 && near(other))
}

/// Whom a finding is about: whom it blames, else the server of its flow.
pub(super) fn party(finding: &Finding, outcome: &Outcome, census: &Census) -> Option<Party> {
    let server = || finding.flow.and_then(|id| census.flow(outcome, id)).map(|flow| Party::Service(flow.server));
    looped(finding, outcome, census).or(finding.blames).or_else(server)
}

/// A router that says a packet ran out of hops tells of the loop that can be seen in the capture, which is to one host.
fn looped(finding: &Finding, outcome: &Outcome, census: &Census) -> Option<Party> {
    if finding.rule != "icmp.ttl-exceeded" {
        return None;
    }
    let to = Party::Host(finding.flow.and_then(|id| census.flow(outcome, id))?.server.ip());
    outcome.findings.iter().any(|other| other.rule == "ip.routing-loop" && other.blames == Some(to)).then_some(to)
}

/// Harmless where it happens now and then, and worth a word where it is the rule.
fn is_of_interest_if_usual(cause: &str) -> bool {
    cause == "l7.dns-ttl-zero"
}

/// The service that failed: that of the flow, whoever said so.
fn sufferer(finding: &Finding, outcome: &Outcome, census: &Census) -> Option<Party> {
    // Who is asked by broadcast is not who is to answer.
    if finding.rule.starts_with("dhcp.") {
        return finding.blames;
    }
    let server = finding.flow.and_then(|id| census.flow(outcome, id)).map(|flow| Party::Service(flow.server));
    server.or(finding.blames)
}

/// What a failure may mean whose rule is the signature of more than one cause, and how likely each is.
fn candidates(finding: &Finding, outcome: &Outcome, census: &Census) -> Vec<(&'static str, f64)> {
    let host = match sufferer(finding, outcome, census) {
        Some(Party::Service(at)) => census.host(at.ip()),
        Some(Party::Host(ip)) => census.host(ip),
        None => None,
    };
    match finding.rule {
        "icmp.admin-prohibited" => super::prohibited::causes(finding, outcome, census),
        // What was asked is not known: a ClientHello that is refused looks so.
        "tcp.reset" => vec![("l5.closed-without-answer", 0.5), ("l6.tls-handshake-failed", 0.4)],
        "tcp.rto" => vec![("l4.retransmissions", 0.5), ("l3.remote-blackhole", 0.4), ("l2.remote-neighbor-unresolved", 0.25)],
        "ip.pmtu-hole" => vec![("l3.pmtu-blackhole", 0.55), ("l3.remote-blackhole", 0.35)],
        "tcp.idle-blackhole" | "tcp.keepalive-dead" => vec![("l4.nat-idle-timeout", 0.6), ("l3.remote-blackhole", 0.35)],
        "dns.large-answer-lost" => vec![("l3.fragments-dropped", 0.7), ("l7.dns-timeout", 0.35)],
        // Nobody serves, or what is asked or said does not get through.
        "dhcp.no-offer" | "dhcp.request-unanswered" => {
            vec![("l7.service-mute", 0.5), ("l4.udp-filtered", 0.4), ("l3.remote-blackhole", 0.2)]
        }
        "dhcp.offer-not-taken" => vec![("l4.udp-filtered", 0.5), ("l4.local-firewall", 0.4)],
        "icmp.host-unreachable" => own_word(finding, outcome),
        "tcp.synack-unheard" => unheard(finding, outcome, census),
        "tls.sealed-refusal" => super::insight::CERTIFICATE.to_vec(),
        // A proxy that waits for its target, or is mute itself.
        "proxy.tunnel-unanswered" if host_answers_otherwise(finding, host) => {
            vec![("l5.proxy-refused", 0.6), ("l5.proxy-unreachable", 0.3)]
        }
        "proxy.tunnel-unanswered" => vec![("l5.proxy-refused", 0.5), ("l5.proxy-unreachable", 0.45)],
        // The proxy's own word, or that of the service behind it.
        "http.proxy-status" | "http.proxy-forbidden" => vec![("l5.proxy-refused", 0.5), (behind(finding.value), 0.45)],
        "tcp.rst-forged" => vec![("l4.firewall-reject", 0.55), ("l4.reset-mid-stream", 0.45)],
        _ => match finding.layer {
            Some(Layer::L2) => vec![("l2.remote-neighbor-unresolved", 0.4)],
            Some(Layer::L3) => vec![("l3.remote-blackhole", 0.4), ("l3.remote-no-route", 0.3)],
            Some(Layer::L4) => vec![("l4.reset-mid-stream", 0.4), ("l4.retransmissions", 0.3)],
            Some(Layer::L5) => vec![("l5.closed-without-answer", 0.4)],
            Some(Layer::L6) => vec![("l6.tls-handshake-stalled", 0.4)],
            Some(Layer::L7) => vec![("l7.service-error", 0.6)],
            _ => Vec::new(),
        },
    }
}

/// Whether two addresses may lie on one medium: networks of IPv6 have 64 bits (RFC 4291 §2.5.4), those of IPv4 are told apart from 16 bits on.
pub(super) fn same_network(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..2] == b.octets()[..2],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.segments()[..4] == b.segments()[..4],
        _ => false,
    }
}

/// The kernel of the host where it was captured says that it cannot resolve its neighbour. If its questions can be seen, nobody answered them; if not,
/// they may never have left: a cable that is out looks so.
fn own_word(finding: &Finding, outcome: &Outcome) -> Vec<(&'static str, f64)> {
    let asked = outcome.findings.iter().any(|other| matches!(other.rule, "arp.unanswered" | "nd.unanswered"));
    let to = finding.blames.map(|party| party.ip());
    let next = if finding.said_by.zip(to).is_none_or(|(from, to)| same_network(from, to)) {
        "l2.neighbor-unresolved"
    } else {
        "l2.gateway-unresolved"
    };
    if asked { vec![(next, 0.9)] } else { vec![(next, 0.5), ("l1.no-carrier", 0.35)] }
}

/// A client that does not hear the answer. Where its packets start here, its own host keeps it from it: a filter, if it hears other answers of that
/// host; else perhaps the check of the reverse path (RFC 3704), which knows no ports. Elsewhere it may be lost on its way from here to the client.
fn unheard(finding: &Finding, outcome: &Outcome, census: &Census) -> Vec<(&'static str, f64)> {
    let Some(flow) = finding.flow.and_then(|id| census.flow(outcome, id)) else { return Vec::new() };
    let starts_here = flow.tcp.as_ref().and_then(|tcp| tcp.sides.client.ttl).is_some_and(|ttl| crate::flow::tcp::report::hops(ttl) == 0);
    let ends = |flow: &FlowRecord| (flow.client.ip(), flow.server.ip());
    let heard = |other: &FlowRecord| other.tcp.as_ref().is_some_and(|tcp| tcp.handshake.syn_ack.is_some() && tcp.handshake.ack.is_some());
    let hears_others = outcome.flows.iter().any(|other| ends(other) == ends(flow) && heard(other));
    match (starts_here, hears_others) {
        (true, true) => vec![("l4.local-firewall", 0.85), ("l3.no-return-route", 0.1)],
        (true, false) => vec![("l3.rp-filter", 0.5), ("l4.local-firewall", 0.45)],
        (false, true) => vec![("l4.port-filtered", 0.4), ("l4.local-firewall", 0.4)],
        (false, false) => vec![("l3.no-return-route", 0.5), ("l3.rp-filter", 0.25), ("l4.local-firewall", 0.25)],
    }
}

/// What a status says of the service that gave it.
fn behind(status: Option<f64>) -> &'static str {
    match status {
        Some(403.0) => "l7.http-forbidden",
        Some(502.0) => "l7.http-bad-gateway",
        Some(504.0) => "l7.http-gateway-timeout",
        _ => "l7.http-unavailable",
    }
}

/// The one who is silent here has opened other tunnels, or answered other questions.
fn host_answers_otherwise(finding: &Finding, host: Option<&super::census::Tally>) -> bool {
    host.and_then(|tally| tally.highest).is_some_and(|(layer, flow)| layer == Layer::L7 && finding.flow != Some(flow))
}

/// The test that decides between the candidates of a finding.
fn decides(finding: &Finding, party: Party, outcome: &Outcome, census: &Census) -> Vec<NextStep> {
    let name = finding.flow.and_then(|id| census.flow(outcome, id)).and_then(|flow| flow.server_name.as_deref());
    match (finding.rule, party) {
        ("icmp.admin-prohibited", Party::Service(server)) => vec![super::prohibited::decides(server)],
        ("tls.sealed-refusal", Party::Service(server)) => super::insight::certificate_causes(server, name).1,
        ("tcp.rto" | "tcp.idle-blackhole" | "tcp.keepalive-dead", Party::Service(server)) => {
            let why =
                "whether anything answers, and how far packets come: tells loss, a black hole and a host that is gone apart".to_owned();
            vec![NextStep { run: format!("faultmap check tcp://{server}"), on: "the client".to_owned(), why }]
        }
        ("proxy.tunnel-unanswered" | "http.proxy-status" | "http.proxy-forbidden", Party::Service(server)) => {
            let run = format!("curl -v -x http://{server} http://faultmap.invalid/");
            let why = "a name that cannot exist: a proxy that works says so itself, and at once".to_owned();
            vec![NextStep { run, on: "the client".to_owned(), why }]
        }
        _ => Vec::new(),
    }
}

/// Causes whose signature on the wire is shared by others: packets alone make them likely at best.
const SHARED: [&str; 6] =
    ["l3.remote-blackhole", "l4.port-filtered", "l3.pmtu-blackhole", "l4.accept-queue-full", "l4.nat-idle-timeout", "l5.keepalive-race"];

/// The signature of this cause on the wire is that of others, too: packets alone do not prove it.
#[must_use]
pub fn is_shared(cause: &str) -> bool {
    SHARED.contains(&cause)
}

fn certainty(finding: &Finding, cause: &Cause) -> (bool, f64) {
    match finding.weight {
        _ if is_shared(cause.id) => (false, 0.82),
        // A host that answers as seldom as it likes looks the same.
        _ if finding.rule == "icmp.echo-lost" => (false, 0.6),
        Weight::Fault => (true, 0.93),
        _ => (true, 0.85),
    }
}
