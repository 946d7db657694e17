//! What the rules of layers 2 to 4 say of packets made by hand: each test is a short story on the wire, and what is to be told of it.

use crate::common::{self, Segment};
use faultmap_capture::analysis::{Analysis, Limits, Outcome};
use faultmap_capture::finding::{Finding, Weight};
use faultmap_capture::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::LinkType;
use faultmap_wire::{Arp, Icmp, Ipv4, Mac, Tcp, TcpFlags, arp, icmp, proto};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const FIN: TcpFlags = TcpFlags::FIN;
const RST: TcpFlags = TcpFlags::RST;

/// The wire between client and server.
struct Wire {
    wire: common::Wire,
}

/// What a segment has beside the usual.
#[derive(Clone, Copy)]
struct Extra {
    client_port: u16,
    server_port: u16,
    ttl: u8,
    window: u16,
    times: Option<(u32, u32)>,
    sack: Option<(u32, u32)>,
    damaged: bool,
    id: Option<u16>,
}

const PLAIN: Extra =
    Extra { client_port: 40_000, server_port: 80, ttl: 60, window: 1000, times: None, sack: None, damaged: false, id: None };

impl Wire {
    fn new() -> Self {
        Self { wire: common::Wire::new() }
    }

    fn segment(&mut self, ms: f64, from_client: bool, flags: TcpFlags, (seq, ack): (u32, u32), len: usize, extra: Extra) {
        let (from, to) = if from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let (from_port, to_port) =
            if from_client { (extra.client_port, extra.server_port) } else { (extra.server_port, extra.client_port) };
        let Extra { window, times, sack, .. } = extra;
        let segment = Segment { window, times, sack, ..Segment::new(flags, (seq, ack), len) };
        let mut bytes = segment.emit(SocketAddrV4::new(from, from_port), SocketAddrV4::new(to, to_port));
        if extra.damaged {
            bytes[16] ^= 0x55;
        }
        let id = extra.id.unwrap_or_else(|| self.wire.next_id());
        self.wire.ip(ms, &Ipv4 { ttl: extra.ttl, id, ..Ipv4::new(from, to, proto::TCP) }.emit(&bytes));
    }

    fn client(&mut self, ms: f64, flags: TcpFlags, numbers: (u32, u32), len: usize) {
        self.segment(ms, true, flags, numbers, len, PLAIN);
    }

    fn server(&mut self, ms: f64, flags: TcpFlags, numbers: (u32, u32), len: usize) {
        self.segment(ms, false, flags, numbers, len, PLAIN);
    }

    fn handshake(&mut self) {
        self.client(0.0, SYN, (0, 0), 0);
        self.server(10.0, SYN.with(ACK), (0, 1), 0);
        self.client(10.1, ACK, (1, 1), 0);
    }

    fn arp(&mut self, ms: f64, message: &Arp) {
        self.wire.arp(ms, message);
    }

    fn finish(self) -> Outcome {
        self.wire.finish()
    }
}

/// The story must be told by exactly these rules of at least this weight.
fn check(wire: Wire, least: Weight, expect: &[(&str, Option<&str>)]) {
    let outcome = wire.finish();
    let of_network = |finding: &&Finding| finding.weight >= least;
    let mut told: Vec<(&str, Option<&str>)> =
        outcome.findings.iter().filter(of_network).map(|finding| (finding.rule, finding.cause)).collect();
    told.sort_unstable();
    told.dedup();
    let mut expect = expect.to_vec();
    expect.sort_unstable();
    assert_eq!(told, expect, "{:#?}", outcome.findings);
}

#[test]
fn three_syns_without_an_answer_are_unanswered_and_not_more() {
    let mut wire = Wire::new();
    for ms in [0.0, 1000.0, 3000.0] {
        wire.client(ms, SYN, (0, 0), 0);
    }
    check(wire, Weight::Note, &[("tcp.syn-unanswered", None)]);
}

