//! What the word of a witness at the other end makes of each cause of a silent connect: proven, excluded, or left as it was.
//!
//! A cause asks here before it weighs what one side can see. One fate, one cause: nothing is proven twice.

use super::Claim;
use crate::Evidence;
use crate::evidence::{Failure, Fate, How, Told};
use crate::observation::{FarNeighbor, NeighborState, PeerReport};
use crate::verdict::Where;
use std::net::SocketAddr;

/// Causes that a fate decides about; the others weigh as without a witness.
const DECIDED: [&str; 10] = [
    "l2.gateway-unresolved",
    "l2.neighbor-unresolved",
    "l2.stale-neighbor",
    "l3.no-return-route",
    "l3.remote-blackhole",
    "l3.rp-filter",
    "l4.accept-queue-full",
    "l4.conntrack-full",
    "l4.port-filtered",
    "l4.syn-backlog-full",
];

/// What the witness makes of this cause: `None` when it leaves it open, `Some(None)` when the cause has nothing more to say.
pub(super) fn told(ev: &Evidence<'_>, id: &str) -> Option<Option<Claim>> {
    let (failure, told, fate) = ev.fate()?;
    if fate == Fate::NeverCame {
        // What never left this host cannot have come.
        if super::l4::stopped_at_home(ev) {
            return None;
        }
        return never_came(ev, &failure, &told, id);
    }
    if id == "l2.stale-neighbor"
        && let Some(claim) = maybe_stale(&failure, &told, &fate)
    {
        return Some(Some(claim));
    }
    let (named, claim) = claim(ev, &failure, &told, &fate)?;
    if named == id {
        return Some(Some(claim));
    }
    // Local causes have proof of their own; the word of another host does not exclude it.
    if !DECIDED.contains(&id) || (ev.failure().is_some_and(|failure| failure.silent()) && is_local_cause(id)) {
        return None;
    }
    let why = format!("the witness at the other end: {}", short(&fate));
    Some(Some(Claim::contradicted(vec![told.id, failure.id], why)))
}

/// These are also about this host: here they keep their own reading.
fn is_local_cause(id: &str) -> bool {
    matches!(id, "l2.gateway-unresolved" | "l2.neighbor-unresolved" | "l2.stale-neighbor" | "l3.rp-filter")
}

/// The packets are lost before the far host: its queues, tables and routes are out of the question.
fn never_came(ev: &Evidence<'_>, failure: &Failure<'_>, told: &Told<'_>, id: &str) -> Option<Option<Claim>> {
    let tapped = told.far().wire.is_some();
    let excluded = match id {
        "l4.accept-queue-full" | "l4.syn-backlog-full" => true,
        // A tap tells for every packet, counters only for those that were knocks.
        "l3.no-return-route" => ev.host_answers(failure.ip).is_none(),
        _ => false,
    };
    if excluded {
        let why = format!("none of {} connects reached the wire of {}, says the witness there", told.knocks(), failure.ip);
        return Some(Some(Claim::contradicted(vec![told.id, failure.id], why)));
    }
    let old_flows = ev.first::<crate::observation::Flows>(|flows| flows.to == Some(failure.ip) && flows.established > flows.stuck);
    let answers = ev.host_answers(failure.ip).filter(|_| id == "l4.port-filtered" && old_flows.is_none())?;
    let at = match ev.last_router(failure.ip) {
        Some((_, router)) => format!("between {router} and {}", failure.ip),
        None => format!("before {}", failure.ip),
    };
    let how = if tapped { "wire" } else { "network stack" };
    let summary = format!(
        "A firewall on the way drops the port: of {} connects to {} none reached the {how} of that host, which answers otherwise.",
        told.knocks(),
        failure.place()
    );
    let confidence = if tapped { 0.97 } else { 0.93 };
    Some(Some(Claim::proven(confidence, Where::Path, at, summary).citing([failure.id, told.id, answers])))
}

/// The cause that a fate names, with its claim.
fn claim(ev: &Evidence<'_>, failure: &Failure<'_>, told: &Told<'_>, fate: &Fate) -> Option<(&'static str, Claim)> {
    match fate {
        Fate::NeverCame => None,
        Fate::AnswerLost { left } => answer_lost(ev, failure, told, *left),
        _ => at_the_door(failure, told, fate)
            .or_else(|| no_way_back(failure, told, fate))
            .map(|(id, claim)| (id, claim.citing([failure.id, told.id]))),
    }
}

