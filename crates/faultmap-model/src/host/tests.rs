//! Every finding from a pair of samples, and the healthy busy host beside it.

use super::tests_support::{found, link, listener, process, raise, report, sample, second_later};
use super::{
    CertificateSample, DestinationSample, HostReport, HostSample, LinkSample, PortRange, ProcessFds, RingSample, SoftnetCpu, UdpSample,
    UdpSocketSample, UnreachedSample,
};
use crate::Layer;
use crate::observation::NeighborState;
use crate::report::LayerStatus;
use crate::verdict::Status;
use proptest::prelude::*;

/// `change` befalls the sample at the end (`true`) or the begin (`false`) of one second.
fn check(change: impl Fn(&mut HostSample, bool), expected: &[&str], exit_code: u8) {
    let report = report(change);
    assert_eq!(found(&report), expected);
    assert_eq!(report.exit_code(), exit_code);
}

fn rises(counters: &'static [(&'static str, u64)]) -> impl Fn(&mut HostSample, bool) {
    move |sample, end| counters.iter().filter(|_| end).for_each(|(name, rise)| raise(sample, name, *rise))
}

#[test]
fn a_busy_host_with_terrible_totals_since_boot_is_healthy() {
    let report = report(|_, _| ());
    assert_eq!(found(&report), Vec::<String>::new());
    assert_eq!((report.status, report.bottleneck.clone(), report.exit_code()), (Status::Healthy, None, 0));
    assert_eq!(report.layers.iter().map(|layer| layer.layer).collect::<Vec<_>>(), Layer::ALL);
}

#[test]
fn one_sample_alone_proves_no_loss() {
    let mut sample = sample();
    raise(&mut sample, "TcpExt.ListenOverflows", 1_000_000);
    let report = HostReport::new(&sample, &sample, &[]);
    assert_eq!((found(&report), report.interval_ms), (Vec::new(), None));
}

#[test]
fn a_full_conntrack_table_that_drops_is_at_fault_and_one_that_is_merely_fuller_is_at_risk() {
    let fill = |count: u64, drops: u64| {
        move |sample: &mut HostSample, end: bool| {
            let conntrack = sample.conntrack.as_mut().expect("conntrack");
            conntrack.count = Some(count);
            *conntrack.stats.get_mut("drop").expect("drop") += if end { drops } else { 0 };
        }
    };
    check(fill(10_000, 30), &["crit l4.conntrack-full"], 14);
    check(fill(8000, 0), &["warn l4.conntrack-full"], 3);
    check(fill(7000, 0), &[], 0);
    check(fill(1000, 3), &[], 0);
}

#[test]
fn an_accept_queue_is_full_when_it_was_so_twice_or_turned_somebody_away() {
    let waiting = |then: u64, now: u64, overflows: u64| {
        move |sample: &mut HostSample, end: bool| {
            sample.listeners = vec![listener("0.0.0.0:443", if end { now } else { then }, 128)];
            raise(sample, "TcpExt.ListenOverflows", if end { overflows } else { 0 });
        }
    };
    check(waiting(129, 129, 40), &["crit l4.accept-queue-full 0.0.0.0:443"], 14);
    check(waiting(129, 129, 0), &["crit l4.accept-queue-full 0.0.0.0:443"], 14);
    check(waiting(0, 129, 9), &["crit l4.accept-queue-full 0.0.0.0:443"], 14);
    check(waiting(70, 80, 0), &["warn l4.accept-queue-full 0.0.0.0:443"], 3);
    check(waiting(0, 100, 0), &[], 0);
    check(waiting(0, 0, 9), &["crit l4.accept-queue-full"], 14);
}

#[test]
fn of_listeners_that_share_an_address_the_fullest_speaks() {
    let shared = |sample: &mut HostSample, _: bool| {
        let mut stuck = listener("0.0.0.0:443", 129, 128);
        stuck.inode = 9;
        sample.listeners = vec![listener("0.0.0.0:443", 0, 128), stuck];
    };
    check(shared, &["crit l4.accept-queue-full 0.0.0.0:443"], 14);
    let report = report(shared);
    assert_eq!(report.readings_of("listener.accept-queue").count(), 1);
}

