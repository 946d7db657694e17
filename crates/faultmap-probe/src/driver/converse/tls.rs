//! The TLS part of a conversation: the handshake, the peer's clock when it is not trusted, and the hellos tried beside a failed one.

use super::{OFFER_WAIT, Turn};
use crate::dialogue::up_to_tls;
use crate::driver::{Check, now_unix};
use crate::http::{Connection, HttpAsk, exchange};
use crate::tls::{OfferAsk, OfferKind, TlsAsk, TlsVersion, handshake, offer, plain_request};
use faultmap_model::observation::{Role, TlsHandshake, TlsOffer, TlsOutcome, Trust};
use faultmap_model::{Observation, Scheme, Seen};
use futures_util::future::join_all;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// A mute TLS server is concluded after this.
const TLS_PATIENCE: Duration = Duration::from_millis(4_500);

/// What is offered by ALPN (RFC 7301). gRPC is HTTP/2 only; a WebSocket upgrade is HTTP/1.1 only.
pub(in crate::driver) const fn alpn(scheme: Scheme) -> &'static [&'static str] {
    match scheme {
        Scheme::Https | Scheme::Http => &["h2", "http/1.1"],
        Scheme::Grpcs | Scheme::Grpc => &["h2"],
        Scheme::Wss | Scheme::Ws => &["http/1.1"],
        _ => &[],
    }
}

