//! An HTTP/2 session on which requests follow one another, for protocols above HTTP/2 (gRPC). It reads answers whole, trailers included.

use super::body::{self, Bounds};
use super::wire::{Sender2, Wire, open_http2};
use super::{content, failure};
use crate::tls::{Seen, Tap};
use bytes::Bytes;
use faultmap_model::observation::{BodyEnd, HttpOutcome};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};

/// A session under way.
pub(crate) struct Session {
    wire: Wire,
    sender: Sender2,
    seen: Seen,
}

/// One answer, whole as far as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// Header section.
    pub(crate) headers: HeaderMap,
    /// What the body says first, if it is text.
    pub(crate) words: String,
    /// The body.
    pub(crate) bytes: Vec<u8>,
    /// How it ended.
    pub(crate) end: BodyEnd,
    /// Trailer section.
    pub(crate) trailers: HeaderMap,
    /// From the request to the head.
    pub(crate) head_after: Duration,
}

impl Session {
    /// Opens it; what fails already is told by the first request.
    pub(crate) async fn open<S>(stream: Tap<S>, seen: Seen, wait: Duration) -> Result<Self, HttpOutcome>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let started = Instant::now();
        match tokio::time::timeout(wait, open_http2(stream)).await {
            Ok(Ok((wire, sender))) => Ok(Self { wire, sender, seen }),
            Ok(Err(error)) => Err(failure::no_head(&error, true, started.elapsed(), &seen.borrow())),
            Err(_) => Err(failure::silent(true, started.elapsed(), &seen.borrow())),
        }
    }

    /// One request and its answer. `limit`: most bytes of the body.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>, limit: usize, wait: Duration) -> Result<Answer, HttpOutcome> {
        let started = Instant::now();
        let head = tokio::time::timeout(wait, self.wire.run(self.sender.send_request(request))).await;
        let head = match head {
            Ok(Ok(head)) => head,
            Ok(Err(error)) => return Err(failure::no_head(&error, true, started.elapsed(), &self.seen.borrow())),
            Err(_) => return Err(failure::silent(true, started.elapsed(), &self.seen.borrow())),
        };
        let head_after = started.elapsed();
        let (parts, incoming) = head.into_parts();
        let bounds = Bounds { limit, wait: wait.saturating_sub(head_after), framed: true };
        let body = body::read(&mut self.wire, incoming, bounds, &self.seen).await;
        let words = content::first_words(&parts.headers, &body.bytes, &body.end);
        Ok(Answer {
            words,
            status: parts.status,
            headers: parts.headers,
            bytes: body.bytes,
            end: body.end,
            trailers: body.trailers,
            head_after,
        })
    }
}
