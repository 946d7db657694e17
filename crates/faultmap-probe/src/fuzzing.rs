//! HTTP, TLS and proxies with a peer that says given bytes, for the fuzz targets: what a server can say, however it is cut, reaches every parser
//! through here. (Other protocols: [`crate::dialogue::rehearse`].) No network, no clock that matters.

use crate::dialogue::Credentials;
use crate::http::{HttpAsk, over_stream};
use crate::proxy::{Proxy, TunnelAsk};
use faultmap_model::observation::{Certificate, Dialogue, HttpExchange, ProxyProtocol, Spoken, TunnelOutcome};
use std::cell::OnceCell;
use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{Join, Sink};
use tokio::runtime::Runtime;

/// The peer has said everything at once, and never reads.
type Peer = Join<Cursor<Vec<u8>>, Sink>;

const TO: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
const WAIT: Duration = Duration::from_millis(500);

fn peer(says: &[u8]) -> Peer {
    tokio::io::join(Cursor::new(says.to_vec()), tokio::io::sink())
}

/// Runs a conversation to its end, on one runtime for each thread.
pub fn wait_for<T>(conversation: impl Future<Output = T>) -> Option<T> {
    thread_local! {
        static RUNTIME: OnceCell<Option<Runtime>> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_time().build().ok());
        runtime.as_ref().map(|runtime| runtime.block_on(conversation))
    })
}

/// One request and its answer; the first byte chooses HTTP/1.1 or HTTP/2.
#[must_use]
pub fn http_answer(bytes: &[u8]) -> Option<HttpExchange> {
    let (chosen, says) = bytes.split_first()?;
    let ask = HttpAsk {
        to: TO,
        method: "GET",
        host_header: "peer.test",
        path_and_query: "/",
        headers: &[],
        body: None,
        accept_encoding: true,
        wait: WAIT,
        body_limit: 64 * 1024,
        body_wait: WAIT,
        purpose: "default",
        expect_body: Some("needle"),
        shown_url: "http://peer.test/",
        now_unix: 1_790_000_000,
    };
    wait_for(over_stream(peer(says), chosen & 1 == 1, &ask))
}

/// A conversation in gRPC or WebSocket.
#[must_use]
pub fn above_http(protocol: Spoken, says: &[u8]) -> Option<Dialogue> {
    wait_for(crate::dialogue::rehearse(protocol, says, None, "shop.Cart/Get")).flatten()
}

/// The first bytes of a server that was sent a ClientHello: the protocol that they look like. The first flight of TLS is read as well.
#[must_use]
pub fn tls_answer(bytes: &[u8]) -> Option<&'static str> {
    let _ = crate::tls::first_flight(bytes);
    crate::tls::looks_like(bytes)
}

/// A certificate as a server may send it.
#[must_use]
pub fn certificate(der: &[u8]) -> Certificate {
    crate::tls::describe(&rustls_pki_types::CertificateDer::from(der))
}

/// A proxy's answer to the request for a tunnel; the first byte chooses its protocol and whether there is a login.
#[must_use]
pub fn proxy_answer(bytes: &[u8]) -> Option<TunnelOutcome> {
    let (chosen, says) = bytes.split_first()?;
    let login = Credentials { user: "me".to_owned(), password: Some("secret".to_owned()) };
    let proxy = Proxy {
        protocol: if chosen & 1 == 0 { ProxyProtocol::Http } else { ProxyProtocol::Socks5h },
        host: "proxy.test".to_owned(),
        port: 9,
        credentials: (chosen & 2 == 2).then_some(login),
        configured_by: "--proxy".to_owned(),
        forwards: false,
    };
    let ask = TunnelAsk { to: TO, proxy: &proxy, host: "peer.test", port: 443, wait: WAIT, purpose: "default" };
    wait_for(crate::proxy::negotiate(&mut peer(says), &ask))
}

/// What a peer says before it ends a session: GOAWAY of HTTP/2, and the errors of PostgreSQL, MySQL and SMTP.
#[must_use]
pub fn last_words(bytes: &[u8]) -> Vec<String> {
    use faultmap_model::observation::Spoken;
    let dialogues = [Spoken::Postgres, Spoken::Mysql, Spoken::Smtp].map(|protocol| crate::dialogue::goodbye(protocol, bytes));
    dialogues.into_iter().chain([crate::session::goaway(bytes)]).flatten().collect()
}
