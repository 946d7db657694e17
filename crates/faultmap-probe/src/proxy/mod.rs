//! Proxies: which one a target goes through, and the request for a way on a connection to it. Nothing here judges, and nothing here reads the
//! environment: the program does, and hands over what it found.

mod choose;
mod head;
mod tunnel;

pub use choose::{BadProxy, Choice, choose};
pub use head::read_connect_answer;
pub(crate) use tunnel::negotiate;
pub use tunnel::{TunnelAsk, alive, tunnel};

use crate::dialogue::Credentials;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use faultmap_model::observation::{ProxyChoice, ProxyProtocol};

/// A proxy to go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub protocol: ProxyProtocol,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User name and password for it. Never recorded.
    pub credentials: Option<Credentials>,
    /// `--proxy`, or the variable's name.
    pub configured_by: String,
    /// It is given whole requests in place of a tunnel: plain `http://` through an HTTP proxy.
    pub forwards: bool,
}

impl Proxy {
    /// As it may be recorded.
    #[must_use]
    pub fn shown(&self, exempted_by: Option<String>) -> ProxyChoice {
        ProxyChoice {
            protocol: self.protocol,
            host: self.host.clone(),
            port: self.port,
            configured_by: self.configured_by.clone(),
            exempted_by,
            credentials: self.credentials.is_some(),
            forwards: self.forwards,
        }
    }

    /// The value of `Proxy-Authorization` (RFC 7617). Secret.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        let credentials = self.credentials.as_ref()?;
        let pair = format!("{}:{}", credentials.user, credentials.password.as_deref().unwrap_or_default());
        Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
    }
}