/// The far host does not let them in.
fn at_the_door(failure: &Failure<'_>, told: &Told<'_>, fate: &Fate) -> Option<(&'static str, Claim)> {
    let (ip, place, far) = (failure.ip, failure.place(), told.far());
    let (id, confidence, summary) = match fate {
        Fate::ReversePathFiltered => {
            let count = far.rise("TcpExt.IPReversePathFilter");
            let words = format!("the reverse-path filter there drops them ({count} of {} connects)", told.knocks());
            ("l3.rp-filter", 0.96, format!("Our packets reach {ip}, and {words}."))
        }
        Fate::TableFull => {
            let (count, max) = (far.conntrack.count.unwrap_or(0), far.conntrack.max.unwrap_or(0));
            let words = format!("({count} of {max}): it drops new flows");
            ("l4.conntrack-full", 0.97, format!("The connection-tracking table of {ip} is full {words}."))
        }
        Fate::AcceptQueueFull => {
            let queue = far.queue?;
            let program = far.program.as_ref().map_or_else(String::new, |program| {
                let state = if program.stopped() { "is stopped" } else { "does not take them" };
                format!("; the program {} {state}", program.name)
            });
            let words = format!("{} connections wait and {} may", queue.waiting, queue.room);
            ("l4.accept-queue-full", 0.98, format!("The listener at {place} does not accept: its queue is full, {words}{program}."))
        }
        Fate::SynBacklogFull => {
            let dropped = far.rise("TcpExt.ListenDrops").max(far.rise("TcpExt.TCPReqQFullDrop"));
            let words = format!("{} half-open connections, {dropped} SYNs dropped within {:.1} s", far.half_open, far.window_ms / 1e3);
            ("l4.syn-backlog-full", 0.97, format!("The SYN backlog of the listener at {place} is full: {words}."))
        }
        Fate::OwnFilter { outgoing: true } => {
            let words = format!("it answers our SYNs to port {}, and its own packet filter does not let the answers out", failure.port);
            ("l4.port-filtered", 0.95, format!("The firewall of {ip} itself drops the port: {words}."))
        }
        Fate::OwnFilter { outgoing: false } => {
            let words = "our SYNs arrive there, and TCP neither answers nor queues them, nor counts them as dropped";
            ("l4.port-filtered", 0.95, format!("The firewall of {ip} itself drops port {}: {words}.", failure.port))
        }
        _ => return None,
    };
    Some((id, Claim::proven(confidence, Where::Remote, place, summary)))
}

/// The far host's answers do not get away, or are refused on the way.
fn no_way_back(failure: &Failure<'_>, told: &Told<'_>, fate: &Fate) -> Option<(&'static str, Claim)> {
    let ip = failure.ip;
    Some(match fate {
        Fate::NoWayBack => {
            let summary = format!("Our packets reach {ip}, and it has no route back to us: its answers cannot leave.");
            ("l3.no-return-route", Claim::proven(0.97, Where::Remote, format!("routing table of {ip}"), summary))
        }
        Fate::NextHopSilent { hop } => {
            let on_link = told.way_back().is_some_and(|way| way.to == *hop);
            let id = if on_link { "l2.neighbor-unresolved" } else { "l2.gateway-unresolved" };
            let how = if hop.is_ipv4() { "ARP" } else { "neighbour solicitations" };
            let summary = format!(
                "Our packets reach {ip}, but its next hop toward us, {hop}, does not answer {how} there: its answers cannot leave."
            );
            (id, Claim::proven(0.94, Where::Remote, format!("between {ip} and {hop}"), summary))
        }
        Fate::NextHopStale { hop, entry, answers } => {
            let words = format!("its neighbour entry of {hop} says {entry}, and {answers} answers for it");
            let summary = format!("{ip} sends its answers to the wrong station: {words}.");
            ("l2.stale-neighbor", Claim::proven(0.95, Where::Remote, format!("{hop} in the neighbour table of {ip}"), summary))
        }
        Fate::WayBackRefused { by } => {
            let who = by.map_or_else(|| "a router".to_owned(), |by| format!("the router {by}"));
            let at = by.map_or_else(|| format!("on the way back from {ip}"), |by| by.to_string());
            let summary = format!("Our packets reach {ip} and it answers, but {who} tells it that there is no way back to us.");
            ("l3.no-return-route", Claim::proven(0.95, Where::Path, at, summary))
        }
        _ => return None,
    })
}

