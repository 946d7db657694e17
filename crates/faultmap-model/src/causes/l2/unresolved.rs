//! The next hop does not answer ARP or neighbour solicitations: the gateway, or an on-link destination itself.

use crate::causes::{Cause, Claim, Tool};
use crate::evidence::{Failure, How};
use crate::observation::{ArpProbe, IcmpMeaning, Neighbor, NeighborState};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l2.gateway-unresolved`
pub(super) static GATEWAY: Cause = Cause {
    id: "l2.gateway-unresolved",
    layer: Layer::L2,
    title: "the gateway does not answer ARP",
    what: "The next-hop router does not answer ARP requests (IPv6: neighbour solicitations), so that no frame can be addressed to it. It is off, on \
           another VLAN, its address is wrong in our route, or a switch filters ARP.",
    shows: "The neighbour entry of the gateway goes from INCOMPLETE to FAILED; after about three seconds our own kernel reports \"host unreachable\" from our own address.",
    confirm: &[
        Tool {
            run: "ip neigh show {gateway}; arping -c 3 -I {iface} {gateway}",
            on: "here",
            why: "FAILED and no ARP answer: the gateway is not on this segment",
        },
        Tool { run: "tcpdump -eni {iface} arp", on: "here", why: "requests without replies, and who else speaks on the segment" },
    ],
    fix: &[
        "Check that {gateway} is up and on this segment (VLAN, cable, bridge).",
        "Correct the gateway address: ip route replace default via ADDRESS dev {iface}.",
    ],
    claim: |ev| claim(ev, true),
};

/// `l2.neighbor-unresolved`
pub(super) static NEIGHBOR: Cause = Cause {
    id: "l2.neighbor-unresolved",
    layer: Layer::L2,
    title: "the on-link destination does not answer ARP",
    what: "The destination is on our own segment, by its address, and does not answer ARP requests (IPv6: neighbour solicitations). It is off, has \
           another address, sits on another VLAN, or a too wide netmask makes us look for it here.",
    shows: "The neighbour entry of the destination goes from INCOMPLETE to FAILED; after about three seconds our own kernel reports \"host unreachable\".",
    confirm: &[
        Tool {
            run: "ip neigh show {ip}; arping -c 3 -I {iface} {ip}",
            on: "here",
            why: "FAILED and no ARP answer: nobody on this segment has the address",
        },
        Tool { run: "ip -br addr", on: "{ip}", why: "the host's address, netmask and VLAN" },
    ],
    fix: &[
        "Power on or attach {ip} to this segment; check its address and VLAN.",
        "If {ip} is not on this segment, narrow the netmask here so that it is routed.",
    ],
    claim: |ev| claim(ev, false),
};

/// Two of the three solicitations, a second apart (net.ipv4.neigh.default.mcast_solicit), went unanswered.
const SOLICITED_MS: f64 = 2_000.0;

fn claim(ev: &Evidence<'_>, gateway: bool) -> Option<Claim> {
    let cause = if gateway { &GATEWAY } else { &NEIGHBOR };
    if let Some(told) = crate::causes::peer::told(ev, cause.id) {
        return told;
    }
    let failure = ev.failure()?;
    let reported = failure.icmp().is_some_and(|icmp| icmp.meaning() == IcmpMeaning::HostUnreachable && ev.is_self(icmp.from));
    if !(reported || failure.silent() || failure.errno() == Some("EHOSTUNREACH")) || ev.is_local(failure.ip) {
        return None;
    }
    let hop = ev.gateway(failure.ip);
    if hop.is_some() != gateway || ev.host_answers(failure.ip).is_some() || ev.last_router(failure.ip).is_some() {
        return None;
    }
    let (id, neighbor) = unresolved(ev, &failure)?;
    if answered_arp(ev, neighbor) || (neighbor.mac_before.is_some() && !reported) {
        return None;
    }
    let who = if gateway { "The gateway" } else { "The host" };
    let how = if neighbor.address.is_ipv4() { "ARP" } else { "neighbour solicitations" };
    let beyond = if gateway { format!(", so {} cannot be reached", failure.ip) } else { String::new() };
    let summary = format!("{who} {} does not answer {how} on {}{beyond}.", neighbor.address, neighbor.iface);
    let confidence = if reported { 0.97 } else { 0.93 };
    Some(Claim::proven(confidence, Where::Local, format!("{} on {}", neighbor.address, neighbor.iface), summary).citing([failure.id, id]))
}

fn unresolved<'a>(ev: &Evidence<'a>, failure: &Failure<'_>) -> Option<(ObservationId, &'a Neighbor)> {
    let (id, neighbor) = ev.next_hop_neighbor(failure.ip)?;
    // Solicitations go out for three seconds; an entry that is incomplete before that says nothing yet.
    let watched_ms = ev.get(id).map_or(0.0, |watched| watched.took_ms);
    let tried_long = match failure.how {
        How::Silent { waited_ms } => waited_ms.max(watched_ms) >= SOLICITED_MS,
        _ => true,
    };
    let dead = neighbor.after == NeighborState::Failed || (neighbor.after == NeighborState::Incomplete && tried_long);
    dead.then_some((id, neighbor))
}

/// Somebody answers our own request: the entry failed for another reason.
fn answered_arp(ev: &Evidence<'_>, neighbor: &Neighbor) -> bool {
    ev.first::<ArpProbe>(|probe| probe.address == neighbor.address && !probe.macs.is_empty()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, icmp_from, neighbor, own_link, route_on_link, route_via, silent};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    fn check(cause: &Cause, seen: Vec<Seen>, expect: Option<(f64, bool)>) {
        assert_eq!(claims(cause, &recording("tcp://10.2.0.10:80", seen)), expect);
    }

    #[test]
    fn a_failed_entry_of_the_gateway_names_the_gateway() {
        let dead = || neighbor("10.1.0.1", Role::Gateway, NeighborState::None, NeighborState::Failed);
        let attempt = || connect("10.2.0.10:80", Role::Target, icmp_from("10.1.0.2", 3, 1));
        let seen = vec![own_link("10.1.0.2"), route_via("10.2.0.10"), attempt(), dead()];
        check(&GATEWAY, seen.clone(), Some((0.97, true)));
        check(&NEIGHBOR, seen, None);
    }

    #[test]
    fn a_failed_entry_of_the_destination_names_the_destination() {
        let dead = neighbor("10.2.0.10", Role::Target, NeighborState::None, NeighborState::Failed);
        let seen = vec![own_link("10.2.0.2"), route_on_link("10.2.0.10"), connect("10.2.0.10:80", Role::Target, silent()), dead];
        check(&NEIGHBOR, seen.clone(), Some((0.93, true)));
        check(&GATEWAY, seen, None);
    }

    #[test]
    fn a_reachable_entry_is_no_fault() {
        let alive = neighbor("10.1.0.1", Role::Gateway, NeighborState::None, NeighborState::Reachable);
        check(&GATEWAY, vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, silent()), alive], None);
    }
}
