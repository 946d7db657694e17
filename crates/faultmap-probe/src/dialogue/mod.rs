//! Conversations in a service's own protocol: one file a protocol, one [`Dialogue`] as the answer of each.
//!
//! A protocol's file only sends, reads and understands its messages; how a conversation ends without an answer (FIN, RST, silence, another
//! protocol) is found here, alike for all. Nothing here judges.

mod redis;
mod talk;

use crate::http::Connection;
use crate::sock::{no_delay_dup, tcp_health};
use faultmap_model::observation::{Dialogue, DialogueOutcome, DialogueStep, Spoken};
use std::net::SocketAddr;
use std::time::Duration;
use talk::{Broken, Talk};
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream that a conversation may run on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// User name and password. Never recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name; empty where the protocol has none.
    pub user: String,
    /// The password, if one was given.
    pub password: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// One conversation.
#[derive(Debug, Clone, Copy)]
pub struct DialogueAsk<'a> {
    /// The server, as connected.
    pub to: SocketAddr,
    /// What to speak.
    pub protocol: Spoken,
    /// The name that the target was given by.
    pub host: &'a str,
    /// `host`, with the port where it is not the scheme's own: what a `Host` or `:authority` header carries.
    pub authority: &'a str,
    /// What follows the host in the target: a database, a virtual host, a gRPC service, a path. May hold secrets: never recorded.
    pub path: &'a str,
    /// What to log in with.
    pub credentials: Option<&'a Credentials>,
    /// Further HTTP headers, for gRPC and WebSocket. May hold secrets: never recorded.
    pub headers: &'a [(String, String)],
    /// The conversation runs within TLS.
    pub encrypted: bool,
    /// Why this conversation (see `Dialogue::purpose`).
    pub purpose: &'a str,
    /// Bound of each answer.
    pub wait: Duration,
}

/// Holds the conversation, to its end in order: it leaves nothing behind on the server.
pub async fn converse(connection: Connection, ask: &DialogueAsk<'_>) -> Dialogue {
    match connection {
        Connection::Plain(stream) | Connection::PlainHttp2(stream) => {
            let tcp = no_delay_dup(&stream);
            let dialogue = speak(stream, ask).await;
            Dialogue { tcp: tcp.as_ref().and_then(tcp_health), ..dialogue }
        }
        Connection::Tls(stream) => {
            let tcp = stream.socket();
            let dialogue = speak(stream, ask).await;
            Dialogue { tcp: tcp.as_ref().and_then(tcp_health), ..dialogue }
        }
    }
}

async fn speak(stream: impl Stream, ask: &DialogueAsk<'_>) -> Dialogue {
    let mut talk = Talk::new(stream, ask.wait);
    let ended = match ask.protocol {
        Spoken::Redis => redis::speak(&mut talk, ask).await,
        Spoken::Grpc | Spoken::Websocket | Spoken::Postgres | Spoken::Mysql | Spoken::Smtp | Spoken::Ssh | Spoken::Amqp | Spoken::Mqtt => {
            Err(Broken::Malformed("not spoken yet".to_owned()))
        }
    };
    talk.finish(ask, ended)
}

impl<S> Talk<S> {
    /// The record of a conversation that ended so.
    fn finish(self, ask: &DialogueAsk<'_>, ended: Result<DialogueOutcome, Broken>) -> Dialogue {
        let outcome = ended.unwrap_or_else(|broken| self.outcome_of(broken));
        let steps = self.steps.iter().map(|(name, took_ms)| DialogueStep { name: (*name).to_owned(), took_ms: *took_ms }).collect();
        Dialogue {
            to: ask.to,
            protocol: ask.protocol,
            purpose: ask.purpose.to_owned(),
            steps,
            server: self.server,
            facts: self.facts,
            first_byte_ms: self.first_byte_ms,
            outcome,
            tcp: None,
        }
    }
}
