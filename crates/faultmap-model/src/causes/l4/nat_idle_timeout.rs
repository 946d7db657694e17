//! A stateful box on the way forgets a connection that is idle, and nobody is told.

use crate::causes::l5::held::{Ending, Limit, claim as held_claim, cure, cut, ends_in_spite_of_segments, fresh_works, session_is_service};
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l4.nat-idle-timeout`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.nat-idle-timeout",
    layer: Layer::L4,
    title: "a stateful box on the way forgets idle connections",
    what: "A NAT gateway, firewall or layer-4 balancer keeps a table of connections and forgets one on which nothing moves for some time: 30 s on many home and \
           mobile networks, 350 s on cloud gateways, an hour on firewalls. Neither end is told. The next packet is dropped, or answered with a reset, and the \
           program hangs or fails although both ends are well: pooled database connections, WebSockets, SSH, message queues.",
    shows: "Connections that were idle for longer than a certain time get no answer at all (retransmissions, not even an acknowledgement) or a reset on first \
            use; shorter idleness, a connection that is used, and a fresh one are all well. A server that closes idle sessions sends a FIN at that time, \
            and the other end sees it.",
    confirm: &[
        Tool {
            run: "sysctl net.netfilter.nf_conntrack_tcp_timeout_established; conntrack -L -p tcp --dport {port}",
            on: "each NAT or firewall on the path",
            why: "the time limit, and how many seconds an idle entry has left",
        },
        Tool {
            run: "ss -tno dst {ip}",
            on: "here",
            why: "timer:(keepalive,…) shows which programs keep their connections alive; none without SO_KEEPALIVE",
        },
        Tool {
            run: "tcpdump -nvi any 'tcp port {port}'",
            on: "here and on {ip}",
            why: "after the idle time our packets leave here and never arrive there",
        },
    ],
    fix: &[
        "Send something more often than the limit: TCP keep-alive (the default of two hours is too long for any NAT), or the protocol's own ping.",
        "Close pooled connections that were idle for longer than the limit, before they are used again (maxIdleTime, idleTimeout, max_lifetime).",
        "Raise the limit on the box, if it is yours (nf_conntrack_tcp_timeout_established; the gateway's idle timeout).",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let limit = Limit::of(ev)?;
    if cut(ev).is_some() || fresh_works(ev) == Some(false) || !limit.is_of_idleness(ev) && limit.survived.is_none() {
        return None;
    }
    let line = limit.died.1;
    let how = match limit.ending {
        Ending::Lost => "are silently forgotten on the way: what is sent then is not even acknowledged",
        Ending::ResetOnUse => "are forgotten on the way: what is sent then is met by a reset, with no close before it",
        Ending::Reset => "are reset by a box on the way",
        Ending::Closed | Ending::Failed => return None,
    };
    let at = match ev.gateway(line.to.ip()) {
        Some(gateway) => format!("a stateful box between here and {} (next hop {gateway})", line.to.ip()),
        None => format!("a stateful box between here and {}", line.to.ip()),
    };
    let cure = cure(ev);
    let fresh = if fresh_works(ev) == Some(true) { "; a fresh one works" } else { "" };
    let words = limit.words();
    let idle = match limit.ending {
        Ending::Reset => format!("Idle connections to {} {how} {words}", line.to),
        _ => format!("Connections to {} that are idle {words} {how}", line.to),
    };
    let summary = format!("{idle}{fresh}.{}", cure.words);
    let breaks = session_is_service(ev.target().scheme);
    let confidence = match (limit.alike.len() > 1, fresh_works(ev)) {
        (true, Some(true)) => 0.95,
        (true, None) => 0.85,
        _ => 0.75,
    };
    let claim = match (limit.ending, other_sender(line.answer_ttl, line.reset_ttl)) {
        (Ending::Reset, Some(false)) => return None,
        (Ending::Reset, None) if ends_in_spite_of_segments(ev, line) => return None,
        (Ending::Reset, None) => Claim::likely(0.5, Where::Path, at, summary).despite_answers().decided_by(
            format!("tcpdump -nvi any 'tcp port {} and tcp[13] & 6 != 0'", line.to.port()),
            "here, while a connection is idle",
            "a RST whose ttl differs from that of the SYN-ACK comes from a box on the way",
        ),
        // A reset in the server's own distance, though no close came before: the station of that name has forgotten the connection.
        _ => held_claim(breaks, confidence, Where::Path, at, summary),
    };
    let ids = limit.ids();
    Some(cure.advice.into_iter().fold(claim.citing(ids).citing(cure.ids), Claim::advising))
}

/// The RST has another TTL than the handshake: another station sent it. `None`: not seen.
pub(in crate::causes) fn other_sender(answer: Option<u8>, reset: Option<u8>) -> Option<bool> {
    Some(answer? != reset?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::l5::held::kit::{Held, answered, closed, held, held_lines, ladder, line, lost, used};
    use crate::observation::{HeldFor, OnUse, SessionIdle, WhileIdle};
    use crate::testkit::claims;

    fn check(target: &str, lines: Vec<Held>, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, &held(target, lines)), expect);
    }

    #[test]
    fn idle_connections_that_nobody_hears_are_forgotten_on_the_way() {
        check("http://10.2.0.10/", ladder(29_000.0, lost), Some((0.95, false)));
        check("http://10.2.0.10/", ladder(29_000.0, || used(OnUse::Reset)), Some((0.95, false)));
    }

    #[test]
    fn where_the_session_is_the_service_it_breaks() {
        check("ws://10.2.0.10/feed", ladder(29_000.0, lost), Some((0.95, true)));
        check("postgres://10.2.0.10/shop", ladder(29_000.0, lost), Some((0.95, true)));
    }

    #[test]
    fn what_lives_as_long_as_asked_is_not_blamed() {
        check("http://10.2.0.10/", ladder(70_000.0, lost), None);
    }

    #[test]
    fn an_orderly_close_is_not_forgetfulness() {
        check("http://10.2.0.10/", ladder(29_000.0, closed), None);
    }

    #[test]
    fn one_loss_among_longer_lives_is_an_accident() {
        let mut lines = ladder(70_000.0, lost);
        lines.push(Held(HeldFor::Idle, 0.0, 10_000.0, lost()));
        check("http://10.2.0.10/", lines, None);
    }

    #[test]
    fn where_a_fresh_connection_fails_too_it_is_not_idleness() {
        let mut lines = ladder(29_000.0, lost);
        lines.push(Held(HeldFor::Fresh, 40_000.0, 0.0, lost()));
        check("http://10.2.0.10/", lines, None);
    }

    #[test]
    fn silence_after_an_acknowledgement_is_not_the_paths() {
        let mute = || used(OnUse::Silent { waited_ms: 3_500.0, retransmits: 0, acknowledged: true });
        check("http://10.2.0.10/", ladder(29_000.0, mute), None);
    }

    #[test]
    fn a_reset_while_idle_is_told_by_its_distance() {
        let check = |ttls: (Option<u8>, Option<u8>), expect| {
            let reset = |idle: f64| {
                let line = line(HeldFor::Idle, idle, (WhileIdle::Reset, None));
                (0.0, SessionIdle { answer_ttl: ttls.0, reset_ttl: ttls.1, ..line })
            };
            let mut lines = vec![reset(30_000.0), reset(30_000.0), (0.0, line(HeldFor::Idle, 15_000.0, answered()))];
            lines.push((30_500.0, line(HeldFor::Fresh, 0.0, answered())));
            assert_eq!(claims(&CAUSE, &held_lines("http://10.2.0.10/", lines)), expect);
        };
        check((Some(61), Some(63)), Some((0.95, false)));
        check((Some(61), Some(61)), None);
        check((None, None), Some((0.5, true)));
    }
}
