//! HTTP/2 on a connection that is kept: requests, and PING (RFC 9113 6.7). h2 speaks, and answers the server's own pings.

use super::Stream;
use super::engine::Engine;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong};
use http::Request;

/// Most bytes of an answer that are read.
const BODY_LIMIT: usize = 1 << 20;

pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    pings: Option<PingPong>,
    engine: Engine,
}

impl Http2 {
    pub(super) async fn open(stream: Stream) -> Result<Self, String> {
        let (sender, mut connection) = h2::client::handshake(stream).await.map_err(|error| error.to_string())?;
        let pings = connection.ping_pong();
        let engine = Engine::new(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, pings, engine })
    }

    /// One request and its answer, to the end of the body; gives the status.
    pub(super) async fn exchange(&mut self, request: Request<()>, body: Option<Bytes>) -> Result<u16, String> {
        let words = |error: h2::Error| error.to_string();
        let engine = &mut self.engine;
        let mut sender = engine.run(self.sender.clone().ready()).await.map_err(words)?;
        let (response, mut upload) = sender.send_request(request, body.is_none()).map_err(words)?;
        if let Some(body) = body {
            upload.send_data(body, true).map_err(words)?;
        }
        let head = engine.run(response).await.map_err(words)?;
        let (parts, mut body) = head.into_parts();
        let mut read = 0_usize;
        while let Some(chunk) = engine.run(body.data()).await {
            let chunk = chunk.map_err(words)?;
            let _ = body.flow_control().release_capacity(chunk.len());
            read = read.saturating_add(chunk.len());
            if read > BODY_LIMIT {
                return Err(format!("an answer of more than {BODY_LIMIT} bytes"));
            }
        }
        let _ = engine.run(body.trailers()).await.map_err(words)?;
        Ok(parts.status.as_u16())
    }

    /// A PING and its acknowledgement.
    pub(super) async fn ping(&mut self) -> Result<(), String> {
        let Some(pings) = &mut self.pings else { return Err("no ping can be sent".to_owned()) };
        self.engine.run(pings.ping(Ping::opaque())).await.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Waits until the server ends the connection.
    pub(super) async fn ended(&mut self) {
        self.engine.ended().await;
    }
}
