//! Causes of layer 4, transport: ports, connections, state tables.

mod accept_queue_full;
mod address_dead;
mod conntrack_full;
mod ephemeral_ports_exhausted;
mod fd_exhausted;
mod firewall_reject;
mod interposed_proxy;
mod local_firewall;
mod nat_idle_timeout;
mod port_closed;
mod port_filtered;
mod quic;
mod reset_mid_stream;
mod retransmissions;
mod snat_ports_exhausted;
mod syn_backlog_full;
mod tcp_memory;
mod time_wait_full;
mod udp_buffer_full;
mod udp_filtered;
mod udp_port_unreachable;
mod unheard;
mod zero_window;

use super::Cause;

pub(in crate::causes) use nat_idle_timeout::other_sender;

/// In the order of `faultmap causes`.
pub(super) static CAUSES: &[&Cause] = &[
    &port_closed::CAUSE,
    &port_filtered::CAUSE,
    &firewall_reject::CAUSE,
    &local_firewall::CAUSE,
    &accept_queue_full::CAUSE,
    &syn_backlog_full::CAUSE,
    &conntrack_full::CAUSE,
    &ephemeral_ports_exhausted::CAUSE,
    &snat_ports_exhausted::CAUSE,
    &nat_idle_timeout::CAUSE,
    &fd_exhausted::CAUSE,
    &reset_mid_stream::CAUSE,
    &retransmissions::CAUSE,
    &zero_window::CAUSE,
    &tcp_memory::CAUSE,
    &time_wait_full::CAUSE,
    &udp_buffer_full::CAUSE,
    &udp_port_unreachable::CAUSE,
    &udp_filtered::CAUSE,
    &address_dead::CAUSE,
    &interposed_proxy::CAUSE,
];

use crate::observation::{Echo, HopSaid, LinkDelta, RouteOutcome, TcpConnect, TcpRepeat};
use crate::{Evidence, ObservationId};
use std::net::IpAddr;

/// Some connects to the port pass and others do not, and it is not the path that loses them: the listen queue's pattern.
fn queue_signs(ev: &Evidence<'_>, ip: IpAddr) -> Option<ObservationId> {
    let passed_before = ev.connected().any(|(_, connect)| connect.to.ip() == ip);
    let (id, _) = ev.first::<TcpRepeat>(|repeat| {
        let passed = repeat.passed() > 0 || (passed_before && repeat.silent >= 2);
        repeat.to.ip() == ip && !is_control(ev, repeat) && repeat.failed == 0 && passed && repeat.hung() >= 2
    })?;
    (!path_loses(ev, ip) && !controls_hang(ev, ip)).then_some(id)
}

/// Another port than the one that was asked for.
fn is_control(ev: &Evidence<'_>, repeat: &TcpRepeat) -> bool {
    ev.failure()
        .map(|failure| failure.port)
        .or_else(|| ev.main_address().map(|main| main.port()))
        .is_some_and(|port| port != repeat.to.port())
}

/// Connects to another port of the host hang too, though it does answer: that is no queue of one listener, but the path, or a filter that limits
/// new connections.
fn controls_hang(ev: &Evidence<'_>, ip: IpAddr) -> bool {
    let answers = |port: u16| {
        let answered = |connect: &TcpConnect| connect.outcome.connected() || connect.outcome.reset();
        ev.control_connects(ip).any(|(_, connect)| connect.to.port() == port && answered(connect))
    };
    ev.all::<TcpRepeat>().any(|(_, repeat)| {
        repeat.to.ip() == ip && is_control(ev, repeat) && repeat.hung() > 0 && (repeat.silent < repeat.tried || answers(repeat.to.port()))
    })
}

/// From so many drops in our own queues on, silence of single connects may be theirs.
const OWN_DROPS: u64 = 5;

/// Echo requests to the address get lost, our own interface drops frames, what arrives is damaged, or SYNs to a closed port of it (which has no queue) stay unanswered:
/// silence of single connects is explained by that.
pub(in crate::causes) fn path_loses(ev: &Evidence<'_>, ip: IpAddr) -> bool {
    let echoes = ev.all::<Echo>().any(|(_, echo)| echo.to == ip && echo.received > 0 && echo.sent >= 10 && echo.lost() >= 2);
    let own_queue = ev.iface(ip).is_some_and(|iface| {
        ev.first::<LinkDelta>(|delta| {
            delta.iface == iface
                && ["qdisc_drops", "tx_dropped"].iter().any(|name| delta.rose.get(*name).is_some_and(|rise| *rise >= OWN_DROPS))
        })
        .is_some()
    });
    echoes
        || own_queue
        || super::l1::damaged(ev)
        || ev.all::<TcpRepeat>().any(|(_, repeat)| {
            let control = is_control(ev, repeat) || repeat.passed() == 0;
            let answered = repeat.failed.saturating_add(repeat.passed()) >= 5;
            repeat.to.ip() == ip && control && answered && late_or_silent(repeat)
        })
}

/// A SYN of the train had to be sent again, or was never answered.
fn late_or_silent(repeat: &TcpRepeat) -> bool {
    repeat.hung() > 0 || repeat.order.contains('l')
}

/// The failing port's packets stop at a hop beyond which the control's packets are seen at another router: the place is on the path.
/// Gives the failing walk and the last router that saw the failing port's packets.
fn stopped_before(ev: &Evidence<'_>, ip: IpAddr) -> Option<(ObservationId, IpAddr)> {
    let (id, failed) = ev.failed_walk(ip)?;
    let last = failed.last_answer_ttl();
    let router = failed.last_router()?;
    let goes_on = |answer: &HopSaid| matches!(answer, HopSaid::Icmp(icmp) if icmp.from != ip);
    let beyond = ev.control_walks(ip).any(|(_, walk)| {
        walk.reached_ttl.is_some() && walk.hops.iter().any(|hop| hop.ttl > last && hop.answers.iter().any(|answer| goes_on(&answer.said)))
    });
    beyond.then_some((id, router))
}

/// The packets stop after a router whose near side is private, like our own address, on the way to a public one: it is there that sources are
/// translated (RFC 3022), and one that has no port left for this destination drops what a filter would.
fn stops_at_translator(ev: &Evidence<'_>, ip: IpAddr, router: IpAddr) -> bool {
    let ours = ev.route(ip).and_then(|(_, route)| match &route.outcome {
        RouteOutcome::Found { source, .. } => *source,
        _ => None,
    });
    let goes_on_in_private = |ttl: u8| {
        let hops = ev.control_walks(ip).flat_map(|(_, walk)| &walk.hops).filter(move |hop| hop.ttl == ttl.saturating_add(1));
        hops.flat_map(|hop| hop.routers()).any(is_private)
    };
    let last = ev.failed_walk(ip).map_or(0, |(_, walk)| walk.last_answer_ttl());
    ours.is_some_and(is_private) && is_private(router) && !is_private(ip) && !goes_on_in_private(last)
}

/// RFC 1918.
const fn is_private(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_private())
}

/// This host's own firewall is proven to stop the connection.
pub(in crate::causes) fn stopped_at_home(ev: &crate::Evidence<'_>) -> bool {
    (local_firewall::CAUSE.claim)(ev).is_some_and(|claim| matches!(claim.standing, super::Standing::Proven(_)))
}

#[cfg(test)]
pub(super) use super::tests_support;
