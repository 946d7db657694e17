//! What a witness at the other end saw: packets on its wire, queues, counters, and its way back to us.
//!
//! It is the word of one host about itself, in a window of time that we opened and closed. Its times count from the opening of that window,
//! by its own clock, so that no two clocks are ever compared.

use super::{RouteOutcome, TcpRepeat, Walk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// The most entries of any list in a report of the other end.
const MOST_ITEMS: usize = 64;
/// The longest text in it, bytes.
const LONGEST_TEXT: usize = 64;

/// One window at the other end, with what we did meanwhile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// The witness, as we reach it: not necessarily by the way under examination.
    pub peer: SocketAddr,
    /// The address and port of the target that it looked at; port 0 when the target has none.
    pub to: SocketAddr,
    /// The connects that we made while the window was open; `None` for the window that spans the whole check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provoked: Option<TcpRepeat>,
    /// What it saw.
    pub far: Box<FarSide>,
}

/// What the host at the other end saw within one window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FarSide {
    /// Length of the window, by the far clock.
    pub window_ms: f64,
    /// Capabilities of the witness.
    pub privileges: Vec<String>,
    /// The addresses of ours whose packets it counted.
    pub clients: Vec<IpAddr>,
    /// Packets on its wire, below its firewall; `None` without CAP_NET_RAW there.
    pub wire: Option<FarWire>,
    /// Kernel counters of its host that rose, everybody's traffic included.
    pub rose: BTreeMap<String, u64>,
    /// Packets that reached its IP layer and were not delivered, beyond those that counters explain; of the target's family.
    pub undelivered: Option<u64>,
    /// What every TCP listener on the port is bound to, whatever the address.
    pub bound: Vec<SocketAddr>,
    /// The queue of the listener that takes our connections, at its fullest.
    pub queue: Option<FarQueue>,
    /// The program that listens, where the witness may know it.
    pub program: Option<FarProgram>,
    /// Most half-open connections to the port at one time, of everybody.
    pub half_open: u32,
    /// Most half-open connections from us at one time.
    pub half_open_ours: u32,
    /// Most complete connections from us at one time.
    pub established_ours: u32,
    /// Most bytes of ours that lay unread at one time.
    pub unread_bytes: u64,
    /// Its way back to each of our addresses.
    pub ways_back: Vec<WayBack>,
    /// Connection tracking of its kernel: entries, limit, packets dropped within the window.
    pub conntrack: FarTable,
    /// The interfaces that our packets came in by and its answers leave by.
    pub links: Vec<FarLink>,
}

/// Packets on the far wire, as a tap below the firewall saw them. Counted on the interface that saw most, so that a bridge and its port do not
/// count twice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FarWire {
    /// SYNs from us to the port, without ACK.
    pub syns: u32,
    /// SYNs from others to the port: ours, if our address is translated on the way.
    pub other_syns: u32,
    /// When the first of ours came.
    pub first_syn_ms: Option<f64>,
    /// Its TTL (hop limit).
    pub syn_ttl: Option<u8>,
    /// The MAC that it came from: the last router's, or ours.
    pub syn_mac: Option<String>,
    /// The interface that it came in by.
    pub in_iface: Option<String>,
    /// SYN-ACKs from the port to us that left.
    pub syn_acks: u32,
    /// RSTs from the port to us that left.
    pub resets: u32,
    /// The interface that the answers left by.
    pub out_iface: Option<String>,
    /// Data segments from us to the port.
    pub data_in: u32,
    /// Data segments from the port to us.
    pub data_out: u32,
    /// The largest packet between us and the port that came in, bytes with its IP header.
    pub largest_in: u32,
    /// The largest one that left.
    pub largest_out: u32,
    /// Packets of any kind from us.
    pub any_in: u32,
    /// Packets of any kind to us.
    pub any_out: u32,
    /// Echo requests from us.
    pub echo_in: u32,
    /// Echo replies to us that left.
    pub echo_out: u32,
    /// ICMP errors to us that left, by type and code.
    pub errors_out: Vec<FarError>,
    /// ICMP errors that came in about packets to us, with who sent them.
    pub errors_in: Vec<FarError>,
    /// Packets that the tap itself lost: counts are then lower bounds.
    pub missed: u32,
}

/// ICMP errors of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarError {
    /// ICMP or ICMPv6 type.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// Who sent it.
    pub from: IpAddr,
    /// How many.
    pub count: u32,
}

/// An accept queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarQueue {
    /// Connections that wait for `accept`.
    pub waiting: u32,
    /// How many may wait; one more still fits.
    pub room: u32,
    /// How many waited when the window closed: a program that lives has taken them by then.
    #[serde(default)]
    pub at_end: u32,
}