#[test]
fn datagrams_that_a_full_link_cannot_take_are_its_consequence() {
    let full = |sample: &mut HostSample, end: bool| {
        on_link(|link, end| rose(link, "tx_bytes", if end { 118_000_000 } else { 0 }))(sample, end);
        on_link(|link, end| link.qdisc_drops = Some(if end { 1100 } else { 100 }))(sample, end);
        raise(sample, "Udp.SndbufErrors", if end { 900 } else { 0 });
    };
    let report = report(full);
    assert!(report.findings[1..].iter().all(|finding| finding.follows.is_some()), "{:?}", found(&report));
    check(rises(&[("Udp.SndbufErrors", 900)]), &["warn l4.udp-buffer-full"], 3);
}

#[test]
fn listen_drops_alone_are_too_generic_to_mean_anything() {
    check(rises(&[("TcpExt.ListenDrops", 500)]), &[], 0);
}

#[test]
fn an_early_drop_without_a_full_table_and_a_clash_of_two_questions_are_no_fault() {
    let stats = |name: &'static str, rise: u64| {
        move |sample: &mut HostSample, end: bool| {
            let conntrack = sample.conntrack.as_mut().expect("conntrack");
            *conntrack.stats.get_mut(name).expect("a counter") += if end { rise } else { 0 };
        }
    };
    check(stats("early_drop", 5), &[], 0);
    check(stats("insert_failed", 4), &[], 0);
    check(
        |sample, end| {
            stats("insert_failed", 20)(sample, end);
            stats("drop", 20)(sample, end);
        },
        &["warn l4.snat-ports-exhausted"],
        3,
    );
}

fn pair(used: u64, time_wait: u64) -> impl Fn(&mut HostSample, bool) {
    move |sample, _| {
        let (source, destination) = ("10.0.0.2".parse().expect("an address"), "10.0.0.9:5432".parse().expect("an address"));
        sample.destinations = vec![DestinationSample { source, destination, used, time_wait }];
    }
}

#[test]
fn ports_run_out_for_each_destination_on_its_own() {
    let object = "10.0.0.2 -> 10.0.0.9:5432";
    check(pair(28_232, 100), &[&format!("crit l4.ephemeral-ports-exhausted {object}")], 14);
    check(pair(21_000, 100), &[&format!("warn l4.ephemeral-ports-exhausted {object}")], 3);
    check(pair(15_000, 100), &[], 0);
}

#[test]
fn ports_in_time_wait_count_only_where_they_cannot_be_reused() {
    let reused = |sample: &mut HostSample, end: bool| {
        pair(27_000, 26_900)(sample, end);
        sample.sysctls.insert("net.ipv4.tcp_tw_reuse".to_owned(), "1".to_owned());
    };
    check(reused, &[], 0);
    let report = report(pair(27_000, 26_900));
    let advice = report.findings[0].advice.clone().expect("advice");
    assert_eq!((advice.sysctl.as_str(), advice.present.as_str(), advice.suggested.as_str()), ("net.ipv4.tcp_tw_reuse", "2", "1"));
}

#[test]
fn syn_cookies_keep_a_flooded_listener_open_and_without_them_it_drops() {
    check(rises(&[("TcpExt.TCPReqQFullDrop", 300), ("TcpExt.ListenDrops", 300)]), &["crit l4.syn-backlog-full"], 14);
    check(rises(&[("TcpExt.TCPReqQFullDoCookies", 300)]), &["warn l4.syn-backlog-full"], 3);
    check(rises(&[("TcpExt.TCPReqQFullDoCookies", 0)]), &[], 0);
}

#[test]
fn without_cookies_a_backlog_three_quarters_full_turns_strangers_away_and_counts_only_listen_drops() {
    let flooded = |half_open: u64, drops: u64| {
        move |sample: &mut HostSample, end: bool| {
            sample.sysctls.insert("net.ipv4.tcp_syncookies".to_owned(), "0".to_owned());
            sample.sysctls.insert("net.ipv4.tcp_max_syn_backlog".to_owned(), "128".to_owned());
            sample.listeners[0].half_open = half_open;
            raise(sample, "TcpExt.ListenDrops", if end { drops } else { 0 });
        }
    };
    check(flooded(96, 200), &["crit l4.syn-backlog-full 0.0.0.0:443"], 14);
    check(flooded(96, 0), &[], 0);
    check(flooded(3, 200), &[], 0);
}

