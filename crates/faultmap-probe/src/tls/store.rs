//! Whom we trust: the roots of `--ca` and those of the system. Reads files, never the network.

use crate::ProbeError;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, TrustAnchor};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Trusted roots. The system's are read when the first chain needs them: a check of plain HTTP, or of a server whose root is given with
/// `--ca`, never pays for them.
#[derive(Debug)]
pub struct TrustStore {
    ca_file: Option<PathBuf>,
    given: Roots,
    system: OnceLock<Roots>,
}

/// Certificates and what path building needs of each.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) anchors: Vec<TrustAnchor<'static>>,
}

impl Roots {
    fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), webpki::Error> {
        let anchor = webpki::anchor_from_trusted_cert(&certificate)?.to_owned();
        self.certificates.push(certificate);
        self.anchors.push(anchor);
        Ok(())
    }

    /// How many.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.anchors.len()).unwrap_or(u32::MAX)
    }
}

impl TrustStore {
    /// The system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` honoured) and those of `ca_file`.
    ///
    /// # Errors
    /// `ca_file` cannot be read, or holds no certificate in PEM form that can be a root.
    pub fn load(ca_file: Option<&Path>) -> Result<Self, ProbeError> {
        let given = ca_file.map_or_else(|| Ok(Roots::default()), read_ca_file)?;
        Ok(Self { ca_file: ca_file.map(Path::to_path_buf), given, system: OnceLock::new() })
    }

    /// Roots of `--ca`.
    pub(crate) const fn given(&self) -> &Roots {
        &self.given
    }

    /// Roots of the system. A store that cannot be read is an empty one: then nothing is trusted, and the chain's count of roots says why.
    pub(crate) fn system(&self) -> &Roots {
        self.system.get_or_init(|| {
            let mut roots = Roots::default();
            for certificate in rustls_native_certs::load_native_certs().certs {
                // What path building cannot use (an exotic old root) would not be a root of ours anyway.
                let _ = roots.add(certificate);
            }
            roots
        })
    }

    /// Where the roots come from: the file of `--ca`, or `system`.
    pub(crate) fn origin(&self) -> String {
        self.ca_file.as_ref().map_or_else(|| "system".to_owned(), |path| path.display().to_string())
    }
}

fn read_ca_file(path: &Path) -> Result<Roots, ProbeError> {
    let bad = |why: String| ProbeError::NoCertificate { path: path.to_path_buf(), why };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| match error {
        pem::Error::Io(source) => ProbeError::File { path: path.to_path_buf(), source },
        other => bad(other.to_string()),
    })?;
    let mut roots = Roots::default();
    for certificate in found {
        let certificate = certificate.map_err(|error| match error {
            pem::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => ProbeError::File { path: path.to_path_buf(), source },
            other => bad(other.to_string()),
        })?;
        roots.add(certificate).map_err(|error| bad(format!("certificate {} in it cannot be a root: {error}", roots.count() + 1)))?;
    }
    if roots.anchors.is_empty() {
        return Err(bad("no PEM block of type CERTIFICATE".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_ca_file_is_our_users_error_and_names_the_file() {
        let dir = std::env::temp_dir().join(format!("faultmap-store-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let cases: &[(&str, Option<&[u8]>, &str)] = &[
            ("missing.pem", None, "cannot read"),
            ("empty.pem", Some(b""), "no certificate in"),
            ("text.pem", Some(b"hello\n"), "no certificate in"),
            ("cut.pem", Some(b"-----BEGIN CERTIFICATE-----\nMIIB\n"), "no certificate in"),
            ("junk.pem", Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "cannot be a root"),
        ];
        for (name, content, says) in cases {
            let path = dir.join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = TrustStore::load(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(name), "{name}: {error}");
        }
        let sound = rcgen::generate_simple_self_signed(vec!["root.test".to_owned()]).unwrap();
        std::fs::write(dir.join("sound.pem"), sound.cert.pem()).unwrap();
        assert_eq!(TrustStore::load(Some(&dir.join("sound.pem"))).unwrap().given().count(), 1);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
