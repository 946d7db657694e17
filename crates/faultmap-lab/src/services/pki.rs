//! The lab's certificate authority: issues the sound leaf and every unsound one. Nothing it makes is trusted outside the lab.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::{
    crypto::ring::sign::any_supported_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::error::ServiceError;

const DAY: i64 = 86_400;

/// Which certificate a TLS service shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum CertSpec {
    /// Sound: right names, valid for 90 days, full chain.
    #[default]
    Valid,
    /// `notAfter` lies `days-ago` in the past.
    Expired {
        /// Days since it expired.
        #[serde(default = "two_days")]
        days_ago: u32,
    },
    /// `notBefore` lies `in-days` in the future.
    NotYetValid {
        /// Days until it becomes valid.
        #[serde(default = "two_days")]
        in_days: u32,
    },
    /// Sound, but `notAfter` is only `in-days` away.
    Expiring {
        /// Days left.
        in_days: u32,
    },
    /// Sound, but for other names; the service's addresses are left out too.
    WrongHost {
        /// The names it is for.
        #[serde(default = "other_names")]
        names: Vec<String>,
    },
    /// Signs itself.
    SelfSigned,
    /// Issued through a root that nobody trusts.
    UnknownCa,
    /// Made anew for every server name that a client asks for, by an authority that nobody trusts: a box that reads along.
    Minted,
    /// Issued by our intermediate, which is not sent.
    ChainIncomplete,
    /// Valid only around a time `shift-s` seconds from ours, as a correct server looks to a client whose clock is wrong.
    /// The HTTP `Date` header is shifted alike.
    ClockSkew {
        /// Seconds the server's clock is ahead of ours; negative if behind.
        shift_s: i64,
    },
}

fn two_days() -> u32 {
    2
}

fn other_names() -> Vec<String> {
    vec!["other.example".to_owned()]
}

impl CertSpec {
    /// Seconds by which a service with this certificate believes to be ahead of our clock.
    pub(crate) fn clock_shift_s(&self) -> i64 {
        match self {
            Self::ClockSkew { shift_s } => *shift_s,
            _ => 0,
        }
    }

    /// Validity as seconds from now: (notBefore, notAfter).
    fn window(&self) -> (i64, i64) {
        match self {
            Self::Expired { days_ago } => {
                let end = -i64::from(*days_ago) * DAY;
                (end - 90 * DAY, end)
            }
            Self::NotYetValid { in_days } => {
                let start = i64::from(*in_days) * DAY;
                (start, start + 90 * DAY)
            }
            Self::Expiring { in_days } => (-30 * DAY, i64::from(*in_days) * DAY),
            Self::ClockSkew { shift_s } => {
                // Narrower than the shift, else the certificate would be valid at both times.
                let half = (shift_s.abs() / 2).clamp(60, 30 * DAY);
                (shift_s - half, shift_s + half)
            }
            _ => (-DAY, 90 * DAY),
        }
    }
}

/// A certificate chain with its key, as a TLS server or client sends it.
#[derive(Debug)]
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Identity {
    /// The private key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone_key())
    }

    /// The chain as PEM, leaf first.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| pem_block("CERTIFICATE", der)).collect()
    }

    /// The private key as PEM (PKCS#8).
    pub fn key_pem(&self) -> String {
        pem_block("PRIVATE KEY", self.key.secret_pkcs8_der())
    }
}

/// One authority: a root and an intermediate under it.
#[derive(Debug)]
struct Authority {
    root_der: CertificateDer<'static>,
    root_pem: String,
    intermediate_der: CertificateDer<'static>,
    intermediate: Issuer<'static, KeyPair>,
}

/// The lab's own certificate authority, and a second one that no client trusts.
#[derive(Debug, Clone)]
pub struct Pki {
    trusted: Arc<Authority>,
    unknown: Arc<Authority>,
    names: Vec<String>,
}

impl Pki {
    /// Makes both authorities with fresh keys (ECDSA P-256).
    ///
    /// `names` are the DNS names for which leaves are issued where a service names none itself.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ServiceError> {
        Ok(Self {
            trusted: Arc::new(Authority::new("faultmap lab")?),
            unknown: Arc::new(Authority::new("faultmap lab untrusted")?),
            names: names.into_iter().map(Into::into).collect(),
        })
    }

    /// The trusted root as PEM: what a client is given with `--ca`.
    pub fn ca_pem(&self) -> &str {
        &self.trusted.root_pem
    }

    /// The trusted root as DER.
    pub fn ca_der(&self) -> CertificateDer<'static> {
        self.trusted.root_der.clone()
    }

    /// A client certificate under the trusted root, for mutual TLS.
    pub fn client(&self, name: &str) -> Result<Identity, ServiceError> {
        let mut params = leaf_params(name, &[name.to_owned()], &[], CertSpec::Valid.window())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.trusted.issue(name, &params, true)
    }

    /// A server certificate as `spec` says, for `names` (if empty: those the `Pki` was made with) and `addrs`.
    pub fn server(&self, spec: &CertSpec, names: &[String], addrs: &[IpAddr]) -> Result<Identity, ServiceError> {
        let names = match spec {
            CertSpec::WrongHost { names } => names.as_slice(),
            _ if names.is_empty() => &self.names,
            _ => names,
        };
        let addrs = if matches!(spec, CertSpec::WrongHost { .. }) { &[] } else { addrs };
        let subject = names.first().map_or("faultmap lab service", String::as_str);
        let params = leaf_params(subject, names, addrs, spec.window())?;
        match spec {
            CertSpec::SelfSigned => self_signed(subject, &params),
            CertSpec::UnknownCa | CertSpec::Minted => self.unknown.issue(subject, &params, true),
            CertSpec::ChainIncomplete => self.trusted.issue(subject, &params, false),
            _ => self.trusted.issue(subject, &params, true),
        }
    }
}

