//! Where in the kernel packets died between two readings: by reason and layer, place in the kernel, and flow.
//!
//! Says what each reason means, and which cause it speaks for. A drop is no fault by itself: kernels drop all day what nobody waits
//! for. So it serves as evidence for causes that counters prove; by itself it proves only that a filter of this host stops
//! packets of this host's own sockets, and that is a warning, for somebody may want it so. Never reads a kernel.

use super::drop_reasons;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Flows shown with a reason.
const FLOWS_SHOWN: usize = 5;
/// Own packets that a filter must drop before it is worth a warning, in all and in a second: one late packet of a connection
/// that has ended is none.
const OWN_DROPS_LEAST: u64 = 2;
const OWN_DROPS_PER_SECOND_LEAST: f64 = 1.0;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// Protocols whose header begins with two ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [TCP, UDP, 33, 132, 136];

/// Where a reason belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DropLayer {
    /// The medium, and the queues before it.
    L1,
    /// Frames and neighbours.
    L2,
    /// Addresses and routes.
    L3,
    /// Ports and connections.
    L4,
    /// A program that reads too slowly.
    L7,
    /// A rule that somebody made: the rule is to be named, not a layer.
    #[serde(rename = "policy")]
    Policy,
    /// The machine: memory.
    #[serde(rename = "host")]
    Host,
    /// The kernel does not tell.
    #[serde(rename = "unknown")]
    Unknown,
}

/// What a drop for this reason amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// The ordinary life of protocols. Shown last, never blamed.
    Ignored,
    /// Worth knowing; may be as it should be.
    Noted,
    /// There was no room for a packet that somebody waited for.
    Loss,
}

/// Everything counted since the watch began.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DropSample {
    /// Age of the watch when this was read, milliseconds.
    pub age_ms: f64,
    /// Inode of the namespace that is watched; `None` for all.
    pub namespace: Option<u32>,
    /// Counts by reason, namespace and place.
    pub counts: Vec<DropCount>,
    /// Counts by flow. The kernel forgets the oldest when there are too many: at least so many were dropped.
    pub flows: Vec<FlowCount>,
    /// Drops in namespaces that are not watched.
    pub elsewhere: u64,
    /// Drops that could not be told apart: no room in the kernel's table, or a drop within a drop.
    pub lost: u64,
}

/// Drops for one reason at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// The kernel's name, without `SKB_DROP_REASON_`.
    pub reason: String,
    /// Inode of the network namespace; `None` where it cannot be told.
    pub namespace: Option<u32>,
    /// The kernel's function.
    pub location: Option<String>,
    /// Packets.
    pub count: u64,
}

/// Drops for one reason of one flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCount {
    /// The kernel's name, without `SKB_DROP_REASON_`.
    pub reason: String,
    /// Inode of the network namespace.
    pub namespace: u32,
    /// Protocol number of the IP header.
    pub protocol: u8,
    /// As the packet has it.
    pub source: IpAddr,
    /// As the packet has it.
    pub destination: IpAddr,
    /// The first four bytes behind the IP header; zeroes in later fragments.
    pub transport: [u8; 4],
    /// Packets.
    pub count: u64,
    /// Inode of this host's socket that sent the packet or was to receive it, where the packet knew it.
    pub socket: Option<u64>,
}

/// What `faultmap host` says of drops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Drops {
    /// They were counted.
    Counted(DropReport),
    /// They could not be.
    Unavailable {
        /// Why not, in words.
        why: String,
        /// Capabilities that would change that.
        missing: Vec<String>,
        /// What would be known.
        would_show: String,
    },
}

/// Drops between two readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DropReport {
    /// Time between the readings, milliseconds.
    pub window_ms: f64,
    /// Inode of the namespace that was watched; null for all.
    pub namespace: Option<u32>,
    /// Reasons and places, what matters most first.
    pub rows: Vec<DropRow>,
    /// Drops in namespaces that were not watched.
    pub elsewhere: u64,
    /// Drops whose namespace cannot be told; not in `rows` unless all were watched.
    pub unattributed: u64,
    /// Drops that could not be told apart: no room in the kernel's table, or a drop within a drop.
    pub lost: u64,
}

/// One reason at one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DropRow {
    /// The kernel's name, without `SKB_DROP_REASON_`.
    pub reason: String,
    /// Where it belongs.
    pub layer: DropLayer,
    /// What it amounts to.
    pub weight: Weight,
    /// Packets.
    pub count: u64,
    /// Packets a second.
    pub per_second: f64,
    /// The kernel's function.
    pub location: Option<String>,
    /// What the reason means, in plain words.
    pub meaning: String,
    /// The cause of the registry that the reason speaks for.
    pub cause: Option<String>,
    /// Inode of the network namespace; null where it cannot be told.
    pub namespace: Option<u32>,
    /// Packets for this reason (at any place) of flows whose socket is known to be this host's own; at least so many.
    pub own: u64,
    /// The flows that lost most for this reason (at any place), at most five; those of this host's own sockets first.
    pub flows: Vec<DropFlow>,
}

