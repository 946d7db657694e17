//! The last router cannot resolve the host: it is down, or it ignores ARP.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{IcmpMeaning, TcpConnect};
use crate::verdict::Where;
use crate::{Evidence, Layer};
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
    let icmp = failure.icmp().filter(|icmp| icmp.meaning() == IcmpMeaning::HostUnreachable)?;
    if ev.is_self(icmp.from) || ev.host_answers(failure.ip).is_some() || reported_at_once(ev, failure.ip) {
        return None;
    }
    let summary = format!("{} reports that {} does not answer on its segment: the host is down or not there.", icmp.from, failure.ip);
    let at = format!("behind {}", icmp.from);
    Some(Claim::proven(0.95, Where::Remote, at, summary).citing([failure.id]).citing(ev.walks(failure.ip).map(|(id, _)| id)))
}

/// A first resolution cannot have failed yet when a report is in hand so soon after the check began.
const BEFORE_ANY_FAILURE_MS: f64 = 2_500.0;

/// Every attempt at the host was answered within a fraction of a second, or a report was there before a resolution could have failed.
/// (A socket that is busy when the error arrives keeps it, and waits on: how long the connect took says nothing then.)
pub(in crate::causes) fn reported_at_once(ev: &Evidence<'_>, ip: IpAddr) -> bool {
    let reported = ev.all::<TcpConnect>().filter(|(_, connect)| connect.to.ip() == ip && connect.outcome.icmp().is_some());
    let reports: Vec<_> = reported.filter_map(|(id, _)| ev.get(id)).collect();
    let at_once = !reports.is_empty() && reports.iter().all(|report| report.took_ms < AT_ONCE_MS);
    at_once || reports.iter().any(|report| report.took_ms > AT_ONCE_MS && report.at_ms + report.took_ms < BEFORE_ANY_FAILURE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::tests_support::{connect, icmp_from, own_link, route_via};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

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

    #[test]
    fn a_report_before_any_resolution_can_fail_is_a_rule_though_the_connect_waited() {
        let seen = vec![
            own_link("10.1.0.2"),
            route_via("10.2.0.10"),
            connect("10.2.0.10:443", Role::Control, icmp_from("10.9.0.2", 3, 1)),
            connect("10.2.0.10:80", Role::Target, icmp_from("10.9.0.2", 3, 1)),
        ];
        let check = |control_at_ms, expect| {
            let mut recording = recording("tcp://10.2.0.10:80", seen.clone());
            recording.observations[2].at_ms = control_at_ms;
            recording.observations[2].took_ms = 900.0;
            recording.observations[3].took_ms = 5_000.0;
            assert_eq!(claims(&CAUSE, &recording), expect);
        };
        check(704.0, None);
        check(2_300.0, Some((0.95, true)));
    }
}
