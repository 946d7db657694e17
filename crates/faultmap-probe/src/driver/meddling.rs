//! Does somebody on the way meddle? Controls beside a conversation that looks as if: handshakes for names that cannot exist, a request to an
//! address that nobody has, and a ClientHello of the length that clients of today send.
//!
//! What is sent goes to the target, to the configured resolver, or to an address reserved for documentation (RFC 5737, RFC 3849); nothing of
//! the user's goes with it.

use super::split::nobody_of;
use super::{Check, now_unix};
use crate::dns::{self, DnsAsk};
use crate::http::{Connection, HttpAsk, exchange};
use crate::questions::{ConnectAsk, connect};
use crate::tls::{OfferKind, TlsAsk, handshake};
use faultmap_model::observation::{
    ConnectOutcome, HttpOutcome, HttpResponse, RecordType, Role, RouteOutcome, TlsControl, TlsOutcome, Transport, Trust,
};
use faultmap_model::{Observation, Seen};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const NOBODY_WAIT: Duration = Duration::from_millis(400);
const CONTROL_WAIT: Duration = Duration::from_millis(1_500);
/// Segments far below any limit of a path.
const SMALL_MSS: u32 = 536;

impl Check<'_> {
    /// The chain is not trusted: does its issuer have certificates for any name, or at any address?
    pub(super) async fn intercept_control(&self, to: SocketAddr) {
        // Where TLS begins within another protocol, a hello from the first byte shows nothing.
        if self.target.scheme.upgrades_to_tls() {
            return;
        }
        let host = &self.target.host;
        let doubtful = |o: &Observation| matches!(&o.seen, Seen::TlsChain(chain) if chain.name == *host && chain.trust != Trust::Trusted);
        if !self.rec.look(|seen| seen.iter().any(doubtful)) {
            return;
        }
        let name = impossible_name();
        let other_name = async {
            let Some(stream) = self.reopen(to, CONTROL_WAIT, None).await else { return };
            self.tls_control(stream, to, &name, "other-name").await;
        };
        let nobodys = async {
            let Some(nobody) = self.nobody(to.ip()) else { return };
            let at = SocketAddr::new(nobody, 443);
            let Some(stream) = connect(&ConnectAsk::new(at, Role::Control, self.within(NOBODY_WAIT))).await.1 else { return };
            self.tls_control(stream, at, &name, "nobody").await;
        };
        tokio::join!(other_name, nobodys);
    }

    async fn tls_control(&self, stream: TcpStream, to: SocketAddr, name: &str, purpose: &str) {
        let Some(store) = self.store() else { return };
        let asked = Instant::now();
        let ask = TlsAsk {
            to,
            role: Role::Control,
            name,
            sni: true,
            alpn: &[],
            store,
            wait: self.within(CONTROL_WAIT),
            now_unix: now_unix(),
            offer_name: purpose,
            clamped_mss: None,
        };
        let chain = handshake(stream, &ask).await.chain;
        let name_matches = chain.as_ref().is_some_and(|chain| chain.name_matches);
        let certificates = chain.map(|chain| chain.certificates).unwrap_or_default();
        self.rec.note(asked, TlsControl { to, purpose: purpose.to_owned(), name: name.to_owned(), certificates, name_matches });
    }

    /// An address that nobody has, if packets to it would leave by the target's router.
    fn nobody(&self, beside: IpAddr) -> Option<IpAddr> {
        let routed = matches!(self.approach(beside, Role::Target), RouteOutcome::Found { gateway: Some(_), .. });
        (routed && self.proxy().is_none()).then(|| nobody_of(beside))
    }

    /// What answers is not the target, or sends us away: does the network answer in everybody's name?
    pub(super) async fn portal_control(&self) {
        if !self.target.scheme.uses_http() || self.proxy().is_some() || !self.rec.look(|seen| self.looks_misled(seen)) {
            return;
        }
        let Some(beside) = self.rec.look(first_address) else { return };
        tokio::join!(self.ask_nobody(beside), self.ask_for_nothing());
    }

    /// A request to an address that nobody has.
    async fn ask_nobody(&self, beside: IpAddr) {
        let Some(nobody) = self.nobody(beside) else { return };
        let to = SocketAddr::new(nobody, 80);
        let Some(stream) = connect(&ConnectAsk::new(to, Role::Control, self.within(NOBODY_WAIT))).await.1 else { return };
        let asked = Instant::now();
        let host = if nobody.is_ipv6() { format!("[{nobody}]") } else { nobody.to_string() };
        let ask = HttpAsk {
            to,
            method: "GET",
            host_header: &host,
            path_and_query: "/",
            headers: &[],
            body: None,
            accept_encoding: false,
            wait: self.within(CONTROL_WAIT),
            body_limit: 8 * 1024,
            body_wait: Duration::from_millis(500),
            purpose: "nobody",
            expect_body: None,
            shown_url: &format!("http://{host}/"),
            now_unix: now_unix(),
        };
        let answer = exchange(Connection::Plain(stream), &ask).await;
        self.rec.note(asked, answer);
    }

    /// The address of a name that cannot exist, by the first resolver.
    async fn ask_for_nothing(&self) {
        if self.target.literal().is_some() {
            return;
        }
        let Some(resolver) = dns::config().resolvers.first().copied() else { return };
        let name = impossible_name();
        let wait = self.within(CONTROL_WAIT);
        let ask = DnsAsk { wait, ..DnsAsk::new(resolver, Role::Control, Transport::Udp, &name, RecordType::A) };
        self.rec.ask(dns::query(&ask)).await;
    }

    /// A redirect to another host by plain HTTP, a page that speaks of a login, another's certificate, or no TLS where TLS should be.
    fn looks_misled(&self, seen: &[Observation]) -> bool {
        let host = self.target.host.to_lowercase();
        let plain = self.target.scheme == faultmap_model::Scheme::Http;
        seen.iter().any(|o| match &o.seen {
            Seen::HttpExchange(http) if plain && http.purpose == "default" => match &http.outcome {
                HttpOutcome::Response(response) => sent_away(response, &host) || wants_login(response),
                _ => false,
            },
            Seen::TlsChain(chain) => !chain.name_matches || chain.trust != Trust::Trusted,
            Seen::TlsHandshake(tls) if tls.offer.name == "default" => !matches!(tls.outcome, TlsOutcome::Done { .. }),
            Seen::TcpConnect(connect) if connect.role == Role::Target => {
                self.target.scheme.uses_tls() && !matches!(connect.outcome, ConnectOutcome::Connected { .. })
            }
            _ => false,
        })
    }

    /// Clients with post-quantum key exchange send a hello of two segments: some boxes lose it. One such is offered beside every good handshake;
    /// if it stays unanswered, others tell whether length, segments or the path's size limit is the matter.
    pub(super) async fn long_hello(&self, to: SocketAddr) {
        let done = |o: &Observation| matches!(&o.seen, Seen::TlsHandshake(tls) if tls.offer.name == "default" && matches!(tls.outcome, TlsOutcome::Done { .. }));
        if self.target.scheme.upgrades_to_tls() || !self.rec.look(|seen| seen.iter().any(done)) {
            return;
        }
        let Some(first) = self.hello(to, OfferKind::LongHello, None).await else { return };
        if !matches!(first, TlsOutcome::Silent { .. } | TlsOutcome::Reset { .. } | TlsOutcome::Closed { .. }) {
            return;
        }
        tokio::join!(
            self.hello(to, OfferKind::LongHello, None),
            self.hello(to, OfferKind::LongHello, Some(SMALL_MSS)),
            self.hello(to, OfferKind::SplitHello, None),
            self.hello(to, OfferKind::Ordinary, None),
        );
    }
}

