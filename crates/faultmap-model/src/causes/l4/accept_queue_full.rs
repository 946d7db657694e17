//! The listener does not accept fast enough: its accept queue is full and further SYNs are dropped.

use super::queue_signs;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{
    ConnectOutcome, Counters, DialogueOutcome, HostTables, HttpOutcome, SessionEnd, SessionOutcome, TcpRepeat, TlsOutcome,
};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::SocketAddr;

/// `l4.accept-queue-full`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.accept-queue-full",
    layer: Layer::L4,
    title: "the listener's accept queue is full",
    what: "Connections wait in the listener's accept queue until the program calls accept(). When the queue is full the kernel drops new SYNs; \
           clients see some connects pass and others hang for 1, 3 or 7 seconds, or for ever. The program is stuck, starved of CPU, out of \
           workers, or its backlog is too small.",
    shows: "Some connects pass at once while others to the same port stay silent, with no loss on the path; those that pass get no answer. When none \
            passes, a bare ACK (root) that is answered shows that packets reach the listener. On the server ListenOverflows rises and ss shows \
            Recv-Q above Send-Q. A full SYN backlog looks alike from outside.",
    confirm: &[
        Tool { run: "ss -ltn 'sport = :{port}'", on: "{ip}", why: "Recv-Q above Send-Q: the accept queue is full" },
        Tool {
            run: "nstat -az TcpExtListenOverflows TcpExtListenDrops TcpExtTCPReqQFullDrop",
            on: "{ip}",
            why: "overflows name the accept queue, TCPReqQFullDrop the SYN backlog",
        },
        Tool { run: "cat /proc/$(pgrep -o SERVICE)/stack; top -H", on: "{ip}", why: "shows what the program does instead of accepting" },
    ],
    fix: &[
        "Find out why the program does not accept: a deadlock, exhausted workers, a frozen process (SIGSTOP, debugger), no CPU.",
        "Raise the backlog: the argument of listen() and net.core.somaxconn on {ip}.",
        "Add workers or instances, and shed load before the queue.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if let Some(told) = crate::causes::peer::told(ev, CAUSE.id) {
        return told;
    }
    on_this_host(ev).or_else(|| by_pattern(ev)).or_else(|| by_bare_ack(ev))
}

/// A local listener's own numbers.
fn on_this_host(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure().filter(|failure| failure.silent() && ev.is_local(failure.ip))?;
    let full = ev.first::<HostTables>(|tables| tables.listen_queue.is_some_and(|(waiting, limit)| waiting > limit));
    let overflow = ev.first::<Counters>(|counters| counters.rose.contains_key("TcpExt.ListenOverflows"));
    let id = full.map(|(id, _)| id).or(overflow.map(|(id, _)| id))?;
    let summary = format!("The local listener on port {} does not accept: its accept queue is full.", failure.port);
    Some(Claim::proven(0.96, Where::Local, failure.place(), summary).citing([failure.id, id]))
}

/// Some pass, others hang.
fn by_pattern(ev: &Evidence<'_>) -> Option<Claim> {
    let to = ev.failure().map(|failure| failure.ip).or_else(|| ev.main_address().map(|main| main.ip()))?;
    let id = queue_signs(ev, to)?;
    let (_, repeat) = ev.all::<TcpRepeat>().find(|(repeat_id, _)| *repeat_id == id)?;
    let served = served(ev).is_some() || turned_down(ev);
    let mute = ev.exchange().filter(|(_, http)| matches!(http.outcome, HttpOutcome::Silent { .. })).map(|(id, _)| id);
    let mute = mute.or_else(|| crate::causes::l7::speech::broken(ev).map(|broken| broken.id));
    let summary = format!(
        "The listener at {} drops connections because its queue is full: of {} connects {} passed, {} hung.",
        repeat.to,
        repeat.tried,
        repeat.connected,
        repeat.hung()
    );
    let claim = if served {
        Claim::likely(0.5, Where::Remote, repeat.to.to_string(), summary)
    } else if mute.is_none() && turned_away(ev, repeat.to) {
        let claim = Claim::likely(0.6, Where::Remote, repeat.to.to_string(), summary);
        decided_on_server(claim, repeat.to.port(), &repeat.to.ip().to_string())
    } else {
        Claim::proven(0.9, Where::Remote, repeat.to.to_string(), summary)
    };
    Some(claim.citing([id]).citing(mute).despite_answers())
}

