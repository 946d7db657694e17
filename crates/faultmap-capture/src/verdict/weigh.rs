//! How much a problem weighs against what went well at the same party: a fault, a risk, or what any healthy network shows now and then.

use super::census::Census;
use super::problem::Problem;
use crate::analysis::Outcome;
use crate::finding::{Party, Weight};
use crate::flow::FlowRecord;
use crate::packet::Stamp;
use faultmap_model::{Layer, causes};
use std::collections::BTreeMap;

/// A share of failures from here on is a fault; below, the service works at risk.
const BREAKS: f64 = 0.1;
/// A share of failures below this is an accident, where there was enough to count.
const ACCIDENT: f64 = 0.01;
/// So many exchanges or flows are enough to count.
const ENOUGH: u64 = 100;
/// Warnings about what was asked (most of 4xx, a name that does not exist) are of interest only if they are the rule.
const MOSTLY: f64 = 0.5;
/// Other warnings must concern this share.
const OFTEN: f64 = 0.05;
/// So soon after a name that does not exist a client goes on, if it only tried a search list.
const WENT_ON_NS: u64 = 5_000_000_000;

/// A problem that is worth a place in the report.
pub(super) struct Weighed {
    pub(super) problem: Problem,
    /// It is a fault; else a risk.
    pub(super) breaks: bool,
    /// Of all exchanges or flows of the party, those that it concerns.
    pub(super) share: Option<f64>,
}

/// Drops what is everyday's, and says of the rest how bad it is.
pub(super) fn all(mut problems: Vec<Problem>, outcome: &Outcome, census: &Census) -> Vec<Weighed> {
    problems.iter_mut().filter(|problem| !problem.weighed).for_each(|problem| problem.count_untold(outcome));
    // A service to which most is asked wrongly is worth a word, in whatever ways it says so.
    let mut asked_wrongly: BTreeMap<Party, u64> = BTreeMap::new();
    for problem in problems.iter().filter(|problem| problem.cause.id.starts_with("l7.http-") && is_about_the_question(problem.cause.id)) {
        *asked_wrongly.entry(problem.party).or_default() += problem.times;
    }
    let together = |problem: &Problem| asked_wrongly.get(&problem.party).copied().filter(|_| problem.cause.id.starts_with("l7.http-"));
    problems
        .into_iter()
        .filter_map(|problem| {
            let together = together(&problem).unwrap_or(problem.times);
            one(problem, together, outcome, census)
        })
        .collect()
}

fn one(problem: Problem, together: u64, outcome: &Outcome, census: &Census) -> Option<Weighed> {
    if problem.weighed || is_of_state(problem.rule) {
        let breaks = problem.weight == Weight::Fault;
        return Some(Weighed { problem, breaks, share: None });
    }
    if names_a_missing_name(problem.cause.id) && every_client_went_on(&problem, outcome, census) {
        return None;
    }
    if super::probes::is_answer_to_probe(&problem, outcome, census) {
        return None;
    }
    if problem.cause.id == "l1.bit-errors" && !somebody_sent_again(&problem, outcome, census) {
        return None;
    }
    let affected = problem.times.max(problem.flows.len() as u64);
    let share = total(&problem, census).map(|total| affected as f64 / total.max(affected).max(1) as f64);
    let many = total(&problem, census).is_some_and(|total| total >= ENOUGH);
    let known = share.unwrap_or(1.0);
    let all = total(&problem, census).map_or(1.0, |total| together as f64 / total.max(together).max(1) as f64);
    let breaks = match problem.weight {
        Weight::Fault if known < ACCIDENT && many => return None,
        // A datagram is lost now and then, and the client asks again.
        Weight::Fault if super::problem::is_silence(problem.rule) && !problem.rule.starts_with("tcp") => {
            known >= MOSTLY || (known >= BREAKS && no_accident(&problem))
        }
        // A service that forbids a page has its reasons; who forbids most of what is asked is in the way.
        Weight::Fault if problem.rule == "http.proxy-forbidden" && known < MOSTLY => return None,
        Weight::Fault => known >= BREAKS,
        _ if is_about_the_question(problem.cause.id) && known.max(all) < MOSTLY => return None,
        // A client that goes away has its own reasons, unless it always does.
        _ if blames_its_clients(&problem, outcome, census) && known < MOSTLY => return None,
        _ if known < OFTEN => return None,
        _ => false,
    };
    Some(Weighed { problem, breaks, share })
}