/// A flow that lost packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropFlow {
    /// `tcp`, `udp`, `icmp`, or the number.
    pub protocol: String,
    /// As the packet had it, with the port where there is one.
    pub source: String,
    /// As the packet had it, with the port where there is one.
    pub destination: String,
    /// Packets; at least so many.
    pub count: u64,
    /// Inode of this host's socket, where the packet knew it.
    pub socket: Option<u64>,
    /// Who holds that socket, where it could be found.
    pub process: Option<DropProcess>,
}

/// A program that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropProcess {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// What the drops alone show to be worth a warning.
#[derive(Debug, Clone, PartialEq)]
pub struct DropWarning {
    /// The cause.
    pub cause: &'static str,
    /// The key of the row: see [`DropRow::key`].
    pub key: String,
    /// One sentence.
    pub summary: String,
    /// Packets of this host's own sockets.
    pub own: u64,
}

impl DropReport {
    /// What rose from one reading to the next. `None` for `before`: since the watch began.
    #[must_use]
    pub fn new(before: Option<&DropSample>, after: &DropSample) -> Self {
        let nothing = DropSample::default();
        let before = before.unwrap_or(&nothing);
        let window_ms = (after.age_ms - before.age_ms).max(0.0);
        let all = after.namespace.is_none();
        let (known, unknown): (Vec<_>, Vec<_>) = counts_risen(before, after).into_iter().partition(|c| all || c.namespace.is_some());
        let flows = flows_risen(before, after);
        let mut rows: Vec<DropRow> = known.iter().map(|count| row(count, window_ms, &flows)).collect();
        rows.sort_by_cached_key(rank);
        Self {
            window_ms,
            namespace: after.namespace,
            rows,
            elsewhere: after.elsewhere.saturating_sub(before.elsewhere),
            unattributed: unknown.iter().fold(0, |sum, count| sum.saturating_add(count.count)),
            lost: after.lost.saturating_sub(before.lost),
        }
    }

    /// Packets of all rows but the ignored ones.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.rows.iter().filter(|row| row.weight != Weight::Ignored).fold(0, |sum, row| sum.saturating_add(row.count))
    }

    /// Rows that speak for a cause.
    pub fn speaking_for<'a>(&'a self, cause: &'a str) -> impl Iterator<Item = &'a DropRow> + 'a {
        self.rows.iter().filter(move |row| row.cause.as_deref() == Some(cause))
    }

    /// What needs no counter beside it: a filter of this host that stops packets of this host's own sockets, at a rate. What it drops of
    /// strangers is its work.
    #[must_use]
    pub fn warnings(&self) -> Vec<DropWarning> {
        let mut seen = BTreeMap::new();
        for row in self.speaking_for(LOCAL_FIREWALL) {
            // Flows are counted by reason, whatever the place, so each reason is asked once.
            seen.entry((row.reason.as_str(), row.namespace)).or_insert(row);
        }
        seen.values().filter_map(|row| self.own_traffic_filtered(row)).collect()
    }

    fn own_traffic_filtered(&self, row: &DropRow) -> Option<DropWarning> {
        let count = row.own;
        let worst = row.flows.iter().find(|flow| flow.socket.is_some())?;
        if count < OWN_DROPS_LEAST || rate(count, self.window_ms) < OWN_DROPS_PER_SECOND_LEAST {
            return None;
        }
        let who = worst.process.as_ref().map_or_else(|| "this host's own sockets".to_owned(), |process| process.name.clone());
        let summary = format!(
            "A filter of this host drops packets of {who}: {count} in {:.1} s, {} from {} to {} the most ({}).",
            self.window_ms / 1000.0,
            worst.protocol,
            worst.source,
            worst.destination,
            row.reason,
        );
        Some(DropWarning { cause: LOCAL_FIREWALL, key: row.key(), summary, own: count })
    }
}

const LOCAL_FIREWALL: &str = "l4.local-firewall";

impl DropRow {
    /// How findings cite it: `drops.NETFILTER_DROP`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("drops.{}", self.reason)
    }
}

