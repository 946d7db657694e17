//! Laws of the judge that hold whatever the causes say.

use super::{judge, neighbor_discovery};
use crate::causes::tests_support::{
    connect, connected, counters, errno, icmp_from, link_delta, neighbor, no_route, own_link, reset, route_via, silent,
};
use crate::observation::{HostTables, Link, NeighborState, NotAsked, Role, TcpRepeat, UdpOutcome, UdpProbe};
use crate::testkit::{healthy_https, recording};
use crate::{Recording, Seen, Status};
use proptest::prelude::*;

const TARGET: &str = "tcp://10.2.0.10:80";

/// Recordings that are faulty in one way each, lowest layer first.
fn faulty() -> Vec<(&'static str, Vec<Seen>)> {
    let at = || connect("10.2.0.10:80", Role::Target, silent());
    let control = || connect("10.2.0.10:22", Role::Control, reset());
    vec![
        ("l1.no-carrier", vec![own_link_without_carrier(), route_via("10.2.0.10"), at()]),
        ("l2.gateway-unresolved", vec![own_link("10.1.0.2"), route_via("10.2.0.10"), at(), dead_gateway()]),
        ("l3.no-route", vec![own_link("10.1.0.2"), no_route("10.2.0.10"), connect("10.2.0.10:80", Role::Target, errno("ENETUNREACH"))]),
        (
            "l3.remote-no-route",
            vec![own_link("10.1.0.2"), route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, icmp_from("10.9.0.2", 3, 0))],
        ),
        ("l4.port-filtered", vec![own_link("10.1.0.2"), route_via("10.2.0.10"), at(), control()]),
        ("l4.port-closed", vec![own_link("10.1.0.2"), route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, reset())]),
    ]
}

fn own_link_without_carrier() -> Seen {
    match own_link("10.1.0.2") {
        Seen::Link(link) => Seen::Link(Link { carrier: Some(false), ..link }),
        other => other,
    }
}

fn dead_gateway() -> Seen {
    neighbor("10.1.0.1", Role::Gateway, NeighborState::None, NeighborState::Failed)
}

/// Single observations that hint at trouble and prove none of a target that answers.
fn warnings() -> Vec<Seen> {
    let to = "10.2.0.10:443".parse().expect("address");
    let udp = UdpProbe { to, role: Role::Control, payload_bytes: 1, sent: 2, outcome: UdpOutcome::Silent { waited_ms: 900.0 } };
    vec![
        counters(&[("Tcp.InCsumErrors", 3)]),
        counters(&[("TcpExt.IPReversePathFilter", 2), ("TcpExt.TCPRetransFail", 1), ("TcpExt.ListenOverflows", 4)]),
        link_delta(&[("qdisc_drops", 100), ("rx_crc_errors", 9), ("tx_dropped", 50)]),
        own_link_without_carrier(),
        dead_gateway(),
        connect("10.2.0.10:22", Role::Control, silent()),
        connect("10.2.0.10:22", Role::Control, icmp_from("10.9.0.2", 3, 13)),
        Seen::UdpProbe(udp),
        Seen::TcpRepeat(TcpRepeat {
            to,
            tried: 10,
            connected: 9,
            connected_late: 1,
            failed: 0,
            silent: 0,
            waited_ms: 900.0,
            order: String::new(),
            icmp: None,
        }),
        Seen::HostTables(HostTables {
            neighbor_table_fulls: Some(4),
            conntrack_count: Some(10),
            conntrack_max: Some(10),
            ..HostTables::default()
        }),
        Seen::NotAsked(NotAsked {
            question: "arp.probe".to_owned(),
            why: "needs CAP_NET_RAW".to_owned(),
            would_settle: String::new(),
            missing: None,
        }),
    ]
}

fn named(recording: &Recording) -> (Status, Option<String>) {
    let verdict = judge(recording);
    (verdict.status, verdict.cause)
}

#[test]
fn each_fault_alone_is_named() {
    for (cause, seen) in faulty() {
        assert_eq!(named(&recording(TARGET, seen)).1.as_deref(), Some(cause));
    }
}

#[test]
fn more_fault_never_raises_the_named_layer() {
    let extra = [own_link_without_carrier(), dead_gateway(), counters(&[("TcpExt.TCPRetransFail", 2)])];
    for (cause, seen) in faulty() {
        let before = judge(&recording(TARGET, seen.clone())).layer;
        for more in &extra {
            // The link's own reading replaces the good one: one interface has one carrier.
            let mut with: Vec<Seen> = seen.iter().filter(|s| s.kind() != more.kind()).cloned().collect();
            with.push(more.clone());
            let after = judge(&recording(TARGET, with)).layer;
            assert!(after <= before, "{cause} with {}: {before:?} became {after:?}", more.kind());
        }
    }
}

