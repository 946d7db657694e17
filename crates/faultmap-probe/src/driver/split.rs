//! The questions that split the candidates of a failed attempt: other ports and protocols of the same host, walks, repeats, our own firewall.
//!
//! Gentle by rule: a handful of packets to four well-known control ports and one UDP port, never a scan.

use super::Check;
use crate::dns::{self, DnsAsk};
use crate::questions::{ConnectAsk, EchoAsk, WalkAsk, ack_probe, arp_probe, connect, echo, repeat, udp, walk};
use crate::sock::AnswerTap;
use faultmap_host::drops::{DropWatch, Scope};
use faultmap_model::observation::{
    ConnectOutcome, HopSaid, IcmpMeaning, IngressGap, LocalDrops, NeighborState, RecordType, Role, RouteOutcome, TcpConnect, Transport,
    WalkProtocol,
};
use faultmap_model::{Observation, Seen};
use futures_util::future::join_all;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Ports that serve as controls: two that are often open, one for administration, one (discard, RFC 863) that is almost always closed.
pub(super) const CONTROL_PORTS: [u16; 4] = [443, 80, 22, 9];
/// The UDP port of the classic traceroute: closed on most hosts, so that a live host answers "port unreachable".
pub(super) const CONTROL_UDP_PORT: u16 = 33_434;
/// Hops walked at the most.
const MOST_HOPS: u8 = 24;
const CONTROL_WAIT: Duration = Duration::from_millis(900);
const WALK_WAIT: Duration = Duration::from_millis(500);
/// Connects of the listen-queue test.
const REPEATS: u32 = 10;
/// The controls have answered by then, if they ever do, and the first walk is done.
const SIBLING_AFTER: Duration = Duration::from_millis(1_120);
/// A router reports a failed resolution after three seconds.
const SIBLING_WAIT: Duration = Duration::from_millis(3_300);
const REPEAT_WAIT: Duration = Duration::from_millis(900);
/// Whoever answers every handshake does it from nearer than the target.
const NOBODY_WAIT: Duration = Duration::from_millis(400);
const NOBODY_SLACK: Duration = Duration::from_millis(60);
/// One window of the ingress reading.
const INGRESS_WINDOW: Duration = Duration::from_millis(220);
/// A stale entry runs DELAY (5 s) and PROBE (3 s) before the kernel gives it up (net/core/neighbour.c).
const STALE_RUNS_OUT: Duration = Duration::from_millis(9_300);

/// The last SYN of a connect that stays silent, after its first.
const LAST_SYN: Duration = Duration::from_millis(3_150);
/// Two tokens of a router that refuses by a route.
const QUIET: Duration = Duration::from_millis(2_060);
const LAST_WORD_WAIT: Duration = Duration::from_millis(150);
/// Hops behind the last known one that are asked once more.
const LAST_HOPS: u8 = 3;
/// An answer to a fresh broadcast, and to the connect behind it.
const AFTER_GIVING_UP: Duration = Duration::from_millis(1_200);

