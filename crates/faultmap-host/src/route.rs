//! How this host would reach an address: the lookup the kernel does for a connect (`RTM_GETROUTE`), nothing sent.
//! Never reads the routing table itself: rules, multipath and learned MTUs are the kernel's business.

use crate::HostError;
use crate::netlink::{Attributes, Body, Message, Netlink, Request, u8_at, u16_at, u32_at};
use faultmap_model::observation::{Role, Route, RouteOutcome};
use nix::errno::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

// linux/rtnetlink.h
const RTM_GETROUTE: u16 = 26;
const RTM_NEWROUTE: u16 = 24;
const RTMSG_LEN: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_CACHEINFO: u16 = 12;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;
const RTN_LOCAL: u8 = 2;
const RTM_F_CLONED: u32 = 0x200;
/// `rta_expires` is in `USER_HZ` ticks, 100 a second on every Linux ABI that Rust runs on.
const USER_HZ: u32 = 100;

const AF_INET: u8 = libc::AF_INET as u8;
const AF_INET6: u8 = libc::AF_INET6 as u8;

/// Asks the kernel how it would reach `to`. Never fails: what could not be asked is [`RouteOutcome::Unknown`].
///
/// A lookup that ends at a route of type `throw` goes on with the next rule, so it shows as no route when nothing
/// else matches. The kernel tells `unreachable`, `prohibit` and `blackhole` apart by the errno alone.
#[must_use]
pub fn route(to: IpAddr, role: Role) -> Route {
    let outcome = match Netlink::route() {
        Ok(mut netlink) => lookup(&mut netlink, to),
        Err(error) => RouteOutcome::Unknown { why: error.to_string() },
    };
    Route { to, role, outcome }
}

/// The same on a socket that is open already.
pub(crate) fn lookup(netlink: &mut Netlink, to: IpAddr) -> RouteOutcome {
    let body = query(to);
    let request = Request { operation: "RTM_GETROUTE", kind: RTM_GETROUTE, body: body.bytes() };
    match netlink.ask(&request, read_route) {
        Ok(answer) => answer.outcome(),
        Err(HostError::Refused { errno, .. }) => refused(errno),
        Err(error) => RouteOutcome::Unknown { why: error.to_string() },
    }
}

fn query(to: IpAddr) -> Body {
    let (family, bits) = if to.is_ipv4() { (AF_INET, 32) } else { (AF_INET6, 128) };
    let mut header = [0; RTMSG_LEN];
    header[0] = family;
    header[1] = bits;
    Body::new(&header).with_address(RTA_DST, to)
}

/// What the errno of a lookup says (`fib_props` in net/ipv4/fib_semantics.c, `ip6_rt_type_to_error`).
fn refused(errno: Errno) -> RouteOutcome {
    let route_type = match errno {
        Errno::ENETUNREACH => return RouteOutcome::NoRoute,
        Errno::EHOSTUNREACH => "unreachable",
        Errno::EACCES => "prohibit",
        Errno::EINVAL => "blackhole",
        Errno::EAGAIN => "throw",
        _ => {
            return RouteOutcome::Unknown { why: format!("RTM_GETROUTE: the kernel answers {errno:?}") };
        }
    };
    RouteOutcome::Rejected { route_type: route_type.to_owned(), errno: format!("{errno:?}") }
}

/// What an `RTM_NEWROUTE` answer holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Answer {
    v6: bool,
    route_type: u8,
    cloned: bool,
    out_index: Option<u32>,
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
    mtu: Option<u32>,
    expires_s: Option<u32>,
}

impl Answer {
    fn outcome(self) -> RouteOutcome {
        let Some(iface) = self.out_index.and_then(interface_name) else {
            return RouteOutcome::Unknown { why: "RTM_GETROUTE: the answer names no interface".to_owned() };
        };
        // A configured MTU never expires; only what was learned (RFC 1191, RFC 8201) does. On IPv6 a route from a
        // router advertisement expires as well, but only a learned one is a clone.
        let learned = self.expires_s.is_some() && (!self.v6 || self.cloned);
        RouteOutcome::Found {
            iface,
            gateway: self.gateway,
            source: self.source,
            local: self.route_type == RTN_LOCAL,
            learned_mtu: self.mtu.filter(|_| learned),
            mtu_expires_s: self.expires_s.filter(|_| learned && self.mtu.is_some()),
        }
    }
}

