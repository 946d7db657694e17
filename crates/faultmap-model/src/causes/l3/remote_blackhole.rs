//! The path ends at a router for every port and protocol.

use super::{Sibling, SilentPath, silent_path};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{Flows, NeighborState};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l3.remote-blackhole`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.remote-blackhole",
    layer: Layer::L3,
    title: "the path swallows everything after a router",
    what: "A router drops every packet to the destination without a word: a blackhole route (often against an attack), a withdrawn prefix that falls into \
           an aggregate's null route, or a black-holing tunnel.",
    shows: "Walks on every port and protocol stop after the same hop, while the hops before it answer. A missing way back, and a host that drops \
            everything, look alike from one side; a walk to a neighbouring address tells whether the road to the segment is good.",
    confirm: &[
        Tool {
            run: "ip route get {ip}; ip route show table all | grep blackhole",
            on: "the router after the last one that answered",
            why: "a blackhole or null route",
        },
        Tool {
            run: "tcpdump -ni any host {ip}",
            on: "the routers on the path, and {ip}",
            why: "the last place where the packets are seen",
        },
    ],
    fix: &[
        "Remove the blackhole route, or restore the prefix's announcement.",
        "If a DDoS mitigation put it there, end it or move the service.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(told) = crate::causes::peer::told(ev, CAUSE.id) {
        return told;
    }
    let path = silent_path(ev)?;
    if ev.first::<Flows>(|flows| flows.to == Some(path.ip) && flows.alive > 0).is_some() {
        return None;
    }
    let (confidence, side_note) = match path.sibling {
        Sibling::GoesFurther(_) => (0.88, "a neighbouring address is routed further"),
        Sibling::RoadIsGood(_) => return None,
        // The first router needs no route back to us: it is on our own link.
        // ... unless its entry was written by hand, and the packets never got there.
        _ if path.last.is_none() && by_hand(ev, path.ip) => (0.35, "not even the first router answers"),
        // ... or we do not send from an address of that link.
        _ if path.last.is_none() && super::source_is_foreign(ev, path.ip) => (0.35, "not even the first router answers"),
        // ... or it is not sure that they got to it.
        Sibling::StopsToo(_) if path.last.is_none() && super::gateway_is_mute(ev, path.ip).is_some() => {
            (0.55, "not even the first router answers")
        }
        Sibling::StopsToo(_) if path.last.is_none() => (0.84, "a neighbouring address ends there too"),
        Sibling::StopsToo(_) => (0.62, "a neighbouring address ends there too"),
        Sibling::Unknown if path.last.is_some() => (0.6, "no port and no protocol passes"),
        Sibling::Unknown => (0.45, "no port and no protocol passes"),
    };
    let (at, seen_until) = place(ev, &path);
    let summary = format!("Everything to {} disappears {seen_until}, on every port and protocol: {side_note}.", path.ip);
    let claim = Claim::likely(confidence, Where::Path, at, summary).citing([path.failed]).citing(path.walks);
    let claim = match path.sibling {
        Sibling::GoesFurther(id) | Sibling::StopsToo(id) | Sibling::RoadIsGood(id) => claim.citing([id]),
        Sibling::Unknown => claim,
    };
    Some(claim.decided_by(
        format!("tcpdump -ni any host {}", path.ip),
        "the next router",
        "packets that arrive and do not leave are dropped there; none arriving means that the router before drops them",
    ))
}

/// Nobody verifies a permanent neighbour entry.
fn by_hand(ev: &Evidence<'_>, ip: std::net::IpAddr) -> bool {
    ev.next_hop_neighbor(ip).is_some_and(|(_, neighbor)| neighbor.after == NeighborState::Permanent)
}

fn place(ev: &Evidence<'_>, path: &SilentPath) -> (String, String) {
    match (path.last, ev.gateway(path.ip)) {
        (Some((hop, router)), _) => (format!("after {router}"), format!("after hop {hop} ({router})")),
        (None, Some(gateway)) => (format!("at or after {gateway}"), format!("at or after the first router {gateway}")),
        (None, None) => ("on the path".to_owned(), "on the path".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, reset, route_via, silent};
    use crate::observation::{Hop, HopAnswer, HopSaid, IcmpError, Role, Walk, WalkProtocol};
    use crate::testkit::{claims, recording};

    fn walk(to: &str, role: Role, routers: &[&str]) -> Seen {
        let hop = |(ttl, router): (u8, &&str)| {
            let from = router.parse().expect("ip");
            let said = HopSaid::Icmp(IcmpError { icmp_type: 11, code: 0, from, mtu: None });
            Hop { ttl, sent: 1, answers: vec![HopAnswer { from, said, rtt_ms: 1.0 }] }
        };
        let mut hops: Vec<Hop> = (1..).zip(routers).map(hop).collect();
        hops.push(Hop { ttl: u8::try_from(hops.len()).expect("few") + 1, sent: 3, answers: vec![] });
        Seen::Walk(Walk { to: to.parse().expect("addr"), role, protocol: WalkProtocol::Tcp, hops, reached_ttl: None })
    }

    fn check(extra: Vec<Seen>, expect: Option<(f64, bool)>) {
        let base = vec![
            route_via("10.2.0.10"),
            connect("10.2.0.10:80", Role::Target, silent()),
            walk("10.2.0.10:80", Role::Target, &["10.1.0.1"]),
        ];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", [base, extra].concat())), expect);
    }

    #[test]
    fn a_neighbouring_address_tells_where_the_road_ends() {
        check(vec![], Some((0.6, true)));
        check(vec![walk("10.2.0.11:9", Role::Control, &["10.1.0.1", "10.9.0.2"])], Some((0.88, true)));
        check(vec![walk("10.2.0.11:9", Role::Control, &["10.1.0.1"])], Some((0.62, true)));
    }

    #[test]
    fn a_first_router_that_is_mute_at_its_own_address_may_be_another_station() {
        use crate::causes::tests_support::neighbor;
        use crate::observation::{Neighbor, NeighborState, UdpOutcome, UdpProbe};
        let entry = |mac_before: Option<&str>| {
            let Seen::Neighbor(entry) = neighbor("10.1.0.1", Role::Gateway, NeighborState::Reachable, NeighborState::Reachable) else {
                panic!("a neighbour")
            };
            let mac_after = Some("02:00:00:00:00:01".to_owned());
            let toward = Some("10.2.0.10".parse().expect("ip"));
            Seen::Neighbor(Neighbor { mac_before: mac_before.map(str::to_owned), mac_after, toward, ..entry })
        };
        let asked = |outcome| {
            let to = "10.1.0.1:33434".parse().expect("addr");
            Seen::UdpProbe(UdpProbe { to, role: Role::Control, payload_bytes: 1, sent: 1, outcome })
        };
        let mute = || asked(UdpOutcome::Silent { waited_ms: 300.0 });
        let unreachable = IcmpError { icmp_type: 3, code: 3, from: "10.1.0.1".parse().expect("ip"), mtu: None };
        let alive = asked(UdpOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: Some(unreachable) });
        let check = |extra: Vec<Seen>, expect: [Option<(f64, bool)>; 2]| {
            let unseen = |to: &str, role| walk(to, role, &[]);
            let base = vec![
                route_via("10.2.0.10"),
                connect("10.2.0.10:80", Role::Target, silent()),
                unseen("10.2.0.10:80", Role::Target),
                unseen("10.2.0.11:33434", Role::Control),
            ];
            let recording = recording("tcp://10.2.0.10:80", [base, extra].concat());
            let stale = crate::causes::find("l2.stale-neighbor").expect("a cause");
            assert_eq!([claims(&CAUSE, &recording), claims(stale, &recording)], expect);
        };
        let old = || entry(Some("02:00:00:00:00:01"));
        check(vec![old(), mute()], [Some((0.55, true)), Some((0.4, true))]);
        check(vec![old(), alive], [Some((0.84, true)), None]);
        // Its ARP answer has just come.
        check(vec![entry(None), mute()], [Some((0.84, true)), None]);
    }

    #[test]
    fn a_host_that_answers_is_not_behind_a_blackhole() {
        check(vec![connect("10.2.0.10:22", Role::Control, reset())], None);
    }
}
