//! The TLS 1.3 sessions between check and witness: with certificates of both sides, or with a certificate of the moment whose session is
//! proven by the shared secret afterwards.

use super::PeerAuth;
use crate::ProbeError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
/// The name in a certificate of the moment; nobody verifies it.
const NAME: &str = "faultmap-witness";
/// RFC 9266 2.
const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The witness's side.
pub(crate) fn acceptor(auth: &PeerAuth) -> Result<TlsAcceptor, ProbeError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(VERSIONS).map_err(own)?;
    let config = match auth {
        PeerAuth::Secret(_) => {
            let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).map_err(own)?;
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(own)?;
            builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)
        }
        PeerAuth::Certificates { cert, key, ca } => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider).build().map_err(own)?;
            builder.with_client_cert_verifier(verifier).with_single_cert(chain(cert)?, private_key(key)?)
        }
    };
    Ok(TlsAcceptor::from(Arc::new(config.map_err(own)?)))
}

/// The check's side, and the name that it expects.
pub(crate) fn connector(auth: &PeerAuth, host: &str) -> Result<(TlsConnector, ServerName<'static>), ProbeError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(VERSIONS).map_err(own)?;
    let (config, name) = match auth {
        PeerAuth::Secret(_) => {
            let verifier = Arc::new(ProvenLater(provider));
            let config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
            (config, ServerName::try_from(NAME).map_err(own)?)
        }
        PeerAuth::Certificates { cert, key, ca } => {
            let config = builder.with_root_certificates(roots(ca)?).with_client_auth_cert(chain(cert)?, private_key(key)?).map_err(own)?;
            (config, ServerName::try_from(host.to_owned()).map_err(own)?)
        }
    };
    Ok((TlsConnector::from(Arc::new(config)), name))
}

/// What only the two ends of this session know (RFC 9266).
pub(crate) fn binding<Data>(session: &rustls::ConnectionCommon<Data>) -> io::Result<[u8; 32]> {
    session.export_keying_material([0; 32], BINDING_LABEL, None).map_err(io::Error::other)
}

fn own(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ProbeError {
    ProbeError::Own { doing: "preparing TLS between check and witness", source: io::Error::other(error) }
}

fn unreadable(path: &Path) -> impl Fn(rustls::pki_types::pem::Error) -> ProbeError {
    move |error| match error {
        rustls::pki_types::pem::Error::Io(source) => ProbeError::File { path: path.to_owned(), source },
        other => ProbeError::NoCertificate { path: path.to_owned(), why: other.to_string() },
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, ProbeError> {
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(unreadable(path))?.collect::<Result<_, _>>().map_err(unreadable(path))?;
    if chain.is_empty() {
        return Err(ProbeError::NoCertificate { path: path.to_owned(), why: "the file holds none".to_owned() });
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ProbeError> {
    PrivateKeyDer::from_pem_file(path).map_err(unreadable(path))
}

fn roots(path: &Path) -> Result<RootCertStore, ProbeError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots.add(certificate).map_err(|error| ProbeError::NoCertificate { path: path.to_owned(), why: error.to_string() })?;
    }
    Ok(roots)
}

/// Takes any certificate whose key the other side holds: who that is, the secret proves over this very session.
#[derive(Debug)]
struct ProvenLater(Arc<CryptoProvider>);

impl ServerCertVerifier for ProvenLater {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
