//! Interfaces, their counters and the snapshot around them.

use crate::namespace::{cable, inside, ip, until};
use faultmap_host::{NeighborWatch, Snapshot, flows, ip_in_counts, privileges, read_neighbor, route, rp_filter};
use faultmap_model::observation::{Link, Role, RouteOutcome};
use nix::sys::resource::{Resource, setrlimit};
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

fn link(snapshot: &Snapshot, iface: &str) -> Link {
    snapshot.links().into_iter().find(|link| link.iface == iface).expect("the interface")
}

#[test]
fn a_healthy_cable_has_carrier_speed_addresses_and_a_mac() {
    inside("links::a_healthy_cable_has_carrier_speed_addresses_and_a_mac", || {
        cable();
        ip("link set eth0 address 02:00:00:00:00:02 mtu 1400");
        until("operstate up", || link(&Snapshot::take(), "eth0").operstate == "up");
        let snapshot = Snapshot::take();
        assert_eq!(snapshot.unavailable(), []);
        let eth0 = link(&snapshot, "eth0");
        assert_eq!((eth0.up, eth0.carrier, eth0.loopback, eth0.mtu), (true, Some(true), false, 1400));
        assert_eq!((eth0.speed_mbps, eth0.full_duplex), (Some(10_000), Some(true)));
        assert_eq!(eth0.mac.as_deref(), Some("02:00:00:00:00:02"));
        assert_eq!(eth0.driver.as_deref(), Some("veth"));
        assert!(eth0.addresses.contains(&"10.9.0.2/24".to_owned()), "{:?}", eth0.addresses);
        assert!(eth0.addresses.contains(&"fd09::2/64".to_owned()), "{:?}", eth0.addresses);
        assert!(link(&snapshot, "lo").loopback);
    });
}

#[test]
fn a_pulled_cable_shows_as_lost_carrier_and_is_counted() {
    inside("links::a_pulled_cable_shows_as_lost_carrier_and_is_counted", || {
        cable();
        let before = Snapshot::take();
        let downs = link(&before, "eth0").carrier_down_count.expect("a count");
        ip("link set peer down");
        // The kernel's link watch follows the carrier with its own delay (net/core/link_watch.c).
        until("carrier lost", || {
            let eth0 = link(&Snapshot::take(), "eth0");
            eth0.carrier == Some(false) && eth0.operstate != "up"
        });
        let after = Snapshot::take();
        let eth0 = link(&after, "eth0");
        assert!(eth0.up);
        assert_eq!(eth0.carrier_down_count, Some(downs + 1));
        let deltas = before.link_deltas(&after);
        let delta = deltas.iter().find(|delta| delta.iface == "eth0").expect("a delta");
        assert!(delta.carrier_changes >= 1, "{delta:?}");
        assert!(delta.window_ms > 0.0);
    });
}

#[test]
fn an_interface_that_is_down_has_no_known_carrier_or_speed() {
    inside("links::an_interface_that_is_down_has_no_known_carrier_or_speed", || {
        cable();
        ip("link set eth0 down");
        let eth0 = link(&Snapshot::take(), "eth0");
        assert_eq!((eth0.up, eth0.carrier, eth0.speed_mbps), (false, None, None));
    });
}

#[test]
fn an_interface_that_went_away_has_no_difference() {
    inside("links::an_interface_that_went_away_has_no_difference", || {
        cable();
        let before = Snapshot::take();
        ip("link del eth0");
        let deltas = before.link_deltas(&Snapshot::take());
        assert_eq!(deltas.iter().map(|delta| delta.iface.as_str()).collect::<Vec<_>>(), ["lo"]);
    });
}

#[test]
fn what_was_sent_shows_in_the_interface_and_the_counters() {
    inside("links::what_was_sent_shows_in_the_interface_and_the_counters", || {
        let before = Snapshot::take();
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for _ in 0..5 {
            sender.send_to(b"x", receiver.local_addr().expect("its address")).expect("sent");
        }
        let after = Snapshot::take();
        let counters = before.counters(&after, Some("lo"));
        assert_eq!(counters.rose.get("Udp.OutDatagrams"), Some(&5), "{counters:?}");
        assert_eq!(counters.rose.get("Udp.RcvbufErrors"), None);
        assert!(counters.rp_filter.is_some());
        let lo = before.link_deltas(&after).into_iter().find(|delta| delta.iface == "lo").expect("a delta");
        assert_eq!(lo.rose.get("rx_packets"), Some(&5), "{lo:?}");
    });
}

