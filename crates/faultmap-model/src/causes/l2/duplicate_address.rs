//! Two stations answer for one address.

use crate::causes::peer::Refusal;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{
    ArpProbe, Dialogue, DialogueOutcome, DnsOutcome, DnsQuery, HttpExchange, HttpOutcome, Link, Neighbor, Role, TcpHealth, TlsHandshake,
    TlsOutcome, Walk,
};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::{IpAddr, Ipv4Addr};

/// `l2.duplicate-address`
pub(in crate::causes) static CAUSE: Cause = Cause {
    id: "l2.duplicate-address",
    layer: Layer::L2,
    title: "two stations claim one address",
    what: "Two hosts on the segment use the same IP address. Whoever answers ARP last gets the traffic: connections fail or reset in turns, and TCP and \
           UDP may reach different hosts. A cloned machine, a static address inside the DHCP range, or two active VRRP masters.",
    shows: "Two MACs answer one ARP request, the neighbour entry alternates between MACs, or the kernel's duplicate address detection failed (dadfailed).",
    confirm: &[
        Tool { run: "arping -D -c 3 -I {iface} {ip}; arping -c 3 -I {iface} {ip}", on: "here", why: "answers from two MACs" },
        Tool { run: "ip monitor neigh dev {iface}", on: "here", why: "the entry changes its MAC again and again" },
    ],
    fix: &[
        "Give one of the two stations another address (look up both MACs in the switch's table to find the ports).",
        "Exclude static addresses from the DHCP pool; check VRRP priorities and its multicast.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(claim) = answered_in_its_name(ev) {
        return Some(claim);
    }
    let Some((id, place, words)) = by_arp(ev).or_else(|| own_elsewhere(ev)).or_else(|| by_entry(ev)).or_else(|| own_address(ev)) else {
        return wrong_gateway(ev);
    };
    let summary = format!("Two stations claim the address {place}: {words}.");
    let lost = ev.failure().map(|failure| failure.id).or_else(|| lost_meanwhile(ev));
    let claim = match lost {
        // Now one of them gets our packets, now the other: what did pass proves nothing for the rest.
        Some(lost) => Claim::proven(0.95, Where::Path, place, summary).citing([lost, id]).despite_answers(),
        None => Claim::degrades(0.96, Where::Path, place, summary).citing([id]),
    };
    Some(claim)
}

/// Something was answered, and then packets were lost: a conversation whose segments nobody acknowledges any more, or questions for the name
/// that stayed without an answer, or were refused by a router, until none was found.
fn lost_meanwhile(ev: &Evidence<'_>) -> Option<ObservationId> {
    let stuck = |tcp: &Option<TcpHealth>| tcp.as_ref().is_some_and(|tcp| tcp.unacked > 0 && tcp.backoff > 0);
    let http = ev.all::<HttpExchange>().find(|(_, http)| matches!(http.outcome, HttpOutcome::Silent { .. }) && stuck(&http.tcp));
    let tls = || ev.all::<TlsHandshake>().find(|(_, tls)| matches!(tls.outcome, TlsOutcome::Silent { .. }) && stuck(&tls.tcp));
    let spoken = || ev.all::<Dialogue>().find(|(_, talk)| matches!(talk.outcome, DialogueOutcome::Silent { .. }) && stuck(&talk.tcp));
    let unresolved = || {
        let lost = |query: &DnsQuery| query.role == Role::Resolver && !matches!(query.outcome, DnsOutcome::Answer(_));
        ev.first::<DnsQuery>(lost).filter(|_| ev.sought_literal().is_none() && ev.name_unresolved())
    };
    let said = http.map(|(id, _)| id).or_else(|| tls().map(|(id, _)| id)).or_else(|| spoken().map(|(id, _)| id));
    said.or_else(|| unresolved().map(|(id, _)| id))
}

