//! Echo requests and replies, written by hand: what a share of them without a reply says, and what it does not.

use crate::common::Wire;
use faultmap_capture::analysis::Outcome;
use faultmap_capture::finding::Weight;
use faultmap_capture::verdict::judge;
use faultmap_wire::{Ipv4, checksum, icmp, proto};
use std::net::Ipv4Addr;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

fn echo(kind: u8, sequence: u16) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 7];
    message.extend(sequence.to_be_bytes());
    message.extend([b'.'; 24]);
    let sum = checksum::of(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let (from, to) = if kind == icmp::ECHO_REQUEST { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    Ipv4 { id: sequence + 1, ..Ipv4::new(from, to, proto::ICMP) }.emit(&message)
}

/// Pings each `pause` milliseconds, answered after 19 ms unless lost, or at once in a flood.
fn pings(count: u16, pause: f64, lost: impl Fn(u16) -> bool) -> Outcome {
    let mut wire = Wire::new();
    for sequence in 0..count {
        let ms = f64::from(sequence) * pause;
        wire.ip(ms, &echo(icmp::ECHO_REQUEST, sequence));
        if !lost(sequence) {
            wire.ip(ms + pause.min(20.0) - 1.0, &echo(icmp::ECHO_REPLY, sequence));
        }
    }
    wire.finish()
}

#[track_caller]
fn check(outcome: &Outcome, expect: &[(&str, Weight)], verdict: Option<&str>) {
    let told: Vec<(&str, Weight)> = outcome.findings.iter().map(|finding| (finding.rule, finding.weight)).collect();
    assert_eq!(told, expect, "{:#?}", outcome.findings);
    assert_eq!(judge(outcome).verdict.cause.as_deref(), verdict);
}

#[test]
fn a_share_of_slow_pings_without_a_reply_is_likely_loss_and_round_trips_are_told() {
    let outcome = pings(30, 1000.0, |number| number % 5 == 2);
    check(&outcome, &[("icmp.echo-lost", Weight::Warning)], Some("l3.packet-loss"));
    let text = &outcome.findings[0].text;
    assert!(text.contains("5 of 29") && text.contains("19.0/19.0/19.0 ms"), "{text}");
    assert!(judge(&outcome).verdict.confidence < 0.7);
}

#[test]
fn answered_pings_are_exchanges_and_no_finding() {
    let outcome = pings(20, 1000.0, |_| false);
    check(&outcome, &[], None);
    assert_eq!((outcome.flows[0].exchanges.count, outcome.flows[0].exchanges.worst_wait_ms), (20, Some(19.0)));
}

#[test]
fn an_outage_is_a_note_and_silence_and_a_flood_prove_nothing() {
    check(&pings(30, 1000.0, |number| (10..15).contains(&number)), &[("icmp.echo-lost", Weight::Note)], None);
    check(&pings(30, 1000.0, |_| true), &[("icmp.echo-unanswered", Weight::Note)], None);
    check(&pings(300, 5.0, |number| number % 3 == 0), &[], None);
}
