//! What this host's kernel says of itself: links, neighbours, routes, counters, tables.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// One local interface. Unknown values are `None`, never 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Interface name.
    pub iface: String,
    /// Interface index in this namespace.
    pub index: u32,
    /// `IFF_LOOPBACK`.
    pub loopback: bool,
    /// `IFF_UP`: administratively up.
    pub up: bool,
    /// `IFLA_CARRIER`: the medium is there.
    pub carrier: Option<bool>,
    /// `IFLA_OPERSTATE` (RFC 2863): `up`, `down`, `lowerlayerdown`, `dormant`, `unknown`, ...
    pub operstate: String,
    /// Negotiated speed, Mbit/s (ethtool). Virtual links often have none.
    pub speed_mbps: Option<u32>,
    /// Best speed that both ends or the port could do, Mbit/s, where ethtool tells.
    pub max_speed_mbps: Option<u32>,
    /// `Some(false)`: half duplex.
    pub full_duplex: Option<bool>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Link-layer address, `aa:bb:cc:dd:ee:ff`.
    pub mac: Option<String>,
    /// Addresses with prefix length, such as `10.1.0.2/24`; tentative or duplicate-detected (DAD failed) marked by a suffix ` dadfailed`.
    pub addresses: Vec<String>,
    /// Carrier losses since boot (`IFLA_CARRIER_DOWN_COUNT`).
    pub carrier_down_count: Option<u32>,
    /// Driver or link kind, such as `veth`, `virtio_net`, if known.
    pub driver: Option<String>,
    /// True when the route to the target (or to a resolver) leaves through this interface, or would if it were up.
    pub on_path: bool,
}

/// Differences of one interface's counters over the check (`IFLA_STATS64`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkDelta {
    /// Interface name.
    pub iface: String,
    /// Length of the window.
    pub window_ms: f64,
    /// Carrier changes within the window (`IFLA_CARRIER_CHANGES`), up and down counted.
    pub carrier_changes: u32,
    /// Only counters that rose, by their kernel names: rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, rx_dropped,
    /// tx_dropped, rx_crc_errors, rx_frame_errors, rx_fifo_errors, rx_over_errors, rx_missed_errors, tx_carrier_errors,
    /// tx_fifo_errors, collisions, multicast, qdisc_drops.
    pub rose: BTreeMap<String, u64>,
}

/// Why we look at a neighbour or a resolver's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The destination itself; or, where the check goes through a proxy, the proxy in its place.
    Target,
    /// The next-hop router toward the destination.
    Gateway,
    /// A configured DNS resolver, or the next hop toward it.
    Resolver,
    /// A control, to compare with.
    Control,
}

/// Neighbour unreachability detection states (`NUD_*`, linux/neighbour.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighborState {
    /// No entry.
    None,
    /// Solicitation sent, no answer yet.
    Incomplete,
    /// Confirmed recently.
    Reachable,
    /// Not confirmed recently.
    Stale,
    /// Waiting before a unicast probe.
    Delay,
    /// Unicast probes are under way.
    Probe,
    /// Solicitations went unanswered.
    Failed,
    /// Interface without neighbour resolution.
    Noarp,
    /// Written by an administrator; never verified.
    Permanent,
}

/// A neighbour entry before and after we provoked its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbor {
    /// The neighbour's network address.
    pub address: IpAddr,
    /// Outgoing interface.
    pub iface: String,
    /// Whose neighbour.
    pub role: Role,
    /// For a router: the destination that is reached through it.
    pub toward: Option<IpAddr>,
    /// State before our first packet.
    pub before: NeighborState,
    /// State at the end.
    pub after: NeighborState,
    /// MAC before.
    pub mac_before: Option<String>,
    /// MAC after.
    pub mac_after: Option<String>,
    /// Every MAC that the entry showed while we watched; more than one means that two stations claim the address.
    pub macs_seen: Vec<String>,
}

/// Who answered our own broadcast ARP request or neighbour solicitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArpProbe {
    /// The address asked for.
    pub address: IpAddr,
    /// Outgoing interface.
    pub iface: String,
    /// Requests sent.
    pub sent: u32,
    /// The distinct MACs that answered, in order.
    pub macs: Vec<String>,
    /// The MAC that the kernel's entry held at that time.
    pub entry_mac: Option<String>,
    /// Where several answered: whether they are interfaces of one host, by the numbers of its packets. `None` when it does not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_host: Option<bool>,
}

/// The kernel's route toward an address (`RTM_GETROUTE`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    pub to: IpAddr,
    /// Whose route.
    pub role: Role,
    /// What the lookup said.
    pub outcome: RouteOutcome,
}

