//! Sessions that a server's side cut without a word of goodbye, several of them after the same time: after the same silence, or at the same age. One alone may have
//! any reason. It says nothing of connections that may be closed at any time, as those of HTTP between two requests.

use super::problem::Problem;
use crate::analysis::Outcome;
use crate::app::{CUT_OFF, CUT_SHORT, text};
use crate::finding::{Finding, Party, Weight};
use crate::flow::{FlowRecord, Protocol};
use faultmap_model::causes;
use faultmap_model::verdict::NextStep;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// So many cuts after one time are no chance.
const ENOUGH: usize = 3;
/// Times of one clock that runs out: this far apart at most, in milliseconds and as a share.
const APART_MS: f64 = 100.0;
const APART: f64 = 0.05;
/// Shorter ones are no time that somebody set, in milliseconds.
const SET_MS: f64 = 1000.0;
/// Another session that lasted so many times as long was not cut then.
const LONGER: f64 = 1.2;
/// Who spoke in the first part of a session's life, and in the last, spoke through it.
const PART: f64 = 0.25;
const IDLE: &str = "l5.idle-close";
const AGE: &str = "l5.hard-timeout";

/// A session that was cut.
struct Cut<'a> {
    finding: &'a Finding,
    flow: &'a FlowRecord,
    silence_ms: f64,
    age_ms: f64,
    /// Its age when the server began to say what was cut.
    begun_ms: f64,
}

/// Services whose sessions were cut.
pub(super) fn all(outcome: &Outcome) -> Vec<Problem> {
    let mut services: BTreeMap<SocketAddr, Vec<Cut<'_>>> = BTreeMap::new();
    for finding in outcome.findings.iter().filter(|finding| matches!(finding.rule, CUT_OFF | CUT_SHORT)) {
        if let Some(cut) = Cut::of(finding, outcome) {
            services.entry(cut.flow.server).or_default().push(cut);
        }
    }
    services.iter().filter(|(_, cuts)| cuts.len() >= ENOUGH).filter_map(|(server, cuts)| of_service(*server, cuts, outcome)).collect()
}

impl<'a> Cut<'a> {
    fn of(finding: &'a Finding, outcome: &'a Outcome) -> Option<Self> {
        let id = finding.flow?;
        let flow = outcome.flows.binary_search_by_key(&id, |flow| flow.id).ok().and_then(|at| outcome.flows.get(at))?;
        let tcp = flow.tcp.as_ref().filter(|tcp| tcp.handshake.syn.is_some())?;
        let end = tcp.sides.server.fin.map(|fin| fin.at()).or(tcp.reset.map(|reset| reset.seen.at()))?;
        // The client's own reasons are no clock of the server.
        let by_server = matches!(finding.blames, Some(Party::Service(_)));
        let (silence_ms, age_ms, begun_ms) = (finding.value?, end.ms_since(flow.first), finding.first.ms_since(flow.first));
        by_server.then_some(Self { finding, flow, silence_ms, age_ms, begun_ms })
    }
}

/// The least and the most, if they are one time that somebody set.
fn one_time(times: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (least, most) = times.fold((f64::MAX, 0.0_f64), |(least, most), time| (least.min(time), most.max(time)));
    (least >= SET_MS && most - least <= APART_MS.max(least * APART)).then_some((least, most))
}

fn of_service(server: SocketAddr, cuts: &[Cut<'_>], outcome: &Outcome) -> Option<Problem> {
    let others = || outcome.flows.iter().filter(|flow| flow.protocol == Protocol::Tcp && flow.server == server);
    let outlived = |limit: f64, time: &dyn Fn(&FlowRecord) -> f64| others().any(|flow| time(flow) > limit * LONGER);
    let idle = |flow: &FlowRecord| flow.tcp.as_ref().map_or(0.0, |tcp| tcp.longest_idle_ms);
    let age = |flow: &FlowRecord| flow.last.ms_since(flow.first);
    let silence = one_time(cuts.iter().map(|cut| cut.silence_ms)).filter(|(_, most)| !outlived(*most, &idle));
    // Who began late, or had long been silent, was not stopped by a clock while he spoke.
    let spoke = cuts.iter().all(|cut| cut.silence_ms < cut.age_ms * PART && cut.begun_ms < cut.age_ms * PART);
    let whole = one_time(cuts.iter().map(|cut| cut.age_ms)).filter(|(_, most)| !outlived(*most, &age));
    match (silence, whole) {
        (Some(silence), None) => told(IDLE, silence, cuts),
        (None, Some(whole)) if spoke => told(AGE, whole, cuts),
        (Some(silence), Some(whole)) => told(IDLE, silence, cuts).map(|problem| either(problem, whole, cuts)),
        _ => None,
    }
}

/// All lived alike: that a silence came to its end is the more usual, and not proven.
fn either(mut problem: Problem, age: (f64, f64), cuts: &[Cut<'_>]) -> Problem {
    let Some(server) = cuts.first().map(|cut| cut.flow.server) else { return problem };
    problem.text.push_str(&format!(", and at an age of {}: a limit of silence, or one of age", span(age)));
    (problem.proven, problem.confidence) = (false, 0.6);
    problem.decides = vec![NextStep {
        run: format!("faultmap check ws://{server} --idle {:.0}s", (age.1 / 1e3).ceil() + 1.0),
        on: "the client".to_owned(),
        why: "a session that is kept busy outlives a limit of silence, and not one of age".to_owned(),
    }];
    problem
}

/// `4.0 s`, `4.4 s to 4.5 s`
fn span((least, most): (f64, f64)) -> String {
    let (least, most) = (text::time(least), text::time(most));
    if least == most { most } else { format!("{least} to {most}") }
}

fn told(cause: &'static str, time: (f64, f64), cuts: &[Cut<'_>]) -> Option<Problem> {
    let first = cuts.first()?;
    let mut problem = Problem::of(first.finding, causes::find(cause)?, Party::Service(first.flow.server));
    cuts.iter().for_each(|cut| problem.add(cut.finding));
    let after = if cause == IDLE { "of silence" } else { "of age" };
    problem.text = format!("{} sessions were cut without a word of goodbye, each after {} {after}", cuts.len(), span(time));
    let in_answers = cuts.iter().any(|cut| cut.finding.rule == CUT_SHORT);
    problem.weight = if in_answers { Weight::Fault } else { Weight::Warning };
    (problem.proven, problem.confidence, problem.weighed) = (true, 0.9, true);
    Some(problem)
}
