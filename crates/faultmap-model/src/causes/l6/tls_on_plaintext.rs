//! A protocol in plain text was spoken to a port that wants TLS.

use super::offers::speaks_tls;
use crate::causes::l7::answer::{asks_for_tls, exchange, wants_tls};
use crate::causes::l7::clients::with_clients;
use crate::causes::l7::speech::{self, End};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DialogueOutcome, HttpOutcome, Spoken};
use crate::verdict::Where;
use crate::{Evidence, Layer, Scheme};

/// `l6.tls-on-plaintext-port`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.tls-on-plaintext-port",
    layer: Layer::L6,
    title: "the server wants TLS and was asked in plain text",
    what: "The URL says http, redis, smtp or another protocol in plain text, and the port speaks TLS: a wrong scheme in the URL, or a proxy that sends plain \
           text to a backend with TLS. Or the server speaks in plain text so far only as to say that it wants TLS.",
    shows: "The answer is a TLS alert, or a 400 whose words say so: nginx \"The plain HTTP request was sent to HTTPS port\", Go \"Client sent an HTTP request to \
            an HTTPS server\", Apache \"speaking plain HTTP to an SSL-enabled server port\"; or the port closes on plain text and answers a TLS hello.",
    confirm: &[
        Tool {
            run: "openssl s_client -connect {host}:{port} </dev/null 2>/dev/null | head -3",
            on: "here",
            why: "a certificate: the port speaks TLS",
        },
        Tool { run: "curl -sk -o /dev/null -w '%{http_code}\\n' https://{host}:{port}/", on: "here", why: "answered: the port speaks TLS" },
    ],
    fix: &[
        "Use the scheme with TLS in the URL: https, rediss, smtps, amqps, mqtts.",
        "If a proxy sends the request, let it speak TLS to this backend (nginx: proxy_pass https://...).",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    in_http(ev).or_else(|| in_dialogue(ev))
}

/// In a service's own protocol.
fn in_dialogue(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue()?;
    let title = dialogue.protocol.title();
    let said = match &dialogue.outcome {
        DialogueOutcome::Foreign { looks_like: Some(protocol), .. } if protocol == "tls" => "it answers with a TLS record".to_owned(),
        DialogueOutcome::TlsWanted { message } => format!("it says {message:?}"),
        DialogueOutcome::Refused { code, message }
            if dialogue.protocol == Spoken::Websocket && asks_for_tls(code.parse().ok()?, message) =>
        {
            format!("it answers {code} {message:?}")
        }
        _ => {
            let end = speech::broken(ev)?.end;
            let unsaid = matches!(end, End::Silent { received: 0, .. } | End::Closed { received: 0 } | End::Reset { received: 0 });
            speaks_tls(ev).filter(|_| unsaid)?;
            format!("it gives {title} in plain text no answer, and a TLS hello one")
        }
    };
    let summary = format!("{} wants TLS, but was asked in plain {title}: {said}.", dialogue.to);
    let claim = Claim::proven(0.97, Where::Remote, dialogue.to.to_string(), summary).citing([id]).citing(speaks_tls(ev)).despite_answers();
    let claim = match ev.target().scheme {
        Scheme::Postgres => claim.advising("Use sslmode=require in place of disable."),
        Scheme::Mysql => claim.advising("Use ssl-mode=REQUIRED in place of DISABLED."),
        Scheme::Smtp => {
            claim.advising("Use smtps:// for a port that is TLS from the first byte (465), and let the client use STARTTLS on 25 and 587.")
        }
        _ => claim,
    };
    Some(with_clients(claim, ev, "the same question by hand"))
}

