//! No application protocol that both ends speak within TLS, or another than was agreed.

use super::offers::{accepted, failed};
use crate::causes::l7::answer::exchange;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DialogueOutcome, Http3Exchange, Http3Outcome, HttpOutcome, HttpSamples, Spoken, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};
use std::net::SocketAddr;

/// Alert no_application_protocol (RFC 7301 3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// `l6.alpn-mismatch`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.alpn-mismatch",
    layer: Layer::L6,
    title: "no common application protocol (ALPN)",
    what: "Within TLS both ends agree on HTTP/2, HTTP/1.1 or another protocol. The server knows none of those offered, or it agrees on one and speaks \
           another: a TLS terminator that promises h2 before a backend that speaks HTTP/1.1 only, or a gRPC port without ALPN.",
    shows: "The alert no_application_protocol (120); or, after a complete handshake, first bytes of another protocol than the agreed one.",
    confirm: &[
        Tool {
            run: "openssl s_client -connect {host}:{port} -servername {host} -alpn h2,http/1.1 </dev/null 2>/dev/null | grep -i alpn",
            on: "here",
            why: "which protocol the server agrees on",
        },
        Tool {
            run: "curl -sk --http1.1 -o /dev/null -w '%{http_version} %{http_code}\\n' {url}; curl -sk --http2 -o /dev/null -w '%{http_version} %{http_code}\\n' {url}",
            on: "here",
            why: "which of the two works",
        },
    ],
    fix: &[
        "Let the TLS terminator offer only what its backend speaks (HAProxy: alpn http/1.1; nginx: http2 on).",
        "For gRPC, enable h2 in the server's ALPN list.",
    ],
    claim,
};

/// How the protocols differ.
pub(in crate::causes) struct Mismatch {
    id: ObservationId,
    to: SocketAddr,
    what: String,
    confidence: f64,
}

/// The server refuses our protocols, or speaks another than the agreed one.
pub(in crate::causes) fn mismatch(ev: &Evidence<'_>) -> Option<Mismatch> {
    if !ev.target().scheme.uses_tls() {
        return None;
    }
    refused(ev).or_else(|| broken_promise(ev)).or_else(|| above_http(ev)).or_else(|| only_http1_answers(ev))
}

/// HTTP/2 was agreed on and gives no answer, and the same question over HTTP/1.1 is answered.
fn only_http1_answers(ev: &Evidence<'_>) -> Option<Mismatch> {
    let (other, older) = ev.exchange_for("http/1.1")?;
    let HttpOutcome::Response(answer) = &older.outcome else { return None };
    if let Some((_, call)) = ev.dialogue() {
        let ended = matches!(
            call.outcome,
            DialogueOutcome::Closed { received_bytes: 0 }
                | DialogueOutcome::Reset { received_bytes: 0 }
                | DialogueOutcome::Silent { received_bytes: 0, .. }
        );
        let what = "does not speak HTTP/2, which gRPC needs: it gives it no answer, and answers HTTP/1.1".to_owned();
        return (call.protocol == Spoken::Grpc && ended).then_some(Mismatch { id: other, to: call.to, what, confidence: 0.93 });
    }
    let (_, http) = exchange(ev).filter(|(_, http)| http.version == "HTTP/2")?;
    let how = match &http.outcome {
        HttpOutcome::StreamRefused { reason } => format!("refuses the request in it ({reason})"),
        HttpOutcome::Closed { .. } => "closes the connection on it".to_owned(),
        HttpOutcome::Reset { .. } => "resets the connection on it".to_owned(),
        HttpOutcome::Silent { .. } if http.said_nothing() => "gives no answer in it".to_owned(),
        HttpOutcome::Malformed { .. } => "breaks its rules".to_owned(),
        _ => return None,
    };
    // One answer after one failure may be luck: the other requests over HTTP/2 must have failed, too.
    let again = ev.exchange_for("second-try").is_some_and(|(_, second)| matches!(second.outcome, HttpOutcome::Response(_)));
    let sampled = ev.all::<HttpSamples>().any(|(_, samples)| samples.rows.iter().any(|row| !row.failed));
    let what = format!("agrees on HTTP/2 and {how}, while HTTP/1.1 is answered with {}", answer.status);
    (!again && !sampled).then_some(Mismatch { id: other, to: http.to, what, confidence: 0.93 })
}