impl Check<'_> {
    /// The offer of an ordinary client.
    pub(super) fn tls_ask<'a>(&'a self, to: SocketAddr, turn: Turn<'a>) -> Option<TlsAsk<'a>> {
        Some(TlsAsk {
            to,
            role: Role::Target,
            name: &self.target.host,
            sni: true,
            alpn: alpn(self.target.scheme),
            store: self.store()?,
            wait: self.within(self.options.tls_wait.min(TLS_PATIENCE)),
            now_unix: now_unix(),
            offer_name: turn.purpose,
            clamped_mss: turn.clamped_mss,
        })
    }

    /// The handshake; the session comes back only when the peer may be spoken to.
    pub(super) async fn secure(&self, stream: TcpStream, to: SocketAddr, turn: Turn<'_>) -> Option<Connection> {
        let asked = Instant::now();
        let ask = self.tls_ask(to, turn)?;
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
            // A peer that is not trusted: only its Date is wanted, to compare clocks.
            self.head_of_root(Connection::Tls(stream), to, "clock", Duration::from_secs(2)).await;
        }
        None
    }

    /// `HEAD /`, with no header and no path of the user's.
    pub(super) async fn head_of_root(&self, connection: Connection, to: SocketAddr, purpose: &str, wait: Duration) {
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
            wait: self.within(wait),
            body_limit: 0,
            body_wait: Duration::from_millis(100),
            purpose,
            expect_body: None,
            shown_url: &format!("https://{host}/"),
            now_unix: now_unix(),
        };
        let answer = exchange(connection, &ask).await;
        self.rec.note(asked, answer);
    }

    /// For `tls://`: a TLS 1.3 server judges the client's certificate only after the client is done.
    pub(super) async fn after_handshake(&self, connection: Connection, to: SocketAddr, turn: Turn<'_>) {
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

    /// Plain text that gets no answer is followed by a hello, and a hello by plain text: the port may be of the other kind.
    pub(super) async fn the_other_way(&self, to: SocketAddr, mute: bool) {
        if !self.target.scheme.uses_tls() {
            if self.own_protocol().is_some() {
                self.other_protocols(to).await;
            } else if !mute {
                // What is no TLS record ends a TLS session at once: a mute service is none.
                self.bare_offer(to, OfferKind::AllCiphers).await;
            }
        } else if mute && !self.rec.look(|seen| seen.iter().any(|o| matches!(o.seen, Seen::HttpExchange(_)))) {
            let asked = Instant::now();
            let Some(stream) = self.reopen(to, OFFER_WAIT, None).await else { return };
            let answer = plain_request(stream, to, self.within(OFFER_WAIT)).await;
            self.rec.note(asked, answer);
        }
    }

    /// One trait of the ClientHello changed at a time: version, SNI, size. A service that keeps three of them waiting as it did the first gets no
    /// more: each would stay in its queue.
    pub(super) async fn other_offers(&self, to: SocketAddr, mute: bool) {
        const FIRST: [OfferKind; 3] = [OfferKind::ShortHello, OfferKind::OtherSni, OfferKind::NoSni];
        const REST: [OfferKind; 6] = [
            OfferKind::Only(TlsVersion::V10),
            OfferKind::Only(TlsVersion::V11),
            OfferKind::Only(TlsVersion::V12),
            OfferKind::Only(TlsVersion::V13),
            OfferKind::AllCiphers,
            OfferKind::NoAlpn,
        ];
        let offers = async |kinds: &'static [OfferKind]| {
            // Small servers have a backlog of five: no more than three of ours wait in it.
            for few in kinds.chunks(3) {
                join_all(few.iter().map(|kind| self.other_offer(to, *kind))).await;
            }
        };
        offers(&FIRST).await;
        if !mute {
            offers(&REST).await;
            return;
        }
        let answered = |o: &Observation| match &o.seen {
            Seen::TlsHandshake(tls) => {
                FIRST.iter().any(|kind| kind.name() == tls.offer.name) && !matches!(tls.outcome, TlsOutcome::Silent { .. })
            }
            _ => false,
        };
        if self.rec.look(|seen| seen.iter().any(answered)) {
            offers(&REST).await;
        }
    }

    /// An offer beside a handshake that succeeded.
    pub(in crate::driver) async fn hello(&self, to: SocketAddr, kind: OfferKind, clamped_mss: Option<u32>) -> Option<TlsOutcome> {
        let asked = Instant::now();
        let stream = self.reopen(to, OFFER_WAIT, clamped_mss).await?;
        let wait = self.within(OFFER_WAIT);
        let ask = OfferAsk { to, role: Role::Target, kind, name: &self.target.host, alpn: alpn(self.target.scheme), wait, clamped_mss };
        let answer = offer(stream, &ask).await;
        self.rec.note(asked, answer.clone());
        Some(answer.outcome)
    }

    /// In the protocol's own way into TLS, where it has one.
    async fn other_offer(&self, to: SocketAddr, kind: OfferKind) {
        let asked = Instant::now();
        let Some(mut stream) = self.reopen(to, OFFER_WAIT, None).await else { return };
        if let Some(protocol) = self.target.scheme.dialogue().filter(|_| self.target.scheme.upgrades_to_tls()) {
            let Some(consented) = up_to_tls(stream, protocol, self.within(OFFER_WAIT)).await else { return };
            stream = consented;
        }
        self.offer_on(stream, to, kind, asked).await;
    }

    /// With TLS from the first byte.
    pub(super) async fn bare_offer(&self, to: SocketAddr, kind: OfferKind) {
        let asked = Instant::now();
        let Some(stream) = self.reopen(to, OFFER_WAIT, None).await else { return };
        self.offer_on(stream, to, kind, asked).await;
    }

    async fn offer_on(&self, stream: TcpStream, to: SocketAddr, kind: OfferKind, asked: Instant) {
        let wait = self.within(OFFER_WAIT);
        let ask =
            OfferAsk { to, role: Role::Target, kind, name: &self.target.host, alpn: alpn(self.target.scheme), wait, clamped_mss: None };
        let answer = offer(stream, &ask).await;
        self.rec.note(asked, answer);
    }

    /// A fresh connection, with TLS when the scheme has it; not recorded.
    pub(in crate::driver) async fn connection(&self, to: SocketAddr) -> Option<Connection> {
        let stream = self.reopen(to, Duration::from_secs(2), None).await?;
        if !self.target.scheme.uses_tls() {
            return Some(self.plain(stream));
        }
        let ask = TlsAsk {
            to,
            role: Role::Target,
            name: &self.target.host,
            sni: true,
            alpn: alpn(self.target.scheme),
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
}

/// Trusted, or broken only in ways that do not make it another server: still no secrets are sent to it.
pub(in crate::driver) fn acceptable(chain: &faultmap_model::observation::TlsChain) -> bool {
    let now = chain.now_unix;
    let valid = chain.certificates.first().is_some_and(|leaf| leaf.not_before_unix <= now && now <= leaf.not_after_unix);
    chain.trust == Trust::Trusted && chain.name_matches && valid
}
