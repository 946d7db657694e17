//! This host has no route to the destination.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::{Role, Route, RouteOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l3.no-route`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.no-route",
    layer: Layer::L3,
    title: "this host has no route to the destination",
    what: "The routing table has no entry that covers the destination, usually because the default route is missing: DHCP failed, a VPN or an interface \
           restart removed it, or the namespace was never given one.",
    shows: "connect() fails at once with ENETUNREACH, nothing is sent, and the route lookup says there is none, while every interface is up.",
    confirm: &[Tool { run: "ip route get {ip}; ip route show table all; ip rule", on: "here", why: "no matching route in any table" }],
    fix: &[
        "Add the route: ip route add default via GATEWAY dev {iface}.",
        "Find what removed it: DHCP lease, NetworkManager, VPN client; journalctl -u systemd-networkd -u NetworkManager.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure()?;
    let unreachable = matches!(failure.errno(), Some("ENETUNREACH" | "EHOSTUNREACH"));
    let (id, Route { role, .. }) = ev.route(failure.ip).filter(|(_, route)| route.outcome == RouteOutcome::NoRoute)?;
    if !unreachable {
        return None;
    }
    let whom = if *role == Role::Resolver { "the DNS resolver " } else { "" };
    let summary = format!("This host has no route to {whom}{}.", failure.ip);
    Some(Claim::proven(0.96, Where::Local, "routing table of this host", summary).citing([failure.id, id]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::tests_support::{connect, errno, no_route, route_via};
    use crate::testkit::{claims, recording};

    #[test]
    fn enetunreach_without_a_route_is_local() {
        let check = |route, expect| {
            let seen = vec![route, connect("10.2.0.10:80", Role::Target, errno("ENETUNREACH"))];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(no_route("10.2.0.10"), Some((0.96, true)));
        check(route_via("10.2.0.10"), None);
    }
}
