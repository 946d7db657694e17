//! Routers hand the packet round until its TTL is used up.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::IcmpMeaning;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l3.routing-loop`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.routing-loop",
    layer: Layer::L3,
    title: "routers hand the packet round in a loop",
    what: "Two or more routers each believe that the other is nearer to the destination. The packet goes round until its TTL is used up, and loads the \
           links between them. A half-changed static route, a default route against an aggregate, or routing protocols that redistribute into each other.",
    shows: "ICMP time exceeded (11/0, v6: 3/0) to a packet sent with full TTL; the same routers repeat at rising hops of the walk.",
    confirm: &[
        Tool { run: "traceroute -n {ip}", on: "here", why: "the same two addresses alternate" },
        Tool { run: "ip route get {ip}", on: "each of the repeating routers", why: "they point at each other" },
    ],
    fix: &[
        "Correct the route on the router that sends the packet back.",
        "Add a discard route for aggregates that a default route could loop.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure()?;
    let expired = failure.icmp().filter(|icmp| icmp.meaning() == IcmpMeaning::TtlExceeded && !ev.is_self(icmp.from));
    let looping = ev.walks(failure.ip).find(|(_, walk)| walk.reached_ttl.is_none() && !walk.looping_routers().is_empty());
    if expired.is_none() && (looping.is_none() || !failure.silent()) {
        return None;
    }
    let routers = looping.map(|(_, walk)| walk.looping_routers()).unwrap_or_default();
    let names: Vec<String> = if routers.is_empty() {
        expired.iter().map(|icmp| icmp.from.to_string()).collect()
    } else {
        routers.iter().map(ToString::to_string).collect()
    };
    let summary = format!("Packets to {} go round between {} until their TTL is used up.", failure.ip, names.join(" and "));
    let confidence = if looping.is_some() { 0.97 } else { 0.9 };
    Some(Claim::proven(confidence, Where::Path, names.join(" and "), summary).citing([failure.id]).citing(looping.map(|(id, _)| id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::tests_support::{connect, icmp_from, own_link, route_via, silent};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn time_exceeded_at_full_ttl_is_a_loop() {
        let check = |outcome, expect| {
            let seen = vec![own_link("10.1.0.2"), route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, outcome)];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(icmp_from("10.9.0.2", 11, 0), Some((0.9, true)));
        check(icmp_from("10.9.0.2", 3, 1), None);
        check(silent(), None);
    }
}