impl Check<'_> {
    /// A TCP connect stays silent.
    pub(super) async fn split_silence(&self, to: SocketAddr) {
        let ip = to.ip();
        if self.is_local(ip) {
            self.listen_queue_pattern(to, REPEATS).await;
            return;
        }
        let main = async {
            let mut asked_queue = false;
            tokio::join!(
                self.walks(to, 2),
                async {
                    self.controls(to, CONTROL_WAIT).await;
                    if self.host_answered(ip) {
                        asked_queue = true;
                        self.listen_queue_pattern(to, REPEATS).await;
                    }
                },
                self.fresh_arp(ip, Duration::from_millis(500)),
                self.own_address_elsewhere(ip, Duration::from_millis(500)),
                self.bare_ack(to),
            );
            if !asked_queue && self.host_answered(ip) {
                self.listen_queue_pattern(to, REPEATS).await;
            }
            self.gateway_itself(ip).await;
            self.ingress_gap(to).await;
        };
        self.note_quiet_period(ip.is_ipv6());
        tokio::join!(main, self.sibling_walk(ip));
        self.last_word(to).await;
        self.wait_for_stale_neighbor(ip).await;
    }

    /// A router that refuses by a route may be out of errors: each costs it two of five tokens, of which it gets one a second, and each packet
    /// that meets it in between takes one in vain (`ip_error`, net/ipv4/route.c). After two quiet seconds it can speak again.
    async fn last_word(&self, to: SocketAddr) {
        let ip = to.ip();
        let routed = matches!(self.approach(ip, Role::Target), RouteOutcome::Found { gateway: Some(_), .. });
        let dead = |state| matches!(state, NeighborState::Failed | NeighborState::Incomplete | NeighborState::None);
        if self.host_answered(ip) || !routed || self.next_hop(ip).is_some_and(|(_, _, state)| dead(state)) {
            return;
        }
        let quiet_since = self.pending.borrow().iter().find(|(pending, _)| *pending == to).map(|(_, asked)| *asked + LAST_SYN);
        // A neighbouring address that the same router has just given up cost it an error too.
        let reported = self.rec.look(|seen| seen.iter().rev().take(8).any(|o| reports_missing(o, ip)));
        let quiet_since = if reported { Some(Instant::now()) } else { quiet_since };
        let Some(at) = quiet_since.map(|since| since + QUIET) else { return };
        tokio::time::sleep_until(at.into()).await;
        self.control_connect(to, LAST_WORD_WAIT).await;
        let from = self.first_unknown_hop(ip);
        let asked = Instant::now();
        let max_ttl = from.saturating_add(LAST_HOPS);
        let wait = self.within(LAST_WORD_WAIT);
        let ask = WalkAsk { to, protocol: WalkProtocol::Tcp, role: Role::Target, min_ttl: from, max_ttl, tries: 1, wait };
        let answer = walk(&ask).await;
        self.keep(asked, answer);
    }

    /// When nothing of the host answers: does the road to its segment carry packets? One address beside the target's is walked to;
    /// its router answers "host unreachable" after three seconds if it went to look for that host.
    async fn sibling_walk(&self, ip: IpAddr) {
        tokio::time::sleep(SIBLING_AFTER).await;
        let routed = matches!(self.approach(ip, Role::Target), RouteOutcome::Found { gateway: Some(_), .. });
        if self.host_answered(ip) || !routed {
            return;
        }
        let min_ttl = self.first_unknown_hop(ip);
        // The segment's router may be the last one that was seen.
        let at_last = min_ttl.saturating_sub(1).max(1);
        let walk_to = |sibling: Option<IpAddr>, min_ttl: u8, wait| async move {
            let Some(sibling) = sibling else { return };
            let asked = Instant::now();
            // A datagram is sent once; a SYN would be sent again every second, and each costs the router an error.
            let to = SocketAddr::new(sibling, CONTROL_UDP_PORT);
            let wait = self.within(wait);
            let ask = WalkAsk { to, protocol: WalkProtocol::Udp, role: Role::Control, min_ttl, max_ttl: MOST_HOPS, tries: 1, wait };
            let answer = walk(&ask).await;
            self.keep(asked, answer);
        };
        tokio::join!(walk_to(self.sibling_of(ip), min_ttl, SIBLING_WAIT), walk_to(first_of_segment(ip), at_last, WALK_WAIT * 2));
    }

    /// An address of the same small block that is neither ours nor a router we know.
    fn sibling_of(&self, ip: IpAddr) -> Option<IpAddr> {
        let known = self.rec.look(|seen| {
            let hops = seen.iter().filter_map(|o| match &o.seen {
                Seen::Walk(walk) => Some(walk),
                _ => None,
            });
            hops.flat_map(|walk| &walk.hops).flat_map(faultmap_model::observation::Hop::routers).collect::<Vec<_>>()
        });
        (1..=3).map(|bits| flip_last(ip, bits)).find(|candidate| usable_host(*candidate) && !known.contains(candidate))
    }

    /// A connect failed by an answer or by our own kernel: few questions, all short.
    pub(super) async fn split_answered(&self, to: SocketAddr, outcome: &ConnectOutcome) {
        let ip = to.ip();
        if self.is_local(ip) {
            return;
        }
        let from_self = outcome.icmp().is_some_and(|icmp| self.is_own(icmp.from));
        if outcome.reset() {
            let wait = Duration::from_millis(350);
            tokio::join!(self.controls(to, wait), self.walks_of_reset(to), self.fresh_arp(ip, Duration::from_millis(60)));
            self.own_ttl(to).await;
        } else if outcome.errno() == Some("ECONNRESET") {
            // The handshake was completed, and reset before connect() returned: by the host, or by somebody in its name?
            tokio::join!(self.controls(to, Duration::from_millis(300)), self.interposition(to));
        } else if from_self || outcome.icmp().is_none() {
            // Our own kernel said no: a control tells whether it says so to every port.
            self.controls(to, Duration::from_millis(300)).await;
        } else {
            let looping = outcome.icmp().is_some_and(|icmp| icmp.meaning() == IcmpMeaning::TtlExceeded);
            let rounds = if looping { 1 } else { 2 };
            tokio::join!(self.few_controls(to, Duration::from_millis(700)), self.walk(to, WalkProtocol::Tcp, Role::Target, (1, rounds)));
        }
    }

    /// The failing port's path first; what is compared with it starts where its routers are no longer known.
    async fn walks(&self, to: SocketAddr, rounds: u32) {
        self.walk(to, WalkProtocol::Tcp, Role::Target, (1, rounds)).await;
        let from = self.first_unknown_hop(to.ip());
        let udp = SocketAddr::new(to.ip(), CONTROL_UDP_PORT);
        tokio::join!(self.control_walk(to, from), self.walk(udp, WalkProtocol::Udp, Role::Control, (from, 2)));
    }

    /// Where does the RST come from, and where does the host answer? If the host seems farther away than the RST, UDP is asked as well: a host
    /// that forwards some of its ports has them one hop behind itself.
    async fn walks_of_reset(&self, to: SocketAddr) {
        self.walk(to, WalkProtocol::Tcp, Role::Target, (1, 1)).await;
        let from = self.first_unknown_hop(to.ip());
        self.control_walk(to, from).await;
        let reached = |role: Role| {
            self.rec.look(|seen| {
                let walks = seen.iter().filter_map(|o| match &o.seen {
                    Seen::Walk(walk) if walk.to.ip() == to.ip() && walk.role == role => walk.reached_ttl,
                    _ => None,
                });
                walks.max()
            })
        };
        if matches!((reached(Role::Target), reached(Role::Control)), (Some(reset), Some(host)) if reset < host) {
            let udp = SocketAddr::new(to.ip(), CONTROL_UDP_PORT);
            self.walk(udp, WalkProtocol::Udp, Role::Control, (from, 1)).await;
        }
    }

    /// With which TTL does the host itself answer? The discard port (RFC 863) is nobody's: neither forwarded nor worth a rule of its own.
    async fn own_ttl(&self, to: SocketAddr) {
        let (known, reference) = self.rec.look(|seen| {
            let known = seen.iter().any(|o| match &o.seen {
                Seen::Echo(echo) => echo.to == to.ip() && echo.reply_ttl.is_some(),
                Seen::TcpConnect(connect) => connect.to.ip() == to.ip() && connect.to != to && connect.answer_ttl.is_some(),
                _ => false,
            });
            let closed = SocketAddr::new(to.ip(), CONTROL_PORTS[3]);
            let answered = seen.iter().rev().find_map(|o| match &o.seen {
                Seen::TcpConnect(connect) if connect.to == closed && connect.outcome.reset() => Some((connect.clone(), o.took_ms)),
                _ => None,
            });
            (known, answered)
        });
        let Some((connect, took_ms)) = reference else { return };
        // On our own segment nothing takes from a TTL, so that one of TCP is compared with one of TCP.
        let routed = matches!(self.approach(to.ip(), Role::Target), RouteOutcome::Found { gateway: Some(_), .. });
        if (known && routed) || connect.to == to {
            return;
        }
        let asked = Instant::now();
        let round_trip = Duration::from_secs_f64((took_ms / 1e3).clamp(0.0, 1.0));
        if let Some(ttl) = self.ttl_of_answer(connect.to, round_trip).await {
            self.rec.note(asked, TcpConnect { answer_ttl: Some(ttl), ..connect });
        }
    }

    /// The hop after the last router that any walk toward the address has seen.
    fn first_unknown_hop(&self, ip: IpAddr) -> u8 {
        let last = self.rec.look(|seen| {
            let walks = seen.iter().filter_map(|o| match &o.seen {
                Seen::Walk(walk) if walk.to.ip() == ip => Some(walk),
                _ => None,
            });
            walks.flat_map(|walk| &walk.hops).filter(|hop| !hop.routers().is_empty()).map(|hop| hop.ttl).max()
        });
        last.unwrap_or(0).saturating_add(1)
    }

    /// A router or host refuses by ICMP, of which it sends two to six at once and then one in a second or two (`ip_error`, net/ipv4/route.c;
    /// `inet_peer_xrlim_allow`, net/ipv4/inetpeer.c): one port first, the rest only while the host has not answered.
    async fn few_controls(&self, to: SocketAddr, wait: Duration) {
        let ip = to.ip();
        let first = if to.port() == CONTROL_PORTS[2] { CONTROL_PORTS[0] } else { CONTROL_PORTS[2] };
        self.control_connect(SocketAddr::new(ip, first), wait).await;
        if self.host_answered(ip) {
            return;
        }
        let rest = CONTROL_PORTS.into_iter().filter(|port| *port != to.port() && *port != first);
        let datagram = async {
            let to = SocketAddr::new(ip, CONTROL_UDP_PORT);
            self.rec.ask(udp(to, Role::Control, &[0], 2, Duration::from_millis(300), self.within(wait))).await;
        };
        let connects = join_all(rest.map(|port| self.control_connect(SocketAddr::new(ip, port), wait)));
        tokio::join!(datagram, connects, self.echo_control(ip, wait));
    }

    /// A resolver is silent, or the question could not be sent: its path is examined like any other.
    pub(super) async fn split_resolver(&self, resolver: SocketAddr) {
        let ip = resolver.ip();
        if !matches!(self.approach(ip, Role::Resolver), RouteOutcome::Found { .. }) || self.is_local(ip) {
            return;
        }
        let over_tcp = async {
            let ask = ConnectAsk::new(resolver, Role::Resolver, self.within(CONTROL_WAIT));
            self.rec.ask(async { connect(&ask).await.0 }).await;
        };
        let same_over_tcp = async {
            let wait = self.within(Duration::from_millis(1_500));
            let ask = DnsAsk { wait, ..DnsAsk::new(resolver, Role::Control, Transport::Tcp, self.near_host(), RecordType::A) };
            self.rec.ask(dns::query(&ask)).await;
        };
        tokio::join!(
            over_tcp,
            same_over_tcp,
            self.controls(resolver, CONTROL_WAIT),
            self.walk(resolver, WalkProtocol::Udp, Role::Resolver, (1, 3)),
            self.walk(SocketAddr::new(ip, CONTROL_PORTS[0]), WalkProtocol::Tcp, Role::Control, (1, 2)),
            self.fresh_arp(ip, Duration::from_millis(500)),
        );
        if !self.host_answered(ip) {
            tokio::join!(self.ingress_gap(SocketAddr::new(ip, 53)), self.sibling_walk(ip));
        }
    }

    /// Other ports and protocols of the same host.
    pub(super) async fn controls(&self, to: SocketAddr, wait: Duration) {
        let ip = to.ip();
        let ports = CONTROL_PORTS.into_iter().filter(|port| *port != to.port());
        let connects = join_all(ports.map(|port| self.control_connect(SocketAddr::new(ip, port), wait)));
        let datagram = async {
            let to = SocketAddr::new(ip, CONTROL_UDP_PORT);
            self.rec.ask(udp(to, Role::Control, &[0], 2, Duration::from_millis(300), self.within(wait))).await;
        };
        tokio::join!(connects, datagram, self.echo_control(ip, wait));
    }

    pub(super) async fn control_connect(&self, to: SocketAddr, wait: Duration) {
        let ask = ConnectAsk::new(to, Role::Control, self.within(wait));
        self.rec.ask(async { connect(&ask).await.0 }).await;
    }

    async fn echo_control(&self, ip: IpAddr, wait: Duration) {
        let asked = Instant::now();
        let ask = EchoAsk {
            to: ip,
            role: Role::Control,
            count: 3,
            interval: Duration::from_millis(100),
            payload_bytes: 56,
            dont_fragment: false,
            wait: self.within(wait),
        };
        let answer = echo(&ask).await;
        self.keep(asked, answer);
    }

    /// `(lowest TTL, rounds)`.
    pub(super) async fn walk(&self, to: SocketAddr, protocol: WalkProtocol, role: Role, (min_ttl, tries): (u8, u32)) {
        let asked = Instant::now();
        let ask = WalkAsk { to, protocol, role, min_ttl, max_ttl: MOST_HOPS, tries, wait: self.within(WALK_WAIT) };
        let answer = walk(&ask).await;
        self.keep(asked, answer);
    }

    /// The walk to compare with: another well-known port of the same host.
    async fn control_walk(&self, to: SocketAddr, from: u8) {
        let port = CONTROL_PORTS.into_iter().find(|port| *port != to.port()).unwrap_or(9);
        self.walk(SocketAddr::new(to.ip(), port), WalkProtocol::Tcp, Role::Control, (from, 2)).await;
    }

    /// Who answers ARP for the next hop now?
    pub(super) async fn fresh_arp(&self, ip: IpAddr, wait: Duration) {
        let Some((hop, iface, _)) = self.next_hop(ip) else { return };
        let asked = Instant::now();
        let answer = arp_probe(hop, &iface, 2, self.within(wait)).await;
        self.keep(asked, answer);
    }

    /// Do segments that are no SYN reach a TCP stack on that port?
    async fn bare_ack(&self, to: SocketAddr) {
        let Some(from) = self.source_toward(to.ip()) else { return };
        let asked = Instant::now();
        let answer = ack_probe(to, from, 2, self.within(Duration::from_millis(600))).await;
        self.keep(asked, answer);
    }

    /// The connection is up and nothing is ever said on it: does somebody on the way answer every handshake? The closed control port, and
    /// an address that nobody has (RFC 5737, RFC 3849), are tried once each.
    pub(super) async fn interposition(&self, to: SocketAddr) {
        let routed = matches!(self.approach(to.ip(), Role::Target), RouteOutcome::Found { gateway: Some(_), .. });
        if !routed {
            return;
        }
        let nobody = nobody_of(to.ip());
        let wait = self.round_trip(to).map_or(NOBODY_WAIT, |rtt| (rtt * 3 + NOBODY_SLACK).min(NOBODY_WAIT));
        tokio::join!(
            self.control_connect(SocketAddr::new(to.ip(), CONTROL_PORTS[3]), wait),
            self.control_connect(SocketAddr::new(nobody, CONTROL_PORTS[3]), wait)
        );
    }

    /// Do several connects at once pass? Beside them as many to a port of the same host that is known to answer: what hangs there too is no
    /// listener's queue.
    pub(super) async fn listen_queue_pattern(&self, to: SocketAddr, connects: u32) {
        let wait = self.within(REPEAT_WAIT);
        let control = async {
            if let Some(control) = self.answering_control(to) {
                self.rec.ask(repeat(control, REPEATS, wait)).await;
            }
        };
        tokio::join!(self.rec.ask(repeat(to, connects, wait)), control);
    }

    /// Another port of the host that answered at once, by SYN-ACK or RST.
    pub(super) fn answering_control(&self, to: SocketAddr) -> Option<SocketAddr> {
        self.rec.look(|seen| {
            let connects = seen.iter().filter_map(|o| match &o.seen {
                Seen::TcpConnect(connect) if connect.to.ip() == to.ip() && connect.to.port() != to.port() => Some(connect),
                _ => None,
            });
            let mut answered: Vec<_> = connects.filter(|c| c.outcome.reset() || c.outcome.connected()).collect();
            // A closed port costs its owner nothing.
            answered.sort_by_key(|connect| connect.outcome.connected());
            answered.first().map(|connect| connect.to)
        })
    }

    /// Packets that reach this host's IP layer and are not delivered, while the target is provoked against while it is not.
    async fn ingress_gap(&self, to: SocketAddr) {
        let v6 = to.is_ipv6();
        let asked = Instant::now();
        let Some(idle) = undelivered(v6) else { return };
        let before = faultmap_host::Snapshot::take();
        let mut tap = if self.raw { AnswerTap::open(to.ip()) } else { None };
        let watch = watch_drops();
        let provoked = 4;
        let pattern = repeat(to, provoked, INGRESS_WINDOW).await;
        let Some(end) = undelivered(v6) else { return };
        if pattern.connected > 0 || pattern.failed > 0 {
            self.rec.note(asked, pattern);
            return;
        }
        let gap = IngressGap {
            to,
            provoked,
            lost_with: end.saturating_sub(idle),
            lost_idle: self.quiet_loss(v6),
            rp_filtered: rp_filtered_since(&before),
            answers_on_wire: tap.as_mut().map(|tap| tap.count_from(to)),
        };
        self.rec.note(asked, gap);
        if let Some(sample) = watch.and_then(|watch| watch.read().ok()) {
            self.rec.note(asked, LocalDrops::new(to, provoked, &sample));
        }
    }

    /// Before the split only one SYN for each address had been sent: what was lost until now is the host's usual noise. Later the peer's
    /// own retransmissions of SYN-ACK fill every window.
    fn note_quiet_period(&self, v6: bool) {
        let quiet = &self.quiet[usize::from(v6)];
        if quiet.get().is_none() {
            let lost = undelivered(v6).zip(self.undelivered_at_start[usize::from(v6)]);
            let elapsed_ms = self.rec.elapsed().as_millis().max(1);
            let in_window = |lost: u64| u128::from(lost) * INGRESS_WINDOW.as_millis() / elapsed_ms;
            quiet.set(lost.and_then(|(now, start)| u64::try_from(in_window(now.saturating_sub(start))).ok()));
        }
    }

    /// Losses that one window would have seen in the quiet period.
    fn quiet_loss(&self, v6: bool) -> u64 {
        self.quiet[usize::from(v6)].get().unwrap_or(0)
    }

    /// Without CAP_NET_RAW only the kernel's own probes tell whether an old neighbour entry still answers: they take eight seconds.
    async fn wait_for_stale_neighbor(&self, ip: IpAddr) {
        if self.raw || self.host_answered(ip) || self.any_router_answered(ip) {
            return;
        }
        let Some((_, _, state)) = self.next_hop(ip) else { return };
        if !matches!(state, NeighborState::Stale | NeighborState::Delay | NeighborState::Probe) {
            return;
        }
        let end = self.rec.start() + STALE_RUNS_OUT;
        let aging = |state| matches!(state, NeighborState::Stale | NeighborState::Delay | NeighborState::Probe);
        while Instant::now() < end && self.next_hop(ip).is_some_and(|(_, _, state)| aging(state)) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // The old MAC is given up. Who answers now? The next packet makes the kernel ask everybody.
        let given_up = self.next_hop(ip).is_some_and(|(_, _, state)| matches!(state, NeighborState::Failed | NeighborState::None));
        if given_up {
            // Not recorded: an answer now says nothing of the time before.
            let ask = ConnectAsk::new(SocketAddr::new(ip, CONTROL_PORTS[3]), Role::Control, self.within(AFTER_GIVING_UP));
            drop(connect(&ask).await);
        }
    }

    pub(super) fn is_local(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || matches!(self.approach(ip, Role::Target), RouteOutcome::Found { local: true, .. })
    }

    pub(super) fn is_own(&self, ip: IpAddr) -> bool {
        matches!(faultmap_host::route(ip, Role::Control).outcome, RouteOutcome::Found { local: true, .. })
    }

    fn source_toward(&self, ip: IpAddr) -> Option<IpAddr> {
        match self.approach(ip, Role::Target) {
            RouteOutcome::Found { source, .. } => source,
            _ => None,
        }
    }

    /// The host answered some port or protocol.
    pub(super) fn host_answered(&self, ip: IpAddr) -> bool {
        self.rec.look(|seen| seen.iter().any(|o| answers_for(o, ip)))
    }

    pub(super) fn any_router_answered(&self, ip: IpAddr) -> bool {
        self.rec.look(|seen| seen.iter().any(|o| matches!(&o.seen, Seen::Walk(walk) if walk.to.ip() == ip && walk.last_answer_ttl() > 0)))
    }
}

