//! HTTP services: what the specification may say, and how it is made ready. A sound server by default; every way in
//! which it can be unsound is a field. Connections are in `serve`, answers in `answer`, bytes that hyper would never
//! send in `raw`, the balancer in `upstream`.

mod answer;
mod body;
mod raw;
mod serve;
mod upstream;
mod websocket;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use self::body::Source;
pub(crate) use self::serve::serve;
pub use self::upstream::Upstream;
use super::{
    error::ServiceError,
    listen::ListenSpec,
    pki::Pki,
    tcp::yes,
    tls::{TlsPlan, TlsSpec},
};

/// An HTTP service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpSpec {
    /// Port; 0 lets the kernel choose.
    pub port: u16,
    /// False: nothing listens, as if the process had died.
    #[serde(default = "yes")]
    pub listening: bool,
    /// How it listens.
    #[serde(default)]
    pub listen: ListenSpec,
    /// TLS; `kind = "https"` has sound TLS without it.
    #[serde(default)]
    pub tls: Option<TlsSpec>,
    /// The answer for every path that no route names.
    #[serde(default)]
    pub respond: Respond,
    /// Answers by path; a key that ends in `*` matches every path it begins. The longest key wins.
    #[serde(default)]
    pub routes: BTreeMap<String, Respond>,
    /// The `Server` header.
    #[serde(default = "server_name")]
    pub server: String,
    /// Requests whose header section is larger than this many bytes are answered 431.
    #[serde(default)]
    pub max_header_bytes: Option<usize>,
    /// What happens to a connection after its first answer (HTTP/1.1).
    #[serde(default)]
    pub reuse: Reuse,
    /// A connection on which nothing moves for so many milliseconds is closed in order.
    #[serde(default)]
    pub idle_close_ms: Option<u64>,
    /// A connection of this age is closed, busy or not.
    #[serde(default)]
    pub hard_timeout_ms: Option<u64>,
    /// Seconds added to the `Date` header (besides what `tls.certificate = clock-skew` adds).
    #[serde(default)]
    pub date_shift_s: i64,
    /// Speak this protocol whatever ALPN has agreed.
    #[serde(default)]
    pub speak: Option<Speak>,
    /// Pass requests on to backends instead of answering; `routes` and `respond` are not looked at.
    #[serde(default)]
    pub upstream: Option<Upstream>,
    /// Names that a CONNECT request may ask for, with their addresses; present: the service is a forward proxy.
    #[serde(default)]
    pub connect: Option<BTreeMap<String, IpAddr>>,
}

fn server_name() -> String {
    "faultmap-lab".to_owned()
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speak {
    /// HTTP/1.1
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2
    #[serde(rename = "h2")]
    Http2,
}

/// What happens to an HTTP/1.1 connection after its first answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reuse {
    /// It can be used again.
    #[default]
    Allow,
    /// `Connection: close` and an orderly close.
    Close,
    /// A second request is met by a reset, though nothing announced it (a lost keep-alive race).
    Reset,
    /// A second request is met by an orderly close without answer.
    CloseUnannounced,
}

/// One answer, and what is wrong with it. The default is a sound one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Respond {
    /// Status code.
    pub status: u16,
    /// Further headers (`retry-after`, `www-authenticate`, `allow`, `via`, `age`, `x-cache`, `server-timing`, …).
    pub headers: BTreeMap<String, String>,
    /// `Content-Type` in place of the one that fits the body; empty: none.
    pub content_type: Option<String>,
    /// The body.
    pub body: Body,
    /// How the body is compressed, and whether the headers admit it.
    pub encoding: Encoding,
    /// Milliseconds before the headers are sent.
    pub delay_ms: u64,
    /// A pause within the body.
    pub pause: Option<Pause>,
    /// Redirect instead.
    pub redirect: Option<Redirect>,
    /// Methods allowed; others are answered 405 with `Allow`.
    pub methods: Option<Vec<String>>,
    /// Media types accepted of a request's body; others are answered 415, or `bad-type`.
    pub takes: Option<Vec<String>>,
    /// The status for a body of another type, in place of 415.
    pub bad_type: Option<u16>,
    /// A fault below HTTP: the connection or the framing breaks.
    pub fault: Option<Fault>,
    /// Answer as one of several backends, some of which fail.
    pub rotation: Option<Rotation>,
    /// Answer as a gRPC server (unary) instead of with `body`.
    pub grpc: Option<Grpc>,
    /// Accept a WebSocket handshake (101); a request that is none is answered as if this were absent.
    pub websocket: bool,
    /// What is wrong with the WebSocket that was accepted.
    pub websocket_flaw: Option<WebsocketFlaw>,
}