#[test]
fn retransmits_matter_as_a_share_of_what_was_sent() {
    check(rises(&[("Tcp.RetransSegs", 600)]), &["crit l4.retransmissions"], 14);
    check(rises(&[("Tcp.RetransSegs", 250)]), &["warn l4.retransmissions"], 3);
    // SYNs to hosts that are gone are sent again for ever.
    check(rises(&[("Tcp.RetransSegs", 600), ("TcpExt.TCPSynRetrans", 600)]), &[], 0);
}

#[test]
fn an_idle_host_that_sends_three_segments_again_is_healthy() {
    let idle = |sample: &mut HostSample, end: bool| {
        if end {
            for (name, value) in [("Tcp.OutSegs", 100_010), ("Tcp.RetransSegs", 100_003)] {
                sample.counters.insert(name.to_owned(), value);
            }
        }
    };
    check(idle, &[], 0);
}

#[test]
fn most_connections_backing_off_is_loss_although_nothing_is_sent() {
    let stuck = |then: u64, now: u64, all: u64| {
        move |sample: &mut HostSample, end: bool| {
            let tcp = sample.tcp.as_mut().expect("sockets");
            (tcp.backing_off, tcp.established_remote) = (if end { now } else { then }, all);
        }
    };
    check(stuck(8, 9, 10), &["warn l4.retransmissions"], 3);
    check(stuck(0, 9, 10), &[], 0);
    check(stuck(40, 40, 1000), &[], 0);
}

#[test]
fn peers_that_read_nothing_are_told_when_they_are_many() {
    let closed = |count: u64, all: u64| {
        move |sample: &mut HostSample, _: bool| {
            let tcp = sample.tcp.as_mut().expect("sockets");
            (tcp.zero_window, tcp.states) = (count, [("ESTABLISHED".to_owned(), all)].into());
        }
    };
    check(closed(40, 200), &["warn l4.zero-window"], 3);
    check(closed(1, 1), &["warn l4.zero-window"], 3);
    check(closed(1, 20), &[], 0);
}

#[test]
fn a_udp_socket_that_overflows_is_named() {
    let lost = |lost: u64| {
        move |sample: &mut HostSample, end: bool| {
            let bound = "0.0.0.0:514".parse().expect("an address");
            let drops = 50 + if end { lost } else { 0 };
            let socket = UdpSocketSample { bound, inode: 9, receive_used: 200_000, receive_limit: 212_992, drops, program: None };
            sample.udp = Some(UdpSample { sockets: 4, worst: vec![socket] });
            raise(sample, "Udp.RcvbufErrors", if end { lost } else { 0 });
        }
    };
    check(lost(400), &["crit l4.udp-buffer-full 0.0.0.0:514"], 14);
    check(lost(3), &[], 0);
}

#[test]
fn a_process_at_its_limit_of_descriptors_can_neither_accept_nor_connect() {
    let open = |open: u64| {
        move |sample: &mut HostSample, _: bool| {
            sample.fds.processes = vec![ProcessFds { pid: 7, program: "shop".to_owned(), open, limit: 1024 }];
        }
    };
    check(open(1024), &["crit l4.fd-exhausted shop[7]"], 14);
    check(open(980), &["warn l4.fd-exhausted shop[7]"], 3);
    check(open(700), &[], 0);
}

#[test]
fn descriptors_that_ran_out_explain_the_accept_queue_of_that_program_and_of_no_other() {
    let both = |program: &'static str| {
        move |sample: &mut HostSample, _: bool| {
            sample.fds.processes = vec![ProcessFds { pid: 7, program: program.to_owned(), open: 1024, limit: 1024 }];
            sample.listeners = vec![listener("0.0.0.0:443", 129, 128)];
        }
    };
    let explained = report(both("shop"));
    assert_eq!(found(&explained), ["crit l4.fd-exhausted shop[7]", "crit l4.accept-queue-full 0.0.0.0:443"]);
    assert_eq!(explained.findings[1].follows.as_deref(), Some("l4.fd-exhausted"));
    let apart = report(both("editor"));
    assert!(apart.findings.iter().all(|finding| finding.follows.is_none()), "{:?}", found(&apart));
}

#[test]
fn memory_and_time_wait_have_their_own_limits() {
    check(|sample, _| sample.sockstat.extend([("TCP.mem".to_owned(), 290)]), &["crit l4.tcp-memory"], 14);
    check(rises(&[("TcpExt.TCPAbortOnMemory", 50)]), &["crit l4.tcp-memory"], 14);
    check(rises(&[("TcpExt.TCPTimeWaitOverflow", 50)]), &["warn l4.time-wait-full"], 3);
    check(|sample, _| sample.sockstat.extend([("TCP.tw".to_owned(), 65_536)]), &[], 0);
}

