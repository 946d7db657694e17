//! Problems that only several findings together show: an address taken over, a capture that is mostly a scan.

use super::problem::Problem;
use super::silence::{self, Hearing};
use crate::analysis::Outcome;
use crate::finding::{Finding, Party, Weight};
use crate::flow::FlowRecord;
use faultmap_model::causes;
use std::net::IpAddr;

/// A scan is every server's background noise; a capture of which it is this share is about it.
const MOSTLY: f64 = 0.5;
/// So many flows of others got what they wanted.
const SERVED: usize = 3;
/// Length of a MAC address in text.
const MAC: usize = 17;

/// The problems.
pub(super) fn problems(outcome: &Outcome) -> Vec<Problem> {
    takeover(outcome).into_iter().chain(scan(outcome)).collect()
}

/// The way out of the segment moved to a station that is known under another address: a failover, or ARP poisoning. A router's spare address moves
/// without that.
fn takeover(outcome: &Outcome) -> Option<Problem> {
    let of_rule = |rule: &'static str| outcome.findings.iter().filter(move |finding| finding.rule == rule);
    of_rule("arp.gateway-mac-change").find_map(|change| {
        let taker = change.text.get(change.text.len().checked_sub(MAC)?..)?;
        let claims = of_rule("arp.mac-claims-two-ips").find(|claims| claims.text.contains(taker))?;
        let text = format!(
            "{}; {}: the gateway's address was taken over, by a failover or by ARP poisoning.",
            capital(&change.text),
            claims.text.trim_end_matches('.')
        );
        one("l2.duplicate-address", 0.75, claims.blames?, &[change, claims], text)
    })
}

fn scan(outcome: &Outcome) -> Option<Problem> {
    // Of a search whose answers were not captured nobody knows what it found.
    if silence::hearing(outcome) != Hearing::Yes {
        return None;
    }
    let found = outcome.findings.iter().find(|finding| finding.rule == "tcp.scan")?;
    let share = found.cited.count as f64 / outcome.totals.flows.max(1) as f64;
    let Some(Party::Host(scanner)) = found.blames.filter(|_| share >= MOSTLY) else { return None };
    // Where others are served meanwhile, somebody watches his network, and the capture is about them.
    let answered = |flow: &FlowRecord| match flow.exchanges.count {
        // What was said is not known: that something was has to do.
        0 => flow.cut.payload && flow.bytes.client > 0 && flow.bytes.server > 0,
        count => count > flow.exchanges.failing,
    };
    let served = |flow: &&FlowRecord| flow.client.ip() != scanner && answered(flow);
    if outcome.flows.iter().filter(served).count() >= SERVED {
        return None;
    }
    let text = format!("{}, not a service that fails.", capital(found.text.trim_end_matches('.')));
    let target = target(outcome, scanner).map_or(Party::Host(scanner), Party::Host);
    one("l4.port-filtered", 0.7, target, &[found], text)
}

/// Whom the scanner asked most: the first of its flows tells.
fn target(outcome: &Outcome, scanner: IpAddr) -> Option<IpAddr> {
    outcome.flows.iter().find(|flow| flow.client.ip() == scanner).map(|flow| flow.server.ip())
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn one(cause: &str, confidence: f64, party: Party, findings: &[&Finding], text: String) -> Option<Problem> {
    let mut problem = Problem::of(findings.first()?, causes::find(cause)?, party);
    findings.iter().for_each(|finding| problem.add(finding));
    (problem.weight, problem.proven, problem.confidence) = (Weight::Warning, true, confidence);
    problem.text = text;
    problem.weighed = true;
    Some(problem)
}
