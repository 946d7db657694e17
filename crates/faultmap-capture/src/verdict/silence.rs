//! Questions without an answer. Silence alone proves nothing: what it may mean is told by what else the same host answered. All causes that look so
//! are put before the judge.

use super::census::{Census, Tally};
use super::problem::{self, Problem};
use crate::analysis::{Kind, Outcome, kind};
use crate::finding::{Finding, Party, Weight};
use crate::flow::{FlowId, FlowRecord};
use faultmap_model::verdict::NextStep;
use faultmap_model::{Layer, causes};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// What the same host did beside its silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    /// It answered at this very port, in other flows.
    SamePort,
    /// It answered such questions over TCP, and never over UDP.
    OverTcp,
    /// It answered elsewhere.
    OtherPort,
    /// Nothing of it was heard but that the address is its own: what is sent arrives.
    OnMedium,
    /// Nothing of it was heard.
    Nothing,
}

/// The problems that unanswered questions are.
pub(super) fn problems(outcome: &Outcome, census: &Census, explained: &BTreeSet<FlowId>) -> Vec<Problem> {
    let mut silent: BTreeMap<(SocketAddr, bool), Vec<&Finding>> = BTreeMap::new();
    let told = |finding: &Finding| finding.flow.is_some_and(|flow| explained.contains(&flow));
    for finding in outcome.findings.iter().filter(|finding| problem::is_silence(finding.rule) && !told(finding)) {
        if let Some(Party::Service(server)) = problem::party(finding, outcome, census) {
            silent.entry((server, finding.rule.starts_with("dns"))).or_default().push(finding);
        }
    }
    match hearing(outcome) {
        Hearing::No => return Vec::new(),
        // Who sends the same SYN again, or asks again under the same id, has heard no answer, whatever the capture holds.
        Hearing::Perhaps => silent.values_mut().for_each(|findings| findings.retain(|finding| is_sent_again(finding, outcome, census))),
        Hearing::Yes => {}
    }
    silent.retain(|(server, _), findings| tells(*server, findings, census));
    silent.into_iter().flat_map(|((server, dns), findings)| explain(server, dns, &findings, outcome, census)).collect()
}

/// One question that waits is no more than that; but a client that asks again has given the first one up, and a server that never answered
/// anything is silent.
fn tells(server: SocketAddr, findings: &[&Finding], census: &Census) -> bool {
    let never = census.service(server).is_none_or(|tally| tally.answered == 0);
    findings.iter().any(|finding| finding.weight >= Weight::Warning) || (never && findings.len() > 1)
}

/// Whether both directions are in the capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    /// Some flows have both.
    Yes,
    /// Nothing of anybody else is in it: nobody answered anything, or nobody is listened to.
    Perhaps,
    /// Conversations go on of which one side is not there.
    No,
}

/// Where the other direction was not captured, silence is the capture's. Whatever has both directions shows that both are captured.
pub(super) fn hearing(outcome: &Outcome) -> Hearing {
    let both = |flow: &&FlowRecord| flow.packets.client > 0 && flow.packets.server > 0;
    let both = outcome.flows.iter().filter(both).count() as u64;
    match () {
        () if outcome.quality.one_sided_flows > both => Hearing::No,
        () if both == 0 && !outcome.heard_back => Hearing::Perhaps,
        () => Hearing::Yes,
    }
}

/// The attempt or question was sent again as it was.
fn is_sent_again(finding: &Finding, outcome: &Outcome, census: &Census) -> bool {
    match finding.rule {
        "tcp.syn-unanswered" => finding.cited.count > 1,
        _ => finding.flow.and_then(|id| census.flow(outcome, id)).is_some_and(|flow| flow.asked_again),
    }
}

fn explain(server: SocketAddr, dns: bool, findings: &[&Finding], outcome: &Outcome, census: &Census) -> Vec<Problem> {
    let answered = |tally: Option<&Tally>| tally.is_some_and(|tally| tally.answered > 0);
    let otherwise = match () {
        () if dns && census.service(server).is_some_and(only_over_tcp) => Otherwise::OverTcp,
        () if answered(census.service(server)) => Otherwise::SamePort,
        () if answered(census.host(server.ip())) => Otherwise::OtherPort,
        () if delivered(findings, outcome, census) => Otherwise::OnMedium,
        () => Otherwise::Nothing,
    };
    let tries: u64 = findings.iter().map(|finding| finding.cited.count).sum();
    let mut causes = if dns { dns_causes(otherwise) } else { tcp_causes(otherwise) }.to_vec();
    if otherwise == Otherwise::Nothing && is_of_another_private_network(server.ip(), outcome) {
        causes.push(("l3.private-address", 0.35));
    }
    let kinds: BTreeSet<Kind> = findings.iter().map(|finding| kind(finding)).collect();
    let beyond: u64 = kinds.iter().map(|kind| outcome.untold.of_kind(kind)).sum();
    let text = sentence(server, dns, otherwise, findings.len() as u64 + beyond, if beyond == 0 { tries } else { 0 });
    let decides = decides(server, dns, otherwise);
    causes.iter().filter_map(|(cause, confidence)| one(cause, *confidence, server, findings, &text, &decides)).collect()
}

/// Questions were answered, and none of them over UDP.
fn only_over_tcp(tally: &Tally) -> bool {
    tally.answered_in_datagrams == 0 && tally.highest.is_some_and(|(layer, _)| layer == Layer::L7)
}

/// All of it went to the station that has the address on this medium.
fn delivered(findings: &[&Finding], outcome: &Outcome, census: &Census) -> bool {
    let mut flows = findings.iter().map(|finding| finding.flow.and_then(|id| census.flow(outcome, id)));
    flows.all(|flow| flow.is_some_and(|flow| flow.delivered))
}

