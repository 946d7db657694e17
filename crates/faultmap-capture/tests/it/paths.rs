//! What packets made by hand tell of size, of stations that moved, and of answers that their client does not hear: each test is a short story on the wire,
//! and beside it the one that looks like it and is none.

use crate::common::{self, Segment};
use faultmap_capture::finding::Weight;
use faultmap_wire::{Arp, Ethernet, Icmp, Ipv4, Mac, Tcp, TcpFlags, arp, icmp, proto};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

const CLIENT: (Ipv4Addr, Mac) = (Ipv4Addr::new(10, 0, 0, 1), Mac([2, 0, 0, 0, 0, 1]));
const SERVER: (Ipv4Addr, Mac) = (Ipv4Addr::new(10, 0, 0, 2), Mac([2, 0, 0, 0, 0, 2]));
const GONE: Mac = Mac([2, 0, 0, 0, 0, 9]);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;

/// A segment of a connection between client and server; offsets count from the SYN.
#[derive(Clone, Copy)]
struct Said {
    ms: f64,
    client: bool,
    flags: TcpFlags,
    seq: u32,
    ack: u32,
    len: usize,
    sack: Option<(u32, u32)>,
    to: Mac,
}

const fn client(ms: f64, flags: TcpFlags, seq: u32, ack: u32, len: usize) -> Said {
    Said { ms, client: true, flags, seq, ack, len, sack: None, to: SERVER.1 }
}

const fn server(ms: f64, flags: TcpFlags, seq: u32, ack: u32, len: usize) -> Said {
    Said { client: false, to: CLIENT.1, ..client(ms, flags, seq, ack, len) }
}

/// The wire between client and server.
struct Wire {
    wire: common::Wire,
}

impl Wire {
    fn new() -> Self {
        Self { wire: common::Wire::new() }
    }

    fn says(&mut self, said: Said) {
        let (from, to) = if said.client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let (from_port, to_port) = if said.client { (40_000, 80) } else { (80, 40_000) };
        let segment = Segment { sack: said.sack, ..Segment::new(said.flags, (said.seq, said.ack), said.len) };
        let segment = segment.emit(SocketAddrV4::new(from.0, from_port), SocketAddrV4::new(to.0, to_port));
        let id = self.wire.next_id();
        let packet = Ipv4 { ttl: 64, id, dont_fragment: true, ..Ipv4::new(from.0, to.0, proto::TCP) }.emit(&segment);
        self.wire.ethernet(said.ms, &Ethernet::new(said.to, from.1, 0x0800).emit(&packet));
    }

    fn story(&mut self, story: &[Said]) {
        story.iter().for_each(|said| self.says(*said));
    }

    fn opened(&mut self) {
        self.story(&[client(0.0, SYN, 0, 0, 0), server(10.0, SYN.with(ACK), 0, 1, 0), client(10.1, ACK, 1, 1, 0)]);
    }

    fn told(&mut self, ms: f64) {
        let reply = Arp { operation: arp::REPLY, sender_mac: SERVER.1, sender_ip: SERVER.0, target_mac: CLIENT.1, target_ip: CLIENT.0 };
        self.wire.ethernet(ms, &Ethernet::new(CLIENT.1, SERVER.1, 0x0806).emit(&reply.emit()));
    }
}

/// The faults and warnings of the story with these rules must be exactly these.
fn check(wire: Wire, rules: &[&str], expect: &[(&str, Weight, Option<&str>)]) {
    let outcome = wire.wire.finish();
    let of_interest = outcome.findings.iter().filter(|found| rules.contains(&found.rule) && found.weight >= Weight::Warning);
    let told: Vec<_> = of_interest.map(|found| (found.rule, found.weight, found.cause)).collect();
    assert_eq!(told, expect, "{:#?}", outcome.findings);
}

const SIZE: &[&str] = &["ip.pmtu-hole", "ip.pmtu-blackhole"];

/// The client asks, and of the answer the first large segment is missing.
fn answer_with_a_hole(missing: u32, until_ms: f64) -> Wire {
    let mut wire = Wire::new();
    wire.opened();
    let small = server(30.5, ACK, 1 + missing, 101, 200);
    let asks = |ms| Said { sack: Some((1 + missing, 201 + missing)), ..client(ms, ACK, 101, 1, 0) };
    wire.story(&[client(20.0, ACK, 1, 1, 100), server(30.0, ACK, 1, 101, 0), small, asks(30.6), asks(until_ms)]);
    wire
}

