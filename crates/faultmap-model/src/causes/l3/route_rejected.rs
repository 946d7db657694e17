//! A local route says no: unreachable, prohibit, blackhole, throw.

use crate::causes::{Cause, Claim, Tool};
use crate::observation::RouteOutcome;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l3.route-rejected`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.route-rejected",
    layer: Layer::L3,
    title: "a local route rejects the destination",
    what: "The routing table of this host holds an unreachable, prohibit or blackhole route that covers the destination: written by an administrator, \
           a VPN kill switch, a routing daemon or a container network.",
    shows: "connect() fails at once with EHOSTUNREACH (unreachable), EACCES (prohibit) or EINVAL (blackhole), and the route lookup fails with the same error.",
    confirm: &[Tool {
        run: "ip route show table all | grep -e unreachable -e prohibit -e blackhole; ip rule",
        on: "here",
        why: "the rejecting route, or a rule that rejects",
    }],
    fix: &["Delete the route: ip route del TYPE PREFIX.", "Find who writes it: VPN client, fail2ban, FRR/BIRD, Calico."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure()?;
    let (id, route) = ev.route(failure.ip)?;
    let RouteOutcome::Rejected { route_type, errno } = &route.outcome else { return None };
    let summary = format!("A local {route_type} route rejects {} ({errno}).", failure.ip);
    Some(Claim::proven(0.97, Where::Local, "routing table of this host", summary).citing([failure.id, id]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, errno, route_via};
    use crate::observation::{Role, Route};
    use crate::testkit::{claims, recording};

    #[test]
    fn a_rejecting_route_is_named_with_its_type() {
        let outcome = RouteOutcome::Rejected { route_type: "blackhole".to_owned(), errno: "EINVAL".to_owned() };
        let rejected = Seen::Route(Route { to: "10.2.0.10".parse().expect("ip"), role: Role::Target, outcome });
        let check = |route, expect| {
            let seen = vec![route, connect("10.2.0.10:80", Role::Target, errno("EINVAL"))];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(rejected, Some((0.97, true)));
        check(route_via("10.2.0.10"), None);
    }
}
