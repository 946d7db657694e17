//! A firewall refuses this port aloud: by an ICMP error with its sender, or by a RST that the host did not send.

use crate::causes::peer::Refusal;
use crate::causes::{Cause, Claim, Tool};
use crate::evidence::{Failure, How, Protocol, Told};
use crate::observation::{ArpProbe, Echo, IcmpMeaning, TcpConnect};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l4.firewall-reject`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.firewall-reject",
    layer: Layer::L4,
    title: "a firewall rejects this port",
    what: "A packet filter on the way, or on the host, refuses this port and says so: with an ICMP error (port unreachable, administratively \
           prohibited, host unreachable), or with a RST that it makes in the host's name. Another port or protocol of the same host answers.",
    shows: "An ICMP error that names its sender. A closed TCP port answers with RST, never with ICMP port unreachable, so that one is always a \
            filter's. A forged RST shows by a TTL that differs from the host's own answers, or by coming from before the host.",
    confirm: &[
        Tool { run: "nft list ruleset; iptables-save", on: "the host or router that sent the ICMP error", why: "shows the reject rule" },
        Tool {
            run: "tcpdump -nvi any 'icmp or (tcp port {port} and tcp[13] & 4 != 0)'",
            on: "here",
            why: "shows who answers, and the TTL of a RST",
        },
    ],
    fix: &[
        "Allow {port}/tcp from this source in the filter of the host that answered.",
        "In a cloud, check the security group and the network policy that cover {ip}.",
    ],
    claim: |ev| claim(ev).or_else(|| super::quic::refused(ev)),
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure()?;
    if let Some((failure, told, refusal)) = crate::causes::peer::refusal(ev) {
        return by_witness(ev, &failure, &told, &refusal);
    }
    if failure.how == How::Reset {
        let (id, why) = forged_reset(ev, &failure)?;
        if reset_at_first_hop(ev, &failure) {
            return None;
        }
        let summary = format!("A firewall before {} resets connections to port {}: {why}.", failure.ip, failure.port);
        return Some(Claim::proven(0.92, Where::Path, format!("before {}", failure.ip), summary).citing([failure.id, id]));
    }
    let icmp = failure.icmp()?;
    if ev.is_self(icmp.from) || !rejects(ev, &failure, icmp.meaning(), icmp.from == failure.ip) {
        return None;
    }
    let side = if icmp.from == failure.ip { Where::Remote } else { Where::Path };
    let words = match icmp.meaning() {
        IcmpMeaning::Prohibited => "administratively prohibited",
        IcmpMeaning::PortUnreachable => "port unreachable",
        _ => "unreachable",
    };
    let summary = format!("A firewall at {} rejects {} (ICMP {}/{}, {words}).", icmp.from, failure.place(), icmp.icmp_type, icmp.code);
    Some(Claim::proven(0.95, side, icmp.from.to_string(), summary).citing([failure.id]).citing(ev.host_answers(failure.ip)))
}

/// The host itself tells whether it sent the reset.
fn by_witness(ev: &Evidence<'_>, failure: &Failure<'_>, told: &Told<'_>, refusal: &Refusal) -> Option<Claim> {
    let (side, at, words) = match refusal {
        Refusal::Forged => (Where::Path, format!("before {}", failure.ip), "that host sent no RST, and we got one"),
        Refusal::OwnFilter => {
            (Where::Remote, failure.ip.to_string(), "a program listens there, and the RST is not its TCP's but the packet filter's")
        }
        Refusal::NothingListens | Refusal::ListensElsewhere(_) => return None,
    };
    let who = if side == Where::Path { format!("before {}", failure.ip) } else { format!("of {} itself", failure.ip) };
    let summary = format!("A firewall {who} resets connections to port {}: {words}.", failure.port);
    // On our own segment another station may have the address; only ARP tells.
    let asked = ev.first::<ArpProbe>(|probe| probe.address == failure.ip && probe.macs.len() == 1).is_some();
    let unsure = side == Where::Path && ev.on_link(failure.ip) && !asked;
    let claim = if unsure { Claim::likely(0.4, side, at, summary) } else { Claim::proven(0.95, side, at, summary) };
    Some(claim.citing([failure.id, told.id]))
}

/// The ICMP error can only be a filter's.
fn rejects(ev: &Evidence<'_>, failure: &Failure<'_>, meaning: IcmpMeaning, from_target: bool) -> bool {
    let others_pass = ev.host_answers(failure.ip).is_some();
    match (meaning, failure.protocol) {
        (IcmpMeaning::PortUnreachable | IcmpMeaning::ProtocolUnreachable, Protocol::Tcp) => true,
        (IcmpMeaning::PortUnreachable, _) => !from_target,
        (IcmpMeaning::Prohibited, _) => others_pass || from_target,
        (IcmpMeaning::HostUnreachable | IcmpMeaning::NoRoute, _) => others_pass,
        _ => false,
    }
}

/// A RST that the target did not send: the observation that shows it, and why, in words.
pub(super) fn forged_reset(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<(ObservationId, String)> {
    if let Some((id, ttl)) = ev.reset_before_host(failure.ip) {
        return Some((id, format!("the RST came with TTL {ttl}, where other packets to the host find a router")));
    }
    let ttl = reset_ttl(ev, failure)?;
    if let Some((id, own)) = other_stack(ev, failure, ttl) {
        return Some((
            id,
            format!("the RST came with TTL {ttl}, the host's own TCP answers with {own}, and no router is between us and it"),
        ));
    }
    let reset = hops_of(ttl);
    let (id, own) = host_ttl(ev, failure)?;
    // From farther away it is no filter's before the host: the host forwards the port to somebody behind it.
    (reset < hops_of(own)).then(|| (id, format!("the RST has travelled {reset} hops, the host's own answers {}", hops_of(own))))
}

/// The RST has the TTL of the host's other answers.
pub(super) fn reset_ttl_is_the_hosts(ev: &Evidence<'_>, failure: &Failure<'_>) -> bool {
    match (reset_ttl(ev, failure), host_ttl(ev, failure)) {
        (Some(reset), Some((_, own))) => hops_of(reset) == hops_of(own),
        _ => false,
    }
}

/// The RST answered a packet that could not leave our own link: our own host made it.
pub(super) fn reset_at_first_hop(ev: &Evidence<'_>, failure: &Failure<'_>) -> bool {
    ev.gateway(failure.ip).is_some() && ev.reset_before_host(failure.ip).is_some_and(|(_, ttl)| ttl == 1)
}

fn reset_ttl(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<u8> {
    ev.all::<TcpConnect>().find(|(id, _)| *id == failure.id).and_then(|(_, connect)| connect.answer_ttl)
}

/// TTL of an answer that is surely the host's: an open port's SYN-ACK, an echo reply, or the RST of the discard port, which nobody forwards.
fn host_ttl(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<(ObservationId, u8)> {
    let echoed = || ev.first::<Echo>(|echo| echo.to == failure.ip && echo.reply_ttl.is_some());
    tcp_ttl(ev, failure, |connect| connect.outcome.connected())
        .or_else(|| echoed().and_then(|(id, echo)| echo.reply_ttl.map(|ttl| (id, ttl))))
        .or_else(|| tcp_ttl(ev, failure, |connect| connect.to.port() == DISCARD))
}

/// RFC 863.
const DISCARD: u16 = 9;

/// Routers between a host and those to whom it forwards its ports.
const FEW_HOPS: u8 = 4;

/// TTL with which another port of the host answered.
fn tcp_ttl(ev: &Evidence<'_>, failure: &Failure<'_>, fits: impl Fn(&TcpConnect) -> bool) -> Option<(ObservationId, u8)> {
    let others = ev.control_connects(failure.ip).filter(|(_, connect)| connect.to.port() != failure.port && fits(connect));
    others.filter_map(|(id, connect)| connect.answer_ttl.map(|ttl| (id, ttl))).next()
}

/// On our own segment no router takes from a TTL: one TCP answers with one TTL.
fn other_stack(ev: &Evidence<'_>, failure: &Failure<'_>, reset: u8) -> Option<(ObservationId, u8)> {
    // A little less than the host's own is no other stack, but a host behind it to which it forwards the port (a container's).
    let behind = |own: u8| hops_of(own) == 0 && (1..=FEW_HOPS).contains(&hops_of(reset));
    tcp_ttl(ev, failure, |_| true).filter(|(_, own)| ev.on_link(failure.ip) && *own != reset && !behind(*own))
}

/// Hops travelled, from the usual initial values 64, 128 and 255.
fn hops_of(ttl: u8) -> u8 {
    let initial = [64, 128, 255].into_iter().find(|initial| ttl <= *initial).unwrap_or(255);
    initial - ttl
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, icmp_from, reset, route_on_link, route_via};
    use super::*;
    use crate::Seen;
    use crate::observation::{Hop, HopAnswer, HopSaid, Role, Walk, WalkProtocol};
    use crate::testkit::{claims, recording};

    fn check(seen: Vec<Seen>, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
    }

    #[test]
    fn icmp_port_unreachable_to_tcp_is_always_a_filter() {
        check(vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, icmp_from("10.2.0.10", 3, 3))], Some((0.95, true)));
    }

    #[test]
    fn prohibited_for_this_port_alone_is_a_filter() {
        let refused = connect("10.2.0.10:80", Role::Target, icmp_from("10.9.0.2", 3, 13));
        check(vec![refused.clone(), connect("10.2.0.10:22", Role::Control, reset())], Some((0.95, true)));
        check(vec![refused], None);
    }

    fn walk(port: u16, role: Role, protocol: WalkProtocol, hops: &[(u8, &str, HopSaid)]) -> Seen {
        let hop = |(ttl, from, said): &(u8, &str, HopSaid)| Hop {
            ttl: *ttl,
            sent: 1,
            answers: vec![HopAnswer { from: from.parse().expect("ip"), said: *said, rtt_ms: 1.0 }],
        };
        let to = format!("10.2.0.10:{port}").parse().expect("addr");
        let reached_ttl = hops.last().map(|(ttl, ..)| *ttl);
        Seen::Walk(Walk { to, role, protocol, hops: hops.iter().map(hop).collect(), reached_ttl })
    }

    fn expired(from: &str) -> HopSaid {
        HopSaid::Icmp(crate::observation::IcmpError { icmp_type: 11, code: 0, from: from.parse().expect("ip"), mtu: None })
    }

    fn refused_with(walks: Vec<Seen>, expect: Option<(f64, bool)>) {
        check([vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, reset())], walks].concat(), expect);
    }

    #[test]
    fn a_reset_from_where_others_find_a_router_is_forged() {
        let forged = walk(80, Role::Target, WalkProtocol::Tcp, &[(2, "10.2.0.10", HopSaid::Reset)]);
        let real = walk(22, Role::Control, WalkProtocol::Tcp, &[(2, "10.9.0.2", expired("10.9.0.2")), (3, "10.2.0.10", HopSaid::Reached)]);
        refused_with(vec![forged, real], Some((0.92, true)));
    }

    #[test]
    fn a_host_that_forwards_some_ports_refuses_the_others_itself() {
        // The port of a container that is not mapped, beside one that is: the mapped one's packets expire at the host, by its own address.
        let unmapped = walk(80, Role::Target, WalkProtocol::Tcp, &[(2, "10.2.0.10", HopSaid::Reset)]);
        let mapped =
            walk(443, Role::Control, WalkProtocol::Tcp, &[(2, "10.2.0.10", expired("10.2.0.10")), (3, "10.2.0.10", HopSaid::Reached)]);
        refused_with(vec![unmapped.clone(), mapped], None);
        // A balancer names another of its addresses, but answers UDP for itself.
        let balanced =
            walk(443, Role::Control, WalkProtocol::Tcp, &[(2, "10.2.0.2", expired("10.2.0.2")), (3, "10.2.0.10", HopSaid::Reached)]);
        let own = walk(33_434, Role::Control, WalkProtocol::Udp, &[(2, "10.2.0.10", HopSaid::Reached)]);
        refused_with(vec![unmapped, balanced, own], None);
    }

    #[test]
    fn a_reset_from_farther_than_the_host_is_from_behind_it() {
        let echo = |ttl| {
            Seen::Echo(Echo {
                to: "10.2.0.10".parse().expect("ip"),
                role: Role::Control,
                payload_bytes: 56,
                dont_fragment: false,
                sent: 3,
                received: 3,
                duplicates: 0,
                rtts_ms: vec![1.0; 3],
                reply_ttl: Some(ttl),
                icmp: None,
                errno: None,
            })
        };
        let Seen::TcpConnect(refused) = connect("10.2.0.10:80", Role::Target, reset()) else { panic!("a connect") };
        let refused = Seen::TcpConnect(TcpConnect { answer_ttl: Some(62), ..refused });
        check(vec![refused.clone(), echo(63)], None);
        check(vec![refused, echo(61)], Some((0.92, true)));
    }

    fn answered_with(port: u16, role: Role, ttl: u8) -> Seen {
        let Seen::TcpConnect(refused) = connect(&format!("10.2.0.10:{port}"), role, reset()) else { panic!("a connect") };
        Seen::TcpConnect(TcpConnect { answer_ttl: Some(ttl), ..refused })
    }

    #[test]
    fn a_reset_from_nearer_than_the_discard_port_is_no_hosts() {
        let seen = |target, discard| {
            vec![route_via("10.2.0.10"), answered_with(80, Role::Target, target), answered_with(DISCARD, Role::Control, discard)]
        };
        check(seen(63, 62), Some((0.92, true)));
        check(seen(62, 62), None);
        // Another port may be forwarded to a host behind.
        check(vec![route_via("10.2.0.10"), answered_with(80, Role::Target, 63), answered_with(443, Role::Control, 62)], None);
    }

    #[test]
    fn on_our_own_segment_one_tcp_has_one_ttl() {
        let seen = |ttl| vec![route_on_link("10.2.0.10"), answered_with(80, Role::Target, ttl), answered_with(DISCARD, Role::Control, 64)];
        check(seen(255), Some((0.92, true)));
        check(seen(64), None);
    }

    #[test]
    fn on_our_own_segment_a_slightly_smaller_ttl_is_of_a_host_behind() {
        let seen = |ttl| vec![route_on_link("10.2.0.10"), answered_with(80, Role::Target, ttl), answered_with(DISCARD, Role::Control, 64)];
        // The port is published for a container in which nothing listens: its RST passed one router, the host itself.
        check(seen(63), None);
        check(seen(40), Some((0.92, true)));
    }
}
