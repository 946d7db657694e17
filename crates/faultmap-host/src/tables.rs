//! Limits and fill of this host's tables: conntrack, ephemeral ports, descriptors, neighbours, listen queues.
//! Reads only; never says how full is too full.

use crate::HostError;
use crate::netlink::{Extent, Message, Netlink, Request, u8_at, u32_at, u64_at};
use crate::proc_text;
use crate::procfs;
use crate::sock_diag::{self, Ask, CLOSE, LISTEN, Socket};
use nix::sys::resource::{Resource, getrlimit};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

// linux/neighbour.h
const RTM_NEWNEIGHTBL: u16 = 64;
const RTM_GETNEIGHTBL: u16 = 66;
const NDTMSG_LEN: usize = 4;
const NDTA_THRESH1: u16 = 2;
const NDTA_THRESH3: u16 = 4;
const NDTA_CONFIG: u16 = 5;
const NDTA_STATS: u16 = 7;
/// Ports of one address, and some.
const PORTS_MAX: usize = 80_000;
/// Sockets counted by state, per family: about 20 ms.
const STATES_MAX: usize = 32_768;
const LISTENERS_MAX: usize = 8192;
/// Descriptors counted.
const DESCRIPTORS_MAX: usize = 1 << 20;
/// One line a CPU.
const CONNTRACK_LIMIT: u64 = 256 * 1024;

/// The neighbour table of one family; the whole host's, in every namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NeighborTable {
    pub(crate) entries: Option<u64>,
    pub(crate) max: Option<u64>,
    pub(crate) table_fulls: Option<u64>,
    /// `gc_thresh1` and `gc_thresh2`; `max` is the third.
    pub(crate) lower_thresholds: [Option<u64>; 2],
    pub(crate) forced_gc_runs: Option<u64>,
    pub(crate) resolution_failures: Option<u64>,
}

/// The neighbour tables of both families.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NeighborTables {
    pub(crate) v4: NeighborTable,
    pub(crate) v6: NeighborTable,
}

