//! This host's own packet filter drops or rejects, outgoing or incoming.

use super::firewall_reject::reset_at_first_hop;
use crate::causes::{Cause, Claim, Tool};
use crate::evidence::{Failure, How, Protocol};
use crate::observation::{Counters, IngressGap, LocalDrops, Neighbor, NeighborState, Role, UdpOutcome, UdpProbe, Walk};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::IpAddr;

/// `l4.local-firewall`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.local-firewall",
    layer: Layer::L4,
    title: "this host's own firewall drops or rejects",
    what: "The packet filter of the host that asks stops the connection: an OUTPUT rule drops or rejects the packet before it leaves, or an INPUT \
           rule drops the answer when it comes back. Container and sandbox policies act here too.",
    shows: "EPERM from the kernel; an ICMP error from our own address; a SYN with TTL 1 that not even the first router sees while one to another \
            port is answered; retransmissions that fail locally (TCPRetransFail); answers that reach our IP layer but are never delivered \
            (InReceives rises, InDelivers does not); the kernel's own word for each drop (NETFILTER_DROP).",
    confirm: &[
        Tool { run: "nft list ruleset; iptables-save -c", on: "here", why: "shows the rule and its counter" },
        Tool {
            run: "nstat -az TcpExtTCPRetransFail IpInReceives IpInDelivers",
            on: "here",
            why: "rises with each attempt when the drop is local",
        },
    ],
    fix: &[
        "Allow {port} toward {ip} (OUTPUT) and the answers (INPUT, ct state established) in this host's filter.",
        "Check the sandbox's egress policy: container network policy, systemd IPAddressDeny, cgroup BPF.",
    ],
    claim: |ev| claim(ev).or_else(|| super::quic::local(ev)),
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure()?;
    let (confidence, ids, how) = refused(ev, &failure)
        .or_else(|| dropped_by_name(ev, &failure))
        .or_else(|| dropped_outgoing(ev, &failure))
        .or_else(|| dropped_incoming(ev, &failure))?;
    let summary = format!("This host's own firewall stops the connection to {}: {how}.", failure.place());
    Some(Claim::proven(confidence, Where::Local, "this host's packet filter", summary).citing([failure.id]).citing(ids))
}

type Sign = (f64, Vec<ObservationId>, String);

