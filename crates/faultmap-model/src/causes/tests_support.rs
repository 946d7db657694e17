//! Observations that the tests of L1 to L4 are made of.

use crate::Seen;
use crate::observation::{ConnectOutcome, IcmpError, Link, Role, Route, RouteOutcome, TcpConnect};

pub(crate) fn connect(to: &str, role: Role, outcome: ConnectOutcome) -> Seen {
    Seen::TcpConnect(TcpConnect { to: to.parse().expect("socket address"), role, outcome, local: None, answer_ttl: None })
}

pub(crate) fn connected() -> ConnectOutcome {
    ConnectOutcome::Connected { rtt_ms: 1.0, retransmits: 0, mss: 1448, pmtu: 1500 }
}

pub(crate) fn reset() -> ConnectOutcome {
    errno("ECONNREFUSED")
}

pub(crate) fn silent() -> ConnectOutcome {
    ConnectOutcome::Silent { waited_ms: 4_200.0, retransmits: 2, icmp: None }
}

pub(crate) fn errno(name: &str) -> ConnectOutcome {
    ConnectOutcome::Failed { errno: name.to_owned(), icmp: None }
}

pub(crate) fn icmp_from(from: &str, icmp_type: u8, code: u8) -> ConnectOutcome {
    let icmp = IcmpError { icmp_type, code, from: from.parse().expect("address"), mtu: None };
    ConnectOutcome::Failed { errno: "EHOSTUNREACH".to_owned(), icmp: Some(icmp) }
}

pub(crate) fn route_via(to: &str) -> Seen {
    let outcome = RouteOutcome::Found {
        iface: "eth0".to_owned(),
        gateway: Some("10.1.0.1".parse().expect("address")),
        source: Some("10.1.0.2".parse().expect("address")),
        local: false,
        learned_mtu: None,
        mtu_expires_s: None,
    };
    Seen::Route(Route { to: to.parse().expect("address"), role: Role::Target, outcome })
}

pub(crate) fn own_link(address: &str) -> Seen {
    Seen::Link(Link {
        iface: "eth0".to_owned(),
        index: 2,
        loopback: false,
        up: true,
        carrier: Some(true),
        operstate: "up".to_owned(),
        speed_mbps: Some(10_000),
        max_speed_mbps: None,
        full_duplex: Some(true),
        mtu: 1500,
        mac: None,
        addresses: vec![format!("{address}/24")],
        carrier_down_count: Some(0),
        driver: None,
        on_path: true,
    })
}

pub(crate) fn no_route(to: &str) -> Seen {
    Seen::Route(Route { to: to.parse().expect("address"), role: Role::Target, outcome: RouteOutcome::NoRoute })
}

pub(crate) fn route_on_link(to: &str) -> Seen {
    let outcome = RouteOutcome::Found {
        iface: "eth0".to_owned(),
        gateway: None,
        source: Some("10.1.0.2".parse().expect("address")),
        local: false,
        learned_mtu: None,
        mtu_expires_s: None,
    };
    Seen::Route(Route { to: to.parse().expect("address"), role: Role::Target, outcome })
}

pub(crate) fn link_delta(rose: &[(&str, u64)]) -> Seen {
    let rose = rose.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    Seen::LinkDelta(crate::observation::LinkDelta { iface: "eth0".to_owned(), window_ms: 1_000.0, carrier_changes: 0, rose })
}

pub(crate) fn counters(rose: &[(&str, u64)]) -> Seen {
    let rose = rose.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    Seen::Counters(crate::observation::Counters { window_ms: 1_000.0, rose, rp_filter: None })
}

pub(crate) fn neighbor(
    address: &str,
    role: Role,
    before: crate::observation::NeighborState,
    after: crate::observation::NeighborState,
) -> Seen {
    Seen::Neighbor(crate::observation::Neighbor {
        address: address.parse().expect("address"),
        iface: "eth0".to_owned(),
        role,
        toward: None,
        before,
        after,
        mac_before: None,
        mac_after: None,
        macs_seen: Vec::new(),
    })
}
