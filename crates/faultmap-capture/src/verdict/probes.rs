//! Packets sent to find something out: their failure is what they are for. Ports of traceroute, ports that are
//! asked because nobody listens, and ports that are asked for comparison.

use super::census::Census;
use super::documents::is_nobodys;
use super::problem::Problem;
use crate::analysis::Outcome;
use crate::finding::Party;
use crate::flow::{FlowRecord, Protocol};
use faultmap_model::Layer;
use std::net::IpAddr;

/// traceroute(8) asks these UDP ports, from its default on.
pub(super) const TRACEROUTE: std::ops::RangeInclusive<u16> = 33_434..=33_534;

/// Echo and discard (RFC 862, RFC 863), which nobody offers any more: who asks there asks whether the host is up.
const UNUSED: [u16; 2] = [7, 9];

/// Attempts that are compared with all others.
const MOST_COMPARED: usize = 64;

/// The problem is no more than the answer to a probe.
pub(super) fn is_answer_to_probe(problem: &Problem, outcome: &Outcome, census: &Census) -> bool {
    let mut asked = problem.flows.iter().filter_map(|id| census.flow(outcome, *id)).peekable();
    // Who answers there is not who was asked.
    if problem.cause.id == "l7.captive-portal" {
        return false;
    }
    let on_medium = problem.rule.starts_with("arp.") || problem.rule.starts_with("nd.");
    let nobodys = |ip: IpAddr| is_nobodys(ip, outcome);
    if !on_medium && (nobodys(problem.party.ip()) || (asked.peek().is_some() && asked.all(|flow| nobodys(flow.server.ip())))) {
        return true;
    }
    if problem.cause.layer <= Layer::L4 && is_for_comparison(problem, outcome, census) {
        return true;
    }
    if problem.rule.starts_with("icmp.") && searches_only(problem, outcome, census) {
        return true;
    }
    match problem.cause.id {
        "l4.udp-port-unreachable" => {
            matches!(problem.party, Party::Service(at) if TRACEROUTE.contains(&at.port())) || asks_whether_up(problem, census)
        }
        "l4.port-closed" | "l4.port-filtered" | "l4.firewall-reject" => asks_whether_up(problem, census),
        "l6.plaintext-on-tls-port" => came_with_another(problem, outcome, census),
        // The health service is a convention (grpc/doc/health-checking.md) that a server need not follow.
        "l7.grpc-unimplemented" => problem.text.contains("grpc.health.v1.Health/"),
        _ => false,
    }
}

/// Ports of traceroute at a host of which nobody wants anything else, by clients that want something of other hosts: it is there to compare.
fn searches_only(problem: &Problem, outcome: &Outcome, census: &Census) -> bool {
    let asked: Vec<_> = problem.flows.iter().filter_map(|id| census.flow(outcome, *id)).collect();
    let searches = |flow: &FlowRecord| flow.protocol == Protocol::Udp && TRACEROUTE.contains(&flow.server.port());
    let hosts: Vec<IpAddr> = asked.iter().map(|flow| flow.server.ip()).collect();
    let wants_others = |flow: &&FlowRecord| {
        outcome.flows.iter().any(|other| {
            other.client.ip() == flow.client.ip()
                && !hosts.contains(&other.server.ip())
                && other.protocol == Protocol::Tcp
                && !other.searching
        })
    };
    !asked.is_empty() && asked.iter().all(|flow| searches(flow)) && asked.first().is_some_and(wants_others)
}

/// Each client came to this service with another protocol, and tried TLS afterwards.
fn came_with_another(problem: &Problem, outcome: &Outcome, census: &Census) -> bool {
    let tried: Vec<&FlowRecord> = problem.flows.iter().filter_map(|id| census.flow(outcome, *id)).collect();
    let before = |flow: &FlowRecord, other: &FlowRecord| {
        let same = other.client.ip() == flow.client.ip() && other.server == flow.server && other.protocol == flow.protocol;
        same && other.first < flow.first && other.bytes.client > 0 && other.app.is_some() && other.app != flow.app
    };
    // Comparing all with all is for captures that a person reads.
    tried.len() <= MOST_COMPARED && !tried.is_empty() && tried.iter().all(|flow| outcome.flows.iter().any(|other| before(flow, other)))
}

/// Attempts at a port that every client of this problem asked to compare it with the one that it came for.
fn is_for_comparison(problem: &Problem, outcome: &Outcome, census: &Census) -> bool {
    let mut asked = problem.flows.iter().map(|id| census.flow(outcome, *id)).peekable();
    let service = matches!(problem.party, Party::Service(_));
    service && asked.peek().is_some() && asked.all(|flow| flow.is_some_and(|flow| census.is_for_comparison(flow)))
}

/// A port that nobody serves, of a host that answers elsewhere.
fn asks_whether_up(problem: &Problem, census: &Census) -> bool {
    let Party::Service(at) = problem.party else { return false };
    let here = census.service(at).map_or(0, |tally| tally.flows);
    UNUSED.contains(&at.port()) && census.host(at.ip()).is_some_and(|tally| tally.flows > here && tally.answered > 0)
}