/// A host on our own segment sent no reset, says the witness on it, and we got one in its name: another station has the address, or a filter in
/// the segment itself rejects. An ARP request of our own would show two stations.
fn answered_in_its_name(ev: &Evidence<'_>) -> Option<Claim> {
    let (failure, told, _) = crate::causes::peer::refusal(ev).filter(|(_, _, refusal)| matches!(refusal, Refusal::Forged))?;
    if !ev.on_link(failure.ip) || ev.first::<ArpProbe>(|probe| probe.address == failure.ip).is_some() {
        return None;
    }
    let summary = format!(
        "A reset came in the name of {}, on our own segment, and that host sent none: another station answers for its address, or a filter does.",
        failure.ip
    );
    let claim = Claim::likely(0.55, Where::Path, failure.ip.to_string(), summary).citing([failure.id, told.id]);
    Some(claim.decided_by(
        format!("sudo faultmap check {}", ev.target().input),
        "here",
        "two MACs in answer to one ARP request are two stations",
    ))
}

/// Whoever answered ARP for the gateway passes nothing on and says nothing, not even of an expired packet, as every router does. Without an ARP
/// request of our own we cannot know whether another station would have answered too.
fn wrong_gateway(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure().filter(|failure| failure.ip.is_ipv4())?;
    let gateway = ev.gateway(failure.ip)?;
    if let Some(icmp) = failure.icmp().filter(|icmp| not_the_gateway(ev, failure.ip, icmp.from)) {
        let summary =
            format!("{} refuses in the place of the gateway {gateway}: it may be a station that has taken its address.", icmp.from);
        let claim = Claim::likely(0.4, Where::Path, gateway.to_string(), summary).citing([failure.id]);
        return Some(claim.decided_by(
            format!("sudo arping -D -c 3 {gateway}"),
            "here",
            "answers from two MACs: two stations have the gateway's address",
        ));
    }
    if !failure.silent() {
        return None;
    }
    let asked = ev.first::<ArpProbe>(|probe| probe.address == gateway).is_some();
    let foreign = crate::causes::l3::source_is_foreign(ev, failure.ip);
    if asked || foreign || ev.host_answers(failure.ip).is_some() || speaks(ev, failure.ip, gateway) {
        return None;
    }
    let fresh = |neighbor: &Neighbor| neighbor.mac_before.is_none() && neighbor.mac_after.is_some();
    let (id, _) = ev.next_hop_neighbor(failure.ip).filter(|(_, neighbor)| fresh(neighbor))?;
    let summary = format!("Whoever has the address of the gateway {gateway} passes nothing on: it may be another station's too.");
    let claim = Claim::likely(0.4, Where::Path, gateway.to_string(), summary).citing([failure.id, id]);
    Some(claim.decided_by(
        format!("sudo arping -D -c 3 {gateway}"),
        "here",
        "answers from two MACs: two stations have the gateway's address",
    ))
}

/// Some router answered on the way to the address, or the gateway did on the way to any other: it forwards, or refuses, as routers do.
fn speaks(ev: &Evidence<'_>, to: IpAddr, gateway: IpAddr) -> bool {
    let by_gateway = |walk: &Walk| walk.hops.iter().flat_map(|hop| &hop.answers).any(|answer| answer.from == gateway);
    ev.last_router(to).is_some() || ev.all::<Walk>().any(|(_, walk)| by_gateway(walk))
}

/// An ICMP error came from a station on our own segment that has another address than the gateway, and nobody asked who has the gateway's.
pub(in crate::causes) fn not_the_gateway(ev: &Evidence<'_>, to: IpAddr, from: IpAddr) -> bool {
    let (Some(gateway), IpAddr::V4(station)) = (ev.gateway(to), from) else { return false };
    if from == gateway || ev.is_self(from) || ev.first::<ArpProbe>(|probe| probe.address == gateway).is_some() {
        return false;
    }
    let near = |text: &String| {
        let (own, bits) = text.split(' ').next().and_then(|text| text.split_once('/'))?;
        let (own, bits) = (own.parse::<Ipv4Addr>().ok()?, bits.parse::<u32>().ok()?);
        Some((own.to_bits() ^ station.to_bits()).leading_zeros() >= bits)
    };
    ev.link_toward(to).is_some_and(|(_, link)| link.addresses.iter().filter_map(near).any(|near| near))
}

