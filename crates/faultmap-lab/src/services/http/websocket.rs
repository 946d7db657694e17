//! The server's half of WebSocket (RFC 6455 section 4.2.2). After the upgrade the service only listens, and answers pings.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::{
    WebsocketFlaw,
    answer::with_header,
    body::{BoxBody, full},
    serve::Conn,
};
use crate::services::io::{HOLD, drain};

/// Switches to WebSocket. The session lives no longer than its connection's task, which knows the limits of idleness and age.
pub(crate) fn upgrade(request: Request<Incoming>, key: &HeaderValue, flaw: Option<WebsocketFlaw>, conn: &Conn) -> Response<BoxBody> {
    let accept = match flaw {
        Some(WebsocketFlaw::WrongAccept) => derive_accept_key(b"another key"),
        _ => derive_accept_key(key.as_bytes()),
    };
    let mut life = conn.begin_session();
    tokio::spawn(async move {
        let session = async {
            if let Ok(client) = hyper::upgrade::on(request).await {
                let _ = timeout(HOLD, speak(TokioIo::new(client), flaw)).await;
            }
        };
        tokio::select! {
            () = session => {}
            () = life.over() => {}
        }
    });
    let mut switching = Response::new(full(Bytes::new()));
    *switching.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let switching = with_header(switching, header::UPGRADE, "websocket");
    let switching = with_header(switching, header::CONNECTION, "Upgrade");
    with_header(switching, header::SEC_WEBSOCKET_ACCEPT, &accept)
}

async fn speak(mut client: TokioIo<hyper::upgrade::Upgraded>, flaw: Option<WebsocketFlaw>) {
    if flaw == Some(WebsocketFlaw::NoPong) {
        return drain(&mut client, HOLD).await;
    }
    let mut socket = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    if let Some(WebsocketFlaw::Close { code, reason }) = flaw {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let _ = socket.send(Message::Close(Some(frame))).await;
    }
    // Reading answers pings and close frames.
    while let Some(Ok(_)) = socket.next().await {}
}
