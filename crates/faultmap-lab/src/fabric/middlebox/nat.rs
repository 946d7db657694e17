//! A connection table in the path, with or without translation of source addresses. It has a size, it forgets, and
//! when it is full it drops what is new without a word: the quiet faults of gateways.

mod table;
mod translate;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Emit, Middlebox, Pass};
use crate::fabric::Direction;
use table::Table;

/// Source address translation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snat {
    /// The address IPv4 sources become; without it they stay.
    pub v4: Option<Ipv4Addr>,
    /// The address IPv6 sources become; without it they stay.
    pub v6: Option<Ipv6Addr>,
    /// First and last port handed out, for each destination address and port anew.
    pub ports: (u16, u16),
}

impl Snat {
    /// Every unprivileged port.
    pub const DEFAULT_PORTS: (u16, u16) = (1024, 65_535);
}

/// What happens to a TCP segment that belongs to no known connection and opens none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownMidStream {
    /// It is taken for a connection in progress (Linux: nf_conntrack_tcp_loose=1).
    Adopt,
    /// It is dropped.
    Drop,
    /// Its sender gets a reset in the receiver's name.
    Reset,
}

/// How a table behaves.
#[derive(Debug, Clone)]
pub struct NatConfig {
    /// The direction that leads out of the inside network.
    pub outward: Direction,
    /// Connections it can hold; beyond that, new ones are dropped silently.
    pub capacity: usize,
    /// When an established TCP connection without traffic is forgotten.
    pub idle_timeout: Duration,
    /// When anything else without traffic is forgotten: half-open TCP, UDP, ICMP echo.
    pub short_timeout: Duration,
    /// When a closed TCP connection is forgotten; until then its port is taken.
    pub closed_timeout: Duration,
    /// What becomes of segments of forgotten connections.
    pub unknown: UnknownMidStream,
    /// Translation of source addresses; without it the box only keeps its table.
    pub snat: Option<Snat>,
}

impl Default for NatConfig {
    fn default() -> NatConfig {
        NatConfig {
            outward: Direction::Forward,
            capacity: 65_536,
            idle_timeout: Duration::from_secs(7440),
            short_timeout: Duration::from_secs(60),
            closed_timeout: Duration::from_secs(10),
            unknown: UnknownMidStream::Drop,
            snat: None,
        }
    }
}

/// What a table did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NatStats {
    /// Connections added.
    pub opened: u64,
    /// Packets of known connections passed on.
    pub passed: u64,
    /// ICMP errors matched to a connection, translated where needed.
    pub errors_passed: u64,
    /// New connections dropped because the table was full.
    pub table_full: u64,
    /// New connections dropped because no port was left for their destination.
    pub no_port: u64,
    /// Segments of unknown connections dropped.
    pub unknown_dropped: u64,
    /// Segments of unknown connections answered with a reset.
    pub unknown_reset: u64,
    /// Connections forgotten for lack of traffic.
    pub expired: u64,
    /// Later fragments dropped because their first was not seen.
    pub stray_fragments: u64,
}

/// A connection table on a cable. Clones are handles on the same table.
#[derive(Debug, Clone)]
pub struct Nat {
    name: String,
    table: Arc<Mutex<Table>>,
}

impl Nat {
    /// An empty table.
    pub fn new(name: &str, config: NatConfig) -> Nat {
        Nat { name: name.to_owned(), table: Arc::new(Mutex::new(Table::new(config))) }
    }

    /// Changes the configuration from now on; known connections stay.
    pub fn configure(&self, change: impl FnOnce(&mut NatConfig)) {
        change(&mut self.lock().config);
    }

    /// Occupies `count` places with connections of others that never end.
    pub fn prefill(&self, count: usize) {
        self.lock().synthetic = count;
    }

    /// Occupies every place that is free now with connections of others that never end.
    pub fn fill(&self) {
        let mut table = self.lock();
        table.synthetic = table.config.capacity.saturating_sub(table.flows());
    }

    /// Forgets every connection, as a restart or a failover to an unsynchronised twin does.
    pub fn flush(&self) {
        self.lock().flush();
    }

    /// Connections held, synthetic ones included.
    pub fn len(&self) -> usize {
        let table = self.lock();
        table.flows() + table.synthetic
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it did so far.
    pub fn stats(&self) -> NatStats {
        self.lock().stats.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Middlebox for Nat {
    fn name(&self) -> &str {
        &self.name
    }

    fn handle(&mut self, direction: Direction, frame: &mut Vec<u8>, now: Instant, out: &mut Emit) -> Pass {
        let mut table = self.lock();
        translate::handle(&mut table, direction, frame, now, out)
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let stats = self.stats();
        let counters = [
            ("connections", self.len() as u64),
            ("opened", stats.opened),
            ("passed", stats.passed),
            ("errors_passed", stats.errors_passed),
            ("table_full", stats.table_full),
            ("no_port", stats.no_port),
            ("unknown_dropped", stats.unknown_dropped),
            ("unknown_reset", stats.unknown_reset),
            ("expired", stats.expired),
            ("stray_fragments", stats.stray_fragments),
        ];
        counters.map(|(name, count)| (name.to_owned(), count)).into()
    }
}
