//! Route lookups of every outcome, both families.

use crate::namespace::{cable, inside, ip};
use faultmap_host::route;
use faultmap_model::observation::{Role, RouteOutcome};

fn outcome(to: &str) -> RouteOutcome {
    let route = route(to.parse().expect("an address"), Role::Target);
    assert_eq!(route.role, Role::Target);
    route.outcome
}

#[track_caller]
fn check(to: &str, expected: &str) {
    let shown = match outcome(to) {
        RouteOutcome::Found { iface, gateway, source, local, learned_mtu, .. } => {
            let gateway = gateway.map_or("-".to_owned(), |gateway| gateway.to_string());
            let source = source.map_or("-".to_owned(), |source| source.to_string());
            assert_eq!(learned_mtu, None);
            format!("{iface} via {gateway} from {source}{}", if local { " local" } else { "" })
        }
        RouteOutcome::NoRoute => "no route".to_owned(),
        RouteOutcome::Rejected { route_type, errno } => format!("{route_type} {errno}"),
        RouteOutcome::Unknown { why } => format!("unknown: {why}"),
    };
    assert_eq!(shown, expected, "{to}");
}

#[test]
fn without_a_default_route_there_is_no_route() {
    inside("routes::without_a_default_route_there_is_no_route", || {
        check("192.0.2.1", "no route");
        check("2001:db8::1", "no route");
        cable();
        check("192.0.2.1", "no route");
        check("2001:db8::1", "no route");
    });
}

#[test]
fn an_on_link_address_has_no_gateway_and_a_far_one_has() {
    inside("routes::an_on_link_address_has_no_gateway_and_a_far_one_has", || {
        cable();
        ip("route add default via 10.9.0.1");
        ip("-6 route add default via fd09::1");
        check("10.9.0.7", "eth0 via - from 10.9.0.2");
        check("192.0.2.1", "eth0 via 10.9.0.1 from 10.9.0.2");
        check("fd09::7", "eth0 via - from fd09::2");
        check("2001:db8::1", "eth0 via fd09::1 from fd09::2");
    });
}

#[test]
fn an_ipv4_route_may_lead_through_an_ipv6_router() {
    inside("routes::an_ipv4_route_may_lead_through_an_ipv6_router", || {
        cable();
        ip("-4 route add default via inet6 fd09::1 dev eth0");
        check("192.0.2.1", "eth0 via fd09::1 from 10.9.0.2");
    });
}

#[test]
fn our_own_addresses_are_local() {
    inside("routes::our_own_addresses_are_local", || {
        cable();
        check("10.9.0.2", "lo via - from 10.9.0.2 local");
        check("127.0.0.1", "lo via - from 127.0.0.1 local");
        check("fd09::2", "lo via - from fd09::2 local");
        check("::1", "lo via - from ::1 local");
    });
}

#[test]
fn rejecting_routes_name_their_type() {
    inside("routes::rejecting_routes_name_their_type", || {
        cable();
        for (place, kind) in ["unreachable", "prohibit", "blackhole", "throw"].iter().enumerate() {
            ip(&format!("-4 route add {kind} 10.{}.0.0/16", 51 + place));
            ip(&format!("-6 route add {kind} 2001:db8:{}::/48", 1 + place));
        }
        check("10.51.0.1", "unreachable EHOSTUNREACH");
        check("10.52.0.1", "prohibit EACCES");
        check("10.53.0.1", "blackhole EINVAL");
        check("10.54.0.1", "no route");
        check("2001:db8:1::1", "unreachable EHOSTUNREACH");
        check("2001:db8:2::1", "prohibit EACCES");
        check("2001:db8:3::1", "blackhole EINVAL");
        check("2001:db8:4::1", "no route");
    });
}

#[test]
fn an_interface_that_is_down_takes_its_routes_along() {
    inside("routes::an_interface_that_is_down_takes_its_routes_along", || {
        cable();
        ip("route add default via 10.9.0.1");
        ip("link set eth0 down");
        check("192.0.2.1", "no route");
        check("10.9.0.7", "no route");
    });
}

#[test]
fn a_configured_mtu_is_not_a_learned_one() {
    inside("routes::a_configured_mtu_is_not_a_learned_one", || {
        cable();
        ip("route add 192.0.2.0/24 via 10.9.0.1 mtu 1300");
        ip("-6 route add 2001:db8::/32 via fd09::1 mtu 1300");
        check("192.0.2.1", "eth0 via 10.9.0.1 from 10.9.0.2");
        check("2001:db8::1", "eth0 via fd09::1 from fd09::2");
    });
}