/// Losses first, then by number; the ignored last. The rest only makes the order certain.
fn rank(row: &DropRow) -> impl Ord + use<> {
    let weight = std::cmp::Reverse(row.weight);
    (
        weight == std::cmp::Reverse(Weight::Ignored),
        weight,
        std::cmp::Reverse(row.count),
        row.reason.clone(),
        row.location.clone(),
        row.namespace,
    )
}

fn rate(count: u64, window_ms: f64) -> f64 {
    if window_ms > 0.0 { count as f64 * 1000.0 / window_ms } else { 0.0 }
}

fn row(count: &DropCount, window_ms: f64, flows: &[FlowCount]) -> DropRow {
    let known = drop_reasons::meaning(&count.reason, count.location.as_deref());
    let of_row = || flows.iter().filter(|flow| flow.reason == count.reason && Some(flow.namespace) == count.namespace);
    let own = of_row().filter(|flow| flow.socket.is_some()).fold(0_u64, |sum, flow| sum.saturating_add(flow.count));
    DropRow {
        reason: count.reason.clone(),
        layer: known.layer,
        weight: known.weight,
        count: count.count,
        per_second: rate(count.count, window_ms),
        location: count.location.clone(),
        meaning: known.meaning.to_owned(),
        cause: known.cause.map(str::to_owned),
        namespace: count.namespace,
        own,
        flows: of_row().take(FLOWS_SHOWN).map(shown).collect(),
    }
}

fn counts_risen(before: &DropSample, after: &DropSample) -> Vec<DropCount> {
    let key = |count: &DropCount| (count.reason.clone(), count.namespace, count.location.clone());
    // A function may drop at several places of the same reason.
    let sums = |sample: &DropSample| {
        let mut sums: BTreeMap<_, u64> = BTreeMap::new();
        for count in &sample.counts {
            let sum = sums.entry(key(count)).or_default();
            *sum = sum.saturating_add(count.count);
        }
        sums
    };
    let then = sums(before);
    let risen = sums(after).into_iter().filter_map(|(key, now)| {
        let count = now.saturating_sub(then.get(&key).copied().unwrap_or(0));
        let (reason, namespace, location) = key;
        (count > 0).then_some(DropCount { reason, namespace, location, count })
    });
    risen.collect()
}

/// What rose: flows of our own sockets first, then most first. A flow that was forgotten and came again counts anew.
fn flows_risen(before: &DropSample, after: &DropSample) -> Vec<FlowCount> {
    let then: BTreeMap<_, u64> = before.flows.iter().map(|flow| (flow_key(flow), flow.count)).collect();
    let risen = |flow: &FlowCount| {
        let then = then.get(&flow_key(flow)).copied().unwrap_or(0);
        let count = if flow.count < then { flow.count } else { flow.count - then };
        (count > 0).then(|| FlowCount { count, ..flow.clone() })
    };
    let mut flows: Vec<FlowCount> = after.flows.iter().filter_map(risen).collect();
    let strangers_last = |flow: &FlowCount| (flow.socket.is_none(), std::cmp::Reverse(flow.count));
    flows.sort_by(|a, b| strangers_last(a).cmp(&strangers_last(b)).then_with(|| flow_key(a).cmp(&flow_key(b))));
    flows
}

fn flow_key(flow: &FlowCount) -> (&str, u32, u8, IpAddr, IpAddr, [u8; 4]) {
    (&flow.reason, flow.namespace, flow.protocol, flow.source, flow.destination, flow.transport)
}

fn shown(flow: &FlowCount) -> DropFlow {
    let [a, b, c, d] = flow.transport;
    let with_port = |ip: IpAddr, port: u16| {
        if WITH_PORTS.contains(&flow.protocol) && flow.transport != [0; 4] { SocketAddr::new(ip, port).to_string() } else { ip.to_string() }
    };
    DropFlow {
        protocol: protocol_name(flow.protocol),
        source: with_port(flow.source, u16::from_be_bytes([a, b])),
        destination: with_port(flow.destination, u16::from_be_bytes([c, d])),
        count: flow.count,
        socket: flow.socket,
        process: None,
    }
}

/// IANA's names of the protocols, and of the extension headers of IPv6, that one meets.
fn protocol_name(number: u8) -> String {
    let name = match number {
        0 => "hopopt",
        1 => "icmp",
        2 => "igmp",
        4 => "ipip",
        TCP => "tcp",
        UDP => "udp",
        33 => "dccp",
        41 => "ipv6",
        43 => "ipv6-route",
        44 => "ipv6-frag",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmpv6",
        60 => "ipv6-opts",
        89 => "ospf",
        112 => "vrrp",
        132 => "sctp",
        136 => "udplite",
        other => return format!("protocol {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
#[path = "drops_tests.rs"]
mod tests;
