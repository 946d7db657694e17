//! Which cause a failing status belongs to: the one place where statuses get their names, and the words for each. Claims for all of them.

use super::answer::{Answer, answer, answered_by, exchange, spoken, wanted, wants_client_certificate, wants_tls};
use super::backend_intermittent::mixed;
use crate::Evidence;
use crate::causes::Claim;
use crate::causes::l6::alpn;
use crate::observation::{DialogueOutcome, HttpOutcome, Spoken};
use crate::verdict::Where;

/// The claim of the cause with this id, when the final status is its own.
pub(super) fn claim_for(ev: &Evidence<'_>, id: &'static str) -> Option<Claim> {
    if let Some(claim) = for_call(ev, id).or_else(|| refused_stream(ev, id)) {
        return Some(claim);
    }
    let answer = answer(ev).filter(|answer| !wanted(ev, answer.response))?;
    if named(&answer) != Some(id) || mixed(ev).is_some() {
        return None;
    }
    let wish = match ev.header.expect.status {
        Some(status) => format!(" ({status} was expected)"),
        None => String::new(),
    };
    let summary = format!("{}{wish}.", words(&answer));
    let mut claim = Claim::proven(0.97, Where::Remote, place(&answer), summary).citing([answer.id]);
    claim.advice.extend(of_our_request(ev, &answer));
    claim.advice.extend(advice(&answer));
    Some(claim)
}

/// The cause that a status belongs to; `None` when a cause of a lower layer has it.
fn named(answer: &Answer<'_>) -> Option<&'static str> {
    let response = answer.response;
    if wants_tls(response) || wants_client_certificate(response) {
        return None;
    }
    let cloudflare = response.header("server").is_some_and(|server| server.eq_ignore_ascii_case("cloudflare"));
    // A status below 400 that was not expected is `l7.http-unexpected-answer`.
    if response.status < 400 {
        return None;
    }
    let headers_too_large = response.status == 400 && response.body.excerpt.to_lowercase().contains("header or cookie too large");
    Some(match response.status {
        400 if headers_too_large => "l7.http-header-too-large",
        // Cloudflare's own codes for an origin that cannot be connected, or that does not answer.
        522 | 524 if cloudflare => "l7.http-gateway-timeout",
        520..=530 if cloudflare => "l7.http-bad-gateway",
        status => by_number(status),
    })
}

const fn by_number(status: u16) -> &'static str {
    match status {
        400 => "l7.http-bad-request",
        401 => "l7.http-unauthorized",
        403 => "l7.http-forbidden",
        404 | 410 => "l7.http-not-found",
        405 => "l7.http-method-not-allowed",
        415 => "l7.http-unsupported-media-type",
        429 => "l7.http-rate-limited",
        431 | 494 => "l7.http-header-too-large",
        _ if status / 100 == 4 => "l7.http-client-error",
        502 => "l7.http-bad-gateway",
        503 => "l7.http-unavailable",
        504 => "l7.http-gateway-timeout",
        511 => "l7.captive-portal",
        ..400 => "l7.http-unexpected-answer",
        _ => "l7.http-server-error",
    }
}

/// An HTTP/2 server, or the proxy that speaks HTTP/2 for it, ended the request with an error code in place of a status (RFC 9113 7).
fn refused_stream(ev: &Evidence<'_>, id: &str) -> Option<Claim> {
    let (seen, http) = exchange(ev)?;
    let HttpOutcome::StreamRefused { reason } = &http.outcome else { return None };
    let named = match reason.as_str() {
        "ENHANCE_YOUR_CALM" => "l7.http-rate-limited",
        "REFUSED_STREAM" | "CONNECT_ERROR" => "l7.http-unavailable",
        _ => "l7.http-server-error",
    };
    // Over HTTP/1.1 there is no answer either: `l5.closed-without-answer`.
    let closed = ev.exchange_for("http/1.1").is_some_and(|(_, older)| older.said_nothing());
    if named != id || closed || mixed(ev).is_some() || alpn::mismatch(ev).is_some() {
        return None;
    }
    let summary = format!(
        "{} speaks HTTP/2 and ends the request with {reason} in place of an answer: it, or the backend that it asks, fails.",
        http.to
    );
    let claim = Claim::proven(0.88, Where::Remote, http.to.to_string(), summary).citing([seen]);
    Some(
        claim.advising(
            "Look at the server's own log for this stream: a backend that is gone, a limit of streams or of headers, or a crash.",
        ),
    )
}

/// A gRPC call that was answered in plain HTTP: by a proxy, or by a server that is no gRPC server.
pub(super) fn for_call(ev: &Evidence<'_>, id: &str) -> Option<Claim> {
    let (seen, dialogue) = ev.dialogue().filter(|(_, dialogue)| dialogue.protocol == Spoken::Grpc)?;
    let status: u16 = dialogue.fact("http-status")?.parse().ok()?;
    let DialogueOutcome::Refused { message, .. } = &dialogue.outcome else { return None };
    if by_number(status) != id {
        return None;
    }
    let who = dialogue.server.as_ref().map_or_else(|| dialogue.to.to_string(), |server| format!("{server} at {}", dialogue.to));
    let what = match status {
        502 => "its backend refused the connection or broke off",
        503 => "it has no healthy backend, or refuses for load",
        504 => "its backend did not answer within the balancer's time limit",
        401 | 403 => "the call is refused before it reaches the service",
        404 => "it has no route for this gRPC service",
        300..=399 => "gRPC clients do not follow redirects",
        _ => "it answers in place of the gRPC service",
    };
    let words = if message.is_empty() { String::new() } else { format!("; it says {message:?}") };
    let summary = format!("{who} answers the gRPC call with HTTP {status} {}: {what}{words}.", phrase(status));
    let at = if matches!(status, 502..=504) { format!("behind {}", dialogue.to) } else { dialogue.to.to_string() };
    Some(Claim::proven(0.96, Where::Remote, at, summary).citing([seen]))
}

