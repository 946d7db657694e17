//! What several connections show whose conversations are known: HTTP/2 that is promised and not spoken, and connections that somebody forgot.

use super::super::*;
use super::{asked, check, finding, flow, noted, outcome, service};
use crate::finding::Weight;
use crate::flow::record::{Reset, Seen, State};
use crate::flow::{FlowRecord, Side};

const SHOP: &str = "10.2.0.10:443";

/// A connection whose TLS was opened: the handshake and one question.
fn opened(id: u64, app: &'static str, failing: u64) -> FlowRecord {
    let mut flow = asked(flow(id, SHOP, State::Sf), 2, failing);
    (flow.app, flow.decrypted, flow.hello_bytes) = (Some(app), true, Some(300));
    if failing > 0 { noted(flow, "h2.unanswered", Weight::Warning) } else { flow }
}

#[test]
fn http2_that_is_never_answered_beside_http1_that_is_was_a_wrong_promise() {
    let mute = |id| finding("h2.unanswered", Weight::Warning, "l7.service-mute", id, service(SHOP));
    let newer = || vec![opened(1, "h2", 1), opened(2, "h2", 1)];
    let with = |other: FlowRecord| outcome(newer().into_iter().chain([other]).collect(), vec![mute(1), mute(2)]);
    check(&with(opened(3, "http", 0)), Status::Fault, Some("l6.alpn-mismatch"), 1);
    // One question over HTTP/2 was answered; HTTP/1.1 fares no better; nobody tried it.
    check(&with(opened(3, "h2", 0)), Status::Degraded, Some("l7.service-mute"), 1);
    check(&with(opened(3, "http", 1)), Status::Degraded, Some("l7.service-mute"), 1);
    check(&outcome(newer(), vec![mute(1), mute(2)]), Status::Degraded, Some("l7.service-mute"), 1);
}

fn reset(id: u64, idle_ms: f64) -> (FlowRecord, Finding) {
    let mut flow = noted(asked(flow(id, SHOP, State::Rstr), 3, 1), "h2.closed-without-answer", Weight::Warning);
    let tcp = flow.tcp.get_or_insert_default();
    tcp.reset = Some(Reset { by: Side::Server, seen: Seen { packet: 9, at_ns: 9 }, ttl: 60, usual_ttl: Some(60), in_window: true });
    tcp.longest_idle_ms = idle_ms;
    (flow, finding("h2.closed-without-answer", Weight::Warning, "l5.keepalive-race", id, service(SHOP)))
}

#[test]
fn connections_that_are_all_reset_after_a_pause_are_hardly_a_race() {
    let of = |count: u64, idle_ms: f64| {
        let (flows, findings) = (1..=count).map(|id| reset(id, idle_ms)).unzip();
        outcome(flows, findings)
    };
    let judged = check(&of(3, 1500.0), Status::Inconclusive, Some("l4.nat-idle-timeout"), 1);
    assert!(judged.verdict.candidates.iter().any(|candidate| candidate.cause == "l5.keepalive-race"));
    check(&of(2, 1500.0), Status::Degraded, Some("l5.keepalive-race"), 1);
    check(&of(3, 100.0), Status::Degraded, Some("l5.keepalive-race"), 1);
}
