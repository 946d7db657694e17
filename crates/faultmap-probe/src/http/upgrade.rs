//! A request to leave HTTP/1.1 for another protocol (RFC 9110 7.8), and what the server makes of it.

use super::body::{self, Bounds};
use super::wire::{self, Switch};
use super::{content, failure};
use crate::tls::{Seen, Tap};
use bytes::Bytes;
use faultmap_model::observation::HttpOutcome;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// Most bytes of a page that refuses.
const PAGE: usize = 64 * 1024;
/// A page that refuses is worth no more.
const PAGE_WAIT: Duration = Duration::from_millis(500);

/// What became of it.
pub(crate) enum Upgrade<S> {
    /// 101.
    Switched {
        /// Header section of the answer.
        headers: HeaderMap,
        /// The stream, in the new protocol.
        stream: Tap<S>,
        /// Its bytes that came with the head.
        ahead: Bytes,
    },
    /// Any other answer.
    Answered {
        /// Status.
        status: StatusCode,
        /// Header section.
        headers: HeaderMap,
        /// What the page says first.
        words: String,
    },
}

/// Sends it.
pub(crate) async fn upgrade<S>(
    stream: Tap<S>,
    seen: &Seen,
    request: Request<Full<Bytes>>,
    wait: Duration,
) -> Result<Upgrade<S>, HttpOutcome>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let started = Instant::now();
    let (head, mut wire) = match tokio::time::timeout(wait, wire::upgrade(stream, request)).await {
        Ok(Ok(Switch::Done { head, stream, ahead })) => return Ok(Upgrade::Switched { headers: head.headers, stream, ahead }),
        Ok(Ok(Switch::Answered { head, wire })) => (head, wire),
        Ok(Err(error)) => return Err(failure::no_head(&error, false, started.elapsed(), &seen.borrow())),
        Err(_) => return Err(failure::silent(false, started.elapsed(), &seen.borrow())),
    };
    let (parts, incoming) = head.into_parts();
    let bounds = Bounds { limit: PAGE, wait: PAGE_WAIT.min(wait), framed: false };
    let body = body::read(&mut wire, incoming, bounds, seen).await;
    let words = content::first_words(&parts.headers, &body.bytes, &body.end);
    Ok(Upgrade::Answered { status: parts.status, headers: parts.headers, words })
}