/// A name led to an address of a private network (RFC 1918, RFC 6598, RFC 4193) of which nobody else is heard here: it may be one of somewhere else.
fn is_of_another_private_network(ip: IpAddr, outcome: &Outcome) -> bool {
    let named = outcome.names.iter().any(|(_, addresses)| addresses.contains(&ip));
    let near = |other: IpAddr| other != ip && problem::same_network(other, ip);
    let known = |flow: &FlowRecord| near(flow.client.ip()) || (near(flow.server.ip()) && flow.packets.server > 0);
    is_private(ip) && named && !outcome.flows.iter().any(known)
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || matches!(ip.octets(), [100, 64..=127, ..]),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// A connect without an answer. A listener whose queue is full, and a filter, look the same where the host answers otherwise.
const fn tcp_causes(otherwise: Otherwise) -> &'static [(&'static str, f64)] {
    match otherwise {
        Otherwise::SamePort | Otherwise::OverTcp => {
            &[("l4.accept-queue-full", 0.5), ("l4.conntrack-full", 0.3), ("l4.port-filtered", 0.25), ("l4.snat-ports-exhausted", 0.2)]
        }
        Otherwise::OtherPort => &[("l4.port-filtered", 0.85), ("l4.accept-queue-full", 0.2)],
        Otherwise::OnMedium => {
            &[("l4.port-filtered", 0.5), ("l3.rp-filter", 0.3), ("l3.no-return-route", 0.25), ("l4.accept-queue-full", 0.2)]
        }
        Otherwise::Nothing => &[
            ("l4.port-filtered", 0.45),
            ("l3.remote-blackhole", 0.35),
            ("l2.remote-neighbor-unresolved", 0.3),
            ("l3.no-return-route", 0.25),
        ],
    }
}

const fn dns_causes(otherwise: Otherwise) -> &'static [(&'static str, f64)] {
    match otherwise {
        Otherwise::SamePort => &[("l7.dns-timeout", 0.85)],
        Otherwise::OverTcp => &[("l4.udp-filtered", 0.86)],
        Otherwise::OtherPort => &[("l7.dns-timeout", 0.55), ("l4.udp-filtered", 0.4)],
        Otherwise::OnMedium => &[("l7.dns-timeout", 0.55), ("l4.udp-filtered", 0.35), ("l3.rp-filter", 0.2)],
        Otherwise::Nothing => &[("l7.dns-timeout", 0.45), ("l3.remote-blackhole", 0.35), ("l4.udp-filtered", 0.25)],
    }
}

fn sentence(server: SocketAddr, dns: bool, otherwise: Otherwise, flows: u64, tries: u64) -> String {
    let many = super::many;
    // Of those that are not told one by one the tries are not known.
    let tried = |of: &str| if tries == 0 { String::new() } else { format!(" ({})", many(tries, of)) };
    let what = match (dns, flows) {
        (true, 1) => format!("A question to the DNS server {server} got no answer{}", tried("packet")),
        (true, _) => format!("{} to the DNS server {server} got no answer", many(flows, "question")),
        (false, 1) => format!("{server} did not answer a connection attempt{}", tried("SYN")),
        (false, _) => format!("{server} did not answer {}{}", many(flows, "connection attempt"), tried("SYN")),
    };
    let beside = match otherwise {
        Otherwise::SamePort => "while it answered others.",
        Otherwise::OverTcp => "while it answered over TCP, and never over UDP.",
        Otherwise::OtherPort => "while the host answered otherwise.",
        Otherwise::OnMedium => "though the station that has the address gets what is sent: nothing of it is heard.",
        Otherwise::Nothing => "and nothing else of this host is in the capture: silence alone does not tell why.",
    };
    format!("{what}, {beside}")
}

fn decides(server: SocketAddr, dns: bool, otherwise: Otherwise) -> Vec<NextStep> {
    let ip = server.ip();
    let run = if dns { format!("faultmap check dns://{server}/example.com") } else { format!("faultmap check tcp://{server}") };
    let first = NextStep {
        run,
        on: "the client".to_owned(),
        why: "asks control ports and walks the path: tells filter, black hole and dead host apart".to_owned(),
    };
    let port = server.port();
    let there = if otherwise == Otherwise::SamePort && !dns {
        let run = format!("ss -ltn 'sport = :{port}'; nstat -az TcpExtListenOverflows TcpExtListenDrops");
        NextStep { run, on: ip.to_string(), why: "Recv-Q above Send-Q, or rising counters, name the listen queue".to_owned() }
    } else {
        let run = format!("tcpdump -ni any host {ip} and port {port}");
        NextStep { run, on: ip.to_string(), why: "packets that arrive without an answer: the host; none arriving: the path".to_owned() }
    };
    vec![first, there]
}

fn one(cause: &str, confidence: f64, server: SocketAddr, findings: &[&Finding], text: &str, decides: &[NextStep]) -> Option<Problem> {
    let (first, cause) = (findings.first()?, causes::find(cause)?);
    let mut problem = Problem {
        rule: first.rule,
        cause,
        party: Party::Service(server),
        weight: Weight::Fault,
        proven: false,
        confidence,
        text: text.to_owned(),
        times: 0,
        flows: BTreeSet::new(),
        kinds: BTreeSet::new(),
        beyond: 0,
        cited: crate::finding::Cited::default(),
        first: first.first,
        last: first.last,
        decides: decides.to_vec(),
        weighed: false,
    };
    for finding in findings {
        problem.add(finding);
    }
    text.clone_into(&mut problem.text);
    Some(problem)
}