#[test]
fn a_healthy_recording_with_one_warning_is_never_a_fault() {
    assert_eq!(judge(&healthy_https()).status, Status::Healthy);
    for warning in warnings() {
        let mut recording = healthy_https();
        let id = u32::try_from(recording.observations.len()).expect("few") + 1;
        recording.observations.push(crate::Observation { id, layer: warning.layer(), at_ms: 50.0, took_ms: 1.0, seen: warning.clone() });
        let verdict = judge(&recording);
        let fair = matches!(verdict.status, Status::Healthy | Status::Degraded);
        assert!(fair, "{} made it {:?} {:?}", warning.kind(), verdict.status, verdict.cause);
    }
}

#[test]
fn a_recording_reads_back_to_the_same_verdict() {
    for (_, seen) in faulty() {
        let original = recording(TARGET, seen);
        let mut bytes = Vec::new();
        original.write(&mut bytes).expect("a vector takes everything");
        let read = Recording::read(bytes.as_slice()).expect("what was written reads back");
        assert_eq!(read, original);
        let json = |recording: Recording| serde_json::to_string(&crate::Report::new(recording)).expect("a report is JSON");
        assert_eq!(json(read), json(original));
    }
}

fn any_evidence() -> impl Strategy<Value = Vec<Seen>> {
    let mut pool: Vec<Seen> = faulty().into_iter().flat_map(|(_, seen)| seen).chain(warnings()).collect();
    pool.push(connect("10.2.0.10:80", Role::Target, connected()));
    pool.push(connect("[fd00:2::10]:80", Role::Target, silent()));
    proptest::collection::vec(proptest::sample::select(pool), 0..14)
}

proptest! {
    #[test]
    fn every_verdict_cites_evidence_that_is_there(seen in any_evidence()) {
        let recording = recording(TARGET, seen);
        let verdict = judge(&recording);
        let there = |id: &u32| recording.observations.iter().any(|o| o.id == *id);
        prop_assert!(verdict.because.iter().all(there));
        prop_assert!(verdict.ruled_out.iter().all(|out| !out.because.is_empty() && out.because.iter().all(there)));
        if verdict.status != Status::Healthy {
            prop_assert!(!verdict.because.is_empty() || recording.observations.is_empty());
            prop_assert!(verdict.cause.is_some() && verdict.layer.is_some());
        }
        if verdict.status == Status::Inconclusive {
            prop_assert!(!verdict.candidates.is_empty());
        }
    }

    #[test]
    fn the_order_of_independent_evidence_does_not_matter(which in 0_usize..6, order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let (_, seen) = faulty().swap_remove(which);
        let shuffled: Vec<Seen> = order.into_iter().filter_map(|at| seen.get(at).cloned()).collect();
        prop_assert_eq!(named(&recording(TARGET, shuffled)), named(&recording(TARGET, seen)));
    }
}

#[test]
fn a_ping_that_could_not_be_sent_is_not_called_answered() {
    use crate::observation::Echo;
    let icmp = crate::observation::IcmpError { icmp_type: 3, code: 3, from: "10.2.0.10".parse().expect("ip"), mtu: None };
    let outcome = UdpOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: Some(icmp) };
    let answered = UdpProbe { to: "10.2.0.10:33434".parse().expect("addr"), role: Role::Control, payload_bytes: 1, sent: 1, outcome };
    let unasked = NotAsked {
        question: "icmp.echo".to_owned(),
        why: "CAP_NET_RAW is missing".to_owned(),
        would_settle: "whether the host answers ICMP echo".to_owned(),
        missing: Some("CAP_NET_RAW".to_owned()),
    };
    let verdict = judge(&recording("icmp://10.2.0.10", vec![unasked.into(), answered.clone().into()]));
    assert_eq!((verdict.status, verdict.confidence), (Status::Healthy, 0.5));
    assert!(verdict.summary.contains("was not asked: CAP_NET_RAW is missing"), "{}", verdict.summary);
    let echo = Echo {
        to: "10.2.0.10".parse().expect("ip"),
        role: Role::Target,
        payload_bytes: 56,
        dont_fragment: false,
        sent: 5,
        received: 5,
        duplicates: 0,
        rtts_ms: vec![1.0; 5],
        reply_ttl: Some(63),
        icmp: None,
        errno: None,
    };
    let verdict = judge(&recording("icmp://10.2.0.10", vec![echo.into(), answered.into()]));
    assert_eq!((verdict.status, verdict.confidence), (Status::Healthy, 0.97));
}

#[test]
fn neighbours_of_ipv6_are_not_asked_by_arp() {
    let check = |told: &str, meant: &str| assert_eq!(neighbor_discovery(told), meant);
    check("ip neigh show {ip}; arping -c 3 -I {iface} {ip}", "ip neigh show {ip}; ndisc6 -m {ip} {iface}");
    check("arping -D -c 3 -I {iface} {ip}; arping -c 3 -I {iface} {ip}", "ndisc6 -m {ip} {iface}");
    check("ip neigh show {ip}; arping -c 3 {ip}", "ip neigh show {ip}; ndisc6 -m {ip} IFACE");
    check("FAILED and no ARP answer: the gateway is not on this segment", "FAILED and no answer: the gateway is not on this segment");
    for cause in crate::causes::all() {
        for tool in cause.confirm {
            assert!(!neighbor_discovery(tool.run).contains("arping"), "{}: {}", cause.id, tool.run);
        }
    }
}
