//! What is told while packets pass: as soon as it is certain, once, and without a change of what is said in the end.

use crate::common::{self, at};
use faultmap_capture::packet::Stamp;
use faultmap_wire::{Arp, Ipv4, Mac, Tcp, TcpFlags, arp, proto};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const RST: TcpFlags = TcpFlags::RST;

/// A wire that somebody may watch.
struct Wire {
    wire: common::Wire,
}

impl Wire {
    fn new(watched: bool) -> Self {
        let mut wire = common::Wire::new();
        if watched {
            assert_eq!(wire.analysis.take_findings(), []);
        }
        Self { wire }
    }

    fn segment(&mut self, ms: f64, from_client: bool, port: u16, flags: TcpFlags, (seq, ack): (u32, u32), payload: &[u8]) {
        let (from, to) = if from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let ports = if from_client { (port, 80) } else { (80, port) };
        let header = Tcp { seq, ack, window: 1000, ..Tcp::new(ports.0, ports.1, flags) };
        let segment = header.emit(IpAddr::V4(from), IpAddr::V4(to), payload);
        self.wire.ip(ms, &Ipv4::new(from, to, proto::TCP).emit(&segment));
    }

    fn who_has(&mut self, ms: f64) {
        let (station, nobody) = (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 99));
        let asks = Arp { operation: arp::REQUEST, sender_mac: station, sender_ip: CLIENT, target_mac: Mac([0; 6]), target_ip: nobody };
        self.wire.arp(ms, &asks);
    }

    /// The rules told since the last time.
    fn told(&mut self) -> Vec<&'static str> {
        self.wire.analysis.take_findings().into_iter().map(|fresh| fresh.finding.rule).collect()
    }
}

#[test]
fn a_refusal_is_told_with_the_packet_that_says_it_and_names_both_ends() {
    let mut wire = Wire::new(true);
    wire.segment(0.0, true, 40_000, SYN, (100, 0), b"");
    assert_eq!(wire.told(), Vec::<&str>::new());
    wire.segment(1.0, false, 40_000, RST.with(ACK), (0, 101), b"");
    let fresh = wire.wire.analysis.take_findings();
    let ends = fresh.first().and_then(|fresh| fresh.ends).map(|(client, server)| (client.to_string(), server.to_string()));
    assert_eq!(fresh.iter().map(|fresh| fresh.finding.rule).collect::<Vec<_>>(), ["tcp.syn-refused"]);
    assert_eq!(ends, Some(("10.0.0.1:40000".to_owned(), "10.9.0.2:80".to_owned())));
    wire.wire.analysis.clock(at(60_000.0));
    assert_eq!(wire.told(), Vec::<&str>::new(), "once");
}

#[test]
fn silence_is_told_by_the_clock_alone() {
    let mut wire = Wire::new(true);
    wire.segment(0.0, true, 40_000, SYN, (100, 0), b"");
    wire.segment(1000.0, true, 40_000, SYN, (100, 0), b"");
    assert_eq!(wire.told(), ["tcp.syn-retransmit"]);
    wire.wire.analysis.clock(at(3000.0));
    assert_eq!(wire.told(), Vec::<&str>::new());
    wire.wire.analysis.clock(at(3400.0));
    assert_eq!(wire.told(), ["tcp.syn-unanswered"]);
}

#[test]
fn a_question_on_the_medium_is_overdue_after_the_third_time() {
    let mut wire = Wire::new(true);
    for ms in [0.0, 1000.0, 2000.0] {
        wire.who_has(ms);
    }
    assert_eq!(wire.told(), Vec::<&str>::new(), "the third may still be answered");
    wire.wire.analysis.clock(at(2600.0));
    assert_eq!(wire.told(), ["arp.unanswered"]);
    wire.who_has(3000.0);
    wire.wire.analysis.clock(at(9000.0));
    assert_eq!(wire.told(), Vec::<&str>::new(), "once");
    // Silent again, another day.
    for ms in [200_000.0, 201_000.0, 202_000.0] {
        wire.who_has(ms);
    }
    wire.wire.analysis.clock(at(202_600.0));
    assert_eq!(wire.told(), ["arp.unanswered"]);
}

#[test]
fn a_clock_that_stands_still_or_goes_back_changes_nothing() {
    let mut wire = Wire::new(true);
    wire.wire.analysis.clock(at(1_000_000.0));
    wire.segment(5000.0, true, 40_000, SYN, (100, 0), b"");
    wire.wire.analysis.clock(at(0.0));
    wire.wire.analysis.clock(Stamp(i64::MIN));
    assert_eq!(wire.told(), Vec::<&str>::new());
}

proptest! {
    #[test]
    fn who_watches_changes_nothing_of_the_outcome(
        packets in prop::collection::vec((0_u32..3000, any::<bool>(), 0_u16..4, 0_u8..6, 0_u32..4, 0_u32..4, 0_usize..40), 0..80),
    ) {
        let flags = [SYN, SYN.with(ACK), ACK, RST, RST.with(ACK), TcpFlags::FIN.with(ACK)];
        let play = |watched: bool| {
            let mut wire = Wire::new(watched);
            let mut now = 0.0;
            for (pause, from_client, port, kind, seq, ack, len) in &packets {
                now += f64::from(*pause);
                if *kind == 0 && *port == 0 {
                    wire.who_has(now);
                }
                let payload = vec![b'x'; *len];
                wire.segment(now, *from_client, 40_000 + port, flags[usize::from(*kind)], (100 + seq, 100 + ack), &payload);
                if watched {
                    let _ = wire.told();
                }
            }
            wire.wire.finish()
        };
        let (alone, watched) = (play(false), play(true));
        prop_assert_eq!(alone.findings, watched.findings);
        prop_assert_eq!(alone.rules, watched.rules);
    }
}
