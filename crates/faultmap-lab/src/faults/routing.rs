//! Faults of routing: routes that are gone, reject, loop or lead one way only, and hops too narrow for the packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use serde::{Deserialize, Serialize};

use super::world::{FaultError, World, snmp};
use crate::error::LabError;
use crate::fabric::middlebox::{IcmpFilter, IcmpMatch};
use crate::oracle::{Sight, Witness};
use crate::rtnl::{Route, RouteKind};
use crate::topology::Prefix;

/// Most routes taken away by one fault.
const ROUTES_LIMIT: u32 = 64;

/// How a rejecting route rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectKind {
    /// Silently.
    Blackhole,
    /// With "host unreachable".
    Unreachable,
    /// With "communication administratively prohibited".
    Prohibit,
}

impl RejectKind {
    fn route(self) -> RouteKind {
        match self {
            RejectKind::Blackhole => RouteKind::Blackhole,
            RejectKind::Unreachable => RouteKind::Unreachable,
            RejectKind::Prohibit => RouteKind::Prohibit,
        }
    }
}

pub(super) fn delete(world: &mut World, at: &str, to: &[Prefix]) -> Result<Witness, FaultError> {
    let rtnl = world.net.host(at)?.rtnl()?;
    let everything = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)].map(Prefix::everything_like);
    let to = if to.is_empty() { everything.to_vec() } else { to.to_vec() };
    for prefix in &to {
        rtnl.delete_route(&Route::of_kind(*prefix, RouteKind::Unicast))?;
    }
    let before = no_route(world, at)?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let met = no_route(world, &at)?.saturating_sub(before);
        Ok(Sight::count(&format!("packets for which {at} had no route"), met))
    }))
}

/// Packets without a route, made here or passing through (Ip6 counts refused connects too, Ip only sent packets).
fn no_route(world: &World, at: &str) -> Result<u64, LabError> {
    let host = world.net.host(at)?;
    let out = snmp(host, "Ip", "OutNoRoutes")? + snmp(host, "IpExt", "InNoRoutes")?;
    Ok(out + snmp(host, "Ip6", "OutNoRoutes")? + snmp(host, "Ip6", "InNoRoutes")?)
}

pub(super) fn reject(world: &mut World, at: &str, to: &[Prefix], with: RejectKind) -> Result<Witness, FaultError> {
    let host = world.net.host(at)?;
    let rtnl = host.rtnl()?;
    for prefix in to {
        rtnl.replace_route(&Route { metric: best_metric(*prefix), ..Route::of_kind(*prefix, with.route()) })?;
        // The kernel refuses to connect over a rejecting route, without sending anything.
        let (addr, prefix) = (SocketAddr::new(prefix.addr, 9), *prefix);
        let connect = move || UdpSocket::bind(unspecified(addr)).and_then(|socket| socket.connect(addr));
        if host.run(connect)?.is_ok() {
            return Err(FaultError::Impossible { reason: format!("a better route to {prefix} exists at {at}") });
        }
    }
    arrivals_vanish(world, at, format!("rejected by {with:?} routes at {at}"))
}

/// The metric that beats every other: IPv4 takes the lowest and 0 is the usual one, IPv6 takes 0 for "the usual, 1024".
fn best_metric(prefix: Prefix) -> Option<u32> {
    prefix.addr.is_ipv6().then_some(1)
}

fn unspecified(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    }
}

/// A witness for faults whose victims leave no counter of their own: something must have come to the host, or from it.
fn arrivals_vanish(world: &World, at: &str, what: String) -> Result<Witness, FaultError> {
    if world.net.topology.client == at {
        return Ok(Witness::new(move |_| Ok(Sight::state(what, true))));
    }
    let before = received(world, at)?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let met = received(world, &at)?.saturating_sub(before);
        Ok(Sight::count(&format!("{what}; packets that reached it"), met))
    }))
}

fn received(world: &World, at: &str) -> Result<u64, LabError> {
    let host = world.net.host(at)?;
    Ok(snmp(host, "Ip", "InReceives")? + snmp(host, "Ip6", "InReceives")?)
}

pub(super) fn redirect(world: &mut World, at: &str, to: &[Prefix], via: &[IpAddr]) -> Result<Witness, FaultError> {
    let rtnl = world.net.host(at)?.rtnl()?;
    for prefix in to {
        let like = |gateway: &&IpAddr| gateway.is_ipv4() == prefix.addr.is_ipv4();
        if let Some(gateway) = via.iter().find(like) {
            rtnl.replace_route(&Route { metric: best_metric(*prefix), ..Route::via(*prefix, *gateway) })?;
        }
    }
    let before = forwarded(world, at)?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let met = forwarded(world, &at)?.saturating_sub(before);
        Ok(Sight::count(&format!("packets that {at} sent round"), met))
    }))
}

