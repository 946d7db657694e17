//! The NAT on the path has no port left for this destination.

use super::{stopped_before, stops_at_translator};
use crate::causes::{Cause, Claim, Tool};
use crate::evidence::{Failure, Protocol};
use crate::observation::Flows;
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l4.snat-ports-exhausted`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.snat-ports-exhausted",
    layer: Layer::L4,
    title: "the NAT has no source port left",
    what: "A NAT gives each flow to a destination one of its own source ports. With many flows to one destination it runs out (cloud NAT gateways \
           allot as few as 64 to 1,024 per host): new connections are dropped, old ones live, and other protocols still pass.",
    shows: "New TCP connections to the destination are silent while older ones to the same destination receive, and the host still answers otherwise \
            (ping, other ports). A filter that lets established connections through looks the same from here.",
    confirm: &[
        Tool { run: "conntrack -S | grep -o 'insert_failed=[0-9]*'", on: "the NAT gateway", why: "rises when no port is left" },
        Tool { run: "ss -tan dst {ip} | wc -l", on: "each client behind the NAT", why: "who holds the ports" },
    ],
    fix: &[
        "Give the NAT more addresses or ports per host.",
        "Reuse connections; close idle ones.",
        "Reach the service by a private path that needs no NAT.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure().filter(|failure| failure.silent() && failure.protocol == Protocol::Tcp)?;
    let control = ev.host_answers(failure.ip)?;
    if ev.ack_answers(failure.ip).is_some() || ev.gateway(failure.ip).is_none() {
        return None;
    }
    let Some((id, flows)) = ev.first::<Flows>(|flows| flows.to == Some(failure.ip) && flows.established > flows.stuck) else {
        return without_flows(ev, &failure, control);
    };
    let (state, count, confidence) = if flows.alive > 0 { ("alive", flows.alive, 0.72) } else { ("established", flows.established, 0.4) };
    let summary = format!(
        "New TCP connections to {} are dropped on the path while {count} older one(s) are {state} and the host answers otherwise: the NAT has no port left, or a filter lets only established flows pass.",
        failure.place()
    );
    let claim = Claim::likely(confidence, Where::Path, "the NAT on the path", summary).citing([failure.id, control, id]);
    Some(decided_at_nat(claim))
}

/// No flow of ours tells of older ones; but the packets stop where sources are translated, and those to another port of the host pass.
fn without_flows(ev: &Evidence<'_>, failure: &Failure<'_>, control: ObservationId) -> Option<Claim> {
    let (id, router) = stopped_before(ev, failure.ip).filter(|(_, router)| stops_at_translator(ev, failure.ip, *router))?;
    let summary = format!(
        "Packets to {} stop after {router}, where private addresses end: a filter there drops them, or the NAT has no port left for this destination.",
        failure.place()
    );
    let claim = Claim::likely(0.32, Where::Path, format!("after {router}"), summary).citing([failure.id, control, id]);
    Some(decided_at_nat(claim))
}

fn decided_at_nat(claim: Claim) -> Claim {
    claim.decided_by(
        "conntrack -S | grep -o 'insert_failed=[0-9]*'",
        "the NAT gateway",
        "rises when no port is left; a filter does not count there",
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, reset, route_via, silent};
    use super::*;
    use crate::Seen;
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn old_flows_live_and_the_host_answers_otherwise() {
        let check = |alive: u32, control: bool, expect| {
            let mut seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, silent())];
            seen.push(Seen::Flows(Flows { to: Some("10.2.0.10".parse().expect("ip")), established: alive, alive, ..Flows::default() }));
            if control {
                seen.push(connect("10.2.0.10:22", Role::Control, reset()));
            }
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(4, true, Some((0.72, true)));
        check(0, true, None);
        check(4, false, None);
    }

    #[test]
    fn where_private_addresses_end_a_filter_and_a_full_nat_look_alike() {
        use crate::observation::{Hop, HopAnswer, HopSaid, IcmpError, Walk, WalkProtocol};
        let walk = |port: u16, role, routers: &[&str], reached_ttl| {
            let hop = |(ttl, router): (u8, &&str)| {
                let from = router.parse().expect("ip");
                let said = HopSaid::Icmp(IcmpError { icmp_type: 11, code: 0, from, mtu: None });
                Hop { ttl, sent: 1, answers: vec![HopAnswer { from, said, rtt_ms: 1.0 }] }
            };
            let hops = (1..).zip(routers).map(hop).collect();
            Seen::Walk(Walk {
                to: format!("185.33.20.80:{port}").parse().expect("addr"),
                role,
                protocol: WalkProtocol::Tcp,
                hops,
                reached_ttl,
            })
        };
        let check = |control: &[&str], expect| {
            let seen = vec![
                route_via("185.33.20.80"),
                connect("185.33.20.80:80", Role::Target, silent()),
                connect("185.33.20.80:22", Role::Control, reset()),
                walk(80, Role::Target, &["10.1.0.1"], None),
                walk(22, Role::Control, control, Some(3)),
            ];
            assert_eq!(claims(&CAUSE, &recording("tcp://185.33.20.80:80", seen)), expect);
        };
        check(&["10.1.0.1", "91.64.10.1"], Some((0.32, true)));
        // The next router is private too: nothing is translated here.
        check(&["10.1.0.1", "10.1.9.1"], None);
    }
}
