//! Which finding is the cause and which are its consequences, and which comes first.

use super::{Finding, Severity};
use crate::host::readings::l5_to_l7::called;
use crate::host::window::Window;
use std::cmp::Reverse;

/// What explains what: the first of each pair, wherever both are found, makes the second a consequence.
const EXPLAINS: [(&str, &[&str]); 11] = [
    ("l1.interface-down", &["l2.gateway-unresolved", "l2.neighbor-unresolved", "l3.no-route", "l4.retransmissions"]),
    ("l1.no-carrier", &["l1.queue-drops", "l2.gateway-unresolved", "l2.neighbor-unresolved", "l3.no-route", "l4.retransmissions"]),
    ("l1.link-flapping", &["l1.queue-drops", "l2.gateway-unresolved", "l2.neighbor-unresolved", "l3.no-route", "l4.retransmissions"]),
    ("l1.bit-errors", &["l4.retransmissions"]),
    ("l1.half-duplex", &["l1.bit-errors", "l1.queue-drops", "l4.retransmissions"]),
    ("l1.link-saturated", &["l1.queue-drops", "l4.retransmissions"]),
    ("l1.queue-drops", &["l4.retransmissions"]),
    ("l2.neighbor-table-full", &["l2.gateway-unresolved", "l2.neighbor-unresolved", "l4.retransmissions"]),
    ("l2.gateway-unresolved", &["l4.retransmissions"]),
    ("l4.conntrack-full", &["l4.retransmissions", "l4.snat-ports-exhausted"]),
    ("l4.accept-queue-full", &["l4.syn-backlog-full", "l7.service-slow"]),
];

/// Worst first; consequences behind their causes.
pub(super) fn ranked(window: &Window<'_>, mut found: Vec<Finding>) -> Vec<Finding> {
    let causes: Vec<(String, Severity)> = found.iter().map(|finding| (finding.cause.clone(), finding.severity)).collect();
    for finding in &mut found {
        let follows = EXPLAINS.iter().find(|(cause, follow)| {
            // A mere risk explains no loss.
            follow.contains(&finding.cause.as_str()) && causes.iter().any(|(id, severity)| id == cause && *severity >= finding.severity)
        });
        finding.follows = follows.map(|(cause, _)| (*cause).to_owned());
    }
    unsent_follow(&mut found);
    descriptors_explain(window, &mut found);
    stopped_explains(window, &mut found);
    found.sort_by(|one, other| {
        let rank = |finding: &Finding| (finding.follows.is_some(), Reverse(finding.severity), Reverse(finding.loss), finding.layer);
        let full = |finding: &Finding| finding.percent.unwrap_or(0.0);
        rank(one).cmp(&rank(other)).then(full(other).total_cmp(&full(one))).then_with(|| one.object.cmp(&other.object))
    });
    found
}

/// Datagrams that could not be sent, where what is below could not take them.
fn unsent_follow(found: &mut [Finding]) {
    let below = ["l1.link-saturated", "l1.queue-drops", "l2.neighbor-table-full", "l1.no-carrier"];
    let lost = found.iter().find(|finding| below.contains(&finding.cause.as_str()) && finding.loss);
    let Some(cause) = lost.map(|finding| finding.cause.clone()) else { return };
    let unsent = |finding: &&mut Finding| finding.evidence.iter().any(|reading| reading == "udp.send-buffer-errors");
    found.iter_mut().filter(unsent).for_each(|finding| finding.follows = Some(cause.clone()));
}

/// A program without a free descriptor cannot accept; a host without one, no program.
fn descriptors_explain(window: &Window<'_>, found: &mut [Finding]) {
    let out = found.iter().filter(|finding| finding.cause == "l4.fd-exhausted" && finding.severity == Severity::Crit);
    let short: Vec<String> = out.map(|finding| finding.object.clone()).collect();
    let holders = window.after.processes.iter().filter(|process| short.contains(&called(process)));
    let bound: Vec<String> = holders.flat_map(|process| process.listens.iter().map(ToString::to_string)).collect();
    for finding in found.iter_mut().filter(|finding| finding.cause == "l4.accept-queue-full") {
        if short.iter().any(String::is_empty) || bound.contains(&finding.object) {
            finding.follows = Some("l4.fd-exhausted".to_owned());
        }
    }
}

/// A stopped program makes the queues of its own listeners full, and of nobody else's.
fn stopped_explains(window: &Window<'_>, found: &mut [Finding]) {
    let mute: Vec<String> =
        found.iter().filter(|finding| finding.cause == "l7.service-mute").map(|finding| finding.object.clone()).collect();
    let holders = window.after.processes.iter().filter(|process| mute.contains(&called(process)));
    let bound: Vec<String> = holders.flat_map(|process| process.listens.iter().map(ToString::to_string)).collect();
    if bound.is_empty() {
        return;
    }
    let full: Vec<&Finding> = found.iter().filter(|finding| finding.cause == "l4.accept-queue-full").collect();
    let all_theirs = full.iter().all(|finding| bound.contains(&finding.object));
    for finding in found {
        let theirs = bound.contains(&finding.object) && ["l4.accept-queue-full", "l4.udp-buffer-full"].contains(&finding.cause.as_str());
        // Half-open connections pile up behind a full accept queue.
        let behind = all_theirs && finding.cause == "l4.syn-backlog-full";
        if theirs || behind {
            finding.follows = Some("l7.service-mute".to_owned());
        }
    }
}
