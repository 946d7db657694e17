//! Two stations answer for one address.

use crate::causes::peer::Refusal;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{ArpProbe, Link, Neighbor};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l2.duplicate-address`
pub(super) static CAUSE: Cause = Cause {
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
    let Some((id, place, words)) = by_arp(ev).or_else(|| by_entry(ev)).or_else(|| own_address(ev)) else { return wrong_gateway(ev) };
    let summary = format!("Two stations claim the address {place}: {words}.");
    let claim = match ev.failure() {
        Some(failure) => Claim::proven(0.95, Where::Path, place, summary).citing([failure.id, id]),
        None => Claim::degrades(0.96, Where::Path, place, summary).citing([id]),
    };
    Some(claim)
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
    let failure = ev.failure().filter(|failure| failure.silent() && failure.ip.is_ipv4())?;
    let gateway = ev.gateway(failure.ip)?;
    let asked = ev.first::<ArpProbe>(|probe| probe.address == gateway).is_some();
    if asked || ev.last_router(failure.ip).is_some() || ev.host_answers(failure.ip).is_some() {
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

fn by_arp(ev: &Evidence<'_>) -> Option<(ObservationId, String, String)> {
    let (id, probe) = ev.first::<ArpProbe>(|probe| probe.macs.len() > 1)?;
    Some((id, probe.address.to_string(), format!("{} answer ARP for it", probe.macs.join(" and "))))
}

/// One change is a failover; the entry going back is two stations.
fn by_entry(ev: &Evidence<'_>) -> Option<(ObservationId, String, String)> {
    let (id, neighbor) = ev.first::<Neighbor>(|neighbor| {
        neighbor.macs_seen.len() > 1 && (neighbor.mac_before.is_none() || neighbor.mac_after == neighbor.mac_before)
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
    use crate::causes::tests_support::{connect, connected, route_on_link};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn two_macs_in_one_answer_are_two_stations() {
        let check = |macs: &[&str], expect| {
            let macs = macs.iter().map(|mac| (*mac).to_owned()).collect();
            let arp = ArpProbe { address: "10.2.0.10".parse().expect("ip"), iface: "eth0".to_owned(), sent: 1, macs, entry_mac: None };
            let seen = vec![route_on_link("10.2.0.10"), connect("10.2.0.10:80", Role::Target, connected()), Seen::ArpProbe(arp)];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
        };
        check(&["02:00:00:00:00:01", "02:00:00:00:00:02"], Some((0.96, false)));
        check(&["02:00:00:00:00:01"], None);
    }
}
