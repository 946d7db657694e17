//! HTTP requests and their answers.

use super::TcpHealth;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One request on one connection, redirects not followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpExchange {
    /// The address that served it.
    pub to: SocketAddr,
    /// Method.
    pub method: String,
    /// URL without credentials.
    pub url: String,
    /// `default`; `clamped-mss`; `second-try`; `http/1.1`: in place of an HTTP/2 that failed; `redirect`; `sample`.
    pub purpose: String,
    /// `HTTP/1.1` or `HTTP/2`.
    pub version: String,
    /// How it ended.
    pub outcome: HttpOutcome,
    /// State of the TCP connection at the end.
    pub tcp: Option<TcpHealth>,
}

impl HttpExchange {
    /// No byte of an answer came. An HTTP/2 server's own preface (SETTINGS, WINDOW_UPDATE, acknowledgement; RFC 9113 3.4) is no answer.
    #[must_use]
    pub fn said_nothing(&self) -> bool {
        const PREFACE_MOST_BYTES: u64 = 160;
        let (HttpOutcome::Silent { received_bytes, .. } | HttpOutcome::Closed { received_bytes } | HttpOutcome::Reset { received_bytes }) =
            &self.outcome
        else {
            return false;
        };
        *received_bytes == 0 || (self.version == "HTTP/2" && *received_bytes <= PREFACE_MOST_BYTES)
    }
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum HttpOutcome {
    /// A response head came.
    Response(Box<HttpResponse>),
    /// What came is not HTTP.
    Malformed {
        /// The parser's words.
        why: String,
        /// The first bytes, printable ones kept, at most 128 characters; empty when unknown.
        first_bytes: String,
        /// `tls`, `ssh`, `smtp`, `mysql`, ... when recognised.
        looks_like: Option<String>,
    },
    /// Orderly close before any byte of the answer.
    Closed {
        /// Bytes received before it.
        received_bytes: u64,
    },
    /// RST before the head was complete.
    Reset {
        /// Bytes received before it.
        received_bytes: u64,
    },
    /// The server ended this stream alone, or the session by GOAWAY, with a reason (HTTP/2): the connection itself did not fail.
    StreamRefused {
        /// Error code of RFC 9113 7, such as `REFUSED_STREAM`.
        reason: String,
    },
    /// No head in time.
    Silent {
        /// How long we waited.
        waited_ms: f64,
        /// Bytes received before the silence.
        received_bytes: u64,
    },
    /// A TLS alert ended it (client certificate, ALPN).
    Alert {
        /// Alert code.
        code: u8,
        /// Its name.
        name: String,
    },
    /// The TCP or TLS connection for it could not be made.
    NoConnection {
        /// errno name, `timeout`, or the TLS failure.
        why: String,
    },
}

/// A response.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Headers that evidence needs, names in lower case, values cut to 256 characters and made printable.
    pub headers: Vec<(String, String)>,
    /// From the request's last byte to the head.
    pub ttfb_ms: f64,
    /// The body.
    pub body: BodyReading,
    /// `Date` header, Unix seconds.
    pub date_unix: Option<i64>,
    /// Our clock when it came, Unix seconds.
    pub now_unix: i64,
}

impl HttpResponse {
    /// First value of a header, by lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// How the body ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum BodyEnd {
    /// Complete by its framing.
    #[default]
    Complete,
    /// We stopped reading at our own limit.
    Limit,
    /// Closed before Content-Length or the last chunk.
    Truncated,
    /// The framing is invalid (bad chunk size, ...).
    BadFraming {
        /// The parser's words.
        why: String,
    },
    /// RST (or HTTP/2 RST_STREAM) in the middle.
    Reset,
    /// Nothing more in time.
    Stalled,
}

/// What the body turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BodyReading {
    /// How it ended.
    pub end: BodyEnd,
    /// Bytes as transferred.
    pub wire_bytes: u64,
    /// Bytes after decoding.
    pub decoded_bytes: u64,
    /// Time from head to end.
    pub took_ms: f64,
    /// Content-Encoding as declared, lower case.
    pub declared_encoding: Option<String>,
    /// Decoding failed: the decoder's words.
    pub decode_error: Option<String>,
    /// Compressed bytes (magic of gzip, zstd) with no Content-Encoding and a textual Content-Type.
    pub undeclared_encoding: Option<String>,
    /// Content-Type as declared, lower case, without parameters.
    pub declared_type: Option<String>,
    /// charset parameter as declared, lower case.
    pub declared_charset: Option<String>,
    /// What the bytes look like: `json`, `html`, `xml`, `text`, `binary`, `empty`.
    pub sniffed: String,
    /// The bytes are not valid in the declared charset (UTF-8 when declared so, or by JSON's definition): offset of the first bad byte.
    pub charset_error_at: Option<u64>,
    /// Declared JSON does not parse: the parser's words with line and column.
    pub syntax_error: Option<String>,
    /// `--expect-body` was given: whether it was found.
    pub expected_found: Option<bool>,
    /// First line or title for a human, printable, at most 160 characters.
    pub excerpt: String,
}

impl BodyReading {
    /// Took seconds for what fits into a few windows of TCP: lost segments were sent again and again, or the service writes as slowly.
    #[must_use]
    pub fn crawled(&self) -> bool {
        const FEW_WINDOWS: u64 = 128 * 1024;
        const SECONDS_MS: f64 = 2_000.0;
        self.wire_bytes <= FEW_WINDOWS && self.took_ms >= SECONDS_MS
    }
}

/// Outcomes of N equal requests (`--samples`), or of N equal conversations in a service's own protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpSamples {
    /// Requests made, the first one included.
    pub tried: u32,
    /// One row for each distinct outcome.
    pub rows: Vec<SampleRow>,
}

/// One distinct outcome among the samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRow {
    /// `200`, `503`, `answered`, `reset`, `timeout`, `refused`, ...
    pub outcome: String,
    /// The outcome is a failure.
    pub failed: bool,
    /// The address that served it.
    pub to: SocketAddr,
    /// Backend marker, `header: value` of a header that names the backend (X-Served-By, X-Backend, Server, Via, ...), if any.
    pub backend: Option<String>,
    /// How many.
    pub count: u32,
    /// Median time of these.
    pub median_ms: f64,
}