impl Default for Respond {
    fn default() -> Self {
        Self {
            status: 200,
            headers: BTreeMap::new(),
            content_type: None,
            body: Body::default(),
            encoding: Encoding::None,
            delay_ms: 0,
            pause: None,
            redirect: None,
            methods: None,
            takes: None,
            bad_type: None,
            fault: None,
            rotation: None,
            grpc: None,
            websocket: false,
            websocket_flaw: None,
        }
    }
}

/// The bytes of a body before compression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Body {
    /// `text/plain`, UTF-8.
    Text {
        /// The text.
        text: String,
    },
    /// `application/json`; the text need not be valid JSON.
    Json {
        /// The text.
        text: String,
    },
    /// `text/html`, UTF-8.
    Html {
        /// The text.
        text: String,
    },
    /// `text/html` declared as UTF-8, but sent in Latin-1; characters beyond U+00FF become `?`.
    Latin1 {
        /// The text.
        text: String,
    },
    /// `application/octet-stream` of so many bytes of filling.
    Fill {
        /// Length of the body.
        bytes: u64,
    },
    /// No body and no `Content-Type`.
    Empty,
}

impl Default for Body {
    fn default() -> Self {
        Self::Text { text: "faultmap lab\n".to_owned() }
    }
}

/// How a body is compressed, and whether `Content-Encoding` admits it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Not compressed, not declared.
    #[default]
    None,
    /// gzip, declared.
    Gzip,
    /// Declared as gzip, but not compressed.
    GzipDeclaredOnly,
    /// gzip, not declared.
    GzipUndeclared,
    /// gzip, declared, with damaged bytes.
    GzipCorrupt,
}

/// A pause within a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pause {
    /// Bytes sent before it.
    #[serde(default)]
    pub after: u64,
    /// Milliseconds.
    pub ms: u64,
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Redirect {
    /// The `Location`; `{n}` becomes the number of the request, so that every hop can differ.
    pub to: String,
    /// Status code.
    #[serde(default = "found")]
    pub status: u16,
}

fn found() -> u16 {
    302
}

/// A fault below HTTP. On HTTP/2, where frames cannot be forged, `truncate`, `bad-chunk`, `garbage`, `reset-body` break
/// the stream (RST_STREAM) instead of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The request is read, nothing is ever answered.
    Mute,
    /// The request is read, the connection closed in order without an answer.
    Close,
    /// The request is read, the connection reset without an answer.
    Reset,
    /// A reset once `after` bytes of the body were sent.
    ResetBody {
        /// Bytes of the body sent before.
        after: u64,
    },
    /// Silence once `after` bytes of the body were sent.
    StopBody {
        /// Bytes of the body sent before.
        after: u64,
    },
    /// `Content-Length` promises `missing` bytes more than come before the orderly close.
    Truncate {
        /// Bytes that never come.
        missing: u64,
    },
    /// A chunk whose size is not hexadecimal.
    BadChunk,
    /// Bytes that are not HTTP at all.
    Garbage,
    /// On HTTP/2, the stream is ended with INTERNAL_ERROR in place of an answer; HTTP/1.1 is answered well.
    RefuseStream,
}

