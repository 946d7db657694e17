//! Servers that end the connection with each answer, where the client comes again and again and each new connection is dear: every request pays for handshakes. It says
//! nothing of clients that want it so, of servers that keep some connections, and of near ones, where a new connection costs next to nothing.

use super::problem::Problem;
use crate::analysis::Outcome;
use crate::app::{CLOSES, text};
use crate::finding::{Finding, Party, Weight};
use crate::flow::{FlowRecord, Protocol};
use faultmap_model::causes;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// So many connections that an earlier one would have spared are a habit.
const ENOUGH: usize = 3;
/// A client that comes again within this time would have found the connection open: servers keep idle ones for 5 s and more, in milliseconds.
const SOON_MS: f64 = 5000.0;
/// Where answers take longer than so many times the handshakes, these matter little.
const DOMINATED: f64 = 2.0;

/// Services that do so, each with the client that pays for it.
pub(super) fn all(outcome: &Outcome) -> Vec<Problem> {
    let mut pairs: BTreeMap<(SocketAddr, IpAddr), Vec<Ended<'_>>> = BTreeMap::new();
    for finding in outcome.findings.iter().filter(|finding| finding.rule == CLOSES) {
        if let Some(ended) = Ended::of(finding, outcome) {
            pairs.entry((ended.flow.server, ended.flow.client.ip())).or_default().push(ended);
        }
    }
    pairs.into_iter().filter_map(|((server, client), ended)| paid(server, client, ended, outcome)).collect()
}

/// A connection that the server ended with its first answer.
struct Ended<'a> {
    finding: &'a Finding,
    flow: &'a FlowRecord,
    /// What it cost to open, at least.
    cost_ms: f64,
}

impl<'a> Ended<'a> {
    fn of(finding: &'a Finding, outcome: &'a Outcome) -> Option<Self> {
        let id = finding.flow?;
        let flow = outcome.flows.binary_search_by_key(&id, |flow| flow.id).ok().and_then(|at| outcome.flows.get(at))?;
        Some(Self { finding, flow, cost_ms: finding.value? })
    }
}

fn paid(server: SocketAddr, client: IpAddr, mut ended: Vec<Ended<'_>>, outcome: &Outcome) -> Option<Problem> {
    ended.sort_by_key(|one| one.flow.first);
    let kept = |flow: &&FlowRecord| {
        let of_these = flow.protocol == Protocol::Tcp && flow.server == server && flow.client.ip() == client && flow.app == Some("http");
        // Of an opened TLS session the handshake is one of them.
        let answered = flow.exchanges.count.saturating_sub(flow.exchanges.failing) > u64::from(flow.decrypted);
        of_these && answered && !ended.iter().any(|one| one.flow.id == flow.id)
    };
    if outcome.flows.iter().any(|flow| kept(&flow)) {
        return None;
    }
    let spared = |later: &&Ended<'_>| {
        let earlier = ended.iter().filter(|one| one.finding.last <= later.flow.first);
        earlier.map(|one| later.flow.first.ms_since(one.finding.last)).any(|since| since <= SOON_MS)
    };
    let again: Vec<&Ended<'_>> = ended.iter().filter(spared).collect();
    let cost: f64 = again.iter().map(|one| one.cost_ms).sum();
    let waited: f64 = again.iter().filter_map(|one| one.flow.exchanges.worst_wait_ms).sum();
    if again.len() < ENOUGH || waited > cost * DOMINATED {
        return None;
    }
    let mut problem = Problem::of(again.first()?.finding, causes::find("l5.no-reuse")?, Party::Service(server));
    again.iter().for_each(|one| problem.add(one.finding));
    problem.text = format!(
        "{server} closes after every answer (Connection: close): {} of {} connections of {client} were opened anew for that, each for {} at least",
        again.len(),
        ended.len(),
        text::time(cost / again.len() as f64),
    );
    problem.weight = Weight::Warning;
    (problem.proven, problem.confidence, problem.weighed) = (true, 0.85, true);
    Some(problem)
}