fn words(answer: &Answer<'_>) -> String {
    let response = answer.response;
    let header = |name: &str| response.header(name).map(|value| format!(" ({name}: {value})")).unwrap_or_default();
    let head = format!("{} answers {} {}", answered_by(answer), response.status, phrase(response.status));
    let said = said(answer);
    let url = &answer.http.url;
    let after = spoken(response.ttfb_ms);
    match response.status {
        401 => format!("{head} for {url}{}: credentials are missing or refused{said}", header("www-authenticate")),
        403 => format!("{head} for {url}: access is refused{said}"),
        404 | 410 => format!("{head}: there is nothing at {url}{said}"),
        405 => format!("{head} to {} {url}{}", answer.http.method, header("allow")),
        429 => format!("{head}: too many requests{}{said}", header("retry-after")),
        502 | 503 | 504 | 520..=530 => format!("{head} after {after}: {}{}{said}", behind(answer), header("retry-after")),
        500..=599 => format!("{head} after {after}{said}"),
        301 | 302 | 303 | 307 | 308 => format!("{head} for {url}{}", header("location")),
        _ => format!("{head} for {url}{said}"),
    }
}

/// What a gateway's error tells of the backend, by its timing and its own words.
fn behind(answer: &Answer<'_>) -> String {
    let response = answer.response;
    let flags = response.header("x-envoy-response-flags").map(|flags| format!(", Envoy's flags are {flags}")).unwrap_or_default();
    let by_itself = response.body.sniffed == "json" && response.header("via").is_none();
    let what = match response.status {
        503 if response.header("retry-after").is_some() => "it is overloaded or in maintenance",
        503 if by_itself => "the service itself says that it cannot serve",
        503 => "it has no healthy backend, or refuses for load",
        504 | 522 | 524 => "its backend did not answer within the balancer's time limit",
        _ if response.ttfb_ms >= 900.0 => "its backend could not be reached or broke off",
        _ => "its backend refused the connection or broke off at once",
    };
    format!("{what}{flags}")
}

/// The body's own words, when they add something.
fn said(answer: &Answer<'_>) -> String {
    let excerpt: String = answer.response.body.excerpt.trim().chars().take(100).collect();
    let status = answer.response.status.to_string();
    let adds = !excerpt.is_empty() && !excerpt.starts_with(&status) && !excerpt.eq_ignore_ascii_case(phrase(answer.response.status));
    if adds { format!("; it says {excerpt:?}") } else { String::new() }
}

/// What of our own request the status may be about.
fn of_our_request(ev: &Evidence<'_>, answer: &Answer<'_>) -> Option<String> {
    let sent = &ev.header.expect.sent;
    let kind = sent.content_type.as_ref().map_or_else(|| "no Content-Type".to_owned(), |kind| format!("Content-Type: {kind}"));
    let body = format!("The request carried a body of {} bytes with {kind}", sent.body_bytes);
    match answer.response.status {
        415 if sent.body_bytes > 0 => {
            Some(format!("{body}: name the type that the service takes, such as --header 'Content-Type: application/json'."))
        }
        400 | 422 if sent.body_bytes > 0 => {
            Some(format!("{body}: compare both with what the service expects; a form and JSON are easily confused."))
        }
        400 | 415 if sent.content_type.is_some() => {
            Some(format!("The request said {kind} and had no body: send one, or leave the header out."))
        }
        431 | 494 if sent.header_bytes > 0 => Some(format!(
            "The headers given with --header have {} bytes: leave out cookies and tokens one by one to see which is too large.",
            sent.header_bytes
        )),
        _ => None,
    }
}

fn advice(answer: &Answer<'_>) -> Vec<String> {
    let response = answer.response;
    let mut advice = Vec::new();
    if let Some(wait) = response.header("retry-after") {
        advice.push(format!("Ask again after {wait} (seconds or a date): the server says so."));
    }
    let wall = response.header("server").filter(|server| {
        let server = server.to_ascii_lowercase();
        ["cloudflare", "akamaighost", "awselb", "sucuri", "imperva"].iter().any(|wall| server.contains(wall))
    });
    if let (403, Some(wall)) = (response.status, wall) {
        advice.push(format!("The refusal comes from {wall}: look at its firewall rules, not at the origin."));
    }
    advice
}

fn place(answer: &Answer<'_>) -> String {
    match answer.response.status {
        502..=504 | 520..=530 => format!("behind {}", answer.http.to),
        _ => answer.http.to.to_string(),
    }
}

/// Reason phrases of RFC 9110 and RFC 6585, for the statuses that one meets.
pub(super) const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        511 => "Network Authentication Required",
        _ => "",
    }
}
