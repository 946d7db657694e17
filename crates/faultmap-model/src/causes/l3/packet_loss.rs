//! Packets are lost on the path.

use crate::causes::{Cause, Claim, Tool};
use crate::evidence::LossByWay;
use crate::observation::{Dialogue, Echo, HttpExchange, HttpOutcome, TcpConnect, TcpHealth, TcpRepeat, TlsHandshake, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::IpAddr;

/// Losses that are more than an accident.
const NOTABLE: u32 = 2;
/// Fewer connects say nothing.
const FEWEST: u32 = 14;
/// Share of the train from which loss hurts TCP.
const HURTS: f64 = 0.02;

/// A SYN is sent again after a second (RFC 6298 2.1).
const SYN_TIMER_MS: f64 = 900.0;
/// A loss from which a short conversation may fail altogether.
const BREAKS_PERCENT: f64 = 10.0;

/// `l3.packet-loss`
pub(super) static CAUSE: Cause = Cause {
    id: "l3.packet-loss",
    layer: Layer::L3,
    title: "packets are lost on the path",
    what: "A share of the packets does not arrive: a congested or faulty link, a policer, an overloaded router, one bad member of a bundle. TCP repairs \
           it at the price of time; at a few per cent throughput collapses.",
    shows: "A train of probes to the target itself loses some, and TCP sends segments again. Loss at a middle hop that does not persist to the target \
            is that router's rate limit for ICMP and is no loss.",
    confirm: &[Tool {
        run: "mtr -rwzbc 100 {ip}",
        on: "here, and from {ip} back",
        why: "the first hop from which loss persists to the end",
    }],
    fix: &[
        "Find the hop where it begins and mend or avoid that link; ask its operator with the mtr report of both directions.",
        "A full link needs capacity or shaping; a policer needs a lower sending rate.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure();
    let ip = failure.map(|failure| failure.ip).or_else(|| ev.main_address().map(|main| main.ip()))?;
    if failure.is_some_and(|failure| !failure.silent()) || ev.is_local(ip) {
        return None;
    }
    let by_echo = by_echo(ev, ip);
    let (lost, sent, mut because) = by_echo.or_else(|| by_connects(ev, ip))?;
    if let Some(id) = repaired(ev) {
        because.push(id);
    }
    let percent = f64::from(lost) / f64::from(sent) * 100.0;
    let by_way = ev.main_address().and_then(|main| ev.loss_by_way(main));
    let direction = by_way.map_or_else(String::new, |by_way| format!(", {}", by_way.words()));
    because.extend(by_way.map(|by_way| by_way.id));
    let summary = format!("The path to {ip} loses packets: {lost} of {sent} probes ({percent:.0} %){direction}.");
    let at = place(ip, by_way);
    let broken = failure.map(|failure| failure.id).or_else(|| unrepaired(ev)).filter(|_| percent >= BREAKS_PERCENT);
    if let Some(id) = broken {
        return Some(Claim::proven(0.88, Where::Path, at, summary).citing([id]).citing(because).despite_answers());
    }
    let confidence = if by_echo_is_plain(lost, sent) { 0.93 } else { 0.8 };
    failure.is_none().then(|| Claim::degrades(confidence, Where::Path, at, summary).citing(because))
}

/// With a witness, the way that loses.
fn place(ip: IpAddr, by_way: Option<LossByWay>) -> String {
    match by_way {
        Some(LossByWay { there: (_, 0), back: (_, lost), .. }) if lost > 0 => format!("on the way back from {ip}"),
        Some(LossByWay { there: (_, lost), back: (_, 0), .. }) if lost > 0 => format!("on the way to {ip}"),
        _ => format!("between here and {ip}"),
    }
}

/// The conversation came to nothing while TCP was still sending the same segments again.
fn unrepaired(ev: &Evidence<'_>) -> Option<ObservationId> {
    let repairing = |tcp: &Option<TcpHealth>| tcp.as_ref().is_some_and(|tcp| tcp.retransmits > 0 && tcp.unacked > 0);
    let http = ev.exchange().filter(|(_, http)| matches!(http.outcome, HttpOutcome::Silent { .. }) && repairing(&http.tcp));
    let tls = || ev.handshake().filter(|(_, tls)| matches!(tls.outcome, TlsOutcome::Silent { .. }) && repairing(&tls.tcp));
    http.map(|(id, _)| id).or_else(|| tls().map(|(id, _)| id))
}

fn by_echo_is_plain(lost: u32, sent: u32) -> bool {
    lost >= 4 && sent >= 40
}

/// Echo requests that got lost while TCP, too, shows repair: a policer of ICMP alone is not loss.
fn by_echo(ev: &Evidence<'_>, ip: IpAddr) -> Option<(u32, u32, Vec<ObservationId>)> {
    let trains: Vec<_> = ev.all::<Echo>().filter(|(_, echo)| echo.to == ip && echo.received > 0).collect();
    let sent = total(trains.iter().map(|(_, echo)| echo.sent));
    let lost = total(trains.iter().map(|(_, echo)| echo.lost()));
    let notable = lost >= NOTABLE && sent >= 20 && f64::from(lost) >= f64::from(sent) * HURTS;
    let tcp_suffers = repaired(ev).is_some() || by_connects(ev, ip).is_some();
    (notable && tcp_suffers).then(|| (lost, sent, trains.into_iter().map(|(id, _)| id).collect()))
}

/// Connects to more than one port that needed a SYN sent again: no queue of one listener does that. A firewall that admits so many new
/// connections a second lets the first ones pass and no later one: loss strikes between.
fn by_connects(ev: &Evidence<'_>, ip: IpAddr) -> Option<(u32, u32, Vec<ObservationId>)> {
    // On a path as long as the timer, an answer that has not come is not lost yet.
    let round_trip = ev.main_address().and_then(|main| super::high_latency_path::round_trip(ev, main)).unwrap_or(0.0);
    let in_time = |repeat: &TcpRepeat| round_trip < SYN_TIMER_MS && repeat.waited_ms >= round_trip * 1.5;
    let of_host = ev.all::<TcpRepeat>().filter(|(_, repeat)| repeat.to.ip() == ip && repeat.silent < repeat.tried);
    let rows: Vec<_> = of_host.filter(|(_, repeat)| in_time(repeat)).collect();
    let lost_of = |repeat: &TcpRepeat| repeat.hung().max(u32::try_from(repeat.order.matches(['l', '?']).count()).unwrap_or(u32::MAX));
    let struck = |port: u16| rows.iter().any(|(_, repeat)| repeat.to.port() == port && lost_of(repeat) > 0);
    let mut ports: Vec<u16> = rows.iter().map(|(_, repeat)| repeat.to.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    let between: usize = rows.iter().map(|(_, repeat)| repeat.hung_between()).sum();
    let unordered = rows.iter().all(|(_, repeat)| repeat.order.is_empty());
    let lost = total(rows.iter().map(|(_, repeat)| lost_of(repeat)));
    let sent = total(rows.iter().map(|(_, repeat)| repeat.tried));
    let ports = ports.into_iter().filter(|port| struck(*port)).count();
    let plain = ports >= 2 && lost >= NOTABLE && sent >= FEWEST && (unordered || between >= 2);
    let trains: Vec<&TcpRepeat> = rows.iter().map(|(_, repeat)| *repeat).collect();
    let limited = sets_in(&trains, f64::from(lost) / f64::from(sent)) && conversation_repair(ev).is_none();
    (plain && !limited).then(|| (lost, sent, rows.into_iter().map(|(id, _)| id).collect()))
}

/// The first train began with more answers in a row than a path that always loses so many packets would leave (one time in a hundred): it was
/// our own train that met a limit on new connections.
fn sets_in(trains: &[&TcpRepeat], lost_share: f64) -> bool {
    let Some(first) = trains.first() else { return false };
    let streak = first.order.find(|sign| sign != '.').unwrap_or(first.order.len());
    (1.0 - lost_share).powf(streak as f64) < 0.01
}

/// A sum that a hostile recording cannot overflow.
fn total(counts: impl Iterator<Item = u32>) -> u32 {
    counts.fold(0, u32::saturating_add)
}

/// TCP repaired something, be it a connect of a train.
fn repaired(ev: &Evidence<'_>) -> Option<ObservationId> {
    let repeat = || ev.all::<TcpRepeat>().find(|(_, repeat)| repeat.hung() > 0 && repeat.connected > 0);
    conversation_repair(ev).or_else(|| repeat().map(|(id, _)| id))
}

/// TCP repaired something of what the check said or asked, one connection after the other.
fn conversation_repair(ev: &Evidence<'_>) -> Option<ObservationId> {
    let connect = ev.all::<TcpConnect>().find(
        |(_, connect)| matches!(connect.outcome, crate::observation::ConnectOutcome::Connected { retransmits, .. } if retransmits > 0),
    );
    let http =
        || ev.all::<HttpExchange>().find(|(_, http)| http.tcp.as_ref().is_some_and(|tcp| tcp.retransmits > 0 || tcp.out_of_order > 0));
    let own = || ev.all::<Dialogue>().find(|(_, own)| own.tcp.as_ref().is_some_and(|tcp| tcp.retransmits > 0 || tcp.out_of_order > 0));
    let tls = || ev.all::<TlsHandshake>().find(|(_, tls)| tls.tcp.as_ref().is_some_and(|tcp| tcp.retransmits > 0 || tcp.out_of_order > 0));
    connect.map(|(id, _)| id).or_else(|| http().map(|(id, _)| id)).or_else(|| own().map(|(id, _)| id)).or_else(|| tls().map(|(id, _)| id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seen;
    use crate::causes::tests_support::{connect, route_via};
    use crate::observation::{ConnectOutcome, Role};
    use crate::testkit::{claims, recording};

    fn train(sent: u32, received: u32) -> Seen {
        Seen::Echo(Echo {
            to: "10.2.0.10".parse().expect("ip"),
            role: Role::Control,
            payload_bytes: 56,
            dont_fragment: false,
            sent,
            received,
            duplicates: 0,
            rtts_ms: vec![],
            reply_ttl: Some(62),
            icmp: None,
            errno: None,
        })
    }

    fn check(retransmits: u32, train: Seen, expect: Option<(f64, bool)>) {
        let outcome = ConnectOutcome::Connected { rtt_ms: 1.0, retransmits, mss: 1448, pmtu: 1500 };
        let seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, outcome), train];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
    }

    #[test]
    fn probes_and_tcp_both_suffer_from_loss() {
        check(1, train(60, 52), Some((0.93, false)));
        check(1, train(60, 60), None);
    }

    #[test]
    fn a_limit_on_ping_alone_is_not_loss() {
        check(0, train(60, 40), None);
    }

    /// Trains of SYNs to the port and to a closed one, one sign each: `.` answered at once, `?` silent.
    fn connects(open: &str, closed: &str, expect: Option<(f64, bool)>) {
        let train = |port: u16, order: &str, open: bool| {
            let of = |sign| u32::try_from(order.matches(sign).count()).expect("few");
            let (passed, silent) = (of('.'), of('?'));
            Seen::TcpRepeat(TcpRepeat {
                to: format!("10.2.0.10:{port}").parse().expect("addr"),
                tried: passed + silent,
                connected: if open { passed } else { 0 },
                connected_late: 0,
                failed: if open { 0 } else { passed },
                silent,
                waited_ms: 900.0,
                order: order.to_owned(),
                icmp: None,
            })
        };
        let outcome = ConnectOutcome::Connected { rtt_ms: 1.0, retransmits: 0, mss: 1448, pmtu: 1500 };
        let seen =
            vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, outcome), train(80, open, true), train(9, closed, false)];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
    }

    #[test]
    fn syns_lost_on_two_ports_are_the_paths_loss() {
        connects("..?....?....", ".?.....?....", Some((0.8, false)));
        connects("............", ".?.....?....", None);
    }

    #[test]
    fn a_limit_on_new_connections_strikes_after_the_first_few_only() {
        connects(".....???????", "..??????????", None);
    }

    #[test]
    fn a_limit_that_lets_one_pass_now_and_then_is_still_none_of_the_path() {
        // Ten connects a second are let in: the first train uses them up, the later ones meet what is left.
        let train = |port: u16, order: &str, open: bool| {
            let passed = u32::try_from(order.matches('.').count()).expect("few");
            let tried = u32::try_from(order.len()).expect("few");
            let (connected, failed) = if open { (passed, 0) } else { (0, passed) };
            Seen::TcpRepeat(TcpRepeat {
                to: format!("10.2.0.10:{port}").parse().expect("addr"),
                tried,
                connected,
                connected_late: 0,
                failed,
                silent: tried - passed,
                waited_ms: 900.0,
                order: order.to_owned(),
                icmp: None,
            })
        };
        let check = |first: &str, rtt_ms, expect| {
            let outcome = ConnectOutcome::Connected { rtt_ms, retransmits: 0, mss: 1448, pmtu: 1500 };
            let later = [train(80, ".???????????????", true), train(9, ".?????????.?????", false)];
            let seen = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, outcome), train(9, first, false)];
            assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", [seen, later.to_vec()].concat())), expect);
        };
        check("........??", 1.0, None);
        check(".?.??.??.?", 1.0, Some((0.93, false)));
        // Nothing is late on a path as long as the wait.
        check(".?.??.??.?", 880.0, None);
    }
}