impl Fault {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Close => "close",
            Self::Reset => "reset",
            Self::ResetBody { .. } => "reset-body",
            Self::StopBody { .. } => "stop-body",
            Self::Truncate { .. } => "truncate",
            Self::BadChunk => "bad-chunk",
            Self::Garbage => "garbage",
            Self::RefuseStream => "refuse-stream",
        }
    }
}

/// Answering as one of several backends, in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rotation {
    /// How many backends there are; they are numbered from 1.
    pub backends: u64,
    /// Those that fail.
    #[serde(default)]
    pub failing: Vec<u64>,
    /// The status they fail with.
    #[serde(default = "internal_server_error")]
    pub status: u16,
    /// The header that names the backend (`b1`, `b2`, …); empty: none.
    #[serde(default = "x_backend")]
    pub marker: String,
}

fn internal_server_error() -> u16 {
    500
}

fn x_backend() -> String {
    "x-backend".to_owned()
}

/// A unary gRPC answer (gRPC over HTTP/2, "PROTOCOL-HTTP2.md").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Grpc {
    /// `grpc-status`: 0 OK, 12 UNIMPLEMENTED, 14 UNAVAILABLE, …
    #[serde(default)]
    pub status: u32,
    /// `grpc-message`.
    #[serde(default)]
    pub message: String,
    /// `ServingStatus` in the message of `grpc.health.v1.Health/Check`: 1 SERVING, 2 NOT_SERVING.
    #[serde(default)]
    pub health: Option<u8>,
    /// Names that the answer of server reflection lists.
    #[serde(default)]
    pub services: Option<Vec<String>>,
    /// The answer ends without trailers, as behind a proxy that drops them.
    #[serde(default)]
    pub no_trailers: bool,
}

/// What is wrong with a WebSocket after the upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum WebsocketFlaw {
    /// It is closed at once with this code.
    Close {
        /// Close code (RFC 6455 section 7.4).
        code: u16,
        /// Its words.
        #[serde(default)]
        reason: String,
    },
    /// `Sec-WebSocket-Accept` answers another key.
    WrongAccept,
    /// The service reads, and never answers a ping.
    NoPong,
}

impl WebsocketFlaw {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Close { .. } => "websocket-close",
            Self::WrongAccept => "websocket-wrong-accept",
            Self::NoPong => "websocket-no-pong",
        }
    }
}

/// An [`HttpSpec`] made ready to serve.
#[derive(Debug)]
pub(crate) struct HttpPlan {
    pub(crate) tls: Option<TlsPlan>,
    spec: HttpSpec,
    server: HeaderValue,
    respond: Ready,
    routes: Vec<(String, Ready)>,
    upstream: Option<upstream::Balancer>,
}

/// A [`Respond`] with everything that can be computed beforehand.
#[derive(Debug)]
struct Ready {
    respond: Respond,
    status: StatusCode,
    headers: HeaderMap,
    source: Source,
}

impl HttpPlan {
    pub(crate) fn new(spec: &HttpSpec, tls: Option<&TlsSpec>, balancer: bool, bind: &[IpAddr], pki: &Pki) -> Result<Self, ServiceError> {
        if balancer && spec.upstream.is_none() {
            return Err(ServiceError::spec("upstream", "a balancer needs backends"));
        }
        let routes = spec.routes.iter().map(|(path, respond)| Ok((path.clone(), Ready::new(respond, path)?)));
        Ok(Self {
            tls: tls.map(|tls| TlsPlan::new(tls, &["h2", "http/1.1"], bind, pki)).transpose()?,
            server: header_value("server", &spec.server)?,
            respond: Ready::new(&spec.respond, "respond")?,
            routes: routes.collect::<Result<_, ServiceError>>()?,
            upstream: spec.upstream.as_ref().map(upstream::Balancer::new).transpose()?,
            spec: spec.clone(),
        })
    }

