//! TLS was spoken to a port that speaks something else in plain text.

use super::offers::failed;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::TlsOutcome;
use crate::verdict::Where;
use crate::{Evidence, Layer};

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
    let failed = failed(ev)?;
    let TlsOutcome::NotTls { first_bytes, looks_like } = failed.outcome else { return None };
    let begins: String = first_bytes.chars().take(40).collect();
    let spoken = match looks_like.as_deref() {
        Some("http" | "html") => "plain HTTP".to_owned(),
        Some("http2") => "HTTP/2 without TLS".to_owned(),
        Some(protocol) => format!("{} in plain text", protocol.to_uppercase()),
        None => "plain text".to_owned(),
    };
    let summary = format!("{} speaks {spoken}, not TLS: its answer to our hello begins with {begins:?}.", failed.to);
    let confidence = if looks_like.is_some() { 0.98 } else { 0.95 };
    Some(Claim::proven(confidence, Where::Remote, failed.to.to_string(), summary).citing([failed.id]))
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
    fn an_alert_or_silence_is_no_plain_text() {
        check(alert(40), None);
        check(TlsOutcome::Silent { waited_ms: 4e3, received_bytes: 0 }, None);
    }
}
