//! A local route says no: unreachable, prohibit, blackhole, throw.

use crate::causes::{Cause, Claim, Tool};
use crate::evidence::{Failure, Protocol};
use crate::observation::RouteOutcome;
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::IpAddr;

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
    let RouteOutcome::Rejected { route_type, errno } = &route.outcome else { return by_rule(ev, &failure, id, &route.outcome) };
    let summary = format!("A local {route_type} route rejects {} ({errno}).", failure.ip);
    Some(Claim::proven(0.97, Where::Local, "routing table of this host", summary).citing([failure.id, id]))
}

/// The kernel found a route for the address, and none for our packet: a rule looks at more than the address (protocol, port, user, mark) and
/// sends it to another table. The errors are those of the types of routes (`fib_props`, net/ipv4/fib_semantics.c); no filter answers with them.
fn by_rule(ev: &Evidence<'_>, failure: &Failure<'_>, id: ObservationId, found: &RouteOutcome) -> Option<Claim> {
    let errno = failure.errno()?;
    let route_type = match errno {
        "EINVAL" => "blackhole",
        "EACCES" => "prohibit",
        "EHOSTUNREACH" | "ENETUNREACH" if unsent(ev, failure) => "unreachable",
        _ => return None,
    };
    // A connect to a group or to all hosts is refused with the same errors, whatever the routes say.
    if !matches!(found, RouteOutcome::Found { local: false, .. }) || ev.header.cut_short || is_group(failure.ip) {
        return None;
    }
    let protocol = match failure.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Icmp => "ICMP",
    };
    let summary = format!(
        "A routing rule of this host sends {protocol} to {} to a {route_type} route ({errno} at once), although the address itself is routed.",
        failure.ip
    );
    let claim = Claim::proven(0.88, Where::Local, "routing rules of this host", summary).citing([failure.id, id]);
    Some(claim.decided_by(
        "ip rule; ip route show table all",
        "here",
        "a rule by protocol, port, user or mark, and the table that it names",
    ))
}

/// No packet left, so that nobody can have refused one: the kernel had not even chosen a source address.
fn unsent(ev: &Evidence<'_>, failure: &Failure<'_>) -> bool {
    let connects = || ev.target_connects().filter(|(_, connect)| connect.to.ip() == failure.ip);
    failure.icmp().is_none() && failure.protocol == Protocol::Tcp && connects().all(|(_, connect)| connect.local.is_none())
}

fn is_group(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast() || ip.is_unspecified() || ip.octets()[3] == 255,
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unspecified(),
    }
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
    }

    #[test]
    fn what_was_sent_and_refused_is_no_rule_of_ours() {
        let Seen::TcpConnect(mut sent) = connect("10.2.0.10:80", Role::Target, errno("EHOSTUNREACH")) else { panic!("a connect") };
        // An unanswered ARP request's error comes to a socket that has its address.
        sent.local = Some("10.1.0.2:40000".parse().expect("addr"));
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", vec![route_via("10.2.0.10"), Seen::TcpConnect(sent)])), None);
    }

    #[test]
    fn a_rule_by_protocol_rejects_what_the_address_alone_would_not() {
        let check = |name, expect| {
            let seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, errno(name))];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect, "{name}");
        };
        check("EINVAL", Some((0.88, true)));
        check("EACCES", Some((0.88, true)));
        check("ENETUNREACH", Some((0.88, true)));
        check("EHOSTUNREACH", Some((0.88, true)));
        // A filter's.
        check("EPERM", None);
    }
}
