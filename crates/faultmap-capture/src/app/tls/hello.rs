//! What the hellos of TLS offer and choose (RFC 8446 §4.1). Reads messages that are whole; nothing is encrypted yet.

use crate::app::text;
use tls_parser::{
    SNIType, TlsClientHelloContents, TlsExtension, TlsServerHelloContents, TlsVersion, parse_tls_client_hello_extensions,
    parse_tls_server_hello_extensions,
};

/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
    0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// Bytes of a random that tell whether it is that one.
const TELLING: usize = 8;

/// Whether a random, of which the first bytes are there, is that of a HelloRetryRequest; `None` where they are too few.
pub(super) fn is_retry(random: &[u8]) -> Option<bool> {
    (random.len() >= TELLING).then(|| random.iter().zip(RETRY).all(|(byte, retry)| *byte == retry))
}

/// Protocol names of one offer that are kept.
const MOST_PROTOCOLS: usize = 8;

/// What a client offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ClientHello {
    /// The name that it wants.
    pub(crate) name: Option<String>,
    /// Application protocols.
    pub(crate) protocols: Vec<String>,
    /// The highest version.
    pub(crate) version: u16,
}

impl ClientHello {
    /// Whether this application protocol is among those offered.
    pub(super) fn offers(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|offered| offered == protocol)
    }
}

/// What a server chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerHello {
    pub(super) version: u16,
    /// It wants another ClientHello first.
    pub(super) retry: bool,
    /// Up to TLS 1.2 it says here whether it agrees on an application protocol (RFC 7301 §3.1).
    pub(super) agrees: bool,
}

/// Reads a ClientHello.
pub(crate) fn client(hello: &TlsClientHelloContents<'_>) -> ClientHello {
    let mut read = ClientHello { version: hello.version.0, ..ClientHello::default() };
    let extensions = hello.ext.and_then(|bytes| parse_tls_client_hello_extensions(bytes).ok());
    for extension in extensions.map(|(_, list)| list).unwrap_or_default() {
        match extension {
            TlsExtension::SNI(names) => {
                let host = names.iter().find(|(kind, _)| *kind == SNIType::HostName);
                read.name = host.map(|(_, name)| text::printable(name, 253).to_ascii_lowercase());
            }
            TlsExtension::ALPN(protocols) => {
                read.protocols = protocols.iter().take(MOST_PROTOCOLS).map(|name| text::printable(name, 24)).collect();
            }
            TlsExtension::SupportedVersions(versions) => {
                // Values of GREASE (RFC 8701) are none.
                let real = versions.iter().map(|version| version.0).filter(|version| version >> 8 == 3);
                read.version = real.max().unwrap_or(read.version);
            }
            _ => {}
        }
    }
    read
}

/// Reads a ServerHello.
pub(super) fn server(hello: &TlsServerHelloContents<'_>) -> ServerHello {
    let mut read = ServerHello { version: hello.version.0, retry: hello.random == RETRY, agrees: false };
    let extensions = hello.ext.and_then(|bytes| parse_tls_server_hello_extensions(bytes).ok());
    for extension in extensions.map(|(_, list)| list).unwrap_or_default() {
        match extension {
            TlsExtension::SupportedVersions(versions) => read.version = versions.first().map_or(read.version, |version| version.0),
            TlsExtension::ALPN(_) => read.agrees = true,
            _ => {}
        }
    }
    read
}

/// `TLS 1.2`
pub(crate) fn version_name(version: u16) -> &'static str {
    match TlsVersion(version) {
        TlsVersion::Ssl30 => "SSL 3.0",
        TlsVersion::Tls10 => "TLS 1.0",
        TlsVersion::Tls11 => "TLS 1.1",
        TlsVersion::Tls12 => "TLS 1.2",
        TlsVersion::Tls13 => "TLS 1.3",
        _ => "an unknown version of TLS",
    }
}
