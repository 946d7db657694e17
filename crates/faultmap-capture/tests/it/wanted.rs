//! Connects that are refused, again and again: who searches tries many services once, who wants one comes back to it. What is told of each, from the packets
//! to the verdict.

use crate::common::{Segment, Wire};
use faultmap_capture::analysis::Outcome;
use faultmap_capture::file::Notes;
use faultmap_capture::report::{Report, ShownVerdict};
use faultmap_model::verdict::Status;
use faultmap_wire::{Ipv4, TcpFlags, proto};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Connects: the numbers of client and host, the port, and how often all of them are tried, one round after the other.
struct Connects {
    clients: u8,
    hosts: u8,
    ports: std::ops::Range<u16>,
    rounds: u16,
}

const fn connects(clients: u8, hosts: u8, ports: std::ops::Range<u16>, rounds: u16) -> Connects {
    Connects { clients, hosts, ports, rounds }
}

/// The verdict on the connects, and whether a scan was told.
fn judged(stories: &[Connects]) -> (ShownVerdict, bool) {
    let outcome = refused(stories);
    let scan = outcome.findings.iter().any(|finding| finding.rule == "tcp.scan");
    (Report::new(&outcome, Vec::new(), &Notes::default(), false).verdict, scan)
}

/// Every connect is refused at once.
fn refused(stories: &[Connects]) -> Outcome {
    let (mut wire, mut ms) = (Wire::new(), 0.0);
    let mut from_port = 1024_u16;
    for story in stories {
        for (round, client) in (0..story.rounds).flat_map(|round| (0..story.clients).map(move |client| (round, client))) {
            for (host, port) in (0..story.hosts).flat_map(|host| story.ports.clone().map(move |port| (host, port))) {
                from_port = from_port.checked_add(1).unwrap_or(1024);
                ms += if round % 2 == 0 { 3.0 } else { 7.0 };
                let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1 + client), from_port);
                let to = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1 + host), port);
                refuse(&mut wire, ms, from, to);
            }
        }
    }
    wire.finish()
}

fn refuse(wire: &mut Wire, ms: f64, from: SocketAddrV4, to: SocketAddrV4) {
    let says = |wire: &mut Wire, ms: f64, from: SocketAddrV4, to: SocketAddrV4, flags: TcpFlags, numbers: (u32, u32)| {
        let segment = Segment::new(flags, numbers, 0).emit(from, to);
        let id = wire.next_id();
        wire.ip(ms, &Ipv4 { id, ..Ipv4::new(*from.ip(), *to.ip(), proto::TCP) }.emit(&segment));
    };
    says(wire, ms, from, to, TcpFlags::SYN, (0, 0));
    says(wire, ms + 0.2, to, from, TcpFlags::RST.with(TcpFlags::ACK), (0, 1));
}

/// They are refusals of services that somebody wants.
fn check_wanted(stories: &[Connects], scan: bool) {
    let (verdict, scanned) = judged(stories);
    assert_eq!((verdict.status, verdict.cause.as_deref()), (Status::Fault, Some("l4.port-closed")), "{}", verdict.summary);
    assert_eq!(scanned, scan, "{}", verdict.summary);
}

/// They are a search, and no service that fails.
fn check_search(stories: &[Connects]) {
    let (verdict, scanned) = judged(stories);
    assert!(scanned && verdict.status != Status::Fault && verdict.summary.contains("a scan"), "{:?} {}", verdict.status, verdict.summary);
}

#[test]
fn who_tries_many_services_once_or_twice_searches() {
    check_search(&[connects(1, 40, 22..23, 1)]);
    check_search(&[connects(1, 1, 20..120, 2)]);
    check_search(&[connects(2, 30, 22..23, 2)]);
    // Peers of a swarm: no two of a kind.
    let peers: Vec<Connects> = (0..5).map(|n| connects(1, 14, 6000 + n * 14..6000 + n * 14 + 1, 1)).collect();
    check_search(&peers);
}

#[test]
fn a_search_is_told_alike_each_time() {
    let stories = [connects(2, 40, 22..24, 2), connects(1, 3, 8080..8081, 6)];
    let told = || serde_json::to_string(&refused(&stories).findings).expect("JSON");
    assert_eq!(told(), told());
}

#[test]
fn watchers_scan_the_same_ports_every_hour() {
    check_search(&[connects(1, 1, 20..120, 10)]);
}

#[test]
fn who_comes_back_to_the_same_services_misses_them() {
    check_wanted(&[connects(1, 20, 8080..8081, 6)], false);
    check_wanted(&[connects(20, 30, 8080..8081, 6)], false);
    check_wanted(&[connects(1, 1, 9000..9016, 25)], false);
}

#[test]
fn more_services_than_are_remembered_are_missed_all_the_same() {
    check_wanted(&[connects(2, 200, 8080..8083, 12)], false);
    let (verdict, _) = judged(&[connects(8, 200, 8080..8081, 20)]);
    assert!(verdict.summary.starts_with("200 parties"), "{}", verdict.summary);
}

#[test]
fn services_to_which_several_clients_came_back_are_missed() {
    check_wanted(&[connects(3, 20, 8080..8081, 2)], false);
}

#[test]
fn a_dead_service_beside_a_search_is_told_of() {
    check_wanted(&[connects(1, 40, 22..23, 1), connects(1, 1, 5432..5433, 25)], true);
}
