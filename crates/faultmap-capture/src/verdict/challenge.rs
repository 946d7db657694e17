//! What a single answer does not tell, and the next ones do: a challenge for a login that the client did not take up, and redirects that lead from page to page and
//! never to one.

use super::problem::Problem;
use crate::analysis::Outcome;
use crate::app::AT_A_GLANCE;
use crate::finding::{Finding, Party, Weight};
use crate::flow::{FlowRecord, Side};
use faultmap_model::causes;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// So many redirects of one client in a row, and nothing else, are a circle: browsers stop at 20, most libraries at 10 or sooner.
const CIRCLE: usize = 8;
/// They follow each other within this time.
const IN_A_ROW_MS: f64 = 60_000.0;

/// The problems.
pub(super) fn problems(outcome: &Outcome) -> Vec<Problem> {
    let mut found: BTreeMap<(IpAddr, SocketAddr, &'static str), Vec<&Finding>> = BTreeMap::new();
    for finding in outcome.findings.iter().filter(|finding| finding.weight == Weight::Note) {
        let kind = match (finding.rule, finding.value) {
            ("http.status", Some(407.0)) => "l5.proxy-refused",
            ("http.status", Some(401.0)) => "l7.http-unauthorized",
            ("http.redirect", _) => "l7.http-redirect-loop",
            _ => continue,
        };
        let flow =
            finding.flow.and_then(|id| outcome.flows.binary_search_by_key(&id, |flow| flow.id).ok()).and_then(|at| outcome.flows.get(at));
        if let Some(flow) = flow {
            found.entry((flow.client.ip(), flow.server, kind)).or_default().push(finding);
        }
    }
    // Of most captures there is nothing of the kind to tell.
    let mut between: BTreeMap<(IpAddr, SocketAddr), Vec<&FlowRecord>> =
        found.keys().map(|(client, server, _)| ((*client, *server), Vec::new())).collect();
    for flow in outcome.flows.iter().filter(|_| !found.is_empty()) {
        if let Some(flows) = between.get_mut(&(flow.client.ip(), flow.server)) {
            flows.push(flow);
        }
    }
    let told = found.into_iter().filter_map(|((client, server, cause), findings)| {
        let flows = between.get(&(client, server))?;
        match cause {
            "l7.http-redirect-loop" => circle(client, server, flows, &findings),
            _ => challenge(server, cause, flows, &findings),
        }
    });
    told.collect()
}

/// The client asked nothing there that was answered well, and went away.
fn challenge(server: SocketAddr, cause: &'static str, flows: &[&FlowRecord], findings: &[&Finding]) -> Option<Problem> {
    let first = findings.iter().min_by_key(|finding| finding.first)?;
    let answered = flows.iter().any(|flow| flow.exchanges.count > flow.exchanges.failing);
    let more = findings.len() as u64 != flows.iter().map(|flow| flow.exchanges.failing).sum::<u64>();
    // Whose connection stays open may still bring a login: a person at a form takes a while.
    let of_challenges = |flow: &&&FlowRecord| findings.iter().any(|finding| finding.flow == Some(flow.id));
    let gone = flows.iter().filter(of_challenges).all(|flow| left(flow));
    if answered || more || !gone {
        return None;
    }
    let text = match cause {
        "l5.proxy-refused" if first.text.ends_with(AT_A_GLANCE) => {
            format!("{}: the proxy wants a login, and the client went without", first.text)
        }
        "l5.proxy-refused" => format!("{}: the proxy wants a login, and the client brings none", first.text),
        _ if first.text.ends_with(AT_A_GLANCE) => format!("{}: a login is wanted, and the client went without", first.text),
        _ => format!("{}: a login is wanted, and the client brings none", first.text),
    };
    let weight = if cause == "l5.proxy-refused" { Weight::Fault } else { Weight::Warning };
    joined(cause, server, findings, weight, text)
}

/// The client has closed its side.
fn left(flow: &FlowRecord) -> bool {
    flow.tcp.is_some_and(|tcp| tcp.sides.client.fin.is_some() || tcp.reset.is_some_and(|reset| reset.by == Side::Client))
}

/// Nothing but redirects to the server itself, one after the other.
fn circle(client: IpAddr, server: SocketAddr, flows: &[&FlowRecord], findings: &[&Finding]) -> Option<Problem> {
    let (first, last) = (findings.iter().map(|finding| finding.first).min()?, findings.iter().map(|finding| finding.last).max()?);
    let asked: u64 = flows.iter().map(|flow| flow.exchanges.count).sum();
    // The circle on one connection is told as it happens.
    let told = flows.iter().any(|flow| flow.findings.iter().any(|found| found.rule == "http.redirect-loop"));
    if findings.len() < CIRCLE || asked != findings.len() as u64 || last.ms_since(first) > IN_A_ROW_MS || told {
        return None;
    }
    let text = format!("{} answers to {client} in a row are redirects to the server itself, and none is a page", findings.len());
    joined("l7.http-redirect-loop", server, findings, Weight::Fault, text)
}

fn joined(cause: &str, server: SocketAddr, findings: &[&Finding], weight: Weight, text: String) -> Option<Problem> {
    let mut problem = Problem::of(findings.first()?, causes::find(cause)?, Party::Service(server));
    findings.iter().for_each(|finding| problem.add(finding));
    (problem.weight, problem.proven, problem.confidence, problem.text) = (weight, true, 0.9, text);
    Some(problem)
}
