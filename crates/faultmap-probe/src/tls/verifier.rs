//! Two witnesses inside a handshake: one keeps the chain and accepts it, one sees whether a client certificate is asked for.
//!
//! Trust is judged afterwards (`chain`), so that a handshake with a bad certificate still tells everything else.

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, WebPkiSupportedAlgorithms};
use rustls::{DigitallySignedStruct, Error, SignatureScheme, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Keeps the chain, accepts all; checks only that the server holds the key of its certificate.
#[derive(Debug)]
pub(crate) struct ChainWitness {
    sent: OnceLock<Vec<CertificateDer<'static>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ChainWitness {
    pub(crate) fn new(algorithms: WebPkiSupportedAlgorithms) -> Arc<Self> {
        Arc::new(Self { sent: OnceLock::new(), algorithms })
    }

    /// The chain, leaf first, once it came.
    pub(crate) fn sent(&self) -> Option<&[CertificateDer<'static>]> {
        self.sent.get().map(Vec::as_slice)
    }
}

/// A certificate that our library cannot parse (X.509 version 1) is no proof of a wrong key.
fn lenient(result: Result<HandshakeSignatureValid, Error>) -> Result<HandshakeSignatureValid, Error> {
    match result {
        Err(Error::InvalidCertificate(rustls::CertificateError::BadSignature)) => result,
        Err(Error::InvalidCertificate(_)) => Ok(HandshakeSignatureValid::assertion()),
        other => other,
    }
}

impl ServerCertVerifier for ChainWitness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.sent.get_or_init(|| std::iter::once(end_entity).chain(intermediates).map(|c| c.clone().into_owned()).collect());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        lenient(crypto::verify_tls12_signature(message, cert, dss, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        lenient(crypto::verify_tls13_signature(message, cert, dss, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Has no certificate to give, but sees that one was asked for.
#[derive(Debug, Default)]
pub(crate) struct ClientCertWitness {
    asked: AtomicBool,
}

impl ClientCertWitness {
    /// The server sent a CertificateRequest.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for ClientCertWitness {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