#[test]
fn a_stopped_program_is_the_cause_of_its_full_accept_queue() {
    let frozen = |state: char, mate: char| {
        move |sample: &mut HostSample, _: bool| {
            sample.processes = vec![process(7, state, &["0.0.0.0:443"]), process(8, mate, &["0.0.0.0:443"])];
            sample.listeners = vec![listener("0.0.0.0:443", 129, 128)];
        }
    };
    let report = report(frozen('T', 'T'));
    assert_eq!(found(&report), ["crit l7.service-mute shop[7]", "crit l4.accept-queue-full 0.0.0.0:443"]);
    assert_eq!((report.exit_code(), report.findings[1].follows.as_deref()), (17, Some("l7.service-mute")));
    // A worker that still runs accepts: then the queue is full for another reason.
    check(frozen('T', 'S'), &["crit l4.accept-queue-full 0.0.0.0:443"], 14);
}

#[test]
fn a_busy_program_is_slow_only_if_somebody_waits_for_it() {
    let busy = |waiting: u64| {
        move |sample: &mut HostSample, end: bool| {
            sample.processes[0].cpu_ms = Some(if end { 1100 } else { 100 });
            sample.listeners = vec![listener("0.0.0.0:443", waiting, 128)];
        }
    };
    check(busy(0), &[], 0);
    check(busy(5), &["warn l7.service-slow shop[7]"], 3);
}

#[test]
fn sessions_that_are_never_closed_are_told_when_they_last() {
    let waits = |then: u64, now: u64| {
        move |sample: &mut HostSample, end: bool| {
            sample.tcp.as_mut().expect("sockets").close_wait = [(":443".to_owned(), if end { now } else { then })].into();
        }
    };
    check(waits(300, 310), &["warn l5.close-wait-leak :443"], 3);
    check(waits(0, 310), &[], 0);
    check(waits(30, 30), &[], 0);
}

#[test]
fn a_certificate_of_our_own_is_told_two_weeks_before_its_end() {
    let ends_in = |days: i64| {
        move |sample: &mut HostSample, _: bool| {
            let listener = "0.0.0.0:443".parse().expect("an address");
            let not_after_unix_s = 1_700_000_000 + days * 86_400;
            sample.certificates = Some(vec![CertificateSample { listener, subject: "shop.test".to_owned(), not_after_unix_s }]);
        }
    };
    check(ends_in(-1), &["crit l6.cert-expired 0.0.0.0:443"], 16);
    check(ends_in(5), &["warn l6.cert-expiring-soon 0.0.0.0:443"], 3);
    check(ends_in(60), &[], 0);
}

fn on_link(change: impl Fn(&mut LinkSample, bool)) -> impl Fn(&mut HostSample, bool) {
    move |sample, end| change(&mut sample.links[0], end)
}

fn rose(link: &mut LinkSample, counter: &str, rise: u64) {
    *link.stats.entry(counter.to_owned()).or_insert(0) += rise;
}

#[test]
fn a_link_is_full_against_its_speed_or_its_shaper_and_never_against_a_speed_that_means_nothing() {
    let sends = |bytes: u64, speed: Option<u32>, kind: Option<&'static str>, shaped: Option<u64>| {
        on_link(move |link, end| {
            (link.link.speed_mbps, link.kind, link.shaped_bps) = (speed, kind.map(str::to_owned), shaped);
            rose(link, "tx_bytes", if end { bytes } else { 0 });
        })
    };
    check(sends(117_000_000, Some(1000), None, None), &["crit l1.link-saturated eth0"], 11);
    check(sends(108_000_000, Some(1000), None, None), &["warn l1.link-saturated eth0"], 3);
    check(sends(60_000_000, Some(1000), None, None), &[], 0);
    check(sends(6_250_000, Some(10_000), Some("veth"), Some(100_000_000)), &["crit l1.link-saturated eth0"], 11);
    check(sends(1_250_000_000, Some(10_000), Some("veth"), None), &[], 0);
    check(sends(1_000_000, Some(10), Some("tun"), None), &[], 0);
    check(sends(500_000_000, None, None, None), &[], 0);
    let queued = |sample: &mut HostSample, end: bool| {
        sends(113_000_000, Some(1000), None, None)(sample, end);
        sample.links[0].qdisc_queued = Some(40);
    };
    check(queued, &["crit l1.link-saturated eth0"], 11);
    // An emulated card that moves more than its name says.
    check(sends(500_000_000, Some(1000), None, None), &[], 0);
}