#[test]
fn a_hole_of_a_full_segment_that_stands_before_smaller_ones_is_a_matter_of_size() {
    check(answer_with_a_hole(1448, 6000.0), SIZE, &[("ip.pmtu-hole", Weight::Fault, Some("l3.pmtu-blackhole"))]);
    // Not yet: it may be sent again.
    check(answer_with_a_hole(1448, 1000.0), SIZE, &[]);
    // No larger than what came.
    check(answer_with_a_hole(180, 6000.0), SIZE, &[]);
    // It was sent again, and came: loss.
    let mut repaired = answer_with_a_hole(1448, 300.0);
    repaired.story(&[server(310.0, ACK, 1, 101, 1448), client(310.1, ACK, 101, 1649, 0), client(6000.0, ACK, 101, 1649, 10)]);
    check(repaired, SIZE, &[]);
}

/// The client sends a large segment and a small one; the server has the small one.
fn large_and_small(again: &[f64]) -> Wire {
    let mut wire = Wire::new();
    wire.opened();
    wire.story(&[client(20.0, ACK, 1, 1, 1448), client(20.1, ACK, 1449, 1, 300)]);
    wire.says(Said { sack: Some((1449, 1749)), ..server(30.0, ACK, 1, 1, 0) });
    again.iter().for_each(|ms| wire.says(client(*ms, ACK, 1, 1, 1448)));
    wire
}

#[test]
fn a_large_segment_sent_again_and_again_before_a_small_one_that_arrived_is_a_matter_of_size() {
    check(large_and_small(&[250.0, 700.0, 1600.0, 3400.0]), SIZE, &[("ip.pmtu-blackhole", Weight::Fault, Some("l3.pmtu-blackhole"))]);
    let mut arrived = large_and_small(&[250.0, 700.0]);
    arrived.says(server(710.0, ACK, 1, 1749, 0));
    check(arrived, SIZE, &[]);
}

/// A router refuses the large segment; the client sends it again in this size.
fn refused(size: usize) -> Wire {
    let mut wire = large_and_small(&[]);
    let segment = Tcp { seq: 1001, ack: 1001, ..Tcp::new(40_000, 80, ACK) }.emit(IpAddr::V4(CLIENT.0), IpAddr::V4(SERVER.0), b"");
    let quoted = Ipv4 { ttl: 63, ..Ipv4::new(CLIENT.0, SERVER.0, proto::TCP) }.emit(&segment);
    let message = Icmp { rest: [0, 0, 0x05, 0x14], ..Icmp::new(icmp::UNREACHABLE, 4) }.emit(&quoted);
    let packet = Ipv4::new(ROUTER, CLIENT.0, proto::ICMP).emit(&message);
    wire.wire.ethernet(31.0, &Ethernet::new(CLIENT.1, SERVER.1, 0x0800).emit(&packet));
    [1250.0, 2600.0, 5200.0, 10_400.0].iter().for_each(|ms| wire.says(client(*ms, ACK, 1, 1, size)));
    wire
}

#[test]
fn a_router_that_refuses_large_packets_is_no_fault_if_its_complaint_is_heard() {
    check(refused(1448), SIZE, &[("ip.pmtu-blackhole", Weight::Fault, Some("l3.pmtu-blackhole"))]);
    check(refused(1248), SIZE, &[]);
}

#[test]
fn the_fragments_of_a_segment_are_no_bytes_that_the_capture_lost() {
    let mut wire = Wire::new();
    wire.opened();
    let segment = Segment::new(ACK, (1, 1), 2000).emit(SocketAddrV4::new(CLIENT.0, 40_000), SocketAddrV4::new(SERVER.0, 80));
    let (first, rest) = segment.split_at(1480);
    let header = Ipv4 { id: 77, ..Ipv4::new(CLIENT.0, SERVER.0, proto::TCP) };
    let first = Ipv4 { more_fragments: true, ..header }.emit(first);
    let rest = Ipv4 { fragment_offset: 1480, ..header }.emit(rest);
    for packet in [first, rest] {
        wire.wire.ethernet(20.0, &Ethernet::new(SERVER.1, CLIENT.1, 0x0800).emit(&packet));
    }
    wire.story(&[server(30.0, ACK, 1, 2001, 0), client(31.0, ACK, 2001, 1, 100), server(40.0, ACK, 1, 2101, 0)]);
    let outcome = wire.wire.finish();
    assert!(outcome.flows.iter().any(|flow| flow.fragmented > 0), "{:#?}", outcome.flows);
    assert!(!outcome.findings.iter().any(|found| found.rule == "cap.gap"), "{:#?}", outcome.findings);
}

const STALE: &[&str] = &["arp.stale-neighbor"];

