//! The bytes of an HTTP answer: computed, compressed, and streamed with pauses, an abrupt end or trailers. It knows
//! nothing of status and headers.

use std::{convert::Infallible, future::pending, io, io::Write, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::stream;
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body as _, Frame};
use tokio::time::sleep;

use super::{Body, Encoding, Pause};

/// Any body that a service answers with.
pub(crate) type BoxBody = UnsyncBoxBody<Bytes, io::Error>;

const CHUNK: usize = 16 * 1024;
/// Bodies compressed in memory are bounded; a longer filling is cut to this.
const MAX_COMPRESSED: u64 = 64 * 1024 * 1024;
const BEFORE_BREAK: Duration = Duration::from_millis(150);
static FILL: [u8; CHUNK] = [b'f'; CHUNK];

/// Where the bytes of a body come from; a filling is never held in memory whole.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Bytes(Bytes),
    Fill(u64),
}

impl Source {
    pub(crate) fn new(body: &Body, encoding: Encoding) -> Self {
        let plain = match body {
            Body::Text { text } | Body::Json { text } | Body::Html { text } => Bytes::from(text.clone()),
            Body::Latin1 { text } => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
            Body::Fill { bytes } if matches!(encoding, Encoding::None | Encoding::GzipDeclaredOnly) => {
                return Self::Fill(*bytes);
            }
            Body::Fill { bytes } => Bytes::from(vec![b'f'; usize::try_from((*bytes).min(MAX_COMPRESSED)).unwrap_or(0)]),
            Body::Empty => Bytes::new(),
        };
        Self::Bytes(match encoding {
            Encoding::None | Encoding::GzipDeclaredOnly => plain,
            Encoding::Gzip | Encoding::GzipUndeclared => gzip(&plain),
            Encoding::GzipCorrupt => corrupt(&gzip(&plain)),
        })
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Fill(n) => *n,
        }
    }

    /// At most [`CHUNK`] bytes from `at` on, none beyond `end`.
    pub(crate) fn chunk(&self, at: u64, end: u64) -> Bytes {
        let left = usize::try_from(self.len().min(end).saturating_sub(at)).unwrap_or(usize::MAX).min(CHUNK);
        match self {
            Self::Bytes(bytes) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                bytes.slice(at..at + left.min(bytes.len() - at))
            }
            Self::Fill(_) => Bytes::from_static(&FILL[..left]),
        }
    }
}

/// How a streamed body ends.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// Complete.
    Whole,
    /// Complete, with trailers.
    Trailers(HeaderMap),
    /// Silence after so many bytes.
    Stop(u64),
    /// An error after so many bytes (RST_STREAM on HTTP/2).
    Break(u64),
}

/// Streams `source` with an optional pause, ending as told.
pub(crate) fn stream_of(source: Source, pause: Option<Pause>, end: End) -> BoxBody {
    let last = match end {
        End::Stop(at) | End::Break(at) => at.min(source.len()),
        End::Whole | End::Trailers(_) => source.len(),
    };
    let state = State { source, pause, end, last, at: 0, ended: false };
    let stream = stream::unfold(state, |mut state| async move { Some((state.next().await?, state)) });
    StreamBody::new(stream).boxed_unsync()
}

struct State {
    source: Source,
    pause: Option<Pause>,
    end: End,
    last: u64,
    at: u64,
    ended: bool,
}

impl State {
    async fn next(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        if let Some(pause) = self.pause.filter(|p| self.at >= p.after.min(self.last)) {
            self.pause = None;
            sleep(Duration::from_millis(pause.ms)).await;
        }
        let until = self.pause.map_or(self.last, |p| p.after.min(self.last));
        let chunk = self.source.chunk(self.at, until);
        if !chunk.is_empty() {
            self.at += chunk.len() as u64;
            return Some(Ok(Frame::data(chunk)));
        }
        if self.ended {
            return None;
        }
        self.ended = true;
        match &self.end {
            End::Whole => None,
            End::Trailers(trailers) => Some(Ok(Frame::trailers(trailers.clone()))),
            End::Stop(_) => pending().await,
            End::Break(_) => {
                // A reset discards frames that are still queued (RFC 9113 section 5.4.2): let them go first.
                sleep(BEFORE_BREAK).await;
                Some(Err(io::Error::other("broken on purpose")))
            }
        }
    }
}

/// A body of these bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> BoxBody {
    http_body_util::Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Whether hyper can know the length beforehand.
pub(crate) fn exact_len(body: &BoxBody) -> Option<u64> {
    body.size_hint().exact()
}

fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to a Vec cannot fail; an empty result would be seen by every test.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default().into()
}

/// Damages the deflate stream but leaves the gzip header (RFC 1952: 10 bytes) recognisable.
fn corrupt(compressed: &[u8]) -> Bytes {
    compressed.iter().enumerate().map(|(i, b)| if i >= 10 { b ^ 0x55 } else { *b }).collect()
}
