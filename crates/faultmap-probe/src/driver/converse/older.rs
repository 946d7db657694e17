//! An HTTP/2 that gave no answer is asked again over HTTP/1.1: an answer there tells that the server lives, and often why its HTTP/2 does not.

use super::tls::acceptable;
use crate::driver::{Check, now_unix};
use crate::http::Connection;
use crate::tls::{TlsAsk, handshake};
use faultmap_model::observation::{Dialogue, DialogueOutcome, HttpExchange, HttpOutcome, Role, Spoken};
use faultmap_model::{Observation, Seen};
use std::net::SocketAddr;
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(3);
/// As recorded.
const PURPOSE: &str = "http/1.1";

impl Check<'_> {
    /// Asks once over HTTP/1.1 where HTTP/2 failed: the same request again if it may be repeated, or `HEAD /` in the place of a gRPC call.
    pub(super) async fn ask_without_http2(&self, to: SocketAddr) {
        let failed = self.rec.look(|seen| seen.iter().find_map(without_answer));
        let repeatable = ["GET", "HEAD"].iter().any(|method| self.options.method.eq_ignore_ascii_case(method));
        match failed {
            Some(Failed::Request) if repeatable => {
                let Some(connection) = self.http1_connection(to).await else { return };
                let wait = self.within(WAIT);
                self.request_path(connection, to, PURPOSE, &self.options.request_path, &self.target.input, wait).await;
            }
            Some(Failed::Call) => {
                let Some(connection) = self.http1_connection(to).await else { return };
                self.head_of_root(connection, to, PURPOSE, WAIT).await;
            }
            _ => {}
        }
    }

    async fn http1_connection(&self, to: SocketAddr) -> Option<Connection> {
        let stream = self.reopen(to, Duration::from_secs(2), None).await?;
        let ask = TlsAsk {
            to,
            role: Role::Target,
            name: &self.target.host,
            sni: true,
            alpn: &["http/1.1"],
            store: self.store()?,
            wait: self.within(WAIT),
            now_unix: now_unix(),
            offer_name: PURPOSE,
            clamped_mss: None,
        };
        let result = handshake(stream, &ask).await;
        let trusted = result.chain.as_ref().is_some_and(acceptable);
        result.stream.filter(|_| trusted).map(Connection::Tls)
    }
}

/// What failed.
enum Failed {
    Request,
    Call,
}

fn without_answer(observation: &Observation) -> Option<Failed> {
    match &observation.seen {
        Seen::HttpExchange(HttpExchange { purpose, version, outcome, .. }) if purpose == "default" && version == "HTTP/2" => {
            let alive = matches!(outcome, HttpOutcome::Response(_) | HttpOutcome::Alert { .. } | HttpOutcome::NoConnection { .. });
            (!alive).then_some(Failed::Request)
        }
        // Within TLS only: in plain text, `other_protocols` asks.
        Seen::Dialogue(Dialogue { purpose, protocol: Spoken::Grpc, outcome, .. }) if purpose == "default" => {
            use DialogueOutcome as O;
            // A server that speaks HTTP/2 begins with its settings.
            let mute =
                matches!(outcome, O::Closed { received_bytes: 0 } | O::Reset { received_bytes: 0 } | O::Silent { received_bytes: 0, .. });
            mute.then_some(Failed::Call)
        }
        _ => None,
    }
}
