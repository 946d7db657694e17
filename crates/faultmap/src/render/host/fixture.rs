//! Reports and samples for the tests of what is shown: a host in order, and one whose connection table is full.

use super::super::super::terminal::Terminal;
use faultmap_model::host::{
    Advice, Bottleneck, ConntrackSample, Finding, Forecast, Fullest, HostLayer, HostReport, HostSample, Kind, LinkSample, Reading, SCHEMA,
    Severity, SoftnetCpu, Threshold, Unavailable, Unit,
};
use faultmap_model::report::LayerStatus;
use faultmap_model::verdict::NextStep;
use faultmap_model::{Layer, Status};
use std::collections::BTreeMap;

pub(super) const WIDE: Terminal = Terminal { width: 100, utf8: true };

fn storey(layer: Layer, percent: Option<f64>, summary: &str) -> HostLayer {
    let status = if percent.is_some() { LayerStatus::Ok } else { LayerStatus::Unknown };
    HostLayer { layer, status, percent, reading: None, object: None, summary: summary.to_owned() }
}

fn readings() -> Vec<Reading> {
    vec![
        Reading::new(Layer::L1, "link.utilisation", "eth0", Kind::Utilisation, Unit::BitsPerSecond).saying("eth0 tells no speed."),
        Reading::new(Layer::L3, "ip.in-discards", "", Kind::Errors, Unit::Count).rising(Some(0.0), Some(0.0), Some(12.0)),
        Reading::new(Layer::L4, "conntrack.entries", "", Kind::Utilisation, Unit::Count)
            .filled(Some(40_632.0), Some(65_536.0))
            .against(Threshold::percent(75.0, 90.0, "node_exporter mixin"))
            .saying("40,632 of 65,536 tracked connections."),
        Reading::new(Layer::L4, "listen.queue", "0.0.0.0:443", Kind::Saturation, Unit::Count).filled(Some(0.0), Some(4096.0)),
        Reading::new(Layer::L4, "tcp.retransmits", "", Kind::Errors, Unit::Count).rising(Some(3.0), Some(3.0), Some(812.0)),
    ]
}

pub(super) fn healthy() -> HostReport {
    HostReport {
        schema: SCHEMA.to_owned(),
        taken_unix_ms: 1_790_000_000_000,
        interval_ms: Some(1000.4),
        hostname: Some("web1".to_owned()),
        namespace: Some(4_026_531_840),
        status: Status::Healthy,
        bottleneck: None,
        fullest: Some(Fullest { layer: Layer::L4, reading: "conntrack.entries".to_owned(), object: String::new(), percent: 62.0 }),
        layers: vec![
            storey(Layer::L1, None, "No interface tells its speed."),
            storey(Layer::L2, Some(0.2), "2 of 1,024 neighbours."),
            storey(Layer::L3, Some(0.0), "No packet was discarded."),
            storey(Layer::L4, Some(62.0), "40,632 of 65,536 tracked connections."),
            storey(Layer::L5, Some(3.1), "31 of 1,024 descriptors of nginx."),
            storey(Layer::L6, None, "No certificate was looked at."),
            storey(Layer::L7, Some(12.0), "nginx uses 12 % of one CPU."),
        ],
        findings: Vec::new(),
        forecast: vec![Forecast {
            reading: "conntrack.entries".to_owned(),
            percent: 62.0,
            seconds: 2520.0,
            per_second: 0.015,
            samples: 40,
            watched_s: 2400.0,
        }],
        readings: readings(),
        drops: None,
        unavailable: vec![Unavailable { reading: "processes".to_owned(), why: "/proc is not mounted".to_owned() }],
    }
}

pub(super) fn full() -> HostReport {
    let mut report = healthy();
    let summary = "The connection table is full: 65,536 of 65,536 entries, and 120 packets were dropped for want of one.";
    report.status = Status::Fault;
    report.forecast.clear();
    report.bottleneck = Some(Bottleneck {
        layer: Layer::L4,
        cause: "l4.conntrack-full".to_owned(),
        severity: Severity::Crit,
        object: String::new(),
        percent: Some(100.0),
        sentence: summary.to_owned(),
    });
    if let Some(storey) = report.layers.get_mut(3) {
        (storey.status, storey.percent, storey.summary) = (LayerStatus::Fail, Some(100.0), summary.to_owned());
    }
    report.readings[2] =
        report.readings[2].clone().filled(Some(65_536.0), Some(65_536.0)).against(Threshold::percent(75.0, 90.0, "kernel"));
    report.findings = vec![
        Finding {
            layer: Layer::L4,
            cause: "l4.conntrack-full".to_owned(),
            severity: Severity::Crit,
            object: String::new(),
            summary: summary.to_owned(),
            evidence: vec!["conntrack.entries".to_owned()],
            loss: true,
            percent: Some(100.0),
            follows: None,
            next: vec![NextStep { run: "conntrack -S".to_owned(), on: "here".to_owned(), why: "drop and insert_failed rise".to_owned() }],
            fix: vec!["Raise nf_conntrack_max, or shorten the timeouts.".to_owned()],
            advice: Some(Advice {
                sysctl: "net.netfilter.nf_conntrack_max".to_owned(),
                present: "65536".to_owned(),
                suggested: "262144".to_owned(),
                costs: "about 80 MB of kernel memory when it is full".to_owned(),
            }),
        },
        Finding {
            layer: Layer::L4,
            cause: "l4.loss-retransmission".to_owned(),
            severity: Severity::Warn,
            object: String::new(),
            summary: "3 % of the segments were sent again.".to_owned(),
            evidence: vec!["tcp.retransmits".to_owned()],
            loss: true,
            percent: None,
            follows: Some("l4.conntrack-full".to_owned()),
            next: Vec::new(),
            fix: Vec::new(),
            advice: None,
        },
    ];
    report
}

/// With names that try to break out of a label, a line or a terminal.
pub(super) fn sample() -> HostSample {
    let link: LinkSample = serde_json::from_value(serde_json::json!({
        "link": {
            "iface": "eth\"0\\", "index": 2, "up": true, "operstate": "up", "carrier": true, "mtu": 1500, "speed_mbps": 1000, "full_duplex": true,
            "loopback": false, "addresses": [], "on_path": true, "driver": "virtio_net"
        },
        "stats": {"rx_bytes": u64::MAX, "tx_packets": 7, "multicast": 1, "collisions": 0},
        "carrier_changes": 2, "qdisc": "fq_codel", "qdisc_drops": 3, "tx_queue_len": 1000, "gateway_routes": 1
    }))
    .expect("a link");
    let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<BTreeMap<_, _>>();
    HostSample {
        unix_ms: 1_790_000_000_500,
        hostname: Some("web1".to_owned()),
        namespace: Some(4_026_531_840),
        links: vec![link],
        softnet: vec![SoftnetCpu { processed: 10, dropped: 1, squeezed: 2, queued: Some(0) }],
        counters: counts(&[("Tcp.RetransSegs", 812), ("Tcp.CurrEstab", 4), ("Tcp.MaxConn", u64::MAX), ("TcpExt.ListenOverflows", 5)]),
        sockstat: counts(&[("TCP.mem", 3), ("TCP.inuse", 9), ("FRAG.memory", 0)]),
        conntrack: Some(ConntrackSample {
            count: Some(3),
            max: Some(65_536),
            buckets: None,
            stats: counts(&[("drop", 1), ("entries", 3), ("insert_failed", 0)]),
        }),
        unavailable: vec![Unavailable { reading: "processes".to_owned(), why: "two\nlines".to_owned() }],
        ..HostSample::default()
    }
}