/// The answers leave the far host, and none comes here: of this port alone, or of all.
fn answer_lost(ev: &Evidence<'_>, failure: &Failure<'_>, told: &Told<'_>, left: Option<u32>) -> Option<(&'static str, Claim)> {
    let ip = failure.ip;
    let count = left.map_or_else(|| "its answers".to_owned(), |left| format!("{left} answers of it"));
    let at = format!("on the way back from {ip}");
    let cited = [failure.id, told.id];
    let unsure = unverified_next_hop(told).is_some();
    if let Some(id) = ev.host_answers(ip) {
        let summary = format!(
            "Our SYNs to {} arrive and {count} leave, yet none comes here while other answers do: a filter on the way back drops them.",
            failure.place()
        );
        return Some(("l4.port-filtered", Claim::proven(0.93, Where::Path, at, summary).citing(cited).citing([id])));
    }
    let summary = format!("Our packets reach {ip} and {count} leave, yet none comes back to us: the way back is broken after {ip}.");
    let confidence = if left.is_some() { 0.93 } else { 0.9 };
    let claim = if unsure { Claim::likely(0.6, Where::Path, at, summary) } else { Claim::proven(confidence, Where::Path, at, summary) };
    Some(("l3.no-return-route", claim.citing(cited)))
}

/// The far host's next hop toward us, if its entry was written by hand: nobody verifies it, and without CAP_NET_RAW there nobody asked.
fn unverified_next_hop<'a>(told: &Told<'a>) -> Option<&'a FarNeighbor> {
    let hop = told.way_back()?.next_hop.as_ref()?;
    (hop.state == NeighborState::Permanent && hop.answers.is_none()).then_some(hop)
}

/// Answers leave toward a MAC that somebody wrote down.
fn maybe_stale(failure: &Failure<'_>, told: &Told<'_>, fate: &Fate) -> Option<Claim> {
    let hop = unverified_next_hop(told).filter(|_| matches!(fate, Fate::AnswerLost { .. }))?;
    let summary = format!(
        "{} answers us over {}, whose neighbour entry there is written by hand and never verified: its MAC may be wrong.",
        failure.ip, hop.address
    );
    let at = format!("{} in the neighbour table of {}", hop.address, failure.ip);
    let claim = Claim::likely(0.6, Where::Remote, at, summary).citing([failure.id, told.id]);
    Some(claim.decided_by(format!("sudo arping -c 2 {}", hop.address), failure.ip.to_string(), "another MAC in the answer proves it"))
}

/// In a few words, for what is ruled out.
fn short(fate: &Fate) -> &'static str {
    match fate {
        Fate::NeverCame => "our packets do not arrive",
        Fate::ReversePathFiltered => "its reverse-path filter drops our packets",
        Fate::TableFull => "its connection table is full",
        Fate::AcceptQueueFull => "its accept queue is full",
        Fate::SynBacklogFull => "its SYN backlog is full",
        Fate::OwnFilter { .. } => "its own packet filter drops our packets",
        Fate::NoWayBack => "it has no route back to us",
        Fate::NextHopSilent { .. } | Fate::NextHopStale { .. } => "its next hop toward us is not reached",
        Fate::WayBackRefused { .. } => "a router refuses its answers",
        Fate::AnswerLost { .. } => "it answers, and the answers are lost",
    }
}

/// The test that only the other end can make, for a claim that one end leaves open.
pub(super) fn asking_there(ev: &Evidence<'_>, claim: Claim, ip: std::net::IpAddr) -> Claim {
    if ev.first::<PeerReport>(|_| true).is_some() {
        return claim;
    }
    let place = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
    claim.decided_by(
        format!("faultmap check {} --peer {place}:7317 --secret-file SECRET", ev.target().input),
        "here, with `faultmap witness` on the target's host",
        "the other end tells whether our packets arrive, and what becomes of the answers",
    )
}

/// Who refused a connect, by the word of a witness.
pub(super) enum Refusal {
    /// Nobody listens on the port there, and its own TCP said so.
    NothingListens,
    /// Somebody listens, on other addresses only.
    ListensElsewhere(Vec<SocketAddr>),
    /// The host sent no reset: somebody before it did.
    Forged,
    /// Somebody listens, and the reset is no word of its TCP: the host's own packet filter rejects.
    OwnFilter,
}