fn first_address(seen: &[Observation]) -> Option<IpAddr> {
    seen.iter().find_map(|o| match &o.seen {
        Seen::TcpConnect(connect) if connect.role == Role::Target => Some(connect.to.ip()),
        _ => None,
    })
}

/// A redirect to another host.
fn sent_away(response: &HttpResponse, host: &str) -> bool {
    let to = response.header("location").and_then(|location| url::Url::parse(location).ok());
    (300..400).contains(&response.status) && to.and_then(|to| to.host_str().map(str::to_lowercase)).is_some_and(|to| to != host)
}

/// A page that a portal might show in the place of any other.
fn wants_login(response: &HttpResponse) -> bool {
    const WORDS: [&str; 7] = ["captive", "portal", "hotspot", "wi-fi", "wifi", "log in", "login"];
    let said = response.body.excerpt.to_lowercase();
    response.status == 200 && response.body.sniffed == "html" && WORDS.iter().any(|word| said.contains(word))
}

/// A name that nobody can have (RFC 6761 6.4), new each time, so that no cache knows it.
fn impossible_name() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("faultmap-{:08x}.invalid", since.as_nanos() & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(status: u16, to: &str) -> HttpResponse {
        HttpResponse { status, headers: vec![("location".to_owned(), to.to_owned())], ..HttpResponse::default() }
    }

    #[test]
    fn only_a_redirect_to_another_host_sends_away() {
        for (status, to, away) in [
            (302, "http://portal.wifi/login", true),
            (302, "https://shop.test/", false),
            (302, "/login", false),
            (200, "http://portal.wifi/", false),
            (302, "http://SHOP.test/x", false),
        ] {
            assert_eq!(sent_away(&redirect(status, to), "shop.test"), away, "{status} {to}");
        }
    }
}