impl NeighborTables {
    /// `RTM_GETNEIGHTBL`, which answers in a child namespace too, where the `gc_thresh` files are absent. Uses the
    /// socket up: behind each table follow its parameters of every interface, which are left unread.
    pub(crate) fn read(mut netlink: Netlink) -> Result<Self, HostError> {
        let mut tables = Self::default();
        for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
            let body = [family, 0, 0, 0];
            let request = Request { operation: "RTM_GETNEIGHTBL", kind: RTM_GETNEIGHTBL, body: &body };
            let extent = netlink.dump(&request, |message| {
                tables.take_in(message);
                if tables.family(family == libc::AF_INET6 as u8).entries.is_some() {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            if extent == Extent::Cut {
                netlink = Netlink::route()?;
            }
        }
        Ok(tables)
    }

    /// The table of the family in use.
    pub(crate) fn family(&self, v6: bool) -> NeighborTable {
        if v6 { self.v6 } else { self.v4 }
    }

    fn take_in(&mut self, message: &Message<'_>) {
        if message.kind != RTM_NEWNEIGHTBL {
            return;
        }
        let table = match u8_at(message.body, 0).map(i32::from) {
            Some(libc::AF_INET) => &mut self.v4,
            Some(libc::AF_INET6) => &mut self.v6,
            _ => return,
        };
        for (kind, value) in message.attributes(NDTMSG_LEN) {
            match kind {
                NDTA_THRESH3 => table.max = u32_at(value, 0).map(u64::from),
                NDTA_THRESH1..NDTA_THRESH3 => {
                    if let Some(threshold) = table.lower_thresholds.get_mut(usize::from(kind - NDTA_THRESH1)) {
                        *threshold = u32_at(value, 0).map(u64::from);
                    }
                }
                // struct ndt_config: key_len, entry_size, entries, ...
                NDTA_CONFIG => table.entries = u32_at(value, 4).map(u64::from),
                // struct ndt_stats: allocs, destroys, hash_grows, res_failed, lookups, hits, rcv_probes_mcast,
                // rcv_probes_ucast, periodic_gc_runs, forced_gc_runs, table_fulls.
                NDTA_STATS => {
                    table.resolution_failures = u64_at(value, 24);
                    table.forced_gc_runs = u64_at(value, 72);
                    table.table_fulls = u64_at(value, 80);
                }
                _ => {}
            }
        }
    }
}

/// What conntrack counted so far, over all CPUs, by name; the reason where this namespace has no conntrack.
pub(crate) fn conntrack_stats() -> Result<BTreeMap<String, u64>, HostError> {
    procfs::read(&format!("{}/stat/nf_conntrack", procfs::NET), CONNTRACK_LIMIT).map(|text| proc_text::per_cpu_hex(&text))
}

/// Packets that conntrack dropped so far: drop, insert_failed and early_drop.
pub(crate) fn conntrack_drops() -> Option<u64> {
    let stats = conntrack_stats().ok()?;
    let dropped = ["drop", "insert_failed", "early_drop"].iter().filter_map(|name| stats.get(*name).copied());
    dropped.fold(None, |sum: Option<u64>, value| Some(sum.unwrap_or(0).saturating_add(value)))
}

/// Entries and limit of conntrack in this namespace.
pub(crate) fn conntrack_fill() -> (Option<u64>, Option<u64>) {
    let value = |name| procfs::number(&format!("/proc/sys/net/netfilter/{name}"));
    (value("nf_conntrack_count"), value("nf_conntrack_max"))
}

/// Entries and limit of conntrack in this namespace, and the packets that it has dropped since boot.
#[must_use]
pub fn conntrack() -> (Option<u64>, Option<u64>, Option<u64>) {
    let (count, max) = conntrack_fill();
    (count, max, conntrack_drops())
}

/// First and last ephemeral port.
pub(crate) fn port_range() -> Option<(u16, u16)> {
    proc_text::port_range(&procfs::read("/proc/sys/net/ipv4/ip_local_port_range", 64).ok()?)
}

/// Ephemeral ports in use toward `target`, TIME_WAIT included; of the source address that uses most, since each
/// has the whole range. `None` when the list could not be read.
pub(crate) fn ports_used(target: SocketAddr, (low, high): (u16, u16)) -> Option<u64> {
    let target = SocketAddr::new(target.ip().to_canonical(), target.port());
    let states = !((1 << LISTEN) | (1 << CLOSE));
    let mut used: HashMap<IpAddr, HashSet<u16>> = HashMap::new();
    let mut note = |socket: Socket| {
        if socket.remote == target && (low..=high).contains(&socket.local.port()) {
            used.entry(socket.local.ip()).or_default().insert(socket.local.port());
        }
    };
    let mut read = false;
    for v6 in [false, true] {
        if v6 || target.is_ipv4() {
            let ask = Ask { states, to: Some(target), v6, with_info: false };
            read |= sock_diag::list(&ask, PORTS_MAX, &mut note).is_ok();
        }
    }
    read.then(|| used.values().map(HashSet::len).max().unwrap_or(0) as u64)
}

/// TCP sockets of this namespace by state. On a host with more than we read, only TIME_WAIT, which the kernel
/// counts itself (`sockstat`): a part of the list would mislead.
pub(crate) fn tcp_states() -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut whole = true;
    for v6 in [false, true] {
        let ask = Ask { states: u32::MAX, to: None, v6, with_info: false };
        let listed = sock_diag::list(&ask, STATES_MAX, |socket| {
            if let Some(name) = sock_diag::state_name(socket.state) {
                *counts.entry(name.to_owned()).or_insert(0) += 1;
            }
        });
        whole &= !matches!(listed, Ok(Extent::Cut));
    }
    if whole {
        return counts;
    }
    let sockstat = procfs::read(&format!("{}/sockstat", procfs::NET), 4096).unwrap_or_default();
    let time_wait = proc_text::sockstat(&sockstat).get("TCP.tw").copied();
    time_wait.map(|count| ("TIME_WAIT".to_owned(), count)).into_iter().collect()
}

/// Soft limit of descriptors of this process, and how many are open.
#[must_use]
pub fn fd_usage() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft);
    // The directory itself is open while it is read.
    let open = std::fs::read_dir("/proc/thread-self/fd").ok();
    (limit, open.map(|entries| entries.take(DESCRIPTORS_MAX).count().saturating_sub(1) as u64))
}

