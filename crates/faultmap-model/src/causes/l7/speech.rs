//! A conversation in a service's own protocol, as the causes that hold for every protocol read it: what it answered, how it ended, what else
//! speaks on the port. It claims nothing.

use crate::causes::l6::offers::PLAIN_REQUEST;
use crate::observation::{Dialogue, DialogueOutcome, Spoken, TlsOutcome};
use crate::{Evidence, ObservationId};

/// How a conversation ended before its answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::causes) enum End {
    Silent { waited_ms: f64, received: u64 },
    Closed { received: u64 },
    Reset { received: u64 },
}

/// A conversation that did not come to its answer.
pub(in crate::causes) struct Broken<'a> {
    pub(in crate::causes) id: ObservationId,
    pub(in crate::causes) dialogue: &'a Dialogue,
    pub(in crate::causes) end: End,
}

/// The user's conversation, when it broke off: in silence, by FIN or by RST.
pub(in crate::causes) fn broken<'a>(ev: &Evidence<'a>) -> Option<Broken<'a>> {
    let (id, dialogue) = ev.dialogue()?;
    Some(Broken { id, dialogue, end: end(dialogue)? })
}

/// How this conversation broke off.
pub(in crate::causes) fn end(dialogue: &Dialogue) -> Option<End> {
    let said = |received: u64| if only_settings(dialogue, received) { 0 } else { received };
    match dialogue.outcome {
        DialogueOutcome::Silent { waited_ms, received_bytes } => Some(End::Silent { waited_ms, received: said(received_bytes) }),
        DialogueOutcome::Closed { received_bytes } => Some(End::Closed { received: said(received_bytes) }),
        DialogueOutcome::Reset { received_bytes } => Some(End::Reset { received: said(received_bytes) }),
        _ => None,
    }
}

/// The opening frames of HTTP/2 (SETTINGS, WINDOW_UPDATE, acknowledgement; RFC 9113 3.4) are no answer to a gRPC call.
fn only_settings(dialogue: &Dialogue, received: u64) -> bool {
    const PREFACE_MOST_BYTES: u64 = 160;
    dialogue.protocol == Spoken::Grpc && dialogue.steps.len() <= 1 && received <= PREFACE_MOST_BYTES
}

/// The conversation of this purpose that was answered.
pub(in crate::causes) fn answered(ev: &Evidence<'_>, purpose: &str) -> Option<ObservationId> {
    ev.dialogue_for(purpose).filter(|(_, dialogue)| dialogue.answered()).map(|(id, _)| id)
}

/// The service did what it was asked, or was ready to.
pub(in crate::causes) fn well(dialogue: &Dialogue) -> bool {
    matches!(
        dialogue.outcome,
        DialogueOutcome::Done { .. }
            | DialogueOutcome::CredentialsWanted { user_given: false, .. }
            | DialogueOutcome::LoginUnsupported { .. }
    )
}

/// Another protocol on the target's port, found by asking in it where ours got no answer.
pub(in crate::causes) struct Other<'a> {
    pub(in crate::causes) id: ObservationId,
    /// As first bytes are recognised: `http`, `postgres`.
    pub(in crate::causes) name: &'a str,
    /// What it said, if it is text.
    pub(in crate::causes) begins: Option<&'a str>,
}

/// The protocol that answers where the target's own gets nothing.
pub(in crate::causes) fn another_protocol<'a>(ev: &Evidence<'a>) -> Option<Other<'a>> {
    let own = ev.target().scheme.dialogue().filter(|own| *own != Spoken::Websocket)?;
    if broken(ev).is_none_or(|broken| {
        !matches!(broken.end, End::Silent { received: 0, .. } | End::Closed { received: 0 } | End::Reset { received: 0 })
    }) {
        return None;
    }
    let asked = ev.all::<Dialogue>().find(|(_, other)| other.purpose == "other-protocol" && other.protocol != own && other.answered());
    if let Some((id, _)) = asked {
        return Some(Other { id, name: "postgres", begins: None });
    }
    let (id, plain) = ev.handshake_offering(PLAIN_REQUEST)?;
    match &plain.outcome {
        TlsOutcome::NotTls { first_bytes, looks_like: Some(name) } if !speaks(own, name) => {
            Some(Other { id, name, begins: Some(first_bytes) })
        }
        _ => None,
    }
}

/// The server should have greeted, and said nothing; and it hangs up when it is spoken to: it waits for a client of another protocol. (A
/// server of ours that is stuck does not even read.)
pub(in crate::causes) fn waits_for_another_client(ev: &Evidence<'_>) -> Option<ObservationId> {
    let broken = broken(ev)?;
    let greets = matches!(broken.dialogue.protocol, Spoken::Mysql | Spoken::Smtp);
    let (id, plain) = ev.handshake_offering(PLAIN_REQUEST)?;
    let hangs_up = matches!(plain.outcome, TlsOutcome::Closed { received_bytes: 0 } | TlsOutcome::Reset { received_bytes: 0 });
    (greets && hangs_up && matches!(broken.end, End::Silent { received: 0, .. })).then_some(id)
}

/// These first bytes are of the protocol that was asked for.
fn speaks(own: Spoken, looks_like: &str) -> bool {
    own.title().eq_ignore_ascii_case(looks_like)
        || match own {
            Spoken::Postgres => looks_like == "postgres",
            Spoken::Smtp => looks_like == "smtp-or-ftp",
            // An upgrade is asked for in HTTP/1.1.
            Spoken::Websocket => matches!(looks_like, "http" | "html"),
            Spoken::Grpc => looks_like == "http2",
            _ => false,
        }
}

/// A protocol's name as its community writes it.
pub(in crate::causes) fn name(protocol: &str) -> String {
    match protocol {
        "http2" => "HTTP/2".to_owned(),
        "html" => "HTTP (a page without a status line)".to_owned(),
        "echo" => "an echo protocol (it sends our own request back)".to_owned(),
        "mysql" => "MySQL".to_owned(),
        "postgres" => "PostgreSQL".to_owned(),
        "redis" => "Redis".to_owned(),
        "memcached" => "memcached".to_owned(),
        "smtp-or-ftp" => "SMTP or FTP".to_owned(),
        other => other.to_uppercase(),
    }
}

/// What a conversation that ends at this step was doing, for a sentence: `at its authentication`.
pub(in crate::causes) fn moment(dialogue: &Dialogue) -> String {
    match dialogue.ended_at() {
        "greeting" | "version" | "connect" | "start" | "ssl-request" => {
            format!("before it has said a word of {}", dialogue.protocol.title())
        }
        step => format!("at the step {step:?} of {}", dialogue.protocol.title()),
    }
}