/// Makes a certificate for whatever name is asked for, as a box that re-signs what passes through it does.
#[derive(Debug)]
pub(crate) struct Minter {
    pki: Pki,
    /// For a client that asks for no name.
    nameless: Arc<CertifiedKey>,
}

impl Minter {
    pub(crate) fn new(pki: &Pki, nameless: &Identity) -> Option<Self> {
        Some(Self { pki: pki.clone(), nameless: certified(nameless)? })
    }
}

impl ResolvesServerCert for Minter {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else { return Some(self.nameless.clone()) };
        certified(&self.pki.server(&CertSpec::UnknownCa, &[name.to_owned()], &[]).ok()?)
    }
}

fn certified(identity: &Identity) -> Option<Arc<CertifiedKey>> {
    let key = any_supported_type(&identity.key()).ok()?;
    Some(Arc::new(CertifiedKey::new(identity.chain.clone(), key)))
}

impl Authority {
    fn new(prefix: &str) -> Result<Self, ServiceError> {
        let root_name = format!("{prefix} root");
        let root_key = new_key(&root_name)?;
        let root_params = ca_params(&root_name, BasicConstraints::Unconstrained);
        let root = root_params.self_signed(&root_key).map_err(|e| certificate(&root_name, e))?;
        let root_issuer = Issuer::new(root_params, root_key);

        let name = format!("{prefix} intermediate");
        let key = new_key(&name)?;
        let params = ca_params(&name, BasicConstraints::Constrained(0));
        let cert = params.signed_by(&key, &root_issuer).map_err(|e| certificate(&name, e))?;
        Ok(Self {
            root_der: root.der().clone(),
            root_pem: root.pem(),
            intermediate_der: cert.der().clone(),
            intermediate: Issuer::new(params, key),
        })
    }

    fn issue(&self, subject: &str, params: &CertificateParams, full_chain: bool) -> Result<Identity, ServiceError> {
        let key = new_key(subject)?;
        let leaf = params.signed_by(&key, &self.intermediate).map_err(|e| certificate(subject, e))?;
        let mut chain = vec![leaf.der().clone()];
        if full_chain {
            chain.push(self.intermediate_der.clone());
        }
        Ok(Identity { chain, key: key.serialize_der().into() })
    }
}

fn self_signed(subject: &str, params: &CertificateParams) -> Result<Identity, ServiceError> {
    let key = new_key(subject)?;
    let leaf = params.self_signed(&key).map_err(|e| certificate(subject, e))?;
    Ok(Identity { chain: vec![leaf.der().clone()], key: key.serialize_der().into() })
}

fn ca_params(name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    set_window(&mut params, (-3650 * DAY, 3650 * DAY));
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn leaf_params(subject: &str, names: &[String], addrs: &[IpAddr], window: (i64, i64)) -> Result<CertificateParams, ServiceError> {
    let sans: Vec<String> = names.iter().cloned().chain(addrs.iter().map(IpAddr::to_string)).collect();
    let mut params = CertificateParams::new(sans).map_err(|e| certificate(subject, e))?;
    set_window(&mut params, window);
    params.distinguished_name = common_name(subject);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// Sets the validity to (from, to), seconds from now.
fn set_window(params: &mut CertificateParams, (from, to): (i64, i64)) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    // GeneralizedTime ends with the year 9999; an absurd shift must not overflow the date type.
    let clamp = |offset: i64| Duration::from_secs(now.saturating_add(offset).clamp(0, 7_000 * 365 * DAY).unsigned_abs());
    params.not_before = date_time_ymd(1970, 1, 1) + clamp(from);
    params.not_after = date_time_ymd(1970, 1, 1) + clamp(to);
}

fn common_name(name: &str) -> rcgen::DistinguishedName {
    let mut dn = rcgen::DistinguishedName::new();
    dn.push(DnType::OrganizationName, "faultmap lab");
    dn.push(DnType::CommonName, name);
    dn
}

fn new_key(subject: &str) -> Result<KeyPair, ServiceError> {
    KeyPair::generate().map_err(|e| certificate(subject, e))
}

fn certificate(subject: &str, source: rcgen::Error) -> ServiceError {
    ServiceError::Certificate { subject: subject.to_owned(), source }
}

/// RFC 7468 textual encoding.
fn pem_block(label: &str, der: &[u8]) -> String {
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in base64(der).as_bytes().chunks(64) {
        pem.extend(line.iter().map(|b| char::from(*b)));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

/// RFC 4648 section 4, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for i in 0..4 {
            let sextet = ((group >> (18 - 6 * i)) & 63) as usize;
            text.push(if i <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}
