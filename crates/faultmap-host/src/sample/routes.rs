//! Roads out of this namespace for a sample: next hops and how they answer, learned path MTUs, neighbour tables.

use crate::HostError;
use crate::neighbor;
use crate::netlink::{Attributes, Extent, Message, Netlink, Request, u8_at, u16_at, u32_at};
use crate::route::address;
use crate::tables::{NeighborTable, NeighborTables};
use faultmap_model::host::{GatewaySample, HostSample, LearnedMtu, NeighborTableSample, UnreachedSample};
use faultmap_model::observation::NeighborState;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;

// linux/rtnetlink.h
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTMSG_LEN: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;
const RTNEXTHOP_LEN: usize = 8;
const RTN_UNICAST: u8 = 1;
const RTM_F_CLONED: u32 = 0x200;
/// `USER_HZ`.
const TICKS_A_SECOND: u64 = 100;

/// Routes read, per family: the default comes first, and a router of the Internet has a million.
const ROUTES_MAX: usize = 4096;
const NEXT_HOPS_MAX: usize = 64;
const GATEWAYS_MAX: usize = 64;
const NEIGHBORS_MAX: usize = 65_536;
const UNRESOLVED_MAX: usize = 8;
/// Of those, looked for among the connections that are being opened.
const UNREACHED_MAX: usize = 4096;
const LEARNED_MAX: usize = 64;

/// Next hops, and which links have a road.
pub(super) fn read(sample: &mut HostSample) -> Result<(), HostError> {
    let mut roads: Vec<Road> = Vec::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        dump(family, 0, ROUTES_MAX, |message| roads.extend(read_roads(message)))?;
    }
    for road in roads {
        let Some(link) = sample.links.iter_mut().find(|link| link.link.index == road.index) else { continue };
        link.link.on_path |= !link.link.loopback;
        let out = road.gateway.is_some() || road.default;
        link.gateway_routes = link.gateway_routes.saturating_add(u32::from(out));
        let iface = link.link.iface.clone();
        let Some(gateway) = road.gateway else { continue };
        let room = sample.gateways.len() < GATEWAYS_MAX;
        if let Some(known) = sample.gateways.iter_mut().find(|known| known.address == gateway && known.iface == iface) {
            known.default |= road.default;
        } else if room {
            let default = road.default;
            sample.gateways.push(GatewaySample { address: gateway, iface, default, state: None, mac: None, updated_ms: None });
        }
    }
    Ok(())
}

