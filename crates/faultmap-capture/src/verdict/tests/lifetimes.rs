//! Sessions that are cut after the same time, and those that only look so.

use super::*;
use crate::app::{CUT_OFF, CUT_SHORT};
use crate::flow::record::Seen;

/// A session that the server ended at this age, after this silence, in milliseconds.
fn cut(id: u64, rule: &'static str, age_ms: i64, silence_ms: f64) -> (FlowRecord, Finding) {
    let mut flow = lived(id, age_ms, silence_ms);
    let end = Seen { packet: id + 10, at_ns: flow.last.0 };
    flow.tcp.as_mut().expect("tcp").sides.server.fin = Some(end);
    let mut finding = finding(rule, Weight::Note, "l5.idle-close", id, service(SERVER));
    (finding.cause, finding.value) = (None, Some(silence_ms));
    (flow, finding)
}

fn lived(id: u64, age_ms: i64, idle_ms: f64) -> FlowRecord {
    let mut flow = flow(id, SERVER, State::Sf);
    flow.last = Stamp(flow.first.0 + age_ms * 1_000_000);
    let tcp = flow.tcp.as_mut().expect("tcp");
    tcp.handshake.syn = Some(Seen { packet: id, at_ns: flow.first.0 });
    tcp.longest_idle_ms = idle_ms;
    asked(flow, 1, 0)
}

#[track_caller]
fn told(cuts: Vec<(FlowRecord, Finding)>, others: Vec<FlowRecord>, status: Status, cause: Option<&str>) -> Judgement {
    let (mut flows, findings): (Vec<_>, Vec<_>) = cuts.into_iter().unzip();
    flows.extend(others);
    flows.sort_by_key(|flow| flow.id);
    check(&outcome(flows, findings), status, cause, usize::from(cause.is_some()))
}

#[test]
fn sessions_cut_after_one_silence_at_any_age_are_closed_for_being_idle() {
    let cuts = |silences: [f64; 3]| {
        [9000, 14_000, 31_000].into_iter().zip(silences).zip(1..).map(|((age, silence), id)| cut(id, CUT_OFF, age, silence)).collect()
    };
    let judged = told(cuts([4000.0, 4010.0, 4004.0]), Vec::new(), Status::Degraded, Some("l5.idle-close"));
    assert!(judged.verdict.summary.contains("4.0 s of silence"), "{}", judged.verdict.summary);
    // Each after another silence: each may have its own reason.
    told(cuts([4000.0, 6010.0, 8004.0]), Vec::new(), Status::Healthy, None);
    // One that was silent for longer lives.
    told(cuts([4000.0, 4010.0, 4004.0]), vec![lived(9, 20_000, 7000.0)], Status::Healthy, None);
    // A page of a session is over when it is; nobody sets so short a time.
    told(cuts([40.0, 41.0, 40.5]), Vec::new(), Status::Healthy, None);
}

#[test]
fn sessions_cut_at_one_age_while_they_speak_have_a_hard_limit() {
    let cuts = |ages: [i64; 3]| ages.into_iter().zip(1..).map(|(age, id)| cut(id, CUT_SHORT, age, 100.0 * id as f64)).collect();
    told(cuts([8000, 8020, 8050]), Vec::new(), Status::Fault, Some("l5.hard-timeout"));
    told(cuts([8000, 8020, 8050]), vec![lived(9, 20_000, 50.0)], Status::Healthy, None);
    told(cuts([8000, 9000, 12_000]), Vec::new(), Status::Healthy, None);
    // A server that takes its time, and then sends half a page, has another trouble.
    let late = |(flow, mut finding): (FlowRecord, Finding)| {
        finding.first = Stamp(flow.last.0 - 100_000_000);
        (flow, finding)
    };
    told((1..4).map(|id| late(cut(id, CUT_SHORT, 2000, 10.0))).collect(), Vec::new(), Status::Healthy, None);
}

#[test]
fn sessions_that_lived_alike_leave_open_which_clock_ran_out() {
    let cuts = (1..4).map(|id| cut(id, CUT_OFF, 4450, 4000.0)).collect();
    let judged = told(cuts, Vec::new(), Status::Degraded, Some("l5.idle-close"));
    assert!(judged.verdict.summary.contains("a limit of silence, or one of age"), "{}", judged.verdict.summary);
}
