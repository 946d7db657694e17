//! Causes of layer 3, network: addressing and routing.

mod admin_prohibited;
mod family_broken;
mod fragments_dropped;
mod high_latency_path;
mod no_return_route;
mod no_route;
mod packet_loss;
pub(in crate::causes) mod pmtu_blackhole;
mod private_address;
mod remote_blackhole;
mod remote_no_route;
mod route_rejected;
mod routing_loop;
mod rp_filter;

use super::Cause;
use crate::observation::{ArpProbe, HopSaid, IcmpMeaning, Link, NeighborState, RouteOutcome, UdpOutcome, UdpProbe, Walk};
use crate::{Evidence, ObservationId};
use std::net::IpAddr;

/// In the order of `faultmap causes`.
pub(super) static CAUSES: &[&Cause] = &[
    &no_route::CAUSE,
    &route_rejected::CAUSE,
    &remote_no_route::CAUSE,
    &remote_blackhole::CAUSE,
    &routing_loop::CAUSE,
    &admin_prohibited::CAUSE,
    &pmtu_blackhole::CAUSE,
    &fragments_dropped::CAUSE,
    &packet_loss::CAUSE,
    &high_latency_path::CAUSE,
    &rp_filter::CAUSE,
    &no_return_route::CAUSE,
    &family_broken::V6,
    &family_broken::V4,
    &private_address::CAUSE,
];

/// Every port and protocol of the address is silent: how far its packets were seen.
struct SilentPath {
    /// The failed attempt.
    failed: ObservationId,
    /// The address.
    ip: IpAddr,
    /// Walks toward it.
    walks: Vec<ObservationId>,
    /// The last router that answered, with its hop number; `None` when not even the first did.
    last: Option<(u8, IpAddr)>,
    /// What a walk toward a neighbouring address showed.
    sibling: Sibling,
}

/// A walk toward an address beside the target's, for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sibling {
    /// Not walked.
    Unknown,
    /// Its packets stop at the same place: the whole prefix is cut there.
    StopsToo(ObservationId),
    /// Its packets are seen further on: only this address is cut at that place.
    GoesFurther(ObservationId),
    /// Its packets reach the same last router, which goes on to look for that host: the road to the segment is good.
    RoadIsGood(ObservationId),
}

/// Everything toward the target is silent, and the next hop is resolved.
fn silent_path(ev: &Evidence<'_>) -> Option<SilentPath> {
    let failure = ev.failure().filter(crate::evidence::Failure::silent)?;
    if ev.host_answers(failure.ip).is_some() || ev.is_local(failure.ip) || ev.on_link(failure.ip) {
        return None;
    }
    let dead = |state| matches!(state, NeighborState::Failed | NeighborState::Incomplete);
    if ev.next_hop_neighbor(failure.ip).is_some_and(|(_, neighbor)| dead(neighbor.after)) {
        return None;
    }
    let walks: Vec<ObservationId> = ev.walks(failure.ip).map(|(id, _)| id).collect();
    if walks.is_empty() {
        return None;
    }
    let last = ev.last_router(failure.ip);
    Some(SilentPath { failed: failure.id, ip: failure.ip, walks, last, sibling: sibling(ev, failure.ip, last) })
}

/// The road to the target's segment is proven good by a walk toward a neighbouring address, and yet nothing of the target answers.
pub(in crate::causes) fn road_is_good(ev: &Evidence<'_>) -> Option<ObservationId> {
    match silent_path(ev)?.sibling {
        Sibling::RoadIsGood(id) => Some(id),
        _ => None,
    }
}

/// Nothing passes the last router that answers, neither to the target nor to its neighbours: the walk that shows the latter.
pub(in crate::causes) fn all_stops(ev: &Evidence<'_>) -> Option<ObservationId> {
    match silent_path(ev)? {
        SilentPath { last: Some(_), sibling: Sibling::StopsToo(id), .. } => Some(id),
        _ => None,
    }
}

/// A neighbouring address is seen further than the target, or its segment is reached: the target's network is routed from here.
fn segment_is_routed(ev: &Evidence<'_>) -> bool {
    silent_path(ev).is_some_and(|path| matches!(path.sibling, Sibling::GoesFurther(_) | Sibling::RoadIsGood(_)))
}

