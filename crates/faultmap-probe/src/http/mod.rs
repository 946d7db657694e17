//! One HTTP request on one connection, and everything that can be said of its answer. Redirects are not followed; nothing here judges.

mod body;
mod charset;
mod coding;
mod content;
mod exchange;
mod failure;
mod headers;
mod request;
mod session;
mod upgrade;
mod wire;

#[cfg(test)]
mod tests;

pub use exchange::exchange;
pub(crate) use exchange::over_stream;
pub use request::validate;

pub(crate) use request::build_for;
pub(crate) use session::{Answer, Session};
pub(crate) use upgrade::{Upgrade, upgrade};

use crate::tls::TlsStream;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// What the request travels on.
#[derive(Debug)]
pub enum Connection {
    /// Plain TCP: HTTP/1.1.
    Plain(TcpStream),
    /// Plain TCP to a proxy that is to pass the request on: HTTP/1.1 with the whole URL (RFC 9112 3.2.2).
    Forwarded(TcpStream, Forward),
    /// Plain TCP, HTTP/2 by prior knowledge (gRPC without TLS).
    PlainHttp2(TcpStream),
    /// TLS: HTTP/2 when ALPN chose `h2`, else HTTP/1.1.
    Tls(TlsStream),
}

/// What a proxy is told that passes requests on.
#[derive(Clone, Default)]
pub struct Forward {
    /// The value of `Proxy-Authorization`. Secret.
    pub authorization: Option<String>,
}

impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Forward(***)")
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct HttpAsk<'a> {
    /// The server, as connected.
    pub to: SocketAddr,
    /// Method, such as `GET`.
    pub method: &'a str,
    /// `Host` header (`:authority`): host, and port when it is not the scheme's.
    pub host_header: &'a str,
    /// Path and query, as sent. May hold secrets: never recorded.
    pub path_and_query: &'a str,
    /// Further headers, `(name, value)`; they replace our defaults of the same name. May hold secrets: never recorded.
    pub headers: &'a [(String, String)],
    /// Request body.
    pub body: Option<&'a [u8]>,
    /// Send `Accept-Encoding: gzip, deflate, br, zstd`.
    pub accept_encoding: bool,
    /// Bound from the first byte of the request to the head of the answer.
    pub wait: Duration,
    /// Most bytes of the body to read.
    pub body_limit: usize,
    /// Bound of reading the body.
    pub body_wait: Duration,
    /// Why this request (see `HttpExchange::purpose`).
    pub purpose: &'a str,
    /// Text that must be in the decoded body.
    pub expect_body: Option<&'a str>,
    /// The URL to record, without credentials.
    pub shown_url: &'a str,
    /// Our clock, Unix seconds.
    pub now_unix: i64,
}
