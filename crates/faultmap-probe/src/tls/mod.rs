//! TLS as a client sees it: one handshake, the chain held against store, name and clock, and raw offers of one version.
//!
//! How it ended is always one of: done, alert, not TLS, our own refusal, FIN, RST, silence; each with what was received. Nothing here judges.

mod alert;
mod certificate;
mod chain;
mod failure;
mod greeting;
mod handshake;
mod hello;
mod keys;
mod offer;
mod plain;
mod record;
mod store;
mod stream;
mod tap;
mod verifier;

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

pub use greeting::looks_like;
pub use handshake::{TlsAsk, TlsResult, handshake};
pub use keys::{KeyTaker, take_session_keys};
pub use offer::{OfferAsk, OfferKind, TlsVersion, offer};
pub use plain::plain_request;
pub use store::TrustStore;
pub use stream::TlsStream;

pub(crate) use alert::alert_name;
pub(crate) use certificate::{describe, server_name};
pub(crate) use chain::{ChainAsk, judge};
pub(crate) use failure::FIRST_BYTES;
pub(crate) use handshake::{Memory, handshake_remembering};
pub(crate) use keys::key_log;
pub(crate) use record::first_flight;
pub(crate) use tap::{End, Seen, Tap, Traffic};
pub(crate) use verifier::ChainWitness;
