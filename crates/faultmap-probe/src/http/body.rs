//! Reads a body to its end, our limit, or its failure. What the bytes are is told by `content`.

use super::failure;
use super::wire::Wire;
use crate::tls::Seen;
use faultmap_model::observation::BodyEnd;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::{Duration, Instant};

/// A body, or as much as came.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) end: BodyEnd,
    pub(super) took: Duration,
    /// Trailer fields (gRPC puts its status there).
    pub(super) trailers: HeaderMap,
}

/// Bounds of reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most bytes.
    pub(super) limit: usize,
    /// Longest time.
    pub(super) wait: Duration,
    /// Content-Length or chunks or HTTP/2 frames tell the end; else the close does.
    pub(super) framed: bool,
}

/// A body that still flows when time is up was cut by us; one that has been quiet this long has stalled.
fn quiet(wait: Duration) -> Duration {
    (wait / 2).min(Duration::from_secs(1))
}

/// Reads it.
pub(super) async fn read(wire: &mut Wire, mut incoming: Incoming, bounds: Bounds, seen: &Seen) -> Body {
    let started = Instant::now();
    let mut body = Body { bytes: Vec::new(), end: BodyEnd::Complete, took: Duration::ZERO, trailers: HeaderMap::new() };
    let mut last = started;
    body.end = loop {
        let left = bounds.wait.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, wire.run(incoming.frame())).await {
            Err(_) if last.elapsed() >= quiet(bounds.wait) => break BodyEnd::Stalled,
            Err(_) => break BodyEnd::Limit,
            Ok(None) => break BodyEnd::Complete,
            Ok(Some(Err(error))) => break failure::body_end(&error, bounds.framed, &seen.borrow()),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    last = Instant::now();
                    let room = bounds.limit.saturating_sub(body.bytes.len());
                    body.bytes.extend(data.iter().take(room));
                    if data.len() > room {
                        break BodyEnd::Limit;
                    }
                }
                Err(other) => body.trailers = other.into_trailers().unwrap_or_default(),
            },
        }
    };
    body.took = started.elapsed();
    body
}
