//! Questions of DNS that are several flows, written by hand: each test is a short story between a client and its resolvers, and what is to be told of it.

use crate::common;
use faultmap_capture::analysis::Outcome;
use faultmap_capture::finding::Weight;
use faultmap_capture::verdict::judge;
use faultmap_wire::{Ipv4, Tcp, TcpFlags, Udp, proto};
use std::net::Ipv4Addr;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 53);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 54);
const TRUNCATED: u16 = 0x8380;
const MISSING: u16 = 0x8183;
const GIVEN: u16 = 0x8180;

struct Wire {
    wire: common::Wire,
    resolver: Ipv4Addr,
}

impl Wire {
    fn new() -> Self {
        Self { wire: common::Wire::new(), resolver: RESOLVER }
    }

    fn ip(&self, from: Ipv4Addr, to: Ipv4Addr, protocol: u8) -> Ipv4<'static> {
        Ipv4 { id: self.wire.next_id(), ..Ipv4::new(from, to, protocol) }
    }

    fn message(id: u16, name: &str, flags: u16, address: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            [id, flags, 1, u16::from(address.is_some()), 0, 0].iter().flat_map(|number| number.to_be_bytes()).collect();
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, 1, 0, 1]);
        if let Some(address) = address {
            bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4]);
            bytes.extend(address);
        }
        bytes
    }

    /// A question from a port, under the port as its id.
    fn ask(&mut self, ms: u64, port: u16, name: &str) {
        self.ask_as(port, ms, port, name);
    }

    fn ask_as(&mut self, id: u16, ms: u64, port: u16, name: &str) {
        let datagram = Udp::new(port, 53).emit(CLIENT.into(), self.resolver.into(), &Self::message(id, name, 0x0100, None));
        let bytes = self.ip(CLIENT, self.resolver, proto::UDP).emit(&datagram);
        self.wire.ip(ms as f64, &bytes);
    }

    fn say(&mut self, ms: u64, port: u16, name: &str, flags: u16, address: Option<[u8; 4]>) {
        let datagram = Udp::new(53, port).emit(self.resolver.into(), CLIENT.into(), &Self::message(port, name, flags, address));
        let bytes = self.ip(self.resolver, CLIENT, proto::UDP).emit(&datagram);
        self.wire.ip(ms as f64, &bytes);
    }

    fn give(&mut self, ms: u64, port: u16, name: &str) {
        self.say(ms, port, name, GIVEN, Some([10, 7, 0, 1]));
    }

    fn segment(&mut self, ms: u64, from_client: bool, flags: TcpFlags, (seq, ack): (u32, u32)) {
        let (from, to, ports) = if from_client { (CLIENT, RESOLVER, (40_000, 53)) } else { (RESOLVER, CLIENT, (53, 40_000)) };
        let bytes = Tcp { seq, ack, ..Tcp::new(ports.0, ports.1, flags) }.emit(from.into(), to.into(), &[]);
        let bytes = self.ip(from, to, proto::TCP).emit(&bytes);
        self.wire.ip(ms as f64, &bytes);
    }

    /// The beginning of a long answer; what follows it never comes.
    fn first_fragment(&mut self, ms: u64, port: u16, name: &str) {
        let mut answer = Self::message(port, name, GIVEN, Some([10, 7, 0, 1]));
        answer.resize(1400, 0);
        let mut datagram = Udp::new(53, port).emit(RESOLVER.into(), CLIENT.into(), &answer);
        datagram.truncate(1400);
        let mut bytes = self.ip(RESOLVER, CLIENT, proto::UDP).emit(&datagram);
        bytes[6] |= 0x20;
        (bytes[10], bytes[11]) = (0, 0);
        let sum = faultmap_wire::checksum::of(&bytes[..20]).to_be_bytes();
        bytes[10..12].copy_from_slice(&sum);
        self.wire.ip(ms as f64, &bytes);
    }

    fn finish(self) -> Outcome {
        self.wire.finish()
    }
}