#[test]
fn one_syn_at_the_end_of_a_capture_is_nothing() {
    let mut wire = Wire::new();
    wire.client(0.0, SYN, (0, 0), 0);
    check(wire, Weight::Capture, &[]);
}

#[test]
fn a_host_that_answers_elsewhere_has_this_port_filtered() {
    let mut wire = Wire::new();
    wire.handshake();
    for ms in [0.0, 1000.0, 3000.0] {
        wire.segment(ms, true, SYN, (0, 0), 0, Extra { server_port: 81, ..PLAIN });
    }
    check(wire, Weight::Warning, &[("tcp.syn-unanswered", Some("l4.port-filtered"))]);
}

#[test]
fn a_service_that_answers_others_meanwhile_has_no_room_for_more() {
    let mut wire = Wire::new();
    for ms in [-500.0, 500.0] {
        wire.segment(ms, true, SYN, (0, 0), 0, Extra { client_port: 40_001, ..PLAIN });
    }
    wire.handshake();
    wire.segment(2500.0, true, SYN, (0, 0), 0, Extra { client_port: 40_001, ..PLAIN });
    check(wire, Weight::Warning, &[("tcp.syn-unanswered", Some("l4.accept-queue-full"))]);
}

#[test]
fn a_rst_to_a_syn_is_a_refusal() {
    let mut wire = Wire::new();
    wire.client(0.0, SYN, (0, 0), 0);
    wire.server(1.0, RST.with(ACK), (0, 1), 0);
    check(wire, Weight::Note, &[("tcp.syn-refused", Some("l4.port-closed"))]);
}

#[test]
fn a_rst_from_another_distance_is_the_firewalls() {
    let mut wire = Wire::new();
    wire.handshake();
    let other = Extra { server_port: 81, ..PLAIN };
    wire.segment(100.0, true, SYN, (0, 0), 0, other);
    wire.segment(101.0, false, RST.with(ACK), (0, 1), 0, Extra { ttl: 63, ..other });
    check(wire, Weight::Warning, &[("tcp.rst-forged", Some("l4.firewall-reject"))]);
}

#[test]
fn a_rst_with_another_starting_ttl_but_the_same_distance_is_the_hosts() {
    let mut wire = Wire::new();
    wire.handshake();
    let other = Extra { server_port: 81, ..PLAIN };
    wire.segment(100.0, true, SYN, (0, 0), 0, other);
    wire.segment(101.0, false, RST.with(ACK), (0, 1), 0, Extra { ttl: 251, ..other });
    check(wire, Weight::Warning, &[("tcp.syn-refused", Some("l4.port-closed"))]);
}

#[test]
fn duplicate_acks_before_bytes_come_again_make_it_a_fast_retransmit() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.server(20.0, ACK, (1, 1), 1000);
    for n in 0..3 {
        wire.server(21.0 + f64::from(n), ACK, (2001 + 1000 * n, 1), 1000);
        wire.client(21.5 + f64::from(n), ACK, (1, 1001), 0);
    }
    wire.client(24.0, ACK, (1, 1001), 0);
    wire.server(35.0, ACK, (1001, 1), 1000);
    wire.client(36.0, ACK, (1, 5001), 0);
    check(wire, Weight::Note, &[("tcp.dup-ack", None), ("tcp.fast-retx", None)]);
}

#[test]
fn bytes_that_come_again_after_a_pause_are_a_timeout() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.client(20.0, ACK, (1, 1), 100);
    wire.client(520.0, ACK, (1, 1), 100);
    wire.server(530.0, ACK, (1, 101), 0);
    check(wire, Weight::Note, &[("tcp.rto", None)]);
}

#[test]
fn a_lone_repetition_of_the_tail_is_a_probe() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.client(20.0, ACK, (1, 1), 100);
    wire.client(240.0, ACK, (1, 1), 100);
    wire.server(250.0, ACK, (1, 101), 0);
    check(wire, Weight::Note, &[("tcp.tlp", None)]);
}

