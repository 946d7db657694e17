//! What is told while packets pass: as soon as it is certain, once, and without a change of what is said in the end.

use faultmap_capture::analysis::{Analysis, Limits};
use faultmap_capture::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::LinkType;
use faultmap_wire::{Arp, Ethernet, Ipv4, Mac, Tcp, TcpFlags, arp, proto};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const RST: TcpFlags = TcpFlags::RST;

/// A wire, and the analysis that listens to it.
struct Wire {
    analysis: Analysis,
    number: u64,
}

const fn at(ms: u64) -> Stamp {
    Stamp(1_700_000_000_000_000_000 + ms as i64 * 1_000_000)
}

impl Wire {
    fn new(watched: bool) -> Self {
        let mut analysis = Analysis::new(Limits::default());
        if watched {
            assert_eq!(analysis.take_findings(), []);
        }
        Self { analysis, number: 0 }
    }

    fn put(&mut self, ms: u64, link: LinkType, bytes: &[u8]) {
        self.number += 1;
        self.analysis.packet(&Captured { number: PacketNo(self.number), at: at(ms), link, wire_len: bytes.len() as u32, bytes });
    }

    fn segment(&mut self, ms: u64, from_client: bool, port: u16, flags: TcpFlags, (seq, ack): (u32, u32), payload: &[u8]) {
        let (from, to) = if from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let ports = if from_client { (port, 80) } else { (80, port) };
        let header = Tcp { seq, ack, window: 1000, ..Tcp::new(ports.0, ports.1, flags) };
        let segment = header.emit(IpAddr::V4(from), IpAddr::V4(to), payload);
        self.put(ms, LinkType::RAW, &Ipv4::new(from, to, proto::TCP).emit(&segment));
    }

    fn who_has(&mut self, ms: u64) {
        let (station, nobody) = (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 99));
        let asks = Arp { operation: arp::REQUEST, sender_mac: station, sender_ip: CLIENT, target_mac: Mac([0; 6]), target_ip: nobody };
        self.put(ms, LinkType::ETHERNET, &Ethernet::new(Mac([0xff; 6]), station, faultmap_wire::ethernet::ARP).emit(&asks.emit()));
    }

    /// The rules told since the last time.
    fn told(&mut self) -> Vec<&'static str> {
        self.analysis.take_findings().into_iter().map(|fresh| fresh.finding.rule).collect()
    }
}

#[test]
fn a_refusal_is_told_with_the_packet_that_says_it_and_names_both_ends() {
    let mut wire = Wire::new(true);
    wire.segment(0, true, 40_000, SYN, (100, 0), b"");
    assert_eq!(wire.told(), Vec::<&str>::new());
    wire.segment(1, false, 40_000, RST.with(ACK), (0, 101), b"");
    let fresh = wire.analysis.take_findings();
    let ends = fresh.first().and_then(|fresh| fresh.ends).map(|(client, server)| (client.to_string(), server.to_string()));
    assert_eq!(fresh.iter().map(|fresh| fresh.finding.rule).collect::<Vec<_>>(), ["tcp.syn-refused"]);
    assert_eq!(ends, Some(("10.0.0.1:40000".to_owned(), "10.9.0.2:80".to_owned())));
    wire.analysis.clock(at(60_000));
    assert_eq!(wire.told(), Vec::<&str>::new(), "once");
}

#[test]
fn silence_is_told_by_the_clock_alone() {
    let mut wire = Wire::new(true);
    wire.segment(0, true, 40_000, SYN, (100, 0), b"");
    wire.segment(1000, true, 40_000, SYN, (100, 0), b"");
    assert_eq!(wire.told(), ["tcp.syn-retransmit"]);
    wire.analysis.clock(at(3000));
    assert_eq!(wire.told(), Vec::<&str>::new());
    wire.analysis.clock(at(3400));
    assert_eq!(wire.told(), ["tcp.syn-unanswered"]);
}

#[test]
fn a_question_on_the_medium_is_overdue_after_the_third_time() {
    let mut wire = Wire::new(true);
    for ms in [0, 1000, 2000] {
        wire.who_has(ms);
    }
    assert_eq!(wire.told(), Vec::<&str>::new(), "the third may still be answered");
    wire.analysis.clock(at(2600));
    assert_eq!(wire.told(), ["arp.unanswered"]);
    wire.who_has(3000);
    wire.analysis.clock(at(9000));
    assert_eq!(wire.told(), Vec::<&str>::new(), "once");
    // Silent again, another day.
    for ms in [200_000, 201_000, 202_000] {
        wire.who_has(ms);
    }
    wire.analysis.clock(at(202_600));
    assert_eq!(wire.told(), ["arp.unanswered"]);
}

#[test]
fn a_clock_that_stands_still_or_goes_back_changes_nothing() {
    let mut wire = Wire::new(true);
    wire.analysis.clock(at(1_000_000));
    wire.segment(5000, true, 40_000, SYN, (100, 0), b"");
    wire.analysis.clock(at(0));
    wire.analysis.clock(Stamp(i64::MIN));
    assert_eq!(wire.told(), Vec::<&str>::new());
}

proptest! {
    #[test]
    fn who_watches_changes_nothing_of_the_outcome(
        packets in prop::collection::vec((0_u64..3000, any::<bool>(), 0_u16..4, 0_u8..6, 0_u32..4, 0_u32..4, 0_usize..40), 0..80),
    ) {
        let flags = [SYN, SYN.with(ACK), ACK, RST, RST.with(ACK), TcpFlags::FIN.with(ACK)];
        let play = |watched: bool| {
            let mut wire = Wire::new(watched);
            let mut now = 0;
            for (pause, from_client, port, kind, seq, ack, len) in &packets {
                now += pause;
                if *kind == 0 && *port == 0 {
                    wire.who_has(now);
                }
                let payload = vec![b'x'; *len];
                wire.segment(now, *from_client, 40_000 + port, flags[usize::from(*kind)], (100 + seq, 100 + ack), &payload);
                if watched {
                    let _ = wire.told();
                }
            }
            wire.analysis.finish()
        };
        let (alone, watched) = (play(false), play(true));
        prop_assert_eq!(alone.findings, watched.findings);
        prop_assert_eq!(alone.rules, watched.rules);
    }
}