/// The program took the connection and turned the conversation down in words: it does accept. What hangs then may hang by our own many connects,
/// where the backlog is short (five, in many small servers).
fn turned_down(ev: &Evidence<'_>) -> bool {
    let tls = ev.handshake().is_some_and(|(_, tls)| matches!(tls.outcome, TlsOutcome::Alert { .. } | TlsOutcome::NotTls { .. }));
    let http = ev.exchange().is_some_and(|(_, http)| matches!(http.outcome, HttpOutcome::Malformed { .. }));
    let words = |outcome: &DialogueOutcome| {
        matches!(outcome, DialogueOutcome::Refused { .. } | DialogueOutcome::Foreign { .. } | DialogueOutcome::TlsWanted { .. })
    };
    tls || http || ev.dialogue().is_some_and(|(_, dialogue)| words(&dialogue.outcome))
}

/// Whoever got in was spoken to: the program takes connections out of its queue.
pub(super) fn served(ev: &Evidence<'_>) -> Option<ObservationId> {
    let greeted = || ev.first::<SessionEnd>(|end| matches!(end.outcome, SessionOutcome::Greeting { .. }));
    let response = ev.response().map(|(id, _)| id).or_else(|| crate::causes::l7::speech::answered(ev, "default"));
    response.or_else(|| greeted().map(|(id, _)| id))
}

/// A queue that nobody takes from lets the first ones in and no later one. This port dropped our first SYN and lets some in later: its queue
/// moves, or it is the other one, of handshakes begun, which forged SYNs fill and timers empty.
pub(super) fn turned_away(ev: &Evidence<'_>, to: SocketAddr) -> bool {
    let late = |outcome: &ConnectOutcome| matches!(outcome, ConnectOutcome::Connected { retransmits, .. } if *retransmits > 0);
    ev.failure().is_some_and(|failure| failure.silent()) || ev.connected().any(|(_, connect)| connect.to == to && late(&connect.outcome))
}

/// None passes, but segments that are no SYN are answered.
fn by_bare_ack(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure().filter(crate::evidence::Failure::silent)?;
    if answers_arrive(ev) {
        return None;
    }
    let at = failure.place();
    // SYNs to this port are seen no further than a router that others pass: they never come to a queue.
    if super::stopped_before(ev, failure.ip).is_some() {
        return None;
    }
    if let Some(id) = ev.ack_answers(failure.ip) {
        let summary = format!("Packets reach the listener at {at}, but it answers no SYN: a listen queue there is full.");
        let claim = Claim::likely(0.62, Where::Remote, at, summary).citing([failure.id, id]);
        return Some(crate::causes::peer::asking_there(ev, decided_on_server(claim, failure.port, &failure.ip.to_string()), failure.ip));
    }
    let asked = ev.first::<crate::observation::AckProbe>(|ack| ack.to.ip() == failure.ip && ack.sent > 0);
    let control = ev.host_answers(failure.ip).filter(|_| asked.is_none() && !ev.is_local(failure.ip))?;
    if failure.protocol != crate::evidence::Protocol::Tcp {
        return None;
    }
    let summary = format!(
        "{} answers otherwise, but not on port {}: a firewall drops it, or the listener's queue is full.",
        failure.ip, failure.port
    );
    let claim = Claim::likely(0.2, Where::Remote, at, summary).citing([failure.id, control]);
    Some(crate::causes::peer::asking_there(ev, decided_on_server(claim, failure.port, &failure.ip.to_string()), failure.ip))
}

/// SYN-ACKs reach this host: whatever drops them is here, and no queue there is full.
pub(super) fn answers_arrive(ev: &Evidence<'_>) -> bool {
    ev.first::<crate::observation::IngressGap>(|gap| gap.answers_on_wire.is_some_and(|seen| seen > 0)).is_some()
}

