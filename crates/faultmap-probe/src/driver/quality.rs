//! Works, but how well? A light train of echo requests beside every check, and a closer look when something hints at loss or delay.

use super::{Check, split};
use crate::questions::{EchoAsk, WalkAsk, echo, repeat, size, walk};
use faultmap_model::observation::{ConnectOutcome, HttpOutcome, Role, RouteOutcome, TcpConnect, TcpHealth, WalkProtocol};
use faultmap_model::{Observation, Scheme, Seen};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Round trips from this on are explained by a walk.
const FAR_MS: f64 = 80.0;
/// SYNs of the train that goes beside every check without the right to send echo requests.
const LIGHT_CONNECTS: u32 = 10;
/// ... and of the closer look.
const CLOSE_CONNECTS: u32 = 16;
/// A SYN is sent again after a second (RFC 6298 2.1): who is late by then, and on a short path, is lost.
const CLOSE_WAIT: Duration = Duration::from_millis(900);
/// Beyond the round trip: a closed port's RST needs no program.
const SCOUT_SLACK: Duration = Duration::from_millis(40);
/// An answer later than this was sent again, or is not coming.
const TRAIN_SLACK: Duration = Duration::from_millis(200);

impl Check<'_> {
    /// Ten echo requests within 20 ms, where the kernel lets us send them; else as many SYNs to a closed port, which no program sees.
    pub(super) async fn light_train(&self, to: SocketAddr) {
        let ip = to.ip();
        if self.is_local(ip) {
            return;
        }
        let asked = Instant::now();
        let ask = EchoAsk {
            to: ip,
            role: Role::Control,
            count: 10,
            interval: Duration::from_millis(2),
            payload_bytes: 56,
            dont_fragment: false,
            wait: self.within(Duration::from_millis(400)),
        };
        let train = async {
            let answer = echo(&ask).await;
            if self.keep(asked, answer).is_none() {
                self.tcp_train(to).await;
            }
        };
        let stations = async {
            // Two stations that claim one address show only here: everything else may well work.
            if self.raw {
                let wait = Duration::from_millis(30);
                tokio::join!(self.fresh_arp(ip, wait), self.own_address_elsewhere(ip, wait));
            }
        };
        tokio::join!(train, stations);
    }

    /// SYNs to the discard port, if it answers the first of them (most hosts answer a closed port with RST). A host that drops them tells nothing.
    async fn tcp_train(&self, to: SocketAddr) {
        let rtt = self.round_trip(to).unwrap_or(Duration::from_millis(50));
        let closed = SocketAddr::new(to.ip(), split::CONTROL_PORTS[3]);
        for _ in 0..2 {
            if closed == to || self.answering_control(to).is_some() {
                break;
            }
            self.control_connect(closed, rtt * 3 + SCOUT_SLACK).await;
        }
        if let Some(control) = self.answering_control(to) {
            self.rec.ask(repeat(control, LIGHT_CONNECTS, self.within(rtt * 3 + TRAIN_SLACK))).await;
        }
    }

    /// Of the handshake, where no SYN was sent again, or of the conversation; a second at most.
    pub(super) fn round_trip(&self, to: SocketAddr) -> Option<Duration> {
        let measured = self.rec.look(|seen| {
            let each = seen.iter().filter_map(|o| match &o.seen {
                Seen::TcpConnect(TcpConnect { to: at, outcome: ConnectOutcome::Connected { rtt_ms, retransmits: 0, .. }, .. })
                    if *at == to =>
                {
                    Some(*rtt_ms)
                }
                Seen::HttpExchange(http) if http.to == to => http.tcp.as_ref().map(|tcp| tcp.min_rtt_ms).filter(|rtt| *rtt > 0.0),
                Seen::TlsHandshake(tls) if tls.to == to => tls.tcp.as_ref().map(|tcp| tcp.min_rtt_ms).filter(|rtt| *rtt > 0.0),
                _ => None,
            });
            each.min_by(f64::total_cmp)
        });
        measured.map(|rtt_ms| Duration::from_secs_f64((rtt_ms / 1_000.0).clamp(0.0, 1.0)))
    }

    /// The conversation stalls while TCP sends segments again: is it the path?
    pub(super) async fn examine_stall(&self, to: SocketAddr, tcp: Option<TcpHealth>) {
        if !self.is_local(to.ip()) && tcp.is_some_and(|tcp| tcp.retransmits > 0 || tcp.unacked > 0) {
            tokio::join!(self.long_train(to.ip()), self.connect_train(to));
        }
    }

    /// After the conversation: look closer where something hints at loss, a size limit, or distance.
    pub(super) async fn examine_quality(&self, to: SocketAddr) {
        if self.is_local(to.ip()) {
            return;
        }
        let (lossy, far, stalled) =
            self.rec.look(|seen| (seen.iter().any(hints_at_loss), seen.iter().any(hints_at_distance), seen.iter().any(hints_at_stall)));
        let examined =
            self.rec.look(|seen| seen.iter().any(|o| matches!(&o.seen, Seen::TcpRepeat(train) if train.tried >= CLOSE_CONNECTS)));
        if lossy && !examined {
            tokio::join!(self.long_train(to.ip()), self.connect_train(to), self.walk_rounds(to));
        } else if far {
            self.walk_rounds(to).await;
        }
        if stalled || self.target.scheme == Scheme::Tcp {
            self.sizes(to.ip(), stalled).await;
        }
    }

    async fn long_train(&self, ip: IpAddr) {
        let asked = Instant::now();
        let ask = EchoAsk {
            to: ip,
            role: Role::Control,
            count: 50,
            interval: Duration::from_millis(20),
            payload_bytes: 400,
            dont_fragment: false,
            wait: self.within(Duration::from_millis(600)),
        };
        let answer = echo(&ask).await;
        self.keep(asked, answer);
    }

    async fn connect_train(&self, to: SocketAddr) {
        let usual = split::CONTROL_PORTS.into_iter().rev().find(|port| *port != to.port()).unwrap_or(9);
        let control = self.answering_control(to).unwrap_or(SocketAddr::new(to.ip(), usual));
        let patience = self.round_trip(to).map_or(CLOSE_WAIT, |rtt| CLOSE_WAIT.max(rtt * 2));
        let wait = self.within(patience);
        tokio::join!(self.rec.ask(repeat(to, CLOSE_CONNECTS, wait)), self.rec.ask(repeat(control, CLOSE_CONNECTS, wait)));
    }

    /// Three walks: a hop that is silent in one and answers in another is lossy or rate-limited, not absent.
    async fn walk_rounds(&self, to: SocketAddr) {
        for _ in 0..3 {
            let asked = Instant::now();
            let wait = self.within(Duration::from_millis(500));
            let ask = WalkAsk { to, protocol: WalkProtocol::Tcp, role: Role::Target, min_ttl: 1, max_ttl: 24, tries: 1, wait };
            let answer = walk(&ask).await;
            self.keep(asked, answer);
        }
    }

    /// Small and large datagrams that must not be fragmented.
    async fn sizes(&self, ip: IpAddr, patient: bool) {
        let RouteOutcome::Found { iface, .. } = self.approach(ip, Role::Target) else { return };
        let mtu = faultmap_host::Snapshot::take().links().into_iter().find(|link| link.iface == iface).map_or(1500, |link| link.mtu);
        let asked = Instant::now();
        let wait = self.within(if patient { Duration::from_millis(500) } else { Duration::from_millis(150) });
        let answer = size(ip, split::CONTROL_UDP_PORT, 128, mtu.min(1500), 2, wait).await;
        self.keep(asked, answer);
    }
}

