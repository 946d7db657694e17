//! Connections that end with their first answer, and when that is worth a word.

use super::*;
use crate::app::CLOSES;

/// A connection that began so late, was answered 300 ms later and closed; a new one costs so much. In milliseconds.
fn ended(id: u64, began_ms: i64, cost_ms: f64) -> (FlowRecord, Finding) {
    let flow = lived(id, began_ms);
    let mut finding = finding(CLOSES, Weight::Note, "l5.no-reuse", id, service(SERVER));
    (finding.cause, finding.value) = (None, Some(cost_ms));
    (finding.first, finding.last) = (flow.first, Stamp(flow.first.0 + 300_000_000));
    (flow, finding)
}

fn lived(id: u64, began_ms: i64) -> FlowRecord {
    let mut flow = asked(flow(id, SERVER, State::Sf), 1, 0);
    (flow.first, flow.app) = (Stamp(began_ms * 1_000_000), Some("http"));
    (flow.last, flow.exchanges.worst_wait_ms) = (Stamp(flow.first.0 + 400_000_000), Some(80.0));
    flow
}

#[track_caller]
fn told(ended: Vec<(FlowRecord, Finding)>, others: Vec<FlowRecord>, expect: Option<&str>) {
    let (mut flows, findings): (Vec<_>, Vec<_>) = ended.into_iter().unzip();
    flows.extend(others);
    flows.sort_by_key(|flow| flow.id);
    let status = if expect.is_some() { Status::Degraded } else { Status::Healthy };
    check(&outcome(flows, findings), status, expect, usize::from(expect.is_some()));
}

#[test]
fn a_client_that_comes_again_and_again_pays_for_each_connection() {
    let every = |pause_ms: i64, cost_ms: f64| (0..4).map(|n| ended(n as u64 + 1, n * pause_ms, cost_ms)).collect::<Vec<_>>();
    told(every(1000, 154.0), vec![], Some("l5.no-reuse"));
    told(every(1000, 30.0), vec![], None);
    told(every(20_000, 154.0), vec![], None);
    // All at once: a connection each is what they need.
    told(every(10, 154.0), vec![], None);
    told(every(1000, 154.0).split_off(1), vec![], None);
    // One that the server kept.
    told(every(1000, 154.0), vec![lived(9, 9000)], None);
}