/// gRPC needs HTTP/2, WebSocket needs HTTP/1.1, and the server speaks the other one.
fn above_http(ev: &Evidence<'_>) -> Option<Mismatch> {
    let (id, dialogue) = ev.dialogue()?;
    let DialogueOutcome::Foreign { looks_like: Some(spoken), .. } = &dialogue.outcome else { return None };
    let what = match (dialogue.protocol, spoken.as_str(), chosen(ev)) {
        (Spoken::Grpc, "http", Some("h2")) => "agreed on HTTP/2, which gRPC needs, and speaks HTTP/1.1",
        (Spoken::Grpc, "http", _) => "does not agree on HTTP/2, which gRPC needs: it speaks HTTP/1.1 only",
        (Spoken::Websocket, "http2", _) => "was offered HTTP/1.1, which a WebSocket upgrade needs, and speaks HTTP/2",
        _ => return None,
    };
    Some(Mismatch { id, to: dialogue.to, what: what.to_owned(), confidence: 0.95 })
}

/// What the server chose by ALPN.
fn chosen<'a>(ev: &Evidence<'a>) -> Option<&'a str> {
    match &ev.handshake()?.1.outcome {
        TlsOutcome::Done { alpn, .. } => alpn.as_deref(),
        _ => None,
    }
}

/// QUIC is spoken there, and not for HTTP/3.
fn no_http3(ev: &Evidence<'_>) -> Option<Claim> {
    let refused = |http3: &Http3Exchange| matches!(http3.outcome, Http3Outcome::Alert { code: NO_APPLICATION_PROTOCOL, .. });
    let (id, http3) = ev.first::<Http3Exchange>(refused).filter(|_| ev.response().is_some())?;
    let at = http3.to.to_string();
    let summary = format!("UDP {at} speaks QUIC, but not HTTP/3: the alert no_application_protocol (120).");
    let claim = if http3.demanded {
        Claim::proven(0.95, Where::Remote, at, summary).despite_answers()
    } else {
        Claim::degrades(0.85, Where::Remote, at, summary)
    };
    Some(claim.citing([id]))
}

/// gRPC works although the server confirms no protocol: its stricter clients refuse that.
fn unconfirmed(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue().filter(|(_, dialogue)| dialogue.protocol == Spoken::Grpc && dialogue.answered())?;
    let (handshake, tls) = ev.handshake().filter(|_| ev.target().scheme.uses_tls())?;
    let none = matches!(tls.outcome, TlsOutcome::Done { alpn: None, .. }) && !tls.offer.alpn.is_empty();
    let summary = format!("{} speaks gRPC without agreeing on h2 by ALPN: clients in Go and Java refuse such a connection.", dialogue.to);
    none.then(|| Claim::degrades(0.8, Where::Remote, dialogue.to.to_string(), summary).citing([id, handshake]))
}

fn refused(ev: &Evidence<'_>) -> Option<Mismatch> {
    let what = |offered: &str| format!("knows none of the protocols offered ({offered}): the alert no_application_protocol (120)");
    if let Some((id, http)) = exchange(ev) {
        return match http.outcome {
            HttpOutcome::Alert { code: NO_APPLICATION_PROTOCOL, .. } => {
                Some(Mismatch { id, to: http.to, what: what("h2, http/1.1"), confidence: 0.95 })
            }
            _ => None,
        };
    }
    let failed = failed(ev)?;
    let offered = ev.handshake().map(|(_, tls)| tls.offer.alpn.join(", ")).filter(|offered| !offered.is_empty());
    let alerted = matches!(failed.outcome, TlsOutcome::Alert { code: NO_APPLICATION_PROTOCOL, .. });
    alerted.then(|| Mismatch { id: failed.id, to: failed.to, what: what(offered.as_deref().unwrap_or("none")), confidence: 0.97 })
}

