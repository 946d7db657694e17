//! The connections a box remembers, findable from inside and from outside. It never looks at a packet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use faultmap_wire::{TcpFlags, proto};

use super::{NatConfig, NatStats};

/// Between two searches for forgotten connections.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// First fragments remembered so that later ones find their way.
const FRAGMENT_LIMIT: usize = 1024;

/// Address and port, or address and echo identifier.
pub(super) type Endpoint = (IpAddr, u16);

/// A connection as one side sees it: protocol, near endpoint, remote endpoint.
pub(super) type Key = (u8, Endpoint, Endpoint);

/// Source, destination and identification of a fragmented packet.
pub(super) type FragmentKey = (IpAddr, IpAddr, u32);

#[derive(Debug, Clone)]
pub(super) struct Flow {
    pub(super) protocol: u8,
    /// The endpoint inside.
    pub(super) inside: Endpoint,
    /// What the outside sees of it.
    pub(super) external: Endpoint,
    /// The endpoint outside.
    pub(super) remote: Endpoint,
    seen: Instant,
    /// Packets came from both sides.
    answered: bool,
    opened_outward: bool,
    closed: bool,
    fins: [bool; 2],
}

/// Why a connection was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    TableFull,
    NoPort,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) config: NatConfig,
    pub(super) stats: NatStats,
    pub(super) synthetic: usize,
    pub(super) fragments: HashMap<FragmentKey, IpAddr>,
    by_inside: HashMap<Key, Flow>,
    by_external: HashMap<Key, Endpoint>,
    next_port: u16,
    swept: Option<Instant>,
}

impl Table {
    pub(super) fn new(config: NatConfig) -> Table {
        Table {
            config,
            stats: NatStats::default(),
            synthetic: 0,
            fragments: HashMap::new(),
            by_inside: HashMap::new(),
            by_external: HashMap::new(),
            next_port: 0,
            swept: None,
        }
    }

    pub(super) fn flows(&self) -> usize {
        self.by_inside.len()
    }

    pub(super) fn flush(&mut self) {
        self.by_inside.clear();
        self.by_external.clear();
        self.fragments.clear();
    }

    /// The connection of a packet going out.
    pub(super) fn seen_inside(&mut self, key: Key, now: Instant) -> Option<Flow> {
        let flow = self.by_inside.get(&key)?;
        if self.is_forgotten(flow, now) {
            let flow = flow.clone();
            self.forget(&flow);
            return None;
        }
        Some(flow.clone())
    }

    /// The connection of a packet coming in.
    pub(super) fn seen_outside(&mut self, key: Key, now: Instant) -> Option<Flow> {
        let inside = *self.by_external.get(&key)?;
        let (protocol, _, remote) = key;
        self.seen_inside((protocol, inside, remote), now)
    }

    /// Notes a packet of a connection.
    pub(super) fn touch(&mut self, flow: &Flow, outward: bool, flags: Option<TcpFlags>, now: Instant) {
        let Some(flow) = self.by_inside.get_mut(&(flow.protocol, flow.inside, flow.remote)) else {
            return;
        };
        flow.seen = now;
        flow.answered |= outward != flow.opened_outward;
        let Some(flags) = flags else { return };
        if flags.is_opening() {
            // The ports are used again for a new connection.
            (flow.closed, flow.fins, flow.answered) = (false, [false; 2], false);
        }
        flow.fins[usize::from(outward)] |= flags.has(TcpFlags::FIN);
        flow.closed |= flags.has(TcpFlags::RST) || flow.fins == [true; 2];
    }

    /// Adds a connection. One opened from inside is translated if the configuration says so.
    pub(super) fn open(&mut self, protocol: u8, inside: Endpoint, remote: Endpoint, outward: bool, now: Instant) -> Result<Flow, NoRoom> {
        self.sweep(now);
        if self.flows() + self.synthetic >= self.config.capacity {
            self.stats.table_full += 1;
            return Err(NoRoom::TableFull);
        }
        let external = if outward { self.allocate(protocol, inside, remote) } else { Some(inside) };
        let Some(external) = external else {
            self.stats.no_port += 1;
            return Err(NoRoom::NoPort);
        };
        let flow = Flow {
            protocol,
            inside,
            external,
            remote,
            seen: now,
            answered: false,
            opened_outward: outward,
            closed: false,
            fins: [false; 2],
        };
        self.by_inside.insert((protocol, inside, remote), flow.clone());
        self.by_external.insert((protocol, external, remote), inside);
        self.stats.opened += 1;
        Ok(flow)
    }

    /// An external endpoint that no other connection to the same remote endpoint uses; the inside's own port if
    /// it is free, as Linux does.
    fn allocate(&mut self, protocol: u8, inside: Endpoint, remote: Endpoint) -> Option<Endpoint> {
        let Some(snat) = &self.config.snat else {
            return Some(inside);
        };
        let addr = match inside.0 {
            IpAddr::V4(_) => snat.v4.map(IpAddr::V4),
            IpAddr::V6(_) => snat.v6.map(IpAddr::V6),
        };
        let Some(addr) = addr else {
            return Some(inside);
        };
        let (first, last) = snat.ports;
        let free = |port: u16| !self.by_external.contains_key(&(protocol, (addr, port), remote));
        if (first..=last).contains(&inside.1) && free(inside.1) {
            return Some((addr, inside.1));
        }
        let count = u32::from(last.checked_sub(first)?) + 1;
        let start = u32::from(self.next_port) % count;
        let ports = (0..count).map(|n| first + ((start + n) % count) as u16);
        let port = ports.into_iter().find(|port| free(*port))?;
        self.next_port = (port - first).wrapping_add(1);
        Some((addr, port))
    }

    pub(super) fn remember_fragment(&mut self, key: FragmentKey, new: IpAddr) {
        if self.fragments.len() >= FRAGMENT_LIMIT {
            self.fragments.clear();
        }
        self.fragments.insert(key, new);
    }

    fn is_forgotten(&self, flow: &Flow, now: Instant) -> bool {
        let timeout = if flow.closed {
            self.config.closed_timeout
        } else if flow.protocol == proto::TCP && flow.answered {
            self.config.idle_timeout
        } else {
            self.config.short_timeout
        };
        now.saturating_duration_since(flow.seen) > timeout
    }

    fn forget(&mut self, flow: &Flow) {
        self.by_inside.remove(&(flow.protocol, flow.inside, flow.remote));
        self.by_external.remove(&(flow.protocol, flow.external, flow.remote));
        self.stats.expired += 1;
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|last| now.saturating_duration_since(last) < SWEEP_EVERY) {
            return;
        }
        self.swept = Some(now);
        let forgotten = self.by_inside.values().filter(|flow| self.is_forgotten(flow, now)).cloned();
        for flow in forgotten.collect::<Vec<_>>() {
            self.forget(&flow);
        }
    }
}
