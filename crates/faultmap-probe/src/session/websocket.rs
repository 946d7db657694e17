//! A WebSocket that is kept: ping and pong (RFC 6455 5.5.2). tungstenite speaks, and answers the server's own pings.

use super::Stream;
use crate::recorder::printable;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

pub(super) struct Websocket {
    stream: WebSocketStream<Stream>,
    pings: u32,
    /// What the server said when it closed.
    pub(super) last_words: Option<String>,
}

impl Websocket {
    pub(super) async fn open(stream: Stream, request: Request<()>) -> Result<Self, String> {
        match client_async(request, stream).await {
            Ok((stream, _)) => Ok(Self { stream, pings: 0, last_words: None }),
            Err(Error::Http(response)) => Err(format!("the upgrade is refused with {}", response.status().as_u16())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A ping of our own, and its pong. Messages that come meanwhile are dropped.
    pub(super) async fn ping(&mut self) -> Result<(), String> {
        self.pings = self.pings.wrapping_add(1);
        let payload = Bytes::copy_from_slice(format!("faultmap {}", self.pings).as_bytes());
        self.stream.send(Message::Ping(payload.clone())).await.map_err(|error| error.to_string())?;
        loop {
            match self.next().await? {
                Message::Pong(answer) if answer == payload => return Ok(()),
                _ => {}
            }
        }
    }

    /// Waits until the server ends the session.
    pub(super) async fn ended(&mut self) {
        while self.next().await.is_ok() {}
    }

    async fn next(&mut self) -> Result<Message, String> {
        match self.stream.next().await {
            Some(Ok(Message::Close(frame))) => {
                let words = frame.map_or_else(String::new, |frame| format!(" {} {}", u16::from(frame.code), frame.reason.as_str()));
                self.last_words = Some(printable(format!("close{words}").trim_end().as_bytes(), 128));
                Err("closed".to_owned())
            }
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("closed".to_owned()),
        }
    }

    /// Says goodbye.
    pub(super) async fn close(&mut self) {
        let _ = self.stream.close(None).await;
    }
}
