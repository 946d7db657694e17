//! Why no head came, or why the body ended early: from the tap first, from hyper's chain of errors where the tap cannot tell.

use crate::recorder::{ms, printable};
use crate::tls::{End, FIRST_BYTES, Traffic, alert_name, looks_like};
use faultmap_model::observation::{BodyEnd, HttpOutcome};
use std::error::Error;
use std::io;
use std::time::Duration;

/// No head came: an error.
pub(super) fn no_head(error: &hyper::Error, http2: bool, waited: Duration, seen: &Traffic) -> HttpOutcome {
    let received_bytes = seen.received;
    if let Some(other) = alert(seen).or_else(|| other_protocol(http2, seen)) {
        return other;
    }
    if error.is_parse() {
        return malformed(words(error), seen);
    }
    if let Some(h2) = find::<h2::Error>(error) {
        match (h2.is_io(), h2.is_remote()) {
            (true, _) => {}
            (false, true) if h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR) => return HttpOutcome::Closed { received_bytes },
            (false, true) => return HttpOutcome::StreamRefused { reason: reason(h2) },
            (false, false) => return malformed(words(error), seen),
        }
    }
    match seen.end {
        Some(End::Reset) => HttpOutcome::Reset { received_bytes },
        Some(End::Fin) => HttpOutcome::Closed { received_bytes },
        Some(End::Lost) => HttpOutcome::Silent { waited_ms: ms(waited), received_bytes },
        None if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => HttpOutcome::Closed { received_bytes },
        None => malformed(words(error), seen),
    }
}

/// The error code by its name in RFC 9113 7.
fn reason(error: &h2::Error) -> String {
    error.reason().map_or_else(|| "unknown".to_owned(), |reason| printable(format!("{reason:?}").as_bytes(), 40))
}

/// No head came in time.
pub(super) fn silent(http2: bool, waited: Duration, seen: &Traffic) -> HttpOutcome {
    let silent = || HttpOutcome::Silent { waited_ms: ms(waited), received_bytes: seen.received };
    alert(seen).or_else(|| other_protocol(http2, seen)).unwrap_or_else(silent)
}

fn alert(seen: &Traffic) -> Option<HttpOutcome> {
    seen.alert.map(|code| HttpOutcome::Alert { code, name: alert_name(code).to_owned() })
}

/// The first bytes cannot begin an answer in the HTTP version that we speak.
fn other_protocol(http2: bool, seen: &Traffic) -> Option<HttpOutcome> {
    let expected = if http2 { "http2" } else { "http" };
    let begins = looks_like(&seen.first);
    let ours = if http2 { begins == Some(expected) } else { b"HTTP/1.".starts_with(seen.first.get(..7).unwrap_or(&seen.first)) };
    let words = if http2 { "the answer is not HTTP/2" } else { "the answer does not begin with HTTP/1" };
    // An HTTP/2 frame header has 9 bytes; fewer say nothing.
    let enough = !seen.first.is_empty() && (!http2 || seen.first.len() >= 9 || begins.is_some());
    (enough && !ours).then(|| malformed(words.to_owned(), seen))
}

fn malformed(why: String, seen: &Traffic) -> HttpOutcome {
    HttpOutcome::Malformed { why, first_bytes: printable(&seen.first, FIRST_BYTES), looks_like: looks_like(&seen.first).map(str::to_owned) }
}

/// Why the body ended before its framing was complete.
pub(super) fn body_end(error: &hyper::Error, framed: bool, seen: &Traffic) -> BodyEnd {
    if let Some(h2) = find::<h2::Error>(error).filter(|h2| !h2.is_io()) {
        return if h2.is_remote() { BodyEnd::Reset } else { BodyEnd::BadFraming { why: words(error) } };
    }
    if seen.alert.is_some() {
        return BodyEnd::Reset;
    }
    match (find::<io::Error>(error).map(io::Error::kind), seen.end) {
        // hyper's chunk decoder complains before it looks at what follows.
        (Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData), _) => BodyEnd::BadFraming { why: words(error) },
        (_, Some(End::Reset)) => BodyEnd::Reset,
        // A body that only the close ends, on TLS without close_notify: every browser takes it.
        (_, Some(End::Fin)) if !framed => BodyEnd::Complete,
        (_, Some(End::Fin)) | (Some(io::ErrorKind::UnexpectedEof), _) => BodyEnd::Truncated,
        (_, Some(End::Lost)) => BodyEnd::Stalled,
        _ if error.is_incomplete_message() || error.is_closed() => BodyEnd::Truncated,
        _ => BodyEnd::BadFraming { why: words(error) },
    }
}

/// The innermost words, which say most.
fn words(error: &hyper::Error) -> String {
    let mut inner: &dyn Error = error;
    // The chain is hyper's and short; the bound guards against a cycle.
    for _ in 0..8 {
        match inner.source() {
            Some(source) => inner = source,
            None => break,
        }
    }
    printable(inner.to_string().as_bytes(), 160)
}

/// The first error of a type in the chain.
fn find<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    for _ in 0..8 {
        let current = next?;
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| current.source());
    }
    None
}
