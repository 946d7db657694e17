//! A router on the path has no route to the destination, and says so.

use crate::causes::l2::{duplicate_address, reported_at_once};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::IcmpMeaning;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l3.remote-no-route`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.remote-no-route",
    layer: Layer::L3,
    title: "a router on the path has no route",
    what: "A router between here and the target does not know where to send the packet: the prefix was withdrawn, a static route is missing, a tunnel \
           or peering is down.",
    shows: "ICMP network unreachable (3/0, v6: 1/0) from that router; or host unreachable (3/1) at once, which is an unreachable route there rather than a failed ARP.",
    confirm: &[
        Tool { run: "ip route get {ip}", on: "the router that sent the error", why: "no route, or an unreachable one" },
        Tool { run: "vtysh -c 'show ip bgp {ip}'; birdc show route for {ip}", on: "that router", why: "whether the prefix is announced" },
    ],
    fix: &[
        "Restore the route on that router: static route, BGP session, tunnel.",
        "Check the route table of the VPC or subnet, and propagation from the gateway.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure()?;
    let icmp = failure.icmp()?;
    if ev.is_self(icmp.from) || ev.host_answers(failure.ip).is_some() {
        return None;
    }
    let (confidence, words): (f64, _) = match icmp.meaning() {
        IcmpMeaning::NoRoute => (0.95, "has no route to"),
        IcmpMeaning::HostUnreachable => match reported_at_once(ev, failure.ip) {
            Some(true) => (0.85, "rejects by an unreachable route"),
            Some(false) => return None,
            None => (0.45, "may reject by an unreachable route"),
        },
        _ => return None,
    };
    let summary = format!("The router {} {words} {} (ICMP {}/{}).", icmp.from, failure.ip, icmp.icmp_type, icmp.code);
    let at = icmp.from.to_string();
    let claim = if duplicate_address::not_the_gateway(ev, failure.ip, icmp.from) {
        Claim::likely(confidence.min(0.6), Where::Path, at, summary)
    } else if confidence > 0.5 {
        Claim::proven(confidence, Where::Path, at, summary)
    } else {
        Claim::likely(confidence, Where::Path, at, summary)
    };
    Some(claim.citing([failure.id]).citing(ev.walks(failure.ip).map(|(id, _)| id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::tests_support::{connect, icmp_from, own_link, reset, route_via};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn a_station_of_our_segment_that_is_not_the_gateway_may_have_taken_its_place() {
        let check = |from, expect| {
            let seen = vec![own_link("10.1.0.2"), route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, icmp_from(from, 3, 0))];
            let recording = recording("tcp://10.2.0.10:80", seen);
            assert_eq!([&CAUSE, &duplicate_address::CAUSE].map(|cause| claims(cause, &recording)), expect, "{from}");
        };
        // Or it is the own address of one of two routers that share the gateway's (VRRP).
        check("10.1.0.4", [Some((0.6, true)), Some((0.4, true))]);
        check("10.1.0.1", [Some((0.95, true)), None]);
    }

    #[test]
    fn network_unreachable_from_a_router_names_the_router() {
        let base =
            || vec![own_link("10.1.0.2"), route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, icmp_from("10.9.0.2", 3, 0))];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", base())), Some((0.95, true)));
        let alive = [base(), vec![connect("10.2.0.10:22", Role::Control, reset())]].concat();
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", alive)), None);
    }
}