fn in_http(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, http) = exchange(ev).filter(|_| ev.target().scheme == Scheme::Http)?;
    let said = match &http.outcome {
        HttpOutcome::Malformed { looks_like: Some(protocol), .. } if protocol == "tls" => "it answers with a TLS record".to_owned(),
        HttpOutcome::Response(response) if wants_tls(response) => format!("it answers {} {:?}", response.status, response.body.excerpt),
        // Servers without words of their own (OpenSSL, stunnel, HAProxy) just close.
        HttpOutcome::Closed { .. } | HttpOutcome::Reset { .. } | HttpOutcome::Silent { .. }
            if http.said_nothing() && speaks_tls(ev).is_some() =>
        {
            "it gives a plain request no answer, and a TLS hello one".to_owned()
        }
        _ => return None,
    };
    let summary = format!("{} wants TLS, but was asked in plain HTTP: {said}.", http.to);
    Some(Claim::proven(0.97, Where::Remote, http.to.to_string(), summary).citing([id]).citing(speaks_tls(ev)).despite_answers())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::HttpExchange;
    use crate::testkit::{accepted, but, but_response, claims, healthy_http, healthy_https, plus};

    #[test]
    fn a_tls_record_in_answer_to_http_wants_tls() {
        let looks_like = |protocol: &str| {
            but::<HttpExchange>(healthy_http(), |http| {
                http.outcome =
                    HttpOutcome::Malformed { why: "no HTTP".to_owned(), first_bytes: String::new(), looks_like: Some(protocol.to_owned()) };
            })
        };
        assert_eq!(claims(&CAUSE, &looks_like("tls")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &looks_like("ssh")), None);
    }

    #[test]
    fn a_port_that_closes_on_plain_text_and_answers_a_hello_wants_tls() {
        let closed = || but::<HttpExchange>(healthy_http(), |http| http.outcome = HttpOutcome::Reset { received_bytes: 0 });
        let hello = |outcome| crate::testkit::tls("all-ciphers", outcome);
        assert_eq!(claims(&CAUSE, &plus(closed(), hello(accepted("TLS 1.3", 0x1301)))), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &plus(closed(), hello(crate::testkit::alert(70)))), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &plus(closed(), hello(crate::observation::TlsOutcome::Closed { received_bytes: 0 }))), None);
        assert_eq!(claims(&CAUSE, &closed()), None);
    }

    #[test]
    fn servers_say_it_in_their_own_words() {
        let words = [
            "400 The plain HTTP request was sent to HTTPS port",
            "Client sent an HTTP request to an HTTPS server.",
            "Reason: You're speaking plain HTTP to an SSL-enabled server port.",
        ];
        for words in words {
            let said = |status: u16, recording| {
                but_response(recording, |response| {
                    response.status = status;
                    response.body.excerpt = words.to_owned();
                })
            };
            assert_eq!(claims(&CAUSE, &said(400, healthy_http())), Some((0.97, true)), "{words}");
            // A page that merely tells of it is a page.
            assert_eq!(claims(&CAUSE, &said(200, healthy_http())), None, "{words}");
            assert_eq!(claims(&CAUSE, &said(400, healthy_https())), None, "{words}");
        }
    }

    #[test]
    fn other_protocols_meet_tls_ports_too() {
        use crate::testkit::{alert, spoken, tls};
        let foreign = DialogueOutcome::Foreign { looks_like: Some("tls".to_owned()), first_bytes: String::new() };
        assert_eq!(claims(&CAUSE, &spoken("redis://db.test", "ping", foreign)), Some((0.97, true)));
        let wanted = DialogueOutcome::TlsWanted { message: "Must issue a STARTTLS command first".to_owned() };
        assert_eq!(claims(&CAUSE, &spoken("smtp://mail.test", "ehlo", wanted)), Some((0.97, true)));
        let silent = || spoken("smtp://mail.test:465", "greeting", DialogueOutcome::Silent { waited_ms: 9e3, received_bytes: 0 });
        assert_eq!(claims(&CAUSE, &silent()), None);
        let upgrade = |code: &str| {
            let message = "Client sent an HTTP request to an HTTPS server".to_owned();
            spoken("ws://feed.test:443", "upgrade", DialogueOutcome::Refused { code: code.to_owned(), message })
        };
        assert_eq!(claims(&CAUSE, &upgrade("400")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &upgrade("403")), None);
        assert_eq!(claims(&CAUSE, &plus(silent(), tls("all-ciphers", accepted("TLS 1.3", 0x1301)))), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &plus(silent(), tls("all-ciphers", alert(70)))), Some((0.97, true)));
    }
}
