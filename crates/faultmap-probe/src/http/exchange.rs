//! Sends one request and writes down the answer.

use super::body::{self, Bounds};
use super::content::{self, Raw};
use super::request::Form;
use super::wire::{self, Wire};
use super::{Connection, HttpAsk, failure, headers, request};
use crate::recorder::ms;
use crate::sock;
use crate::tls::{Seen, Tap};
use faultmap_model::observation::{HttpExchange, HttpOutcome, HttpResponse};
use http::{Response, StatusCode, Version, header};
use hyper::body::Incoming;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// Sends the request and reads the answer.
pub async fn exchange(connection: Connection, ask: &HttpAsk<'_>) -> HttpExchange {
    match connection {
        Connection::Plain(stream) => {
            let socket = sock::no_delay_dup(&stream);
            converse(stream, socket, Form::Http1, ask).await
        }
        Connection::Forwarded(stream, forward) => {
            let socket = sock::no_delay_dup(&stream);
            converse(stream, socket, Form::Forwarded(&forward), ask).await
        }
        Connection::PlainHttp2(stream) => {
            let socket = sock::no_delay_dup(&stream);
            converse(stream, socket, Form::Http2 { tls: false }, ask).await
        }
        Connection::Tls(stream) => {
            let socket = stream.socket();
            let form = if stream.alpn() == Some("h2") { Form::Http2 { tls: true } } else { Form::Http1 };
            converse(stream, socket, form, ask).await
        }
    }
}

/// The same over any stream, such as one that is not of the network.
pub(crate) async fn over_stream<S>(stream: S, http2: bool, ask: &HttpAsk<'_>) -> HttpExchange
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    converse(stream, None, if http2 { Form::Http2 { tls: false } } else { Form::Http1 }, ask).await
}

/// Interim answers (RFC 9110 15.2) and the final head together; they are a few hundred bytes on any sound server.
const MOST_BEFORE_HEAD: u64 = 1 << 20;

async fn converse<S>(stream: S, socket: Option<OwnedFd>, form: Form<'_>, ask: &HttpAsk<'_>) -> HttpExchange
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let http2 = matches!(form, Form::Http2 { .. });
    let version = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    let (version, outcome) = match request::build(ask, form) {
        Ok(request) => {
            let (tap, seen) = Tap::speaking_first(stream);
            seen.borrow_mut().most = Some(MOST_BEFORE_HEAD);
            let started = Instant::now();
            let mut wire = None;
            let sent =
                async { if http2 { wire::http2(&mut wire, tap, request).await } else { wire::http1(&mut wire, tap, request).await } };
            let head = tokio::time::timeout(ask.wait, sent).await;
            match (head, wire) {
                (Ok(Ok(head)), Some(mut wire)) => {
                    seen.borrow_mut().most = None;
                    let version = head.version();
                    (version, HttpOutcome::Response(Box::new(response(&mut wire, head, &seen, started, ask).await)))
                }
                (Ok(Err(error)), _) => (version, failure::no_head(&error, http2, started.elapsed(), &seen.borrow())),
                (Err(_), _) | (_, None) => (version, failure::silent(http2, started.elapsed(), &seen.borrow())),
            }
        }
        Err(error) => (version, HttpOutcome::NoConnection { why: format!("the request cannot be built: {error}") }),
    };
    HttpExchange {
        to: ask.to,
        method: ask.method.to_owned(),
        url: ask.shown_url.to_owned(),
        purpose: ask.purpose.to_owned(),
        version: version_name(version).to_owned(),
        outcome,
        tcp: socket.as_ref().and_then(sock::tcp_health),
    }
}

const fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

async fn response(wire: &mut Wire, head: Response<Incoming>, seen: &Seen, started: Instant, ask: &HttpAsk<'_>) -> HttpResponse {
    let asked = seen.borrow().last_sent.unwrap_or(started);
    let ttfb: Duration = asked.elapsed();
    let (parts, incoming) = head.into_parts();
    let framed = parts.version == Version::HTTP_2
        || parts.headers.contains_key(header::CONTENT_LENGTH)
        || parts.headers.contains_key(header::TRANSFER_ENCODING);
    let bounds = Bounds { limit: ask.body_limit, wait: ask.body_wait, framed };
    let body = body::read(wire, incoming, bounds, seen).await;
    let raw = Raw {
        headers: &parts.headers,
        bytes: &body.bytes,
        end: &body.end,
        took_ms: ms(body.took),
        bodiless: bodiless(ask.method, parts.status),
        expect: ask.expect_body,
    };
    let mut kept = headers::kept(&parts.headers);
    kept.extend(headers::kept(&body.trailers));
    HttpResponse {
        status: parts.status.as_u16(),
        headers: kept,
        ttfb_ms: ms(ttfb),
        body: content::reading(&raw),
        date_unix: headers::date(&parts.headers),
        now_unix: ask.now_unix,
    }
}

/// RFC 9112 6.3: these have no body whatever their headers say.
fn bodiless(method: &str, status: StatusCode) -> bool {
    method.eq_ignore_ascii_case("HEAD") || status.is_informational() || matches!(status.as_u16(), 204 | 304)
}
