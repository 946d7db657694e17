//! What a certificate says, as a witness writes it down. Never decides whom to trust.

use crate::recorder::printable;
use faultmap_model::observation::Certificate;
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// Most characters of a name.
const NAME: usize = 256;
/// Most names of one certificate; public ones stay under 100.
const NAMES: usize = 256;
/// id-ad-caIssuers, RFC 5280 4.2.2.1.
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// A host name or IP literal (in brackets or not) as a certificate may hold it; `None` when none can.
pub(crate) fn server_name(name: &str) -> Option<ServerName<'static>> {
    let plain = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    ServerName::try_from(plain.to_owned()).ok()
}

/// Reads a certificate; one that cannot be parsed keeps its fingerprint.
pub(crate) fn describe(der: &CertificateDer<'_>) -> Certificate {
    let sha256 = hex(ring::digest::digest(&ring::digest::SHA256, der).as_ref());
    let Ok((_, parsed)) = X509Certificate::from_der(der) else {
        return Certificate {
            subject: "(cannot be parsed)".to_owned(),
            issuer: String::new(),
            names: Vec::new(),
            not_before_unix: 0,
            not_after_unix: 0,
            self_signed: false,
            sha256,
            is_ca: false,
            issuer_url: None,
        };
    };
    Certificate {
        subject: printable(parsed.subject().to_string().as_bytes(), NAME),
        issuer: printable(parsed.issuer().to_string().as_bytes(), NAME),
        names: names(&parsed),
        not_before_unix: parsed.validity().not_before.timestamp(),
        not_after_unix: parsed.validity().not_after.timestamp(),
        self_signed: self_signed(der, &parsed),
        sha256,
        is_ca: parsed.is_ca(),
        issuer_url: issuer_url(&parsed),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(san)) = parsed.subject_alternative_name() else { return Vec::new() };
    san.value.general_names.iter().filter_map(name).take(NAMES).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(printable(name.as_bytes(), NAME)),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| Ipv4Addr::from(b).to_string());
    let v6 = <[u8; 16]>::try_from(bytes).map(|b| Ipv6Addr::from(b).to_string());
    v4.or(v6).ok()
}

fn issuer_url(parsed: &X509Certificate<'_>) -> Option<String> {
    parsed.iter_extensions().find_map(|extension| {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { return None };
        access.iter().find_map(|entry| match &entry.access_location {
            GeneralName::URI(url) if entry.access_method.to_id_string() == CA_ISSUERS => Some(printable(url.as_bytes(), NAME)),
            _ => None,
        })
    })
}

/// Issuer and subject are equal, and the signature verifies with its own key or is of an algorithm that we cannot check.
fn self_signed(der: &CertificateDer<'_>, parsed: &X509Certificate<'_>) -> bool {
    parsed.issuer().as_raw() == parsed.subject().as_raw() && signed_by(der, der).unwrap_or(true)
}

/// Whether `issuer`'s key made `certificate`'s signature; `None` when the algorithm or the form is not one that we can check.
pub(crate) fn signed_by(certificate: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> Option<bool> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let key = webpki::EndEntityCert::try_from(issuer).ok()?;
    let (message, signature) = (parsed.tbs_certificate.as_ref(), &*parsed.signature_value.data);
    let verdicts = webpki::ALL_VERIFICATION_ALGS.iter().map(|algorithm| key.verify_signature(*algorithm, message, signature));
    let mut fits = false;
    for verdict in verdicts {
        match verdict {
            Ok(()) => return Some(true),
            Err(webpki::Error::InvalidSignatureForPublicKey) => fits = true,
            Err(_) => {}
        }
    }
    fits.then_some(false)
}

/// Organisation of the issuer, if it names one.
pub(crate) fn issuer_organization(der: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let organization = parsed.issuer().iter_organization().next()?.as_str().ok()?.to_owned();
    Some(organization)
}

/// Organisation of the subject, if it names one.
pub(crate) fn subject_organization(der: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let organization = parsed.subject().iter_organization().next()?.as_str().ok()?.to_owned();
    Some(organization)
}