#[test]
fn delivered_packets_leave_no_gap_and_an_unknown_protocol_is_explained() {
    inside("links::delivered_packets_leave_no_gap_and_an_unknown_protocol_is_explained", || {
        let gap = |v6| {
            let (received, delivered, explained) = ip_in_counts(v6).expect("counts");
            received - delivered - explained
        };
        let (gap4, gap6) = (gap(false), gap(true));
        for to in ["127.0.0.1:9", "[::1]:9"] {
            let socket = UdpSocket::bind(to.replace(":9", ":0")).expect("a socket");
            let _ = socket.send_to(b"x", to);
        }
        assert_eq!((gap(false), gap(true)), (gap4, gap6));
    });
}

#[test]
fn queue_drops_are_counted_with_the_interface() {
    inside("links::queue_drops_are_counted_with_the_interface", || {
        cable();
        ip("neigh add 10.9.0.7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent");
        let tbf = "qdisc add dev eth0 root tbf rate 8kbit burst 1600 limit 1600";
        let made = Command::new("tc").args(tbf.split(' ')).output().expect("tc runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let before = Snapshot::take();
        let socket = UdpSocket::bind("10.9.0.2:0").expect("a socket");
        for _ in 0..20 {
            let _ = socket.send_to(&[0; 1000], "10.9.0.7:9");
        }
        let deltas = before.link_deltas(&Snapshot::take());
        let eth0 = deltas.iter().find(|delta| delta.iface == "eth0").expect("a delta");
        assert!(eth0.rose.get("qdisc_drops").is_some_and(|drops| *drops >= 10), "{eth0:?}");
    });
}

#[test]
fn the_reverse_path_filter_is_the_higher_of_the_interface_and_all() {
    inside("links::the_reverse_path_filter_is_the_higher_of_the_interface_and_all", || {
        cable();
        let set = |name: &str, value: &str| {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), value).expect("a sysctl of our own");
        };
        set("all", "0");
        set("eth0", "1");
        assert_eq!(rp_filter("eth0"), Some(1));
        set("all", "2");
        assert_eq!(rp_filter("eth0"), Some(2));
        assert_eq!(rp_filter("nosuch"), None);
    });
}

#[test]
fn capabilities_of_the_host_are_not_in_force_in_a_child_user_namespace() {
    inside("links::capabilities_of_the_host_are_not_in_force_in_a_child_user_namespace", || {
        assert_eq!(privileges(), ["CAP_NET_RAW", "CAP_NET_ADMIN"]);
    });
}

#[test]
fn with_no_descriptor_left_each_reading_says_why_and_none_fails() {
    inside("links::with_no_descriptor_left_each_reading_says_why_and_none_fails", || {
        let target = "10.9.0.7:80".parse().expect("an address");
        setrlimit(Resource::RLIMIT_NOFILE, 0, 0).expect("a lower limit");
        let snapshot = Snapshot::take();
        let missing = snapshot.unavailable();
        let questions: Vec<_> = missing.iter().map(|gap| gap.question.as_str()).collect();
        assert!(questions.contains(&"link") && questions.contains(&"counters"), "{missing:?}");
        assert!(missing.iter().all(|gap| !gap.why.is_empty() && !gap.would_settle.is_empty()));
        assert!(snapshot.links().is_empty());
        let tables = snapshot.tables(Some(&snapshot), Some(target));
        assert_eq!((tables.fd_limit, tables.ports_used), (Some(0), None));
        let outcome = route(target.ip(), Role::Target).outcome;
        assert!(matches!(&outcome, RouteOutcome::Unknown { why } if why.contains("EMFILE")), "{outcome:?}");
        assert!(read_neighbor(target.ip(), "lo").is_err());
        assert!(NeighborWatch::start(&[(target.ip(), "lo".to_owned())]).unavailable().is_some());
        assert_eq!(flows(target.ip(), None, Duration::ZERO, &[]).established, 0);
        assert_eq!((ip_in_counts(false), privileges(), rp_filter("lo")), (None, Vec::new(), None));
    });
}
