//! Faults of a listener's two queues: connections that are complete but not accepted, and handshakes that are half done.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::flows::Held;
use super::raw::SynGun;
use super::world::{FaultError, World, snmp};
use crate::error::LabError;
use crate::host::Family;
use crate::oracle::{Sight, Witness};
use crate::rtnl::{Route, RouteKind};
use crate::services::Change;
use crate::topology::Prefix;

/// Between two rounds of forged SYNs; half-open connections live far longer.
const ROUND: Duration = Duration::from_millis(50);
const SYNS_PER_ROUND: u16 = 16;

/// The service stops accepting, its backlog shrinks, and another host's connections take the room.
pub(super) fn accept_queue(
    world: &mut World,
    at: &str,
    port: u16,
    (backlog, filled): (u16, u16),
    from: &str,
) -> Result<Witness, FaultError> {
    let index = world.service_index(at, Some(port))?;
    let change = json!({ "listen": { "backlog": backlog, "accept": { "kind": "never" } } });
    world.service(index)?.handle.alter(&change_of(change))?;
    for family in [Family::V4, Family::V6] {
        let Some(addr) = world.net.host(at)?.addr(family) else {
            continue;
        };
        fill(world, from, SocketAddr::new(addr, port), usize::from(filled))?;
    }
    let full = filled > backlog;
    let at = at.to_owned();
    let host = world.net.host(&at)?;
    let before = snmp(host, "TcpExt", "ListenOverflows")?;
    Ok(Witness::new(move |world| {
        let overflows = snmp(world.net.host(&at)?, "TcpExt", "ListenOverflows")?.saturating_sub(before);
        let evidence = format!("ListenOverflows of {at} since the check began: {overflows}");
        Ok(Sight { bit: overflows > 0 || !full, evidence })
    }))
}

fn fill(world: &mut World, from: &str, to: SocketAddr, wanted: usize) -> Result<(), FaultError> {
    let (held, failed) = Held::open(world.net.host(from)?, to, wanted)?;
    if held.count() < wanted {
        let why = failed.map_or_else(String::new, |e| format!(": {e}"));
        let reason = format!("only {} of {wanted} connections from {from} fit the queue of {to}{why}", held.count());
        return Err(FaultError::Impossible { reason });
    }
    world.keep(held);
    Ok(())
}

fn change_of(value: serde_json::Value) -> Change {
    match value {
        serde_json::Value::Object(fields) => Change(fields),
        _ => Change::default(),
    }
}

/// Forged SYNs from the benchmark network 198.18.0.0/15, whose addresses answer nothing: SYN-ACKs to them die in a
/// blackhole route of the router next to the server.
pub(super) fn syn_backlog(
    world: &mut World,
    at: &str,
    port: u16,
    (backlog, cookies): (u16, bool),
    from: &str,
) -> Result<Witness, FaultError> {
    let index = world.service_index(at, Some(port))?;
    let server = world.net.host(at)?;
    server.sysctl("net/ipv4/tcp_syncookies", if cookies { "1" } else { "0" })?;
    server.sysctl("net/ipv4/tcp_max_syn_backlog", &backlog.to_string())?;
    server.sysctl("net/core/somaxconn", &backlog.to_string())?;
    world.service(index)?.handle.alter(&change_of(json!({ "listen": { "backlog": backlog } })))?;
    let forged = Prefix { addr: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), len: 15 };
    for router in world.routers_beside(at) {
        world.net.host(&router)?.rtnl()?.replace_route(&Route::of_kind(forged, RouteKind::Blackhole))?;
    }
    let flood = Flood::start(world, at, port, from)?;
    let counted = if cookies { cookies_sent } else { half_open_drops };
    let before = counted(world, at)?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        flood.stop.store(true, Ordering::Relaxed);
        let met = counted(world, &at)?.saturating_sub(before);
        let sent = flood.sent.load(Ordering::Relaxed);
        let done = if cookies { "answered with a cookie" } else { "dropped" };
        Ok(Sight::count(&format!("SYNs that {at} {done} for want of room (forged: {sent})"), met))
    }))
}

fn half_open_drops(world: &World, at: &str) -> Result<u64, LabError> {
    let host = world.net.host(at)?;
    Ok(snmp(host, "TcpExt", "ListenDrops")? + snmp(host, "TcpExt", "TCPReqQFullDrop")?)
}

fn cookies_sent(world: &World, at: &str) -> Result<u64, LabError> {
    snmp(world.net.host(at)?, "TcpExt", "TCPReqQFullDoCookies")
}

struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

impl Flood {
    /// Keeps the queue full until told to stop; the first round is sent when this returns.
    fn start(world: &World, at: &str, port: u16, from: &str) -> Result<Flood, FaultError> {
        let addr = match world.net.host(at)?.addr(Family::V4) {
            Some(IpAddr::V4(addr)) => addr,
            _ => {
                return Err(FaultError::Impossible { reason: format!("{at} has no IPv4 address to flood") });
            }
        };
        let attacker = world.net.host(from)?;
        let target = SocketAddrV4::new(addr, port);
        let gun = attacker.run(move || SynGun::open(target))?;
        let gun = gun.map_err(|source| FaultError::Kernel { doing: "open", what: "raw socket".to_owned(), source })?;
        let flood = Flood { stop: Arc::default(), sent: Arc::default() };
        let (stop, sent) = (Arc::clone(&flood.stop), Arc::clone(&flood.sent));
        let mut round = 0;
        for _ in 0..16 {
            fire(&gun, &mut round, &sent);
            thread::sleep(Duration::from_millis(5));
        }
        attacker.spawn("syn-flood", move || {
            while !stop.load(Ordering::Relaxed) {
                fire(&gun, &mut round, &sent);
                thread::sleep(ROUND);
            }
        })?;
        Ok(flood)
    }
}

fn fire(gun: &SynGun, round: &mut u16, sent: &AtomicU64) {
    *round = round.wrapping_add(1);
    let [high, low] = round.to_be_bytes();
    for number in 0..SYNS_PER_ROUND {
        let from = SocketAddrV4::new(Ipv4Addr::new(198, 18, high, low), 1024 + number);
        if gun.fire(from).is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}
