//! A router's word that something is forbidden: this port, or all traffic to the host. What else was asked of the host tells, as far as it can: errors are
//! rationed (RFC 1812 §4.3.2.8, RFC 4443 §2.4), so that one of them may speak for many packets, and silence beside it is no answer.

use super::census::Census;
use crate::analysis::Outcome;
use crate::finding::{Finding, Party};
use crate::flow::{FlowRecord, Protocol};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

const RULE: &str = "icmp.admin-prohibited";

/// What was asked of a host.
type Asked = (Protocol, u16);

/// The causes, and how likely each is.
pub(super) fn causes(finding: &Finding, outcome: &Outcome, census: &Census) -> Vec<(&'static str, f64)> {
    let Some(flow) = finding.flow.and_then(|id| census.flow(outcome, id)) else { return both(0.5, 0.45) };
    let host = flow.server.ip();
    if census.host(host).is_some_and(|tally| tally.answered > 0) {
        return vec![("l4.firewall-reject", 0.9)];
    }
    let to_host = || outcome.flows.iter().filter(|other| other.server.ip() == host);
    let asked: BTreeSet<Asked> = to_host().map(what).collect();
    let forbidden: BTreeSet<Asked> = to_host().filter(|flow| flow.findings.iter().any(|found| found.rule == RULE)).map(what).collect();
    let rationed = to_host().any(|other| what(other) == what(flow) && !other.findings.iter().any(|found| found.rule == RULE));
    match (forbidden.len(), asked.len()) {
        // Two ports may be two rules of a filter; nothing else of the host is let through, either.
        (2.., _) => both(0.3, 0.85),
        (_, 1) => both(0.5, 0.45),
        // The same error is missing for the same port: it is missing for others, too.
        _ if rationed => both(0.4, 0.6),
        _ => both(0.5, 0.45),
    }
}

/// It says so of a host that answers nothing at all: as few errors as there may be, they concern all that was sent.
pub(super) fn speaks_for_all(rule: &str, party: Party, census: &Census) -> bool {
    rule == RULE && census.host(party.ip()).is_none_or(|tally| tally.answered == 0)
}

fn both(port: f64, all: f64) -> Vec<(&'static str, f64)> {
    vec![("l4.firewall-reject", port), ("l3.admin-prohibited", all)]
}

const fn what(flow: &FlowRecord) -> Asked {
    (flow.protocol, flow.server.port())
}

/// The test that decides.
pub(super) fn decides(server: SocketAddr) -> faultmap_model::verdict::NextStep {
    let ip: IpAddr = server.ip();
    faultmap_model::verdict::NextStep {
        run: format!("faultmap check icmp://{ip}; faultmap check tcp://{server}"),
        on: "the client".to_owned(),
        why: "an answer of the host at another port, or to an echo request, means that this port alone is forbidden".to_owned(),
    }
}