/// Who refused the connect.
pub(super) fn refusal<'a>(ev: &Evidence<'a>) -> Option<(Failure<'a>, Told<'a>, Refusal)> {
    let (failure, told) = ev.peer().filter(|(failure, told)| failure.how == How::Reset && told.knocks() > 0)?;
    let provoked = told.report.provoked.as_ref().filter(|provoked| provoked.failed == provoked.tried)?;
    let far = told.far();
    let forwarded = far.rise("Ip.ForwDatagrams").max(far.rise("Ip6.OutForwDatagrams")) >= u64::from(provoked.tried);
    if far.rose.is_empty() || forwarded {
        return None;
    }
    let counted = far.rise("Tcp.OutRsts");
    let sent = match &far.wire {
        // Behind a translator the resets go to another address than ours.
        Some(wire) if wire.missed > 0 || (wire.syns == 0 && wire.other_syns > 0) => return None,
        Some(wire) => u64::from(wire.resets),
        None => counted,
    };
    let takes = |bound: &SocketAddr| bound.ip() == failure.ip || (bound.ip().is_unspecified() && (bound.is_ipv6() || failure.ip.is_ipv4()));
    let listening = far.bound.iter().any(takes);
    let refusal = match (sent, listening) {
        (0, _) => Refusal::Forged,
        (_, true) if counted == 0 => Refusal::OwnFilter,
        (_, true) => return None,
        (_, false) if far.bound.is_empty() => Refusal::NothingListens,
        (_, false) => Refusal::ListensElsewhere(far.bound.clone()),
    };
    Some((failure, told, refusal))
}

#[cfg(test)]
mod tests {
    use crate::causes::tests_support::{connect, reset, route_via, silent};
    use crate::observation::*;
    use crate::testkit::{claims, recording};
    use crate::{Seen, judge};

    const TO: &str = "10.2.0.10:80";
    const HOP: &str = "10.2.0.1";

    fn counters(rose: &[(&str, u64)]) -> std::collections::BTreeMap<String, u64> {
        rose.iter().map(|(name, rise)| ((*name).to_owned(), *rise)).collect()
    }

    /// A far host that listens, has room and a way back, and on which nothing of ours was seen; `tap`: with CAP_NET_RAW.
    fn far(tap: bool) -> FarSide {
        let route = RouteOutcome::Found {
            iface: "eth0".to_owned(),
            gateway: Some(HOP.parse().expect("ip")),
            source: None,
            local: false,
            learned_mtu: None,
            mtu_expires_s: None,
        };
        let hop = FarNeighbor {
            address: HOP.parse().expect("ip"),
            state: NeighborState::Reachable,
            mac: Some("02:00:00:00:00:01".to_owned()),
            answers: tap.then(|| vec!["02:00:00:00:00:01".to_owned()]),
        };
        FarSide {
            window_ms: 760.0,
            wire: tap.then(FarWire::default),
            rose: counters(&[("Ip.InReceives", 3), ("Tcp.InSegs", 3)]),
            undelivered: Some(0),
            bound: vec![TO.parse().expect("addr")],
            queue: Some(FarQueue { waiting: 0, room: 128, at_end: 0 }),
            ways_back: vec![WayBack { to: "10.1.0.2".parse().expect("ip"), route, rp_filter: Some(0), next_hop: Some(hop), walk: None }],
            ..FarSide::default()
        }
    }

    fn report(far: FarSide, silent: u32, failed: u32) -> Seen {
        let to = TO.parse().expect("addr");
        let provoked = TcpRepeat {
            to,
            tried: silent + failed,
            connected: 0,
            connected_late: 0,
            failed,
            silent,
            waited_ms: 700.0,
            order: String::new(),
            icmp: None,
        };
        let peer = "192.168.254.2:7317".parse().expect("addr");
        Seen::PeerReport(PeerReport { peer, to, provoked: Some(provoked), far: Box::new(far) })
    }

    fn named(seen: Vec<Seen>) -> (crate::Status, String) {
        let verdict = judge::judge(&recording("tcp://10.2.0.10:80", seen));
        (verdict.status, verdict.cause.unwrap_or_default())
    }

