//! The check through a proxy: which address is connected in the target's place, the tunnel on it, and what is asked when there is none.
//!
//! Each hop is looked at on its own. A proxy that keeps a request waiting is asked a question that it must answer itself; beside a failure the
//! direct way is tried with plain connects, to say whether NO_PROXY would help.

use super::reach::Opened;
use super::{Check, now_unix, wanted};
use crate::dns;
use crate::http::{Connection, Forward, HttpAsk, exchange};
use crate::proxy::{Choice, Proxy, TunnelAsk, alive, tunnel};
use crate::questions::{ConnectAsk, connect};
use faultmap_model::Seen;
use faultmap_model::observation::{HttpExchange, HttpOutcome, ProxyBypass, ProxyProtocol, ProxyTunnel, Role, TunnelOutcome};
use futures_util::future::join_all;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// A proxy waits for the target's handshake, in its turn: this much is enough to call it silent.
const TUNNEL_PATIENCE: Duration = Duration::from_secs(6);
/// No answer for so long makes us ask beside it.
const TUNNEL_STALL: Duration = Duration::from_millis(1_500);
const ALIVE_WAIT: Duration = Duration::from_millis(2_500);
const BYPASS_WAIT: Duration = Duration::from_millis(1_200);
/// A name that cannot exist (RFC 6761 6.4): what a proxy answers for it, it writes itself.
const NO_SUCH_HOST: &str = "faultmap.invalid";

