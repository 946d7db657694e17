//! The server, or a balancer in its name, ends sessions that are idle.

use super::held::{Ending, Limit, claim as held_claim, cure, cut, ends_in_spite_of_segments, fresh_works, session_is_service};
use crate::causes::l4::other_sender;
use crate::causes::{Cause, Claim, Tool};
use crate::verdict::Where;
use crate::{Evidence, Layer, Scheme};

/// `l5.idle-close`
pub(super) static CAUSE: Cause = Cause {
    id: "l5.idle-close",
    layer: Layer::L5,
    title: "idle sessions are closed by the other end",
    what: "The server, or a balancer that stands in its place, ends a session on which nothing was said for some time: keepalive_timeout of nginx (75 s), \
           server.keepAliveTimeout of Node (5 s), the idle timeout of a cloud balancer (60 s), proxy_read_timeout for WebSockets (60 s). That is in order, as long \
           as whoever uses the session closes it sooner, keeps it busy, or opens a new one.",
    shows: "A FIN (or close_notify, a close frame, GOAWAY, 408) comes after the same idle time again and again, while a connection that is used goes on. A \
            box that forgets connections says nothing; a limit of age ends active ones too.",
    confirm: &[
        Tool {
            run: "nginx -T | grep -E 'keepalive_timeout|proxy_read_timeout'; grep -E 'timeout (client|http-keep-alive|tunnel)' /etc/haproxy/haproxy.cfg",
            on: "the server, and each balancer before it",
            why: "the limit that is set there",
        },
        Tool { run: "tcpdump -nti any 'tcp port {port} and tcp[13] & 1 != 0'", on: "here and on {ip}", why: "who sends the FIN, and when" },
    ],
    fix: &[
        "Let clients and pools close idle connections well before that time (idleTimeout, keepAliveTimeout of the client below the server's).",
        "Let each server's idle limit be longer than that of the balancer before it, or the balancer will use connections that are being closed.",
        "For sessions that must live (WebSocket, streams): send pings more often than the limit, or raise it.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let limit = Limit::of(ev)?;
    if !matches!(limit.ending, Ending::Closed | Ending::Reset) || cut(ev).is_some() || fresh_works(ev) == Some(false) {
        return None;
    }
    let (line, scheme) = (limit.died.1, ev.target().scheme);
    let (how, unsure) = match (limit.ending, other_sender(line.answer_ttl, line.reset_ttl)) {
        (Ending::Reset, Some(true)) => return None,
        (Ending::Reset, None) => ("resets", !ends_in_spite_of_segments(ev, line)),
        (Ending::Reset, Some(false)) => ("resets", false),
        _ => ("closes", false),
    };
    let cure = cure(ev);
    let said = line.last_words.as_ref().map_or_else(String::new, |words| format!(" (it says {words})"));
    let summary = format!("{} {how} connections {} without traffic{said}.{}", line.to, limit.words(), cure.words);
    // A channel of gRPC opens a new connection when the old one is ended in order.
    let in_order = matches!(scheme, Scheme::Grpc | Scheme::Grpcs) && limit.ending == Ending::Closed;
    let breaks = session_is_service(scheme) && !in_order;
    let confidence = match (limit.is_of_idleness(ev), limit.is_repeated(ev)) {
        (true, true) => 0.95,
        (true, false) => 0.88,
        (false, _) => 0.72,
    };
    let claim = if unsure {
        Claim::likely(0.45, Where::Remote, line.to.to_string(), summary).despite_answers()
    } else {
        held_claim(breaks, confidence, Where::Remote, line.to.to_string(), summary)
    };
    Some(cure.advice.into_iter().fold(claim.citing(limit.ids()).citing(cure.ids), Claim::advising))
}

#[cfg(test)]
mod tests {
    use super::super::held::kit::{Held, answered, closed, held, ladder, lost, used};
    use super::*;
    use crate::observation::{HeldFor, OnUse, WhileIdle};
    use crate::testkit::claims;

    fn check(target: &str, lines: Vec<Held>, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, &held(target, lines)), expect);
    }

    #[test]
    fn a_close_after_the_same_idleness_each_time_degrades() {
        check("http://10.2.0.10/", ladder(20_000.0, closed), Some((0.95, false)));
        check("http://10.2.0.10/", ladder(70_000.0, closed), None);
        check("http://10.2.0.10/", ladder(20_000.0, lost), None);
    }

    #[test]
    fn a_websocket_that_is_closed_is_a_broken_conversation_and_a_channel_of_grpc_is_not() {
        check("ws://10.2.0.10/feed", ladder(20_000.0, closed), Some((0.95, true)));
        check("grpc://10.2.0.10:80", ladder(20_000.0, closed), Some((0.95, false)));
    }

    #[test]
    fn a_server_that_looks_now_and_then_is_no_contradiction() {
        let mut lines = ladder(20_000.0, closed);
        lines.push(Held(HeldFor::Idle, 0.0, 22_900.0, answered()));
        check("redis://10.2.0.10:80", lines, Some((0.95, true)));
        let mut lines = ladder(20_000.0, closed);
        lines.push(Held(HeldFor::Idle, 0.0, 29_000.0, answered()));
        check("redis://10.2.0.10:80", lines, None);
    }

    #[test]
    fn a_reset_of_unknown_sender_is_only_one_that_fits() {
        check("http://10.2.0.10/", ladder(20_000.0, || (WhileIdle::Reset, None)), Some((0.45, true)));
    }

    #[test]
    fn a_reset_that_keep_alive_segments_do_not_put_off_is_the_servers_own_limit() {
        let reset = || (WhileIdle::Reset, None);
        let with_segments = |lives: f64| {
            let mut lines = ladder(40_000.0, reset);
            lines.push(Held(HeldFor::KeptAlive, 50_000.0, lives, if lives > 60_000.0 { answered() } else { reset() }));
            lines
        };
        check("mysql://10.2.0.10:80/shop", with_segments(40_100.0), Some((0.95, true)));
        check("mysql://10.2.0.10:80/shop", with_segments(64_000.0), Some((0.45, true)));
    }

    #[test]
    fn a_connection_used_at_the_very_moment_of_the_close_tells_no_other_limit() {
        let mut lines = ladder(20_000.0, closed);
        lines.push(Held(HeldFor::Idle, 0.0, 19_999.0, used(OnUse::Closed)));
        check("ws://10.2.0.10:80/feed", lines, Some((0.95, true)));
    }

    #[test]
    fn an_age_at_which_used_connections_end_as_well_is_none_of_idleness() {
        let mut lines = ladder(20_000.0, closed);
        lines.retain(|line| line.0 != HeldFor::Active);
        lines.push(Held(HeldFor::Active, 0.0, 20_000.0, closed()));
        check("http://10.2.0.10/", lines, None);
    }

    #[test]
    fn where_nothing_can_be_said_it_is_less_sure() {
        let mut lines = ladder(20_000.0, closed);
        lines.retain(|line| line.0 != HeldFor::Active);
        check("tcp://10.2.0.10:80", lines, Some((0.72, false)));
    }
}
