//! The name resolves to an address that means nothing here.

use crate::causes::{Cause, Claim, Tool};
use crate::evidence::Failure;
use crate::observation::{Counters, IcmpMeaning, IngressGap, Link, NeighborState, RouteOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer};
use std::net::{IpAddr, Ipv4Addr};

/// `l3.private-address`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.private-address",
    layer: Layer::L3,
    title: "the name resolves to a private address that is not routed here",
    what: "DNS gave an address that is valid only inside another network: RFC 1918, carrier-grade NAT (RFC 6598), unique local IPv6 (RFC 4193), link-local, \
           a documentation range, or loopback. Split-horizon DNS asked from outside, a forgotten VPN, or a default left in a record.",
    shows: "The address came from a name, belongs to a private block that none of our own interfaces is in, and no answer comes from it.",
    confirm: &[Tool {
        run: "dig {host} A {host} AAAA; ip route get {ip}; ip -br addr",
        on: "here",
        why: "what the name resolves to, and whether that network is ours",
    }],
    fix: &[
        "Connect the VPN or network in which {ip} is valid.",
        "Give outside clients a public record: split-horizon DNS, or another name.",
        "Remove the private record from public DNS.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure().filter(|failure| failure.role == crate::observation::Role::Target)?;
    // A proxy usually has a private address, and its name was configured, not found.
    if ev.proxy().is_some()
        || ev.sought_literal().is_some()
        || ev.near_host().eq_ignore_ascii_case("localhost")
        || ev.host_answers(failure.ip).is_some() && !failure.ip.is_loopback()
    {
        return None;
    }
    if matches!(failure.errno(), Some("EMFILE" | "ENFILE" | "EADDRNOTAVAIL" | "EPERM" | "ENOBUFS" | "ENOMEM")) {
        return None;
    }
    // Another source of the name gives another address: that it misleads is the cause, whatever block its address is of.
    if crate::causes::l7::misled_by_names(ev) {
        return None;
    }
    let block = block(failure.ip)?;
    let never_remote = matches!(block, Block::Loopback | Block::Unspecified);
    if !never_remote && (ours(ev, block) || !unreachable(&failure, ev) || explained_otherwise(ev, &failure)) {
        return None;
    }
    let dns = ev.first::<crate::observation::SystemLookup>(|lookup| lookup.addresses.contains(&failure.ip)).map(|(id, _)| id);
    let summary = format!("{} resolves to {}, {}, which is not reachable from here.", ev.near_host(), failure.ip, block.words());
    let at = failure.ip.to_string();
    // Networks built for tests and examples route the documentation blocks: an address there says less than a private one does.
    let claim = match block {
        Block::Documentation => Claim::likely(0.5, Where::Remote, at, summary),
        // A blackhole, or a missing way back, is as silent: the block alone does not prove that the address is the wrong one.
        _ if failure.silent() && !never_remote => Claim::likely(0.66, Where::Remote, at, summary),
        _ => Claim::proven(0.96, Where::Remote, at, summary).misleading(),
    };
    Some(claim.citing([failure.id]).citing(dns))
}

/// Nothing answers in the address's name: silence, or no route on the way.
fn unreachable(failure: &Failure<'_>, ev: &Evidence<'_>) -> bool {
    let reported = failure.icmp().is_some_and(|icmp| icmp.meaning() == IcmpMeaning::NoRoute && !ev.is_self(icmp.from));
    failure.silent() || reported
}

/// Something stops the packets that would stop those to any other address too, or the address does answer, or its segment is routed from here:
/// then the address is no riddle.
fn explained_otherwise(ev: &Evidence<'_>, failure: &Failure<'_>) -> bool {
    let unrouted =
        matches!(ev.route(failure.ip).map(|(_, route)| &route.outcome), Some(RouteOutcome::NoRoute | RouteOutcome::Rejected { .. }));
    let link_down = ev.link_toward(failure.ip).is_some_and(|(_, link)| !link.up || link.carrier == Some(false));
    let next_hop_bad = ev.next_hop_neighbor(failure.ip).is_some_and(|(_, neighbor)| {
        matches!(neighbor.after, NeighborState::Failed | NeighborState::Incomplete | NeighborState::Permanent)
    });
    let not_sent = ev.first::<Counters>(|counters| counters.rose.contains_key("TcpExt.TCPRetransFail")).is_some();
    let answers_come = ev.first::<IngressGap>(|gap| {
        let undelivered = gap.lost_with.saturating_sub(gap.lost_idle);
        gap.to.ip() == failure.ip
            && (gap.rp_filtered > 0
                || gap.answers_on_wire.is_some_and(|seen| seen > 0)
                || undelivered.saturating_mul(2) >= u64::from(gap.provoked.max(1)))
    });
    unrouted || link_down || next_hop_bad || not_sent || answers_come.is_some() || super::segment_is_routed(ev)
}

/// Blocks of addresses that are valid only somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Loopback,
    Unspecified,
    LinkLocal,
    Documentation,
    Ten,
    OneSevenTwo,
    OneNineTwo,
    CarrierNat,
    UniqueLocal,
}