impl Check<'_> {
    /// The proxy that is gone through.
    pub(super) fn proxy(&self) -> Option<&Proxy> {
        match &self.options.proxy {
            Choice::Via(proxy) => Some(proxy),
            Choice::Direct | Choice::Exempt { .. } => None,
        }
    }

    /// The host that is connected: the proxy's, or the target's own.
    pub(super) fn near_host(&self) -> &str {
        self.proxy().map_or(&self.target.host, |proxy| &proxy.host)
    }

    /// Its port.
    pub(super) fn near_port(&self) -> u16 {
        self.proxy().map_or(self.target.port, |proxy| proxy.port)
    }

    /// Records which proxy is used, or why a configured one is not.
    pub(super) fn note_proxy(&self) {
        let choice = match &self.options.proxy {
            Choice::Direct => return,
            Choice::Exempt { proxy, entry } => proxy.shown(Some(entry.clone())),
            Choice::Via(proxy) => proxy.shown(None),
        };
        self.rec.note(Instant::now(), choice);
    }

    /// `socks5://` wants an address: the target's name is resolved here too. False when it has none.
    pub(super) async fn resolve_far(&self) -> bool {
        if self.proxy().is_none_or(|proxy| proxy.protocol != ProxyProtocol::Socks5) {
            return true;
        }
        let resolved = self.resolve(&self.target.host).await;
        self.far.set(resolved.addresses.first().copied());
        if self.far.get().is_none() {
            resolved.rest.await;
        }
        self.far.get().is_some()
    }

    /// A connection without TLS, as it is used for requests.
    pub(super) fn plain(&self, stream: TcpStream) -> Connection {
        match self.proxy().filter(|proxy| proxy.forwards) {
            Some(proxy) => Connection::Forwarded(stream, Forward { authorization: proxy.authorization() }),
            None => Connection::Plain(stream),
        }
    }

    /// Asks the proxy for the tunnel of the first conversation; without a proxy, or where it passes requests on, nothing is asked.
    pub(super) async fn through_proxy(&self, opened: Opened) -> Option<Opened> {
        let Some(proxy) = self.proxy().filter(|proxy| !proxy.forwards) else { return Some(opened) };
        let to = opened.to;
        let asked = Instant::now();
        let wait = self.within(self.options.connect_wait.min(TUNNEL_PATIENCE));
        let far = self.far_host();
        let ask = TunnelAsk { to, proxy, host: &far, port: self.target.port, wait, purpose: "default" };
        let asking = tunnel(opened.stream, &ask);
        tokio::pin!(asking);
        let early = tokio::time::timeout(TUNNEL_STALL.min(wait), &mut asking).await;
        let stalled = early.is_err();
        let (answer, stream) = match early {
            Ok(done) => done,
            Err(_) => {
                let beside = async {
                    tokio::join!(self.ask_alive(to), self.bypass());
                };
                let (done, ()) = tokio::join!(&mut asking, beside);
                done
            }
        };
        self.rec.note(asked, answer);
        if stream.is_none() && !stalled {
            self.bypass().await;
        }
        stream.map(|stream| Opened { to, stream })
    }

    /// The tunnel of a further connection: not recorded, for the first has shown what the proxy makes of it.
    pub(super) async fn tunnel_again(&self, stream: TcpStream, to: SocketAddr, wait: Duration) -> Option<TcpStream> {
        let Some(proxy) = self.proxy().filter(|proxy| !proxy.forwards) else { return Some(stream) };
        let far = self.far_host();
        let ask = TunnelAsk { to, proxy, host: &far, port: self.target.port, wait: self.within(wait), purpose: "again" };
        tunnel(stream, &ask).await.1
    }

    /// The target as the proxy is told it.
    fn far_host(&self) -> String {
        self.far.get().map_or_else(|| self.target.host.clone(), |ip| ip.to_string())
    }

    /// A request that was passed on, and failed or stays unanswered: is it the proxy that says so?
    pub(super) async fn examine_forwarding(&self, to: SocketAddr) {
        if self.proxy().is_none_or(|proxy| !proxy.forwards) {
            return;
        }
        let answer = self.rec.look(|seen| {
            seen.iter().rev().find_map(|o| match &o.seen {
                Seen::HttpExchange(http) if http.purpose == "default" => Some(http.clone()),
                _ => None,
            })
        });
        match answer.map(|http: HttpExchange| http.outcome) {
            Some(HttpOutcome::Response(response)) if response.status < 400 => {}
            Some(HttpOutcome::Response(_)) => {
                tokio::join!(self.ask_for_nobody(to), self.bypass());
            }
            Some(_) => {
                tokio::join!(self.ask_alive(to), self.bypass());
            }
            None => {}
        }
    }

    /// A request for a name that cannot exist shows how the proxy's own errors look. Nothing of the user's goes with it.
    async fn ask_for_nobody(&self, to: SocketAddr) {
        let wait = self.within(ALIVE_WAIT);
        let Some(stream) = connect(&ConnectAsk::new(to, Role::Control, wait)).await.1 else { return };
        let asked = Instant::now();
        let ask = HttpAsk {
            to,
            method: "GET",
            host_header: NO_SUCH_HOST,
            path_and_query: "/",
            headers: &[],
            body: None,
            accept_encoding: false,
            wait,
            body_limit: 8 * 1024,
            body_wait: Duration::from_millis(500),
            purpose: "proxy-control",
            expect_body: None,
            shown_url: &format!("http://{NO_SUCH_HOST}/"),
            now_unix: now_unix(),
        };
        let answer = exchange(self.plain(stream), &ask).await;
        self.rec.note(asked, answer);
    }

    /// Does the proxy answer a question that is its own? (One that was configured for SOCKS may speak HTTP, and wait for a request.)
    async fn ask_alive(&self, to: SocketAddr) {
        let asked = Instant::now();
        let wait = self.within(ALIVE_WAIT);
        let answer = match connect(&ConnectAsk::new(to, Role::Control, wait)).await.1 {
            Some(stream) => alive(stream, to, wait).await,
            None => {
                let outcome = TunnelOutcome::NoConnection { why: "a second connection to the proxy does not open".to_owned() };
                ProxyTunnel { to, destination: "*".to_owned(), purpose: "alive".to_owned(), outcome, tcp: None }
            }
        };
        self.rec.note(asked, answer);
    }

    /// The proxy was never reached: is the direct way open?
    pub(super) async fn bypass_unreached(&self) {
        if self.proxy().is_some() && !self.something_connected() {
            self.bypass().await;
        }
    }

    /// The direct way: a lookup, and a plain connect to two addresses of the target.
    async fn bypass(&self) {
        let asked = Instant::now();
        let (host, port) = (self.target.host.clone(), self.target.port);
        let (mut addresses, error) = match self.target.literal() {
            Some(ip) => (vec![ip], None),
            None => {
                let lookup = dns::system(&host, self.within(BYPASS_WAIT)).await;
                (lookup.addresses, lookup.error)
            }
        };
        addresses.retain(|address| wanted(self.options, address));
        let addresses = dns::happy_eyeballs_order(&addresses);
        let attempt = |ip: &std::net::IpAddr| {
            let to = SocketAddr::new(*ip, port);
            let wait = self.within(BYPASS_WAIT);
            async move { (to, connect(&ConnectAsk::new(to, Role::Control, wait)).await.0.outcome) }
        };
        let connects = join_all(addresses.iter().take(2).map(attempt)).await;
        self.rec.note(asked, ProxyBypass { host, port, addresses, error, connects });
    }
}