/// The kernel says so: EPERM, or an ICMP error or RST of its own making.
fn refused(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Sign> {
    use crate::observation::IcmpMeaning::{HostUnreachable, NoRoute, PortUnreachable, Prohibited, ProtocolUnreachable};
    let ours = |icmp: crate::observation::IcmpError| ev.is_self(icmp.from) && !ev.is_local(failure.ip);
    match failure.how {
        How::Errno("EPERM") => Some((0.96, vec![], "the kernel refuses to send it (EPERM)".to_owned())),
        How::Icmp(icmp) if ours(icmp) && matches!(icmp.meaning(), PortUnreachable | Prohibited | ProtocolUnreachable) => {
            Some((0.95, vec![], own_word(icmp)))
        }
        // The kernel itself says so only of a next hop that it cannot resolve.
        How::Icmp(icmp) if ours(icmp) && matches!(icmp.meaning(), HostUnreachable | NoRoute) => {
            let (neighbor, _) = ev.next_hop_neighbor(failure.ip).filter(|(_, neighbor)| resolved(neighbor))?;
            Some((0.94, vec![neighbor], own_word(icmp)))
        }
        How::Reset if reset_at_first_hop(ev, failure) => {
            Some((0.88, vec![], "a RST answers even a packet that cannot leave this host (TTL 1)".to_owned()))
        }
        _ => None,
    }
}

fn own_word(icmp: crate::observation::IcmpError) -> String {
    format!("it answers with ICMP {}/{} from its own address {}", icmp.icmp_type, icmp.code, icmp.from)
}

/// Confirmed now, or believed for the whole check.
fn resolved(neighbor: &Neighbor) -> bool {
    use NeighborState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
    match neighbor.after {
        Reachable | Permanent | Noarp => true,
        Stale | Delay | Probe => neighbor.mac_before.is_none() || neighbor.mac_before == neighbor.mac_after,
        _ => false,
    }
}

/// The kernel gives the filter as the reason for each packet that it dropped.
fn dropped_by_name(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Sign> {
    if !failure.silent() {
        return None;
    }
    let filtered = |drops: &LocalDrops| FILTERS.iter().map(|reason| (*reason, drops.of(reason))).find(|(_, (out, into))| out + into > 0);
    let (id, drops) = ev.first::<LocalDrops>(|drops| drops.to.ip() == failure.ip && filtered(drops).is_some())?;
    let (reason, (out, into)) = filtered(drops)?;
    let words = match (out, into) {
        (out, 0) => format!("the kernel drops the packets to it for a rule ({reason}, {out} of them)"),
        (0, into) => format!("answers arrive and the kernel drops them for a rule ({reason}, {into} of them)"),
        (out, into) => format!("the kernel drops packets for a rule ({reason}, {out} on their way out, {into} on their way in)"),
    };
    Some((0.98, vec![id], words))
}

/// Drop reasons that are a rule somebody made on this host for packets of its own.
const FILTERS: [&str; 3] = ["NETFILTER_DROP", "BPF_CGROUP_EGRESS", "TC_EGRESS"];

/// Nothing leaves.
fn dropped_outgoing(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Sign> {
    if !failure.silent() {
        return None;
    }
    let not_sent = ev.first::<Counters>(|counters| counters.rose.contains_key("TcpExt.TCPRetransFail"));
    let link_well = ev.link_toward(failure.ip).is_none_or(|(_, link)| link.up && link.carrier != Some(false));
    let not_sent = not_sent.filter(|_| failure.protocol == Protocol::Tcp && link_well && next_hop_well(ev, failure.ip));
    let eperm = ev.first::<UdpProbe>(|udp| {
        udp.to.ip() == failure.ip
            && udp.role == Role::Control
            && matches!(&udp.outcome, UdpOutcome::Failed { errno, icmp: None } if errno == "EPERM")
    });
    match (not_sent, first_hop_misses_the_port(ev, failure.ip), eperm) {
        (Some((counter, _)), Some(walks), _) => Some((
            0.97,
            [vec![counter], walks].concat(),
            "its SYNs never reach the first router, and retransmissions fail locally".to_owned(),
        )),
        (Some((counter, _)), None, _) => Some((0.9, vec![counter], "retransmissions fail locally (TCPRetransFail)".to_owned())),
        (None, Some(walks), _) => Some((0.85, walks, "its SYNs never reach the first router, while those to another port do".to_owned())),
        (None, None, Some((id, _))) => Some((0.9, vec![id], "the kernel refuses to send a datagram to the same host (EPERM)".to_owned())),
        (None, None, None) => None,
    }
}

fn next_hop_well(ev: &Evidence<'_>, ip: IpAddr) -> bool {
    use crate::observation::NeighborState::{Failed, Incomplete};
    ev.next_hop_neighbor(ip).is_none_or(|(_, neighbor)| !matches!(neighbor.after, Failed | Incomplete))
}

/// The first router answers the control's walk at TTL 1, and never the failing port's.
fn first_hop_misses_the_port(ev: &Evidence<'_>, ip: IpAddr) -> Option<Vec<ObservationId>> {
    ev.gateway(ip)?;
    let first = |walk: &Walk| walk.hops.iter().find(|hop| hop.ttl == 1).map(|hop| (hop.silent(), hop.sent));
    let (failed, walk) = ev.failed_walk(ip)?;
    let (silent, sent) = first(walk)?;
    let (control, _) = ev.control_walks(ip).find(|(_, walk)| first(walk).is_some_and(|(silent, _)| !silent))?;
    (silent && sent >= 2 && walk.last_answer_ttl() == 0).then(|| vec![failed, control])
}

/// Answers come in and are not delivered.
fn dropped_incoming(ev: &Evidence<'_>, failure: &Failure<'_>) -> Option<Sign> {
    if !failure.silent() {
        return None;
    }
    let (id, gap) = ev.first::<IngressGap>(|gap| gap.to.ip() == failure.ip)?;
    let provoked = u64::from(gap.provoked);
    let undelivered = gap.lost_with.saturating_sub(gap.lost_idle);
    let on_wire = gap.answers_on_wire.unwrap_or(0);
    if gap.rp_filtered > 0 {
        return None;
    }
    if on_wire > 0 {
        return Some((0.96, vec![id], format!("{on_wire} answers to {provoked} connects arrive on the wire and never reach the socket")));
    }
    let words = format!("{undelivered} answers to {provoked} connects reached its IP layer and were not delivered");
    (undelivered.saturating_mul(2) >= provoked).then(|| (0.9, vec![id], words))
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, connected, errno, icmp_from, own_link, route_via, silent};
    use super::*;
    use crate::Seen;
    use crate::observation::LocalDrop;
    use crate::testkit::{claims, recording};

    fn check(seen: Vec<Seen>, expect: Option<(f64, bool)>) {
        let base = vec![own_link("10.1.0.2"), route_via("10.2.0.10")];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", [base, seen].concat())), expect);
    }

    fn gap(with: u64, idle: u64, rp: u64) -> Seen {
        let to = "10.2.0.10:80".parse().expect("addr");
        Seen::IngressGap(IngressGap { to, provoked: 4, lost_with: with, lost_idle: idle, rp_filtered: rp, answers_on_wire: None })
    }

    #[test]
    fn eperm_is_the_local_filter() {
        check(vec![connect("10.2.0.10:80", Role::Target, errno("EPERM"))], Some((0.96, true)));
    }

    #[test]
    fn an_icmp_error_from_ourselves_is_the_local_filter() {
        check(vec![connect("10.2.0.10:80", Role::Target, icmp_from("10.1.0.2", 3, 3))], Some((0.95, true)));
        check(vec![connect("10.2.0.10:80", Role::Target, icmp_from("10.9.0.2", 3, 3))], None);
    }

    #[test]
    fn failed_retransmissions_are_the_local_filter() {
        let counters = Seen::Counters(Counters { window_ms: 4e3, rose: [("TcpExt.TCPRetransFail".to_owned(), 2)].into(), rp_filter: None });
        check(vec![connect("10.2.0.10:80", Role::Target, silent()), counters], Some((0.9, true)));
    }

    #[test]
    fn undelivered_answers_are_the_local_filter_unless_the_reverse_path_filter_took_them() {
        check(vec![connect("10.2.0.10:80", Role::Target, silent()), gap(4, 0, 0)], Some((0.9, true)));
        check(vec![connect("10.2.0.10:80", Role::Target, silent()), gap(4, 4, 0)], None);
        check(vec![connect("10.2.0.10:80", Role::Target, silent()), gap(4, 0, 4)], None);
        check(vec![connect("10.2.0.10:80", Role::Target, silent()), gap(0, 0, 0)], None);
    }

    #[test]
    fn the_kernels_own_word_for_the_drop_is_the_local_filter() {
        let dropped = |to: &str, reason: &str, incoming| {
            let drop = LocalDrop { reason: reason.to_owned(), incoming, count: 4, location: None };
            Seen::LocalDrops(LocalDrops { to: to.parse().expect("addr"), provoked: 4, window_ms: 220.0, drops: vec![drop] })
        };
        let silence = || connect("10.2.0.10:80", Role::Target, silent());
        check(vec![silence(), dropped("10.2.0.10:80", "NETFILTER_DROP", true)], Some((0.98, true)));
        check(vec![silence(), dropped("10.2.0.10:80", "NETFILTER_DROP", false)], Some((0.98, true)));
        check(vec![silence(), dropped("10.2.0.10:80", "TCP_OLD_ACK", true)], None);
        check(vec![silence(), dropped("10.2.0.99:80", "NETFILTER_DROP", true)], None);
        check(vec![connect("10.2.0.10:80", Role::Target, connected()), dropped("10.2.0.10:80", "NETFILTER_DROP", true)], None);
    }

    #[test]
    fn our_own_host_unreachable_is_the_local_filter_when_the_next_hop_is_known() {
        let gateway = |state| super::super::tests_support::neighbor("10.1.0.1", Role::Gateway, NeighborState::None, state);
        let refused = connect("10.2.0.10:80", Role::Target, icmp_from("10.1.0.2", 3, 1));
        check(vec![refused.clone(), gateway(NeighborState::Reachable)], Some((0.94, true)));
        check(vec![refused, gateway(NeighborState::Failed)], None);
    }
}
