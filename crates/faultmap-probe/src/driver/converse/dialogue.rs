//! A conversation in the service's own protocol, in the driver's terms: what is asked, how long, and what is recorded.

use super::{HTTP_PATIENCE, OFFER_WAIT, Turn};
use crate::dialogue::{DialogueAsk, Standing, converse, is_own, is_postgres, stay};
use crate::driver::Check;
use crate::http::Connection;
use crate::recorder::ms;
use crate::tls::{OfferKind, plain_request};
use faultmap_model::observation::{Dialogue, DialogueOutcome, Spoken, TcpHealth, TlsOutcome};
use faultmap_model::{Observation, Seen};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The name of a request in plain text among the offers of TLS.
const PLAIN: &str = "plain-request";

impl Check<'_> {
    /// Holds the conversation and records it. True when it ended in silence, or before it began.
    pub(super) async fn dialogue(&self, connection: Connection, to: SocketAddr, protocol: Spoken, turn: Turn<'_>) -> bool {
        let asked = Instant::now();
        let authority = self.host_header();
        let encrypted = matches!(connection, Connection::Tls(_));
        let tls = if self.target.scheme.upgrades_to_tls() { self.tls_ask(to, turn) } else { None };
        let wait = self.within(self.options.request_wait.min(HTTP_PATIENCE));
        let ask = DialogueAsk { tls, purpose: turn.purpose, ..self.dialogue_ask(to, protocol, &authority, encrypted, wait) };
        let told = converse(connection, &ask).await;
        if let Some(secured) = told.secured {
            self.rec.note(secured.asked, secured.handshake);
            if let Some(chain) = secured.chain {
                self.rec.note(secured.asked, chain);
            }
        }
        let Some(dialogue) = told.dialogue else { return true };
        let silent = matches!(dialogue.outcome, DialogueOutcome::Silent { .. });
        self.rec.note(asked, dialogue);
        silent
    }

    /// The same conversation on a fresh connection, not recorded; `None` when it did not come to begin.
    pub(super) async fn dialogue_again(&self, to: SocketAddr, protocol: Spoken, wait: Duration) -> Option<Dialogue> {
        let connection = self.connection(to).await?;
        let authority = self.host_header();
        let encrypted = matches!(connection, Connection::Tls(_));
        let tls = if self.target.scheme.upgrades_to_tls() { self.tls_ask(to, super::FIRST) } else { None };
        let ask = DialogueAsk { tls, purpose: "sample", ..self.dialogue_ask(to, protocol, &authority, encrypted, wait) };
        converse(connection, &ask).await.dialogue
    }

    /// The conversation as the target and the options describe it, without a way into TLS.
    fn dialogue_ask<'a>(
        &'a self,
        to: SocketAddr,
        protocol: Spoken,
        authority: &'a str,
        encrypted: bool,
        wait: Duration,
    ) -> DialogueAsk<'a> {
        DialogueAsk {
            to,
            protocol,
            host: &self.target.host,
            authority,
            path: if self.target.scheme.has_http_path() { &self.options.request_path } else { &self.target.path },
            credentials: self.options.credentials.as_ref(),
            headers: &self.options.headers,
            encrypted,
            tls: None,
            purpose: "session",
            wait,
        }
    }

    /// The same conversation, which stays open after its login; not recorded.
    pub(in crate::driver) async fn standing(
        &self,
        connection: Connection,
        to: SocketAddr,
        protocol: Spoken,
        wait: Duration,
    ) -> Option<Standing> {
        let authority = self.host_header();
        let encrypted = matches!(connection, Connection::Tls(_));
        let tls = if self.target.scheme.upgrades_to_tls() { self.tls_ask(to, super::FIRST) } else { None };
        let ask = DialogueAsk { tls, ..self.dialogue_ask(to, protocol, &authority, encrypted, wait) };
        stay(connection, &ask).await
    }

    /// The protocol of a target that begins in plain text and not with HTTP/1.1, as WebSocket does.
    pub(super) fn own_protocol(&self) -> Option<Spoken> {
        let scheme = self.target.scheme;
        scheme.dialogue().filter(|protocol| !scheme.uses_tls() && *protocol != Spoken::Websocket)
    }

    /// The port does not answer in the protocol that was asked for. Whether another one does is asked, once, in the three ways that draw a
    /// word from nearly every service: a TLS hello, a request in plain text, and PostgreSQL's eight bytes.
    pub(super) async fn other_protocols(&self, to: SocketAddr) {
        let Some(protocol) = self.own_protocol() else { return };
        let asked_already =
            |seen: &[Observation]| seen.iter().any(|o| matches!(&o.seen, Seen::TlsHandshake(tls) if tls.offer.name == PLAIN));
        if self.rec.look(asked_already) {
            return;
        }
        let in_plain_text = async {
            let asked = Instant::now();
            if let Some(stream) = self.reopen(to, OFFER_WAIT, None).await {
                let answer = plain_request(stream, to, self.within(OFFER_WAIT)).await;
                self.rec.note(asked, answer);
            }
        };
        let as_database = async {
            let asked = Instant::now();
            if protocol == Spoken::Postgres {
                return;
            }
            let Some(stream) = self.reopen(to, OFFER_WAIT, None).await else { return };
            if let Some(answer) = is_postgres(stream, to, self.within(OFFER_WAIT)).await {
                self.rec.note(asked, answer);
            }
        };
        tokio::join!(self.bare_offer(to, OfferKind::AllCiphers), in_plain_text, as_database);
    }

    /// The same while the first conversation stalls. True when it is plain that another service listens there.
    pub(super) async fn another_speaks(&self, to: SocketAddr) -> bool {
        let Some(protocol) = self.own_protocol() else { return false };
        self.other_protocols(to).await;
        self.rec.look(|seen| {
            let foreign = seen.iter().any(|o| match &o.seen {
                Seen::TlsHandshake(tls) => match &tls.outcome {
                    TlsOutcome::NotTls { looks_like: Some(name), .. } if tls.offer.name == PLAIN => !is_own(protocol, name),
                    TlsOutcome::Accepted { .. } | TlsOutcome::Alert { .. } => tls.offer.name == OfferKind::AllCiphers.name(),
                    _ => false,
                },
                Seen::Dialogue(other) => other.protocol != protocol,
                _ => false,
            });
            let own = seen.iter().any(|o| matches!(&o.seen, Seen::Dialogue(other) if other.protocol == protocol && other.answered()));
            foreign && !own
        })
    }

    /// The conversation is left while it stalls.
    pub(super) fn note_dialogue_cut_off(&self, to: SocketAddr, started: Instant, tcp: Option<TcpHealth>) {
        let Some(protocol) = self.target.scheme.dialogue() else { return };
        // Within TLS the connection's own count is that of the records.
        let received_bytes = tcp.as_ref().filter(|_| !self.target.scheme.uses_tls()).map_or(0, |tcp| tcp.bytes_received);
        let outcome = DialogueOutcome::Silent { waited_ms: ms(started.elapsed()), received_bytes };
        let purpose = "default".to_owned();
        let cut_off =
            Dialogue { to, protocol, purpose, steps: Vec::new(), server: None, facts: Vec::new(), first_byte_ms: None, outcome, tcp };
        self.rec.note(started, cut_off);
    }
}
