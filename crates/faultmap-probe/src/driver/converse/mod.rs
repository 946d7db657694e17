//! The conversation over an open connection: TLS, then HTTP or another protocol; and what is tried beside it when it fails or stalls.

mod dialogue;
mod older;
mod quic;
mod redirects;
mod samples;
mod tls;

pub(super) use tls::{acceptable, alpn};

use super::reach::Opened;
use super::{Check, now_unix};
use crate::http::{Connection, HttpAsk, exchange};
use crate::recorder::ms;
use crate::sock::{no_delay_dup, tcp_health};
use faultmap_model::observation::{
    BodyEnd, Dialogue, DialogueOutcome, HttpExchange, HttpOutcome, Role, TlsHandshake, TlsOffer, TlsOutcome,
};
use faultmap_model::{Observation, Scheme, Seen};
use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// No progress for so long makes us try beside it.
const STALL: Duration = Duration::from_millis(1_500);
/// A request that was acknowledged and stays unanswered is waited for this long: only time tells slow from mute.
const HTTP_PATIENCE: Duration = Duration::from_secs(9);
/// When a clamped connection passes where two plain ones stall, more waiting teaches nothing.
const PROVEN_GRACE: Duration = Duration::from_millis(400);
/// MSS that passes every path that IPv6 allows (RFC 8200: 1280 less headers), well below any tunnel.
const CLAMPED_MSS: u32 = 536;
const OFFER_WAIT: Duration = Duration::from_millis(1_500);
const BODY_LIMIT: usize = 512 * 1024;
const BODY_WAIT: Duration = Duration::from_secs(4);
/// The same for a conversation beside one that stalls: whether it stops as well must be known before `BESIDE` is over.
const BESIDE_BODY_WAIT: Duration = Duration::from_millis(1_500);
/// Bound of a conversation beside one that stalls. Twice the time in which a clamped one passes is enough to call the plain one stuck.
const BESIDE: Duration = Duration::from_millis(2_200);
/// The same for the pair that tells size from luck, where a clamped conversation passed a moment ago; and what lies between its two connects.
const LUCK_WAIT: Duration = Duration::from_millis(1_200);
const LUCK_APART: Duration = Duration::from_millis(10);
/// Connects of the listen-queue test beside a connection that got in and stays mute.
const FEW_CONNECTS: u32 = 4;
/// How far the conversation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Tls,
    Application,
    Stalled,
    Done,
}

/// Which of several equal conversations this is.
#[derive(Clone, Copy)]
struct Turn<'t> {
    purpose: &'t str,
    clamped_mss: Option<u32>,
}

const FIRST: Turn<'static> = Turn { purpose: "default", clamped_mss: None };
const CLAMPED: Turn<'static> = Turn { purpose: "clamped-mss", clamped_mss: Some(CLAMPED_MSS) };
const AGAIN: Turn<'static> = Turn { purpose: "second-try", clamped_mss: None };

