//! A proxy on the way: which one is used and why, what it answered when it was asked for the target, and whether the direct way is open.

use super::{ConnectOutcome, TcpHealth};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// HTTP: CONNECT (RFC 9110 9.3.6), or the whole URL for plain `http://` (RFC 9112 3.2.2).
    Http,
    /// SOCKS5 (RFC 1928) with an address that was resolved here.
    Socks5,
    /// SOCKS5 with the name, which the proxy resolves.
    Socks5h,
}

impl ProxyProtocol {
    /// As its community writes it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Socks5 | Self::Socks5h => "SOCKS5",
        }
    }
}

/// The proxy that is configured for this target. Never its user name or password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyChoice {
    /// How it is spoken to.
    pub protocol: ProxyProtocol,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Where it is configured: `--proxy`, or a variable's name such as `HTTPS_PROXY`.
    pub configured_by: String,
    /// The entry of NO_PROXY that covers the target: the proxy is then not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exempted_by: Option<String>,
    /// A user name is configured for it.
    #[serde(default)]
    pub credentials: bool,
    /// It is given the whole request (`http://`), and no tunnel is asked for.
    #[serde(default)]
    pub forwards: bool,
}

impl ProxyChoice {
    /// `10.0.3.53:3128`, with brackets around IPv6 literals.
    #[must_use]
    pub fn host_port(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

/// One request to a proxy for a way to the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProxyTunnel {
    /// The proxy.
    pub to: SocketAddr,
    /// What it was asked for, `host:port`; `*` for the question whether it answers at all.
    pub destination: String,
    /// `default` for the tunnel of the first conversation; `alive` for an `OPTIONS *` that the proxy must answer itself.
    pub purpose: String,
    /// What it said.
    pub outcome: TunnelOutcome,
    /// State of the connection to the proxy at the end, when there is no tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpHealth>,
}

/// What a proxy made of the request for a tunnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum TunnelOutcome {
    /// The tunnel is open (CONNECT: 2xx; SOCKS: reply 0); or the proxy answered the question whether it lives.
    Open {
        /// The status, for HTTP.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// It wants credentials, or other ones: HTTP 407, SOCKS method 0xff, or a refused login.
    CredentialsWanted {
        /// The scheme it wants: `Basic`, `Negotiate`, `NTLM`, `username/password`.
        scheme: Option<String>,
        /// Some were sent.
        given: bool,
    },
    /// It refused, or failed.
    Refused {
        /// The HTTP status, or the SOCKS reply (RFC 1928 6).
        code: u16,
        /// The reason phrase, or the name of the reply.
        name: String,
        /// Its own words about it (`X-Squid-Error`, `Proxy-Status`, the title or text of its page), printable, at most 200 characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<String>,
        /// Its `Server` or `Via` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<String>,
    },
    /// What answers there does not speak the proxy's protocol.
    Foreign {
        /// What it looks like instead.
        looks_like: Option<String>,
        /// Its first bytes, printable, at most 128 characters.
        first_bytes: String,
    },
    /// FIN in place of an answer.
    Closed {
        /// Bytes received before it.
        received_bytes: u64,
    },
    /// RST in place of an answer.
    Reset {
        /// Bytes received before it.
        received_bytes: u64,
    },
    /// No answer in time.
    Silent {
        /// How long we waited.
        waited_ms: f64,
        /// Bytes received before the silence (the choice of a method, for SOCKS).
        received_bytes: u64,
    },
    /// There was no connection to the proxy to ask on.
    NoConnection {
        /// Why.
        why: String,
    },
}

/// The way without the proxy, tried beside one that fails: a lookup and plain TCP connects, nothing more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProxyBypass {
    /// The target.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its addresses, as resolved here.
    pub addresses: Vec<IpAddr>,
    /// Why it does not resolve here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Connects, in order.
    pub connects: Vec<(SocketAddr, ConnectOutcome)>,
}

impl ProxyBypass {
    /// The direct way is open.
    #[must_use]
    pub fn open(&self) -> bool {
        self.connects.iter().any(|(_, outcome)| outcome.connected())
    }
}
