//! Sessions that are held: left idle, kept alive, used again. One observation a connection.

use super::TcpHealth;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One connection that was opened, used, left alone (or kept alive) and used once more (`--idle`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionIdle {
    /// The peer.
    pub to: SocketAddr,
    /// What is spoken on it: `http/1.1`, `http/2`, `grpc`, `websocket`, `redis`, ..., or `tls` and `tcp` where nothing is said.
    pub protocol: String,
    /// Why it was held.
    pub purpose: HeldFor,
    /// What kept it from being idle; `None` for a connection that was left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_by: Option<KeptBy>,
    /// The idle time that the user asked about.
    pub asked_ms: f64,
    /// How long nothing of ours had been sent when it was used or had ended. With `kept_by`: how long it was held.
    pub idle_ms: f64,
    /// How old the connection was then.
    pub age_ms: f64,
    /// What happened to it before it was used.
    pub while_idle: WhileIdle,
    /// What came of using it; `None` when it had ended before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_use: Option<OnUse>,
    /// What the peer said before it ended it, printable: `GOAWAY NO_ERROR`, `HTTP/1.1 408 Request Timeout`, `close 1001`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_words: Option<String>,
    /// The peer had said that it would end it (`Connection: close`, GOAWAY).
    #[serde(default)]
    pub announced_close: bool,
    /// IP TTL (hop limit) of the peer's SYN-ACK, when a raw listener could read it (CAP_NET_RAW).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_ttl: Option<u8>,
    /// IP TTL (hop limit) of the RST that ended it, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_ttl: Option<u8>,
    /// State of the connection at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpHealth>,
}

/// Why a connection was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldFor {
    /// To see how long it may be idle.
    Idle,
    /// Used again and again beside the idle ones: is it idleness or age that ends them?
    Active,
    /// To see whether a keep-alive lets it live.
    KeptAlive,
    /// Opened and used at once after another one had failed: does the service still work?
    Fresh,
}

/// What kept a connection from being idle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptBy {
    /// The means.
    pub by: Means,
    /// The interval.
    pub every_ms: f64,
    /// How many of them were answered; `None` where the kernel sends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<u32>,
}

/// Means against idleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// Keep-alive probes of the kernel (`SO_KEEPALIVE`; RFC 9293 3.8.4): no byte of the application.
    TcpKeepAlive,
    /// The protocol's own ping: WebSocket (RFC 6455 5.5.2), HTTP/2 (RFC 9113 6.7), Redis.
    Ping,
    /// Requests.
    Request,
}

/// What happened to a connection while nothing of ours was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum WhileIdle {
    /// Nothing that could be seen.
    Quiet,
    /// The peer ended it in order: FIN, with or without a word before it.
    Closed,
    /// A RST came.
    Reset,
    /// The socket failed otherwise.
    Failed {
        /// errno name.
        errno: String,
    },
}

/// What came of using a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum OnUse {
    /// An answer.
    Answered {
        /// HTTP status, where there is one.
        status: Option<u16>,
        /// How long it took.
        took_ms: f64,
    },
    /// FIN in place of an answer.
    Closed,
    /// RST in place of an answer.
    Reset,
    /// No answer.
    Silent {
        /// How long we waited.
        waited_ms: f64,
        /// Segments that were sent again in that time, or keep-alive probes that stayed unanswered.
        retransmits: u32,
        /// The peer's kernel acknowledged what we sent: the silence is the service's, not the path's.
        acknowledged: bool,
    },
    /// It failed otherwise.
    Failed {
        /// Why.
        why: String,
    },
}

impl SessionIdle {
    /// It was there to the end, and was answered without an error of the service.
    #[must_use]
    pub fn survived(&self) -> bool {
        let answered = matches!(self.on_use, Some(OnUse::Answered { status, .. }) if status.is_none_or(|status| status < 500));
        self.while_idle == WhileIdle::Quiet && answered
    }

    /// Any other end.
    #[must_use]
    pub fn died(&self) -> bool {
        !self.survived()
    }
}

/// Two requests, one after the other, on one connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionReuse {
    /// The peer.
    pub to: SocketAddr,
    /// `http/1.1`, `http/2`.
    pub protocol: String,
    /// What came of the first.
    pub first: OnUse,
    /// The peer said after the first that it would end the connection.
    pub announced_close: bool,
    /// What came of the second; `None` when the connection had been ended in order, or was announced to be.
    pub second: Option<OnUse>,
    /// The connection had ended before the second was sent.
    #[serde(default)]
    pub ended_before: bool,
    /// What came of the same request on a fresh connection afterwards, when the second failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<OnUse>,
}