impl Check<'_> {
    /// Speaks the target's protocol over the connection, as far as its scheme goes.
    pub(super) async fn converse(&self, opened: Opened) {
        let to = opened.to;
        let quality = self.light_train(to);
        let conversation = async {
            let Some(opened) = self.through_proxy(opened).await else { return };
            if self.target.scheme == Scheme::Tcp {
                self.listen_after_connect(opened).await;
            } else {
                Box::pin(self.first_conversation(opened)).await;
                tokio::join!(Box::pin(self.after_conversation(to)), Box::pin(self.over_quic(to)));
            }
        };
        tokio::join!(conversation, quality);
        Box::pin(self.examine_quality(to)).await;
        Box::pin(self.sessions(to)).await;
    }

    /// The first conversation, with others beside it as soon as it stalls.
    async fn first_conversation(&self, opened: Opened) {
        let to = opened.to;
        let stage = Cell::new(Stage::Tls);
        let started = Instant::now();
        let tcp = no_delay_dup(&opened.stream);
        let first = Box::pin(self.talk(opened.stream, to, FIRST, &stage));
        tokio::pin!(first);
        if tokio::time::timeout(STALL, &mut first).await.is_ok() {
            if stage.get() == Stage::Stalled {
                Box::pin(self.try_beside(to)).await;
            }
            return;
        }
        let beside = async {
            let health = tcp.as_ref().and_then(tcp_health);
            let (clamp_alone_passes, another_speaks, _) =
                tokio::join!(Box::pin(self.try_beside(to)), Box::pin(self.another_speaks(to)), Box::pin(self.examine_stall(to, health)));
            clamp_alone_passes || another_speaks
        };
        tokio::pin!(beside);
        let enough_is_known = tokio::select! {
            () = &mut first => { beside.await; return; }
            proven = &mut beside => proven,
        };
        if !enough_is_known {
            first.await;
            return;
        }
        if tokio::time::timeout(PROVEN_GRACE, &mut first).await.is_err() {
            self.note_cut_off(to, stage.get(), started, tcp.as_ref());
        }
    }

    /// TLS and HTTP on one connection. Leaves in `stage` how far it got.
    async fn talk(&self, stream: TcpStream, to: SocketAddr, turn: Turn<'_>, stage: &Cell<Stage>) {
        stage.set(Stage::Tls);
        let connection = if self.target.scheme.uses_tls() {
            match Box::pin(self.secure(stream, to, turn)).await {
                Some(stream) => stream,
                None => {
                    stage.set(Stage::Stalled);
                    return;
                }
            }
        } else {
            self.plain(stream)
        };
        stage.set(Stage::Application);
        if let Some(protocol) = self.target.scheme.dialogue() {
            let silent = Box::pin(self.dialogue(connection, to, protocol, turn)).await;
            stage.set(if silent { Stage::Stalled } else { Stage::Done });
            return;
        }
        if self.target.scheme == Scheme::Tls {
            self.after_handshake(connection, to, turn).await;
            stage.set(Stage::Done);
            return;
        }
        let answer = Box::pin(self.request(connection, to, turn.purpose)).await;
        stage.set(if stalled(&answer) { Stage::Stalled } else { Stage::Done });
    }

    async fn request(&self, connection: Connection, to: SocketAddr, purpose: &str) -> HttpExchange {
        let wait = self.within(self.options.request_wait.min(HTTP_PATIENCE));
        self.request_path(connection, to, purpose, &self.options.request_path, &self.target.input, wait).await
    }

    async fn request_path(
        &self,
        connection: Connection,
        to: SocketAddr,
        purpose: &str,
        path: &str,
        shown: &str,
        wait: Duration,
    ) -> HttpExchange {
        let asked = Instant::now();
        let host = self.host_header();
        let beside = [CLAMPED.purpose, AGAIN.purpose].contains(&purpose);
        let ask = HttpAsk {
            to,
            method: &self.options.method,
            host_header: &host,
            path_and_query: path,
            headers: &self.options.headers,
            body: self.options.data.as_deref(),
            accept_encoding: true,
            wait,
            body_limit: BODY_LIMIT,
            body_wait: self.within(if beside { BESIDE_BODY_WAIT } else { BODY_WAIT }),
            purpose,
            expect_body: self.options.expect_body.as_deref(),
            shown_url: shown,
            now_unix: now_unix(),
        };
        let answer = exchange(connection, &ask).await;
        if purpose != "sample" {
            self.rec.note(asked, answer.clone());
        }
        answer
    }

    pub(super) fn host_header(&self) -> String {
        let default = self.target.scheme.default_port() == Some(self.target.port);
        match (default, self.target.host.contains(':')) {
            (true, true) => format!("[{}]", self.target.host),
            (true, false) => self.target.host.clone(),
            (false, _) => self.target.host_port(),
        }
    }

    /// The same conversation on two fresh connections, one with small segments. True when only small segments pass.
    async fn try_beside(&self, to: SocketAddr) -> bool {
        if !self.options.method.eq_ignore_ascii_case("GET") && !self.options.method.eq_ignore_ascii_case("HEAD") {
            return false;
        }
        let clamped = Cell::new(Stage::Tls);
        let again = Cell::new(Stage::Tls);
        let clamped_turn = Box::pin(self.turn(to, CLAMPED, &clamped));
        let again_turn = async {
            let _ = tokio::time::timeout(BESIDE, Box::pin(self.turn(to, AGAIN, &again))).await;
        };
        let bounded = tokio::time::timeout(BESIDE, clamped_turn);
        tokio::join!(
            async {
                let _ = bounded.await;
            },
            again_turn
        );
        clamped.get() == Stage::Done && again.get() != Stage::Done && !Box::pin(self.passes_unclamped(to)).await
    }

    /// Small segments alone have passed: by their size, or by luck, as where one of two backends does not answer? The plain conversation is tried
    /// twice more, one right after the other, so that whoever takes turns serves one of them by the other backend.
    async fn passes_unclamped(&self, to: SocketAddr) -> bool {
        let plain = |after: Duration| async move {
            tokio::time::sleep(after).await;
            let stage = Cell::new(Stage::Tls);
            let _ = tokio::time::timeout(LUCK_WAIT, Box::pin(self.turn(to, AGAIN, &stage))).await;
            stage.get() == Stage::Done
        };
        let (one, other) = tokio::join!(plain(Duration::ZERO), plain(LUCK_APART));
        one || other
    }

    async fn turn(&self, to: SocketAddr, turn: Turn<'_>, stage: &Cell<Stage>) {
        if let Some(stream) = self.reopen(to, Duration::from_secs(2), turn.clamped_mss).await {
            Box::pin(self.talk(stream, to, turn, stage)).await;
        }
    }

    /// The first conversation is left while it stalls: its state is recorded as silence.
    fn note_cut_off(&self, to: SocketAddr, stage: Stage, started: Instant, tcp: Option<&OwnedFd>) {
        let health = tcp.and_then(tcp_health);
        let received_bytes = health.as_ref().map_or(0, |health| health.bytes_received);
        let waited_ms = ms(started.elapsed());
        match stage {
            Stage::Tls => {
                let offer = TlsOffer {
                    name: "default".to_owned(),
                    sni: None,
                    alpn: Vec::new(),
                    versions: Vec::new(),
                    hello_bytes: None,
                    clamped_mss: None,
                };
                let outcome = TlsOutcome::Silent { waited_ms, received_bytes };
                self.rec.note(started, TlsHandshake { to, role: Role::Target, offer, outcome, tcp: health });
            }
            _ if self.target.scheme.dialogue().is_some() => self.note_dialogue_cut_off(to, started, health),
            _ => {
                let exchange = HttpExchange {
                    to,
                    method: self.options.method.clone(),
                    url: self.target.input.clone(),
                    purpose: "default".to_owned(),
                    version: "HTTP/1.1".to_owned(),
                    outcome: HttpOutcome::Silent { waited_ms, received_bytes: 0 },
                    tcp: health,
                };
                self.rec.note(started, exchange);
            }
        }
    }

    /// What the outcome of the first conversation makes us ask.
    async fn after_conversation(&self, to: SocketAddr) {
        let failed_tls = self.rec.look(|seen| {
            seen.iter().rev().find_map(|o| match &o.seen {
                // A port that answers a hello in another protocol's words is not asked for its versions and ciphers.
                Seen::TlsHandshake(tls) if tls.offer.name == "default" => {
                    Some(!matches!(tls.outcome, TlsOutcome::Done { .. } | TlsOutcome::NotTls { .. }))
                }
                _ => None,
            })
        });
        let (mute, unanswered) = self.rec.look(|seen| (seen.iter().any(mute), seen.iter().any(unanswered)));
        self.examine_forwarding(to).await;
        let direct = self.proxy().is_none();
        if mute && direct {
            // Every connection to a service that does not accept stays in its queue: a few of ours show whether it is short, many would fill
            // any, and the next check would find our own doing.
            self.listen_queue_pattern(to, FEW_CONNECTS).await;
        }
        if unanswered {
            let interposed = async {
                if direct {
                    self.interposition(to).await;
                }
            };
            tokio::join!(interposed, self.the_other_way(to, mute));
        }
        if failed_tls == Some(true) {
            self.other_offers(to, mute).await;
        }
        if self.target.scheme.uses_tls() {
            self.ask_without_http2(to).await;
        }
        tokio::join!(Box::pin(self.intercept_control(to)), Box::pin(self.long_hello(to)));
        Box::pin(self.sample_dialogue(to)).await;
        let answer = self.rec.look(|seen| {
            seen.iter().rev().find_map(|o| match &o.seen {
                Seen::HttpExchange(http) if http.purpose == "default" => Some(http.clone()),
                _ => None,
            })
        });
        let Some(answer) = answer else { return };
        Box::pin(self.follow_redirects(&answer)).await;
        Box::pin(self.sample(answer)).await;
    }
}