#[test]
fn packets_to_a_station_that_lost_the_address_are_those_of_a_stale_neighbour() {
    let syn = |ms, to| Said { to, ..client(ms, SYN, 0, 0, 0) };
    let story = |tries: &[Said], told: f64| {
        let mut wire = Wire::new();
        wire.told(told);
        tries.iter().for_each(|said| wire.says(*said));
        wire
    };
    let fault = [("arp.stale-neighbor", Weight::Fault, Some("l2.stale-neighbor"))];
    check(story(&[syn(10.0, GONE), syn(1010.0, GONE), syn(3010.0, GONE)], 0.0), STALE, &fault);
    // One damaged frame; the right station; not heeded yet.
    check(story(&[syn(10.0, SERVER.1), syn(1010.0, SERVER.1), syn(3010.0, GONE)], 0.0), STALE, &[]);
    check(story(&[syn(10.0, SERVER.1), syn(1010.0, SERVER.1)], 0.0), STALE, &[]);
    check(story(&[syn(10.0, GONE), syn(110.0, GONE)], 0.0), STALE, &[]);
    // It sent to the old station in vain, then to the new one, and was answered.
    let healed = [syn(10.0, GONE), syn(1010.0, GONE), syn(3010.0, SERVER.1), server(3011.0, SYN.with(ACK), 0, 1, 0)];
    check(story(&healed, 0.0), STALE, &[("arp.stale-neighbor", Weight::Warning, Some("l2.stale-neighbor"))]);
}

#[test]
fn a_client_that_asks_on_after_the_answer_does_not_hear_it() {
    let rules = &["tcp.synack-unheard"];
    let story = |tries: &[Said]| {
        let mut wire = Wire::new();
        wire.story(tries);
        wire
    };
    let deaf = [client(0.0, SYN, 0, 0, 0), server(5.0, SYN.with(ACK), 0, 1, 0), client(1005.0, SYN, 0, 0, 0)];
    check(story(&deaf), rules, &[("tcp.synack-unheard", Weight::Fault, None)]);
    // The second SYN crossed the answer on its way; then the client goes on.
    let crossed = [client(0.0, SYN, 0, 0, 0), server(995.0, SYN.with(ACK), 0, 1, 0), client(1000.0, SYN, 0, 0, 0)];
    check(story(&crossed), rules, &[]);
    let late = [deaf.as_slice(), &[client(1006.0, ACK, 1, 1, 0)]].concat();
    check(story(&late), rules, &[]);
    // Nobody is there any more: the answers repeat, the question does not.
    let gone = [client(0.0, SYN, 0, 0, 0), server(5.0, SYN.with(ACK), 0, 1, 0), server(1005.0, SYN.with(ACK), 0, 1, 0)];
    check(story(&gone), rules, &[]);
}

#[test]
fn a_hole_before_a_smaller_segment_that_nobody_fills_until_the_capture_ends_is_open_between_size_and_a_dead_path() {
    let story = |end_ms: f64| {
        let mut wire = Wire::new();
        wire.opened();
        let asks = Said { sack: Some((1449, 1561)), ..server(20.1, ACK, 1, 1, 0) };
        wire.story(&[client(20.0, ACK, 1449, 1, 112), asks, server(30.0, ACK, 1, 1, 700), client(70.0, ACK, 1561, 701, 0)]);
        wire.told(end_ms);
        wire
    };
    check(story(5200.0), SIZE, &[("ip.pmtu-hole", Weight::Fault, None)]);
    check(story(1200.0), SIZE, &[]);
}

#[test]
fn silence_that_connections_survived_and_died_of_is_remembered() {
    let pauses = |story: &[Said]| {
        let mut wire = Wire::new();
        wire.opened();
        wire.story(story);
        wire.wire.finish().flows.first().and_then(|flow| flow.tcp.map(|tcp| (tcp.survived_ms, tcp.died_after.map(|pause| pause.ms))))
    };
    let lives =
        [client(20.0, ACK, 1, 1, 50), server(21.0, ACK, 1, 51, 50), client(2021.0, ACK, 51, 51, 50), server(2022.0, ACK, 51, 101, 0)];
    assert_eq!(pauses(&lives), Some((2000.0, None)));
    let again = |ms| client(ms, ACK, 101, 51, 50);
    let dies: Vec<Said> = lives.into_iter().chain([again(5022.0), again(5230.0), again(5640.0), again(6440.0)]).collect();
    assert_eq!(pauses(&dies), Some((2000.0, Some(3000.0))));
}

#[test]
fn the_first_ack_of_a_capture_that_began_late_is_no_progress_where_it_covers_nothing() {
    let mut wire = Wire::new();
    let large = |ms| server(ms, ACK, 1, 101, 1448);
    wire.story(&[large(0.0), large(400.0), large(1200.0), large(2800.0), client(5000.0, ACK.with(TcpFlags::FIN), 101, 1, 0)]);
    check(wire, SIZE, &[("ip.pmtu-blackhole", Weight::Fault, Some("l3.pmtu-blackhole"))]);
}