fn broken_promise(ev: &Evidence<'_>) -> Option<Mismatch> {
    let (id, http) = exchange(ev)?;
    let HttpOutcome::Malformed { looks_like: Some(spoken), .. } = &http.outcome else { return None };
    let what = match (http.version.as_str(), spoken.as_str()) {
        ("HTTP/2", "http") => "agreed on HTTP/2 and speaks HTTP/1.1",
        ("HTTP/1.1", "http2") => "did not agree on HTTP/2 and speaks it all the same",
        _ => return None,
    };
    Some(Mismatch { id, to: http.to, what: what.to_owned(), confidence: 0.94 })
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let Some(mismatch) = mismatch(ev) else { return unconfirmed(ev).or_else(|| no_http3(ev)) };
    let without = accepted(ev, "no-alpn").map(|taken| taken.id);
    let summary = format!("{} {}.", mismatch.to, mismatch.what);
    let claim = Claim::proven(mismatch.confidence, Where::Remote, mismatch.to.to_string(), summary);
    Some(claim.citing([mismatch.id]).citing(without).citing(ev.handshake().map(|(id, _)| id)).despite_answers())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::{HttpExchange, TlsHandshake};
    use crate::testkit::{
        alert, but, claims, dialogue, exchange, healthy_http, healthy_https, json_response, plus, recording, tls, without,
    };

    fn check(recording: &Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    fn spoken(recording: Recording, version: &str, looks_like: &str) -> Recording {
        but::<HttpExchange>(recording, |http| {
            http.version = version.to_owned();
            http.outcome =
                HttpOutcome::Malformed { why: "not so".to_owned(), first_bytes: String::new(), looks_like: Some(looks_like.to_owned()) };
        })
    }

    #[test]
    fn the_alert_proves_it() {
        check(&recording("https://shop.test/", vec![tls("default", alert(120)).into()]), Some((0.97, true)));
        let after = but::<HttpExchange>(healthy_https(), |http| {
            http.outcome = HttpOutcome::Alert { code: 120, name: "no_application_protocol".to_owned() }
        });
        check(&after, Some((0.95, true)));
        check(&recording("https://shop.test/", vec![tls("default", alert(40)).into()]), None);
    }

    #[test]
    fn so_does_another_protocol_than_the_agreed_one() {
        check(&spoken(healthy_https(), "HTTP/2", "http"), Some((0.94, true)));
        check(&spoken(healthy_https(), "HTTP/1.1", "http2"), Some((0.94, true)));
        check(&spoken(healthy_https(), "HTTP/1.1", "ssh"), None);
        check(&spoken(healthy_http(), "HTTP/1.1", "http2"), None);
    }

    #[test]
    fn an_http_2_that_fails_beside_an_http_1_that_answers_is_a_broken_promise() {
        let failed = |outcome: HttpOutcome| {
            without::<HttpSamples>(but::<HttpExchange>(healthy_https(), |http| {
                http.version = "HTTP/2".to_owned();
                http.outcome = outcome.clone();
            }))
        };
        let older = |status| exchange("http/1.1", HttpOutcome::Response(Box::new(json_response(status))));
        let refused = || failed(HttpOutcome::StreamRefused { reason: "INTERNAL_ERROR".to_owned() });
        check(&plus(refused(), older(200)), Some((0.93, true)));
        check(&plus(failed(HttpOutcome::Silent { waited_ms: 9e3, received_bytes: 27 }), older(200)), Some((0.93, true)));
        // What HTTP/1.1 says is wrong with both; and a server that asks for HTTP/1.1 is well.
        check(&plus(refused(), older(503)), None);
        check(&plus(failed(HttpOutcome::StreamRefused { reason: "HTTP_1_1_REQUIRED".to_owned() }), older(200)), None);
        check(&refused(), None);
        let luck = plus(refused(), crate::testkit::samples(&[("stream INTERNAL_ERROR", true, None, 4), ("200", false, None, 2)]));
        check(&plus(luck, older(200)), None);
    }

    #[test]
    fn grpc_needs_http_2_and_websocket_http_1() {
        let with = |target: &str, protocol, looks_like: &str, alpn: Option<&str>| {
            let done = TlsOutcome::Done {
                version: "TLS 1.3".to_owned(),
                cipher: "TLS13_AES_128_GCM_SHA256".to_owned(),
                alpn: alpn.map(str::to_owned),
                client_cert_requested: false,
                resumed: false,
            };
            let outcome = match looks_like {
                "" => DialogueOutcome::Done { what: "SERVING".to_owned() },
                other => DialogueOutcome::Foreign { looks_like: Some(other.to_owned()), first_bytes: String::new() },
            };
            recording(target, vec![tls("default", done).into(), dialogue(protocol, "health", outcome).into()])
        };
        check(&with("grpcs://api.test", Spoken::Grpc, "http", Some("h2")), Some((0.95, true)));
        check(&with("grpcs://api.test", Spoken::Grpc, "http", None), Some((0.95, true)));
        check(&with("wss://live.test", Spoken::Websocket, "http2", None), Some((0.95, true)));
        check(&with("grpcs://api.test", Spoken::Grpc, "ssh", None), None);
        check(&with("grpcs://api.test", Spoken::Grpc, "", Some("h2")), None);
        check(&with("grpcs://api.test", Spoken::Grpc, "", None), Some((0.8, false)));
    }

    #[test]
    fn a_server_without_alpn_that_speaks_http_1_is_well() {
        let none = but::<TlsHandshake>(healthy_https(), |tls| {
            if let TlsOutcome::Done { alpn, .. } = &mut tls.outcome {
                *alpn = None;
            }
        });
        check(&none, None);
    }
}