fn hints_at_loss(observation: &Observation) -> bool {
    let sick = |tcp: &Option<TcpHealth>| tcp.as_ref().is_some_and(|tcp| tcp.retransmits > 0 || tcp.out_of_order > 2 || tcp.dsack_dups > 0);
    match &observation.seen {
        Seen::TcpConnect(connect) if connect.role == Role::Target => {
            matches!(connect.outcome, ConnectOutcome::Connected { retransmits, .. } if retransmits > 0)
        }
        Seen::Echo(echo) => echo.received > 0 && echo.received < echo.sent,
        Seen::TcpRepeat(train) => train.hung() > 0 && train.silent < train.tried,
        Seen::TlsHandshake(tls) => sick(&tls.tcp),
        Seen::HttpExchange(http) => {
            sick(&http.tcp)
                || matches!(&http.outcome, HttpOutcome::Response(response) if waited_for_repair(response.ttfb_ms, &response.body))
        }
        _ => false,
    }
}

/// The peer's lost segment is not in our own counters: its answer, or the tail of a short body, is late by the peer's retransmission timer
/// (at least 200 ms: TCP_RTO_MIN, include/net/tcp.h). A service may be slow by itself, so this only asks for a closer look.
fn waited_for_repair(ttfb_ms: f64, body: &faultmap_model::observation::BodyReading) -> bool {
    const TIMER_MS: std::ops::Range<f64> = 195.0..450.0;
    const SHORT_BYTES: u64 = 64 * 1024;
    TIMER_MS.contains(&ttfb_ms) || (body.wire_bytes <= SHORT_BYTES && TIMER_MS.contains(&body.took_ms))
}

fn hints_at_distance(observation: &Observation) -> bool {
    matches!(&observation.seen, Seen::TcpConnect(connect) if connect.role == Role::Target
        && matches!(connect.outcome, ConnectOutcome::Connected { rtt_ms, .. } if rtt_ms >= FAR_MS))
}

fn hints_at_stall(observation: &Observation) -> bool {
    match &observation.seen {
        Seen::HttpExchange(http) => match &http.outcome {
            HttpOutcome::Silent { .. } => true,
            HttpOutcome::Response(response) => {
                response.body.end == faultmap_model::observation::BodyEnd::Stalled || response.body.crawled()
            }
            _ => false,
        },
        Seen::TlsHandshake(tls) => matches!(tls.outcome, faultmap_model::observation::TlsOutcome::Silent { .. }),
        _ => false,
    }
}
