//! TLS was spoken to a port that speaks something else in plain text.

use super::offers::{Failed, PLAIN_REQUEST, any_accepted, failed};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DialogueOutcome, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l6.plaintext-on-tls-port`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.plaintext-on-tls-port",
    layer: Layer::L6,
    title: "the server speaks plain text where TLS is expected",
    what: "The port answers a TLS hello with plain text: TLS is not switched on there, the URL says https for an http port, or another service (SSH, SMTP, a \
           database that begins in plain text) listens on it.",
    shows: "The first bytes are not a TLS record; they name the protocol. OpenSSL calls this \"wrong version number\".",
    confirm: &[
        Tool {
            run: "curl -sv http://{host}:{port}/ -o /dev/null 2>&1 | head -20",
            on: "here",
            why: "answered: the port speaks plain HTTP",
        },
        Tool { run: "ss -ltnp 'sport = :{port}'", on: "{ip}", why: "names the program that listens" },
    ],
    fix: &[
        "Switch TLS on for this port (nginx: listen {port} ssl), or use the port that has it.",
        "If plain text is meant, check http://{host}:{port}/ in place of https.",
        "For protocols that begin in plain text (SMTP, LDAP, PostgreSQL), use STARTTLS or the protocol's own TLS port.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    not_offered(ev).or_else(|| at_hello(ev))
}

/// The protocol's own way into TLS is closed.
fn not_offered(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue()?;
    if dialogue.outcome != DialogueOutcome::TlsNotOffered {
        return None;
    }
    let summary = format!("{} at {} offers no TLS, and TLS was demanded.", dialogue.protocol.title(), dialogue.to);
    let advice = match ev.target().scheme {
        crate::Scheme::Postgres => {
            "Switch it on at the server (ssl = on, with server.crt and server.key), or drop sslmode from the URL if plain text will do."
        }
        crate::Scheme::Mysql => "Switch it on at the server (ssl_cert, ssl_key), or drop ssl-mode from the URL if plain text will do.",
        _ => {
            "A mail server that announces no STARTTLS takes no password: switch TLS on there, or use the port that has it (587, 465). A box on the way may also strip the announcement."
        }
    };
    let claim = Claim::proven(0.97, Where::Remote, dialogue.to.to_string(), summary).citing([id]).despite_answers().advising(advice);
    Some(crate::causes::l7::clients::with_clients(claim, ev, "the same question by hand"))
}

fn at_hello(ev: &Evidence<'_>) -> Option<Claim> {
    let failed = failed(ev)?;
    if echoed(failed.outcome) {
        let summary = format!("{} speaks no TLS: it sends our own hello back to us, as an echo service does.", failed.to);
        return Some(Claim::proven(0.95, Where::Remote, failed.to.to_string(), summary).citing([failed.id]));
    }
    let (answer, outcome) = match failed.outcome {
        TlsOutcome::Silent { .. } => waited_for_text(ev, &failed)?,
        outcome => (failed.id, outcome),
    };
    let TlsOutcome::NotTls { first_bytes, looks_like } = outcome else { return None };
    let begins: String = first_bytes.chars().take(40).collect();
    let spoken = match looks_like.as_deref() {
        Some("http" | "html") => "plain HTTP".to_owned(),
        Some("http2") => "HTTP/2 without TLS".to_owned(),
        Some(protocol) => format!("{} in plain text", protocol.to_uppercase()),
        None => "plain text".to_owned(),
    };
    let question = if answer == failed.id { "our hello" } else { "a plain request, where a hello gets none," };
    let summary = format!("{} speaks {spoken}, not TLS: its answer to {question} begins with {begins:?}.", failed.to);
    let confidence = if looks_like.is_some() { 0.98 } else { 0.95 };
    Some(Claim::proven(confidence, Where::Remote, failed.to.to_string(), summary).citing([failed.id, answer]))
}

/// A ClientHello can come from a server only if it is our own, returned.
pub(super) fn echoed(outcome: &TlsOutcome) -> bool {
    matches!(outcome, TlsOutcome::Rejected { why } if why.contains("got ClientHello"))
}

/// No hello is answered, and a plain request is: the server waits for the end of a line that no hello has. A TLS server that answers plain text
/// answers it with 400.
pub(super) fn waited_for_text<'a>(ev: &Evidence<'a>, failed: &Failed<'a>) -> Option<(ObservationId, &'a TlsOutcome)> {
    let (id, tls) = ev.handshake_offering(PLAIN_REQUEST)?;
    let TlsOutcome::NotTls { first_bytes, .. } = &tls.outcome else { return None };
    let refused = first_bytes.starts_with("HTTP/") && first_bytes.split(' ').nth(1) == Some("400");
    let delivered = failed.tcp.is_some_and(|tcp| tcp.unacked == 0);
    (delivered && !refused && any_accepted(ev).is_none()).then_some((id, &tls.outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{alert, claims, recording, tls};

    fn check(outcome: TlsOutcome, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, &recording("https://shop.test/", vec![tls("default", outcome).into()])), expect);
    }

    #[test]
    fn first_bytes_that_are_no_tls_record_are_plain_text() {
        let said = |words: &str, protocol: Option<&str>| TlsOutcome::NotTls {
            first_bytes: words.to_owned(),
            looks_like: protocol.map(str::to_owned),
        };
        check(said("HTTP/1.1 400 Bad Request", Some("http")), Some((0.98, true)));
        check(said("SSH-2.0-OpenSSH_9.2", Some("ssh")), Some((0.98, true)));
        check(said("hello", None), Some((0.95, true)));
    }

    #[test]
    fn our_own_hello_sent_back_is_an_echo_service() {
        let why = "received unexpected handshake message: got ClientHello when expecting ServerHello or HelloRetryRequest".to_owned();
        check(TlsOutcome::Rejected { why }, Some((0.95, true)));
        check(TlsOutcome::Rejected { why: "received corrupt message of type HandshakePayloadTooLarge".to_owned() }, None);
    }

    #[test]
    fn a_server_that_answers_only_a_plain_request_speaks_plain_text() {
        let mute = || {
            crate::testkit::but::<crate::observation::TlsHandshake>(
                recording("https://shop.test/", vec![tls("default", TlsOutcome::Silent { waited_ms: 4.5e3, received_bytes: 0 }).into()]),
                |tls| tls.tcp = Some(crate::observation::TcpHealth::default()),
            )
        };
        let said =
            |words: &str| tls(PLAIN_REQUEST, TlsOutcome::NotTls { first_bytes: words.to_owned(), looks_like: Some("http".to_owned()) });
        let with = |words: &str| claims(&CAUSE, &crate::testkit::plus(mute(), said(words)));
        assert_eq!(with("HTTP/1.1 200 OK\\r\\n"), Some((0.98, true)));
        // A TLS server that stalls on the hello says this to plain text.
        assert_eq!(with("HTTP/1.1 400 Bad Request\\r\\n"), None);
        assert_eq!(claims(&CAUSE, &mute()), None);
    }

    #[test]
    fn an_alert_or_silence_is_no_plain_text() {
        check(alert(40), None);
        check(TlsOutcome::Silent { waited_ms: 4e3, received_bytes: 0 }, None);
    }

    #[test]
    fn a_service_that_offers_no_tls_where_it_is_demanded_speaks_plain_text() {
        let without = crate::testkit::spoken("postgres://db.test?sslmode=require", "ssl-request", DialogueOutcome::TlsNotOffered);
        assert_eq!(claims(&CAUSE, &without), Some((0.97, true)));
    }
}
