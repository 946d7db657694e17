//! The neighbour entry points at the wrong MAC.

use crate::causes::{Cause, Claim, Tool};
use crate::evidence::Failure;
use crate::observation::{ArpProbe, ConnectOutcome, Neighbor, NeighborState};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l2.stale-neighbor`
pub(super) static CAUSE: Cause = Cause {
    id: "l2.stale-neighbor",
    layer: Layer::L2,
    title: "the neighbour entry points at the wrong MAC",
    what: "Frames go to a MAC address that no longer owns the IP address: a virtual IP moved to another host and its gratuitous ARP was lost or ignored, \
           a network card was replaced, or somebody wrote a permanent entry.",
    shows: "The entry exists (REACHABLE, STALE or PERMANENT) and traffic through it is unanswered; a fresh ARP request is answered with another MAC, or \
            the kernel's own probes of the old MAC fail and another MAC takes over.",
    confirm: &[Tool {
        run: "ip neigh show; arping -c 2 -I {iface} {ip}",
        on: "here, or the last router",
        why: "the MAC of the answer against the MAC of the entry",
    }],
    fix: &[
        "Delete the entry: ip neigh del ADDRESS dev {iface} (ip neigh flush for all).",
        "Let the new owner announce itself: arping -U -c 3 -I IFACE ADDRESS (keepalived: vrrp_garp_master_repeat); set net.ipv4.conf.all.arp_accept=1 where gratuitous ARP is ignored.",
        "Remove permanent entries from the configuration.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(told) = crate::causes::peer::told(ev, CAUSE.id) {
        return told;
    }
    let Some(failure) = ev.failure() else { return corrected(ev) };
    if ev.gateway(failure.ip).is_some() && failure.silent() && ev.last_router(failure.ip).is_some() {
        return at_last_router(ev, &failure);
    }
    let reported = failure.icmp().is_some_and(|icmp| ev.is_self(icmp.from));
    if !(failure.silent() || reported) || ev.host_answers(failure.ip).is_some() || ev.last_router(failure.ip).is_some() {
        return None;
    }
    let (id, neighbor) = ev.next_hop_neighbor(failure.ip)?;
    by_fresh_arp(ev, &failure, id, neighbor)
        .or_else(|| by_kernel_probes(&failure, id, neighbor))
        .or_else(|| by_age(ev, &failure, id, neighbor))
}

fn by_fresh_arp(ev: &Evidence<'_>, failure: &Failure<'_>, id: ObservationId, neighbor: &Neighbor) -> Option<Claim> {
    let entry = neighbor.mac_before.as_ref().or(neighbor.mac_after.as_ref())?;
    let (arp_id, probe) = ev.first::<ArpProbe>(|probe| probe.address == neighbor.address && !probe.macs.is_empty())?;
    if probe.macs.iter().any(|mac| mac.eq_ignore_ascii_case(entry)) {
        return None;
    }
    let summary = format!(
        "The neighbour entry of {} says {entry}, but {} answers ARP for it: the entry is wrong.",
        neighbor.address,
        probe.macs.join(", ")
    );
    Some(proven(0.96, neighbor, summary).citing([failure.id, id, arp_id]))
}

/// The connect hung until another MAC took the entry over: our own ARP request made the kernel learn it, or its probes of the old one failed.
fn corrected(ev: &Evidence<'_>) -> Option<Claim> {
    let main = ev.main_address()?;
    let hung = |outcome: &ConnectOutcome| matches!(outcome, ConnectOutcome::Connected { retransmits, .. } if *retransmits > 0);
    let (connect, _) = ev.connected().find(|(_, connect)| connect.to == main && hung(&connect.outcome))?;
    let (id, neighbor) = ev.next_hop_neighbor(main.ip())?;
    let (before, after) = (neighbor.mac_before.as_ref()?, neighbor.mac_after.as_ref()?);
    let disowned = ev.all::<ArpProbe>().filter(|(_, probe)| probe.address == neighbor.address && !probe.macs.is_empty());
    let disowned: Vec<_> = disowned.collect();
    if before == after || disowned.iter().any(|(_, probe)| probe.macs.iter().any(|mac| mac.eq_ignore_ascii_case(before))) {
        return None;
    }
    let summary = format!(
        "The neighbour entry of {} said {before}, and nothing passed until {after} answered for it: the entry was stale.",
        neighbor.address
    );
    let claim = proven(0.93, neighbor, summary).citing([connect, id]).citing(disowned.iter().map(|(id, _)| *id));
    Some(claim.despite_answers())
}

/// The last router goes to look for a neighbouring address and says so; for the target it has an entry, and nobody answers behind it.
fn at_last_router(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Claim> {
    let road = crate::causes::l3::road_is_good(ev)?;
    let (_, router) = ev.last_router(failure.ip)?;
    let summary = format!("{router} believes to know the MAC of {}, and nothing answers there: its entry may be stale.", failure.ip);
    let claim = Claim::likely(0.25, Where::Path, router.to_string(), summary).citing([failure.id, road]);
    let run = format!("ip neigh show {0}; ip neigh del {0} dev IFACE", failure.ip);
    Some(claim.decided_by(
        run,
        router.to_string(),
        "a MAC that is not the host's: the entry is stale (after a failover, a lost gratuitous ARP)",
    ))
}

/// The kernel gave the old MAC up, and another answered.
fn by_kernel_probes(failure: &Failure<'_>, id: ObservationId, neighbor: &Neighbor) -> Option<Claim> {
    let before = neighbor.mac_before.as_ref()?;
    let other = neighbor.macs_seen.iter().chain(&neighbor.mac_after).find(|mac| *mac != before)?;
    let summary =
        format!("The neighbour entry of {} said {before}, and now {other} answers for it: the entry was stale.", neighbor.address);
    Some(proven(0.9, neighbor, summary).citing([failure.id, id]))
}

/// The entry is older than this check, or written by hand, which nobody ever verifies. Root would have asked by ARP.
fn by_age(ev: &Evidence<'_>, failure: &Failure<'_>, id: ObservationId, neighbor: &Neighbor) -> Option<Claim> {
    // Whoever answers at the gateway's own address is the gateway.
    if neighbor.address != failure.ip && ev.host_answers(neighbor.address).is_some() {
        return None;
    }
    let asked = ev.first::<ArpProbe>(|probe| probe.address == neighbor.address);
    match (neighbor.after, asked) {
        (NeighborState::Permanent, None) => {
            let summary = format!(
                "Nothing passes {}, whose neighbour entry is written by hand (PERMANENT) and never verified: its MAC is probably wrong.",
                neighbor.address
            );
            let claim = Claim::likely(0.85, Where::Local, neighbor.address.to_string(), summary).citing([failure.id, id]);
            Some(claim.decided_by(
                format!("sudo arping -c 2 -I {} {}", neighbor.iface, neighbor.address),
                "here",
                "another MAC in the answer proves it",
            ))
        }
        (NeighborState::Reachable | NeighborState::Stale | NeighborState::Delay | NeighborState::Probe, None)
            if neighbor.mac_before.is_some() && !confirmed_meanwhile(neighbor) =>
        {
            let summary =
                format!("Nothing passes {}, whose neighbour entry is older than this check: its MAC may be stale.", neighbor.address);
            let mute = crate::causes::l3::gateway_is_mute(ev, failure.ip);
            let confidence = if mute.is_some() { 0.4 } else { 0.3 };
            let claim = Claim::likely(confidence, Where::Local, neighbor.address.to_string(), summary).citing([failure.id, id]);
            Some(claim.decided_by(
                format!("sudo arping -c 2 -I {} {}", neighbor.iface, neighbor.address),
                "here",
                "another MAC in the answer proves it",
            ))
        }
        _ => None,
    }
}

/// The kernel doubted the entry, asked the station that it names, and was answered for this address (RFC 4861 7.3.3; IPv4 the same).
fn confirmed_meanwhile(neighbor: &Neighbor) -> bool {
    let doubted = matches!(neighbor.before, NeighborState::Stale | NeighborState::Delay | NeighborState::Probe);
    doubted && neighbor.after == NeighborState::Reachable && neighbor.mac_before == neighbor.mac_after
}

fn proven(confidence: f64, neighbor: &Neighbor, summary: String) -> Claim {
    Claim::proven(confidence, Where::Local, format!("{} on {}", neighbor.address, neighbor.iface), summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, neighbor, route_on_link, silent};
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    fn entry(state: NeighborState, mac: &str) -> Seen {
        let Seen::Neighbor(entry) = neighbor("10.2.0.10", Role::Target, state, state) else { panic!("a neighbour") };
        Seen::Neighbor(Neighbor {
            mac_before: Some(mac.to_owned()),
            mac_after: Some(mac.to_owned()),
            macs_seen: vec![mac.to_owned()],
            ..entry
        })
    }

    fn arp(macs: &[&str]) -> Seen {
        let macs = macs.iter().map(|mac| (*mac).to_owned()).collect();
        Seen::ArpProbe(ArpProbe {
            address: "10.2.0.10".parse().expect("ip"),
            iface: "eth0".to_owned(),
            sent: 2,
            macs,
            entry_mac: None,
            one_host: None,
        })
    }

    fn check(seen: Vec<Seen>, expect: Option<(f64, bool)>) {
        let base = vec![route_on_link("10.2.0.10"), connect("10.2.0.10:80", Role::Target, silent())];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", [base, seen].concat())), expect);
    }

    #[test]
    fn another_mac_in_a_fresh_answer_proves_a_stale_entry() {
        check(vec![entry(NeighborState::Reachable, "02:00:00:00:00:01"), arp(&["02:00:00:00:00:02"])], Some((0.96, true)));
        check(vec![entry(NeighborState::Reachable, "02:00:00:00:00:01"), arp(&["02:00:00:00:00:01"])], None);
    }

    #[test]
    fn a_permanent_entry_is_suspect_when_nothing_passes() {
        check(vec![entry(NeighborState::Permanent, "02:00:00:00:00:01")], Some((0.85, true)));
    }

    #[test]
    fn a_connect_that_hung_until_the_entry_changed_met_a_stale_entry() {
        let hung = |retransmits| {
            connect("10.2.0.10:80", Role::Target, ConnectOutcome::Connected { rtt_ms: 1.0, retransmits, mss: 1448, pmtu: 1500 })
        };
        let Seen::Neighbor(entry) = entry(NeighborState::Reachable, "02:00:00:00:00:01") else { panic!("a neighbour") };
        let moved = Seen::Neighbor(Neighbor { mac_after: Some("02:00:00:00:00:02".to_owned()), ..entry.clone() });
        let check = |seen: Vec<Seen>, expect| {
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", [vec![route_on_link("10.2.0.10")], seen].concat())), expect);
        };
        check(vec![hung(1), moved.clone(), arp(&["02:00:00:00:00:02"])], Some((0.93, true)));
        check(vec![hung(0), moved.clone(), arp(&["02:00:00:00:00:02"])], None);
        check(vec![hung(1), Seen::Neighbor(entry), arp(&["02:00:00:00:00:01"])], None);
        // Both answer: two stations, not a stale entry.
        check(vec![hung(1), moved, arp(&["02:00:00:00:00:02", "02:00:00:00:00:01"])], None);
    }
}