fn decided_on_server(claim: Claim, port: u16, ip: &str) -> Claim {
    let run = format!("ss -ltn 'sport = :{port}'; nstat -az TcpExtListenOverflows TcpExtTCPReqQFullDrop");
    claim.decided_by(
        run,
        ip,
        "Recv-Q above Send-Q names the accept queue, TCPReqQFullDrop the SYN backlog; neither rising means a firewall",
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, connected, reset, route_via, silent};
    use super::*;
    use crate::Seen;
    use crate::observation::{AckProbe, Echo, Role};
    use crate::testkit::{claims, recording};

    fn check(seen: Vec<Seen>, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, &recording("tcp://10.2.0.10:80", seen)), expect);
    }

    fn pattern(connected: u32, silent: u32) -> Seen {
        let to = "10.2.0.10:80".parse().expect("addr");
        Seen::TcpRepeat(TcpRepeat {
            to,
            tried: connected + silent,
            connected,
            connected_late: 0,
            failed: 0,
            silent,
            waited_ms: 900.0,
            order: String::new(),
            icmp: None,
        })
    }

    #[test]
    fn some_connects_pass_and_others_hang() {
        check(vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, connected()), pattern(3, 7)], Some((0.9, true)));
        check(vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, connected()), pattern(10, 0)], None);
    }

    #[test]
    fn a_listener_that_turns_a_conversation_down_in_words_does_accept() {
        let page = TlsOutcome::NotTls { first_bytes: "<!DOCTYPE HTML>".to_owned(), looks_like: Some("html".to_owned()) };
        let mut turned_down = crate::testkit::tls("default", page);
        turned_down.to = "10.2.0.10:80".parse().expect("addr");
        let seen = [Seen::from(turned_down), route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, connected()), pattern(13, 3)];
        check(seen.to_vec(), Some((0.5, true)));
    }

    #[test]
    fn a_port_that_turned_us_away_first_may_have_either_queue_full() {
        let late = ConnectOutcome::Connected { rtt_ms: 1.0, retransmits: 2, mss: 1448, pmtu: 1500 };
        let check = |extra: Vec<Seen>, accept, syn| {
            let base = vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, late.clone()), pattern(0, 16)];
            let recording = recording("tcp://10.2.0.10:80", [base, extra].concat());
            let backlog = crate::causes::find("l4.syn-backlog-full").expect("a cause");
            assert_eq!(claims(&CAUSE, &recording), accept);
            assert_eq!(claims(backlog, &recording), syn);
        };
        let end = |outcome| Seen::SessionEnd(SessionEnd { to: "10.2.0.10:80".parse().expect("addr"), outcome, tcp: None });
        check(vec![end(SessionOutcome::Open)], Some((0.6, true)), Some((0.45, true)));
        // Its greeting shows that the program takes connections.
        let greeting = SessionOutcome::Greeting { first_bytes: "hello".to_owned() };
        check(vec![end(greeting)], Some((0.5, true)), Some((0.45, true)));
    }

    #[test]
    fn loss_on_the_path_explains_the_same_pattern() {
        let lossy = Echo {
            to: "10.2.0.10".parse().expect("ip"),
            role: Role::Control,
            payload_bytes: 56,
            dont_fragment: false,
            sent: 50,
            received: 35,
            duplicates: 0,
            rtts_ms: vec![],
            reply_ttl: None,
            icmp: None,
            errno: None,
        };
        check(vec![connect("10.2.0.10:80", Role::Target, connected()), pattern(7, 3), Seen::Echo(lossy)], None);
    }

    #[test]
    fn a_closed_port_has_no_queue_so_its_silence_is_loss() {
        let closed = |silent| {
            let to = "10.2.0.10:9".parse().expect("addr");
            Seen::TcpRepeat(TcpRepeat {
                to,
                tried: 16,
                connected: 0,
                connected_late: 0,
                failed: 16 - silent,
                silent,
                waited_ms: 900.0,
                order: String::new(),
                icmp: None,
            })
        };
        let check_with =
            |silent, expect| check(vec![connect("10.2.0.10:80", Role::Target, connected()), closed(silent), pattern(12, 4)], expect);
        check_with(2, None);
        check_with(0, Some((0.9, true)));
    }

    #[test]
    fn drops_in_our_own_queue_explain_the_same_pattern() {
        let own = crate::causes::tests_support::link_delta(&[("qdisc_drops", 40)]);
        let Seen::LinkDelta(delta) = &own else { panic!("a delta") };
        let Seen::Route(mut route) = route_via("10.2.0.10") else { panic!("a route") };
        if let crate::observation::RouteOutcome::Found { iface, .. } = &mut route.outcome {
            iface.clone_from(&delta.iface);
        }
        check(vec![Seen::Route(route), own, connect("10.2.0.10:80", Role::Target, connected()), pattern(3, 7)], None);
    }

    #[test]
    fn an_answered_bare_ack_shows_a_full_queue() {
        let ack = Seen::AckProbe(AckProbe { to: "10.2.0.10:80".parse().expect("addr"), sent: 2, resets: 2, answer_ttl: None });
        check(
            vec![connect("10.2.0.10:80", Role::Target, silent()), connect("10.2.0.10:22", Role::Control, reset()), ack],
            Some((0.62, true)),
        );
    }

    #[test]
    fn connects_that_hang_while_packets_arrive_damaged_are_no_queue() {
        use super::super::tests_support::counters;
        let seen = |damaged| {
            vec![
                route_via("10.2.0.10"),
                connect("10.2.0.10:80", Role::Target, connected()),
                pattern(5, 11),
                counters(&[("Tcp.InCsumErrors", damaged)]),
            ]
        };
        check(seen(36), None);
        check(seen(0), Some((0.9, true)));
    }
}
