//! The queue of half-open connections is full, as in a SYN flood.

use super::queue_signs;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{ConnectOutcome, Counters, Echo, TcpConnect, TcpRepeat};
use crate::verdict::Where;
use crate::{Evidence, Layer};
use std::net::SocketAddr;

/// `l4.syn-backlog-full`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.syn-backlog-full",
    layer: Layer::L4,
    title: "the listener's SYN backlog is full",
    what: "Every half-open connection takes a place in the SYN backlog until the handshake completes. A SYN flood, or clients whose last ACK is lost, \
           fill it; without SYN cookies the kernel then drops further SYNs. Connections that do get in are served.",
    shows: "New connects are silent while a bare ACK to the port (root) is answered and established connections are served. On the server \
            TCPReqQFullDrop rises, or ListenDrops without ListenOverflows, and many sockets are in SYN-RECV. A full accept queue looks alike from outside.",
    confirm: &[
        Tool {
            run: "ss -tn state syn-recv 'sport = :{port}' | wc -l; nstat -az TcpExtTCPReqQFullDrop TcpExtTCPReqQFullDoCookies",
            on: "{ip}",
            why: "many SYN-RECV and rising drops: the backlog is full",
        },
        Tool {
            run: "sysctl net.ipv4.tcp_syncookies net.ipv4.tcp_max_syn_backlog net.core.somaxconn",
            on: "{ip}",
            why: "cookies 0 lets the backlog fill",
        },
    ],
    fix: &[
        "Set net.ipv4.tcp_syncookies=1 on {ip}.",
        "Raise net.ipv4.tcp_max_syn_backlog, net.core.somaxconn and the listen() backlog.",
        "Filter the flood's source upstream.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(told) = crate::causes::peer::told(ev, CAUSE.id) {
        return told;
    }
    let failure = ev.failure().filter(crate::evidence::Failure::silent);
    if let Some(failure) = failure {
        let counted = ev.first::<Counters>(|counters| counters.rose.contains_key("TcpExt.TCPReqQFullDrop"));
        if let Some((id, _)) = counted.filter(|_| ev.is_local(failure.ip)) {
            let summary = format!("The local listener on port {} drops SYNs: its SYN backlog is full.", failure.port);
            return Some(Claim::proven(0.96, Where::Local, failure.place(), summary).citing([failure.id, id]));
        }
        if super::accept_queue_full::answers_arrive(ev) || super::stopped_before(ev, failure.ip).is_some() {
            return None;
        }
        if let Some(id) = queue_signs(ev, failure.ip) {
            let summary = format!("{} dropped our SYN and let others in: its SYN backlog may be full.", failure.place());
            return Some(Claim::likely(0.45, Where::Remote, failure.place(), summary).citing([failure.id, id]).despite_answers());
        }
        if let Some(id) = ev.ack_answers(failure.ip) {
            let summary = format!("Packets reach the listener at {}, but it answers no SYN: its SYN backlog may be full.", failure.place());
            return Some(Claim::likely(0.35, Where::Remote, failure.place(), summary).citing([failure.id, id]));
        }
        let asked = ev.first::<crate::observation::AckProbe>(|ack| ack.to.ip() == failure.ip && ack.sent > 0);
        let tcp = failure.protocol == crate::evidence::Protocol::Tcp && asked.is_none();
        let control = ev.host_answers(failure.ip).filter(|_| tcp && !ev.is_local(failure.ip))?;
        let summary = format!("{} answers otherwise, but no SYN to port {} is answered.", failure.ip, failure.port);
        return Some(Claim::likely(0.12, Where::Remote, failure.place(), summary).citing([failure.id, control]));
    }
    let to = ev.main_address()?;
    let served = super::accept_queue_full::served(ev);
    let Some(id) = queue_signs(ev, to.ip()) else {
        let answered = ev.response().is_some() || crate::causes::l7::speech::answered(ev, "default").is_some();
        return answered.then(|| first_syn_dropped(ev)).flatten();
    };
    if served.is_none() && !super::accept_queue_full::turned_away(ev, to) {
        return None;
    }
    let (_, repeat) = ev.all::<TcpRepeat>().find(|(repeat_id, _)| *repeat_id == id)?;
    // Connections that get in are served: the accept queue moves, so the queue that is full may be the other one.
    let some = if served.is_some() { "serves whoever gets in" } else { "lets some in" };
    let summary = format!("{to} {some}, but of {} connects {} hung: its SYN backlog may be full.", repeat.tried, repeat.hung());
    Some(Claim::likely(0.45, Where::Remote, to.to_string(), summary).citing([id]).citing(served).despite_answers())
}