/// What is told of warnings and faults, and the verdict.
#[track_caller]
fn check(wire: Wire, expect: &[(&str, Option<&str>)], verdict: Option<&str>) -> Outcome {
    let outcome = wire.finish();
    let worth = outcome.findings.iter().filter(|finding| finding.weight >= Weight::Warning);
    let told: Vec<(&str, Option<&str>)> = worth.map(|finding| (finding.rule, finding.cause)).collect();
    assert_eq!(told, expect, "{:#?}", outcome.findings);
    assert_eq!(judge(&outcome).verdict.cause.as_deref(), verdict, "{:#?}", outcome.findings);
    outcome
}

#[test]
fn tries_from_new_ports_are_one_question_that_was_answered_at_the_third() {
    let mut wire = Wire::new();
    for (try_, port) in [40_001, 40_002, 40_003].into_iter().enumerate() {
        wire.ask(try_ as u64 * 2000, port, "shop.test");
    }
    wire.give(4010, 40_003, "shop.test");
    let outcome = check(wire, &[("dns.retry", Some("l7.dns-slow"))], Some("l7.dns-slow"));
    assert_eq!(outcome.findings[0].text, "A shop.test: answered at try 3, after 4.0 s");
    assert_eq!(outcome.flows.iter().map(|flow| flow.exchanges.count).sum::<u64>(), 1);
}

#[test]
fn tries_from_new_ports_without_an_answer_are_told_once() {
    let mut wire = Wire::new();
    wire.ask(0, 39_999, "www.test");
    wire.give(10, 39_999, "www.test");
    for (try_, port) in [40_001, 40_002, 40_003, 40_004].into_iter().enumerate() {
        wire.ask(100 + try_ as u64 * 3000, port, "shop.test");
    }
    let outcome = check(wire, &[("dns.timeout", Some("l7.dns-timeout"))], Some("l7.dns-timeout"));
    assert!(outcome.findings[0].text.starts_with("A shop.test: no answer to 4 tries in 9.0 s"), "{}", outcome.findings[0].text);
}

#[test]
fn a_question_that_is_asked_again_under_its_id_from_another_port_had_its_answer_in_vain() {
    let story = |id: u16| {
        let mut wire = Wire::new();
        wire.ask(0, 40_001, "shop.test");
        wire.give(10, 40_001, "shop.test");
        wire.ask_as(id, 1010, 40_002, "shop.test");
        let bytes = Wire::message(id, "shop.test", GIVEN, Some([10, 7, 0, 1]));
        let datagram = Udp::new(53, 40_002).emit(wire.resolver.into(), CLIENT.into(), &bytes);
        let bytes = wire.ip(wire.resolver, CLIENT, proto::UDP).emit(&datagram);
        wire.wire.ip(1020.0, &bytes);
        wire.finish()
    };
    assert!(story(40_001).rules.contains_key("dns.answer-not-taken"));
    // Under another id somebody simply wants to know again.
    assert!(!story(40_002).rules.contains_key("dns.answer-not-taken"));
}

#[test]
fn two_programs_that_ask_the_same_at_once_are_no_tries() {
    let mut wire = Wire::new();
    wire.ask(0, 40_001, "shop.test");
    wire.ask(20, 40_002, "shop.test");
    wire.give(40, 40_002, "shop.test");
    wire.give(41, 40_001, "shop.test");
    check(wire, &[], None);
}

#[test]
fn a_truncated_answer_that_cannot_be_had_over_tcp_is_told_as_such() {
    let story = |truncated: bool| {
        let mut wire = Wire::new();
        wire.ask(0, 40_001, "big.test");
        wire.say(10, 40_001, "big.test", if truncated { TRUNCATED } else { GIVEN }, (!truncated).then_some([10, 7, 0, 1]));
        wire.segment(20, true, TcpFlags::SYN, (7, 0));
        wire.segment(30, false, TcpFlags::RST.with(TcpFlags::ACK), (0, 8));
        wire
    };
    check(story(true), &[("tcp.syn-refused", Some("l4.port-closed"))], Some("l7.dns-tcp-blocked"));
    check(story(false), &[("tcp.syn-refused", Some("l4.port-closed"))], Some("l4.port-closed"));
}

