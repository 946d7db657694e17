//! Answers of DNS that do not fit into a datagram: the server says so, and the client is to ask again over TCP (RFC 7766 §5). A port that refuses there, is
//! silent, or that a router or firewall refuses in its place, is no service of its own that failed.

use super::census::Census;
use super::problem::{Problem, join};
use crate::analysis::Outcome;
use crate::finding::{Finding, Party};
use crate::flow::{FlowRecord, Protocol};
use faultmap_model::causes;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What a connection to such a server may have failed of. One problem takes the place of all.
pub(super) fn weigh(problems: Vec<Problem>, outcome: &Outcome, census: &Census) -> Vec<Problem> {
    let mut blocked: BTreeMap<SocketAddr, Problem> = BTreeMap::new();
    let mut others = Vec::new();
    for problem in problems {
        let Some((server, truncated)) = wanted_over_tcp(&problem, outcome, census) else {
            others.push(problem);
            continue;
        };
        match blocked.get_mut(&server) {
            Some(known) if known.confidence >= problem.confidence => {}
            _ => drop(blocked.insert(server, instead(problem, server, truncated))),
        }
    }
    others.extend(blocked.into_values());
    others
}

/// The server that was to be asked over TCP, and the answer that says so; none if the problem is another one.
fn wanted_over_tcp<'a>(problem: &Problem, outcome: &'a Outcome, census: &Census) -> Option<(SocketAddr, &'a Finding)> {
    let could_not_connect = matches!(
        problem.cause.id,
        "l4.port-closed" | "l4.port-filtered" | "l4.firewall-reject" | "l4.accept-queue-full" | "l4.conntrack-full" | "l3.admin-prohibited"
    );
    let asked: Vec<&FlowRecord> = problem.flows.iter().filter_map(|id| census.flow(outcome, *id)).collect();
    let server = asked.first().map(|flow| flow.server)?;
    let in_vain = |flow: &&FlowRecord| flow.protocol == Protocol::Tcp && flow.server == server && flow.bytes.server == 0;
    if !could_not_connect || !asked.iter().all(in_vain) {
        return None;
    }
    let says_so = |found: &&Finding| found.rule == "dns.truncated" && found.blames == Some(Party::Service(server));
    let truncated = outcome.findings.iter().filter(says_so).min_by_key(|found| found.first)?;
    (truncated.first <= problem.last).then_some((server, truncated))
}

fn instead(problem: Problem, server: SocketAddr, truncated: &Finding) -> Problem {
    let Some(cause) = causes::find("l7.dns-tcp-blocked") else { return problem };
    let text = problem.text.trim_end_matches('.');
    let text = format!("{text}; over UDP it says that its answer does not fit, and wants to be asked over TCP");
    let mut cited = problem.cited.clone();
    join(&mut cited, &truncated.cited);
    Problem {
        rule: "dns.tcp-blocked",
        cause,
        party: Party::Service(server),
        proven: true,
        confidence: 0.9,
        text,
        cited,
        decides: Vec::new(),
        ..problem
    }
}