#[test]
fn a_d_sack_shows_that_a_repetition_was_needless() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.client(20.0, ACK, (1, 1), 100);
    wire.client(520.0, ACK, (1, 1), 100);
    wire.segment(530.0, false, ACK, (1, 101), 0, Extra { sack: Some((1, 101)), ..PLAIN });
    check(wire, Weight::Note, &[("tcp.spurious", None)]);
}

#[test]
fn an_ack_that_echoes_the_first_sending_shows_that_the_second_was_needless() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.segment(20.0, true, ACK, (1, 1), 100, Extra { times: Some((20, 1)), ..PLAIN });
    wire.segment(520.0, true, ACK, (1, 1), 100, Extra { times: Some((520, 1)), ..PLAIN });
    wire.segment(521.0, false, ACK, (1, 101), 0, Extra { times: Some((9, 20)), ..PLAIN });
    check(wire, Weight::Note, &[("tcp.spurious", None)]);
}

#[test]
fn segments_that_change_places_are_no_loss() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.segment(20.0, false, ACK, (1001, 1), 1000, Extra { id: Some(502), ..PLAIN });
    wire.segment(20.1, false, ACK, (1, 1), 1000, Extra { id: Some(501), ..PLAIN });
    wire.client(20.2, ACK, (1, 2001), 0);
    check(wire, Weight::Note, &[("tcp.ooo", None)]);
}

#[test]
fn a_closed_window_that_only_probes_meet_is_a_fault_of_the_receiver() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.client(20.0, ACK, (1, 1), 1000);
    wire.segment(21.0, false, ACK, (1, 1001), 0, Extra { window: 0, ..PLAIN });
    for ms in [221.0, 621.0, 1421.0] {
        wire.client(ms, ACK, (1000, 1), 0);
        wire.segment(ms + 10.0, false, ACK, (1, 1001), 0, Extra { window: 0, ..PLAIN });
    }
    check(wire, Weight::Note, &[("tcp.zero-window", Some("l4.zero-window"))]);
}

#[test]
fn keep_alives_that_are_answered_are_a_note_and_unanswered_ones_a_fault() {
    for (answered, expect) in [(true, Weight::Note), (false, Weight::Fault)] {
        let mut wire = Wire::new();
        wire.handshake();
        for ms in [1000.0, 2000.0, 3000.0] {
            wire.client(ms, ACK, (0, 1), 0);
            if answered {
                wire.server(ms + 10.0, ACK, (1, 1), 0);
            }
        }
        let outcome = wire.finish();
        let worst = outcome.findings.iter().map(|finding| finding.weight).max();
        assert_eq!(worst, Some(expect), "{:#?}", outcome.findings);
    }
}

#[test]
fn a_rst_to_the_first_data_after_silence_is_of_who_forgot_the_connection() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.client(20.0, ACK, (1, 1), 10);
    wire.server(30.0, ACK, (1, 11), 10);
    wire.client(60_000.0, ACK, (11, 11), 10);
    wire.server(60_010.0, RST, (11, 0), 0);
    check(wire, Weight::Warning, &[("tcp.idle-rst", Some("l4.nat-idle-timeout"))]);
}

#[test]
fn a_client_that_went_away_forgot_nothing() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.client(10.0, ACK, (1, 1), 20);
    wire.server(11.0, ACK, (1, 21), 30);
    wire.client(12.0, ACK, (21, 31), 0);
    wire.client(3000.0, FIN.with(ACK), (21, 31), 0);
    wire.server(3001.0, ACK, (31, 22), 0);
    wire.server(9000.0, ACK, (31, 22), 40);
    wire.client(9000.1, RST, (22, 0), 0);
    check(wire, Weight::Warning, &[]);
}

