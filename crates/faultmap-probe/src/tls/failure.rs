//! Why a handshake or a session ended, from our library's error and the tap together.

use super::alert::alert_name;
use super::greeting::{looks_like, may_be_tls};
use super::record::{FirstFlight, first_flight};
use super::tap::{End, Traffic};
use crate::recorder::{ms, printable};
use faultmap_model::observation::TlsOutcome;
use std::error::Error;
use std::io;
use std::time::Duration;

/// Most characters of a peer's first bytes.
pub(crate) const FIRST_BYTES: usize = 128;

/// An error, and what was known when it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure<'a> {
    pub(crate) error: &'a io::Error,
    pub(crate) waited: Duration,
    pub(crate) client_cert_requested: bool,
    pub(crate) after_handshake: bool,
}

/// The alert code that ended a session, if an alert did.
pub(crate) fn ended_by(error: &(dyn Error + 'static)) -> Option<u8> {
    match tls_error(error)? {
        rustls::Error::AlertReceived(alert) => Some(u8::from(*alert)),
        _ => None,
    }
}

/// The TLS library's error within a chain of errors. `io::Error` hides what it wraps from `source`.
pub(crate) fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    // The chain is ours and short; the bound guards against a cycle.
    for _ in 0..8 {
        let current = next?;
        if let Some(found) = current.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let wrapped = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| current.source());
    }
    None
}

/// How it ended.
pub(crate) fn outcome(failure: &Failure<'_>, seen: &Traffic) -> TlsOutcome {
    if let Some(code) = ended_by(failure.error).filter(|code| *code != 0) {
        return alert(code, failure);
    }
    if let Some(other) = not_tls(seen) {
        return other;
    }
    // Our write may fail before the alert is read.
    if let (false, FirstFlight::Alert(code)) = (failure.after_handshake, first_flight(&seen.first)) {
        return alert(code, failure);
    }
    if let Some(ours) = tls_error(failure.error) {
        return TlsOutcome::Rejected { why: printable(ours.to_string().as_bytes(), 256) };
    }
    match (seen.end, failure.error.kind()) {
        (Some(End::Reset), _) => TlsOutcome::Reset { received_bytes: seen.received },
        (Some(End::Fin), _) | (None, io::ErrorKind::UnexpectedEof) => TlsOutcome::Closed { received_bytes: seen.received },
        _ => silent(failure.waited, seen),
    }
}

/// Nothing more came.
pub(crate) fn silent(waited: Duration, seen: &Traffic) -> TlsOutcome {
    not_tls(seen).unwrap_or_else(|| TlsOutcome::Silent { waited_ms: ms(waited), received_bytes: seen.received })
}

/// The first bytes are of no TLS record.
pub(crate) fn not_tls(seen: &Traffic) -> Option<TlsOutcome> {
    (!may_be_tls(&seen.first)).then(|| TlsOutcome::NotTls {
        first_bytes: printable(&seen.first, FIRST_BYTES),
        looks_like: looks_like(&seen.first).map(str::to_owned),
    })
}

fn alert(code: u8, failure: &Failure<'_>) -> TlsOutcome {
    TlsOutcome::Alert {
        code,
        name: alert_name(code).to_owned(),
        after_handshake: failure.after_handshake,
        client_cert_requested: failure.client_cert_requested,
    }
}