    fn route(&self, path: &str) -> &Ready {
        let fits = |key: &str| key.strip_suffix('*').map_or(key == path, |prefix| path.starts_with(prefix));
        let best = self.routes.iter().filter(|(key, _)| fits(key)).max_by_key(|(key, _)| key.len());
        best.map_or(&self.respond, |(_, ready)| ready)
    }

    /// The `Date` header by this server's clock (RFC 9110 section 6.6.1).
    fn date(&self) -> Option<HeaderValue> {
        let shift = self.spec.date_shift_s.saturating_add(self.tls.as_ref().map_or(0, |tls| tls.clock_shift_s));
        let by = Duration::from_secs(shift.unsigned_abs());
        let now = SystemTime::now();
        let shifted = if shift < 0 { now.checked_sub(by) } else { now.checked_add(by) }?;
        // httpdate takes years 1970 to 9999 only.
        let since = shifted.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        if since.as_secs() >= 253_402_300_800 {
            return None;
        }
        HeaderValue::from_str(&httpdate::fmt_http_date(shifted)).ok()
    }
}

impl Ready {
    fn new(respond: &Respond, field: &str) -> Result<Self, ServiceError> {
        let status = respond.redirect.as_ref().map_or(respond.status, |r| r.status);
        let status = StatusCode::from_u16(status).map_err(|e| ServiceError::spec(format!("{field}.status"), e))?;
        if status.is_informational() {
            return Err(ServiceError::spec(format!("{field}.status"), "an interim response cannot end a request"));
        }
        let source = Source::new(&respond.body, respond.encoding);
        let mut headers = HeaderMap::new();
        let content_type = respond.content_type.as_deref().unwrap_or(respond.body.content_type());
        if !content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, header_value("content-type", content_type)?);
        }
        if respond.encoding.declared() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in &respond.headers {
            let key = HeaderName::try_from(name).map_err(|e| ServiceError::spec(format!("headers.{name}"), e))?;
            headers.insert(key, header_value(name, value)?);
        }
        Ok(Self { respond: respond.clone(), status, headers, source })
    }

    /// What is wrong with this answer, apart from `fault` and `rotation`, which are counted when they strike.
    fn flaws(&self) -> Vec<String> {
        let r = &self.respond;
        let mut flaws = Vec::new();
        if self.status.is_client_error() || self.status.is_server_error() {
            flaws.push(format!("status-{}", self.status.as_u16()));
        }
        let mut flaw = |is: bool, name: &str| {
            if is {
                flaws.push(name.to_owned())
            }
        };
        flaw(r.redirect.is_some(), "redirect");
        flaw(r.delay_ms > 0, "delay");
        flaw(r.pause.is_some(), "pause");
        flaw(r.encoding == Encoding::GzipDeclaredOnly, "gzip-declared-only");
        flaw(r.encoding == Encoding::GzipUndeclared, "gzip-undeclared");
        flaw(r.encoding == Encoding::GzipCorrupt, "gzip-corrupt");
        flaw(matches!(r.body, Body::Latin1 { .. }), "latin1");
        let declared = r.content_type.as_deref().is_some_and(|t| t != r.body.content_type());
        flaw(declared, "content-type");
        let invalid = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_err();
        flaw(matches!(&r.body, Body::Json { text } if invalid(text)), "invalid-json");
        flaw(r.grpc.as_ref().is_some_and(|g| g.status != 0 || g.health.is_some_and(|h| h != 1)), "grpc");
        flaws
    }
}

impl Body {
    fn content_type(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text/plain; charset=utf-8",
            Self::Json { .. } => "application/json",
            Self::Html { .. } | Self::Latin1 { .. } => "text/html; charset=utf-8",
            Self::Fill { .. } => "application/octet-stream",
            Self::Empty => "",
        }
    }
}

impl Encoding {
    fn declared(self) -> bool {
        matches!(self, Self::Gzip | Self::GzipDeclaredOnly | Self::GzipCorrupt)
    }
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, ServiceError> {
    HeaderValue::from_str(value).map_err(|e| ServiceError::spec(format!("header {name}"), e))
}
