//! The line of a conversation in a service's own protocol.

use super::{count, time};
use faultmap_model::observation::{Dialogue, DialogueOutcome};

/// The line.
pub(super) fn words(it: &Dialogue) -> String {
    let server = it.server.as_ref().map_or_else(String::new, |server| format!(" ({server})"));
    let facts: Vec<String> = it.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let facts = if facts.is_empty() { String::new() } else { format!("; {}", facts.join(", ")) };
    format!("{} with {}{server}: {}{facts}", it.protocol.title(), it.to, ending(it))
}

fn ending(it: &Dialogue) -> String {
    let at = it.ended_at();
    match &it.outcome {
        DialogueOutcome::Done { what } => what.clone(),
        DialogueOutcome::CredentialsWanted { method, user_given: true } => format!("asks for a password ({method}), and none was given"),
        DialogueOutcome::CredentialsWanted { method, .. } => format!("asks for credentials ({method}), and none were given"),
        DialogueOutcome::LoginUnsupported { method } => format!("wants a login that faultmap does not speak ({method})"),
        DialogueOutcome::Refused { code, message } => format!("refused at {at}: {code} {message}"),
        DialogueOutcome::TlsWanted { message } => format!("wants TLS: {message}"),
        DialogueOutcome::TlsNotOffered => "offers no TLS".to_owned(),
        DialogueOutcome::Foreign { looks_like, first_bytes } => {
            format!("another protocol ({}): {first_bytes:?}", looks_like.as_deref().unwrap_or("unknown"))
        }
        DialogueOutcome::Malformed { why } => format!("malformed at {at}: {why}"),
        DialogueOutcome::Closed { received_bytes } => format!("closed at {at} after {}", count(*received_bytes, "byte")),
        DialogueOutcome::Reset { received_bytes } => format!("reset at {at} after {}", count(*received_bytes, "byte")),
        DialogueOutcome::Silent { waited_ms, received_bytes } => {
            format!("silent at {at} for {} after {}", time(*waited_ms), count(*received_bytes, "byte"))
        }
        DialogueOutcome::NoConnection { why } => format!("no connection: {why}"),
    }
}
