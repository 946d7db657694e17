//! The chain as sent, held against store, name and clock: three answers kept apart. Pure but for the first look into the system's store.

use super::certificate::{describe, issuer_organization, server_name, signed_by, subject_organization};
use super::store::{Roots, TrustStore};
use faultmap_model::observation::{Certificate, TlsChain, Trust};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::net::SocketAddr;
use std::time::Duration;
use webpki::{EndEntityCert, Error, KeyUsage};

/// Most certificates of a chain that are read; servers send 1 to 5.
const MOST: usize = 16;

/// A chain and what it is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainAsk<'a> {
    pub(crate) to: SocketAddr,
    /// Host name or IP literal.
    pub(crate) name: &'a str,
    pub(crate) store: &'a TrustStore,
    pub(crate) now_unix: i64,
}

/// Judges what the server sent, leaf first.
pub(crate) fn judge(sent: &[CertificateDer<'static>], ask: &ChainAsk<'_>) -> TlsChain {
    let sent = sent.get(..MOST).unwrap_or(sent);
    let certificates: Vec<Certificate> = sent.iter().map(describe).collect();
    let times = times(&certificates, ask.now_unix);
    let mut roots = ask.store.given().count();
    let mut found = path(sent, &[ask.store.given()], &times);
    if found.is_err() {
        let system = ask.store.system();
        roots = roots.saturating_add(system.count());
        found = path(sent, &[ask.store.given(), system], &times);
    }
    let (trust, trust_error, path) = match found {
        Ok(path) => (Trust::Trusted, None, path),
        Err(error) => {
            let (trust, words) = distrust(sent, &certificates, ask.store, &error);
            (trust, Some(words), Vec::new())
        }
    };
    TlsChain {
        to: ask.to,
        name: ask.name.to_owned(),
        name_matches: name_matches(sent, ask.name),
        certificates,
        trust,
        trust_error,
        now_unix: ask.now_unix,
        path,
        demanded: None,
        roots,
        store: ask.store.origin(),
    }
}

fn name_matches(sent: &[CertificateDer<'_>], name: &str) -> bool {
    let Some(leaf) = sent.first() else { return false };
    let Some(name) = server_name(name) else { return false };
    EndEntityCert::try_from(leaf).is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
}

/// Moments at which a path may be valid, now first: so that a path through an expired certificate is found too, but only when there is no
/// better one. (The window is judged apart from the path.)
fn times(certificates: &[Certificate], now: i64) -> Vec<i64> {
    let Some(leaf) = certificates.first() else { return Vec::new() };
    let within = |time: i64, from: i64, to: i64| time.clamp(from.min(to), to);
    let begin = certificates.iter().map(|c| c.not_before_unix).max().unwrap_or(now);
    let end = certificates.iter().map(|c| c.not_after_unix).min().unwrap_or(now);
    let mut times = vec![now, within(now, leaf.not_before_unix, leaf.not_after_unix), within(now, begin, end)];
    times.extend(
        certificates.iter().map(|c| within(within(now, c.not_before_unix, c.not_after_unix), leaf.not_before_unix, leaf.not_after_unix)),
    );
    let mut seen = Vec::new();
    times.retain(|time| {
        *time >= 0 && !seen.contains(time) && {
            seen.push(*time);
            true
        }
    });
    times
}

/// The path to a root: indexes into `sent`. The error is the first that no other moment cures.
fn path(sent: &[CertificateDer<'_>], stores: &[&Roots], times: &[i64]) -> Result<Vec<u32>, Error> {
    let Some((leaf, _)) = sent.split_first() else { return Err(Error::BadDer) };
    // A certificate that the user put into the store is trusted as it is, CA or not; so do OpenSSL and every browser.
    if stores.iter().any(|roots| roots.certificates.contains(leaf)) {
        return Ok(vec![0]);
    }
    let anchors: Vec<TrustAnchor<'_>> = stores.iter().flat_map(|roots| roots.anchors.iter().cloned()).collect();
    if anchors.is_empty() {
        return Err(Error::UnknownIssuer);
    }
    let mut first = None;
    for time in times {
        match path_at(sent, &anchors, *time) {
            Ok(path) => return Ok(path),
            Err(Error::CertExpired { .. } | Error::CertNotValidYet { .. }) => {}
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    let lenient = matches!(first, None | Some(Error::CaUsedAsEndEntity));
    match climb(sent, stores) {
        // Windows that never overlap, or a leaf that is a CA: OpenSSL takes the latter, so a client that works is not blamed.
        Some(path) if lenient => Ok(path),
        _ => Err(first.unwrap_or(Error::UnknownIssuer)),
    }
}

fn path_at(sent: &[CertificateDer<'_>], anchors: &[TrustAnchor<'_>], time: i64) -> Result<Vec<u32>, Error> {
    let Some((leaf, others)) = sent.split_first() else { return Err(Error::BadDer) };
    let leaf = EndEntityCert::try_from(leaf)?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(time.unsigned_abs()));
    let verified = leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, anchors, others, time, KeyUsage::server_auth(), None, None)?;
    let places = verified.intermediate_certificates().filter_map(|used| {
        let der = used.der();
        sent.iter().position(|certificate| certificate.as_ref() == der.as_ref())
    });
    Ok(std::iter::once(0).chain(places.filter_map(|place| u32::try_from(place).ok())).collect())
}

/// A path by signatures alone, from the leaf to a root of the stores.
fn climb(sent: &[CertificateDer<'_>], stores: &[&Roots]) -> Option<Vec<u32>> {
    let mut path = vec![0_usize];
    loop {
        let current = sent.get(*path.last()?)?;
        let roots = stores.iter().flat_map(|roots| roots.certificates.iter());
        if roots.filter(|root| issued(root, current)).any(|root| signed_by(current, root) == Some(true)) {
            return Some(path.into_iter().filter_map(|place| u32::try_from(place).ok()).collect());
        }
        let next = sent
            .iter()
            .enumerate()
            .find(|(place, issuer)| !path.contains(place) && issued(issuer, current) && signed_by(current, issuer) == Some(true))?;
        path.push(next.0);
    }
}

/// The names fit: `issuer`'s subject is `certificate`'s issuer.
fn issued(issuer: &CertificateDer<'_>, certificate: &CertificateDer<'_>) -> bool {
    match (EndEntityCert::try_from(issuer), EndEntityCert::try_from(certificate)) {
        (Ok(issuer), Ok(certificate)) => issuer.subject() == certificate.issuer(),
        _ => false,
    }
}

/// Which kind of distrust, and why.
///
/// A missing intermediate and an unknown private root look alike when the server sends its leaf alone. The chain is called `Incomplete` when
/// something says that an intermediate exists: the leaf names where its issuer can be fetched (AIA caIssuers), a trusted root is of the same
/// organisation as the leaf's issuer, that issuer calls itself an intermediate, or the server sent other certificates that do not belong to the
/// leaf. Where the leaf's issuer was sent, only the name and the organisation of the next one tell. Otherwise it is the issuer that is unknown.
fn distrust(sent: &[CertificateDer<'_>], certificates: &[Certificate], store: &TrustStore, error: &Error) -> (Trust, String) {
    let Some((leaf, seen)) = sent.first().zip(certificates.first()) else { return (Trust::Invalid, "no certificate was sent".to_owned()) };
    if seen.self_signed {
        return (Trust::SelfSigned, format!("the certificate of {} signs itself and is not in the store", seen.subject));
    }
    let top = top(sent, certificates);
    let same_name = same_name(sent.get(top).unwrap_or(leaf), store);
    let unknown = matches!(error, Error::UnknownIssuer) || (same_name && matches!(error, Error::InvalidSignatureForPublicKey));
    if !unknown {
        return (Trust::Invalid, words(error));
    }
    let issuer = certificates.get(top).map_or("", |c| c.issuer.as_str());
    if same_name {
        return (Trust::UnknownIssuer, format!("the store has a root named {issuer}, but its key did not sign this chain"));
    }
    let sign = match top {
        0 => missing(leaf, seen, sent, store),
        _ => missing_above(sent.get(top).unwrap_or(leaf), issuer, store),
    };
    match sign {
        None if top != 0 => (Trust::UnknownIssuer, format!("the chain ends at {issuer}, which is not in the store")),
        Some(sign) => (Trust::Incomplete, format!("the issuer {issuer} was not sent and is not in the store; {sign}")),
        None => (Trust::UnknownIssuer, format!("the issuer {issuer} is not in the store")),
    }
}

/// The certificate of the chain beyond which nothing was sent.
fn top(sent: &[CertificateDer<'_>], certificates: &[Certificate]) -> usize {
    let mut path = vec![0_usize];
    while let Some(current) = path.last().and_then(|place| sent.get(*place)) {
        let next = (0..sent.len()).find(|place| !path.contains(place) && sent.get(*place).is_some_and(|issuer| issued(issuer, current)));
        let Some(next) = next else { break };
        path.push(next);
        if certificates.get(next).is_some_and(|c| c.self_signed) {
            break;
        }
    }
    path.last().copied().unwrap_or(0)
}

/// A root of the same name as the issuer is trusted, but its key is another.
fn same_name(top: &CertificateDer<'_>, store: &TrustStore) -> bool {
    let roots = [store.given(), store.system()].into_iter().flat_map(|roots| &roots.certificates);
    let mut named = roots.filter(|root| issued(root, top)).peekable();
    named.peek().is_some() && named.all(|root| signed_by(top, root) == Some(false))
}

/// The sign that an intermediate exists which the server should have sent.
fn missing(leaf: &CertificateDer<'_>, seen: &Certificate, sent: &[CertificateDer<'_>], store: &TrustStore) -> Option<String> {
    if let Some(url) = &seen.issuer_url {
        return Some(format!("the certificate says that it can be fetched from {url}"));
    }
    // A file that holds the leaf twice is no chain of another server.
    if sent.iter().any(|other| other != leaf) {
        return Some("the other certificates sent do not belong to it".to_owned());
    }
    if calls_itself_intermediate(&seen.issuer) {
        return Some("by its name that is an intermediate CA, and no root".to_owned());
    }
    of_trusted_organization(leaf, store)
}

/// The sign that a second intermediate exists, above the highest certificate that was sent. Intermediates name their issuer's place (AIA) whether
/// that is a root or not, and a root of a trusted organisation may be too new for this store: only names tell.
fn missing_above(top: &CertificateDer<'_>, issuer: &str, store: &TrustStore) -> Option<String> {
    if calls_itself_intermediate(issuer) {
        return Some("by its name that is an intermediate CA, and no root".to_owned());
    }
    of_trusted_organization(top, store).filter(|_| !issuer.to_ascii_lowercase().contains("root"))
}

fn of_trusted_organization(certificate: &CertificateDer<'_>, store: &TrustStore) -> Option<String> {
    let organization = issuer_organization(certificate)?;
    let ours = |roots: &Roots| roots.certificates.iter().any(|root| subject_organization(root).as_ref() == Some(&organization));
    (ours(store.given()) || ours(store.system())).then(|| format!("a trusted root is of the same organisation, {organization}"))
}

/// Names that are given to a CA below a root, which a client is not expected to have.
fn calls_itself_intermediate(issuer: &str) -> bool {
    let issuer = issuer.to_ascii_lowercase();
    ["intermediate", "issuing", "subordinate", "sub ca", "sub-ca", "subca"].iter().any(|word| issuer.contains(word))
}

fn words(error: &Error) -> String {
    match error {
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => "the certificate is not valid DER".to_owned(),
        Error::CaUsedAsEndEntity => "the certificate is that of a CA, not of a server".to_owned(),
        Error::EndEntityUsedAsCa => "a certificate that is not of a CA was used to sign another".to_owned(),
        Error::InvalidSignatureForPublicKey => "a signature in the chain does not fit its issuer's key".to_owned(),
        Error::NameConstraintViolation => "the issuer may not sign for this name (name constraints)".to_owned(),
        Error::PathLenConstraintViolated => "the chain is longer than its issuer allows (path length)".to_owned(),
        Error::RequiredEkuNotFoundContext(_) => "the certificate is not for servers (extended key usage)".to_owned(),
        Error::UnsupportedCertVersion => "the certificate is not X.509 version 3".to_owned(),
        Error::UnsupportedCriticalExtension => "the certificate has a critical extension that nobody knows".to_owned(),
        other => other.to_string(),
    }
}
