//! The last router cannot resolve the host: it is down, or it ignores ARP.

use crate::causes::{Cause, Claim, Tool};
use crate::evidence::Failure;
use crate::observation::{DnsOutcome, DnsQuery, Echo, HopSaid, IcmpError, IcmpMeaning, PeerReport, TcpConnect, UdpOutcome, UdpProbe};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::IpAddr;

/// A router that reports after a failed resolution takes about three seconds; one that reports within this has a rule or a route that says so.
const AT_ONCE_MS: f64 = 250.0;

/// `l2.remote-neighbor-unresolved`
pub(super) static CAUSE: Cause = Cause {
    id: "l2.remote-neighbor-unresolved",
    layer: Layer::L2,
    title: "the last router cannot resolve the host",
    what: "The packets reach the router of the target's segment, and that router gets no answer to ARP (IPv6: neighbour solicitation) for the host: \
           the host is down, unplugged, on another VLAN, or does not own the address.",
    shows: "ICMP host unreachable (3/1, v6: 1/3) from the last router, about three seconds after the first packet. The same error at once is a route or a filter.",
    confirm: &[
        Tool { run: "ip neigh show {ip}; arping -c 3 {ip}", on: "the last router", why: "FAILED and no answer: the host is not there" },
        Tool { run: "ip -br link; ip -br addr", on: "{ip} (console)", why: "link state and address of the host" },
    ],
    fix: &["Start or attach the host {ip}; check its cable, VLAN and address.", "If the address has moved, correct DNS or the client."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure()?;
    let Some(icmp) = failure.icmp().filter(|icmp| icmp.meaning() == IcmpMeaning::HostUnreachable) else { return unsaid(ev, &failure) };
    if ev.is_self(icmp.from) || ev.host_answers(failure.ip).is_some() {
        return None;
    }
    let summary = format!("{} reports that {} does not answer on its segment: the host is down or not there.", icmp.from, failure.ip);
    let at = format!("behind {}", icmp.from);
    let claim = match reported_at_once(ev, failure.ip) {
        Some(true) => return None,
        Some(false) => Claim::proven(0.95, Where::Remote, at, summary),
        None => Claim::likely(0.5, Where::Remote, at, summary),
    };
    Some(claim.citing([failure.id]).citing(ev.walks(failure.ip).map(|(id, _)| id)))
}

/// The last router said of a neighbouring address that it is not there, and nothing of the target: of the errors that it may send one may have
/// been left out (net.ipv4.icmp_ratelimit), the more so when this is not the first check in a row.
fn unsaid(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Claim> {
    // A witness at the other end knows better.
    if ev.first::<PeerReport>(|_| true).is_some() {
        return None;
    }
    let road = crate::causes::l3::road_is_good(ev).filter(|_| failure.silent())?;
    let (_, router) = ev.last_router(failure.ip)?;
    let summary = format!("{router} may have left out the word that {} does not answer on its segment.", failure.ip);
    Some(Claim::likely(0.2, Where::Remote, format!("behind {router}"), summary).citing([failure.id, road]))
}

/// A first resolution cannot have failed yet when a report is in hand so soon after the check began.
const BEFORE_ANY_FAILURE_MS: f64 = 2_500.0;
/// SYNs are sent again at whole seconds (net.ipv4.tcp_syn_linear_timeouts, RFC 6298 2): a report then answers that one.
const SENT_AGAIN_MS: f64 = 1_000.0;
const SOON_AFTER_MS: f64 = 60.0;

/// The router reports without having looked for the host: packets are answered within a fraction of a second. A router that looks for it
/// reports after three seconds; one that began because of an earlier check may report sooner, to all that wait, but never at once. `None` when
/// the reports do not tell.
pub(in crate::causes) fn reported_at_once(ev: &Evidence<'_>, ip: IpAddr) -> Option<bool> {
    let unreachable = |icmp: IcmpError| icmp.meaning() == IcmpMeaning::HostUnreachable && !ev.is_self(icmp.from);
    let connects = ev.all::<TcpConnect>().filter(|(_, c)| c.to.ip() == ip && c.outcome.icmp().is_some_and(unreachable));
    let queries = ev.all::<DnsQuery>().filter(|(_, query)| query.resolver.ip() == ip);
    let refused = queries.filter(|(_, query)| matches!(query.outcome, DnsOutcome::Failed { icmp: Some(icmp), .. } if unreachable(icmp)));
    let reports = connects.map(|(id, _)| id).chain(refused.map(|(id, _)| id));
    // Datagrams and echo requests are sent again and again: only a report that comes long after the last of them tells how long it took.
    let datagrams = ev.all::<UdpProbe>().filter(|(_, udp)| udp.to.ip() == ip);
    let datagrams = datagrams.filter(|(_, udp)| matches!(udp.outcome, UdpOutcome::Failed { icmp: Some(icmp), .. } if unreachable(icmp)));
    let echoes = ev.all::<Echo>().filter(|(_, echo)| echo.to == ip && echo.received == 0 && echo.icmp.is_some_and(unreachable));
    let late = |id: &ObservationId| ev.get(*id).is_some_and(|report| report.took_ms >= BEFORE_ANY_FAILURE_MS);
    let reports = reports.chain(datagrams.map(|(id, _)| id).chain(echoes.map(|(id, _)| id)).filter(late));
    let waits: Vec<f64> = reports.filter_map(|id| ev.get(id)).map(|report| report.took_ms).collect();
    let walked = ev.walks(ip).filter_map(|(id, walk)| Some((ev.get(id)?, walk)));
    let early = walked.filter(|(seen, _)| seen.at_ms + seen.took_ms < BEFORE_ANY_FAILURE_MS).flat_map(|(_, walk)| &walk.hops);
    let hops = early.flat_map(|hop| &hop.answers).filter(|answer| matches!(answer.said, HopSaid::Icmp(icmp) if unreachable(icmp)));
    let (mut fast, mut slow) = (0, 0);
    for waited in waits.into_iter().chain(hops.map(|answer| answer.rtt_ms)) {
        if waited < AT_ONCE_MS {
            fast += 1;
        } else if waited >= BEFORE_ANY_FAILURE_MS || waited % SENT_AGAIN_MS > SOON_AFTER_MS {
            slow += 1;
        }
    }
    match (fast, slow) {
        // Only a SYN that was sent again was reported: at once, or together with the first.
        (0, 0) => None,
        (_, slow) => Some(slow == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::tests_support::{connect, icmp_from, own_link, route_via};
    use crate::observation::{RecordType, Role};
    use crate::testkit::{RESOLVER, claims, query, recording};

    #[test]
    fn a_resolver_reported_missing_well_after_it_was_asked_was_looked_for() {
        let check = |took_ms, expect| {
            let outcome = DnsOutcome::Failed { errno: "EHOSTUNREACH".to_owned(), icmp: icmp_from("10.9.0.2", 3, 1).icmp() };
            let mut recording = recording("https://shop.test/", vec![own_link("10.1.0.2"), query(RESOLVER, RecordType::A, outcome).into()]);
            recording.observations[1].took_ms = took_ms;
            assert_eq!(claims(&CAUSE, &recording), expect);
        };
        check(572.0, Some((0.95, true)));
        check(1.0, None);
    }

    #[test]
    fn host_unreachable_after_three_seconds_is_a_failed_resolution() {
        let check = |took_ms, from, expect| {
            let seen = vec![own_link("10.1.0.2"), route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, icmp_from(from, 3, 1))];
            let mut recording = recording("tcp://10.2.0.10:80", seen);
            recording.observations[2].took_ms = took_ms;
            assert_eq!(claims(&CAUSE, &recording), expect);
        };
        check(3_070.0, "10.9.0.2", Some((0.95, true)));
        check(2.0, "10.9.0.2", None);
        check(3_070.0, "10.1.0.2", None);
    }

    /// Reports "host unreachable" to connects that waited so long.
    fn check_waits(waits: &[f64], expect: Option<(f64, bool)>) {
        let report = |number: usize| {
            let role = if number == 0 { Role::Target } else { Role::Control };
            connect(&format!("10.2.0.10:{}", 80 + number), role, icmp_from("10.9.0.2", 3, 1))
        };
        let seen = [vec![own_link("10.1.0.2"), route_via("10.2.0.10")], (0..waits.len()).map(report).collect()].concat();
        let mut recording = recording("tcp://10.2.0.10:80", seen);
        for (observation, waited) in recording.observations[2..].iter_mut().zip(waits) {
            observation.took_ms = *waited;
        }
        assert_eq!(claims(&CAUSE, &recording), expect);
    }

    #[test]
    fn a_rule_reports_to_each_packet_at_once() {
        check_waits(&[2.0, 1.5], None);
        // The first SYN's report was left out (icmp_ratelimit); the one sent again after a second got one.
        check_waits(&[1_003.0, 2.0], None);
        check_waits(&[1_003.0], Some((0.5, true)));
    }

    #[test]
    fn a_resolution_that_an_earlier_check_began_reports_sooner_but_not_at_once() {
        check_waits(&[2_320.0, 1_620.0], Some((0.95, true)));
        check_waits(&[2_320.0, 120.0], Some((0.95, true)));
    }
}
