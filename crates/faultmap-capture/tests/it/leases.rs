//! Ways to an address by DHCP, written by hand: each test is a short story on a segment, and what is to be told of it.

use crate::common::Wire;
use faultmap_capture::analysis::Outcome;
use faultmap_capture::finding::Weight;
use faultmap_capture::verdict::judge;
use faultmap_wire::{Arp, Ipv4, Ipv6, Mac, Udp, proto};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const ALL: Ipv4Addr = Ipv4Addr::BROADCAST;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const MINE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 1);

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// A segment on which DHCP is spoken; its time is in seconds.
struct Segment {
    wire: Wire,
}

/// What a message has beside its type.
#[derive(Clone, Copy)]
struct Extra<'a> {
    client: u8,
    transaction: u32,
    held: Ipv4Addr,
    relay: Ipv4Addr,
    options: &'a [(u8, &'a [u8])],
}

const PLAIN: Extra<'static> = Extra { client: 1, transaction: 7, held: NOBODY, relay: NOBODY, options: &[] };
const CHOSEN: Extra<'static> = Extra { options: &[(54, &[10, 0, 0, 1]), (50, &[10, 0, 0, 77])], ..PLAIN };

impl Segment {
    fn new() -> Self {
        Self { wire: Wire::new() }
    }

    fn put(&mut self, seconds: f64, bytes: &[u8]) {
        self.wire.ip(seconds * 1000.0, bytes);
    }

    fn message(&mut self, seconds: f64, kind: u8, (from, to): (Ipv4Addr, Ipv4Addr), extra: Extra<'_>) {
        let answers = matches!(kind, OFFER | ACK | NAK);
        let mut bytes = vec![0; 240];
        bytes[0] = if answers { 2 } else { 1 };
        bytes[4..8].copy_from_slice(&extra.transaction.to_be_bytes());
        bytes[12..16].copy_from_slice(&extra.held.octets());
        if matches!(kind, OFFER | ACK) {
            bytes[16..20].copy_from_slice(&MINE.octets());
        }
        bytes[24..28].copy_from_slice(&extra.relay.octets());
        bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, extra.client]);
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        bytes.extend([53, 1, kind]);
        if answers {
            bytes.extend([54, 4]);
            bytes.extend(from.octets());
        }
        for (number, data) in extra.options {
            bytes.extend([*number, data.len() as u8]);
            bytes.extend(*data);
        }
        bytes.push(255);
        let ports = match (answers, extra.relay == NOBODY) {
            (true, true) => (67, 68),
            (false, true) => (68, 67),
            _ => (67, 67),
        };
        let datagram = Udp::new(ports.0, ports.1).emit(from.into(), to.into(), &bytes);
        self.put(seconds, &Ipv4 { id: self.wire.next_id(), ..Ipv4::new(from, to, proto::UDP) }.emit(&datagram));
    }

    fn ask(&mut self, seconds: f64, kind: u8, extra: Extra<'_>) {
        self.message(seconds, kind, (NOBODY, ALL), extra);
    }

    fn say(&mut self, seconds: f64, kind: u8, from: Ipv4Addr, extra: Extra<'_>) {
        self.message(seconds, kind, (from, MINE), extra);
    }

    /// A client that is given its address at once.
    fn lease(&mut self, seconds: f64, client: u8) {
        let extra = Extra { client, ..PLAIN };
        self.ask(seconds, DISCOVER, extra);
        self.say(seconds + 0.01, OFFER, SERVER, extra);
        self.ask(seconds + 0.02, REQUEST, Extra { client, ..CHOSEN });
        self.say(seconds + 0.03, ACK, SERVER, extra);
    }

    fn six(&mut self, seconds: f64, kind: u8, answers: bool, options: &[u8]) {
        let (client, server) = (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
        let (from, to) = if answers { (server, client) } else { (client, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2)) };
        let ports = if answers { (547, 546) } else { (546, 547) };
        let bytes = [&[kind, 1, 2, 3][..], options].concat();
        let datagram = Udp::new(ports.0, ports.1).emit(IpAddr::V6(from), IpAddr::V6(to), &bytes);
        self.put(seconds, &Ipv6::new(from, to, proto::UDP).emit(&datagram));
    }

    fn finish(self) -> Outcome {
        self.wire.finish()
    }
}

/// The story must be told by exactly these rules, weights and causes, and the verdict be this.
#[track_caller]
fn check(segment: Segment, expect: &[(&str, Weight, Option<&str>)], verdict: Option<&str>) {
    let outcome = segment.finish();
    let told: Vec<(&str, Weight, Option<&str>)> =
        outcome.findings.iter().map(|finding| (finding.rule, finding.weight, finding.cause)).collect();
    assert_eq!(told, expect, "{:#?}", outcome.findings);
    let judged = judge(&outcome).verdict;
    assert_eq!(judged.cause.as_deref(), verdict, "{judged:#?}");
}