fn forwarded(world: &World, at: &str) -> Result<u64, LabError> {
    let host = world.net.host(at)?;
    Ok(snmp(host, "Ip", "ForwDatagrams")? + snmp(host, "Ip6", "OutForwDatagrams")?)
}

pub(super) fn rp_filter(world: &mut World, at: &str) -> Result<Witness, FaultError> {
    let host = world.net.host(at)?;
    host.sysctl("net/ipv4/conf/all/rp_filter", "1")?;
    let before = snmp(host, "TcpExt", "IPReversePathFilter")?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let met = snmp(world.net.host(&at)?, "TcpExt", "IPReversePathFilter")?.saturating_sub(before);
        Ok(Sight::count(&format!("packets that the reverse path filter of {at} dropped"), met))
    }))
}

/// Takes the default routes and every route to a network of the client away.
pub(super) fn no_return(world: &mut World, at: &str) -> Result<Witness, FaultError> {
    let client = world.net.client()?.interfaces().iter().flat_map(|i| i.addrs.clone()).collect::<Vec<_>>();
    let host = world.net.host(at)?;
    let rtnl = host.rtnl()?;
    let defaults = client.iter().map(|prefix| Prefix::everything_like(prefix.addr));
    let mut removed = 0;
    for prefix in client.iter().copied().chain(defaults) {
        // How many of them the topology has is its own business: there may be spares of higher metric.
        while removed < ROUTES_LIMIT && rtnl.delete_route(&Route::of_kind(prefix, RouteKind::Unicast)).is_ok() {
            removed += 1;
        }
    }
    if removed == 0 {
        return Err(FaultError::Impossible { reason: format!("{at} had no route to the client to take away") });
    }
    let before = no_route(world, at)?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let met = no_route(world, &at)?.saturating_sub(before);
        Ok(Sight::count(&format!("answers for which {at} had no route"), met))
    }))
}

/// The MTU is lowered on both ends of a cable between routers; hosts go on believing in 1500 bytes until they are told.
pub(super) fn narrow_hop(world: &mut World, at: &str, mtu: u32, icmp: bool) -> Result<Witness, FaultError> {
    let routers = world.net.link(at)?.nodes().map(str::to_owned);
    for router in &routers {
        let host = world.net.host(router)?;
        let missing = || FaultError::Impossible { reason: format!("{at} does not lead to {router}") };
        let interface = host.iface(at).ok_or_else(missing)?;
        host.rtnl()?.set_mtu(&interface.name, mtu)?;
        if !icmp {
            for link in world.net.links_of(router) {
                link.add(Box::new(IcmpFilter::new(&format!("icmp-filter-{router}"), IcmpMatch::TooBig, None)));
            }
        }
    }
    let before = fragmentation_failures(world, &routers)?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let met = fragmentation_failures(world, &routers)?.saturating_sub(before);
        Ok(Sight::count(&format!("packets too big for {at}"), met))
    }))
}

fn fragmentation_failures(world: &World, routers: &[String]) -> Result<u64, LabError> {
    let mut failures = 0;
    for router in routers {
        let host = world.net.host(router)?;
        failures += snmp(host, "Ip", "FragFails")? + snmp(host, "Icmp6", "OutPktTooBigs")?;
    }
    Ok(failures)
}

pub(super) fn small_ttl(world: &mut World, at: &str, ttl: u8) -> Result<Witness, FaultError> {
    let host = world.net.host(at)?;
    host.sysctl("net/ipv4/ip_default_ttl", &ttl.to_string())?;
    host.sysctl("net/ipv6/conf/all/hop_limit", &ttl.to_string())?;
    host.sysctl("net/ipv6/conf/default/hop_limit", &ttl.to_string())?;
    for interface in host.interfaces() {
        host.sysctl(&format!("net/ipv6/conf/{}/hop_limit", interface.name), &ttl.to_string())?;
    }
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let routers = world.net.topology.hosts.iter().filter(|h| h.forward).map(|h| h.name.clone());
        let mut expired = 0;
        for router in routers {
            let host = world.net.host(&router)?;
            expired += snmp(host, "Icmp", "OutTimeExcds")? + snmp(host, "Icmp6", "OutTimeExcds")?;
        }
        Ok(Sight::count(&format!("packets (of {at} with TTL {ttl}) whose time was exceeded"), expired))
    }))
}
