//! This host at one moment: interfaces, counters, tables. Two of them make a difference.
//! Taking one never fails and never waits; what cannot be read is named, the rest goes on.

use crate::counters::{CounterText, risen};
use crate::ethtool::Ethtool;
use crate::links::{self, LinkReading};
use crate::netlink::Netlink;
use crate::tables::{self, NeighborTables, fd_usage, listen_queue, rp_filter};
use faultmap_model::observation::{Counters, HostTables, Link, LinkDelta, NotAsked};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Drivers asked for speed and duplex: a host of containers has thousands of virtual links, all alike.
pub(crate) const DRIVERS_MAX: usize = 256;

/// What the kernel said of this network namespace at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    taken: Instant,
    links: Vec<LinkReading>,
    counters: CounterText,
    conntrack_drops: Option<u64>,
    neighbors: NeighborTables,
    unavailable: Vec<NotAsked>,
}

impl Snapshot {
    /// Reads interfaces, counters and table statistics of the calling thread's network namespace.
    #[must_use]
    pub fn take() -> Self {
        let mut unavailable = Vec::new();
        let (counters, failed) = CounterText::read();
        unavailable.extend(failed.iter().map(|error| not_asked("counters", error, "which kernel counters rose")));
        let (mut links, mut neighbors) = (Vec::new(), NeighborTables::default());
        match Netlink::route() {
            Ok(mut netlink) => {
                let (read, failed) = links::read(&mut netlink);
                links = read;
                let settles = "the state of the local links";
                unavailable.extend(failed.iter().map(|error| not_asked("link", error, settles)));
                match NeighborTables::read(netlink) {
                    Ok(read) => neighbors = read,
                    Err(error) => unavailable.push(not_asked("host.tables", &error, "whether the neighbour table is full")),
                }
            }
            Err(error) => unavailable.push(not_asked("link", &error, "the state of the local links, routes and neighbours")),
        }
        Self { taken: Instant::now(), links, counters, conntrack_drops: tables::conntrack_drops(), neighbors, unavailable }
    }

    /// The interfaces, `on_path` not yet decided. Speed, duplex and driver are asked of the drivers now, since one
    /// may take milliseconds; interfaces that are down are not asked for their speed.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let ethtool = Ethtool::open();
        self.links
            .iter()
            .enumerate()
            .map(|(place, reading)| match &ethtool {
                Some(ethtool) if place < DRIVERS_MAX && !reading.link.loopback => described(ethtool, reading),
                _ => reading.link.clone(),
            })
            .collect()
    }

    /// What each interface's counters did until `after`. Interfaces that came or went in between are left out.
    #[must_use]
    pub fn link_deltas(&self, after: &Self) -> Vec<LinkDelta> {
        let window_ms = self.window_ms(after);
        self.links.iter().filter_map(|before| links::delta(before, &after.links, window_ms)).collect()
    }

    /// Which kernel counters rose until `after`, and the reverse-path filter of `iface`.
    #[must_use]
    pub fn counters(&self, after: &Self, iface: Option<&str>) -> Counters {
        Counters {
            window_ms: self.window_ms(after),
            rose: risen(&self.counters.parse(), &after.counters.parse()),
            rp_filter: iface.and_then(rp_filter),
        }
    }

    /// Fill and limits of this host's tables now; rises over the time until `after`, when given.
    ///
    /// Lists sockets, so unlike [`Snapshot::take`] this grows with their number: about 1 µs each, bounded.
    #[must_use]
    pub fn tables(&self, after: Option<&Self>, target: Option<SocketAddr>) -> HostTables {
        let v6 = target.is_some_and(|target| target.ip().to_canonical().is_ipv6());
        let neighbors = after.unwrap_or(self).neighbors.family(v6);
        let fulls_before = self.neighbors.family(v6).table_fulls;
        let range = tables::port_range();
        let (conntrack_count, conntrack_max) = tables::conntrack_fill();
        let (fd_limit, fd_open) = fd_usage();
        HostTables {
            conntrack_count,
            conntrack_max,
            conntrack_drops: after.and_then(|after| rise(self.conntrack_drops, after.conntrack_drops)),
            port_low: range.map(|(low, _)| low),
            port_high: range.map(|(_, high)| high),
            ports_used: target.zip(range).and_then(|(target, range)| tables::ports_used(target, range)),
            fd_limit,
            fd_open,
            neighbor_entries: neighbors.entries,
            neighbor_max: neighbors.max,
            neighbor_table_fulls: after.and_then(|_| rise(fulls_before, neighbors.table_fulls)),
            listen_queue: target.filter(|target| self.is_local(target.ip())).and_then(listen_queue),
            tcp_states: tables::tcp_states(),
        }
    }

    /// What could not be read, and why.
    #[must_use]
    pub fn unavailable(&self) -> Vec<NotAsked> {
        self.unavailable.clone()
    }

    fn window_ms(&self, after: &Self) -> f64 {
        let micros = after.taken.saturating_duration_since(self.taken).as_micros();
        u32::try_from(micros).map_or(f64::from(u32::MAX), f64::from) / 1000.0
    }

    /// The address is one of our own.
    fn is_local(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.links.iter().any(|reading| reading.own_addresses.contains(&address))
    }
}

/// The link, with what its driver says of the medium.
pub(crate) fn described(ethtool: &Ethtool, reading: &LinkReading) -> Link {
    let mut link = reading.link.clone();
    // Devices made by software (`veth`, `bridge`) are named by rtnetlink already.
    link.driver = link.driver.or_else(|| ethtool.driver(&link.iface));
    if link.up {
        let medium = ethtool.medium(&link.iface);
        link.speed_mbps = medium.speed_mbps;
        link.max_speed_mbps = medium.max_speed_mbps;
        link.full_duplex = medium.full_duplex;
    }
    link
}

fn rise(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    // Counters that fell were reset; nothing can be said of the rise.
    after?.checked_sub(before?)
}

fn not_asked(question: &str, why: &dyn std::fmt::Display, would_settle: &str) -> NotAsked {
    NotAsked { question: question.to_owned(), why: why.to_string(), would_settle: would_settle.to_owned(), missing: None }
}
