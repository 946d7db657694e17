//! Conversations in a service's own protocol, other than HTTP: databases, brokers, mail, shells, gRPC, WebSocket. One form for all, so that
//! the causes that hold for every protocol (mute, closed, reset, slow, another protocol) read them alike.

use super::TcpHealth;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The protocol of a [`Dialogue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the protocols")]
pub enum Spoken {
    Grpc,
    Websocket,
    Postgres,
    Mysql,
    Redis,
    Smtp,
    Ssh,
    Amqp,
    Mqtt,
}

impl Spoken {
    /// As recordings write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Websocket => "websocket",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Smtp => "smtp",
            Self::Ssh => "ssh",
            Self::Amqp => "amqp",
            Self::Mqtt => "mqtt",
        }
    }

    /// As its community writes it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Grpc => "gRPC",
            Self::Websocket => "WebSocket",
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
            Self::Redis => "Redis",
            Self::Smtp => "SMTP",
            Self::Ssh => "SSH",
            Self::Amqp => "AMQP",
            Self::Mqtt => "MQTT",
        }
    }
}

/// One conversation on one connection, after TLS where the scheme has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dialogue {
    /// The server.
    pub to: SocketAddr,
    /// What we spoke.
    pub protocol: Spoken,
    /// `default`, `second-try`, `clamped-mss` or `sample`: as for an HTTP exchange.
    pub purpose: String,
    /// What was done, in order, each with its time; the last one is where it ended: `greeting`, `startup`, `authentication`, `ping`.
    pub steps: Vec<DialogueStep>,
    /// The server's own name and version, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Further facts that the server told, as `(name, value)`: `auth: scram-sha-256`, `read-only: on`. Never a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<(String, String)>,
    /// From our first byte (or the connect, where the server speaks first) to its first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// How it ended.
    pub outcome: DialogueOutcome,
    /// State of the connection at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpHealth>,
}

/// One exchange of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DialogueStep {
    /// Which.
    pub name: String,
    /// From its first byte sent to its answer, or to the end.
    pub took_ms: f64,
}

/// How a conversation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum DialogueOutcome {
    /// The service did what it was asked.
    Done {
        /// In a few words: `logged in as app, database shop`, `SERVING`.
        what: String,
    },
    /// It wants credentials, and none were given: the service lives, and more cannot be asked.
    CredentialsWanted {
        /// The way in which it wants them: `scram-sha-256`.
        method: String,
        /// A user was named, and the password is what is missing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        user_given: bool,
    },
    /// It wants credentials in a way that faultmap does not speak: the service lives, and more cannot be asked.
    LoginUnsupported {
        /// The way: `gssapi`, `client_ed25519`.
        method: String,
    },
    /// It refused, in its own words.
    Refused {
        /// Its code: SQLSTATE `28P01`, MySQL `1045`, Redis `NOAUTH`, SMTP `554`, gRPC `14`, the HTTP status that a WebSocket upgrade met.
        code: String,
        /// Its words, printable, at most 256 characters.
        message: String,
    },
    /// It speaks the protocol, and wants TLS before it goes on.
    TlsWanted {
        /// Its words.
        message: String,
    },
    /// TLS was wanted, and the service offers none (`STARTTLS` missing).
    TlsNotOffered,
    /// Another protocol, or bytes of none.
    Foreign {
        /// The protocol that the bytes look like: `http`, `tls`, `ssh`, `mysql`, ...
        looks_like: Option<String>,
        /// What it said first, printable, at most 128 characters.
        first_bytes: String,
    },
    /// Its own protocol, with a message that breaks the rules.
    Malformed {
        /// Why.
        why: String,
    },
    /// FIN before the answer was there.
    Closed {
        /// Bytes received before.
        received_bytes: u64,
    },
    /// RST before the answer was there.
    Reset {
        /// Bytes received before.
        received_bytes: u64,
    },
    /// No answer in time.
    Silent {
        /// How long we waited.
        waited_ms: f64,
        /// Bytes received before.
        received_bytes: u64,
    },
    /// There was no connection to speak on.
    NoConnection {
        /// Why.
        why: String,
    },
}

impl Dialogue {
    /// The far side spoke the protocol that was asked for, whatever it said.
    #[must_use]
    pub const fn answered(&self) -> bool {
        use DialogueOutcome as O;
        matches!(
            self.outcome,
            O::Done { .. }
                | O::CredentialsWanted { .. }
                | O::LoginUnsupported { .. }
                | O::Refused { .. }
                | O::TlsWanted { .. }
                | O::TlsNotOffered
                | O::Malformed { .. }
        )
    }

    /// The first fact of this name.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The step at which it ended.
    #[must_use]
    pub fn ended_at(&self) -> &str {
        self.steps.last().map_or("connect", |step| step.name.as_str())
    }
}