/// SYNs to this port had to be sent again, and none to others, although the path loses nothing: the listener drops some. Peers that got
/// through once are let in at once (tcp_peer_is_proven, net/ipv4/tcp_metrics.c), so that later connects mostly pass.
fn first_syn_dropped(ev: &Evidence<'_>) -> Option<Claim> {
    let main = ev.main_address()?;
    let again = |outcome: &ConnectOutcome| match outcome {
        ConnectOutcome::Connected { retransmits, .. } => *retransmits,
        _ => 0,
    };
    let (connect, first) = ev.connected().find(|(_, c)| c.to == main && again(&c.outcome) > 0)?;
    let probes: Vec<_> = ev.all::<Echo>().filter(|(_, echo)| echo.to == main.ip()).collect();
    let clean_echo =
        probes.iter().map(|(_, echo)| u64::from(echo.sent)).sum::<u64>() >= 50 && probes.iter().all(|(_, echo)| echo.received == echo.sent);
    let repeats: Vec<_> = ev.all::<TcpRepeat>().filter(|(_, repeat)| repeat.to.ip() == main.ip()).collect();
    let (here, controls): (Vec<_>, Vec<_>) = repeats.iter().partition(|(_, repeat)| repeat.to == main);
    let dropped = here.iter().fold(again(&first.outcome), |sum, (_, repeat)| sum.saturating_add(repeat.hung()));
    let clean_controls = controls.iter().any(|(_, repeat)| repeat.tried >= 10) && controls.iter().all(|(_, repeat)| repeat.hung() == 0);
    // An IPv6 network that was just set up is still looking for duplicate addresses (RFC 4862 5.4) and may lose a first packet.
    let enough = if main.is_ipv4() { 1 } else { 2 };
    if held_up(ev, main) || dropped < enough || here.is_empty() || !clean_controls || !(clean_echo || probes.is_empty()) {
        return None;
    }
    let summary =
        format!("The listener at {main} dropped {dropped} SYNs, although the path loses nothing: one of its queues is full at times.");
    let ids = repeats.iter().map(|(id, _)| *id).chain(probes.iter().map(|(id, _)| *id));
    Some(Claim::degrades(0.5, Where::Remote, main.to_string(), summary).citing([connect]).citing(ids))
}

/// Questions to other ports waited as well, and were answered when the connect was: an address was being resolved on the way (a proxy of ARP takes
/// its time, `proxy_delay`), and no listener of this port was asked before.
fn held_up(ev: &Evidence<'_>, main: SocketAddr) -> bool {
    /// Far longer than a round trip on most paths.
    const LONG_MS: f64 = 100.0;
    /// Packets that waited for the same thing arrive together.
    const TOGETHER_MS: f64 = 60.0;
    let ended = |id| ev.get(id).map(|seen| (seen.at_ms, seen.at_ms + seen.took_ms));
    let Some((started, connected)) = ev.connected().find(|(_, c)| c.to == main).and_then(|(id, _)| ended(id)) else { return false };
    let answered = |connect: &TcpConnect| connect.outcome.connected() || connect.outcome.reset();
    let round_trip = ev.exchange().and_then(|(_, http)| http.tcp.as_ref()).map_or(0.0, |tcp| tcp.min_rtt_ms);
    ev.control_connects(main.ip()).filter(|(_, control)| answered(control)).filter_map(|(id, _)| ended(id)).any(|(asked, came)| {
        let waited = came - asked;
        asked > started && (came - connected).abs() < TOGETHER_MS && waited > LONG_MS && waited > round_trip * 3.0
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, connected, reset, silent};
    use super::*;
    use crate::Seen;
    use crate::observation::{AckProbe, Role};
    use crate::testkit::{claims, recording};

    #[test]
    fn an_answered_bare_ack_leaves_the_backlog_possible() {
        let ack = Seen::AckProbe(AckProbe { to: "10.2.0.10:80".parse().expect("addr"), sent: 2, resets: 1, answer_ttl: None });
        let seen = vec![connect("10.2.0.10:80", Role::Target, silent()), connect("10.2.0.10:22", Role::Control, reset()), ack];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), Some((0.35, true)));
    }

    #[test]
    fn a_good_connect_leaves_nothing_to_claim() {
        let seen = vec![connect("10.2.0.10:80", Role::Target, connected())];
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), None);
    }

    /// The connect took from 0 to 1 270 ms, and the other question from 778 to 1 271 ms.
    fn held(recording: crate::Recording, meanwhile: Seen) -> crate::Recording {
        let mut recording = crate::testkit::plus(recording, meanwhile);
        for seen in &mut recording.observations {
            match &seen.seen {
                Seen::TcpConnect(connect) if connect.role == Role::Target => (seen.at_ms, seen.took_ms) = (0.0, 1_270.0),
                Seen::TcpConnect(_) => (seen.at_ms, seen.took_ms) = (778.0, 493.0),
                _ => {}
            }
        }
        recording
    }

    #[test]
    fn syns_lost_on_one_port_alone_are_its_listeners() {
        let train = |port: u16, silent| {
            let (connected, failed) = if port == 443 { (16 - silent, 0) } else { (0, 16 - silent) };
            let to = format!("10.2.0.10:{port}").parse().expect("addr");
            Seen::TcpRepeat(TcpRepeat {
                to,
                tried: 16,
                connected,
                connected_late: 0,
                failed,
                silent,
                waited_ms: 900.0,
                order: String::new(),
                icmp: None,
            })
        };
        let late = ConnectOutcome::Connected { rtt_ms: 1.0, retransmits: 1, mss: 1448, pmtu: 1500 };
        let check = |here, control, expect| {
            let base = crate::testkit::but::<crate::observation::TcpConnect>(crate::testkit::healthy_http(), |c| c.outcome = late.clone());
            let seen = crate::testkit::plus(crate::testkit::plus(base, train(443, here)), train(9, control));
            assert_eq!(claims(&CAUSE, &seen), expect);
            // Another port that was asked meanwhile waited as long: the address of the host was being resolved.
            let meanwhile = connect("10.2.0.10:22", Role::Control, reset());
            assert_eq!(claims(&CAUSE, &held(seen, meanwhile)), None);
        };
        check(1, 0, Some((0.5, false)));
        check(0, 0, Some((0.5, false)));
        check(1, 2, None);
    }
}
