//! One request over HTTP/3 (RFC 9114), beside the one over TCP.

use super::IcmpError;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One request over QUIC, and how far it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Http3Exchange {
    /// The UDP port that was asked.
    pub to: SocketAddr,
    /// `Alt-Svc` of the answer over TCP that named it (RFC 7838), such as `h3=":443"; ma=86400`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised: Option<String>,
    /// `--http3`: the target must answer so.
    pub demanded: bool,
    /// A question in no known version of QUIC was answered: UDP passes both ways.
    pub probe_answered: bool,
    /// How it ended.
    pub outcome: Http3Outcome,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Http3Outcome {
    /// A response head came.
    Answered {
        /// Status.
        status: u16,
        /// From the first datagram to the completed handshake.
        handshake_ms: f64,
        /// From the request to the head.
        ttfb_ms: f64,
    },
    /// The handshake is done, and no head came in time.
    Mute {
        /// Since the request.
        waited_ms: f64,
    },
    /// No handshake in time.
    Silent {
        /// How long we waited.
        waited_ms: f64,
    },
    /// An ICMP error, or our own kernel.
    Unreachable {
        /// errno.
        errno: String,
        /// The ICMP error behind it.
        icmp: Option<IcmpError>,
    },
    /// The server speaks no version of QUIC that we do.
    VersionMismatch,
    /// A TLS alert within QUIC.
    Alert {
        /// Alert code.
        code: u8,
        /// Its name.
        name: String,
    },
    /// The server closed the connection.
    Closed {
        /// Error code: of RFC 9000 20.1, or of RFC 9114 8.1 when `application`.
        code: u64,
        /// Its words.
        reason: String,
        /// The code is one of HTTP/3.
        application: bool,
    },
    /// Its certificate is not trusted, or is for another name: no request was sent.
    Untrusted {
        /// Why.
        why: String,
    },
    /// Nothing could be asked.
    NotTried {
        /// Why.
        why: String,
    },
}
