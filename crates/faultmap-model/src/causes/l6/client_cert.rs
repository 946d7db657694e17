//! The server wants a certificate of the client (mutual TLS).

use super::offers::{client_certificate_requested, failed};
use crate::causes::l7::answer::{exchange, wants_client_certificate};
use crate::causes::l7::refusal::{Meaning, meant};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{HttpOutcome, TlsHandshake, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::SocketAddr;

/// Alert certificate_required (RFC 8446 6.2).
const CERTIFICATE_REQUIRED: u8 = 116;

/// `l6.client-cert-required`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.client-cert-required",
    layer: Layer::L6,
    title: "the server wants a client certificate",
    what: "The server authenticates its clients by certificate (mutual TLS), and none was presented, or not one that it accepts. In TLS 1.3 the client's \
           side of the handshake succeeds first, and the refusal comes at the first request.",
    shows: "A CertificateRequest, followed by an alert (certificate_required, bad_certificate, handshake_failure), a close, or nginx's 400 \"No required SSL \
            certificate was sent\". A server that asks and goes on without one is well.",
    confirm: &[
        Tool {
            run: "openssl s_client -connect {host}:{port} -servername {host} </dev/null 2>&1 | grep -A3 -i 'client certificate CA'",
            on: "here",
            why: "which CAs the server accepts client certificates of",
        },
        Tool {
            run: "curl -sk --cert CLIENT.pem --key CLIENT.key -o /dev/null -w '%{http_code}\\n' {url}",
            on: "here",
            why: "works with a certificate of such a CA",
        },
    ],
    fix: &[
        "Present a client certificate of a CA that the server names.",
        "If a service mesh wants it, give the client its sidecar, or exempt the port.",
        "If clients need none, make it optional on the server (nginx: ssl_verify_client optional).",
    ],
    claim,
};

/// The refusal for want of a client certificate.
pub(in crate::causes) struct Wanted {
    ids: Vec<ObservationId>,
    to: SocketAddr,
    how: String,
    confidence: f64,
}

/// The server asked for a client certificate and refuses to go on without.
pub(in crate::causes) fn wanted(ev: &Evidence<'_>) -> Option<Wanted> {
    if let Some(refusal) = meant(ev, Meaning::ClientCertificate) {
        let how = format!("it says {}", refusal.words());
        return Some(Wanted { ids: vec![refusal.id], to: refusal.dialogue.to, how, confidence: 0.97 });
    }
    let scheme = ev.target().scheme;
    if !scheme.uses_tls() && !scheme.upgrades_to_tls() {
        return None;
    }
    in_handshake(ev).or_else(|| at_request(ev))
}

fn in_handshake(ev: &Evidence<'_>) -> Option<Wanted> {
    let failed = failed(ev)?;
    let TlsOutcome::Alert { code, name, after_handshake, client_cert_requested } = failed.outcome else { return None };
    // Alerts about a certificate: a server can only mean the client's.
    let about_certificate = matches!(*code, 41..=46 | 48 | CERTIFICATE_REQUIRED);
    let asked = *client_cert_requested || client_certificate_requested(ev);
    if !about_certificate && !asked {
        return None;
    }
    let when = if *after_handshake { "after the handshake" } else { "in the handshake" };
    let confidence = if *code == CERTIFICATE_REQUIRED || asked { 0.97 } else { 0.9 };
    Some(Wanted { ids: vec![failed.id], to: failed.to, how: format!("the alert {name} ({code}) {when}"), confidence })
}

fn at_request(ev: &Evidence<'_>) -> Option<Wanted> {
    let (id, http) = exchange(ev)?;
    let request =
        ev.first::<TlsHandshake>(|tls| matches!(tls.outcome, TlsOutcome::Done { client_cert_requested: true, .. })).map(|(id, _)| id);
    let (how, confidence) = match (&http.outcome, request) {
        (HttpOutcome::Alert { code: CERTIFICATE_REQUIRED, name }, _) => (format!("the alert {name} (116) at the first request"), 0.98),
        (HttpOutcome::Alert { code, name }, Some(_)) => (format!("the alert {name} ({code}) at the first request"), 0.95),
        (HttpOutcome::Alert { code: code @ (41..=46 | 48), name }, None) => {
            (format!("the alert {name} ({code}) at the first request"), 0.9)
        }
        (HttpOutcome::Closed { .. }, Some(_)) if http.said_nothing() => ("a close at the first request".to_owned(), 0.88),
        (HttpOutcome::Reset { .. }, Some(_)) if http.said_nothing() => ("a reset at the first request".to_owned(), 0.88),
        (HttpOutcome::Response(response), _) if wants_client_certificate(response) => {
            (format!("HTTP {} with the words {:?}", response.status, response.body.excerpt), 0.95)
        }
        _ => return None,
    };
    Some(Wanted { ids: request.into_iter().chain([id]).collect(), to: http.to, how, confidence })
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let wanted = wanted(ev)?;
    let summary = format!("{} wants a client certificate, and refuses us without one: {}.", wanted.to, wanted.how);
    Some(Claim::proven(wanted.confidence, Where::Remote, wanted.to.to_string(), summary).citing(wanted.ids).despite_answers())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::HttpExchange;
    use crate::testkit::{alert, but, but_response, claims, healthy_https, recording, tls};

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    fn asked() -> Recording {
        but::<TlsHandshake>(healthy_https(), |tls| {
            if let TlsOutcome::Done { client_cert_requested, .. } = &mut tls.outcome {
                *client_cert_requested = true;
            }
        })
    }

    fn ending(recording: Recording, outcome: HttpOutcome) -> Recording {
        but::<HttpExchange>(recording, |http| http.outcome = outcome.clone())
    }

    fn handshake(outcome: TlsOutcome) -> Recording {
        recording("tls://shop.test", vec![tls("default", outcome).into()])
    }

    #[test]
    fn alerts_about_a_certificate_mean_the_clients() {
        check(&handshake(alert(116)), Some((0.97, true)));
        check(&handshake(alert(42)), Some((0.9, true)));
        let asked =
            TlsOutcome::Alert { code: 40, name: "handshake_failure".to_owned(), after_handshake: false, client_cert_requested: true };
        check(&handshake(asked), Some((0.97, true)));
        check(&handshake(alert(40)), None);
    }

    #[test]
    fn in_tls_1_3_the_refusal_comes_at_the_first_request() {
        check(&ending(asked(), HttpOutcome::Alert { code: 116, name: "certificate_required".to_owned() }), Some((0.98, true)));
        check(&ending(asked(), HttpOutcome::Closed { received_bytes: 0 }), Some((0.88, true)));
        check(&ending(healthy_https(), HttpOutcome::Closed { received_bytes: 0 }), None);
    }

    #[test]
    fn nginx_says_it_in_http() {
        let said = but_response(asked(), |response| {
            response.status = 400;
            response.body.excerpt = "400 No required SSL certificate was sent".to_owned();
        });
        check(&said, Some((0.95, true)));
    }

    #[test]
    fn an_optional_certificate_is_no_fault() {
        check(&asked(), None);
        check(&healthy_https(), None);
    }
}
