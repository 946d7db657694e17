//! The conversation over an open connection: TLS, then HTTP; and what is tried beside it when it fails or stalls.

use super::reach::Opened;
use super::{Check, now_unix};
use crate::http::{Connection, HttpAsk, exchange};
use crate::recorder::ms;
use crate::sock::{no_delay_dup, tcp_health};
use crate::tls::{OfferAsk, OfferKind, TlsAsk, TlsStream, TlsVersion, handshake, offer, plain_request};
use faultmap_model::observation::{
    BodyEnd, HttpExchange, HttpOutcome, HttpSamples, Role, SampleRow, TlsHandshake, TlsOffer, TlsOutcome, Trust,
};
use faultmap_model::{Observation, Seen};
use futures_util::future::join_all;
use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// No progress for so long makes us try beside it.
const STALL: Duration = Duration::from_millis(1_500);
/// A mute TLS server is concluded after this.
const TLS_PATIENCE: Duration = Duration::from_millis(4_500);
/// A request that was acknowledged and stays unanswered is waited for this long: only time tells slow from mute.
const HTTP_PATIENCE: Duration = Duration::from_secs(9);
/// When a clamped connection passes where two plain ones stall, more waiting teaches nothing.
const PROVEN_GRACE: Duration = Duration::from_millis(400);
/// MSS that passes every path that IPv6 allows (RFC 8200: 1280 less headers), well below any tunnel.
const CLAMPED_MSS: u32 = 536;
const OFFER_WAIT: Duration = Duration::from_millis(1_500);
const BODY_LIMIT: usize = 512 * 1024;
const BODY_WAIT: Duration = Duration::from_secs(4);
const MOST_REDIRECTS: usize = 10;
const ALPN_HTTP: [&str; 2] = ["h2", "http/1.1"];
/// A sample that is silent for so long, where the first request was answered sooner, counts as failed.
const SAMPLE_PATIENCE: Duration = Duration::from_millis(2_500);
/// Time to note the samples in.
const KEPT_FOR_ROWS: Duration = Duration::from_millis(150);
/// Connects of the listen-queue test beside a connection that got in and stays mute.
const FEW_CONNECTS: u32 = 4;
/// Extra equal requests after a server error, to see whether it is one backend of several.
const AFTER_ERROR: u32 = 5;