#[test]
fn silence_to_the_first_data_after_silence_is_too() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.client(20.0, ACK, (1, 1), 10);
    wire.server(30.0, ACK, (1, 11), 10);
    for ms in [60_000.0, 60_500.0, 61_500.0, 63_500.0] {
        wire.client(ms, ACK, (11, 11), 10);
    }
    check(wire, Weight::Warning, &[("tcp.idle-blackhole", Some("l4.nat-idle-timeout"))]);
}

#[test]
fn large_segments_that_vanish_while_the_peer_goes_on_are_too_large_for_the_path() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.client(20.0, ACK, (1, 1), 100);
    wire.server(30.0, ACK, (1, 101), 0);
    for (n, ms) in [40.0, 540.0, 1540.0, 3540.0].into_iter().enumerate() {
        wire.client(ms, ACK, (101, 1), 1400);
        if n == 2 {
            wire.server(ms + 100.0, ACK, (1, 101), 20);
        }
    }
    check(wire, Weight::Warning, &[("ip.pmtu-blackhole", Some("l3.pmtu-blackhole"))]);
}

#[test]
fn the_same_large_segment_into_a_silent_path_is_only_a_dead_path() {
    let mut wire = Wire::new();
    wire.handshake();
    for ms in [40.0, 540.0, 1540.0, 3540.0] {
        wire.client(ms, ACK, (1, 1), 1400);
    }
    check(wire, Weight::Warning, &[("tcp.rto", None)]);
}

#[test]
fn a_wrong_checksum_that_the_receiver_takes_is_the_capturing_cards() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.segment(20.0, true, ACK, (1, 1), 100, Extra { damaged: true, ..PLAIN });
    wire.server(30.0, ACK, (1, 101), 0);
    check(wire, Weight::Capture, &[]);
}

#[test]
fn a_wrong_checksum_that_the_receiver_drops_is_a_bit_error() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.segment(20.0, true, ACK, (1, 1), 100, Extra { damaged: true, ..PLAIN });
    wire.client(520.0, ACK, (1, 1), 100);
    wire.server(530.0, ACK, (1, 101), 0);
    check(wire, Weight::Warning, &[("tcp.bad-checksum", Some("l1.bit-errors"))]);
}

#[test]
fn the_same_ports_with_another_first_number_are_another_connection() {
    let mut wire = Wire::new();
    wire.handshake();
    wire.server(20.0, FIN.with(ACK), (1, 1), 0);
    wire.client(21.0, FIN.with(ACK), (1, 2), 0);
    wire.server(31.0, ACK, (2, 2), 0);
    wire.client(100.0, SYN, (7_000_000, 0), 0);
    let outcome = wire.finish();
    assert_eq!((outcome.totals.flows, outcome.findings.len()), (2, 0), "{:#?}", outcome.findings);
}

#[test]
fn who_closed_its_port_and_says_so_to_a_late_answer_is_no_fault() {
    let mut wire = Wire::new();
    let datagram = |from: Ipv4Addr, to: Ipv4Addr, from_port: u16, to_port: u16, text: &[u8]| {
        let bytes = faultmap_wire::Udp::new(from_port, to_port).emit(IpAddr::V4(from), IpAddr::V4(to), text);
        Ipv4::new(from, to, proto::UDP).emit(&bytes)
    };
    wire.wire.ip(0.0, &datagram(CLIENT, SERVER, 40_000, 9999, b"asked"));
    let late = datagram(SERVER, CLIENT, 9999, 40_000, b"answer");
    wire.wire.ip(900.0, &late);
    let error = Icmp::new(icmp::UNREACHABLE, icmp::PORT_UNREACHABLE).emit(&late);
    wire.wire.ip(900.1, &Ipv4::new(CLIENT, SERVER, proto::ICMP).emit(&error));
    check(wire, Weight::Note, &[("icmp.port-unreachable", None)]);
}

