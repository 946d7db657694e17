//! Faults of tables that hold connections: state tables and translators on the way, and the host's own ports.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::flows::{Held, KeptFlow};
use super::neighbour;
use super::world::{FaultError, World};
use crate::ctnetlink;
use crate::fabric::middlebox::UnknownMidStream;
use crate::host::Family;
use crate::nft::{Chain, Hook, Match, Rule, Verdict, ct_state};
use crate::oracle::{Sight, Witness};

/// Headroom of the kernel's table that the lab refuses to fill beyond, in entries.
const KERNEL_ENTRIES_LIMIT: u64 = 600_000;

/// Flows of the client's are established, then strangers' flows take the rest of the table.
pub(super) fn table_full(world: &mut World, at: &str, capacity: usize, echo_port: u16) -> Result<Witness, FaultError> {
    let flows = keep_flows(world, echo_port)?;
    let nat = world.net.nat(at)?.clone();
    nat.configure(|config| config.capacity = capacity);
    nat.fill();
    let (before, echoes) = (nat.stats().table_full, echoes(&flows));
    let at = at.to_owned();
    Ok(Witness::new(move |_| {
        let refused = nat.stats().table_full.saturating_sub(before);
        let alive = alive(&flows, &echoes);
        let evidence = format!("flows refused by {at}: {refused}; the old flows live: {alive}");
        Ok(Sight { bit: refused > 0 && alive, evidence })
    }))
}

/// The client's own held flows use up the translator's ports.
pub(super) fn ports_gone(world: &mut World, at: &str, ports: (u16, u16), echo_port: u16) -> Result<Witness, FaultError> {
    let nat = world.net.nat(at)?.clone();
    nat.configure(|config| {
        if let Some(snat) = &mut config.snat {
            snat.ports = ports;
        }
    });
    let flows = keep_flows(world, echo_port)?;
    let wanted = usize::from(ports.1.saturating_sub(ports.0)) + 1;
    hold_until_refused(world, echo_port, wanted)?;
    let (before, echoes) = (nat.stats().no_port, echoes(&flows));
    let at = at.to_owned();
    Ok(Witness::new(move |_| {
        let refused = nat.stats().no_port.saturating_sub(before);
        let alive = alive(&flows, &echoes);
        let evidence = format!("flows for which {at} had no port: {refused}; the old flows live: {alive}");
        Ok(Sight { bit: refused > 0 && alive, evidence })
    }))
}

/// A flow of the client's to the server over each IP version.
fn keep_flows(world: &World, echo_port: u16) -> Result<Vec<KeptFlow>, FaultError> {
    let server = world.net.host(&world.net.topology.server)?;
    let addrs = [server.addr(Family::V4), server.addr(Family::V6)].into_iter().flatten();
    let client = world.net.client()?;
    Ok(addrs.map(|addr| KeptFlow::start(client, SocketAddr::new(addr, echo_port))).collect::<Result<_, _>>()?)
}

fn echoes(flows: &[KeptFlow]) -> Vec<u64> {
    flows.iter().map(KeptFlow::echoes).collect()
}

fn alive(flows: &[KeptFlow], before: &[u64]) -> bool {
    flows.iter().zip(before).all(|(flow, before)| flow.echoes() > *before && flow.failures() == 0)
}

/// Opens connections until the first that fails, per family.
fn hold_until_refused(world: &mut World, port: u16, wanted: usize) -> Result<(), FaultError> {
    let server = world.net.topology.server.clone();
    for family in [Family::V4, Family::V6] {
        let Some(addr) = world.net.host(&server)?.addr(family) else {
            continue;
        };
        let (held, _) = Held::open(world.net.client()?, SocketAddr::new(addr, port), wanted)?;
        world.keep(held);
    }
    Ok(())
}

pub(super) fn idle_timeout(world: &mut World, at: &str, ms: u64, reset: bool) -> Result<Witness, FaultError> {
    let nat = world.net.nat(at)?.clone();
    nat.configure(|config| {
        config.idle_timeout = Duration::from_millis(ms);
        config.unknown = if reset { UnknownMidStream::Reset } else { UnknownMidStream::Drop };
    });
    let before = nat.stats().expired;
    let at = at.to_owned();
    Ok(Witness::new(move |_| {
        let forgotten = nat.stats().expired.saturating_sub(before);
        Ok(Sight::count(&format!("flows that {at} forgot"), forgotten))
    }))
}

/// The host's kernel tracks connections (a rule that asks for their state makes it), and its table has no room.
/// With a `share` below 1, so much of it is taken.
pub(super) fn kernel_table_full(world: &mut World, at: &str, share: f64) -> Result<Witness, FaultError> {
    let host = world.net.host(at)?;
    let established = Match::ConnectionState(ct_state::ESTABLISHED);
    let rules = vec![Rule { matches: vec![established], verdict: Verdict::Accept }];
    neighbour::install(host, "tracked", vec![Chain { hook: Hook::Forward, priority: 0, rules }])?;
    let place = at.to_owned();
    let filled = host.run(move || {
        let fill = ctnetlink::fill()?;
        if fill.max > KERNEL_ENTRIES_LIMIT {
            return Err(std::io::Error::other(format!("nf_conntrack_max is {}: too much memory to fill", fill.max)));
        }
        let wanted = (fill.max as f64 * share.clamp(0.0, 1.0)) as u64;
        let wanted = u32::try_from(wanted.saturating_sub(fill.count)).unwrap_or(u32::MAX);
        // Every entry of an earlier filling has a lower number than there are entries now.
        ctnetlink::insert_assured(u32::try_from(fill.count).unwrap_or(u32::MAX), wanted)
    })?;
    filled.map_err(|source| FaultError::Kernel { doing: "fill the connection table of", what: place, source })?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let fill = world.net.host(&at)?.run(ctnetlink::fill)?;
        let fill = fill.map_err(|e| crate::LabError::system("read the connection table of", at.clone(), e))?;
        let evidence = format!("connection table of {at}: {} of {}", fill.count, fill.max);
        // Connections of the run come and go beside the ones put in.
        let enough = fill.count as f64 >= fill.max as f64 * share * if share < 1.0 { 0.99 } else { 1.0 };
        Ok(Sight { bit: enough, evidence })
    }))
}

pub(super) fn ephemeral(world: &mut World, at: &str, ports: u16, to: &str, port: u16) -> Result<Witness, FaultError> {
    const FIRST: u16 = 40_000;
    let last = FIRST.saturating_add(ports.max(2) - 1);
    world.net.host(at)?.sysctl("net/ipv4/ip_local_port_range", &format!("{FIRST} {last}"))?;
    let addrs = world.net.host(to)?.addrs().collect::<Vec<IpAddr>>();
    let mut held = Vec::new();
    for addr in addrs {
        let (connections, failed) = Held::open(world.net.host(at)?, SocketAddr::new(addr, port), usize::from(ports) + 1)?;
        let exhausted = failed.as_ref().is_some_and(|e| e.raw_os_error() == Some(libc::EADDRNOTAVAIL));
        if !exhausted {
            let reason = format!("{} connections to {addr} port {port} did not use up {ports} ports: {failed:?}", connections.count());
            return Err(FaultError::Impossible { reason });
        }
        held.push(format!("{} to {addr}", connections.count()));
        world.keep(connections);
    }
    let evidence = format!("connections held: {}; the next one found no port", held.join(", "));
    Ok(Witness::new(move |_| Ok(Sight::state(evidence, true))))
}
