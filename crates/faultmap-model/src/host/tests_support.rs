//! Samples for tests: a healthy, busy host, and one second of its life.

use super::sample::{
    ConntrackSample, CpuSample, FdSample, GatewaySample, HostSample, LinkSample, ListenerSample, NeighborTableSample, PortRange,
    ProcessSample, TcpSample, UdpSample,
};
use super::{Finding, HostReport};
use crate::observation::{Link, NeighborState};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A link of 1 Gbit/s with an address and the default route.
pub(super) fn link(iface: &str, index: u32) -> LinkSample {
    let names = ["rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped"];
    let more = ["collisions", "rx_over_errors", "rx_crc_errors", "rx_frame_errors", "rx_fifo_errors", "rx_missed_errors"];
    LinkSample {
        link: Link {
            iface: iface.to_owned(),
            index,
            loopback: false,
            up: true,
            carrier: Some(true),
            operstate: "up".to_owned(),
            speed_mbps: Some(1000),
            max_speed_mbps: Some(1000),
            full_duplex: Some(true),
            mtu: 1500,
            mac: None,
            addresses: vec!["10.0.0.2/24".to_owned()],
            carrier_down_count: Some(0),
            driver: Some("e1000e".to_owned()),
            on_path: true,
        },
        kind: None,
        stats: names.into_iter().chain(more).map(|name| (name.to_owned(), 1000)).collect(),
        carrier_changes: Some(2),
        qdisc: Some("fq_codel".to_owned()),
        qdisc_drops: Some(100),
        qdisc_queued: Some(0),
        shaped_bps: None,
        tx_queue_len: Some(1000),
        ring: None,
        gateway_routes: 1,
    }
}

pub(super) fn listener(bound: &str, waiting: u64, limit: u64) -> ListenerSample {
    let bound: SocketAddr = bound.parse().expect("an address");
    ListenerSample { bound, waiting, limit, half_open: 0, inode: u32::from(bound.port()), pid: Some(7), program: Some("shop".to_owned()) }
}

pub(super) fn process(pid: u32, state: char, listens: &[&str]) -> ProcessSample {
    ProcessSample {
        pid,
        program: "shop".to_owned(),
        state,
        threads: 1,
        cpu_ms: Some(100),
        ran_ns: Some(100_000_000),
        waited_ns: Some(1_000_000),
        listens: listens.iter().map(|bound| bound.parse().expect("an address")).collect(),
    }
}

const COUNTERS: [&str; 31] = [
    "Ip.InReceives",
    "Ip.OutRequests",
    "Ip.OutNoRoutes",
    "Ip.InDiscards",
    "Ip.OutDiscards",
    "Ip.ReasmFails",
    "Ip.ReasmReqds",
    "Ip6.InReceives",
    "Ip6.OutNoRoutes",
    "IpExt.InNoRoutes",
    "Tcp.OutSegs",
    "Tcp.InSegs",
    "Tcp.RetransSegs",
    "Tcp.OutRsts",
    "Tcp.EstabResets",
    "Tcp.AttemptFails",
    "Tcp.ActiveOpens",
    "Tcp.PassiveOpens",
    "Tcp.InCsumErrors",
    "TcpExt.ListenOverflows",
    "TcpExt.ListenDrops",
    "TcpExt.TCPReqQFullDrop",
    "TcpExt.TCPReqQFullDoCookies",
    "TcpExt.TCPSynRetrans",
    "TcpExt.TCPTimeWaitOverflow",
    "TcpExt.TCPAbortOnMemory",
    "TcpExt.IPReversePathFilter",
    "Udp.InDatagrams",
    "Udp.RcvbufErrors",
    "Udp.SndbufErrors",
    "TcpExt.TCPToZeroWindowAdv",
];

const SYSCTLS: [(&str, &str); 11] = [
    ("net.ipv4.tcp_max_tw_buckets", "65536"),
    ("net.ipv4.tcp_max_orphans", "16384"),
    ("net.ipv4.tcp_mem", "100 200 300"),
    ("net.ipv4.tcp_tw_reuse", "2"),
    ("net.ipv4.tcp_syncookies", "1"),
    ("net.ipv4.tcp_max_syn_backlog", "1024"),
    ("net.core.somaxconn", "4096"),
    ("net.core.netdev_max_backlog", "1000"),
    ("net.ipv4.ipfrag_high_thresh", "4194304"),
    ("net.core.rmem_max", "212992"),
    ("net.ipv4.conf.all.rp_filter", "1"),
];

