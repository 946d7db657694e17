//! A conversation with bytes in place of a server: whatever a server could say, read as it would be. For fuzzing and for tests.

use super::talk::Talk;
use super::{Credentials, DialogueAsk, Stream, grpc_wire, lend, speak};
use faultmap_model::observation::{Dialogue, Spoken};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Says its bytes and ends; takes whatever is written.
struct Script(Vec<u8>);

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = buf.remaining().min(self.0.len());
        let now: Vec<u8> = self.0.drain(..count).collect();
        buf.put_slice(&now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Holds the conversation with a server that says these bytes, whatever it is asked, and then closes. `path` is what follows the host.
pub async fn rehearse(protocol: Spoken, said: &[u8], credentials: Option<&Credentials>, path: &str) -> Option<Dialogue> {
    let ask = DialogueAsk {
        to: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1),
        protocol,
        host: "server.test",
        authority: "server.test",
        path,
        credentials,
        headers: &[],
        encrypted: false,
        tls: None,
        purpose: "default",
        wait: Duration::from_secs(1),
    };
    if matches!(protocol, Spoken::Grpc | Spoken::Websocket) {
        return lend(Script(said.to_vec()), &ask).await.dialogue;
    }
    let stream: Box<dyn Stream> = Box::new(Script(said.to_vec()));
    speak(Talk::other(stream, ask.wait), &ask).await.dialogue
}

/// Reads the parts of a gRPC answer as a call does: the status of its trailers, its body, and the body's message as both of the messages that
/// are known. Gives all of it in words.
#[must_use]
pub fn rehearse_call(status: &[u8], words: &[u8], body: &[u8]) -> String {
    let message = grpc_wire::unframed(body);
    let known = message.map(|message| (grpc_wire::health(message), grpc_wire::services(message)));
    format!("{:?} {known:?}", grpc_wire::status_of(status, words))
}