/// The most telling of the walks toward neighbouring addresses (another host, and the segment's usual router address).
fn sibling(ev: &Evidence<'_>, ip: IpAddr, last: Option<(u8, IpAddr)>) -> Sibling {
    let stopped = last.map_or(0, |(ttl, _)| ttl);
    let walks = ev.all::<Walk>().filter(|(_, walk)| walk.to.ip() != ip && near(walk.to.ip(), ip));
    let readings: Vec<Sibling> = walks.map(|(id, walk)| compare(id, walk, stopped)).collect();
    let further = readings.iter().find(|reading| matches!(reading, Sibling::GoesFurther(_)));
    let good = || readings.iter().find(|reading| matches!(reading, Sibling::RoadIsGood(_)));
    *further.or_else(good).or(readings.first()).unwrap_or(&Sibling::Unknown)
}

/// `stopped` is the last hop at which the target's own packets were seen. A neighbour that answers from the hop after it, or from farther,
/// has come past the place where the target's packets end.
fn compare(id: ObservationId, walk: &Walk, stopped: u8) -> Sibling {
    let furthest_router = walk.hops.iter().filter(|hop| !hop.routers().is_empty()).map(|hop| hop.ttl).max().unwrap_or(0);
    let host_reported = walk
        .hops
        .iter()
        .flat_map(|hop| &hop.answers)
        .any(|answer| matches!(answer.said, HopSaid::Icmp(icmp) if icmp.meaning() == IcmpMeaning::HostUnreachable));
    match walk.reached_ttl {
        _ if furthest_router > stopped => Sibling::GoesFurther(id),
        // The segment's router itself answers, from one hop beyond: its way back is good, and it never reported the target's expired TTL. From
        // farther it is only late: it may have no more than so many errors to send.
        Some(ttl) if is_first_of_segment(walk.to.ip()) && ttl == stopped.saturating_add(1) => Sibling::GoesFurther(id),
        Some(_) => Sibling::RoadIsGood(id),
        None if host_reported => Sibling::RoadIsGood(id),
        None => Sibling::StopsToo(id),
    }
}

/// The address that by custom is the segment's router.
fn is_first_of_segment(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[3] == 1,
        IpAddr::V6(ip) => ip.octets()[8..] == [0, 0, 0, 0, 0, 0, 0, 1],
    }
}

/// We send from an address that the link toward the gateway does not have (a loopback's, another link's): even the gateway needs a route back.
pub(in crate::causes) fn source_is_foreign(ev: &Evidence<'_>, ip: IpAddr) -> bool {
    let Some((_, route)) = ev.route(ip) else { return false };
    let RouteOutcome::Found { iface, gateway: Some(_), source: Some(source), .. } = &route.outcome else { return false };
    let own = |address: &String| address.split(['/', ' ']).next().and_then(|text| text.parse().ok()) == Some(*source);
    ev.first::<Link>(|link| link.iface == *iface).is_some_and(|(_, link)| !link.addresses.iter().any(own))
}

/// The neighbour entry of the gateway toward the address is older than this check, the gateway was asked at its own address, and nothing came:
/// whether the station behind the entry is the gateway is not known. Gives the question that was not answered.
pub(in crate::causes) fn gateway_is_mute(ev: &Evidence<'_>, ip: IpAddr) -> Option<ObservationId> {
    let gateway = ev.gateway(ip)?;
    let (_, neighbor) = ev.next_hop_neighbor(ip)?;
    let asked_by_arp = ev.first::<ArpProbe>(|probe| probe.address == gateway && !probe.macs.is_empty()).is_some();
    let (id, _) = ev.first::<UdpProbe>(|udp| udp.to.ip() == gateway && matches!(udp.outcome, UdpOutcome::Silent { .. }))?;
    let old = neighbor.mac_before.is_some() && neighbor.mac_before == neighbor.mac_after;
    (old && !asked_by_arp && ev.host_answers(gateway).is_none()).then_some(id)
}

/// The two addresses share all but the last byte.
fn near(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.octets()[..15] == b.octets()[..15],
        _ => false,
    }
}