/// A walk to another address ended with a router that looked for it in vain.
fn reports_missing(observation: &Observation, target: IpAddr) -> bool {
    let missing = |said: &HopSaid| matches!(said, HopSaid::Icmp(icmp) if icmp.meaning() == IcmpMeaning::HostUnreachable);
    match &observation.seen {
        Seen::Walk(walk) => walk.to.ip() != target && walk.hops.iter().flat_map(|hop| &hop.answers).any(|answer| missing(&answer.said)),
        _ => false,
    }
}

/// The resolver's path has been examined already.
pub(super) fn already_split(seen: &[Observation], ip: IpAddr) -> bool {
    seen.iter().any(|o| matches!(&o.seen, Seen::Walk(walk) if walk.to.ip() == ip))
}

fn answers_for(observation: &Observation, ip: IpAddr) -> bool {
    match &observation.seen {
        Seen::TcpConnect(connect) => connect.to.ip() == ip && (connect.outcome.connected() || connect.outcome.reset()),
        Seen::Echo(echo) => echo.to == ip && echo.received > 0,
        Seen::Walk(walk) => walk.to.ip() == ip && walk.reached_ttl.is_some(),
        Seen::AckProbe(ack) => ack.to.ip() == ip && ack.resets > 0,
        _ => false,
    }
}

