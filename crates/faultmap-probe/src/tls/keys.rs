//! Where the session keys of the check's own connections go, if the user wants them: one place for the whole program, as with `SSLKEYLOGFILE`. Without it they go
//! nowhere. Hellos that are never completed have no keys, and the witness's connections give none away.

use rustls::{KeyLog, NoKeyLog};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Gets each secret once: its label (RFC 9850), the random of the ClientHello, the secret.
pub type KeyTaker = Box<dyn Fn(&str, &[u8], &[u8]) + Send + Sync>;

static TAKER: OnceLock<Arc<dyn KeyLog>> = OnceLock::new();

struct Taker(KeyTaker);

impl fmt::Debug for Taker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Taker")
    }
}

impl KeyLog for Taker {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        (self.0)(label, client_random, secret);
    }
}

/// From now on session keys go to `taker`. Only the first one is taken; it says whether it was.
pub fn take_session_keys(taker: KeyTaker) -> bool {
    TAKER.set(Arc::new(Taker(taker))).is_ok()
}

/// What a configuration of TLS is given.
pub(crate) fn key_log() -> Arc<dyn KeyLog> {
    TAKER.get().map_or_else(|| Arc::new(NoKeyLog {}) as Arc<dyn KeyLog>, Arc::clone)
}
