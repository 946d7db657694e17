//! The balancer: passes requests on to backends in turn and answers for them as nginx does when they refuse, are silent
//! or are all out of service (502, 504). It keeps no session with a backend and caches nothing.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header, request::Parts};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};

use super::{
    answer::{response, with_header},
    body::{BoxBody, full},
};
use crate::services::{error::ServiceError, stats::Counters, tcp::yes};

/// Headers that end at each hop (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [&str; 8] =
    ["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"];

/// Backends of a balancer, and how it treats them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Upstream {
    /// Addresses of the backends, used in turn.
    pub backends: Vec<SocketAddr>,
    /// Milliseconds for a backend to complete the TCP handshake (nginx: `proxy_connect_timeout`).
    #[serde(default = "two_seconds")]
    pub connect_timeout_ms: u64,
    /// Milliseconds for a backend to send its header section (nginx: `proxy_read_timeout`).
    #[serde(default = "two_seconds")]
    pub timeout_ms: u64,
    /// Try the next backend if one fails (nginx: `proxy_next_upstream error timeout`).
    #[serde(default = "yes")]
    pub next_on_error: bool,
    /// A backend that failed is left out for so many milliseconds (nginx: `fail_timeout`); 0: never. A single backend
    /// is never left out.
    #[serde(default)]
    pub fail_timeout_ms: u64,
    /// Status when all backends are left out: 502 as nginx ("no live upstreams"), 503 as HAProxy.
    #[serde(default = "bad_gateway")]
    pub none_healthy_status: u16,
    /// The `Server` header, in place of the backend's.
    #[serde(default = "nginx")]
    pub server: String,
    /// The `Via` header; absent: none, as nginx.
    #[serde(default)]
    pub via: Option<String>,
    /// A header that names the backend which answered.
    #[serde(default)]
    pub marker: Option<String>,
}

fn two_seconds() -> u64 {
    2000
}

fn bad_gateway() -> u16 {
    502
}

fn nginx() -> String {
    "nginx".to_owned()
}

/// An [`Upstream`] at work.
#[derive(Debug)]
pub(crate) struct Balancer {
    spec: Upstream,
    none_healthy: StatusCode,
    marker: Option<HeaderName>,
    turn: AtomicUsize,
    /// Until when each backend is left out.
    out_until: Mutex<Vec<Option<Instant>>>,
}

/// How a backend failed.
enum Failure {
    Refused,
    Silent,
    Broken,
}

impl Balancer {
    pub(crate) fn new(spec: &Upstream) -> Result<Self, ServiceError> {
        if spec.backends.is_empty() {
            return Err(ServiceError::spec("upstream.backends", "there is none"));
        }
        let none_healthy =
            StatusCode::from_u16(spec.none_healthy_status).map_err(|e| ServiceError::spec("upstream.none-healthy-status", e))?;
        let marker = spec.marker.as_ref().map(HeaderName::try_from).transpose();
        Ok(Self {
            marker: marker.map_err(|e| ServiceError::spec("upstream.marker", e))?,
            none_healthy,
            turn: AtomicUsize::new(0),
            out_until: Mutex::new(vec![None; spec.backends.len()]),
            spec: spec.clone(),
        })
    }

    /// Passes one request on and answers with what came of it.
    pub(crate) async fn forward(&self, request: &Parts, body: Bytes, counters: &Counters) -> Response<BoxBody> {
        let mut status = self.none_healthy;
        let mut tried = false;
        for (index, backend) in self.candidates() {
            tried = true;
            let attempt = self.ask(backend, request, body.clone()).await;
            match attempt {
                Ok(answer) => return self.pass_back(answer, backend, counters),
                Err(failure) => {
                    let (name, code) = failure.meaning();
                    counters.bite(name);
                    status = code;
                    self.leave_out(index);
                }
            }
            if !self.spec.next_on_error {
                break;
            }
        }
        if !tried {
            counters.bite("upstream-none-healthy");
        }
        self.dress(error_page(status, &self.spec.server))
    }

