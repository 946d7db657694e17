//! Plain HTTP was spoken to a port that wants TLS.

use super::offers::speaks_tls;
use crate::causes::l7::answer::{exchange, wants_tls};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::HttpOutcome;
use crate::verdict::Where;
use crate::{Evidence, Layer, Scheme};

/// `l6.tls-on-plaintext-port`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.tls-on-plaintext-port",
    layer: Layer::L6,
    title: "the server wants TLS and was asked in plain text",
    what: "The URL says http, and the port speaks TLS: a wrong scheme in the URL, or a proxy that sends plain HTTP to a backend with TLS.",
    shows: "The answer is a TLS alert, or a 400 whose words say so: nginx \"The plain HTTP request was sent to HTTPS port\", Go \"Client sent an HTTP request to \
            an HTTPS server\", Apache \"speaking plain HTTP to an SSL-enabled server port\"; or the port closes on plain text and answers a TLS hello.",
    confirm: &[Tool {
        run: "curl -sk -o /dev/null -w '%{http_code}\\n' https://{host}:{port}/",
        on: "here",
        why: "answered: the port speaks TLS",
    }],
    fix: &["Use https in the URL.", "If a proxy sends the request, let it speak TLS to this backend (nginx: proxy_pass https://...)."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
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
}