#[test]
fn a_full_link_explains_its_drops_and_the_retransmits() {
    let report = report(|sample, end| {
        on_link(|link, end| {
            rose(link, "tx_bytes", if end { 118_000_000 } else { 0 });
            link.qdisc_drops = Some(if end { 1100 } else { 100 });
        })(sample, end);
        raise(sample, "Tcp.RetransSegs", if end { 800 } else { 0 });
    });
    assert_eq!(found(&report), ["crit l1.link-saturated eth0", "crit l1.queue-drops eth0", "crit l4.retransmissions"]);
    assert_eq!(report.bottleneck.as_ref().and_then(|worst| worst.percent.map(f64::round)), Some(99.0));
    assert!(report.findings[1..].iter().all(|finding| finding.follows.is_some()));
}

#[test]
fn queues_and_rings_that_lose_a_share_of_their_frames_are_named() {
    check(on_link(|link, end| link.qdisc_drops = Some(if end { 1100 } else { 100 })), &["crit l1.queue-drops eth0"], 11);
    check(on_link(|link, end| rose(link, "rx_missed_errors", if end { 400 } else { 0 })), &["crit l1.queue-drops eth0"], 11);
    check(on_link(|link, end| rose(link, "tx_dropped", if end { 150 } else { 0 })), &["warn l1.queue-drops eth0"], 3);
    // What a queue drops to signal congestion, and frames of unknown protocols.
    check(on_link(|link, end| link.qdisc_drops = Some(if end { 140 } else { 100 })), &[], 0);
    check(on_link(|link, end| rose(link, "rx_dropped", if end { 4000 } else { 0 })), &[], 0);
}

#[test]
fn a_small_ring_that_overflows_is_advised_to_grow() {
    let report = report(on_link(|link, end| {
        link.ring = Some(RingSample { rx: 256, rx_max: 4096, tx: 256, tx_max: 4096 });
        rose(link, "rx_missed_errors", if end { 400 } else { 0 });
    }));
    let advice = report.findings[0].advice.clone().expect("advice");
    assert_eq!((advice.sysctl.as_str(), advice.suggested.as_str()), ("ethtool -G eth0 rx", "4096"));
}

#[test]
fn frames_and_packets_that_arrive_damaged_are_bit_errors() {
    let damaged = |crc: u64| {
        on_link(move |link, end| {
            rose(link, "rx_crc_errors", if end { crc } else { 0 });
            rose(link, "rx_errors", if end { crc } else { 0 });
        })
    };
    check(damaged(1000), &["crit l1.bit-errors eth0"], 11);
    check(damaged(5), &[], 0);
    check(rises(&[("Tcp.InCsumErrors", 250)]), &["warn l1.bit-errors"], 3);
    check(rises(&[("Tcp.InCsumErrors", 12)]), &[], 0);
}

#[test]
fn the_only_way_out_without_carrier_is_a_fault_and_a_spare_port_is_not() {
    let unplugged = |link: &mut LinkSample, end: bool| link.link.carrier = Some(!end);
    check(on_link(unplugged), &["crit l1.no-carrier eth0"], 11);
    check(on_link(|link, end| (link.link.up, link.gateway_routes) = (!end, u32::from(!end))), &["crit l1.interface-down eth0"], 11);
    let beside = |change: fn(&mut LinkSample, bool)| {
        move |sample: &mut HostSample, end: bool| {
            let mut spare = link("eth1", 3);
            spare.gateway_routes = 0;
            change(&mut spare, end);
            sample.links = vec![link("eth0", 2), spare];
        }
    };
    check(beside(|spare, _| spare.link.carrier = Some(false)), &[], 0);
    check(beside(|spare, _| spare.link.up = false), &[], 0);
}

#[test]
fn a_bridge_without_members_is_no_fault() {
    let docker = |sample: &mut HostSample, _: bool| {
        let mut bridge = link("docker0", 4);
        (bridge.kind, bridge.gateway_routes, bridge.link.carrier) = (Some("bridge".to_owned()), 0, Some(false));
        sample.links.push(bridge);
    };
    check(docker, &[], 0);
}

