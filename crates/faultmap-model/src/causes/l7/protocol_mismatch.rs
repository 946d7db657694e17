//! Another protocol than the one asked for speaks on the port.

use super::answer::exchange;
use super::clients;
use super::speech::{another_protocol, broken, name, waits_for_another_client};
use crate::causes::l6::alpn;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DialogueOutcome, HttpOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.protocol-mismatch`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.protocol-mismatch",
    layer: Layer::L7,
    title: "another protocol speaks on this port",
    what: "The port is open and somebody answers, but in another protocol: a wrong port, or a service that took the port of another.",
    shows: "The first bytes are the greeting or the error of another protocol; or the port is silent in the wanted one and answers a plain HTTP request or \
            PostgreSQL's SSLRequest. TLS bytes are a matter of L6.",
    confirm: &[
        Tool { run: "nc -w 3 {ip} {port} </dev/null | head -c 200", on: "here", why: "shows the greeting" },
        Tool { run: "ss -ltnp 'sport = :{port}'", on: "{ip}", why: "names the program that listens" },
    ],
    fix: &[
        "Use the port on which the wanted service listens, or the protocol that this port speaks.",
        "If another program took the port, move one of them.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    in_http(ev).or_else(|| in_words(ev)).or_else(|| in_another(ev)).or_else(|| waiting(ev))
}

fn in_http(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, http) = exchange(ev)?;
    let HttpOutcome::Malformed { first_bytes, looks_like: Some(protocol), .. } = &http.outcome else { return None };
    // `http` and `html` are bad HTTP; `tls` is a matter of L6, and so is HTTP/2 where ALPN agreed on something else.
    let elsewhere = matches!(protocol.as_str(), "http" | "html" | "tls") || (protocol == "http2" && ev.target().scheme.uses_tls());
    if elsewhere {
        return None;
    }
    let begins: String = first_bytes.chars().take(40).collect();
    let name = name(protocol);
    let summary = format!("{} speaks {name}, not HTTP/1.1: its answer begins with {begins:?}.", http.to);
    let claim = Claim::proven(0.96, Where::Remote, http.to.to_string(), summary).citing([id]).despite_answers();
    Some(match protocol.as_str() {
        "http2" => claim.advising(
            "The server wants HTTP/2 without TLS from the first byte (as gRPC servers do): curl --http2-prior-knowledge reaches it.",
        ),
        _ => claim,
    })
}

/// What came in answer to the wanted protocol, or as a greeting, is of another.
fn in_words(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue()?;
    let DialogueOutcome::Foreign { looks_like, first_bytes } = &dialogue.outcome else { return None };
    if alpn::mismatch(ev).is_some() {
        return None;
    }
    let begins: String = first_bytes.chars().take(40).collect();
    let wanted = dialogue.protocol.title();
    let (spoken, confidence) = match looks_like.as_deref() {
        Some("tls") => return None,
        Some(protocol) => (format!("{}, not {wanted}", name(protocol)), 0.97),
        None => (format!("something else than {wanted}"), 0.85),
    };
    let summary = format!("{} speaks {spoken}: its words begin with {begins:?}.", dialogue.to);
    Some(told(Claim::proven(confidence, Where::Remote, dialogue.to.to_string(), summary).citing([id]), ev))
}

/// Nothing came in the wanted protocol, and something in another.
fn in_another(ev: &Evidence<'_>) -> Option<Claim> {
    let (broken, other) = (broken(ev)?, another_protocol(ev)?);
    let wanted = broken.dialogue.protocol.title();
    let begins = other.begins.map(|begins| format!(" with {:?}", begins.chars().take(40).collect::<String>())).unwrap_or_default();
    let to = broken.dialogue.to;
    let summary = format!("{to} gives {wanted} no answer, but answers in {}{begins}: another service listens there.", name(other.name));
    Some(told(Claim::proven(0.95, Where::Remote, to.to_string(), summary).citing([broken.id, other.id]).despite_answers(), ev))
}

/// The server waits for words of a client where it should speak first, and likes none of ours.
fn waiting(ev: &Evidence<'_>) -> Option<Claim> {
    let (broken, id) = (broken(ev)?, waits_for_another_client(ev)?);
    if crate::causes::l6::offers::speaks_tls(ev).is_some() || broken.dialogue.tcp.as_ref().is_none_or(|tcp| tcp.unacked != 0) {
        return None;
    }
    let to = broken.dialogue.to;
    let title = broken.dialogue.protocol.title();
    let summary = format!(
        "{to} does not greet as {title} does, and hangs up when it is spoken to: a service of another protocol listens there, whose client begins."
    );
    Some(told(Claim::proven(0.85, Where::Remote, to.to_string(), summary).citing([broken.id, id]), ev))
}

/// With the port on which the wanted protocol is at home.
fn told(claim: Claim, ev: &Evidence<'_>) -> Claim {
    let scheme = ev.target().scheme;
    let usual = scheme.default_port().filter(|port| *port != ev.target().port && clients::of(ev).is_some());
    match usual {
        Some(port) => claim.advising(format!("{}:// is at home on port {port}: see that the URL names the right port.", scheme.name())),
        None => claim,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::HttpExchange;
    use crate::testkit::{but, claims, healthy_http, healthy_https};

    fn check(recording: Recording, looks_like: Option<&str>, expect: Option<(f64, bool)>) {
        let spoken = but::<HttpExchange>(recording, |http| {
            http.outcome = HttpOutcome::Malformed {
                why: "not HTTP".to_owned(),
                first_bytes: "SSH-2.0-x".to_owned(),
                looks_like: looks_like.map(str::to_owned),
            };
        });
        assert_eq!(claims(&CAUSE, &spoken), expect, "{looks_like:?}");
    }

    #[test]
    fn a_known_greeting_names_the_protocol() {
        check(healthy_http(), Some("ssh"), Some((0.96, true)));
        check(healthy_https(), Some("smtp"), Some((0.96, true)));
        check(healthy_http(), Some("http2"), Some((0.96, true)));
    }

    #[test]
    fn bad_http_and_tls_are_not_another_protocol() {
        check(healthy_http(), None, None);
        check(healthy_http(), Some("http"), None);
        check(healthy_http(), Some("tls"), None);
        check(healthy_https(), Some("http2"), None);
        assert_eq!(claims(&CAUSE, &healthy_http()), None);
    }

    fn dialogue_said(looks_like: Option<&str>) -> Recording {
        let words = DialogueOutcome::Foreign { looks_like: looks_like.map(str::to_owned), first_bytes: "HTTP/1.1 400".to_owned() };
        crate::testkit::spoken("postgres://db.test", "ssl-request", words)
    }

    #[test]
    fn a_database_port_that_speaks_otherwise_is_another_service() {
        assert_eq!(claims(&CAUSE, &dialogue_said(Some("http"))), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &dialogue_said(None)), Some((0.85, true)));
        assert_eq!(claims(&CAUSE, &dialogue_said(Some("tls"))), None);
    }

    #[test]
    fn a_port_that_is_silent_in_one_protocol_and_answers_in_another_is_another_service() {
        use crate::observation::TlsOutcome;
        use crate::testkit::{conversation, plus, spoken, tls};
        let silent = || spoken("mysql://db.test", "greeting", DialogueOutcome::Silent { waited_ms: 9e3, received_bytes: 0 });
        let plain = |looks_like: &str| {
            tls("plain-request", TlsOutcome::NotTls { first_bytes: "...".to_owned(), looks_like: Some(looks_like.to_owned()) })
        };
        assert_eq!(claims(&CAUSE, &silent()), None);
        assert_eq!(claims(&CAUSE, &plus(silent(), plain("http"))), Some((0.95, true)));
        // It greets the second time: its own protocol, and mute at times.
        assert_eq!(claims(&CAUSE, &plus(silent(), plain("mysql"))), None);
        // A stuck server of our protocol does not read, and so does not hang up.
        assert_eq!(claims(&CAUSE, &plus(silent(), tls("plain-request", TlsOutcome::Closed { received_bytes: 0 }))), Some((0.85, true)));
        let postgres = conversation("postgres://db.test", "other-protocol", "ssl-request", DialogueOutcome::Done { what: "S".to_owned() });
        assert_eq!(claims(&CAUSE, &plus(silent(), postgres)), Some((0.95, true)));
    }
}
