//! The peer accepts the connection and ends it without a byte of an answer.

use crate::causes::l6::{alpn, client_cert, offers, sni, tls_version};
use crate::causes::l7::answer::{exchange, sound};
use crate::causes::l7::auth_failed::silent_refusal;
use crate::causes::l7::backend_intermittent::mixed;
use crate::causes::l7::clients::with_clients;
use crate::causes::l7::speech;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{HttpOutcome, SessionEnd, SessionOutcome, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l5.closed-without-answer`
pub(super) static CAUSE: Cause = Cause {
    id: "l5.closed-without-answer",
    layer: Layer::L5,
    title: "the server accepts, then closes without an answer",
    what: "The handshake completes, and then the peer ends the session before it has said anything: a crash while it handles the request, an access list \
           that works after accept (tcp_wrappers, pg_hba, a proxy's rule), a balancer without a backend, or a proxy protocol header that it waits for.",
    shows: "FIN or RST after accept and before the first byte. A reset within an answer, a refused port, and a TLS alert are other causes. FIN is the \
            program's own close; RST is a close with our request unread, or a box on the way.",
    confirm: &[
        Tool { run: "journalctl -u SERVICE --since -5min; dmesg | tail", on: "{ip}", why: "a crash, or an access rule that refused us" },
        Tool {
            run: "tcpdump -nvi any 'tcp port {port}'",
            on: "here and on {ip}",
            why: "who ends it: a RST that {ip} never sent comes from a box on the way",
        },
        Tool { run: "nc -v {ip} {port}", on: "{ip} itself", why: "stays open there: an access rule for our address" },
    ],
    fix: &[
        "If the service crashes, mend what its log names.",
        "Allow this client in the service's access rules.",
        "If a balancer stands there, give it a healthy backend; if the service expects the PROXY protocol, send it or switch it off.",
    ],
    claim,
};

/// The end of a session without an answer.
struct End {
    id: ObservationId,
    to: String,
    after: String,
    how: String,
    confidence: f64,
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    if mixed(ev).is_some() {
        return None;
    }
    let end = request(ev).or_else(|| dialogue(ev)).or_else(|| handshake(ev)).or_else(|| greeting(ev)).or_else(|| at_once(ev))?;
    let summary = format!("{} accepts the connection, then {} {}.", end.to, end.how, end.after);
    let claim = Claim::proven(end.confidence, Where::Remote, end.to, summary).citing([end.id]).despite_answers();
    Some(with_clients(claim, ev, "whether it is the same by hand"))
}

/// After an HTTP request.
fn request(ev: &Evidence<'_>) -> Option<End> {
    let (id, http) = exchange(ev)?;
    if client_cert::wanted(ev).is_some() || alpn::mismatch(ev).is_some() || offers::speaks_tls(ev).is_some() {
        return None;
    }
    // An HTTP/2 stream that is refused, and the same question over HTTP/1.1: there the close shows as it is.
    let older = ev.exchange_for("http/1.1").filter(|_| matches!(http.outcome, HttpOutcome::StreamRefused { .. }));
    let (id, http) = older.unwrap_or((id, http));
    let (how, confidence) = match &http.outcome {
        HttpOutcome::Closed { .. } if http.said_nothing() => ("closes it in order (FIN)".to_owned(), 0.95),
        HttpOutcome::Reset { .. } if http.said_nothing() && sound(http.tcp.as_ref()) => ("resets it (RST)".to_owned(), 0.9),
        HttpOutcome::Alert { code, name } => (format!("ends it with the TLS alert {name} ({code})"), 0.75),
        _ => return None,
    };
    Some(End { id, to: http.to.to_string(), after: "after the request, without a byte of an answer".to_owned(), how, confidence })
}

/// In a service's own protocol: at once, or at a later exchange of it.
fn dialogue(ev: &Evidence<'_>) -> Option<End> {
    let broken = speech::broken(ev)?;
    if offers::speaks_tls(ev).is_some()
        || speech::another_protocol(ev).is_some()
        || silent_refusal(ev)
        || client_cert::wanted(ev).is_some()
        || alpn::mismatch(ev).is_some()
    {
        return None;
    }
    let (how, confidence) = match broken.end {
        speech::End::Closed { received: 0 } => ("closes it in order (FIN)".to_owned(), 0.95),
        speech::End::Closed { .. } => ("closes it in order (FIN)".to_owned(), 0.88),
        speech::End::Reset { received: 0 } if sound(broken.dialogue.tcp.as_ref()) => ("resets it (RST)".to_owned(), 0.9),
        _ => return None,
    };
    let to = broken.dialogue.to.to_string();
    Some(End { id: broken.id, to, after: speech::moment(broken.dialogue), how, confidence })
}

/// After a ClientHello, when no other offer is taken.
fn handshake(ev: &Evidence<'_>) -> Option<End> {
    let failed = offers::failed(ev)?;
    if sni::refused(ev).is_some() || tls_version::limit(ev).is_some() || offers::any_accepted(ev).is_some() {
        return None;
    }
    let (how, confidence) = match failed.outcome {
        TlsOutcome::Closed { received_bytes: 0 } => ("closes it in order (FIN)".to_owned(), 0.92),
        TlsOutcome::Reset { received_bytes: 0 } if sound(failed.tcp) => ("resets it (RST)".to_owned(), 0.88),
        _ => return None,
    };
    Some(End {
        id: failed.id,
        to: failed.to.to_string(),
        after: "at the first TLS message, without a byte of an answer".to_owned(),
        how,
        confidence,
    })
}

/// Before anything was sent, on a plain `tcp://` target.
fn greeting(ev: &Evidence<'_>) -> Option<End> {
    let (id, session) = ev.all::<SessionEnd>().last()?;
    let (how, confidence) = match &session.outcome {
        SessionOutcome::Closed => ("closes it in order (FIN)".to_owned(), 0.93),
        SessionOutcome::Reset => ("resets it (RST)".to_owned(), 0.9),
        _ => return None,
    };
    Some(End { id, to: session.to.to_string(), after: "at once, without a byte".to_owned(), how, confidence })
}

/// The reset came between the handshake and connect()'s return: ECONNRESET, for a refused SYN is ECONNREFUSED.
fn at_once(ev: &Evidence<'_>) -> Option<End> {
    let failure = ev.failure().filter(|failure| failure.errno() == Some("ECONNRESET"))?;
    Some(End {
        id: failure.id,
        to: failure.place(),
        after: "at once, without a byte".to_owned(),
        how: "resets it (RST)".to_owned(),
        confidence: 0.9,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::{HttpExchange, HttpSamples, TlsHandshake};
    use crate::testkit::{accepted, but, claims, healthy_http, healthy_https, plus, recording, samples, tls, without};

    fn ending(outcome: HttpOutcome) -> Recording {
        without::<HttpSamples>(but::<HttpExchange>(healthy_https(), |http| http.outcome = outcome.clone()))
    }

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn an_end_before_the_first_byte_is_of_the_session() {
        check(&ending(HttpOutcome::Closed { received_bytes: 0 }), Some((0.95, true)));
        check(&ending(HttpOutcome::Reset { received_bytes: 0 }), Some((0.9, true)));
        check(&ending(HttpOutcome::Alert { code: 80, name: "internal_error".to_owned() }), Some((0.75, true)));
    }

    #[test]
    fn the_opening_frames_of_http_2_are_no_answer() {
        let closed = ending(HttpOutcome::Closed { received_bytes: 40 });
        check(&but::<HttpExchange>(closed, |http| http.version = "HTTP/2".to_owned()), Some((0.95, true)));
    }

    #[test]
    fn an_end_within_an_answer_is_not() {
        check(&ending(HttpOutcome::Closed { received_bytes: 12 }), None);
        check(&ending(HttpOutcome::Reset { received_bytes: 12 }), None);
        check(&ending(HttpOutcome::Silent { waited_ms: 9e3, received_bytes: 0 }), None);
        check(&healthy_http(), None);
    }

    #[test]
    fn a_missing_client_certificate_and_a_sick_backend_explain_it_otherwise() {
        let asked = but::<TlsHandshake>(ending(HttpOutcome::Closed { received_bytes: 0 }), |tls| {
            if let TlsOutcome::Done { client_cert_requested, .. } = &mut tls.outcome {
                *client_cert_requested = true;
            }
        });
        check(&asked, None);
        let mixed = but::<HttpExchange>(healthy_https(), |http| http.outcome = HttpOutcome::Closed { received_bytes: 0 });
        check(&but::<HttpSamples>(mixed, |seen| *seen = samples(&[("200", false, None, 3), ("closed", true, None, 3)])), None);
    }

    #[test]
    fn a_hello_that_ends_the_session_counts_when_no_other_hello_fares_better() {
        let closed = recording("https://shop.test/", vec![tls("default", TlsOutcome::Closed { received_bytes: 0 }).into()]);
        check(&closed, Some((0.92, true)));
        check(&plus(closed, tls("other-sni", accepted("TLS 1.3", 0x1302))), None);
        check(&recording("https://shop.test/", vec![tls("default", TlsOutcome::Reset { received_bytes: 7 }).into()]), None);
    }

    #[test]
    fn a_plain_connection_that_ends_at_once_counts_too() {
        let ended = |outcome| {
            recording("tcp://10.2.0.10:5432", vec![SessionEnd { to: "10.2.0.10:5432".parse().expect("addr"), outcome, tcp: None }.into()])
        };
        check(&ended(SessionOutcome::Closed), Some((0.93, true)));
        check(&ended(SessionOutcome::Open), None);
        check(&ended(SessionOutcome::Greeting { first_bytes: "SSH-2.0-x".to_owned() }), None);
    }

    #[test]
    fn a_service_that_ends_its_own_conversation_counts_too() {
        use crate::observation::DialogueOutcome;
        use crate::testkit::spoken;
        let ended = |outcome| spoken("redis://db.test", "ping", outcome);
        check(&ended(DialogueOutcome::Closed { received_bytes: 0 }), Some((0.95, true)));
        check(&ended(DialogueOutcome::Closed { received_bytes: 9 }), Some((0.88, true)));
        check(&ended(DialogueOutcome::Reset { received_bytes: 0 }), Some((0.9, true)));
        check(&ended(DialogueOutcome::Reset { received_bytes: 9 }), None);
        check(&plus(ended(DialogueOutcome::Closed { received_bytes: 0 }), tls("all-ciphers", accepted("TLS 1.3", 0x1301))), None);
        // An old broker's way to refuse a login.
        check(&spoken("amqp://mq.test", "authentication", DialogueOutcome::Closed { received_bytes: 400 }), None);
    }
}