impl Block {
    const fn words(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address (this very host)",
            Self::Unspecified => "the unspecified address",
            Self::LinkLocal => "a link-local address",
            Self::Documentation => "an address reserved for documentation",
            Self::Ten | Self::OneSevenTwo | Self::OneNineTwo => "a private address (RFC 1918)",
            Self::CarrierNat => "a carrier-grade NAT address (RFC 6598)",
            Self::UniqueLocal => "a unique local address (RFC 4193)",
        }
    }
}

fn block(ip: IpAddr) -> Option<Block> {
    match ip {
        IpAddr::V4(ip) => block_v4(ip),
        IpAddr::V6(ip) if ip.is_loopback() => Some(Block::Loopback),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(Block::Unspecified),
        IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80 => Some(Block::LinkLocal),
        IpAddr::V6(ip) if ip.segments()[0] & 0xfe00 == 0xfc00 => Some(Block::UniqueLocal),
        IpAddr::V6(ip) if ip.segments()[..2] == [0x2001, 0xdb8] => Some(Block::Documentation),
        IpAddr::V6(_) => None,
    }
}

fn block_v4(ip: Ipv4Addr) -> Option<Block> {
    match ip.octets() {
        [127, ..] => Some(Block::Loopback),
        [0, ..] => Some(Block::Unspecified),
        [169, 254, ..] => Some(Block::LinkLocal),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some(Block::Documentation),
        [10, ..] => Some(Block::Ten),
        [172, b, ..] if b & 0xf0 == 16 => Some(Block::OneSevenTwo),
        [192, 168, ..] => Some(Block::OneNineTwo),
        [100, b, ..] if b & 0xc0 == 64 => Some(Block::CarrierNat),
        _ => None,
    }
}

/// One of our own interfaces is in the block, so that the address may well be meant for us.
fn ours(ev: &Evidence<'_>, wanted: Block) -> bool {
    let addresses = ev.all::<Link>().filter(|(_, link)| !link.loopback).flat_map(|(_, link)| &link.addresses);
    addresses.filter_map(|address| address.split(['/', ' ']).next()?.parse().ok()).any(|ip| block(ip) == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, counters, own_link, reset, route_via, silent};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn a_private_address_of_another_network_is_meant_for_others() {
        let check = |target: &str, to: &str, outcome, own: &str, expect| {
            let ip = to.split(':').next().expect("ip");
            let seen = vec![own_link(own), route_via(ip), connect(to, Role::Target, outcome)];
            assert_eq!(claims(&CAUSE, &recording(target, seen)), expect, "{target} {to}");
        };
        check("http://shop.test/", "192.168.7.7:80", silent(), "10.1.0.2", Some((0.66, true)));
        check("http://shop.test/", "192.168.7.7:80", silent(), "192.168.1.2", None);
        check("http://192.168.7.7/", "192.168.7.7:80", silent(), "10.1.0.2", None);
        check("http://shop.test/", "192.168.7.7:80", reset(), "10.1.0.2", None);
        check("http://shop.test/", "127.0.0.1:80", reset(), "10.1.0.2", Some((0.96, true)));
    }

    #[test]
    fn what_stops_packets_to_any_address_does_not_make_the_address_wrong() {
        let gap = |lost_with| IngressGap {
            to: "192.168.7.7:80".parse().expect("addr"),
            provoked: 4,
            lost_with,
            lost_idle: 0,
            rp_filtered: 0,
            answers_on_wire: None,
        };
        let check = |extra: Seen, expect| {
            let seen = vec![own_link("10.1.0.2"), route_via("192.168.7.7"), connect("192.168.7.7:80", Role::Target, silent()), extra];
            assert_eq!(claims(&CAUSE, &recording("http://shop.test/", seen)), expect);
        };
        check(Seen::IngressGap(gap(0)), Some((0.66, true)));
        check(Seen::IngressGap(gap(4)), None);
        check(counters(&[("TcpExt.TCPRetransFail", 3)]), None);
        check(counters(&[]), Some((0.66, true)));
    }

    #[test]
    fn no_route_at_all_is_not_the_names_fault() {
        let Seen::Route(route) = route_via("192.168.7.7") else { panic!("a route") };
        let none = Seen::Route(crate::observation::Route { outcome: RouteOutcome::NoRoute, ..route });
        let seen = vec![own_link("10.1.0.2"), none, connect("192.168.7.7:80", Role::Target, silent())];
        assert_eq!(claims(&CAUSE, &recording("http://shop.test/", seen)), None);
    }

    #[test]
    fn a_documentation_address_may_be_routed_in_a_test_network() {
        let seen = vec![own_link("10.1.0.2"), route_via("203.0.113.7"), connect("203.0.113.7:80", Role::Target, silent())];
        assert_eq!(claims(&CAUSE, &recording("http://shop.test/", seen)), Some((0.5, true)));
    }
}
