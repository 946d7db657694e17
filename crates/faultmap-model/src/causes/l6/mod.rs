//! Causes of layer 6, presentation: encryption, certificates, encodings.

pub(in crate::causes) mod alpn;
mod body;
mod cert_trust;
mod cert_validity;
mod cert_wrong_host;
mod certificate;
pub(in crate::causes) mod client_cert;
mod content;
mod date;
mod intercepted;
pub(in crate::causes) mod offers;
mod plaintext_on_tls;
pub(in crate::causes) mod sni;
mod tls_cipher;
mod tls_failed;
mod tls_on_plaintext;
mod tls_stalled;
pub(in crate::causes) mod tls_version;

use super::Cause;

/// In the order of `faultmap causes`.
pub static CAUSES: &[&Cause] = &[
    &cert_validity::EXPIRED,
    &cert_validity::NOT_YET_VALID,
    &cert_validity::CLOCK_SKEW,
    &cert_validity::EXPIRING_SOON,
    &cert_wrong_host::CAUSE,
    &cert_trust::SELF_SIGNED,
    &cert_trust::UNTRUSTED_CA,
    &cert_trust::CHAIN_INCOMPLETE,
    &intercepted::CAUSE,
    &tls_version::CAUSE,
    &tls_cipher::CAUSE,
    &tls_failed::CAUSE,
    &alpn::CAUSE,
    &client_cert::CAUSE,
    &sni::CAUSE,
    &plaintext_on_tls::CAUSE,
    &tls_on_plaintext::CAUSE,
    &tls_stalled::CAUSE,
    &content::ENCODING,
    &content::TYPE,
    &content::CHARSET,
    &content::SERIALIZATION,
];
