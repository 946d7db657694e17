//! A connection that is used again fails, where a fresh one works.

use super::held::{Ending, Limit, cut, fresh_works};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{OnUse, SessionReuse};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l5.keepalive-race`
pub(super) static CAUSE: Cause = Cause {
    id: "l5.keepalive-race",
    layer: Layer::L5,
    title: "a reused connection fails where a fresh one works",
    what: "One end has given a kept connection up, the other uses it once more: a reset, a close without answer, or a 502 from a balancer whose backend closes \
           idle connections sooner than the balancer does. Fresh connections are well, so that one request in many fails, and repeating it helps.",
    shows: "A second request on a connection that the server had kept open (no Connection: close, no GOAWAY) fails, and the same request on a fresh \
            connection is answered. If fresh connections fail as well, it is the service.",
    confirm: &[
        Tool {
            run: "curl -sv {url} {url} -o /dev/null -o /dev/null 2>&1 | grep -iE 're-using|reset|empty reply|died|< HTTP'",
            on: "here",
            why: "the second request reuses the connection: does it fail?",
        },
        Tool {
            run: "grep -E 'upstream prematurely closed|recv\\(\\) failed|SD--|SH--' /var/log/nginx/error.log /var/log/haproxy.log",
            on: "the balancer",
            why: "backends that close connections which the balancer has kept",
        },
    ],
    fix: &[
        "Let the idle limit of each server be longer than that of whoever stands before it (Node: server.keepAliveTimeout above the balancer's, 60 s).",
        "Let clients and balancers close idle connections a few seconds before the server does, and repeat idempotent requests once on a fresh connection.",
        "If the server closes after an answer, let it say Connection: close.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    at_once(ev).or_else(|| after_idleness(ev))
}

/// The second of two requests, one right after the other.
fn at_once(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, reuse) = ev.all::<SessionReuse>().last()?;
    // A close that is there before the second request is sent costs a client one look at its socket: no race was seen.
    if reuse.announced_close || reuse.ended_before {
        return None;
    }
    let second = reuse.second.as_ref().filter(|second| !well(second))?;
    reuse.fresh.as_ref().filter(|fresh| well(fresh))?;
    let confidence = if matches!(second, OnUse::Answered { .. }) { 0.7 } else { 0.92 };
    let how = words(second);
    let summary = format!("{} keeps the connection, but a second request on it {how}; on a fresh connection it is answered.", reuse.to);
    Some(Claim::degrades(confidence, Where::Remote, reuse.to.to_string(), summary).citing([id]))
}

/// Connections that were idle are still there and no longer work: what stands behind them has given up.
fn after_idleness(ev: &Evidence<'_>) -> Option<Claim> {
    let limit = Limit::of(ev).filter(|limit| limit.ending == Ending::Failed && cut(ev).is_none())?;
    if fresh_works(ev) != Some(true) {
        return None;
    }
    let line = limit.died.1;
    let how = line.on_use.as_ref().map_or("fails", words);
    let summary =
        format!("A request on a connection to {} that was idle {} {how}; on a fresh connection it is answered.", line.to, limit.words());
    let confidence = if limit.alike.len() > 1 { 0.85 } else { 0.65 };
    Some(Claim::degrades(confidence, Where::Remote, line.to.to_string(), summary).citing(limit.ids()))
}

fn well(answer: &OnUse) -> bool {
    matches!(answer, OnUse::Answered { status, .. } if status.is_none_or(|status| status < 500))
}

const fn words(answer: &OnUse) -> &'static str {
    match answer {
        OnUse::Answered { status: Some(502), .. } => "is answered with 502",
        OnUse::Answered { .. } => "is answered with a server error",
        OnUse::Closed => "is met by a close",
        OnUse::Reset => "is met by a reset",
        OnUse::Silent { .. } => "is not answered",
        OnUse::Failed { .. } => "fails",
    }
}

#[cfg(test)]
mod tests {
    use super::super::held::kit::{answered, held, ladder, used};
    use super::*;
    use crate::testkit::{claims, healthy_http, plus};

    fn ok() -> OnUse {
        OnUse::Answered { status: Some(200), took_ms: 2.0 }
    }

    fn reuse(second: Option<OnUse>, fresh: Option<OnUse>) -> SessionReuse {
        let to = "10.2.0.10:443".parse().expect("addr");
        let protocol = "http/1.1".to_owned();
        SessionReuse { to, protocol, first: ok(), announced_close: false, second, ended_before: false, fresh }
    }

    fn check(reuse: SessionReuse, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, &plus(healthy_http(), reuse)), expect);
    }

    #[test]
    fn a_second_request_that_fails_where_a_fresh_one_works_is_a_race() {
        check(reuse(Some(OnUse::Reset), Some(ok())), Some((0.92, false)));
        check(reuse(Some(OnUse::Closed), Some(ok())), Some((0.92, false)));
        let bad_gateway = OnUse::Answered { status: Some(502), took_ms: 1.0 };
        check(reuse(Some(bad_gateway.clone()), Some(ok())), Some((0.7, false)));
        check(reuse(Some(bad_gateway.clone()), Some(bad_gateway)), None);
        check(reuse(Some(ok()), None), None);
    }

    #[test]
    fn a_close_that_was_announced_or_is_there_in_time_is_no_race() {
        check(SessionReuse { announced_close: true, ..reuse(None, None) }, None);
        check(SessionReuse { ended_before: true, ..reuse(None, None) }, None);
    }

    #[test]
    fn a_balancer_whose_backend_has_given_up_shows_after_idleness() {
        let bad_gateway = || used(OnUse::Answered { status: Some(502), took_ms: 1.0 });
        let check = |lines, expect| assert_eq!(claims(&CAUSE, &held("http://10.2.0.10/", lines)), expect);
        check(ladder(20_000.0, bad_gateway), Some((0.85, false)));
        check(ladder(70_000.0, bad_gateway), None);
        check(ladder(20_000.0, answered), None);
    }
}
