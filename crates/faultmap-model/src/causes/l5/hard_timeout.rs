//! Sessions are cut at a fixed age, whether they are used or not.

use super::held::{Ending, Limit, claim as held_claim, cut, fresh_works, session_is_service};
use crate::causes::l7::answer::spoken;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::HeldFor;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l5.hard-timeout`
pub(super) static CAUSE: Cause = Cause {
    id: "l5.hard-timeout",
    layer: Layer::L5,
    title: "sessions are cut at a fixed age",
    what: "Something ends every connection when it reaches a certain age, active or idle: a proxy with a limit for the whole session (10 min is common), \
           max_connection_age of a gRPC server, the time-out of a serverless platform, a VPN that renews its keys. Long downloads, streams and WebSockets break \
           off in the middle.",
    shows: "A connection that is used all the time ends at the same age as idle ones, and connections that were opened later end later. An idle limit \
            spares those that are used; a restart ends all at one moment.",
    confirm: &[
        Tool {
            run: "tcpdump -nti any 'tcp port {port} and tcp[13] & 5 != 0'",
            on: "here and on {ip}",
            why: "who ends it, and at what age",
        },
        Tool {
            run: "grep -rE 'max_connection_(age|duration)|max_stream_duration|timeout (client|server|tunnel)' /etc",
            on: "the server, and each proxy before it",
            why: "a limit of that length",
        },
    ],
    fix: &[
        "Raise or lift the limit for long sessions on the proxy or the server that sets it.",
        "Let the client end and renew its sessions before that age (maxLifetime of a pool; reconnect with jitter).",
        "Let the server say so first (GOAWAY, Connection: close, a close frame), so that nothing in flight is lost.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if fresh_works(ev) == Some(false) {
        return None;
    }
    proven(ev).or_else(|| possible(ev))
}

fn proven(ev: &Evidence<'_>) -> Option<Claim> {
    let cut = cut(ev)?;
    let (id, line) = cut.active;
    let age = spoken(line.age_ms);
    let also = cut.alike.iter().filter(|(_, line)| line.purpose != HeldFor::Active).count();
    let said = line.last_words.as_ref().map_or_else(String::new, |words| format!(" (it says {words})"));
    let summary =
        format!("Connections to {} are cut at an age of {age}{said}: one that was in use all the time, and {also} others.", line.to);
    let breaks = session_is_service(ev.target().scheme) && line.last_words.is_none();
    let confidence = if cut.repeated { 0.94 } else { 0.75 };
    let claim = held_claim(breaks, confidence, Where::Remote, line.to.to_string(), summary);
    Some(claim.citing([id]).citing(cut.alike.into_iter().take(3).map(|(id, _)| id)))
}

/// Where nothing can be said on a connection, age and idleness are the same.
fn possible(ev: &Evidence<'_>) -> Option<Claim> {
    let limit = Limit::of(ev).filter(|limit| matches!(limit.ending, Ending::Closed | Ending::Reset))?;
    if limit.is_of_idleness(ev) || ev.all::<crate::observation::SessionIdle>().any(|(_, line)| line.purpose == HeldFor::Active) {
        return None;
    }
    let line = limit.died.1;
    let summary = format!("Connections to {} end {}; nothing can be said on them to tell age from idleness.", line.to, limit.words());
    Some(Claim::degrades(0.3, Where::Remote, line.to.to_string(), summary).citing(limit.ids()))
}

#[cfg(test)]
mod tests {
    use super::super::held::kit::{Held, answered, closed, held, ladder};
    use super::*;
    use crate::testkit::claims;

    fn check(target: &str, lines: Vec<Held>, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, &held(target, lines)), expect);
    }

    fn cut_at(age: f64) -> Vec<Held> {
        let mut lines = ladder(age, closed);
        lines.retain(|line| line.0 != HeldFor::Active);
        lines.push(Held(HeldFor::Active, 0.0, age + 5.0, closed()));
        lines.push(Held(HeldFor::Active, 7_500.0, age + 9.0, closed()));
        lines
    }

    #[test]
    fn an_age_at_which_idle_and_used_connections_end_is_a_limit() {
        check("http://10.2.0.10/", cut_at(20_000.0), Some((0.94, false)));
        check("ws://10.2.0.10/feed", cut_at(20_000.0), Some((0.94, true)));
    }

    #[test]
    fn an_idle_limit_spares_the_one_that_is_used() {
        check("http://10.2.0.10/", ladder(20_000.0, closed), None);
    }

    #[test]
    fn what_ends_all_at_one_moment_is_an_event() {
        let mut lines = ladder(20_000.0, closed);
        lines.retain(|line| line.0 != HeldFor::Active);
        lines.push(Held(HeldFor::Active, 0.0, 20_000.0, closed()));
        lines.push(Held(HeldFor::Active, 7_500.0, 12_500.0, closed()));
        check("http://10.2.0.10/", lines, None);
    }

    #[test]
    fn where_nothing_can_be_said_age_is_possible() {
        let mut lines = ladder(20_000.0, closed);
        lines.retain(|line| line.0 != HeldFor::Active);
        check("tcp://10.2.0.10:80", lines, Some((0.3, false)));
        check("tcp://10.2.0.10:80", vec![Held(HeldFor::Idle, 0.0, 20_000.0, answered())], None);
    }
}