/// Reverse-path filter (RFC 3704) in force on `iface`: 0 off, 1 strict, 2 loose. The kernel takes the higher of the
/// interface's and the namespace's setting. IPv4 only: IPv6 has it in netfilter.
#[must_use]
pub fn rp_filter(iface: &str) -> Option<u8> {
    if iface.contains('/') || iface == "." || iface == ".." {
        return None;
    }
    let value = |name: &str| procfs::number(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"));
    u8::try_from(value(iface)?.max(value("all")?)).ok()
}

/// Connections that wait for `accept` at the local listener of `at`, and how many may wait. A listener on the
/// address itself goes before one on all addresses; of several (`SO_REUSEPORT`) the fullest is given.
/// `None` when nothing listens there, or the list could not be read.
#[must_use]
pub fn listen_queue(at: SocketAddr) -> Option<(u32, u32)> {
    let at = SocketAddr::new(at.ip().to_canonical(), at.port());
    let mut listeners = Vec::new();
    for v6 in [false, true] {
        if v6 || at.is_ipv4() {
            let ask = Ask { states: 1 << LISTEN, to: None, v6, with_info: false };
            // A family that cannot be read has no listeners for us.
            let _ = sock_diag::list(&ask, LISTENERS_MAX, |socket| {
                if socket.local.port() == at.port() {
                    listeners.push(socket);
                }
            });
        }
    }
    fullest(at.ip(), &listeners)
}

fn fullest(at: IpAddr, listeners: &[Socket]) -> Option<(u32, u32)> {
    let own = |socket: &&Socket| socket.local.ip() == at;
    // A listener on `::` takes IPv4 connections too, unless it is IPV6_V6ONLY.
    let any = |socket: &&Socket| {
        let takes = if at.is_ipv4() { !socket.v6_only } else { socket.local.is_ipv6() };
        socket.local.ip().is_unspecified() && takes
    };
    let room = |socket: &&Socket| socket.send_queue.saturating_sub(socket.receive_queue);
    let chosen = listeners.iter().filter(own).min_by_key(room).or_else(|| listeners.iter().filter(any).min_by_key(room));
    chosen.map(|socket| (socket.receive_queue, socket.send_queue))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Body;
    use proptest::prelude::*;

    fn listener(local: &str, waiting: u32, limit: u32) -> Socket {
        let local: SocketAddr = local.parse().expect("an address");
        let remote = SocketAddr::new(local.ip(), 0);
        Socket { state: LISTEN, local, remote, receive_queue: waiting, send_queue: limit, v6_only: false, inode: 0, info: None }
    }

    #[test]
    fn a_listener_on_the_address_goes_before_one_on_all_addresses() {
        let at: IpAddr = "10.0.0.1".parse().expect("an address");
        let listeners = [listener("0.0.0.0:80", 9, 9), listener("10.0.0.1:80", 1, 5)];
        assert_eq!(fullest(at, &listeners), Some((1, 5)));
        assert_eq!(fullest(at, &listeners[..1]), Some((9, 9)));
    }

    #[test]
    fn of_several_listeners_on_a_port_the_fullest_is_named() {
        let at: IpAddr = "fd00::1".parse().expect("an address");
        let listeners = [listener("[::]:80", 1, 4), listener("[::]:80", 5, 4), listener("0.0.0.0:80", 9, 0)];
        assert_eq!(fullest(at, &listeners), Some((5, 4)));
    }

    #[test]
    fn a_listener_for_ipv6_alone_is_none_for_ipv4() {
        let at: IpAddr = "10.0.0.1".parse().expect("an address");
        let dual = listener("[::]:80", 1, 4);
        let alone = Socket { v6_only: true, ..dual };
        assert_eq!(fullest(at, &[dual]), Some((1, 4)));
        assert_eq!(fullest(at, &[alone]), None);
    }

    #[test]
    fn a_neighbour_tables_fill_limit_and_overflows_are_read() {
        let mut config = vec![0; 32];
        config[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        let mut stats = vec![0; 88];
        stats[80..88].copy_from_slice(&3_u64.to_ne_bytes());
        let body = Body::new(&[libc::AF_INET as u8, 0, 0, 0])
            .with(NDTA_THRESH3, &1024_u32.to_ne_bytes())
            .with(NDTA_CONFIG, &config)
            .with(NDTA_STATS, &stats);
        let mut tables = NeighborTables::default();
        tables.take_in(&Message { kind: RTM_NEWNEIGHTBL, flags: 0, sequence: 0, body: body.bytes() });
        let counts = (Some(0), Some(0));
        let (forced_gc_runs, resolution_failures) = counts;
        let base = NeighborTable { forced_gc_runs, resolution_failures, ..NeighborTable::default() };
        let expected = NeighborTable { entries: Some(7), max: Some(1024), table_fulls: Some(3), ..base };
        assert_eq!((tables.v4, tables.v6), (expected, NeighborTable::default()));
    }

    #[test]
    fn an_interface_name_cannot_lead_out_of_its_directory() {
        assert_eq!(rp_filter("../all"), None);
        assert_eq!(rp_filter(".."), None);
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            NeighborTables::default().take_in(&Message { kind: RTM_NEWNEIGHTBL, flags: 0, sequence: 0, body: &bytes });
        }
    }
}
