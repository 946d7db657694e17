//! The lines of held sessions: idle, kept alive, used again.

use super::time;
use faultmap_model::observation::{HeldFor, KeptBy, Means, OnUse, SessionIdle, SessionReuse, WhileIdle};

/// One held connection.
pub(super) fn idle(it: &SessionIdle) -> String {
    let ttl = match (it.answer_ttl, it.reset_ttl) {
        (Some(answer), Some(reset)) => format!(", TTL {reset}; the handshake's was {answer}"),
        _ => String::new(),
    };
    let held = match it.purpose {
        HeldFor::Fresh => held(it),
        _ => format!("{} for {}", held(it), time(it.idle_ms)),
    };
    format!("{} {}, {held}: {}{ttl}", it.protocol, it.to, ending(it))
}

/// What was done with it.
pub(in crate::render) fn held(it: &SessionIdle) -> String {
    match (it.purpose, &it.kept_by) {
        (HeldFor::Fresh, _) => "a fresh connection".to_owned(),
        (_, Some(kept)) => means(kept),
        (_, None) => "idle".to_owned(),
    }
}

fn means(kept: &KeptBy) -> String {
    let every = time(kept.every_ms);
    match kept.by {
        Means::TcpKeepAlive => format!("TCP keep-alive every {every}"),
        Means::Ping => format!("a ping every {every}"),
        Means::Request => format!("a request every {every}"),
    }
}

/// How it ended, with the peer's last words.
pub(in crate::render) fn ending(it: &SessionIdle) -> String {
    let words = it.last_words.as_ref().map_or_else(String::new, |words| format!(" ({words})"));
    format!("{}{words}", end(it))
}

fn end(it: &SessionIdle) -> String {
    match (&it.while_idle, &it.on_use) {
        (WhileIdle::Closed, _) => "closed by the peer".to_owned(),
        (WhileIdle::Reset, _) => "reset".to_owned(),
        (WhileIdle::Failed { errno }, _) => format!("failed with {errno}"),
        (WhileIdle::Quiet, Some(used)) => format!("then {}", on_use(used)),
        (WhileIdle::Quiet, None) => "not used".to_owned(),
    }
}

fn on_use(used: &OnUse) -> String {
    match used {
        OnUse::Answered { status: Some(status), took_ms } => format!("answered with {status} in {}", time(*took_ms)),
        OnUse::Answered { status: None, took_ms } => format!("answered in {}", time(*took_ms)),
        OnUse::Closed => "closed in place of an answer".to_owned(),
        OnUse::Reset => "reset in place of an answer".to_owned(),
        OnUse::Silent { waited_ms, retransmits, acknowledged } => {
            let delivered = if *acknowledged { "acknowledged, not answered" } else { "not even acknowledged" };
            format!("silent for {}, {delivered}, sent again {retransmits} times", time(*waited_ms))
        }
        OnUse::Failed { why } => format!("failed: {why}"),
    }
}

/// Two requests on one connection.
pub(super) fn reuse(it: &SessionReuse) -> String {
    let second = match (&it.second, it.announced_close, it.ended_before) {
        (Some(second), ..) => format!("a second request on the connection is {}", on_use(second)),
        (None, true, _) => "the peer said that it closes after the answer".to_owned(),
        (None, false, true) => "the peer closed after the answer without saying so".to_owned(),
        (None, false, false) => "no second request was sent".to_owned(),
    };
    let fresh = it.fresh.as_ref().map_or_else(String::new, |fresh| format!("; on a fresh one it is {}", on_use(fresh)));
    format!("{} {}: the first request is {}; {second}{fresh}", it.protocol, it.to, on_use(&it.first))
}
