//! TLS as a service of the lab offers it: what the specification may say, and how it becomes a rustls configuration.
//! What happens on a connection is in `admit`; certificates are in `pki`.

pub(crate) mod admit;
pub(crate) mod hello;
pub(crate) mod legacy;

use std::{net::IpAddr, sync::Arc};

use rustls::{
    ALL_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use serde::{Deserialize, Serialize};

use self::hello::ClientHello;
use super::{
    error::ServiceError,
    pki::{CertSpec, Identity, Minter, Pki},
};

/// How a service speaks TLS. The default is sound: a valid certificate, TLS 1.2 and 1.3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct TlsSpec {
    /// The certificate shown.
    pub certificate: CertSpec,
    /// DNS names in the certificate; empty: those of the lab. The addresses the service listens on are always added.
    pub names: Vec<String>,
    /// Versions accepted. (For older ones see [`HelloAction::Legacy`].)
    pub versions: Vec<TlsVersion>,
    /// Cipher suites accepted, by rustls' names (`TLS13_AES_128_GCM_SHA256`, `TLS_ECDHE_ECDSA_WITH_…`); empty: all.
    /// With only `TLS_ECDHE_RSA_…` suites nothing fits the lab's ECDSA certificates: alert `handshake_failure`.
    pub suites: Vec<String>,
    /// Application protocols in order of preference; a client that offers only others gets `no_application_protocol`.
    /// Absent: `h2`, `http/1.1` for HTTP, none for TCP.
    pub alpn: Option<Vec<String>>,
    /// Whether a client certificate under the lab's root is demanded.
    pub client_auth: ClientAuth,
    /// Whether sessions can be resumed.
    pub resumption: bool,
    /// Looked at in order before the handshake; the first whose condition holds decides.
    pub rules: Vec<HelloRule>,
    /// Speak this in the clear on the TLS port instead.
    pub plaintext: Option<Plaintext>,
}

impl Default for TlsSpec {
    fn default() -> Self {
        Self {
            certificate: CertSpec::Valid,
            names: Vec::new(),
            versions: vec![TlsVersion::Tls12, TlsVersion::Tls13],
            suites: Vec::new(),
            alpn: None,
            client_auth: ClientAuth::None,
            resumption: true,
            rules: Vec::new(),
            plaintext: None,
        }
    }
}

/// A version that rustls speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3
    #[serde(rename = "1.3")]
    Tls13,
}

/// Whether a client certificate is demanded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// Not asked for.
    #[default]
    None,
    /// Asked for, and the handshake goes on without.
    Optional,
    /// Demanded: TLS 1.2 fails in the handshake, TLS 1.3 after the client believes it complete.
    Required,
}

/// What is spoken in the clear on a TLS port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Plaintext {
    /// The service itself, without TLS.
    Service,
    /// An SMTP greeting.
    Smtp,
    /// An SSH identification string.
    Ssh,
    /// Any text, sent at once.
    Banner {
        /// The text.
        text: String,
    },
}

impl Plaintext {
    pub(crate) fn banner(&self) -> Option<&str> {
        match self {
            Self::Service => None,
            Self::Smtp => Some("220 mail.lab ESMTP Postfix\r\n"),
            Self::Ssh => Some("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
            Self::Banner { text } => Some(text),
        }
    }
}

/// If the ClientHello is such, then do so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HelloRule {
    /// The condition; absent: always.
    #[serde(default)]
    pub when: HelloWhen,
    /// The action.
    #[serde(rename = "do")]
    pub action: HelloAction,
}

/// A condition on the ClientHello: all fields that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct HelloWhen {
    /// The server name is one of these.
    pub sni_in: Option<Vec<String>>,
    /// The server name is none of these, or absent.
    pub sni_not_in: Option<Vec<String>>,
    /// More bytes than this, with record headers.
    pub larger_than: Option<usize>,
    /// None of these cipher suites (code points) is offered.
    pub lacks_suites: Option<Vec<u16>>,
    /// The highest version offered is above this code point (0x0303 = 771 is TLS 1.2).
    pub version_above: Option<u16>,
}

impl HelloWhen {
    fn holds(&self, hello: &ClientHello) -> bool {
        let named = |names: &Vec<String>| hello.sni.as_ref().is_some_and(|sni| names.iter().any(|n| n.eq_ignore_ascii_case(sni)));
        self.sni_in.as_ref().is_none_or(named)
            && self.sni_not_in.as_ref().is_none_or(|names| !named(names))
            && self.larger_than.is_none_or(|n| hello.size > n)
            && self.lacks_suites.as_ref().is_none_or(|suites| !suites.iter().any(|s| hello.suites.contains(s)))
            && self.version_above.is_none_or(|v| hello.highest_version() > v)
    }
}

