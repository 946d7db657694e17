//! One address family fails although the other works to the same name.

use crate::causes::{Cause, Claim, Tool};
use crate::evidence::Failure;
use crate::observation::{Echo, Link, RouteOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer};
use std::net::IpAddr;

/// `l3.ipv6-broken`
pub(super) static V6: Cause = Cause {
    id: "l3.ipv6-broken",
    layer: Layer::L3,
    title: "IPv6 fails where IPv4 works",
    what: "The name has IPv6 and IPv4 addresses; over IPv6 nothing connects, over IPv4 it does. Clients with Happy Eyeballs lose a quarter of a second on \
           each connect, others hang. Broken IPv6 routing, a filter for one family, or a service that listens on IPv4 only.",
    shows: "The outcome of each family to the same name: every IPv6 address fails, an IPv4 address connects. A host without any IPv6 of its own is not blamed.",
    confirm: &[Tool { run: "curl -6v {url}; curl -4v {url}; ip -6 route get {ip}", on: "here", why: "the outcome of each family" }],
    fix: &["Mend the IPv6 path (route, firewall, listener on [::]), or withdraw the AAAA record until it works."],
    claim: |ev| claim(ev, false),
};

/// `l3.ipv4-broken`
pub(super) static V4: Cause = Cause {
    id: "l3.ipv4-broken",
    layer: Layer::L3,
    title: "IPv4 fails where IPv6 works",
    what: "The name has IPv4 and IPv6 addresses; over IPv4 nothing connects, over IPv6 it does.",
    shows: "The outcome of each family to the same name: every IPv4 address fails, an IPv6 address connects.",
    confirm: &[Tool { run: "curl -4v {url}; curl -6v {url}; ip -4 route get {ip}", on: "here", why: "the outcome of each family" }],
    fix: &["Mend the IPv4 path (route, firewall, listener on 0.0.0.0), or withdraw the A record until it works."],
    claim: |ev| claim(ev, true),
};

fn claim(ev: &Evidence<'_>, v4: bool) -> Option<Claim> {
    let failed: Vec<Failure<'_>> = ev.partial_failures().into_iter().filter(|failure| failure.ip.is_ipv4() == v4).collect();
    let first = failed.first()?;
    let (working, good) = ev.connected().find(|(_, connect)| connect.to.is_ipv4() != v4)?;
    let lossy = ev.all::<Echo>().any(|(_, echo)| echo.to == good.to.ip() && echo.lost() >= 2 && echo.received > 0);
    if lossy {
        return None;
    }
    if ev.connected().any(|(_, connect)| connect.to.is_ipv4() == v4) || family_absent(ev, &failed, v4) {
        return None;
    }
    let (bad, fine) = if v4 { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
    let summary = format!("{bad} to {} is broken ({} does not connect), while {fine} works ({}).", ev.near_host(), first.ip, good.to.ip());
    Some(
        Claim::degrades(0.94, Where::Path, first.ip.to_string(), summary).citing(failed.iter().map(|failure| failure.id)).citing([working]),
    )
}

/// This host does not use the family, and misses nothing: the kernel has no route to such an address, so that every connect to one fails in no
/// time and costs nobody anything; or the host has no address of the family beyond its own link.
fn family_absent(ev: &Evidence<'_>, failed: &[Failure<'_>], v4: bool) -> bool {
    // A source of the own link alone reaches nobody beyond it, and is chosen last (RFC 6724 5, rule 2).
    let own_link_only = |source: &IpAddr| matches!(source, IpAddr::V6(source) if source.is_unicast_link_local());
    let routes = || failed.iter().map(|failure| ev.route(failure.ip).map(|(_, route)| &route.outcome));
    if routes().all(|route| matches!(route, Some(RouteOutcome::NoRoute))) {
        return true;
    }
    let unreachable = failed.iter().all(|failure| match ev.route(failure.ip).map(|(_, route)| &route.outcome) {
        Some(RouteOutcome::NoRoute) => true,
        Some(RouteOutcome::Found { source: Some(source), .. }) => own_link_only(source),
        _ => false,
    });
    let global = |address: &String| {
        address.contains('.') == v4 && !address.starts_with("fe80") && !address.starts_with("127.") && !address.starts_with("::1")
    };
    let has_address = ev.all::<Link>().any(|(_, link)| !link.loopback && link.addresses.iter().any(global));
    unreachable && !has_address
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, connected, errno, no_route, own_link, silent};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    fn check(seen: Vec<Seen>, expect: Option<(f64, bool)>) {
        let base = vec![own_link("10.1.0.2"), connect("10.2.0.10:443", Role::Target, connected())];
        assert_eq!(claims(&V6, &recording("https://shop.test/", [base, seen].concat())), expect);
    }

    #[test]
    fn silence_over_one_family_alone_is_that_familys_fault() {
        check(vec![connect("[fd00:2::10]:443", Role::Target, silent())], Some((0.94, false)));
        check(vec![connect("[fd00:2::10]:443", Role::Target, connected())], None);
    }

    #[test]
    fn an_address_of_the_own_link_alone_is_no_ipv6() {
        let check = |source: &str, expect| {
            let outcome = RouteOutcome::Found {
                iface: "eth0".to_owned(),
                gateway: Some("fd00:1::1".parse().expect("ip")),
                source: Some(source.parse().expect("ip")),
                local: false,
                learned_mtu: None,
                mtu_expires_s: None,
            };
            let to = "fd00:2::10".parse().expect("ip");
            let routed = Seen::Route(crate::observation::Route { to, role: Role::Target, outcome });
            self::check(vec![routed, connect("[fd00:2::10]:443", Role::Target, silent())], expect);
        };
        check("fe80::2", None);
        check("fd00:1::2", Some((0.94, false)));
    }

    #[test]
    fn a_host_without_ipv6_is_not_blamed() {
        let unrouted = || vec![no_route("fd00:2::10"), connect("[fd00:2::10]:443", Role::Target, errno("ENETUNREACH"))];
        check(unrouted(), None);
        // An address without a route beyond its link, as in a network that numbers itself (RFC 4193).
        check([vec![own_link("fd00:1::2")], unrouted()].concat(), None);
    }
}
