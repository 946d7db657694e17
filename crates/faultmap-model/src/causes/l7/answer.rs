//! The final HTTP answer as several causes read it: what status it has, whether that is what was wanted, who sent it. It claims nothing.

use crate::observation::{BodyEnd, HttpExchange, HttpOutcome, HttpResponse, TcpHealth};
use crate::{Evidence, ObservationId};

/// The answer to the user's request.
#[derive(Debug, Clone, Copy)]
pub(in crate::causes) struct Answer<'a> {
    /// The exchange's number.
    pub(in crate::causes) id: ObservationId,
    /// The exchange.
    pub(in crate::causes) http: &'a HttpExchange,
    /// Its response.
    pub(in crate::causes) response: &'a HttpResponse,
}

/// The final exchange of an HTTP target, whatever its outcome.
pub(in crate::causes) fn exchange<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a HttpExchange)> {
    ev.exchange().filter(|_| ev.target().scheme.uses_http() && ev.proxys_own_answer().is_none())
}

/// The final response of an HTTP target.
pub(in crate::causes) fn answer<'a>(ev: &Evidence<'a>) -> Option<Answer<'a>> {
    let (id, http) = exchange(ev)?;
    match &http.outcome {
        HttpOutcome::Response(response) => Some(Answer { id, http, response }),
        _ => None,
    }
}

/// The status is the wanted one; without a wish, any below 400.
pub(in crate::causes) fn wanted(ev: &Evidence<'_>, response: &HttpResponse) -> bool {
    match ev.header.expect.status {
        Some(status) => response.status == status,
        None => response.status < 400,
    }
}

/// A response whose body the client is meant to use: it is there, and the status is a success or the wanted one.
pub(in crate::causes) fn usable<'a>(ev: &Evidence<'a>) -> Option<Answer<'a>> {
    let answer = answer(ev)?;
    let status = answer.response.status;
    let success = (200..300).contains(&status) || ev.header.expect.status == Some(status);
    let bodiless = status == 204 || status == 304 || answer.http.method.eq_ignore_ascii_case("HEAD");
    let there = answer.response.body.wire_bytes > 0;
    (success && wanted(ev, answer.response) && !bodiless && there).then_some(answer)
}

/// A request with small segments was answered in full where the plain one was not: the path drops large packets, the service is well.
pub(in crate::causes) fn small_segments_pass(ev: &Evidence<'_>) -> bool {
    let whole = |body: &BodyEnd| matches!(body, BodyEnd::Complete | BodyEnd::Limit);
    matches!(ev.exchange_for("clamped-mss"), Some((_, HttpExchange { outcome: HttpOutcome::Response(r), .. })) if whole(&r.body.end))
}

/// TCP shows no sign of loss or stall at the end. (Our own FIN may still be unacknowledged.)
pub(in crate::causes) fn sound(tcp: Option<&TcpHealth>) -> bool {
    tcp.is_none_or(|tcp| tcp.backoff == 0 && tcp.retransmits < 3)
}

/// The answer had not ended when we stopped waiting, and bytes of it were still coming. Gives how many came.
pub(in crate::causes) fn drips(http: &HttpExchange) -> Option<u64> {
    /// Bytes that come further apart than this are no stream that a user would wait for either.
    const STILL_COMING_MS: f64 = 1_500.0;
    let bytes = match &http.outcome {
        HttpOutcome::Silent { received_bytes, .. } if !http.said_nothing() => *received_bytes,
        HttpOutcome::Response(response) if response.body.end == BodyEnd::Stalled => response.body.wire_bytes,
        _ => return None,
    };
    let last = http.tcp.as_ref()?.last_received_ms?;
    (last < STILL_COMING_MS).then_some(bytes)
}

/// The server wants TLS on this port and says so in plain HTTP: nginx, Go, Apache and Java servers in their own words.
pub(in crate::causes) fn wants_tls(response: &HttpResponse) -> bool {
    asks_for_tls(response.status, &response.body.excerpt)
}

/// A status and the words with it ask for TLS.
pub(in crate::causes) fn asks_for_tls(status: u16, said: &str) -> bool {
    const WORDS: [&str; 5] = [
        "plain http request was sent to https port",
        "client sent an http request to an https server",
        "speaking plain http to an ssl-enabled server port",
        "combination of host and port requires tls",
        "web server is running in ssl mode",
    ];
    let said = said.to_lowercase();
    matches!(status, 400 | 426 | 497) && WORDS.iter().any(|words| said.contains(words))
}

/// The server misses a client certificate and says so in HTTP (nginx 400/495/496).
pub(in crate::causes) fn wants_client_certificate(response: &HttpResponse) -> bool {
    let said = response.body.excerpt.to_lowercase();
    let words = said.contains("no required ssl certificate") || said.contains("the ssl certificate error");
    matches!(response.status, 495 | 496) || (response.status == 400 && words)
}

/// Who answered, by its own headers: `nginx`, `envoy, via 1.1 varnish`; `None` when it does not say.
pub(in crate::causes) fn server(response: &HttpResponse) -> Option<String> {
    let server = response.header("server").or_else(|| response.header("x-powered-by"));
    let via = response.header("via").map(|via| format!("via {via}"));
    match (server, via) {
        (Some(server), Some(via)) => Some(format!("{server}, {via}")),
        (Some(server), None) => Some(server.to_owned()),
        (None, via) => via,
    }
}

/// `nginx at 10.2.0.10:443`, or the address alone.
pub(in crate::causes) fn answered_by(answer: &Answer<'_>) -> String {
    match server(answer.response) {
        Some(server) => format!("{server} at {}", answer.http.to),
        None => answer.http.to.to_string(),
    }
}

/// A duration as people say it: `3 ms`, `2.4 s`.
pub(in crate::causes) fn spoken(ms: f64) -> String {
    if ms < 1_000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1_000.0) }
}