    /// The backends to try in order: from the next in turn, without those left out.
    fn candidates(&self) -> Vec<(usize, SocketAddr)> {
        let all = &self.spec.backends;
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let out = self.out_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let in_turn = (0..all.len()).map(|i| first.wrapping_add(i) % all.len());
        let live = in_turn.filter(|i| out.get(*i).copied().flatten().is_none_or(|until| until <= now));
        live.filter_map(|i| Some((i, *all.get(i)?))).collect()
    }

    fn leave_out(&self, index: usize) {
        if self.spec.backends.len() < 2 || self.spec.fail_timeout_ms == 0 {
            return;
        }
        let mut out = self.out_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = out.get_mut(index) {
            *until = Some(Instant::now() + Duration::from_millis(self.spec.fail_timeout_ms));
        }
    }

    async fn ask(&self, backend: SocketAddr, request: &Parts, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let connect = timeout(Duration::from_millis(self.spec.connect_timeout_ms), TcpStream::connect(backend));
        let tcp = connect.await.map_err(|_| Failure::Silent)?.map_err(|_| Failure::Refused)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(|_| Failure::Broken)?;
        tokio::spawn(connection);
        let mut outgoing = Request::new(Full::new(body));
        *outgoing.method_mut() = request.method.clone();
        let path = request.uri.path_and_query().map_or("/", |p| p.as_str());
        *outgoing.uri_mut() = path.parse().map_err(|_| Failure::Broken)?;
        *outgoing.headers_mut() = end_to_end(&request.headers);
        // HTTP/2 carries the host in :authority.
        if let (None, Some(authority)) = (request.headers.get(header::HOST), request.uri.authority())
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            outgoing.headers_mut().insert(header::HOST, host);
        }
        let answer = timeout(Duration::from_millis(self.spec.timeout_ms), sender.send_request(outgoing));
        answer.await.map_err(|_| Failure::Silent)?.map_err(|_| Failure::Broken)
    }

    fn pass_back(&self, answer: Response<Incoming>, backend: SocketAddr, counters: &Counters) -> Response<BoxBody> {
        if answer.status().is_server_error() {
            counters.bite("upstream-error-status");
        }
        let (mut parts, body) = answer.into_parts();
        parts.headers = end_to_end(&parts.headers);
        parts.version = Version::default();
        let mut answer = Response::from_parts(parts, body.map_err(std::io::Error::other).boxed_unsync());
        if let Some(marker) = &self.marker {
            answer = with_header(answer, marker.clone(), &backend.to_string());
        }
        self.dress(answer)
    }

    fn dress(&self, answer: Response<BoxBody>) -> Response<BoxBody> {
        let answer = with_header(answer, header::SERVER, &self.spec.server);
        match &self.spec.via {
            Some(via) => with_header(answer, header::VIA, via),
            None => answer,
        }
    }
}

impl Failure {
    fn meaning(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Refused => ("upstream-refused", StatusCode::BAD_GATEWAY),
            Self::Silent => ("upstream-timeout", StatusCode::GATEWAY_TIMEOUT),
            Self::Broken => ("upstream-broken", StatusCode::BAD_GATEWAY),
        }
    }
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The page nginx makes for an error of its own.
fn error_page(status: StatusCode, server: &str) -> Response<BoxBody> {
    let reason = match status {
        // nginx words these two in its own way (ngx_http_special_response.c).
        StatusCode::GATEWAY_TIMEOUT => "Gateway Time-out",
        StatusCode::SERVICE_UNAVAILABLE => "Service Temporarily Unavailable",
        other => other.canonical_reason().unwrap_or("Unknown"),
    };
    let title = format!("{} {reason}", status.as_u16());
    let page = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n\
         <hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    );
    with_header(response(status, full(page)), header::CONTENT_TYPE, "text/html")
}
