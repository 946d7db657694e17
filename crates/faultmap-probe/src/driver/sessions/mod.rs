//! The life of a conversation, after one that went well: is a connection used again, is a TLS session resumed, how long may it be idle?
//!
//! Nothing of this is asked unless the user wants it (`--samples`, `--idle`): it costs requests and time.

mod hold;
mod reuse;
mod speech;

use super::Check;
use crate::http::Connection;
use faultmap_model::observation::{DialogueOutcome, HttpOutcome, NotAsked, SessionOutcome, TlsOutcome, Trust};
use faultmap_model::{Observation, Scheme, Seen};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

impl Check<'_> {
    /// Asks what the options want to know of a conversation that went well.
    pub(super) async fn sessions(&self, to: SocketAddr) {
        let idle = self.options.idle;
        if idle.is_some() && self.rec.look(|seen| seen.iter().any(wants_credentials)) {
            return self.not_held("a session needs credentials, and none were given");
        }
        if (idle.is_none() && self.options.samples < 2) || !self.rec.look(|seen| went_well(self.target.scheme, seen)) {
            return;
        }
        let reusable = self.reuse(to).await;
        match idle {
            Some(_) if !speech::can_be_held(self.target.scheme) => self.not_held("sessions of this protocol cannot be held yet"),
            Some(asked) if reusable => self.hold(to, asked).await,
            Some(_) => self.not_held("the server keeps no connection for a second request"),
            None => {}
        }
    }

    fn not_held(&self, why: &str) {
        let question = "session.idle".to_owned();
        let would_settle = "how long a connection may be idle".to_owned();
        self.rec.note(Instant::now(), NotAsked { question, why: why.to_owned(), would_settle, missing: None });
    }

    /// A fresh connection for a session; not recorded.
    async fn session_connection(&self, to: SocketAddr) -> Option<Connection> {
        match (self.target.scheme, self.connection(to).await?) {
            (Scheme::Grpc, Connection::Plain(stream)) => Some(Connection::PlainHttp2(stream)),
            (_, connection) => Some(connection),
        }
    }

    /// How long an answer on a held connection is waited for: far longer than the first one took.
    fn session_patience(&self) -> Duration {
        const LEAST: Duration = Duration::from_millis(3_500);
        let first = self.rec.look(|seen| {
            seen.iter().find_map(|o| match &o.seen {
                Seen::HttpExchange(http) if http.purpose == "default" => Some(o.took_ms),
                Seen::Dialogue(dialogue) if dialogue.purpose == "default" => Some(o.took_ms),
                _ => None,
            })
        });
        self.within(LEAST.max(Duration::from_secs_f64((first.unwrap_or(0.0) * 3.0 / 1e3).clamp(0.0, 30.0))))
    }
}

/// The service lives, and lets nobody in without credentials.
fn wants_credentials(observation: &Observation) -> bool {
    matches!(&observation.seen, Seen::Dialogue(dialogue) if matches!(dialogue.outcome, DialogueOutcome::CredentialsWanted { .. }))
}

/// The target did what was asked, so that a later failure is one of the session.
fn went_well(scheme: Scheme, seen: &[Observation]) -> bool {
    let mut last = seen.iter().rev();
    match scheme {
        Scheme::Https | Scheme::Http => last.any(|o| match &o.seen {
            Seen::HttpExchange(http) => {
                http.purpose == "default" && matches!(&http.outcome, HttpOutcome::Response(response) if response.status < 500)
            }
            _ => false,
        }),
        Scheme::Tcp => last.any(|o| match &o.seen {
            Seen::SessionEnd(end) => matches!(end.outcome, SessionOutcome::Open | SessionOutcome::Greeting { .. }),
            _ => false,
        }),
        Scheme::Tls => {
            let trusted = last.any(|o| matches!(&o.seen, Seen::TlsChain(chain) if chain.trust == Trust::Trusted));
            trusted
                && seen.iter().any(|o| match &o.seen {
                    Seen::TlsHandshake(tls) => tls.offer.name == "default" && matches!(tls.outcome, TlsOutcome::Done { .. }),
                    _ => false,
                })
        }
        _ => last.any(|o| match &o.seen {
            Seen::Dialogue(dialogue) => {
                let well = matches!(dialogue.outcome, DialogueOutcome::Done { .. });
                dialogue.purpose == "default" && well
            }
            _ => false,
        }),
    }
}