#[test]
fn answers_of_which_the_first_fragment_alone_arrives_name_the_fragments() {
    let mut wire = Wire::new();
    wire.ask(0, 40_001, "big.test");
    wire.first_fragment(10, 40_001, "big.test");
    wire.ask(5000, 40_001, "big.test");
    wire.first_fragment(5010, 40_001, "big.test");
    check(wire, &[("dns.answer-fragments-lost", Some("l3.fragments-dropped"))], Some("l3.fragments-dropped"));
    // Who captures by port has the first fragment only; the client has them all, and does not ask again.
    let mut wire = Wire::new();
    wire.ask(0, 40_001, "big.test");
    wire.first_fragment(10, 40_001, "big.test");
    wire.ask(9000, 40_002, "www.test");
    wire.give(9010, 40_002, "www.test");
    check(wire, &[], None);
}

#[test]
fn a_large_answer_that_never_comes_where_small_ones_do_points_to_fragments() {
    let mut wire = Wire::new();
    wire.ask(0, 40_001, "big.test");
    wire.say(10, 40_001, "big.test", TRUNCATED, None);
    wire.ask(100, 40_002, "big.test");
    wire.ask(1100, 40_002, "big.test");
    check(wire, &[("dns.large-answer-lost", None)], Some("l3.fragments-dropped"));
}

#[test]
fn a_search_list_is_a_waste_where_it_costs_time() {
    let story = |each: u64| {
        let mut wire = Wire::new();
        for (number, name) in ["shop.test.a.cluster.test", "shop.test.cluster.test", "shop.test.corp.test"].into_iter().enumerate() {
            let (ms, port) = (number as u64 * each, 40_001 + number as u16);
            wire.ask(ms, port, name);
            wire.say(ms + each - 1, port, name, MISSING, None);
        }
        wire.ask(3 * each, 40_009, "shop.test");
        wire.give(4 * each, 40_009, "shop.test");
        wire
    };
    let outcome = story(200).finish();
    let found = outcome.findings.iter().find(|finding| finding.rule == "dns.search-waste");
    assert_eq!(
        found.map(|found| found.text.as_str()),
        Some("shop.test: 3 names of the search list were asked for before it, which took 600 ms")
    );
    assert!(!story(80).finish().rules.contains_key("dns.search-waste"));
}

#[test]
fn resolvers_that_contradict_each_other_are_a_remark() {
    let mut wire = Wire::new();
    wire.ask(0, 40_001, "shop.test");
    wire.resolver = OTHER;
    wire.ask(1, 40_002, "shop.test");
    wire.resolver = RESOLVER;
    wire.say(10, 40_001, "shop.test", MISSING, None);
    wire.resolver = OTHER;
    wire.give(12, 40_002, "shop.test");
    let outcome = wire.finish();
    assert!(outcome.rules.contains_key("dns.resolvers-disagree"), "{:#?}", outcome.findings);
    assert_eq!(judge(&outcome).verdict.cause, None);
}

#[test]
fn names_without_a_dot_that_share_a_public_address_do_not_exist() {
    let story = |one: [u8; 4], two: [u8; 4]| {
        let mut wire = Wire::new();
        for (number, (name, address)) in [("qkjxhwerty", one), ("plmoknijb", two)].into_iter().enumerate() {
            let (ms, port) = (number as u64 * 10, 40_001 + number as u16);
            wire.ask(ms, port, name);
            wire.say(ms + 5, port, name, GIVEN, Some(address));
        }
        wire
    };
    let rewritten = ("dns.nxdomain-rewritten", Some("l7.dns-disagreement"));
    check(story([198, 105, 244, 11], [198, 105, 244, 11]), &[rewritten], Some("l7.dns-disagreement"));
    check(story([198, 105, 244, 11], [198, 105, 244, 12]), &[], None);
    check(story([10, 7, 0, 1], [10, 7, 0, 1]), &[], None);
}
