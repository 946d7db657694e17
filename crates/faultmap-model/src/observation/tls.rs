//! TLS as offered and as answered.

use super::{Role, TcpHealth};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What our ClientHello offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsOffer {
    /// Why this offer: `default`; `only-tls1.0`, `only-tls1.1`, `only-tls1.2`, `only-tls1.3`; `all-ciphers`; `no-sni`; `no-alpn`; `other-sni`;
    /// `short-hello`; `clamped-mss`; `second-try`; `long-hello` and `long-hello-clamped`: as long as one with a post-quantum key share; `split-hello`: in
    /// two segments; `ordinary`: an ordinary one beside those; `plain-request`: no hello, a request in plain text.
    pub name: String,
    /// SNI sent, if any.
    pub sni: Option<String>,
    /// ALPN protocols offered.
    pub alpn: Vec<String>,
    /// Versions offered, such as `TLS 1.2`.
    pub versions: Vec<String>,
    /// Size of the ClientHello record.
    pub hello_bytes: Option<u32>,
    /// `TCP_MAXSEG` set on the socket beforehand.
    pub clamped_mss: Option<u32>,
}

/// One handshake on one fresh TCP connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TlsHandshake {
    /// The server.
    pub to: SocketAddr,
    /// `Target` or `Control`.
    pub role: Role,
    /// What we offered.
    pub offer: TlsOffer,
    /// What came of it.
    pub outcome: TlsOutcome,
    /// State of the TCP connection at the end.
    pub tcp: Option<TcpHealth>,
}

/// How a handshake ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum TlsOutcome {
    /// The handshake completed. (Trust is judged apart: see `tls.chain`.)
    Done {
        /// Such as `TLS 1.3`.
        version: String,
        /// Cipher suite name.
        cipher: String,
        /// ALPN that the server chose.
        alpn: Option<String>,
        /// The server sent a CertificateRequest.
        client_cert_requested: bool,
        /// The session was resumed.
        resumed: bool,
    },
    /// The server sent a ServerHello for our raw offer (we did not go on).
    Accepted {
        /// Version chosen, such as `TLS 1.0`.
        version: String,
        /// Cipher suite code point chosen.
        cipher: u16,
    },
    /// The peer sent a fatal alert (RFC 8446 6).
    Alert {
        /// Alert code.
        code: u8,
        /// Its name, such as `protocol_version`.
        name: String,
        /// It came after our side had completed the handshake (TLS 1.3 client certificates).
        after_handshake: bool,
        /// The server had sent a CertificateRequest before it (TLS 1.2 servers refuse a missing certificate with many codes).
        #[serde(default)]
        client_cert_requested: bool,
    },
    /// The first bytes were no TLS record.
    NotTls {
        /// The first bytes, printable ones kept, others escaped; at most 128 characters.
        first_bytes: String,
        /// `http`, `smtp`, `ssh`, `ftp`, `mysql`, `redis`, ... when recognised.
        looks_like: Option<String>,
    },
    /// We could not accept the server's answer (malformed, no common parameters): our library's words.
    Rejected {
        /// The words.
        why: String,
    },
    /// FIN before the handshake completed.
    Closed {
        /// Bytes received before it.
        received_bytes: u64,
    },
    /// RST.
    Reset {
        /// Bytes received before it.
        received_bytes: u64,
    },
    /// Nothing more in time.
    Silent {
        /// How long we waited.
        waited_ms: f64,
        /// Bytes received before the silence.
        received_bytes: u64,
    },
    /// The TCP connection for it could not be made; see `tcp.connect`.
    NoConnection {
        /// errno name or `timeout`.
        errno: String,
    },
}

/// A handshake that no server of the target's would answer in the target's way: for a name that cannot exist, or to an address that nobody
/// has. It shows who makes certificates on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TlsControl {
    /// Where to.
    pub to: SocketAddr,
    /// `other-name`: the target's address (or the proxy's tunnel); `nobody`: an address reserved for documentation.
    pub purpose: String,
    /// The name asked for (RFC 6761: under `.invalid`).
    pub name: String,
    /// The chain that came, leaf first; empty when none came.
    pub certificates: Vec<Certificate>,
    /// The leaf holds that name.
    pub name_matches: bool,
}

/// One certificate as sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Subject distinguished name.
    pub subject: String,
    /// Issuer distinguished name.
    pub issuer: String,
    /// DNS names and IP addresses of the SAN (RFC 6125, RFC 9525).
    pub names: Vec<String>,
    /// Unix seconds.
    pub not_before_unix: i64,
    /// Unix seconds.
    pub not_after_unix: i64,
    /// Issuer and subject are equal and the signature verifies with its own key (or cannot be checked and key ids agree).
    pub self_signed: bool,
    /// SHA-256 fingerprint, hex.
    pub sha256: String,
    /// Basic constraints say CA.
    pub is_ca: bool,
    /// The issuer's URL (AIA caIssuers), if any.
    pub issuer_url: Option<String>,
}

/// Result of path building against the trust store, the validity window and the name left aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// A path to a trusted root exists.
    Trusted,
    /// The leaf signs itself and is not trusted.
    SelfSigned,
    /// The chain as sent reaches a root, or an issuer, that is not in the store.
    UnknownIssuer,
    /// The chain as sent lacks its intermediate: a leaf whose issuer is neither sent nor trusted.
    Incomplete,
    /// Any other defect (bad signature, not a CA, key usage).
    Invalid,
}

/// Which checks of a chain the user asked for, as `sslmode` names them in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Demand {
    /// A path to a trusted root (`verify-ca`).
    Ca,
    /// And the name (`verify-full`).
    Full,
}

/// The chain as the server sent it, held against the store, the name and the clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TlsChain {
    /// The server.
    pub to: SocketAddr,
    /// The name that must be in the certificate.
    pub name: String,
    /// Leaf first, as sent.
    pub certificates: Vec<Certificate>,
    /// Path building.
    pub trust: Trust,
    /// The verifier's own words when not trusted.
    pub trust_error: Option<String>,
    /// The name is in the leaf.
    pub name_matches: bool,
    /// Our clock at that time, Unix seconds.
    pub now_unix: i64,
    /// When trusted: which of `certificates` make the path to the root, leaf first, as indexes from 0. Their windows count; those of
    /// certificates sent beside the path do not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<u32>,
    /// Where TLS is an upgrade within another protocol (STARTTLS, PostgreSQL's SSLRequest): which checks the user asked for. Absent there, the
    /// chain is told but not judged, as the protocol's own clients do it; of a scheme that is TLS from the first byte, all count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demanded: Option<Demand>,
    /// Roots in the store used, and its origin.
    pub roots: u32,
    /// `system`, or the file of `--ca`.
    pub store: String,
}