/// An address of the same family that nobody has: RFC 5737, RFC 3849.
pub(super) fn nobody_of(beside: IpAddr) -> IpAddr {
    if beside.is_ipv4() { [192, 0, 2, 1].into() } else { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into() }
}

fn flip_last(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            IpAddr::from([a, b, c, d ^ bits])
        }
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            octets[15] ^= bits;
            IpAddr::from(octets)
        }
    }
}

/// The address that by custom is the router of the target's segment.
fn first_of_segment(ip: IpAddr) -> Option<IpAddr> {
    let first = match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::from([a, b, c, 1])
        }
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            octets[8..].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
            IpAddr::from(octets)
        }
    };
    (first != ip).then_some(first)
}

/// Not the network or broadcast address of a /24, nor the usual router's.
fn usable_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !matches!(ip.octets()[3], 0 | 1 | 255),
        IpAddr::V6(ip) => !matches!(ip.octets()[15], 0 | 1),
    }
}

/// Packets that reached IP and were neither delivered nor dropped for a reason that IP counts, since boot.
pub(super) fn undelivered(v6: bool) -> Option<u64> {
    let (received, delivered, explained) = faultmap_host::ip_in_counts(v6)?;
    Some(received.saturating_sub(delivered).saturating_sub(explained))
}

/// Where the kernel lets us, it tells why it drops a packet. Without, the counters must do: the verdict is the same, only less certain.
fn watch_drops() -> Option<DropWatch> {
    let held = faultmap_host::privileges();
    let both = ["CAP_BPF", "CAP_PERFMON"].iter().all(|name| held.iter().any(|held| held == name));
    both.then(|| DropWatch::start(Scope::OwnNamespace).ok()).flatten()
}

fn rp_filtered_since(before: &faultmap_host::Snapshot) -> u64 {
    let counters = before.counters(&faultmap_host::Snapshot::take(), None);
    counters.rose.get("TcpExt.IPReversePathFilter").copied().unwrap_or(0)
}
