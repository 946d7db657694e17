//! One name, two families of addresses: where connections over the one get no answer and over the other do, users are served, and yet something is broken
//! (RFC 8305 hides it from them, at the cost of its delay before each connection).

use super::insight;
use super::problem::Problem;
use crate::analysis::Outcome;
use crate::finding::Weight;
use crate::flow::record::State;
use crate::flow::{FlowRecord, Protocol};
use faultmap_model::verdict::NextStep;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// One of the attempts had so long to be answered, until the end of the capture: longer than any round trip.
const PATIENCE_MS: f64 = 800.0;
/// One attempt may be lost; a SYN that was sent again, or so many attempts, were not.
const FEWEST: usize = 2;
/// The port of DNS.
const DNS: u16 = 53;
/// The other family is tried within this time (RFC 8305 §5: 0.25 s; those who know it not wait for the first to fail).
const INSTEAD_MS: f64 = 130_000.0;

/// Names of which one family of addresses is dead and the other one serves.
pub(super) fn all(outcome: &Outcome) -> Vec<Problem> {
    if super::silence::hearing(outcome) != super::silence::Hearing::Yes {
        return Vec::new();
    }
    let mut told: BTreeSet<IpAddr> = BTreeSet::new();
    let mut problems = Vec::new();
    for (name, addresses) in outcome.names.iter() {
        for six in [true, false] {
            let of = |ip: &&IpAddr| ip.is_ipv6() == six;
            let (dead, alive): (Vec<IpAddr>, Vec<IpAddr>) =
                (addresses.iter().filter(of).copied().collect(), addresses.iter().filter(|ip| !of(ip)).copied().collect());
            if dead.is_empty() || alive.is_empty() || dead.iter().all(|ip| told.contains(ip)) {
                continue;
            }
            if let Some(problem) = one(name, &dead, &alive, outcome) {
                told.extend(dead);
                problems.push(problem);
            }
        }
    }
    problems
}

/// Connections to these addresses, which were meant and not tried for the sake of comparison.
fn connections<'a>(to: &'a [IpAddr], outcome: &'a Outcome) -> impl Iterator<Item = &'a FlowRecord> {
    let meant = |flow: &&FlowRecord| flow.protocol == Protocol::Tcp && !flow.searching;
    outcome.flows.iter().filter(meant).filter(|flow| to.contains(&flow.server.ip()))
}

/// All connections to the `dead` addresses failed without a word of theirs, and their clients' next ones to the `alive` addresses were served.
fn one(name: &str, dead: &[IpAddr], alive: &[IpAddr], outcome: &Outcome) -> Option<Problem> {
    let tried: Vec<&FlowRecord> = connections(dead, outcome).collect();
    let end = outcome.totals.last?;
    let in_vain = |flow: &&&FlowRecord| flow.packets.server == 0 && matches!(flow.state, State::S0 | State::Oth);
    let heard = outcome.flows.iter().any(|flow| dead.contains(&flow.server.ip()) && flow.packets.server > 0);
    let failed: Vec<&FlowRecord> = tried.iter().filter(in_vain).copied().collect();
    let waited = failed.iter().any(|flow| end.ms_since(flow.first) >= PATIENCE_MS);
    let certain = failed.len() >= FEWEST || failed.iter().any(|flow| flow.packets.client >= FEWEST as u64);
    if heard || !certain || !waited || tried.len() > failed.len() {
        return None;
    }
    let served = |flow: &FlowRecord| flow.tcp.as_ref().is_some_and(|tcp| tcp.handshake.ack.is_some()) && flow.bytes.server > 0;
    let instead = |failed: &FlowRecord| {
        connections(alive, outcome).find(|flow| {
            let soon = flow.first >= failed.first && flow.first.ms_since(failed.first) <= INSTEAD_MS;
            soon && flow.server.port() == failed.server.port() && served(flow)
        })
    };
    let first = failed.iter().find_map(|flow| Some((*flow, instead(flow)?)))?;
    problem(name, &failed, first, outcome)
}

fn problem(name: &str, failed: &[&FlowRecord], (first, instead): (&FlowRecord, &FlowRecord), outcome: &Outcome) -> Option<Problem> {
    let six = first.server.is_ipv6();
    let (this, other) = if six { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
    let (server, count) = (first.server, failed.len());
    let delay = instead.first.ms_since(first.first);
    // Of the same family somebody else answers: then it is this address, and not the family.
    let elsewhere = answers_elsewhere(first, outcome);
    let (rule, cause, what) = match (elsewhere, six) {
        (Some(_), _) => ("tcp.address-dead", "l4.address-dead", format!("that address of {name} is dead")),
        (None, true) => ("ip.family-dead", "l3.ipv6-broken", format!("{this} is broken towards {name}")),
        (None, false) => ("ip.family-dead", "l3.ipv4-broken", format!("{this} is broken towards {name}")),
    };
    let beside = elsewhere.map(|ip| format!(", and {ip} answers over {this}")).unwrap_or_default();
    let times = if count == 1 { "a connection".to_owned() } else { format!("{count} connections") };
    let text = format!(
        "{times} to {server} over {this} got no answer, while {} serves the same name over {other} ({delay:.0} ms later){beside}: {what}",
        instead.server.ip()
    );
    let mut problem = insight::problem(rule, cause, (server, failed), (0.85, true), text, outcome)?;
    problem.weight = Weight::Warning;
    problem.weighed = true;
    problem.decides = vec![NextStep {
        run: format!("faultmap check {name}"),
        on: "the client".to_owned(),
        why: "connects to each address of both families, and walks the path to the one that is silent".to_owned(),
    }];
    Some(problem)
}

/// A service beyond the medium that answered the same family. Resolvers are near, and say nothing of what is far.
fn answers_elsewhere(dead: &FlowRecord, outcome: &Outcome) -> Option<IpAddr> {
    let beyond = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast()),
    };
    let like_it = |flow: &&FlowRecord| {
        let server = flow.server.ip();
        let same = server.is_ipv6() == dead.server.is_ipv6() && flow.client.ip() == dead.client.ip() && server != dead.server.ip();
        same && beyond(server) && flow.protocol == Protocol::Tcp && flow.server.port() != DNS && flow.bytes.server > 0
    };
    outcome.flows.iter().filter(like_it).map(|flow| flow.server.ip()).next()
}