fn by_arp(ev: &Evidence<'_>) -> Option<(ObservationId, String, String)> {
    let (id, probe) = ev.first::<ArpProbe>(|probe| probe.macs.len() > 1 && probe.one_host != Some(true))?;
    Some((id, probe.address.to_string(), format!("{} answer ARP for it", probe.macs.join(" and "))))
}

/// A station that is none of our interfaces answers ARP for an address of ours: answers to us go now here, now there.
fn own_elsewhere(ev: &Evidence<'_>) -> Option<(ObservationId, String, String)> {
    let own = |mac: &str| ev.all::<Link>().any(|(_, link)| link.mac.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(mac)));
    let another = |probe: &ArpProbe| probe.macs.iter().find(|mac| !own(mac)).cloned();
    let (id, probe) = ev.first::<ArpProbe>(|probe| ev.is_self(probe.address) && another(probe).is_some())?;
    Some((id, probe.address.to_string(), format!("it is ours, and {} answers ARP for it too", another(probe)?)))
}

/// One change is a failover; the entry going back is two stations.
fn by_entry(ev: &Evidence<'_>) -> Option<(ObservationId, String, String)> {
    // Two interfaces of one host on one segment both answer for each of its addresses (arp_ignore 0).
    let one_host = |address| ev.first::<ArpProbe>(|probe| probe.address == address && probe.one_host == Some(true)).is_some();
    let (id, neighbor) = ev.first::<Neighbor>(|neighbor| {
        neighbor.macs_seen.len() > 1
            && (neighbor.mac_before.is_none() || neighbor.mac_after == neighbor.mac_before)
            && !one_host(neighbor.address)
    })?;
    Some((id, neighbor.address.to_string(), format!("its neighbour entry alternates between {}", neighbor.macs_seen.join(" and "))))
}

