//! Why a service of the lab could not be started or altered. What a *client* of a service suffers is never an error here.

use std::{io, net::SocketAddr};

/// A failure of the lab itself while it runs a service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The service's thread or its runtime could not be made.
    #[error("cannot run service thread {name}: {source}")]
    Thread {
        /// Name of the thread.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A socket could not be opened, bound or set to listen.
    #[error("cannot {operation} {addr}: {source}")]
    Socket {
        /// What was tried: `bind`, `listen`, ...
        operation: &'static str,
        /// The address it was tried on.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A certificate or key could not be made.
    #[error("cannot issue certificate for {subject}: {source}")]
    Certificate {
        /// Common name of the certificate.
        subject: String,
        /// What rcgen said.
        #[source]
        source: rcgen::Error,
    },
    /// rustls rejects the combination of versions, suites and keys.
    #[error("cannot configure TLS: {0}")]
    Tls(#[source] rustls::Error),
    /// A specification does not make sense; `field` says where.
    #[error("service specification: {field}: {why}")]
    Spec {
        /// Path of the field at fault.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The change cannot be applied to this service.
    #[error("cannot alter service: {0}")]
    Alter(String),
    /// The service's thread ended or does not answer.
    #[error("service thread is gone")]
    Gone,
}

impl ServiceError {
    pub(crate) fn spec(field: impl Into<String>, why: impl ToString) -> Self {
        Self::Spec { field: field.into(), why: why.to_string() }
    }
}