/// How far the conversation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Tls,
    Http,
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
        let quality = self.light_train(to.ip());
        if !self.target.scheme.uses_tls() && !self.target.scheme.uses_http() {
            tokio::join!(self.listen_after_connect(opened), quality);
        } else {
            let conversation = async {
                self.first_conversation(opened).await;
                self.after_conversation(to).await;
            };
            tokio::join!(conversation, quality);
        }
        self.examine_quality(to).await;
    }

    /// The first conversation, with others beside it as soon as it stalls.
    async fn first_conversation(&self, opened: Opened) {
        let to = opened.to;
        let stage = Cell::new(Stage::Tls);
        let started = Instant::now();
        let tcp = no_delay_dup(&opened.stream);
        let first = self.talk(opened.stream, to, FIRST, &stage);
        tokio::pin!(first);
        if tokio::time::timeout(STALL, &mut first).await.is_ok() {
            if stage.get() == Stage::Stalled {
                self.try_beside(to).await;
            }
            return;
        }
        let beside = self.try_beside(to);
        tokio::pin!(beside);
        let clamp_alone_passes = tokio::select! {
            () = &mut first => { beside.await; return; }
            proven = &mut beside => proven,
        };
        if !clamp_alone_passes {
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
            match self.secure(stream, to, turn).await {
                Some(stream) => stream,
                None => {
                    stage.set(Stage::Stalled);
                    return;
                }
            }
        } else {
            Connection::Plain(stream)
        };
        if !self.target.scheme.uses_http() {
            self.after_handshake(connection, to, turn).await;
            stage.set(Stage::Done);
            return;
        }
        stage.set(Stage::Http);
        let answer = self.request(connection, to, turn.purpose).await;
        stage.set(if stalled(&answer) { Stage::Stalled } else { Stage::Done });
    }

    /// The handshake; the session comes back only when the peer may be spoken to.
    async fn secure(&self, stream: TcpStream, to: SocketAddr, turn: Turn<'_>) -> Option<Connection> {
        let asked = Instant::now();
        let ask = TlsAsk {
            to,
            role: Role::Target,
            name: &self.target.host,
            sni: true,
            alpn: if self.target.scheme.uses_http() { &ALPN_HTTP } else { &[] },
            store: self.store()?,
            wait: self.within(self.options.tls_wait.min(TLS_PATIENCE)),
            now_unix: now_unix(),
            offer_name: turn.purpose,
            clamped_mss: turn.clamped_mss,
        };
        let result = handshake(stream, &ask).await;
        self.rec.note(asked, result.handshake);
        let trusted = result.chain.as_ref().is_none_or(acceptable);
        if let Some(chain) = result.chain {
            self.rec.note(asked, chain);
        }
        let stream = result.stream?;
        if trusted {
            return Some(Connection::Tls(stream));
        }
        if self.target.scheme.uses_http() && turn.purpose == "default" {
            self.read_its_clock(stream, to).await;
        }
        None
    }

    /// A peer that is not trusted gets no header and no path of the user's: only its Date is wanted, to compare clocks.
    async fn read_its_clock(&self, stream: TlsStream, to: SocketAddr) {
        let asked = Instant::now();
        let host = self.host_header();
        let ask = HttpAsk {
            to,
            method: "HEAD",
            host_header: &host,
            path_and_query: "/",
            headers: &[],
            body: None,
            accept_encoding: false,
            wait: self.within(Duration::from_secs(2)),
            body_limit: 0,
            body_wait: Duration::from_millis(100),
            purpose: "clock",
            expect_body: None,
            shown_url: &format!("https://{host}/"),
            now_unix: now_unix(),
        };
        let answer = exchange(Connection::Tls(stream), &ask).await;
        self.rec.note(asked, answer);
    }

    /// For `tls://`: a TLS 1.3 server judges the client's certificate only after the client is done.
    async fn after_handshake(&self, connection: Connection, to: SocketAddr, turn: Turn<'_>) {
        let Connection::Tls(mut stream) = connection else { return };
        let asked = Instant::now();
        let Some(outcome @ TlsOutcome::Alert { .. }) = stream.ended(self.within(Duration::from_millis(60))).await else { return };
        let offer = TlsOffer {
            name: turn.purpose.to_owned(),
            sni: None,
            alpn: Vec::new(),
            versions: Vec::new(),
            hello_bytes: None,
            clamped_mss: turn.clamped_mss,
        };
        self.rec.note(asked, TlsHandshake { to, role: Role::Target, offer, outcome, tcp: None });
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
            body_wait: self.within(BODY_WAIT),
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

    fn host_header(&self) -> String {
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
        let clamped_turn = self.turn(to, CLAMPED, &clamped);
        let again_turn = async {
            // Twice the time in which the clamped one passed is enough to call the plain one stuck.
            let _ = tokio::time::timeout(Duration::from_millis(2_200), self.turn(to, AGAIN, &again)).await;
        };
        let bounded = tokio::time::timeout(Duration::from_millis(2_200), clamped_turn);
        tokio::join!(
            async {
                let _ = bounded.await;
            },
            again_turn
        );
        clamped.get() == Stage::Done && again.get() != Stage::Done
    }

    async fn turn(&self, to: SocketAddr, turn: Turn<'_>, stage: &Cell<Stage>) {
        if let Some(stream) = self.reopen(to, Duration::from_secs(2), turn.clamped_mss).await {
            self.talk(stream, to, turn, stage).await;
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
                Seen::TlsHandshake(tls) if tls.offer.name == "default" => Some(!matches!(tls.outcome, TlsOutcome::Done { .. })),
                _ => None,
            })
        });
        let (mute, unanswered) = self.rec.look(|seen| (seen.iter().any(mute), seen.iter().any(unanswered)));
        if mute {
            // Every connection to a service that does not accept stays in its queue: a few of ours show whether it is short, many would fill
            // any, and the next check would find our own doing.
            self.listen_queue_pattern(to, FEW_CONNECTS).await;
        }
        if unanswered {
            tokio::join!(self.interposition(to), self.the_other_way(to, mute));
        }
        if failed_tls == Some(true) {
            self.other_offers(to).await;
        }
        let answer = self.rec.look(|seen| {
            seen.iter().rev().find_map(|o| match &o.seen {
                Seen::HttpExchange(http) if http.purpose == "default" => Some(http.clone()),
                _ => None,
            })
        });
        let Some(answer) = answer else { return };
        self.follow_redirects(&answer).await;
        self.sample(answer).await;
    }

    /// Plain text that gets no answer is followed by a hello, and a hello by plain text: the port may be of the other kind.
    async fn the_other_way(&self, to: SocketAddr, mute: bool) {
        if !self.target.scheme.uses_tls() {
            // What is no TLS record ends a TLS session at once: a mute service is none.
            if !mute {
                self.other_offer(to, OfferKind::AllCiphers).await;
            }
        } else if mute && !self.rec.look(|seen| seen.iter().any(|o| matches!(o.seen, Seen::HttpExchange(_)))) {
            let asked = Instant::now();
            let Some(stream) = self.reopen(to, OFFER_WAIT, None).await else { return };
            let answer = plain_request(stream, to, self.within(OFFER_WAIT)).await;
            self.rec.note(asked, answer);
        }
    }

    /// One trait of the ClientHello changed at a time: version, SNI, size.
    async fn other_offers(&self, to: SocketAddr) {
        let kinds = [
            OfferKind::Only(TlsVersion::V10),
            OfferKind::Only(TlsVersion::V11),
            OfferKind::Only(TlsVersion::V12),
            OfferKind::Only(TlsVersion::V13),
            OfferKind::AllCiphers,
            OfferKind::NoSni,
            OfferKind::OtherSni,
            OfferKind::NoAlpn,
            OfferKind::ShortHello,
        ];
        join_all(kinds.into_iter().map(|kind| self.other_offer(to, kind))).await;
    }

    async fn other_offer(&self, to: SocketAddr, kind: OfferKind) {
        let asked = Instant::now();
        let Some(stream) = self.reopen(to, OFFER_WAIT, None).await else { return };
        let alpn: &[&str] = if self.target.scheme.uses_http() { &ALPN_HTTP } else { &[] };
        let wait = self.within(OFFER_WAIT);
        let ask = OfferAsk { to, role: Role::Target, kind, name: &self.target.host, alpn, wait, clamped_mss: None };
        let answer = offer(stream, &ask).await;
        self.rec.note(asked, answer);
    }

    /// Redirects within the same host are followed; one to another host is shown and left to the user.
    async fn follow_redirects(&self, first: &HttpExchange) {
        let scheme = self.target.scheme.name();
        let mut url = format!("{scheme}://{}{}", self.target.host_port(), self.options.request_path);
        let mut answer = first.clone();
        let mut visited = Vec::new();
        for _ in 0..MOST_REDIRECTS {
            visited.push(url.clone());
            let Some(next) = redirect_within(&url, &answer) else {
                self.circle_over_plain_text(&visited, &answer).await;
                return;
            };
            let Some(connection) = self.connection(answer.to).await else { return };
            let path = match next.query() {
                Some(query) => format!("{}?{query}", next.path()),
                None => next.path().to_owned(),
            };
            let wait = self.within(self.options.request_wait.min(HTTP_PATIENCE));
            answer = self.request_path(connection, answer.to, "redirect", &path, next.as_str(), wait).await;
            url = next.to_string();
        }
    }

    /// A redirect from https to http of the same host is usually sent back to https: where that closes a circle, it is recorded. Nothing of
    /// the user's but the path goes over plain text.
    async fn circle_over_plain_text(&self, visited: &[String], answer: &HttpExchange) {
        let Some(next) = visited.last().and_then(|url| redirect_to_plain_text(url, answer)) else { return };
        let Some(port) = next.port_or_known_default() else { return };
        let to = SocketAddr::new(answer.to.ip(), port);
        let Some(stream) = self.reopen(to, Duration::from_secs(1), None).await else { return };
        let path = next.query().map_or_else(|| next.path().to_owned(), |query| format!("{}?{query}", next.path()));
        let name = next.host_str().unwrap_or(&self.target.host);
        let host = next.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let ask = HttpAsk {
            to,
            method: "GET",
            host_header: &host,
            path_and_query: &path,
            headers: &[],
            body: None,
            accept_encoding: true,
            wait: self.within(Duration::from_secs(2)),
            body_limit: 0,
            body_wait: Duration::from_millis(100),
            purpose: "redirect",
            expect_body: None,
            shown_url: next.as_str(),
            now_unix: now_unix(),
        };
        let asked = Instant::now();
        let back = exchange(Connection::Plain(stream), &ask).await;
        if location(next.as_str(), &back).is_some_and(|url| visited.iter().any(|seen| url::Url::parse(seen).is_ok_and(|seen| seen == url)))
        {
            self.rec.note(asked, back);
        }
    }

    /// A fresh connection, with TLS when the scheme has it; not recorded.
    async fn connection(&self, to: SocketAddr) -> Option<Connection> {
        let stream = self.reopen(to, Duration::from_secs(2), None).await?;
        if !self.target.scheme.uses_tls() {
            return Some(Connection::Plain(stream));
        }
        let ask = TlsAsk {
            to,
            role: Role::Target,
            name: &self.target.host,
            sni: true,
            alpn: &ALPN_HTTP,
            store: self.store()?,
            wait: self.within(Duration::from_secs(3)),
            now_unix: now_unix(),
            offer_name: "sample",
            clamped_mss: None,
        };
        let result = handshake(stream, &ask).await;
        let trusted = result.chain.as_ref().is_some_and(acceptable);
        result.stream.filter(|_| trusted).map(Connection::Tls)
    }

    /// One of several equal requests. It is given far longer than the first one took, but not so long that it uses up the time of the others.
    async fn sample_request(&self, connection: Connection, to: SocketAddr, first_ms: f64) -> HttpExchange {
        let patience = SAMPLE_PATIENCE.max(Duration::from_secs_f64((first_ms * 3.0 / 1_000.0).clamp(0.0, 60.0)));
        // The rows are noted at the end: the last request must not meet the end of the budget.
        let wait = self.within(patience.saturating_add(KEPT_FOR_ROWS)).saturating_sub(KEPT_FOR_ROWS);
        self.request_path(connection, to, "sample", &self.options.request_path, &self.target.input, wait).await
    }

    fn second_try_answered(&self) -> bool {
        self.rec.look(|seen| {
            seen.iter().any(|o| match &o.seen {
                Seen::HttpExchange(http) => http.purpose == "second-try" && matches!(http.outcome, HttpOutcome::Response(_)),
                _ => false,
            })
        })
    }

    /// Equal requests: as many as the user wants, or a few after a server error.
    async fn sample(&self, first: HttpExchange) {
        // Silence on one connection and an answer on the next: some of the answers may be missing for good.
        let silent_once = matches!(first.outcome, HttpOutcome::Silent { .. }) && self.second_try_answered();
        let failed = server_error(&first) || silent_once;
        let idempotent = ["GET", "HEAD"].iter().any(|method| self.options.method.eq_ignore_ascii_case(method));
        let extra = match self.options.samples {
            0 | 1 if failed && idempotent => AFTER_ERROR,
            0 | 1 => return,
            wanted => wanted.saturating_sub(1).min(999),
        };
        let started = Instant::now();
        let mut rows: Vec<(SampleRow, Vec<f64>)> = Vec::new();
        let first_ms = match &first.outcome {
            HttpOutcome::Response(response) => response.ttfb_ms,
            _ => 0.0,
        };
        count(&mut rows, &first, first_ms);
        for _ in 0..extra {
            if self.within(Duration::from_secs(1)) < Duration::from_secs(1) {
                break;
            }
            let asked = Instant::now();
            let answer = match self.connection(first.to).await {
                Some(connection) => self.sample_request(connection, first.to, first_ms).await,
                None => HttpExchange { outcome: HttpOutcome::NoConnection { why: "no connection".to_owned() }, ..first.clone() },
            };
            count(&mut rows, &answer, ms(asked.elapsed()));
        }
        let rows: Vec<SampleRow> = rows.into_iter().map(|(row, times)| SampleRow { median_ms: median(times), ..row }).collect();
        let tried = rows.iter().map(|row| row.count).sum();
        self.rec.note(started, HttpSamples { tried, rows });
    }
}