fn dump(family: u8, flags: u32, limit: usize, mut each: impl FnMut(&Message<'_>)) -> Result<Extent, HostError> {
    let mut netlink = Netlink::route()?;
    let mut header = [0; RTMSG_LEN];
    header[0] = family;
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    let mut seen = 0_usize;
    netlink.dump(&Request { operation: "RTM_GETROUTE", kind: RTM_GETROUTE, body: &header }, |message| {
        each(message);
        seen += 1;
        if seen >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

/// One next hop of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Road {
    index: u32,
    gateway: Option<IpAddr>,
    default: bool,
}

/// The next hops of an `RTM_NEWROUTE`; link-local and multicast routes are on every link and lead nowhere.
fn read_roads(message: &Message<'_>) -> Vec<Road> {
    let unicast = u8_at(message.body, 7) == Some(RTN_UNICAST);
    let cloned = u32_at(message.body, 8).is_none_or(|flags| flags & RTM_F_CLONED != 0);
    if message.kind != RTM_NEWROUTE || !unicast || cloned {
        return Vec::new();
    }
    let default = u8_at(message.body, 1) == Some(0);
    let (mut destination, mut one, mut several) = (None, Road { index: 0, gateway: None, default }, Vec::new());
    for (kind, value) in message.attributes(RTMSG_LEN) {
        match kind {
            RTA_DST => destination = address(value),
            RTA_OIF => one.index = u32_at(value, 0).unwrap_or_default(),
            RTA_GATEWAY | RTA_VIA => one.gateway = hop(kind, value),
            RTA_MULTIPATH => several = read_multipath(value, default),
            _ => {}
        }
    }
    let everywhere = destination.is_some_and(|to| match to {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_multicast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
    });
    match (everywhere, one.index) {
        (true, _) => Vec::new(),
        (false, 0) => several,
        (false, _) => vec![one],
    }
}

/// A next hop of the other family (RFC 8950) is its family, then the address.
fn hop(kind: u16, value: &[u8]) -> Option<IpAddr> {
    if kind == RTA_VIA { address(value.get(2..)?) } else { address(value) }
}

/// `struct rtnexthop`: length, flags, hops, ifindex, then attributes.
fn read_multipath(mut rest: &[u8], default: bool) -> Vec<Road> {
    let mut roads = Vec::new();
    while roads.len() < NEXT_HOPS_MAX {
        let Some((length, index)) = u16_at(rest, 0).map(usize::from).zip(u32_at(rest, 4)) else { break };
        let Some(attributes) = rest.get(RTNEXTHOP_LEN..length) else { break };
        let gateway = Attributes::new(attributes).find(|(kind, _)| matches!(*kind, RTA_GATEWAY | RTA_VIA));
        roads.push(Road { index, gateway: gateway.and_then(|(kind, value)| hop(kind, value)), default });
        rest = rest.get(length.saturating_add(3) & !3..).unwrap_or_default();
    }
    roads
}

/// Exceptions that the kernel keeps beside its routes: path MTUs that expire.
pub(super) fn read_learned(sample: &mut HostSample) -> Result<(), HostError> {
    let mut learned = Vec::new();
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        dump(family, RTM_F_CLONED, ROUTES_MAX, |message| {
            if learned.len() < LEARNED_MAX {
                learned.extend(read_exception(message));
            }
        })?;
    }
    for (mut exception, index) in learned {
        let link = sample.links.iter().find(|link| link.link.index == index);
        exception.link_mtu = link.map(|link| link.link.mtu);
        sample.learned_mtus.push(exception);
    }
    Ok(())
}

fn read_exception(message: &Message<'_>) -> Option<(LearnedMtu, u32)> {
    if message.kind != RTM_NEWROUTE || u32_at(message.body, 8)? & RTM_F_CLONED == 0 {
        return None;
    }
    let (mut destination, mut mtu, mut expires_s, mut index) = (None, None, None, 0);
    for (kind, value) in message.attributes(RTMSG_LEN) {
        match kind {
            RTA_DST => destination = address(value),
            RTA_OIF => index = u32_at(value, 0).unwrap_or_default(),
            RTA_METRICS => {
                let metric = Attributes::new(value).find(|(metric, _)| *metric == RTAX_MTU);
                mtu = metric.and_then(|(_, value)| u32_at(value, 0)).filter(|mtu| *mtu > 0);
            }
            // struct rta_cacheinfo: clntref, lastuse, expires, ...
            RTA_CACHEINFO => expires_s = u32_at(value, 8).map(u64::from).map(|ticks| ticks / TICKS_A_SECOND),
            _ => {}
        }
    }
    let expires_s = expires_s.filter(|seconds| *seconds > 0 && *seconds < u64::from(i32::MAX.unsigned_abs()) / TICKS_A_SECOND);
    // A configured MTU never expires; only what was learned does.
    expires_s?;
    Some((LearnedMtu { destination: destination?, mtu: mtu?, link_mtu: None, expires_s }, index))
}

/// Neighbour entries by state, and how the next hops stand.
pub(super) fn read_neighbors(sample: &mut HostSample) -> Result<(), HostError> {
    let mut netlink = Netlink::route()?;
    let names: BTreeMap<u32, String> = sample.links.iter().map(|link| (link.link.index, link.link.iface.clone())).collect();
    let (states, gateways, unresolved) = (&mut sample.neighbors, &mut sample.gateways, &mut sample.unresolved_neighbors);
    let unreached = &mut sample.unreached;
    neighbor::all(&mut netlink, NEIGHBORS_MAX, |entry| {
        // Multicast groups and tunnels have entries that ask nobody.
        if entry.state == NeighborState::Noarp {
            return;
        }
        *states.entry(word(entry.state).to_owned()).or_insert(0) += 1;
        let iface = names.get(&entry.index).map(String::as_str).unwrap_or_default();
        let unanswered = matches!(entry.state, NeighborState::Failed | NeighborState::Incomplete);
        if unanswered && unresolved.len() < UNRESOLVED_MAX {
            unresolved.push(format!("{} on {iface}", entry.address));
        }
        if unanswered && unreached.len() < UNREACHED_MAX {
            // Whether anybody wants it, the sockets tell.
            unreached.push(UnreachedSample { address: entry.address, iface: iface.to_owned(), connecting: 0 });
        }
        let same = |gateway: &&mut GatewaySample| gateway.address == entry.address && gateway.iface == iface;
        if let Some(gateway) = gateways.iter_mut().find(same) {
            (gateway.state, gateway.mac, gateway.updated_ms) = (Some(entry.state), entry.mac, entry.updated_ms);
        }
    })?;
    for gateway in sample.gateways.iter_mut().filter(|gateway| gateway.state.is_none()) {
        gateway.state = Some(NeighborState::None);
    }
    Ok(())
}

fn word(state: NeighborState) -> &'static str {
    match state {
        NeighborState::None => "none",
        NeighborState::Incomplete => "incomplete",
        NeighborState::Reachable => "reachable",
        NeighborState::Stale => "stale",
        NeighborState::Delay => "delay",
        NeighborState::Probe => "probe",
        NeighborState::Failed => "failed",
        NeighborState::Noarp => "noarp",
        NeighborState::Permanent => "permanent",
    }
}

/// The tables of both families, of the whole host.
pub(super) fn read_neighbor_tables(sample: &mut HostSample) -> Result<(), HostError> {
    let tables = NeighborTables::read(Netlink::route()?)?;
    for (v6, table) in [(false, tables.v4), (true, tables.v6)] {
        let NeighborTable { entries, max, table_fulls, lower_thresholds: [low, middle], forced_gc_runs, resolution_failures } = table;
        if entries.is_some() {
            let thresholds = [low, middle, max];
            sample.neighbor_tables.push(NeighborTableSample { v6, entries, thresholds, table_fulls, forced_gc_runs, resolution_failures });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Body;
    use proptest::prelude::*;

    fn message(body: &[u8]) -> Message<'_> {
        Message { kind: RTM_NEWROUTE, flags: 0, sequence: 1, body }
    }

    fn header(bits: u8, flags: u32) -> Vec<u8> {
        let mut header = vec![libc::AF_INET as u8, bits, 0, 0, 254, 0, 0, RTN_UNICAST];
        header.extend_from_slice(&flags.to_ne_bytes());
        header
    }

    #[test]
    fn every_next_hop_of_a_default_route_over_two_links_is_a_road() {
        let hop = |index: u32, last: u8| {
            let gateway = Body::new(&[]).with(RTA_GATEWAY, &[10, 0, 0, last]);
            let mut bytes = vec![16, 0, 0, 0];
            bytes.extend_from_slice(&index.to_ne_bytes());
            bytes.extend_from_slice(gateway.bytes());
            bytes
        };
        let hops = [hop(2, 1), hop(3, 9)].concat();
        let body = Body::new(&header(0, 0)).with(RTA_MULTIPATH, &hops);
        let road = |index, last| Road { index, gateway: Some(IpAddr::from([10, 0, 0, last])), default: true };
        assert_eq!(read_roads(&message(body.bytes())), [road(2, 1), road(3, 9)]);
    }

    #[test]
    fn a_link_local_route_leads_nowhere() {
        let body = Body::new(&header(16, 0)).with(RTA_DST, &[169, 254, 0, 0]).with(RTA_OIF, &2_u32.to_ne_bytes());
        assert_eq!(read_roads(&message(body.bytes())), []);
    }

    #[test]
    fn only_an_exception_that_expires_was_learned() {
        let mtu = Body::new(&[]).with(RTAX_MTU, &1300_u32.to_ne_bytes());
        let with = |expires: u32| {
            let info: Vec<u8> = [0, 0, expires, 0].iter().flat_map(|field: &u32| field.to_ne_bytes()).collect();
            let body = Body::new(&header(32, RTM_F_CLONED)).with(RTA_DST, &[10, 2, 0, 1]).with(RTA_METRICS, mtu.bytes());
            body.with(RTA_CACHEINFO, &info)
        };
        let read = |expires| read_exception(&message(with(expires).bytes())).map(|(learned, _)| (learned.mtu, learned.expires_s));
        assert_eq!((read(59_900), read(0)), (Some((1300, Some(599))), None));
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (read_roads(&message(&bytes)), read_exception(&message(&bytes)));
        }
    }
}