#[test]
fn a_packet_that_comes_back_with_less_ttl_is_in_a_loop_and_not_sent_again() {
    let mut wire = Wire::new();
    for round in 0..3 {
        for ttl in (40..60).rev() {
            wire.segment(f64::from(round) * 1000.0, true, SYN, (0, 0), 0, Extra { ttl, id: Some(7 + round as u16), ..PLAIN });
        }
    }
    check(wire, Weight::Note, &[("ip.routing-loop", Some("l3.routing-loop"))]);
}

#[test]
fn who_resets_a_question_answers_none_and_who_resets_a_stream_was_not_asked() {
    for (segments, expect) in [(1, Some("l5.closed-without-answer")), (60, None)] {
        let mut wire = Wire::new();
        wire.handshake();
        for n in 0..segments {
            wire.client(20.0 + f64::from(n), ACK, (1 + n * 1400, 1), 1400);
            wire.server(20.5 + f64::from(n), ACK, (1, 1 + (n + 1) * 1400), 0);
        }
        wire.server(200.0, RST, (1, 0), 0);
        check(wire, Weight::Note, &[("tcp.reset", expect)]);
    }
}

fn asks(asker: Ipv4Addr, target: Ipv4Addr) -> Arp {
    Arp { operation: arp::REQUEST, sender_mac: Mac([2; 6]), sender_ip: asker, target_mac: Mac::default(), target_ip: target }
}

#[test]
fn an_address_that_nobody_answers_for_is_unresolved_and_a_probe_is_not() {
    for (asker, expect) in [(CLIENT, &[("arp.unanswered", Some("l2.neighbor-unresolved"))][..]), (Ipv4Addr::UNSPECIFIED, &[])] {
        let mut wire = Wire::new();
        for ms in [0.0, 1000.0, 2000.0] {
            wire.arp(ms, &asks(asker, ROUTER));
        }
        check(wire, Weight::Note, expect);
    }
}

#[test]
fn an_answer_settles_the_question() {
    let mut wire = Wire::new();
    for ms in [0.0, 1000.0, 2000.0] {
        wire.arp(ms, &asks(CLIENT, ROUTER));
    }
    wire.arp(2001.0, &Arp { operation: arp::REPLY, ..asks(ROUTER, CLIENT) });
    check(wire, Weight::Warning, &[]);
}

#[test]
fn two_stations_that_take_turns_with_one_address_conflict() {
    let mut wire = Wire::new();
    for n in 0..4 {
        wire.arp(
            f64::from(n) * 100.0,
            &Arp { operation: arp::REPLY, sender_mac: Mac([2, 0, 0, 0, 0, (n % 2) as u8]), ..asks(ROUTER, CLIENT) },
        );
    }
    check(wire, Weight::Warning, &[("arp.conflict", Some("l2.duplicate-address"))]);
}

#[test]
fn an_address_that_is_announced_by_another_station_has_moved() {
    let mut wire = Wire::new();
    for n in 0..2 {
        wire.arp(f64::from(n) * 600.0, &Arp::announcement(Mac([2, 0, 0, 0, 0, n as u8]), ROUTER));
    }
    check(wire, Weight::Note, &[("arp.conflict", None), ("arp.gratuitous", None)]);
}

/// A step of a transfer: from the client or not, sequence number, acknowledgement, length.
type Step = (bool, u32, u32, usize);

/// A transfer without any loss: both sides send, each acknowledges what it has; packets of the two sides may be captured a moment too early or late.
fn perfect(turns: &[(bool, usize)], swaps: &[usize]) -> Vec<Step> {
    let (mut client, mut server) = (1_u32, 1_u32);
    let mut steps = Vec::new();
    for (from_client, len) in turns {
        if *from_client {
            steps.push((true, client, server, *len));
            client += *len as u32;
            steps.push((false, server, client, 0));
        } else {
            steps.push((false, server, client, *len));
            server += *len as u32;
            steps.push((true, client, server, 0));
        }
    }
    for at in swaps {
        let at = at % steps.len().max(2);
        if at + 1 < steps.len() && steps[at].0 != steps[at + 1].0 {
            steps.swap(at, at + 1);
        }
    }
    steps
}