/// Outcome of a route lookup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum RouteOutcome {
    /// There is a route.
    Found {
        /// Outgoing interface.
        iface: String,
        /// Next-hop router; `None` when the destination is on-link or local.
        gateway: Option<IpAddr>,
        /// Preferred source address.
        source: Option<IpAddr>,
        /// The destination is one of our own addresses.
        local: bool,
        /// Path MTU that the kernel has learned for this destination.
        learned_mtu: Option<u32>,
        /// Seconds until the learned value expires, if one was learned.
        mtu_expires_s: Option<u32>,
    },
    /// No route: ENETUNREACH.
    NoRoute,
    /// A route says no: `unreachable`, `prohibit`, `blackhole`, `throw`.
    Rejected {
        /// The route's type.
        route_type: String,
        /// errno name of the lookup, such as `EHOSTUNREACH`.
        errno: String,
    },
    /// The kernel's answer could not be had.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Counters that rose over the check, named `Tcp.RetransSegs`, `TcpExt.ListenOverflows`, `IpExt.InNoRoutes`, `Ip6.InNoRoutes`, ...
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Length of the window.
    pub window_ms: f64,
    /// Name to rise; only what rose.
    pub rose: BTreeMap<String, u64>,
    /// Reverse-path filter of the outgoing interface: 0 off, 1 strict, 2 loose (the higher of `all` and the interface).
    pub rp_filter: Option<u8>,
}

/// A differential reading: answers are provoked from the target, then from a control; packets that reached IP but were not
/// delivered upward are counted (`Ip.InReceives - Ip.InDelivers - explained drops`). A local ingress firewall shows here without privilege.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IngressGap {
    /// The target whose answers were provoked.
    pub to: SocketAddr,
    /// Connects sent toward the target in the window.
    pub provoked: u32,
    /// Undelivered packets while the target was provoked.
    pub lost_with: u64,
    /// Undelivered packets in an equal window with nothing provoked.
    pub lost_idle: u64,
    /// Rise of `TcpExt.IPReversePathFilter` in the provoked window.
    pub rp_filtered: u64,
    /// SYN-ACKs or RSTs from the target seen by a raw listener below the firewall; `None` without CAP_NET_RAW.
    pub answers_on_wire: Option<u32>,
}

/// Limits and present fill of this host's tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTables {
    /// `nf_conntrack_count`, this namespace.
    pub conntrack_count: Option<u64>,
    /// `nf_conntrack_max`.
    pub conntrack_max: Option<u64>,
    /// Rise of drops in `/proc/net/stat/nf_conntrack` (drop + insert_failed + early_drop) over the check.
    pub conntrack_drops: Option<u64>,
    /// First ephemeral port (`ip_local_port_range`).
    pub port_low: Option<u16>,
    /// Last ephemeral port.
    pub port_high: Option<u16>,
    /// Ephemeral ports in use toward the target's address and port, TIME_WAIT included.
    pub ports_used: Option<u64>,
    /// Soft limit of file descriptors of this process.
    pub fd_limit: Option<u64>,
    /// Descriptors open in this process.
    pub fd_open: Option<u64>,
    /// Neighbour entries in the whole host, and `gc_thresh3`.
    pub neighbor_entries: Option<u64>,
    /// `gc_thresh3` of the family in use.
    pub neighbor_max: Option<u64>,
    /// Rise of `table_fulls` over the check.
    pub neighbor_table_fulls: Option<u64>,
    /// Listen queue of a local listener on the target's address and port: waiting and limit. Only for local targets.
    pub listen_queue: Option<(u32, u32)>,
    /// Local TCP sockets by state name.
    #[serde(default)]
    pub tcp_states: BTreeMap<String, u64>,
}

/// Sockets that other programs of this namespace already hold toward the target (`sock_diag`, `TCP_INFO`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Flows {
    /// The target's address.
    pub to: Option<IpAddr>,
    /// The port, when only that port is counted.
    pub port: Option<u16>,
    /// ESTABLISHED sockets to that address (any port), other than ours.
    pub established: u32,
    /// Of these, the ones that received an ACK or data during the check: they are alive while new ones fail.
    pub alive: u32,
    /// Of these, the ones with unacknowledged data and backed-off retransmits: they are stuck.
    pub stuck: u32,
    /// Sockets in SYN_SENT to that address, other than ours.
    pub syn_sent: u32,
    /// ESTABLISHED sockets to other addresses through the same gateway that received something during the check.
    pub alive_elsewhere: u32,
}