/// Trusted, or broken only in ways that do not make it another server: still no secrets are sent to it.
fn acceptable(chain: &faultmap_model::observation::TlsChain) -> bool {
    let now = chain.now_unix;
    let valid = chain.certificates.first().is_some_and(|leaf| leaf.not_before_unix <= now && now <= leaf.not_after_unix);
    chain.trust == Trust::Trusted && chain.name_matches && valid
}

/// The first conversation got silence.
fn mute(observation: &Observation) -> bool {
    match &observation.seen {
        Seen::TlsHandshake(tls) => tls.offer.name == "default" && matches!(tls.outcome, TlsOutcome::Silent { .. }),
        Seen::HttpExchange(http) => http.purpose == "default" && matches!(http.outcome, HttpOutcome::Silent { .. }),
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

fn server_error(answer: &HttpExchange) -> bool {
    match &answer.outcome {
        HttpOutcome::Response(response) => response.status >= 500,
        HttpOutcome::Closed { .. } | HttpOutcome::Reset { .. } => true,
        _ => false,
    }
}

/// Where the answer redirects to, when that is the same host, port and scheme.
fn redirect_within(url: &str, answer: &HttpExchange) -> Option<url::Url> {
    let base = url::Url::parse(url).ok()?;
    let next = location(url, answer)?;
    let same = next.scheme() == base.scheme()
        && next.host_str() == base.host_str()
        && next.port_or_known_default() == base.port_or_known_default();
    same.then_some(next)
}

/// Where the answer redirects to, when that is the same host without TLS.
fn redirect_to_plain_text(url: &str, answer: &HttpExchange) -> Option<url::Url> {
    let base = url::Url::parse(url).ok()?;
    let next = location(url, answer)?;
    (base.scheme() == "https" && next.scheme() == "http" && base.host_str() == next.host_str()).then_some(next)
}

/// Where the answer redirects to.
fn location(url: &str, answer: &HttpExchange) -> Option<url::Url> {
    let HttpOutcome::Response(response) = &answer.outcome else { return None };
    if !(300..400).contains(&response.status) {
        return None;
    }
    url::Url::parse(url).ok()?.join(response.header("location")?).ok()
}

/// Headers that name the backend that answered, most specific first.
const BACKEND_MARKERS: [&str; 7] = ["x-backend", "x-served-by", "x-backend-server", "x-instance", "x-pod", "x-upstream", "server"];

fn count(rows: &mut Vec<(SampleRow, Vec<f64>)>, answer: &HttpExchange, took_ms: f64) {
    let (outcome, failed) = match &answer.outcome {
        HttpOutcome::Response(response) => (response.status.to_string(), response.status >= 500),
        HttpOutcome::Malformed { .. } => ("malformed".to_owned(), true),
        HttpOutcome::Closed { .. } => ("closed".to_owned(), true),
        HttpOutcome::Reset { .. } => ("reset".to_owned(), true),
        HttpOutcome::Silent { .. } => ("timeout".to_owned(), true),
        HttpOutcome::Alert { name, .. } => (format!("alert {name}"), true),
        HttpOutcome::NoConnection { why } => (why.clone(), true),
    };
    let backend = match &answer.outcome {
        HttpOutcome::Response(response) => {
            BACKEND_MARKERS.iter().find_map(|name| response.header(name).map(|value| format!("{name}: {value}")))
        }
        _ => None,
    };
    match rows.iter_mut().find(|(row, _)| row.outcome == outcome && row.to == answer.to && row.backend == backend) {
        Some((row, times)) => {
            row.count += 1;
            times.push(took_ms);
        }
        None => rows.push((SampleRow { outcome, failed, to: answer.to, backend, count: 1, median_ms: 0.0 }, vec![took_ms])),
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}
