//! What several connections show whose conversations are known: HTTP/2 that is promised and not spoken.

use super::super::*;
use super::{asked, check, finding, flow, noted, outcome, service};
use crate::finding::Weight;
use crate::flow::FlowRecord;
use crate::flow::record::State;

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