    /// A silent connect, other ports answering or not, and what the witness tells of twelve more.
    fn check_silent(control: bool, tap: bool, change: impl Fn(&mut FarSide), cause: &str) {
        let mut told = far(tap);
        change(&mut told);
        let mut seen = vec![route_via("10.2.0.10"), connect(TO, Role::Target, silent())];
        seen.extend(control.then(|| connect("10.2.0.10:22", Role::Control, reset())));
        seen.push(report(told, 12, 0));
        assert_eq!(named(seen), (crate::Status::Fault, cause.to_owned()));
    }

    fn wire(far: &mut FarSide, change: impl Fn(&mut FarWire)) {
        if let Some(wire) = &mut far.wire {
            wire.syns = 12;
            wire.any_in = 12;
            change(wire);
        } else {
            far.rose.insert("Ip.InReceives".to_owned(), 15);
        }
    }

    #[test]
    fn syns_that_never_came_are_dropped_on_the_way() {
        check_silent(true, true, |_| {}, "l4.port-filtered");
        check_silent(true, false, |_| {}, "l4.port-filtered");
    }

    #[test]
    fn a_queue_over_its_limit_is_full_whoever_looks() {
        for tap in [true, false] {
            let full = |far: &mut FarSide| {
                wire(far, |_| {});
                far.queue = Some(FarQueue { waiting: 5, room: 4, at_end: 5 });
            };
            check_silent(true, tap, full, "l4.accept-queue-full");
        }
    }

    #[test]
    fn drops_among_strangers_half_open_connections_are_a_full_backlog() {
        for tap in [true, false] {
            let flooded = |far: &mut FarSide| {
                wire(far, |_| {});
                far.half_open = 7;
                far.rose.insert("TcpExt.ListenDrops".to_owned(), 300);
            };
            check_silent(true, tap, flooded, "l4.syn-backlog-full");
        }
    }

    #[test]
    fn syns_on_the_wire_that_tcp_never_sees_meet_the_hosts_own_firewall() {
        check_silent(true, true, |far| wire(far, |_| {}), "l4.port-filtered");
        let gap = |far: &mut FarSide| {
            wire(far, |_| {});
            far.undelivered = Some(12);
        };
        check_silent(true, false, gap, "l4.port-filtered");
    }

    #[test]
    fn packets_that_are_forwarded_are_no_ones_drop() {
        let mut told = far(true);
        wire(&mut told, |_| {});
        told.rose.insert("Ip.ForwDatagrams".to_owned(), 24);
        let seen = vec![route_via("10.2.0.10"), connect(TO, Role::Target, silent()), report(told, 12, 0)];
        assert_ne!(named(seen).0, crate::Status::Fault);
    }

    #[test]
    fn a_host_without_a_route_cannot_answer() {
        for tap in [true, false] {
            let cut = |far: &mut FarSide| {
                wire(far, |_| {});
                far.ways_back[0].route = RouteOutcome::NoRoute;
                far.rose.insert("Ip.OutNoRoutes".to_owned(), 12);
            };
            check_silent(false, tap, cut, "l3.no-return-route");
        }
    }

    #[test]
    fn a_router_that_refuses_the_answers_is_named() {
        let refused = |far: &mut FarSide| {
            wire(far, |wire| {
                wire.syn_acks = 12;
                wire.errors_in = vec![FarError { icmp_type: 3, code: 0, from: HOP.parse().expect("ip"), count: 12 }];
            });
        };
        check_silent(false, true, refused, "l3.no-return-route");
        let counted = |far: &mut FarSide| {
            wire(far, |_| {});
            far.rose.extend(counters(&[("Icmp.InDestUnreachs", 12), ("TcpExt.ListenDrops", 12)]));
        };
        check_silent(false, false, counted, "l3.no-return-route");
    }

    #[test]
    fn answers_that_leave_and_do_not_come_are_lost_on_the_way_back() {
        let left = |far: &mut FarSide| wire(far, |wire| wire.syn_acks = 12);
        check_silent(false, true, left, "l3.no-return-route");
        check_silent(true, true, left, "l4.port-filtered");
        let half_open = |far: &mut FarSide| {
            wire(far, |_| {});
            far.half_open_ours = 12;
        };
        check_silent(false, false, half_open, "l3.no-return-route");
    }

    #[test]
    fn answers_toward_a_mac_that_nobody_has_are_a_stale_entry_there() {
        let stale = |far: &mut FarSide| {
            wire(far, |wire| wire.syn_acks = 12);
            if let Some(hop) = &mut far.ways_back[0].next_hop {
                hop.mac = Some("02:de:ad:00:00:01".to_owned());
            }
        };
        check_silent(false, true, stale, "l2.stale-neighbor");
    }

