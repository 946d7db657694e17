//! Another protocol than HTTP speaks on the port.

use super::answer::exchange;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::HttpOutcome;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.protocol-mismatch`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.protocol-mismatch",
    layer: Layer::L7,
    title: "another protocol speaks on this port",
    what: "The port is open and somebody answers, but in another protocol: a wrong port, or a service that took the port of another.",
    shows: "The first bytes are the greeting or the error of a known protocol. TLS bytes are a matter of L6.",
    confirm: &[
        Tool { run: "nc -w 3 {ip} {port} </dev/null | head -c 200", on: "here", why: "shows the greeting" },
        Tool { run: "ss -ltnp 'sport = :{port}'", on: "{ip}", why: "names the program that listens" },
    ],
    fix: &[
        "Use the port on which the HTTP service listens, or the protocol that this port speaks.",
        "If another program took the port, move one of them.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
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

fn name(protocol: &str) -> String {
    match protocol {
        "http2" => "HTTP/2".to_owned(),
        "echo" => "an echo protocol (it sends our own request back)".to_owned(),
        "mysql" => "MySQL".to_owned(),
        "postgres" => "PostgreSQL".to_owned(),
        "redis" => "Redis".to_owned(),
        "smtp-or-ftp" => "SMTP or FTP".to_owned(),
        other => other.to_uppercase(),
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
}