#[test]
fn a_link_flaps_when_its_carrier_goes_and_comes_back() {
    check(on_link(|link, end| link.carrier_changes = Some(if end { 4 } else { 2 })), &["warn l1.link-flapping eth0"], 3);
    check(on_link(|link, end| link.carrier_changes = Some(if end { 3 } else { 2 })), &[], 0);
}

#[test]
fn half_duplex_is_told_of_real_links_only() {
    check(on_link(|link, _| link.link.full_duplex = Some(false)), &["warn l1.half-duplex eth0"], 3);
    let tunnel = on_link(|link, _| (link.link.full_duplex, link.kind) = (Some(false), Some("veth".to_owned())));
    check(tunnel, &[], 0);
}

#[test]
fn packets_dropped_from_a_cpus_backlog_are_queue_drops() {
    let softnet = |dropped: u64, squeezed: u64| {
        move |sample: &mut HostSample, end: bool| {
            let cpu = &mut sample.softnet[0];
            cpu.processed += if end { 5000 } else { 0 };
            cpu.dropped += if end { dropped } else { 0 };
            cpu.squeezed += if end { squeezed } else { 0 };
        }
    };
    check(softnet(500, 0), &["crit l1.queue-drops"], 11);
    check(softnet(0, 5000), &[], 0);
}

#[test]
fn a_full_neighbour_table_explains_a_router_that_cannot_be_resolved() {
    let full = |sample: &mut HostSample, end: bool| {
        let table = &mut sample.neighbor_tables[0];
        table.entries = Some(1024);
        table.table_fulls = Some(if end { 577 } else { 277 });
        sample.gateways[0].state = Some(NeighborState::Failed);
    };
    check(full, &["crit l2.neighbor-table-full ipv4", "crit l2.gateway-unresolved 10.0.0.1 on eth0"], 12);
}

#[test]
fn neighbour_entries_beyond_the_limit_do_not_count_against_it() {
    check(|sample, _| sample.neighbor_tables[0].entries = Some(5000), &[], 0);
    check(|sample, _| sample.neighbor_tables[0].entries = Some(1000), &[], 0);
    let squeezed = |sample: &mut HostSample, end: bool| {
        let table = &mut sample.neighbor_tables[0];
        (table.entries, table.forced_gc_runs) = (Some(1000), Some(if end { 19 } else { 9 }));
    };
    check(squeezed, &["warn l2.neighbor-table-full ipv4"], 3);
}

#[test]
fn a_router_that_does_not_answer_is_a_fault_unless_nobody_asked_lately() {
    let state = |then: NeighborState, now: NeighborState, updated_ms: u64| {
        move |sample: &mut HostSample, end: bool| {
            let gateway = &mut sample.gateways[0];
            (gateway.state, gateway.updated_ms) = (Some(if end { now } else { then }), Some(updated_ms));
        }
    };
    use NeighborState::{Failed, Incomplete, Reachable};
    let expected = ["crit l2.gateway-unresolved 10.0.0.1 on eth0"];
    check(state(Reachable, Failed, 500), &expected, 12);
    check(state(Failed, Incomplete, 500), &expected, 12);
    check(state(Failed, Failed, 900_000), &[], 0);
    check(state(Reachable, Incomplete, 100), &[], 0);
}

#[test]
fn a_station_that_programs_try_in_vain_is_told_and_a_scanned_segment_is_not() {
    let tried = |then: u64, now: u64| {
        move |sample: &mut HostSample, end: bool| {
            let connecting = if end { now } else { then };
            let (address, iface) = ("10.0.0.77".parse().expect("an address"), "eth0".to_owned());
            sample.unreached = [UnreachedSample { address, iface, connecting }].into_iter().filter(|_| connecting > 0).collect();
            sample.neighbors = [("failed".to_owned(), 250)].into();
        }
    };
    check(tried(2, 2), &["warn l2.neighbor-unresolved 10.0.0.77 on eth0"], 3);
    check(tried(0, 2), &[], 0);
    check(tried(0, 0), &[], 0);
}