#[test]
fn a_client_that_is_given_an_address_at_once_is_healthy_and_its_waits_are_told() {
    let mut segment = Segment::new();
    segment.lease(0.0, 1);
    let outcome = segment.finish();
    assert_eq!(outcome.findings, []);
    let exchanges: u64 = outcome.flows.iter().map(|flow| flow.exchanges.count).sum();
    assert_eq!(exchanges, 2);
    assert!(outcome.flows.iter().all(|flow| flow.app == Some("dhcp")));
}

#[test]
fn silence_after_a_single_discover_says_nothing() {
    let mut segment = Segment::new();
    segment.ask(0.0, DISCOVER, PLAIN);
    check(segment, &[], None);
}

#[test]
fn nobody_offers_where_a_client_asks_again_and_again() {
    let mut segment = Segment::new();
    for seconds in [0.0, 4.0, 12.0, 28.0] {
        segment.ask(seconds, DISCOVER, PLAIN);
    }
    check(segment, &[("dhcp.no-offer", Weight::Fault, None)], Some("l7.service-mute"));
}

#[test]
fn a_server_that_serves_others_may_have_no_address_left() {
    let mut segment = Segment::new();
    segment.lease(0.0, 2);
    for seconds in [1.0, 5.0, 13.0] {
        segment.ask(seconds, DISCOVER, PLAIN);
    }
    let outcome = segment.finish();
    let text = &outcome.findings[0].text;
    assert!(text.contains("10.0.0.1 gave addresses to others (1): its pool may be used up"), "{text}");
}

#[test]
fn the_copy_of_a_relay_is_no_further_try_and_names_the_server_that_is_silent() {
    let mut segment = Segment::new();
    for seconds in [0.0, 4.0, 12.0] {
        segment.ask(seconds, DISCOVER, PLAIN);
        segment.message(seconds + 0.001, DISCOVER, (RELAY, SERVER), Extra { relay: RELAY, ..PLAIN });
    }
    let outcome = segment.finish();
    let text = &outcome.findings[0].text;
    assert!(text.contains("3 DISCOVER in 12.0 s") && text.contains("the relay 10.5.0.1 passed them on to 10.0.0.1"), "{text}");
}

#[test]
fn an_offer_that_is_followed_by_further_discovers_does_not_reach_its_client() {
    let mut segment = Segment::new();
    for seconds in [0.0, 4.0, 12.0, 28.0] {
        segment.ask(seconds, DISCOVER, PLAIN);
        segment.say(seconds + 0.01, OFFER, SERVER, PLAIN);
    }
    check(segment, &[("dhcp.offer-not-taken", Weight::Fault, None)], Some("l4.udp-filtered"));
}

#[test]
fn a_server_that_offers_and_does_not_give_is_named() {
    let mut segment = Segment::new();
    segment.ask(0.0, DISCOVER, PLAIN);
    segment.say(0.01, OFFER, SERVER, PLAIN);
    for seconds in [0.02, 4.0, 12.0] {
        segment.ask(seconds, REQUEST, CHOSEN);
    }
    let outcome = segment.finish();
    assert!(outcome.findings[0].text.contains("to 10.0.0.1, whose offer it took, got no answer"), "{:?}", outcome.findings);
    assert_eq!(judge(&outcome).groups[0].party, "10.0.0.1:67");
}

#[test]
fn a_refusal_after_a_move_is_nothing_and_refusals_without_end_are_a_fault() {
    let mut moved = Segment::new();
    moved.ask(0.0, REQUEST, Extra { options: &[(50, &[192, 168, 1, 5])], ..PLAIN });
    moved.say(0.01, NAK, SERVER, PLAIN);
    moved.lease(0.1, 1);
    check(moved, &[("dhcp.refused", Weight::Note, Some("l7.service-error"))], None);
    let mut refused = Segment::new();
    for seconds in [0.0, 10.0, 20.0] {
        let transaction = seconds as u32;
        refused.ask(seconds, DISCOVER, Extra { transaction, ..PLAIN });
        refused.say(seconds + 0.01, OFFER, SERVER, Extra { transaction, ..PLAIN });
        refused.ask(seconds + 0.02, REQUEST, Extra { transaction, ..CHOSEN });
        refused.say(seconds + 0.03, NAK, OTHER, Extra { transaction, options: &[(56, b"wrong network")], ..PLAIN });
    }
    let outcome = refused.finish();
    let text = &outcome.findings[0].text;
    assert!(text.contains("3 times by 10.0.0.2: wrong network; it had asked 10.0.0.1"), "{text}");
    assert_eq!(judge(&outcome).verdict.cause.as_deref(), Some("l7.service-error"));
}