impl FarQueue {
    /// Further SYNs are dropped (`sk_acceptq_is_full`, include/net/sock.h).
    #[must_use]
    pub const fn full(self) -> bool {
        self.waiting > self.room
    }
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarProgram {
    /// Its name in the kernel, at most 15 characters.
    pub name: String,
    /// Its state as in `ps`: `T` or `t` is stopped.
    pub state: char,
}

impl FarProgram {
    /// Stopped by a signal or a debugger.
    #[must_use]
    pub const fn stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// A table with a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FarTable {
    /// Entries.
    pub count: Option<u64>,
    /// Limit.
    pub max: Option<u64>,
    /// Packets dropped within the window.
    pub drops: Option<u64>,
}

impl FarTable {
    /// It drops new flows: at its limit, or nearly so and dropping.
    #[must_use]
    pub fn full(self) -> bool {
        let (Some(count), Some(max)) = (self.count, self.max.filter(|max| *max > 0)) else { return false };
        let at_least = |percent: u64| count.saturating_mul(100) >= max.saturating_mul(percent);
        at_least(99) || (at_least(90) && self.drops.is_some_and(|drops| drops > 0))
    }
}

/// The far host's way to one of our addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WayBack {
    /// Our address.
    pub to: IpAddr,
    /// What its kernel's route lookup says.
    pub route: RouteOutcome,
    /// Reverse-path filter of the interface: 0 off, 1 strict, 2 loose.
    #[serde(default)]
    pub rp_filter: Option<u8>,
    /// The neighbour entry that answers use.
    #[serde(default)]
    pub next_hop: Option<FarNeighbor>,
    /// A walk with rising TTL toward us, where the witness made one.
    #[serde(default)]
    pub walk: Option<Walk>,
}

/// A neighbour entry of the far host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarNeighbor {
    /// The neighbour.
    pub address: IpAddr,
    /// Its state.
    pub state: super::NeighborState,
    /// Its MAC.
    #[serde(default)]
    pub mac: Option<String>,
    /// The MACs that answered a fresh ARP request for it; `None` when none was made.
    #[serde(default)]
    pub answers: Option<Vec<String>>,
}

/// An interface of the far host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarLink {
    /// Name.
    pub iface: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// Errors and drops that rose within the window, by their kernel names.
    #[serde(default)]
    pub rose: BTreeMap<String, u64>,
}

impl FarSide {
    /// By how much a counter rose.
    #[must_use]
    pub fn rise(&self, counter: &str) -> u64 {
        self.rose.get(counter).copied().unwrap_or(0)
    }

    /// The stranger kept to the bounds: no endless lists or texts, no control characters, times that are numbers. What does not is not evidence.
    #[must_use]
    pub fn sound(&self) -> bool {
        let text = |text: &str| text.len() <= LONGEST_TEXT && !text.chars().any(char::is_control);
        let texts = |texts: &[String]| texts.len() <= MOST_ITEMS && texts.iter().all(|one| text(one));
        let counters = |rose: &BTreeMap<String, u64>| rose.len() <= MOST_ITEMS && rose.keys().all(|name| text(name));
        let error_lists = |wire: &FarWire| wire.errors_in.len() <= MOST_ITEMS && wire.errors_out.len() <= MOST_ITEMS;
        let wire = self.wire.as_ref().is_none_or(|wire| {
            let names = [&wire.syn_mac, &wire.in_iface, &wire.out_iface];
            error_lists(wire) && names.into_iter().flatten().all(|name| text(name)) && wire.first_syn_ms.is_none_or(f64::is_finite)
        });
        let links = self.links.len() <= MOST_ITEMS && self.links.iter().all(|link| text(&link.iface) && counters(&link.rose));
        let way = |way: &WayBack| {
            let route = match &way.route {
                RouteOutcome::Found { iface, .. } => text(iface),
                RouteOutcome::Rejected { route_type, errno } => text(route_type) && text(errno),
                RouteOutcome::Unknown { why } => text(why),
                RouteOutcome::NoRoute => true,
            };
            let hop =
                way.next_hop.as_ref().is_none_or(|hop| hop.mac.as_deref().is_none_or(text) && hop.answers.as_deref().is_none_or(texts));
            route && hop && way.walk.as_ref().is_none_or(sound_walk)
        };
        let ways = self.ways_back.len() <= MOST_ITEMS && self.ways_back.iter().all(way);
        let lists = self.bound.len() <= MOST_ITEMS && self.clients.len() <= MOST_ITEMS && texts(&self.privileges);
        let program = self.program.as_ref().is_none_or(|program| text(&program.name) && !program.state.is_control());
        self.window_ms.is_finite() && counters(&self.rose) && wire && links && ways && lists && program
    }

    /// The way back to one of our addresses.
    pub fn way_back(&self, v6: bool) -> Option<&WayBack> {
        self.ways_back.iter().find(|way| way.to.is_ipv6() == v6)
    }
}

fn sound_walk(walk: &Walk) -> bool {
    walk.hops.len() <= MOST_ITEMS && walk.hops.iter().all(|hop| hop.answers.len() <= MOST_ITEMS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_with_control_characters_or_endless_lists_is_no_evidence() {
        let check = |change: fn(&mut FarSide), expect| {
            let mut far = FarSide::default();
            change(&mut far);
            assert_eq!(far.sound(), expect);
        };
        check(|_| {}, true);
        check(|far| far.privileges = vec!["CAP\u{1b}[2J".to_owned()], false);
        check(|far| far.bound = vec!["10.0.0.1:80".parse().expect("addr"); 65], false);
        check(|far| far.rose = [("x".repeat(65), 1)].into(), false);
        check(|far| far.program = Some(FarProgram { name: "a\nb".to_owned(), state: 'S' }), false);
        check(|far| far.window_ms = f64::NAN, false);
    }

    #[test]
    fn a_queue_holds_one_more_than_its_limit() {
        assert!(!FarQueue { waiting: 4, room: 4, at_end: 4 }.full());
        assert!(FarQueue { waiting: 5, room: 4, at_end: 0 }.full());
    }
}
