//! An earlier check of the same target, as far as it is compared with this one.

use crate::verdict::Status;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// What `--baseline FILE` held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The file, as the user named it.
    pub file: String,
    /// When that check began, Unix milliseconds.
    pub started_unix_ms: i64,
    /// How the target was.
    pub status: Status,
    /// The cause named then.
    pub cause: Option<String>,
    /// What was seen then.
    pub facts: Facts,
}

/// The few facts of a check that are worth comparing on another day. What was not seen is absent, and then not compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Addresses that the name resolved to, sorted; empty for a literal.
    pub addresses: Vec<IpAddr>,
    /// The address that was spoken to.
    pub to: Option<SocketAddr>,
    /// Configured resolvers, in order.
    pub resolvers: Vec<SocketAddr>,
    /// Outgoing interface.
    pub iface: Option<String>,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// Next-hop router.
    pub gateway: Option<IpAddr>,
    /// Path MTU of the connection.
    pub pmtu: Option<u32>,
    /// The hops of the path, from TTL 1.
    pub hops: Vec<HopFact>,
    /// Hops to the destination: fewest and most among the walks.
    pub distance: Option<(u8, u8)>,
    /// The smallest round trip.
    pub rtt_ms: Option<f64>,
    /// Name resolution by the system.
    pub dns_ms: Option<f64>,
    /// TLS handshake.
    pub tls_ms: Option<f64>,
    /// Request to first byte.
    pub ttfb_ms: Option<f64>,
    /// TLS version.
    pub tls_version: Option<String>,
    /// Cipher suite.
    pub tls_cipher: Option<String>,
    /// Protocol chosen by ALPN.
    pub alpn: Option<String>,
    /// SHA-256 of the leaf certificate.
    pub certificate: Option<String>,
    /// Who issued it.
    pub issuer: Option<String>,
    /// Its end, Unix seconds.
    pub not_after_unix: Option<i64>,
    /// The `Server` header.
    pub server: Option<String>,
    /// HTTP version.
    pub http_version: Option<String>,
    /// HTTP status.
    pub http_status: Option<u16>,
}

/// One hop as all walks together saw it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HopFact {
    /// The routers that answered there, sorted. More than one: packets are spread over several.
    pub routers: Vec<IpAddr>,
    /// The smallest round trip to them.
    pub best_ms: Option<f64>,
}