#[test]
fn a_declined_address_is_somebody_elses() {
    let mut segment = Segment::new();
    segment.lease(0.0, 1);
    segment.ask(0.5, DECLINE, CHOSEN);
    segment.lease(10.0, 1);
    check(segment, &[("dhcp.decline", Weight::Warning, Some("l2.duplicate-address"))], Some("l2.duplicate-address"));
}

#[test]
fn two_servers_that_name_one_way_out_agree_and_two_ways_out_do_not() {
    let offers = |router: &[u8]| {
        let mut segment = Segment::new();
        segment.ask(0.0, DISCOVER, PLAIN);
        segment.say(0.01, OFFER, SERVER, Extra { options: &[(1, &[255, 255, 255, 0]), (3, &[10, 0, 0, 1])], ..PLAIN });
        segment.say(0.02, OFFER, OTHER, Extra { options: &[(1, &[255, 255, 255, 0]), (3, router)], ..PLAIN });
        segment.ask(0.03, REQUEST, CHOSEN);
        segment.say(0.04, ACK, SERVER, PLAIN);
        segment
    };
    check(offers(&[10, 0, 0, 1]), &[], None);
    check(offers(&[10, 0, 0, 2]), &[("dhcp.servers-disagree", Weight::Warning, Some("l7.service-error"))], Some("l7.service-error"));
}

#[test]
fn renewals_that_only_a_broadcast_gets_answered_tell_of_their_server() {
    let mut segment = Segment::new();
    let held = Extra { held: MINE, ..PLAIN };
    for seconds in [0.0, 30.0, 60.0] {
        segment.message(seconds, REQUEST, (MINE, SERVER), held);
    }
    segment.message(90.0, REQUEST, (MINE, ALL), held);
    segment.say(90.01, ACK, OTHER, PLAIN);
    check(segment, &[("dhcp.renewal-unanswered", Weight::Warning, Some("l7.service-mute"))], Some("l7.service-mute"));
    let mut healthy = Segment::new();
    healthy.message(0.0, REQUEST, (MINE, SERVER), held);
    healthy.say(0.01, ACK, SERVER, PLAIN);
    check(healthy, &[], None);
}

#[test]
fn ipv6_servers_say_that_they_have_no_address_and_silence_counts_where_a_router_promised_some() {
    let none = [&[0, 3, 0, 18][..], &[0; 12], &[0, 13, 0, 2, 0, 2]].concat();
    let mut refused = Segment::new();
    for seconds in [0.0, 1.0, 3.0] {
        refused.six(seconds, 1, false, &[]);
        refused.six(seconds + 0.01, 2, true, &none);
    }
    check(refused, &[("dhcp.refused", Weight::Fault, Some("l7.service-error"))], Some("l7.service-error"));
    let silent = |managed: u8| {
        let mut segment = Segment::new();
        let (router, all): (Ipv6Addr, Ipv6Addr) = ("fe80::1".parse().unwrap(), "ff02::1".parse().unwrap());
        let mut advertisement = vec![134, 0, 0, 0, 64, managed, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        let sum = faultmap_wire::checksum::of_transport(router.into(), all.into(), proto::ICMPV6, &advertisement);
        advertisement[2..4].copy_from_slice(&sum.to_be_bytes());
        segment.put(0.0, &Ipv6 { hop_limit: 255, ..Ipv6::new(router, all, proto::ICMPV6) }.emit(&advertisement));
        for seconds in [0.1, 1.0, 3.0, 7.0] {
            segment.six(seconds, 1, false, &[]);
        }
        segment
    };
    check(silent(0), &[("dhcp.no-offer", Weight::Note, None)], None);
    check(silent(0x80), &[("dhcp.no-offer", Weight::Fault, None)], Some("l7.service-mute"));
}

#[test]
fn an_address_that_is_offered_and_not_taken_yet_is_nobodys_silence() {
    let story = |offered: bool| {
        let mut segment = Segment::new();
        segment.ask(0.0, DISCOVER, PLAIN);
        for seconds in [0.1, 1.1, 2.1] {
            let ask = Arp { target_ip: MINE, ..Arp::announcement(Mac([2, 0, 0, 0, 0, 9]), SERVER) };
            segment.wire.arp(seconds * 1000.0, &ask);
        }
        if offered {
            segment.say(3.0, OFFER, SERVER, PLAIN);
        }
        segment
    };
    check(story(true), &[("arp.unanswered", Weight::Note, None)], None);
    check(story(false), &[("arp.unanswered", Weight::Fault, Some("l2.neighbor-unresolved"))], Some("l2.neighbor-unresolved"));
}