    #[test]
    fn a_next_hop_that_does_not_answer_arp_there_is_named() {
        let dead = |far: &mut FarSide| {
            wire(far, |_| {});
            far.half_open_ours = 2;
            if let Some(hop) = &mut far.ways_back[0].next_hop {
                hop.state = NeighborState::Failed;
            }
        };
        check_silent(false, true, dead, "l2.gateway-unresolved");
    }

    #[test]
    fn the_far_reverse_path_filter_and_table_count_their_drops() {
        for tap in [true, false] {
            let filtered = |far: &mut FarSide| {
                wire(far, |_| {});
                far.rose.insert("TcpExt.IPReversePathFilter".to_owned(), 12);
            };
            check_silent(false, tap, filtered, "l3.rp-filter");
            let full = |far: &mut FarSide| {
                wire(far, |_| {});
                far.conntrack = FarTable { count: Some(262_144), max: Some(262_144), drops: Some(12) };
            };
            check_silent(false, tap, full, "l4.conntrack-full");
        }
    }

    #[test]
    fn our_own_firewall_stays_ours_though_the_answers_left() {
        let mut told = far(true);
        wire(&mut told, |wire| wire.syn_acks = 12);
        let gap =
            IngressGap { to: TO.parse().expect("addr"), provoked: 4, lost_with: 4, lost_idle: 0, rp_filtered: 0, answers_on_wire: Some(4) };
        let seen = vec![route_via("10.2.0.10"), connect(TO, Role::Target, silent()), Seen::IngressGap(gap), report(told, 12, 0)];
        assert_eq!(named(seen).1, "l4.local-firewall");
    }

    /// Its own TCP sent the resets.
    fn refused(far: &mut FarSide) {
        far.rose.insert("Tcp.OutRsts".to_owned(), 4);
        if let Some(wire) = &mut far.wire {
            wire.resets = 4;
        }
    }

    #[test]
    fn the_host_tells_what_listens_and_whether_it_refused() {
        let check = |tap: bool, change: fn(&mut FarSide), cause: &str| {
            let mut told = far(tap);
            wire(&mut told, |_| {});
            change(&mut told);
            let seen = vec![route_via("10.2.0.10"), connect(TO, Role::Target, reset()), report(told, 0, 4)];
            assert_eq!(named(seen), (crate::Status::Fault, cause.to_owned()));
        };
        for tap in [true, false] {
            check(tap, |_| {}, "l4.firewall-reject");
            check(
                tap,
                |far| {
                    far.bound.clear();
                    refused(far);
                },
                "l4.port-closed",
            );
            check(
                tap,
                |far| {
                    far.bound = vec!["127.0.0.1:80".parse().expect("addr")];
                    refused(far);
                },
                "l4.port-closed",
            );
        }
        check(
            true,
            |far| {
                if let Some(wire) = &mut far.wire {
                    wire.resets = 4;
                }
            },
            "l4.firewall-reject",
        );
    }

    #[test]
    fn the_sentence_says_where_the_service_listens_instead() {
        let mut told = far(false);
        told.bound = vec!["127.0.0.1:80".parse().expect("addr")];
        told.rose.insert("Tcp.OutRsts".to_owned(), 4);
        let seen = vec![route_via("10.2.0.10"), connect(TO, Role::Target, reset()), report(told, 0, 4)];
        let verdict = judge::judge(&recording("tcp://10.2.0.10:80", seen));
        assert!(verdict.summary.contains("listens on 127.0.0.1:80 only"), "{}", verdict.summary);
    }

    #[test]
    fn a_healthy_target_stays_healthy_whatever_its_witness_says() {
        let mut told = far(true);
        told.queue = Some(FarQueue { waiting: 9, room: 4, at_end: 9 });
        told.program = Some(FarProgram { name: "nginx".to_owned(), state: 'T' });
        told.conntrack = FarTable { count: Some(9), max: Some(9), drops: Some(9) };
        told.ways_back[0].route = RouteOutcome::NoRoute;
        let to = "10.2.0.10:443".parse().expect("addr");
        let report = PeerReport { peer: to, to, provoked: None, far: Box::new(told) };
        let healthy = crate::testkit::plus(crate::testkit::healthy_https(), report);
        for cause in crate::causes::all() {
            assert_eq!(claims(cause, &healthy), None, "{}", cause.id);
        }
    }
}