fn own_address(ev: &Evidence<'_>) -> Option<(ObservationId, String, String)> {
    let failed = |link: &Link| link.addresses.iter().find(|address| address.ends_with(" dadfailed")).cloned();
    let (id, link) = ev.first::<Link>(|link| link.on_path && failed(link).is_some())?;
    let address = failed(link)?;
    Some((id, address.split(['/', ' ']).next().unwrap_or_default().to_owned(), "our own duplicate address detection failed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, connected, route_on_link, route_via};
    use crate::observation::RecordType;
    use crate::testkit::{claims, exchange, found, query, recording, unanswered};

    #[test]
    fn two_macs_in_one_answer_are_two_stations() {
        let check = |macs: &[&str], one_host, expect| {
            let macs = macs.iter().map(|mac| (*mac).to_owned()).collect();
            let arp =
                ArpProbe { address: "10.2.0.10".parse().expect("ip"), iface: "eth0".to_owned(), sent: 1, macs, entry_mac: None, one_host };
            let seen = vec![route_on_link("10.2.0.10"), connect("10.2.0.10:80", Role::Target, connected()), Seen::ArpProbe(arp)];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        const TWO: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
        check(&TWO, None, Some((0.96, false)));
        check(&TWO, Some(false), Some((0.96, false)));
        check(&TWO, Some(true), None);
        check(&["02:00:00:00:00:01"], None, None);
    }

    #[test]
    fn another_station_that_answers_for_our_own_address_is_a_duplicate() {
        use crate::causes::tests_support::own_link;
        let check = |address: &str, mac: &str, expect| {
            let Seen::Link(link) = own_link("10.1.0.2") else { panic!("a link") };
            let ours = Seen::Link(crate::observation::Link { mac: Some("02:00:00:00:00:aa".to_owned()), ..link });
            let arp = ArpProbe {
                address: address.parse().expect("ip"),
                iface: "eth0".to_owned(),
                sent: 1,
                macs: vec![mac.to_owned()],
                entry_mac: None,
                one_host: None,
            };
            let seen = vec![ours, route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, connected()), Seen::ArpProbe(arp)];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect, "{address} {mac}");
        };
        check("10.1.0.2", "02:00:00:00:00:01", Some((0.96, false)));
        // Another interface of our own on the same segment, and the gateway's own answer.
        check("10.1.0.2", "02:00:00:00:00:AA", None);
        check("10.1.0.1", "02:00:00:00:00:01", None);
    }

    fn two_macs(address: &str) -> Seen {
        let macs = ["02:00:00:00:00:01", "02:00:00:00:00:02"].map(str::to_owned).to_vec();
        Seen::ArpProbe(ArpProbe {
            address: address.parse().expect("ip"),
            iface: "eth0".to_owned(),
            sent: 1,
            macs,
            entry_mac: None,
            one_host: None,
        })
    }

    #[test]
    fn a_connection_that_dies_under_way_between_two_gateways_is_theirs() {
        let check = |unacked, expect| {
            let outcome = HttpOutcome::Silent { waited_ms: 9_000.0, received_bytes: 0 };
            let tcp = Some(TcpHealth { unacked, backoff: unacked * 5, ..TcpHealth::default() });
            let stalled = Seen::HttpExchange(HttpExchange { tcp, ..exchange("default", outcome) });
            let seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, connected()), stalled, two_macs("10.1.0.1")];
            assert_eq!(claims(&CAUSE, &recording("http://10.2.0.10/", seen)), expect);
        };
        check(1, Some((0.95, true)));
        // What the peer acknowledged has arrived: one host may have two interfaces on the segment.
        check(0, Some((0.96, false)));
    }

    #[test]
    fn answers_between_losses_do_not_clear_two_gateways() {
        let seen = vec![
            Seen::DnsQuery(query("10.0.0.53:53", RecordType::A, unanswered())),
            Seen::DnsQuery(query("10.0.0.53:53", RecordType::Aaaa, found(&[]))),
            two_macs("10.1.0.1"),
        ];
        assert_eq!(claims(&CAUSE, &recording("http://shop.test/", seen)), Some((0.95, true)));
    }

    #[test]
    fn a_gateway_that_refuses_for_others_is_a_gateway() {
        use crate::observation::{Hop, HopAnswer, HopSaid, IcmpError, NeighborState, Walk, WalkProtocol};
        let refused = |from: &str| {
            let from = from.parse().expect("ip");
            let said = HopSaid::Icmp(IcmpError { icmp_type: 3, code: 0, from, mtu: None });
            let hops = vec![Hop { ttl: 1, sent: 1, answers: vec![HopAnswer { from, said, rtt_ms: 1.0 }] }];
            let to = "10.2.0.11:33434".parse().expect("addr");
            Seen::Walk(Walk { to, role: Role::Control, protocol: WalkProtocol::Udp, hops, reached_ttl: None })
        };
        let check = |walk: Option<Seen>, expect| {
            let entry = Neighbor {
                address: "10.1.0.1".parse().expect("ip"),
                role: Role::Target,
                toward: Some("10.2.0.10".parse().expect("ip")),
                iface: "eth0".to_owned(),
                before: NeighborState::None,
                after: NeighborState::Reachable,
                mac_before: None,
                mac_after: Some("02:00:00:00:00:01".to_owned()),
                macs_seen: vec!["02:00:00:00:00:01".to_owned()],
            };
            let link = crate::causes::tests_support::own_link("10.1.0.2");
            let silent = connect("10.2.0.10:80", Role::Target, crate::causes::tests_support::silent());
            let seen = vec![link, route_via("10.2.0.10"), silent, Seen::Neighbor(entry)];
            let seen = [seen, walk.into_iter().collect()].concat();
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(None, Some((0.4, true)));
        check(Some(refused("10.1.0.1")), None);
    }
}