/// Three tries of one question are not lost by accident, where others were answered.
fn no_accident(problem: &Problem) -> bool {
    problem.rule == "dns.timeout" && problem.cited.count >= problem.times.saturating_mul(3)
}

/// What keeps a host from its address or its time, and what is a share by itself, is no share of anything else.
fn is_of_state(rule: &str) -> bool {
    rule.starts_with("dhcp.") || matches!(rule, "ntp.clock-skew" | "icmp.echo-lost")
}

/// What the problem is a part of: exchanges where it is about answers, else flows. A fault of a host as a whole is no share of anything.
fn total(problem: &Problem, census: &Census) -> Option<u64> {
    let tally = census.party(problem.party)?;
    if super::prohibited::speaks_for_all(problem.rule, problem.party, census) {
        return None;
    }
    // Attempts to open a connection are weighed against those that opened it; what was given up at once, or searched the path, says nothing.
    if matches!(problem.rule, "tcp.syn-unanswered" | "tcp.synack-unheard") {
        return Some(tally.opened.saturating_add(problem.concerned()));
    }
    // What a question without an answer may mean is weighed as that question, whatever layer it points at.
    if super::problem::is_silence(problem.rule) && tally.exchanges > 0 {
        return Some(tally.exchanges);
    }
    match (problem.cause.layer, problem.party) {
        (Layer::L1 | Layer::L2 | Layer::L3, Party::Host(_)) => None,
        (Layer::L7 | Layer::L5, _) if tally.exchanges > 0 => Some(tally.exchanges),
        _ => Some(tally.flows),
    }
}

/// The party is the one who asked.
fn blames_its_clients(problem: &Problem, outcome: &Outcome, census: &Census) -> bool {
    let Party::Host(host) = problem.party else { return false };
    let mut flows = problem.flows.iter().filter_map(|id| census.flow(outcome, *id)).peekable();
    problem.cause.layer >= Layer::L4 && flows.peek().is_some() && flows.all(|flow| flow.client.ip() == host)
}

/// A packet that is damaged is dropped where it arrives, and sent again. A wrong checksum that nobody minds was seen before the network card of
/// its sender filled it in.
fn somebody_sent_again(problem: &Problem, outcome: &Outcome, census: &Census) -> bool {
    let minded = |flow: &FlowRecord| {
        let sides = flow.tcp.as_ref().map(|tcp| &tcp.sides);
        sides.is_some_and(|sides| [&sides.client, &sides.server].iter().any(|side| side.bad_checksums > 0 && side.retransmits.needed() > 0))
    };
    problem.flows.iter().filter_map(|id| census.flow(outcome, *id)).any(minded)
}

/// The client may simply have asked for the wrong thing.
fn is_about_the_question(cause: &str) -> bool {
    let of_names = ["l7.dns-nxdomain", "l7.dns-no-address", "l7.dns-ttl-zero"].contains(&cause);
    of_names || cause == "l7.http-header-too-large" || causes::refuses_the_request(cause)
}

fn names_a_missing_name(cause: &str) -> bool {
    matches!(cause, "l7.dns-nxdomain" | "l7.dns-no-address")
}

/// Each client that was told so soon had an answer from somewhere else: it tried the names of its search list, or did not need this one.
fn every_client_went_on(problem: &Problem, outcome: &Outcome, census: &Census) -> bool {
    let asked: Vec<&FlowRecord> = problem.flows.iter().filter_map(|id| census.flow(outcome, *id)).collect();
    !asked.is_empty() && asked.iter().all(|asked| went_on(asked, outcome))
}

fn went_on(asked: &FlowRecord, outcome: &Outcome) -> bool {
    let soon = |at: Stamp| at >= asked.first && at.since(asked.first) <= WENT_ON_NS;
    let others = outcome.flows.iter().filter(|flow| flow.id != asked.id && flow.client.ip() == asked.client.ip() && soon(flow.first));
    others.into_iter().any(|flow| flow.packets.server > 0 && flow.exchanges.failing == 0 && flow.app != Some("mdns"))
}
