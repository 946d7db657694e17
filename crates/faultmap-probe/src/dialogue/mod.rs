//! Conversations in a service's own protocol: one file a protocol, one [`Dialogue`] as the answer of each.
//!
//! A protocol's file only sends, reads and understands its messages; how a conversation ends without an answer (FIN, RST, silence, another
//! protocol) is found here, alike for all. Nothing here judges.

mod amqp;
mod grpc;
mod grpc_wire;
mod mqtt;
mod mysql;
mod notes;
mod place;
mod postgres;
mod redis;
mod rehearsal;
mod smtp;
mod ssh;
mod standing;
mod talk;
mod websocket;

#[cfg(test)]
mod tests;

pub use rehearsal::{rehearse, rehearse_call};

pub(crate) use standing::{Standing, goodbye, stands, stay};

use crate::http::Connection;
use crate::sock::{no_delay_dup, tcp_health};
use crate::tls::TlsAsk;
use faultmap_model::observation::{Demand, Dialogue, DialogueOutcome, DialogueStep, Spoken, TlsChain, TlsHandshake};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use talk::{Broken, Talk};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

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
    /// How to go over to TLS within the protocol, where it has a way. Absent: it is not tried.
    pub tls: Option<TlsAsk<'a>>,
    /// Why this conversation (see `Dialogue::purpose`).
    pub purpose: &'a str,
    /// Bound of each answer.
    pub wait: Duration,
}

/// Whether TLS is to be used where the protocol can go over to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsWish {
    Never,
    /// When the server offers it; its chain is not judged.
    IfOffered,
    /// Or nothing; its chain is not judged.
    Always,
    /// Or nothing, and the chain must stand.
    Verified(Demand),
}

impl TlsWish {
    const fn demanded(self) -> Option<Demand> {
        match self {
            Self::Verified(demand) => Some(demand),
            Self::Never | Self::IfOffered | Self::Always => None,
        }
    }

    /// Without TLS the conversation must not go on.
    const fn or_nothing(self) -> bool {
        matches!(self, Self::Always | Self::Verified(_))
    }
}

/// What a conversation gave.
#[derive(Debug)]
pub struct Told {
    /// The TLS handshake within the protocol.
    pub secured: Option<Secured>,
    /// The conversation; absent when that handshake ended it.
    pub dialogue: Option<Dialogue>,
}

/// A TLS handshake within a protocol.
#[derive(Debug)]
pub struct Secured {
    /// When it began.
    pub asked: Instant,
    /// How it went.
    pub handshake: TlsHandshake,
    /// The chain, if one came.
    pub chain: Option<TlsChain>,
}

/// Holds the conversation, to its end in order: it leaves nothing behind on the server.
pub async fn converse(connection: Connection, ask: &DialogueAsk<'_>) -> Told {
    let library = matches!(ask.protocol, Spoken::Grpc | Spoken::Websocket);
    let (tcp, mut told) = match connection {
        Connection::Plain(stream) | Connection::PlainHttp2(stream) | Connection::Forwarded(stream, _) => {
            let tcp = no_delay_dup(&stream);
            (tcp, if library { lend(stream, ask).await } else { speak(Talk::plain(stream, ask.wait), ask).await })
        }
        Connection::Tls(stream) => {
            let tcp = stream.socket();
            (tcp, if library { lend(stream, ask).await } else { speak(Talk::within_tls(Box::new(stream), ask.wait), ask).await })
        }
    };
    if let Some(dialogue) = &mut told.dialogue {
        dialogue.tcp = tcp.as_ref().and_then(tcp_health);
    }
    told
}

/// A library takes the stream for itself.
async fn lend(stream: impl Stream + 'static, ask: &DialogueAsk<'_>) -> Told {
    let dialogue = match ask.protocol {
        Spoken::Grpc => grpc::speak(stream, ask).await,
        _ => websocket::speak(stream, ask).await,
    };
    Told { secured: None, dialogue: Some(dialogue) }
}

async fn speak(mut talk: Talk, ask: &DialogueAsk<'_>) -> Told {
    let ended = match ask.protocol {
        Spoken::Redis => redis::speak(&mut talk, ask).await,
        Spoken::Postgres => postgres::speak(&mut talk, ask).await,
        Spoken::Mysql => mysql::speak(&mut talk, ask).await,
        Spoken::Smtp => smtp::speak(&mut talk, ask).await,
        Spoken::Ssh => ssh::speak(&mut talk).await,
        Spoken::Amqp => amqp::speak(&mut talk, ask).await,
        Spoken::Mqtt => mqtt::speak(&mut talk, ask).await,
        // Both are spoken by a library.
        Spoken::Grpc | Spoken::Websocket => Err(Broken::Ended),
    };
    talk.finish(ask, ended)
}

/// On a fresh connection, goes the protocol's own way to the moment before the TLS handshake. `None` when the server does not go along.
pub(crate) async fn up_to_tls(stream: TcpStream, protocol: Spoken, wait: Duration) -> Option<TcpStream> {
    let mut talk = Talk::plain(stream, wait);
    let consents = match protocol {
        Spoken::Postgres => postgres::ask_for_tls(&mut talk).await,
        Spoken::Mysql => mysql::ask_for_tls(&mut talk).await,
        Spoken::Smtp => smtp::ask_for_tls(&mut talk).await,
        _ => Ok(true),
    };
    talk.into_stream().filter(|_| matches!(consents, Ok(true)))
}

/// The first bytes that look like this are the protocol's own.
pub(crate) fn is_own(protocol: Spoken, looks_like: &str) -> bool {
    talk::own(protocol, looks_like)
}

/// Whether PostgreSQL listens there: its answer to an SSLRequest is one byte that no other protocol says.
pub(crate) async fn is_postgres(stream: TcpStream, to: SocketAddr, wait: Duration) -> Option<Dialogue> {
    let mut talk = Talk::plain(stream, wait);
    postgres::ask_for_tls(&mut talk).await.ok()?;
    talk.end_step();
    Some(Dialogue {
        to,
        protocol: Spoken::Postgres,
        purpose: "other-protocol".to_owned(),
        steps: talk.steps.iter().map(|(name, took_ms)| DialogueStep { name: (*name).to_owned(), took_ms: *took_ms }).collect(),
        server: None,
        facts: Vec::new(),
        first_byte_ms: talk.first_byte_ms,
        outcome: DialogueOutcome::Done { what: "answers an SSLRequest".to_owned() },
        tcp: None,
    })
}

impl Talk {
    /// The record of a conversation that ended so.
    fn finish(mut self, ask: &DialogueAsk<'_>, ended: Result<DialogueOutcome, Broken>) -> Told {
        self.end_step();
        let outcome = match ended {
            Ok(outcome) => Some(outcome),
            Err(broken) => self.outcome_of(ask.protocol, broken),
        };
        let steps = self.steps.iter().map(|(name, took_ms)| DialogueStep { name: (*name).to_owned(), took_ms: *took_ms }).collect();
        let dialogue = outcome.map(|outcome| Dialogue {
            to: ask.to,
            protocol: ask.protocol,
            purpose: ask.purpose.to_owned(),
            steps,
            server: self.server,
            facts: self.facts,
            first_byte_ms: self.first_byte_ms,
            outcome,
            tcp: None,
        });
        Told { secured: self.secured, dialogue }
    }
}