/// A busy host whose totals since boot look terrible.
pub(super) fn sample() -> HostSample {
    let states = [("ESTABLISHED".to_owned(), 200_u64), ("TIME_WAIT".to_owned(), 50)];
    HostSample {
        unix_ms: 1_700_000_000_000,
        monotonic_ms: 50_000.0,
        hostname: Some("web1".to_owned()),
        namespace: Some(1),
        links: vec![link("eth0", 2)],
        softnet: vec![super::SoftnetCpu { processed: 1_000_000, dropped: 900, squeezed: 5000, queued: Some(0) }],
        neighbor_tables: vec![NeighborTableSample {
            v6: false,
            entries: Some(20),
            thresholds: [Some(128), Some(512), Some(1024)],
            table_fulls: Some(277),
            forced_gc_runs: Some(9),
            resolution_failures: Some(100),
        }],
        gateways: vec![GatewaySample {
            address: "10.0.0.1".parse().expect("an address"),
            iface: "eth0".to_owned(),
            default: true,
            state: Some(NeighborState::Reachable),
            mac: None,
            updated_ms: Some(1000),
        }],
        counters: COUNTERS.into_iter().map(|name| (name.to_owned(), 100_000)).collect(),
        sockstat: BTreeMap::from([("TCP.tw".to_owned(), 50), ("TCP.orphan".to_owned(), 3), ("TCP.mem".to_owned(), 20)]),
        conntrack: Some(ConntrackSample {
            count: Some(1000),
            max: Some(10_000),
            buckets: Some(2500),
            stats: ["drop", "early_drop", "insert_failed"].into_iter().map(|name| (name.to_owned(), 40)).collect(),
        }),
        tcp: Some(TcpSample { whole: true, states: states.into(), established_remote: 150, ..TcpSample::default() }),
        listeners: vec![listener("0.0.0.0:443", 0, 128)],
        ports: Some(PortRange { low: 32768, high: 60999, reserved: 0 }),
        udp: Some(UdpSample { sockets: 4, worst: Vec::new() }),
        fds: FdSample { host_open: Some(4000), host_max: Some(1_000_000), processes: Vec::new() },
        processes: vec![process(7, 'S', &["0.0.0.0:443"])],
        cpu: Some(CpuSample { cpus: 2, total: 100_000, idle: 50_000, steal: 10, softirq: 100 }),
        sysctls: SYSCTLS.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..HostSample::default()
    }
}

/// The same host a second later, having worked.
pub(super) fn second_later(before: &HostSample) -> HostSample {
    let mut after = before.clone();
    after.unix_ms += 1000;
    after.monotonic_ms += 1000.0;
    for (name, rise) in [
        ("Ip.InReceives", 5000),
        ("Tcp.OutSegs", 5000),
        ("Tcp.InSegs", 5000),
        ("Tcp.RetransSegs", 30),
        ("Tcp.PassiveOpens", 100),
        ("Udp.InDatagrams", 100),
    ] {
        raise(&mut after, name, rise);
    }
    for link in &mut after.links {
        for (name, rise) in [("rx_packets", 5000), ("tx_packets", 5000), ("rx_bytes", 4_000_000), ("tx_bytes", 6_000_000)] {
            *link.stats.entry(name.to_owned()).or_insert(0) += rise;
        }
    }
    if let Some(cpu) = &mut after.cpu {
        cpu.total += 200;
        cpu.idle += 100;
    }
    after
}

pub(super) fn raise(sample: &mut HostSample, counter: &str, rise: u64) {
    *sample.counters.entry(counter.to_owned()).or_insert(0) += rise;
}

/// The report on one second in which `change` befell the host, at both of its ends (`false` begin, `true` end).
pub(super) fn report(change: impl Fn(&mut HostSample, bool)) -> HostReport {
    let mut before = sample();
    change(&mut before, false);
    let mut after = second_later(&before);
    change(&mut after, true);
    HostReport::new(&before, &after, &[])
}

/// What is found, as `severity cause object`, worst first.
pub(super) fn found(report: &HostReport) -> Vec<String> {
    let word = |finding: &Finding| format!("{:?} {} {}", finding.severity, finding.cause, finding.object).trim_end().to_lowercase();
    report.findings.iter().map(word).collect()
}
