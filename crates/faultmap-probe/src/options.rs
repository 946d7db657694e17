//! What a user can ask of a check. The defaults are those of the contract.

use std::path::PathBuf;
use std::time::Duration;

/// Options of one check.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// `--budget`: bound of the whole check.
    pub budget: Duration,
    /// `--dns-timeout`.
    pub dns_wait: Duration,
    /// `--connect-timeout`.
    pub connect_wait: Duration,
    /// `--tls-timeout`.
    pub tls_wait: Duration,
    /// `--request-timeout`.
    pub request_wait: Duration,
    /// `--ca FILE`: roots beside the system's.
    pub ca_file: Option<PathBuf>,
    /// `--method`.
    pub method: String,
    /// `--header`, as `(name, value)`. Values may be secret: never recorded.
    pub headers: Vec<(String, String)>,
    /// The proxy to go through, from `--proxy` or the environment.
    pub proxy: crate::proxy::Choice,
    /// Redirects to another place are followed: every place is reached in the same way, without a proxy.
    pub onward: bool,
    /// User name and password of the target, for protocols that log in.
    pub credentials: Option<crate::dialogue::Credentials>,
    /// `--data`.
    pub data: Option<Vec<u8>>,
    /// The path and query to request, secrets included. Never recorded.
    pub request_path: String,
    /// `--expect-status`.
    pub expect_status: Option<u16>,
    /// `--expect-body TEXT`: must be in the decoded body.
    pub expect_body: Option<String>,
    /// `--http3`: the target must answer over HTTP/3, too.
    pub http3: bool,
    /// `--samples N`: equal requests.
    pub samples: u32,
    /// `--idle`: hold connections idle for so long, to find what ends them.
    pub idle: Option<Duration>,
    /// `--ipv4` / `--ipv6`: only this family.
    pub only_family: Option<Family>,
    /// `--peer`: a witness at the other end.
    pub peer: Option<crate::peer::PeerOptions>,
    /// Trusted roots that several checks share; without them each check loads `ca_file` and the system's for itself.
    pub store: Option<std::sync::Arc<crate::tls::TrustStore>>,
    /// Walk the path also when all is well: for recordings that later ones will be compared with.
    pub map_path: bool,
    /// `--dns-trace`: walk from the root to the name.
    pub dns_trace: bool,
    /// `--dns-root ADDRESS`: the root's servers; empty for IANA's.
    pub dns_roots: Vec<std::net::SocketAddr>,
    /// Notified when the user interrupts: the check ends with what it has.
    pub interrupt: Option<std::sync::Arc<tokio::sync::Notify>>,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl CheckOptions {
    /// The budget, with the time that holding sessions needs.
    #[must_use]
    pub fn whole_budget(&self) -> Duration {
        self.budget + self.idle.map_or(Duration::ZERO, crate::session::whole)
    }
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            budget: Duration::from_secs(15),
            dns_wait: Duration::from_secs(5),
            connect_wait: Duration::from_secs(10),
            tls_wait: Duration::from_secs(10),
            request_wait: Duration::from_secs(30),
            ca_file: None,
            method: "GET".to_owned(),
            headers: Vec::new(),
            proxy: crate::proxy::Choice::Direct,
            onward: false,
            credentials: None,
            data: None,
            request_path: "/".to_owned(),
            expect_status: None,
            expect_body: None,
            http3: false,
            samples: 1,
            idle: None,
            only_family: None,
            peer: None,
            store: None,
            map_path: false,
            dns_trace: false,
            dns_roots: Vec::new(),
            interrupt: None,
        }
    }
}
