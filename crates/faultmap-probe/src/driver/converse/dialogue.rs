//! A conversation in the service's own protocol, in the driver's terms: what is asked, how long, and what is recorded.

use super::HTTP_PATIENCE;
use crate::dialogue::{DialogueAsk, converse};
use crate::driver::Check;
use crate::http::Connection;
use crate::recorder::ms;
use faultmap_model::observation::{Dialogue, DialogueOutcome, Spoken, TcpHealth};
use std::net::SocketAddr;
use std::time::Instant;

impl Check<'_> {
    /// Holds the conversation and records it. True when it ended in silence.
    pub(super) async fn dialogue(&self, connection: Connection, to: SocketAddr, protocol: Spoken, purpose: &str) -> bool {
        let asked = Instant::now();
        let authority = self.host_header();
        let ask = DialogueAsk {
            to,
            protocol,
            host: &self.target.host,
            authority: &authority,
            path: if self.target.scheme.has_http_path() { &self.options.request_path } else { &self.target.path },
            credentials: self.options.credentials.as_ref(),
            headers: &self.options.headers,
            encrypted: matches!(connection, Connection::Tls(_)),
            purpose,
            wait: self.within(self.options.request_wait.min(HTTP_PATIENCE)),
        };
        let dialogue = converse(connection, &ask).await;
        let silent = matches!(dialogue.outcome, DialogueOutcome::Silent { .. });
        self.rec.note(asked, dialogue);
        silent
    }

    /// The conversation is left while it stalls.
    pub(super) fn note_dialogue_cut_off(&self, to: SocketAddr, started: Instant, tcp: Option<TcpHealth>) {
        let Some(protocol) = self.target.scheme.dialogue() else { return };
        let outcome = DialogueOutcome::Silent { waited_ms: ms(started.elapsed()), received_bytes: 0 };
        let purpose = "default".to_owned();
        let cut_off =
            Dialogue { to, protocol, purpose, steps: Vec::new(), server: None, facts: Vec::new(), first_byte_ms: None, outcome, tcp };
        self.rec.note(started, cut_off);
    }
}