/// What is done to a ClientHello instead of, or before, answering it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum HelloAction {
    /// Handshake as usual (to end the list of rules early).
    Proceed,
    /// Handshake as usual after `ms` milliseconds.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Keep the connection, acknowledge everything, answer nothing.
    Mute,
    /// Reset the connection.
    Reset,
    /// Close the connection in order, without a byte.
    Close,
    /// Send a fatal alert of this code (RFC 8446 section 6.2: 40 handshake_failure, 70 protocol_version,
    /// 112 unrecognized_name, 116 certificate_required, 120 no_application_protocol), then close.
    Alert {
        /// The alert's code.
        code: u8,
    },
    /// Speak no version above this one ("1.0" or "1.1"): others get `protocol_version`.
    Legacy {
        /// The highest version spoken.
        version: LegacyVersion,
    },
}

/// A version of TLS that no client should accept any more (RFC 8996).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LegacyVersion {
    /// TLS 1.0
    #[serde(rename = "1.0")]
    Tls10,
    /// TLS 1.1
    #[serde(rename = "1.1")]
    Tls11,
}

impl LegacyVersion {
    pub(crate) fn code_point(self) -> u16 {
        match self {
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
        }
    }
}

/// A [`TlsSpec`] made ready to serve.
#[derive(Debug)]
pub(crate) struct TlsPlan {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) chain: Vec<rustls_pki_types::CertificateDer<'static>>,
    pub(crate) rules: Vec<HelloRule>,
    pub(crate) plaintext: Option<Plaintext>,
    pub(crate) clock_shift_s: i64,
    /// Name of the certificate's fault, or none.
    pub(crate) unsound: Option<String>,
}

impl TlsPlan {
    pub(crate) fn new(spec: &TlsSpec, default_alpn: &[&str], bind: &[IpAddr], pki: &Pki) -> Result<Self, ServiceError> {
        let identity = pki.server(&spec.certificate, &spec.names, bind)?;
        Ok(Self {
            config: Arc::new(server_config(spec, default_alpn, &identity, pki)?),
            chain: identity.chain,
            rules: spec.rules.clone(),
            plaintext: spec.plaintext.clone(),
            clock_shift_s: spec.certificate.clock_shift_s(),
            unsound: (spec.certificate != CertSpec::Valid).then(|| certificate_name(&spec.certificate)),
        })
    }

    pub(crate) fn action(&self, hello: &ClientHello) -> HelloAction {
        self.rules.iter().find(|rule| rule.when.holds(hello)).map_or(HelloAction::Proceed, |rule| rule.action.clone())
    }
}

/// `certificate-` and the kind as it is written in a specification.
fn certificate_name(spec: &CertSpec) -> String {
    let value = serde_json::to_value(spec).unwrap_or_default();
    format!("certificate-{}", value.get("kind").and_then(|k| k.as_str()).unwrap_or("unsound"))
}

fn server_config(spec: &TlsSpec, default_alpn: &[&str], identity: &Identity, pki: &Pki) -> Result<ServerConfig, ServiceError> {
    let provider = Arc::new(provider(&spec.suites)?);
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(&spec.versions))
        .map_err(ServiceError::Tls)?
        .with_client_cert_verifier(client_verifier(spec.client_auth, pki, provider)?)
        .with_single_cert(identity.chain.clone(), identity.key())
        .map_err(ServiceError::Tls)?;
    if spec.certificate == CertSpec::Minted
        && let Some(minter) = Minter::new(pki, identity)
    {
        config.cert_resolver = Arc::new(minter);
    }
    config.alpn_protocols = match &spec.alpn {
        Some(list) => list.iter().map(|p| p.as_bytes().to_vec()).collect(),
        None => default_alpn.iter().map(|p| p.as_bytes().to_vec()).collect(),
    };
    if !spec.resumption {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

fn versions(wanted: &[TlsVersion]) -> Vec<&'static SupportedProtocolVersion> {
    let is_wanted = |v: &SupportedProtocolVersion| match v.version {
        rustls::ProtocolVersion::TLSv1_2 => wanted.contains(&TlsVersion::Tls12),
        rustls::ProtocolVersion::TLSv1_3 => wanted.contains(&TlsVersion::Tls13),
        _ => false,
    };
    ALL_VERSIONS.iter().copied().filter(|v| is_wanted(v)).collect()
}

fn provider(suites: &[String]) -> Result<CryptoProvider, ServiceError> {
    let mut provider = ring::default_provider();
    if suites.is_empty() {
        return Ok(provider);
    }
    for name in suites {
        if !ring::ALL_CIPHER_SUITES.iter().any(|s| format!("{:?}", s.suite()) == *name) {
            return Err(ServiceError::spec("tls.suites", format!("rustls has no cipher suite {name:?}")));
        }
    }
    provider.cipher_suites.retain(|s| suites.contains(&format!("{:?}", s.suite())));
    Ok(provider)
}

fn client_verifier(auth: ClientAuth, pki: &Pki, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, ServiceError> {
    if auth == ClientAuth::None {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    roots.add(pki.ca_der()).map_err(ServiceError::Tls)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if auth == ClientAuth::Optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|e| ServiceError::spec("tls.client-auth", e))
}
