//! Takes a fresh connection on a TLS port to the point where the service can speak, or misbehaves as the rules say.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    HelloAction, TlsPlan,
    hello::{MAX_HELLO, Scan, scan},
    legacy,
};
use crate::services::{
    io::{BoxStream, HOLD, Metered, Rewind, Wire, drain},
    stats::Counters,
};

/// A client must have sent its hello, and finished the handshake, within this time.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);
const LINGER: Duration = Duration::from_secs(1);
const MAX_REASON: usize = 120;

/// A connection on which the service may now speak.
pub(crate) struct Admitted {
    pub(crate) stream: BoxStream,
    /// The application protocol agreed by ALPN.
    pub(crate) alpn: Option<Vec<u8>>,
    /// Whether the stream is encrypted.
    pub(crate) tls: bool,
}

/// Performs the handshake. `None`: the connection has come to its end (the misbehaviour was acted out, or it failed).
pub(crate) async fn admit(mut io: Metered, wire: &Wire, plan: &TlsPlan, counters: &Arc<Counters>) -> Option<Admitted> {
    if let Some(plaintext) = &plan.plaintext {
        counters.bite("plaintext-on-tls-port");
        let Some(banner) = plaintext.banner() else {
            return Some(Admitted { stream: Box::new(io), alpn: None, tls: false });
        };
        let _ = io.write_all(banner.as_bytes()).await;
        let _ = io.flush().await;
        drain(&mut io, HOLD).await;
        return None;
    }
    let mut front = Vec::new();
    let action = match timeout(HANDSHAKE_LIMIT, read_hello(&mut io, &mut front)).await.ok()?.ok()? {
        Scan::Hello(hello) => {
            let action = plan.action(&hello);
            if let HelloAction::Legacy { version } = action {
                let flight = legacy::answer(&hello, version.code_point(), &plan.chain);
                let bytes = flight.unwrap_or_else(legacy::alert);
                counters.bite("legacy");
                finish(&mut io, &bytes).await;
                return None;
            }
            action
        }
        Scan::NotTls | Scan::NeedMore => {
            counters.tls_failure("first bytes are not a ClientHello");
            not_tls(&mut io, &front, counters).await;
            return None;
        }
    };
    if !act(&mut io, wire, &action, counters).await {
        return None;
    }
    handshake(Rewind::new(front, io), plan, counters).await
}

/// Carries out what comes before the handshake. True: the handshake goes on.
async fn act(io: &mut Metered, wire: &Wire, action: &HelloAction, counters: &Counters) -> bool {
    match action {
        HelloAction::Proceed | HelloAction::Legacy { .. } => return true,
        HelloAction::Delay { ms } => {
            counters.bite("handshake-delay");
            sleep(Duration::from_millis(*ms)).await;
            return true;
        }
        HelloAction::Mute => {
            counters.bite("handshake-mute");
            drain(io, HOLD).await;
        }
        HelloAction::Reset => {
            counters.bite("handshake-reset");
            wire.reset_on_drop();
        }
        HelloAction::Close => {
            counters.bite("handshake-close");
            let _ = io.shutdown().await;
        }
        HelloAction::Alert { code } => {
            counters.bite(format!("alert-{code}"));
            finish(io, &legacy::alert(*code)).await;
        }
    }
    false
}

async fn handshake(io: Rewind<Metered>, plan: &TlsPlan, counters: &Arc<Counters>) -> Option<Admitted> {
    let accept = TlsAcceptor::from(plan.config.clone()).accept(io).into_fallible();
    match timeout(HANDSHAKE_LIMIT, accept).await.ok()? {
        Ok(stream) => {
            Counters::add(&counters.tls_handshakes, 1);
            if let Some(fault) = &plan.unsound {
                counters.bite(fault.clone());
            }
            let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            Some(Admitted { stream: Box::new(stream), alpn, tls: true })
        }
        Err((why, mut io)) => {
            let mut reason = why.to_string();
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
            counters.tls_failure(reason);
            if let Some(fault) = &plan.unsound {
                // The client turned the certificate down: that is the bite.
                counters.bite(fault.clone());
            }
            // tokio-rustls has sent our alert; what the client sent meanwhile must be read, or a reset would destroy it.
            let _ = io.shutdown().await;
            drain(&mut io, LINGER).await;
            None
        }
    }
}

/// Reads until a whole ClientHello is there; every byte read stays in `front`.
async fn read_hello(io: &mut Metered, front: &mut Vec<u8>) -> io::Result<Scan> {
    loop {
        match scan(front) {
            Scan::NeedMore if front.len() < MAX_HELLO => {}
            other => return Ok(other),
        }
        if io.read_buf(front).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What nginx does with a plain request on a TLS port (ngx_http_request.c: status 497, shown as 400); others are closed.
async fn not_tls(io: &mut Metered, front: &[u8], counters: &Counters) {
    let is_http = front.first().is_some_and(u8::is_ascii_uppercase);
    if !is_http {
        finish(io, &legacy::alert(10)).await; // unexpected_message
        return;
    }
    counters.bite("plain-http-on-tls-port");
    let body = "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n<body>\r\n\
                <center><h1>400 Bad Request</h1></center>\r\n\
                <center>The plain HTTP request was sent to HTTPS port</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    finish(io, answer.as_bytes()).await;
}

/// Sends the last bytes and closes in order.
async fn finish(io: &mut Metered, bytes: &[u8]) {
    let _ = io.write_all(bytes).await;
    let _ = io.flush().await;
    let _ = io.shutdown().await;
    drain(io, LINGER).await;
}