fn read_route(message: &Message<'_>) -> Option<Answer> {
    if message.kind != RTM_NEWROUTE {
        return None;
    }
    let mut answer = Answer {
        v6: u8_at(message.body, 0)? == AF_INET6,
        route_type: u8_at(message.body, 7)?,
        cloned: u32_at(message.body, 8)? & RTM_F_CLONED != 0,
        ..Answer::default()
    };
    for (kind, value) in message.attributes(RTMSG_LEN) {
        match kind {
            RTA_OIF => answer.out_index = u32_at(value, 0),
            RTA_GATEWAY => answer.gateway = address(value),
            RTA_PREFSRC => answer.source = address(value),
            // A next hop of the other family (RFC 8950): family, then the address.
            RTA_VIA if u16_at(value, 0).is_some() => answer.gateway = address(value.get(2..)?),
            RTA_METRICS => {
                let mtu = Attributes::new(value).find(|(metric, _)| *metric == RTAX_MTU);
                answer.mtu = mtu.and_then(|(_, value)| u32_at(value, 0)).filter(|mtu| *mtu > 0);
            }
            // struct rta_cacheinfo: clntref, lastuse, expires, ...
            RTA_CACHEINFO => {
                let ticks = u32_at(value, 8).map(u32::cast_signed).and_then(|ticks| u32::try_from(ticks).ok());
                answer.expires_s = ticks.filter(|ticks| *ticks > 0).map(|ticks| ticks.div_ceil(USER_HZ));
            }
            _ => {}
        }
    }
    Some(answer)
}

/// An address of either family, by its length.
pub(crate) fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(|octets| Ipv4Addr::from(octets).into()),
        16 => <[u8; 16]>::try_from(value).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

fn interface_name(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?;
    Some(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(body: &[u8]) -> Message<'_> {
        Message { kind: RTM_NEWROUTE, flags: 0, sequence: 1, body }
    }

    fn header(family: u8, flags: u32) -> Vec<u8> {
        let mut header = vec![family, 32, 0, 0, 254, 0, 0, 1];
        header.extend_from_slice(&flags.to_ne_bytes());
        header
    }

    fn cacheinfo(expires: i32) -> Vec<u8> {
        [0, 0, expires, 0, 0, 0, 0, 0].iter().flat_map(|field: &i32| field.to_ne_bytes()).collect()
    }

    fn metrics(mtu: u32) -> Vec<u8> {
        Body::new(&[]).with(RTAX_MTU, &mtu.to_ne_bytes()).bytes().to_vec()
    }

    fn check(family: u8, flags: u32, expires: i32, learned: Option<(u32, u32)>) {
        let body = Body::new(&header(family, flags))
            .with(RTA_OIF, &1_u32.to_ne_bytes())
            .with(RTA_METRICS, &metrics(1300))
            .with(RTA_CACHEINFO, &cacheinfo(expires));
        let answer = read_route(&message(body.bytes())).expect("a route");
        match answer.outcome() {
            RouteOutcome::Found { learned_mtu, mtu_expires_s, .. } => {
                assert_eq!((learned_mtu, mtu_expires_s), (learned.map(|l| l.0), learned.map(|l| l.1)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_mtu_that_expires_was_learned_on_the_path() {
        check(AF_INET, RTM_F_CLONED, 59_950, Some((1300, 600)));
        check(AF_INET6, RTM_F_CLONED, 59_950, Some((1300, 600)));
    }

    #[test]
    fn an_mtu_without_expiry_was_configured() {
        check(AF_INET, RTM_F_CLONED, 0, None);
        check(AF_INET, RTM_F_CLONED, -5, None);
    }

    #[test]
    fn an_ipv6_route_of_a_router_advertisement_expires_but_has_learned_nothing() {
        check(AF_INET6, 0, 59_950, None);
    }

    #[test]
    fn a_next_hop_of_the_other_family_is_read() {
        let mut via = 10_u16.to_ne_bytes().to_vec();
        via.extend_from_slice(&"fe80::1".parse::<Ipv6Addr>().expect("an address").octets());
        let body = Body::new(&header(AF_INET, 0)).with(RTA_VIA, &via);
        let answer = read_route(&message(body.bytes())).expect("a route");
        assert_eq!(answer.gateway, Some("fe80::1".parse().expect("an address")));
    }

    #[test]
    fn each_rejecting_route_has_its_errno() {
        for (errno, expected) in [
            (Errno::EHOSTUNREACH, Some("unreachable")),
            (Errno::EACCES, Some("prohibit")),
            (Errno::EINVAL, Some("blackhole")),
            (Errno::ENETUNREACH, None),
        ] {
            let rejected = match refused(errno) {
                RouteOutcome::Rejected { route_type, .. } => Some(route_type),
                RouteOutcome::NoRoute => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(rejected.as_deref(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Some(answer) = read_route(&message(&bytes)) {
                let _ = answer.outcome();
            }
        }
    }
}