/// The first conversation got silence.
fn mute(observation: &Observation) -> bool {
    match &observation.seen {
        Seen::TlsHandshake(tls) => tls.offer.name == "default" && matches!(tls.outcome, TlsOutcome::Silent { .. }),
        Seen::HttpExchange(http) => http.purpose == "default" && matches!(http.outcome, HttpOutcome::Silent { .. }),
        Seen::Dialogue(Dialogue { purpose, outcome, .. }) => purpose == "default" && matches!(outcome, DialogueOutcome::Silent { .. }),
        _ => false,
    }
}

/// The first conversation ended without a byte from the application.
fn unanswered(observation: &Observation) -> bool {
    let closed = match &observation.seen {
        Seen::TlsHandshake(tls) => {
            tls.offer.name == "default" && matches!(tls.outcome, TlsOutcome::Closed { .. } | TlsOutcome::Reset { .. })
        }
        Seen::HttpExchange(http) => {
            http.purpose == "default" && matches!(http.outcome, HttpOutcome::Closed { .. } | HttpOutcome::Reset { .. })
        }
        Seen::Dialogue(Dialogue { purpose, outcome, .. }) => {
            purpose == "default" && matches!(outcome, DialogueOutcome::Closed { .. } | DialogueOutcome::Reset { .. })
        }
        _ => false,
    };
    closed || mute(observation)
}

fn stalled(answer: &HttpExchange) -> bool {
    match &answer.outcome {
        HttpOutcome::Response(response) => response.body.end == BodyEnd::Stalled,
        HttpOutcome::Silent { .. } => true,
        _ => false,
    }
}
