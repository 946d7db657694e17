//! What can go wrong on our own side. The network's trouble is never an error.

use std::io;
use std::path::PathBuf;

/// faultmap could not do its part of a check.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A file that the user named cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that the user named holds no certificate.
    #[error("no certificate in {path}: {why}; PEM is expected", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A header given with `--header` is not one.
    #[error("not a header: {0:?}; write 'Name: value'")]
    BadHeader(String),
    /// The method given is not one.
    #[error("not an HTTP method: {0:?}")]
    BadMethod(String),
    /// A witness cannot listen where it was told to.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// Where.
        at: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Something of our own that should work did not.
    #[error("{doing}: {source}")]
    Own {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}