fn play(steps: &[Step], keep: impl Fn(usize) -> bool) -> Outcome {
    let mut wire = Wire::new();
    wire.handshake();
    for (n, (from_client, seq, ack, len)) in steps.iter().enumerate() {
        if keep(n) {
            wire.segment(20.0 + n as f64 * 0.2, *from_client, ACK, (*seq, *ack), *len, PLAIN);
        }
    }
    wire.finish()
}

fn assert_no_loss(outcome: &Outcome) {
    let worst = outcome.findings.iter().find(|finding| finding.weight > Weight::Capture);
    assert!(worst.is_none(), "{worst:?}");
    for side in outcome.flows.iter().filter_map(|flow| flow.tcp).flat_map(|tcp| [tcp.sides.client, tcp.sides.server]) {
        assert_eq!((side.retransmits.total(), side.out_of_order, side.lost_before, side.lost_after), (0, 0, 0, 0));
    }
}

proptest! {
    #[test]
    fn a_transfer_without_loss_shows_none(turns in prop::collection::vec((any::<bool>(), 2_usize..1400), 1..60), swaps in prop::collection::vec(any::<usize>(), 0..30)) {
        let outcome = play(&perfect(&turns, &swaps), |_| true);
        assert_no_loss(&outcome);
        prop_assert_eq!(outcome.quality.gaps, 0);
    }

    #[test]
    fn packets_that_only_the_capture_lost_are_no_loss(
        turns in prop::collection::vec((any::<bool>(), 2_usize..1400), 1..60), lost in prop::collection::vec(0_usize..120, 0..40),
    ) {
        assert_no_loss(&play(&perfect(&turns, &[]), |n| !lost.contains(&n)));
    }

    #[test]
    fn no_bytes_make_it_panic(packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..120), any::<i64>(), 0_u32..300, any::<u32>()), 0..40)) {
        let mut analysis = Analysis::new(Limits { max_flows: 4, max_records: 3, max_findings: 5, max_waiting_of_flow: 100, max_waiting: 200 });
        for (n, (bytes, at, link, wire_len)) in packets.iter().enumerate() {
            let link = LinkType(if *link > 30 { LinkType::RAW.0 } else { *link });
            analysis.packet(&Captured { number: PacketNo(n as u64), at: Stamp(*at), link, wire_len: *wire_len, bytes });
        }
        let _ = analysis.take_findings();
        let _ = analysis.finish();
    }

    #[test]
    fn damage_to_a_transfer_never_makes_it_panic(turns in prop::collection::vec((any::<bool>(), 0_usize..300), 1..20), damage in prop::collection::vec((0_usize..40, 0_usize..80, any::<u8>()), 0..60), jumps in prop::collection::vec(any::<i64>(), 40)) {
        let mut wire = Wire::new();
        wire.handshake();
        for (n, (from_client, seq, ack, len)) in perfect(&turns, &[]).iter().enumerate() {
            let (from, to) = if *from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
            let ports = if *from_client { (40_000, 80) } else { (80, 40_000) };
            let header = Tcp { seq: *seq, ack: *ack, window: 9, ..Tcp::new(ports.0, ports.1, ACK) };
            let mut bytes = header.emit(IpAddr::V4(from), IpAddr::V4(to), &vec![1; *len]);
            for (_, place, byte) in damage.iter().filter(|(packet, ..)| *packet == n) {
                if let Some(slot) = bytes.get_mut(*place) { *slot = *byte; }
            }
            wire.wire.put(Stamp(jumps[n % jumps.len()]), LinkType::RAW, &Ipv4::new(from, to, proto::TCP).emit(&bytes));
        }
        let _ = wire.finish();
    }
}
