//! The local interface is administratively down.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{Link, RouteOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l1.interface-down`
pub(super) static CAUSE: Cause = Cause {
    id: "l1.interface-down",
    layer: Layer::L1,
    title: "the local interface is down",
    what: "The interface that should carry the traffic is administratively down (no IFF_UP). Its routes are gone with it, so that the kernel says \
           \"network is unreachable\" at once.",
    shows: "IFF_UP is clear on an interface that has addresses, and there is no route to the target. A missing route with every interface up is L3.",
    confirm: &[Tool { run: "ip -br link; ip -br addr", on: "here", why: "an interface with an address that is DOWN" }],
    fix: &[
        "ip link set {iface} up, then restore its routes (ip route add default via GATEWAY).",
        "Find who took it down: NetworkManager, netplan, systemd-networkd, a script; journalctl -k | grep {iface}.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure()?;
    let unrouted = match ev.route(failure.ip).map(|(_, route)| &route.outcome) {
        Some(RouteOutcome::NoRoute) => true,
        Some(RouteOutcome::Found { iface, .. }) => return down_although_routed(ev, iface, failure.id),
        _ => false,
    };
    if !unrouted {
        return None;
    }
    let v4 = failure.ip.is_ipv4();
    let down = |link: &Link| !link.loopback && !link.up;
    let with_address = ev.first::<Link>(|link| down(link) && has_address_of(link, v4));
    // A spare interface that was never used is down too. Where another one carries the family, the route was lost otherwise.
    let another = || ev.first::<Link>(|link| !link.loopback && link.up && has_address_of(link, v4)).is_some();
    let (id, link) = with_address.or_else(|| ev.first::<Link>(|link| down(link) && was_used(link) && !another()))?;
    Some(say(link, [failure.id, id]))
}

fn down_although_routed(ev: &Evidence<'_>, iface: &str, failed: u32) -> Option<Claim> {
    let (id, link) = ev.first::<Link>(|link| link.iface == iface && !link.up && !link.loopback)?;
    Some(say(link, [failed, id]))
}

fn say(link: &Link, ids: [u32; 2]) -> Claim {
    let summary = format!("The interface {} is administratively down, so nothing can be sent.", link.iface);
    Claim::proven(0.96, Where::Local, link.iface.clone(), summary).citing(ids)
}

/// IPv6 addresses leave with IFF_UP, and with them what tells that the link was the one; IPv4 addresses stay, unless whoever set them takes
/// them away.
fn was_used(link: &Link) -> bool {
    !link.addresses.is_empty() || link.carrier_down_count.is_some_and(|count| count > 0)
}

/// An address of the family that reaches beyond the link.
fn has_address_of(link: &Link, v4: bool) -> bool {
    link.addresses.iter().any(|address| address.contains('.') == v4 && !address.starts_with("fe80"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, errno, no_route, own_link};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    fn link(up: bool) -> Seen {
        match own_link("10.1.0.2") {
            Seen::Link(link) => Seen::Link(Link { up, carrier: None, ..link }),
            other => other,
        }
    }

    #[test]
    fn a_down_interface_explains_the_missing_route() {
        let check = |up, expect| {
            let seen = vec![no_route("10.2.0.10"), connect("10.2.0.10:80", Role::Target, errno("ENETUNREACH")), link(up)];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(false, Some((0.96, true)));
        check(true, None);
    }

    #[test]
    fn a_spare_interface_that_is_down_explains_no_missing_route() {
        let check = |to: &str, spare: &[&str], used: &str, expect| {
            let Seen::Link(link) = link(false) else { panic!("a link") };
            let addresses = spare.iter().map(|address| (*address).to_owned()).collect();
            let spare = Seen::Link(Link { iface: "eth1".to_owned(), addresses, carrier_down_count: Some(1), ..link });
            let target = std::net::SocketAddr::new(to.parse().expect("ip"), 80);
            let seen = vec![no_route(to), connect(&target.to_string(), Role::Target, errno("ENETUNREACH")), own_link(used), spare];
            assert_eq!(claims(&CAUSE, &recording("tcp://shop.test:80", seen)), expect, "{to} {used}");
        };
        check("10.2.0.10", &[], "10.1.0.2", None);
        check("fd00:2::10", &[], "fd00:1::2", None);
        // Its own address is on the interface that is down, or no other has one of the family.
        check("10.2.0.10", &["10.9.0.2/24"], "10.1.0.2", Some((0.96, true)));
        check("fd00:2::10", &["10.9.0.2/24"], "10.1.0.2", Some((0.96, true)));
    }
}
