//! HTTP/1.1 on a connection that is kept: requests one after the other, each answer read to its end. hyper speaks.

use super::Stream;
use super::engine::Engine;
use bytes::Bytes;
use http::{Request, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

/// Most bytes of an answer that are read to keep the connection.
const BODY_LIMIT: usize = 1 << 20;

pub(super) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    engine: Engine,
}

/// A head, and whether the server wants to go on.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) closes: bool,
}

impl Http1 {
    pub(super) async fn open(stream: Stream) -> Result<Self, String> {
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = opened.map_err(|error| error.to_string())?;
        let engine = Engine::new(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, engine })
    }

    /// One request and its answer, to the end of the body.
    pub(super) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Head, String> {
        let Self { sender, engine } = self;
        engine.run(sender.ready()).await.map_err(|error| error.to_string())?;
        let head = engine.run(sender.send_request(request)).await.map_err(|error| error.to_string())?;
        let (parts, mut body) = head.into_parts();
        let words = parts.headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
        let says = |word: &str| words.iter().any(|value| value.split(',').any(|one| one.trim() == word));
        let closes = says("close") || (parts.version == Version::HTTP_10 && !says("keep-alive"));
        let mut read = 0_usize;
        while let Some(frame) = engine.run(body.frame()).await {
            let frame = frame.map_err(|error| error.to_string())?;
            read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if read > BODY_LIMIT {
                return Err(format!("an answer of more than {BODY_LIMIT} bytes"));
            }
        }
        Ok(Head { status: parts.status.as_u16(), closes })
    }

    /// Waits until the server ends the connection.
    pub(super) async fn ended(&mut self) {
        self.engine.ended().await;
    }
}
