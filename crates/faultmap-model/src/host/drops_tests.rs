//! Tests of the drop report: what rose, what matters, what is blamed and what never is.

use super::*;

fn count(reason: &str, location: &str, count: u64) -> DropCount {
    DropCount { reason: reason.to_owned(), namespace: Some(7), location: Some(location.to_owned()), count }
}

fn flow(reason: &str, destination: &str, count: u64, socket: Option<u64>) -> FlowCount {
    FlowCount {
        reason: reason.to_owned(),
        namespace: 7,
        protocol: TCP,
        source: [10, 0, 0, 1].into(),
        destination: destination.parse().expect("an address"),
        transport: [0x9c, 0x40, 0x01, 0xbb],
        count,
        socket,
    }
}

fn sample(age_ms: f64, counts: Vec<DropCount>, flows: Vec<FlowCount>) -> DropSample {
    DropSample { age_ms, namespace: Some(7), counts, flows, elsewhere: 0, lost: 0 }
}

fn warned(flows: Vec<FlowCount>, window_ms: f64) -> Vec<String> {
    let dropped = flows.iter().map(|flow| flow.count).sum();
    let after = sample(window_ms, vec![count("NETFILTER_DROP", "nf_hook_slow", dropped)], flows);
    DropReport::new(None, &after).warnings().into_iter().map(|warning| warning.summary).collect()
}

#[test]
fn only_what_rose_between_two_readings_is_told_as_a_rate() {
    let before = sample(1000.0, vec![count("NO_SOCKET", "__udp4_lib_rcv", 40), count("OTHERHOST", "ip_rcv_core", 5)], vec![]);
    let after = sample(3000.0, vec![count("NO_SOCKET", "__udp4_lib_rcv", 60), count("OTHERHOST", "ip_rcv_core", 5)], vec![]);
    let report = DropReport::new(Some(&before), &after);
    let rows: Vec<_> = report.rows.iter().map(|row| (row.reason.as_str(), row.count, row.per_second)).collect();
    assert_eq!(rows, [("NO_SOCKET", 20, 10.0)]);
}

#[test]
fn losses_come_first_and_ordinary_life_last() {
    let counts = vec![
        count("TCP_OFOMERGE", "tcp_data_queue", 900),
        count("NO_SOCKET", "__udp4_lib_rcv", 50),
        count("SOCKET_RCVBUFF", "__udp_enqueue", 1),
    ];
    let report = DropReport::new(None, &sample(1000.0, counts, vec![]));
    let order: Vec<_> = report.rows.iter().map(|row| (row.reason.as_str(), row.weight)).collect();
    assert_eq!(order, [("SOCKET_RCVBUFF", Weight::Loss), ("NO_SOCKET", Weight::Noted), ("TCP_OFOMERGE", Weight::Ignored)]);
    assert_eq!(report.total(), 51);
}

#[test]
fn a_filter_that_stops_our_own_sockets_is_worth_a_warning() {
    let said = warned(vec![flow("NETFILTER_DROP", "10.0.0.9", 4, Some(99))], 1000.0);
    assert_eq!(
        said,
        ["A filter of this host drops packets of this host's own sockets: 4 in 1.0 s, tcp from 10.0.0.1:40000 to 10.0.0.9:443 the most \
          (NETFILTER_DROP)."]
    );
}

#[test]
fn a_filter_that_stops_strangers_does_its_work() {
    assert!(warned(vec![flow("NETFILTER_DROP", "10.0.0.9", 40_000, None)], 1000.0).is_empty());
}

#[test]
fn our_own_packets_are_seen_among_many_strangers() {
    let stranger = |last: u8| FlowCount { destination: [10, 0, 1, last].into(), ..flow("NETFILTER_DROP", "10.0.1.0", 500, None) };
    let flows = (0..20).map(stranger).chain([flow("NETFILTER_DROP", "10.0.0.9", 3, Some(99))]).collect();
    assert_eq!(warned(flows, 1000.0).len(), 1);
}

#[test]
fn one_late_packet_and_a_trickle_are_no_warning() {
    assert!(warned(vec![flow("NETFILTER_DROP", "10.0.0.9", 1, Some(99))], 500.0).is_empty());
    assert!(warned(vec![flow("NETFILTER_DROP", "10.0.0.9", 20, Some(99))], 60_000.0).is_empty());
}

#[test]
fn no_other_reason_is_worth_a_warning_by_itself() {
    for reason in ["QDISC_DROP", "NEIGH_FAILED", "IP_RPFILTER", "SOCKET_RCVBUFF", "OTHERHOST", "NOT_SPECIFIED", "BRAND_NEW"] {
        let after = sample(1000.0, vec![count(reason, "f", 9999)], vec![flow(reason, "10.0.0.9", 9999, Some(1))]);
        assert!(DropReport::new(None, &after).warnings().is_empty(), "{reason}");
    }
}

#[test]
fn drops_whose_namespace_cannot_be_told_are_counted_apart() {
    let unknown = DropCount { namespace: None, ..count("QUEUE_PURGE", "unix_release_sock", 3) };
    let one = sample(1000.0, vec![unknown], vec![]);
    let report = DropReport::new(None, &one);
    assert_eq!((report.rows.len(), report.unattributed), (0, 3));
    let all = DropReport::new(None, &DropSample { namespace: None, ..one });
    assert_eq!((all.rows.len(), all.unattributed), (1, 0));
}

#[test]
fn a_flow_that_the_kernel_forgot_counts_anew_when_it_comes_again() {
    let counts = |n| vec![count("NO_SOCKET", "f", n)];
    let before = sample(0.0, counts(10), vec![flow("NO_SOCKET", "10.0.0.9", 10, None)]);
    let after = sample(1000.0, counts(13), vec![flow("NO_SOCKET", "10.0.0.9", 3, None)]);
    assert_eq!(DropReport::new(Some(&before), &after).rows[0].flows[0].count, 3);
}

#[test]
fn a_flow_has_ports_only_where_the_protocol_has_them() {
    let icmp = FlowCount { protocol: 1, ..flow("NO_SOCKET", "10.0.0.9", 1, None) };
    let fragment = FlowCount { transport: [0; 4], ..flow("NO_SOCKET", "10.0.0.9", 1, None) };
    assert_eq!((shown(&icmp).protocol.as_str(), shown(&icmp).destination.as_str()), ("icmp", "10.0.0.9"));
    assert_eq!(shown(&fragment).source, "10.0.0.1");
    let six = FlowCount { source: std::net::Ipv6Addr::LOCALHOST.into(), ..flow("NO_SOCKET", "::1", 1, None) };
    assert_eq!(shown(&six).source, "[::1]:40000");
}

#[test]
fn the_report_is_the_same_after_json() {
    let after = sample(1000.0, vec![count("NETFILTER_DROP", "nf_hook_slow", 4)], vec![flow("NETFILTER_DROP", "10.0.0.9", 4, Some(1))]);
    let drops = Drops::Counted(DropReport::new(None, &after));
    let json = serde_json::to_string(&drops).expect("JSON");
    assert!(json.starts_with(r#"{"state":"counted","window_ms":1000.0"#), "{json}");
    assert_eq!(serde_json::from_str::<Drops>(&json).expect("the same"), drops);
}