#[test]
fn a_silent_ipv6_router_matters_where_programs_would_use_it() {
    let v6 = |address: &'static str| {
        move |sample: &mut HostSample, end: bool| {
            if end {
                return;
            }
            let mut router = sample.gateways[0].clone();
            (router.address, router.state) = ("fe80::1".parse().expect("an address"), Some(NeighborState::Failed));
            sample.gateways.push(router);
            sample.links[0].link.addresses.push(address.to_owned());
        }
    };
    check(v6("fd00::2/64"), &[], 0);
    check(v6("2001:db8::2/64"), &["warn l2.gateway-unresolved fe80::1 on eth0"], 3);
    let alone = |sample: &mut HostSample, end: bool| {
        v6("fd00::2/64")(sample, end);
        sample.gateways.retain(|gateway| gateway.address.is_ipv6());
    };
    check(alone, &["crit l2.gateway-unresolved fe80::1 on eth0"], 12);
}

#[test]
fn an_address_that_another_station_holds_is_named() {
    let duplicate = on_link(|link, _| link.link.addresses = vec!["fd00::2/64 dadfailed".to_owned()]);
    check(duplicate, &["crit l2.duplicate-address fd00::2/64 on eth0"], 12);
}

#[test]
fn packets_without_a_route_are_a_fault_where_there_is_no_way_out() {
    check(rises(&[("Ip.OutNoRoutes", 30)]), &["warn l3.no-route"], 3);
    let cut_off = |sample: &mut HostSample, end: bool| {
        sample.gateways.clear();
        sample.links[0].gateway_routes = 0;
        raise(sample, "Ip.OutNoRoutes", if end { 30 } else { 0 });
    };
    check(cut_off, &["crit l3.no-route"], 13);
    // Programs try IPv6 first, also where there is none.
    check(rises(&[("Ip6.OutNoRoutes", 30)]), &[], 0);
}

#[test]
fn the_reverse_path_filter_is_told_of_when_it_takes_a_share() {
    check(rises(&[("TcpExt.IPReversePathFilter", 2000)]), &["crit l3.rp-filter"], 13);
    check(rises(&[("TcpExt.IPReversePathFilter", 100)]), &["warn l3.rp-filter"], 3);
    check(rises(&[("TcpExt.IPReversePathFilter", 4)]), &[], 0);
    check(rises(&[("TcpExt.IPReversePathFilter", 20)]), &[], 0);
}

#[test]
fn fragments_that_never_become_whole_are_told() {
    check(rises(&[("Ip.ReasmFails", 40), ("Ip.ReasmReqds", 60)]), &["crit l3.fragments-dropped"], 13);
    check(rises(&[("Ip.ReasmFails", 8), ("Ip.ReasmReqds", 6000)]), &[], 0);
}

#[test]
fn of_two_faults_the_one_that_loses_goes_before_the_one_that_is_merely_full() {
    let both = |sample: &mut HostSample, end: bool| {
        sample.conntrack.as_mut().expect("conntrack").count = Some(9970);
        raise(sample, "TcpExt.TCPReqQFullDrop", if end { 50 } else { 0 });
    };
    check(both, &["crit l4.syn-backlog-full", "crit l4.conntrack-full"], 14);
}

#[test]
fn every_named_cause_has_its_page() {
    let report = report(|sample, end| {
        rises(&[("TcpExt.TCPTimeWaitOverflow", 50), ("TcpExt.TCPAbortOnMemory", 50), ("Udp.RcvbufErrors", 400)])(sample, end);
        sample.tcp.as_mut().expect("sockets").close_wait = [(":443".to_owned(), 300)].into();
    });
    assert_eq!(report.findings.len(), 4);
    for finding in &report.findings {
        let cause = crate::causes::find(&finding.cause).expect("a page");
        assert_eq!(cause.layer, finding.layer);
        assert!(!finding.next.is_empty() && !finding.fix.is_empty() && !finding.evidence.is_empty(), "{finding:?}");
        let shown = serde_json::to_string(finding).expect("JSON");
        assert!(!shown.contains("{ip}") && !shown.contains("{port}") && !shown.contains("{iface}"), "{shown}");
    }
}

#[test]
fn what_could_not_be_read_is_unknown_and_not_zero() {
    let nothing = HostSample { monotonic_ms: 1000.0, ..HostSample::default() };
    let report = HostReport::new(&HostSample::default(), &nothing, &[]);
    assert!(report.layers.iter().all(|layer| layer.status == LayerStatus::Unknown && layer.percent.is_none()), "{:?}", report.layers);
    assert!(report.readings.iter().all(|reading| reading.value.is_none()), "{:?}", report.readings);
    assert_eq!((report.exit_code(), report.status), (0, Status::Healthy));
}

