//! The second vantage point: how a check and a witness at the other end meet, and prove to each other that they know one secret.
//!
//! This folder is what both sides share (messages on the wire, proof, TLS) and the check's side of it. The witness's side is `crate::witness`.
//! Nothing here looks at a host or judges.

mod frame;
mod proof;
mod session;
mod tls;

pub use frame::{DecodeError, Direction, FromCheck, FromFar, decode};
pub use proof::{Secret, SecretError};
pub use session::{PeerError, PeerSession};

pub(crate) use frame::Frames;
pub(crate) use proof::Side;
#[cfg(test)]
pub(crate) use tls::connector;
pub(crate) use tls::{acceptor, binding};

use std::path::PathBuf;

/// By what the two sides know each other.
#[derive(Debug, Clone)]
pub enum PeerAuth {
    /// A secret that both hold.
    Secret(Secret),
    /// Certificates, each of an authority that the other side trusts (PEM files).
    Certificates {
        /// Our certificate, with its intermediates.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
        /// The authority of the other side.
        ca: PathBuf,
    },
}

/// `--peer`: a witness to ask.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How to prove who we are.
    pub auth: PeerAuth,
}
