//! What is said on a held connection, by the target's scheme. Builds it; sends nothing.

use crate::dialogue::stands;
use crate::driver::{Check, now_unix};
use crate::http::{Connection, HttpAsk, build_for};
use crate::session::{Line, Speech, descriptor};
use bytes::Bytes;
use faultmap_model::Scheme;
use faultmap_model::observation::Spoken;
use http::{HeaderName, HeaderValue, Request};
use std::net::SocketAddr;
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// An empty message of gRPC: not compressed, no bytes. `HealthCheckRequest` without a service asks for the server as a whole.
const EMPTY_MESSAGE: [u8; 5] = [0; 5];
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// The name by which a report calls what is spoken.
pub(super) fn protocol(scheme: Scheme, connection: &Connection) -> &'static str {
    match (scheme, connection) {
        (Scheme::Https, Connection::Tls(stream)) if stream.alpn() == Some("h2") => "http/2",
        (Scheme::Https | Scheme::Http, _) => "http/1.1",
        (Scheme::Grpc | Scheme::Grpcs, _) => "grpc",
        (Scheme::Ws | Scheme::Wss, _) => "websocket",
        (Scheme::Tls, _) => "tls",
        _ => "tcp",
    }
}

/// Something can be asked on it again and again: it can be kept active.
pub(super) const fn can_be_active(scheme: Scheme) -> bool {
    !matches!(scheme, Scheme::Tcp | Scheme::Tls)
}

/// Sessions of this scheme can be held.
pub(super) fn can_be_held(scheme: Scheme) -> bool {
    match scheme.dialogue() {
        Some(Spoken::Grpc | Spoken::Websocket) => true,
        Some(spoken) => stands(spoken),
        None => scheme.uses_http() || matches!(scheme, Scheme::Tcp | Scheme::Tls),
    }
}

impl Check<'_> {
    /// A fresh session, its protocol begun, with the name of what is spoken; not recorded.
    pub(super) async fn session_line(&self, to: SocketAddr, wait: Duration) -> Option<(Line, &'static str)> {
        let connection = self.session_connection(to).await?;
        if let Some(spoken) = self.target.scheme.dialogue().filter(|spoken| stands(*spoken)) {
            let socket = descriptor(&connection);
            let standing = self.standing(connection, to, spoken, wait).await?;
            return Some((Line::of_dialogue(standing, socket), spoken.name()));
        }
        let protocol = protocol(self.target.scheme, &connection);
        let speech = self.speech(to, &connection)?;
        let line = Line::open(connection, speech, wait).await.ok()?;
        Some((line, protocol))
    }

    /// What to say on this connection; `None` where sessions of the scheme are not spoken.
    pub(super) fn speech(&self, to: SocketAddr, connection: &Connection) -> Option<Speech> {
        let tls = matches!(connection, Connection::Tls(_));
        match protocol(self.target.scheme, connection) {
            "http/2" => {
                let request = self.http_request(to, connection)?;
                let (parts, ()) = request.map(drop).into_parts();
                Some(Speech::Http2(Request::from_parts(parts, ()), None))
            }
            "http/1.1" => self.http_request(to, connection).map(Speech::Http),
            "grpc" => self.health_request(tls).map(|request| Speech::Http2(request, Some(Bytes::from_static(&EMPTY_MESSAGE)))),
            "websocket" => self.upgrade(tls).map(Speech::Websocket),
            _ => matches!(self.target.scheme, Scheme::Tcp | Scheme::Tls).then_some(Speech::Nothing),
        }
    }

    /// The user's own request where it may be repeated, else HEAD of the same path without a body (RFC 9110 9.2.1: safe).
    fn http_request(&self, to: SocketAddr, connection: &Connection) -> Option<Request<http_body_util::Full<Bytes>>> {
        let repeatable = ["GET", "HEAD"].iter().any(|method| self.options.method.eq_ignore_ascii_case(method));
        let host = self.host_header();
        let ask = HttpAsk {
            to,
            method: if repeatable { &self.options.method } else { "HEAD" },
            host_header: &host,
            path_and_query: &self.options.request_path,
            headers: &self.options.headers,
            body: None,
            accept_encoding: true,
            wait: Duration::ZERO,
            body_limit: 0,
            body_wait: Duration::ZERO,
            purpose: "session",
            expect_body: None,
            shown_url: "",
            now_unix: now_unix(),
        };
        build_for(&ask, connection).ok()
    }

    fn health_request(&self, tls: bool) -> Option<Request<()>> {
        let scheme = if tls { "https" } else { "http" };
        let uri = format!("{scheme}://{}{HEALTH}", self.host_header());
        let mut request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers").body(()).ok()?;
        self.add_headers(request.headers_mut());
        Some(request)
    }

    fn upgrade(&self, tls: bool) -> Option<Request<()>> {
        let scheme = if tls { "wss" } else { "ws" };
        let mut request = format!("{scheme}://{}{}", self.host_header(), self.options.request_path).into_client_request().ok()?;
        self.add_headers(request.headers_mut());
        Some(request)
    }

    fn add_headers(&self, headers: &mut http::HeaderMap) {
        for (name, value) in &self.options.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                headers.append(name, value);
            }
        }
    }
}
