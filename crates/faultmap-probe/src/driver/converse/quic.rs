//! HTTP/3 beside the conversation over TCP: asked when the answer there advertises it, or when the user demands it.

use crate::driver::{Check, now_unix};
use crate::http3::{Http3Ask, http3, http3_port};
use faultmap_model::observation::{HttpExchange, HttpOutcome};
use faultmap_model::{Scheme, Seen};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A handshake takes one round trip, and a lost first datagram is repeated several times within this.
const WAIT: Duration = Duration::from_millis(1_500);
/// Below this, silence would say nothing.
const LEAST: Duration = Duration::from_millis(900);

impl Check<'_> {
    /// Asks once over QUIC.
    pub(super) async fn over_quic(&self, to: SocketAddr) {
        let demanded = self.options.http3;
        let wait = self.within(WAIT);
        let repeatable = ["GET", "HEAD"].iter().any(|method| self.options.method.eq_ignore_ascii_case(method));
        // No proxy of ours carries UDP.
        if self.target.scheme != Scheme::Https || self.proxy().is_some() || wait < LEAST || !repeatable {
            return;
        }
        let advertised = self.alt_svc();
        let port = advertised.as_deref().and_then(http3_port);
        let Some(port) = port.or(demanded.then_some(to.port())) else { return };
        let Some(store) = self.store() else { return };
        let authority = self.host_header();
        let asked = Instant::now();
        let ask = Http3Ask {
            to: SocketAddr::new(to.ip(), port),
            name: &self.target.host,
            authority: &authority,
            path_and_query: &self.options.request_path,
            method: &self.options.method,
            headers: &self.options.headers,
            store,
            now_unix: now_unix(),
            advertised: advertised.as_deref(),
            demanded,
            wait,
        };
        let answer = http3(&ask).await;
        self.rec.note(asked, answer);
    }

    /// What the answer over TCP advertises.
    fn alt_svc(&self) -> Option<String> {
        self.rec.look(|seen| {
            seen.iter().find_map(|o| match &o.seen {
                Seen::HttpExchange(HttpExchange { purpose, outcome: HttpOutcome::Response(response), .. }) if purpose == "default" => {
                    response.header("alt-svc").map(str::to_owned)
                }
                _ => None,
            })
        })
    }
}