#[test]
fn a_report_is_read_back_as_it_was_written() {
    let report = report(pair(28_232, 100));
    let text = serde_json::to_string(&report).expect("JSON");
    assert_eq!(serde_json::from_str::<HostReport>(&text).expect("a report"), report);
    let sample = sample();
    let text = serde_json::to_string(&sample).expect("JSON");
    assert_eq!(serde_json::from_str::<HostSample>(&text).expect("a sample"), sample);
}

#[test]
fn a_table_that_fills_is_foretold_with_the_report() {
    let (mut before, mut history) = (sample(), Vec::new());
    for second in 0..5_u64 {
        let mut after = second_later(&before);
        after.conntrack.as_mut().expect("conntrack").count = Some(1000 + second * 1000);
        let report = HostReport::new(&before, &after, &history);
        history.push(report.point());
        if second == 4 {
            let forecast = report.forecast.iter().find(|forecast| forecast.reading == "conntrack.entries").expect("it grows");
            assert_eq!((forecast.seconds.round(), forecast.samples), (5.0, 5));
        }
        before = after;
    }
}

/// Numbers of every size, and the edges.
fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>(), 0_u64..100_000]
}

proptest! {
    #[test]
    fn no_sample_makes_it_panic(counts in prop::collection::vec(any_count(), 80), times in prop::array::uniform2(any::<f64>()), states in "[A-Za-z ]{2}") {
        let (mut before, mut next) = (sample(), counts.iter().copied().cycle());
        let mut after = second_later(&before);
        (before.monotonic_ms, after.monotonic_ms) = (times[0], times[1]);
        for (sample, state) in [&mut before, &mut after].into_iter().zip(states.chars()) {
            scramble(sample, &mut || next.next().unwrap_or(0), state);
        }
        let history = HostReport::new(&after, &before, &[]).point();
        let report = HostReport::new(&before, &after, &[history.clone(), history]);
        prop_assert_eq!(report.layers.len(), 7);
        let shares: Vec<f64> = report.readings.iter().filter_map(|reading| reading.percent).collect();
        prop_assert!(shares.iter().all(|percent| percent.is_finite()), "{:?}", shares);
        prop_assert!(serde_json::to_string(&report).is_ok());
    }
}

fn scramble(sample: &mut HostSample, next: &mut dyn FnMut() -> u64, state: char) {
    sample.counters.values_mut().for_each(|value| *value = next());
    sample.sockstat.values_mut().for_each(|value| *value = next());
    sample.links[0].stats.values_mut().for_each(|value| *value = next());
    sample.links[0].shaped_bps = Some(next());
    sample.links[0].qdisc_drops = Some(next());
    sample.links[0].carrier_changes = Some(next());
    sample.softnet[0] = SoftnetCpu { processed: next(), dropped: next(), squeezed: next(), queued: Some(next()) };
    sample.neighbor_tables[0].entries = Some(next());
    sample.neighbor_tables[0].table_fulls = Some(next());
    let conntrack = sample.conntrack.as_mut().expect("conntrack");
    (conntrack.count, conntrack.max) = (Some(next()), Some(next()));
    conntrack.stats.values_mut().for_each(|value| *value = next());
    sample.listeners = vec![listener("0.0.0.0:443", next(), next())];
    sample.listeners[0].half_open = next();
    pair(next(), next())(sample, true);
    sample.ports = Some(PortRange { low: (next() % 65_536) as u16, high: (next() % 65_536) as u16, reserved: next() as u32 });
    sample.fds.processes = vec![ProcessFds { pid: 7, program: "shop".to_owned(), open: next(), limit: next() }];
    sample.processes = vec![process(7, state, &["0.0.0.0:443"])];
    (sample.processes[0].cpu_ms, sample.processes[0].waited_ns, sample.processes[0].threads) = (Some(next()), Some(next()), next());
    let tcp = sample.tcp.as_mut().expect("sockets");
    (tcp.backing_off, tcp.zero_window, tcp.established_remote) = (next(), next(), next());
    sample.sysctls.values_mut().for_each(|value| *value = next().to_string());
    let listener = "0.0.0.0:443".parse().expect("an address");
    let not_after_unix_s = next().cast_signed();
    sample.certificates = Some(vec![CertificateSample { listener, subject: String::new(), not_after_unix_s }]);
}
