//! Targets without a TCP connection: `udp://`, `icmp://`, `dns://`; and the quiet listening on plain `tcp://`.

use super::reach::Opened;
use super::{Check, split};
use crate::dns::{self, DnsAsk};
use crate::questions::{EchoAsk, WalkAsk, echo, udp, walk};
use crate::sock::{no_delay_dup, tcp_health};
use faultmap_model::observation::{DnsOutcome, RecordType, Role, SessionEnd, SessionOutcome, Transport, UdpOutcome, WalkProtocol};
use futures_util::future::join_all;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

const UDP_WAIT: Duration = Duration::from_millis(2_500);
const ASK_OVER_TCP: Duration = Duration::from_millis(1_500);
/// A resolution of an address that nobody has fails after three solicitations, a second apart; its end is reported.
const REPORTED_MISSING: Duration = Duration::from_millis(3_400);
/// The first packet to an address leaves before the others.
const AHEAD: Duration = Duration::from_millis(30);
/// A refusing or crashing server closes at once; one that waits for us to speak first does nothing.
const LISTEN: Duration = Duration::from_millis(60);

impl Check<'_> {
    /// `udp://`: a question that the port's usual protocol answers, else a byte.
    pub(super) async fn speak_udp(&self, addresses: &[IpAddr]) {
        join_all(addresses.iter().map(|ip| self.speak_udp_to(SocketAddr::new(*ip, self.target.port)))).await;
    }

    async fn speak_udp_to(&self, to: SocketAddr) {
        self.approach(to.ip(), Role::Target);
        let payload = self.options.data.clone().unwrap_or_else(|| question_for(to.port()));
        let ask = udp(to, Role::Target, &payload, 3, Duration::from_millis(700), self.within(UDP_WAIT));
        let answer = self.rec.ask(ask).await;
        if !matches!(answer.outcome, UdpOutcome::Answer { .. }) && !self.is_local(to.ip()) {
            self.split_datagram(to, Role::Target).await;
        }
        self.fragments(to.ip()).await;
    }

    /// A datagram's port is silent or refused: the same controls as for TCP.
    async fn split_datagram(&self, to: SocketAddr, role: Role) {
        tokio::join!(self.controls(to, Duration::from_millis(900)), self.walk(to, WalkProtocol::Udp, role, (1, 3)), async {
            let control = split::CONTROL_PORTS.into_iter().find(|port| *port != to.port()).unwrap_or(9);
            self.walk(SocketAddr::new(to.ip(), control), WalkProtocol::Tcp, Role::Control, (1, 2)).await;
        });
    }

    /// `icmp://`: a train of echo requests to each address.
    pub(super) async fn speak_icmp(&self, addresses: &[IpAddr]) {
        join_all(addresses.iter().map(|ip| self.speak_icmp_to(*ip))).await;
    }

    async fn speak_icmp_to(&self, to: IpAddr) {
        self.approach(to, Role::Target);
        let asked = Instant::now();
        let ask = EchoAsk {
            to,
            role: Role::Target,
            count: 5,
            interval: Duration::from_millis(40),
            payload_bytes: 56,
            dont_fragment: false,
            wait: self.within(Duration::from_millis(3_400)),
        };
        let answer = echo(&ask).await;
        let echo = self.keep(asked, answer);
        let answered = echo.as_ref().is_some_and(|echo| echo.received > 0);
        if !answered && !self.is_local(to) {
            let control = SocketAddr::new(to, split::CONTROL_UDP_PORT);
            // A datagram waits in the place of the echo request: a host that is gone is reported after three seconds, to the first few packets
            // that wait for it.
            let wait = self.within(REPORTED_MISSING);
            let waiting = async {
                if echo.is_none() {
                    self.rec.ask(udp(control, Role::Control, &[0], 1, wait, wait)).await;
                }
            };
            tokio::pin!(waiting);
            let mut waited = false;
            tokio::select! {
                biased;
                () = &mut waiting => waited = true,
                () = tokio::time::sleep(AHEAD) => {}
            }
            self.split_datagram(control, Role::Control).await;
            if !waited && !self.host_answered(to) {
                waiting.await;
            }
            let asked = Instant::now();
            let ask = WalkAsk {
                to: SocketAddr::new(to, 0),
                protocol: WalkProtocol::Icmp,
                role: Role::Target,
                min_ttl: 1,
                max_ttl: 24,
                tries: 2,
                wait: Duration::from_millis(500),
            };
            let answer = walk(&ask).await;
            self.keep(asked, answer);
        } else {
            self.fragments(to).await;
        }
    }

    /// `dns://SERVER/NAME`: the server itself is the target.
    pub(super) async fn speak_dns(&self, addresses: &[IpAddr]) {
        join_all(addresses.iter().map(|ip| self.speak_dns_to(SocketAddr::new(*ip, self.target.port)))).await;
    }

    async fn speak_dns_to(&self, server: SocketAddr) {
        self.approach(server.ip(), Role::Target);
        let name = if self.target.path.is_empty() { "." } else { &self.target.path };
        let (v4, v6) = tokio::join!(self.ask_server(server, name, RecordType::A), self.ask_server(server, name, RecordType::Aaaa));
        let silent = [(v4, RecordType::A), (v6, RecordType::Aaaa)].into_iter().find(|(answered, _)| !answered).map(|(_, silent)| silent);
        if !v4 && !v6 && !self.is_local(server.ip()) {
            tokio::join!(self.split_datagram(server, Role::Target), self.ask_over_tcp(server, name, RecordType::A));
        } else if let Some(silent) = silent.filter(|_| !self.is_local(server.ip())) {
            tokio::join!(self.ask_over_tcp(server, name, silent), self.fragments(server.ip()));
        } else {
            self.fragments(server.ip()).await;
        }
    }

    /// What stayed silent over UDP: a service that answers it over TCP is alive, and one whose kernel alone takes the connection is not.
    async fn ask_over_tcp(&self, server: SocketAddr, name: &str, record_type: RecordType) {
        let wait = self.within(ASK_OVER_TCP);
        let ask = DnsAsk { wait, ..DnsAsk::new(server, Role::Control, Transport::Tcp, name, record_type) };
        tokio::join!(self.control_connect(server, wait), async {
            self.rec.ask(dns::query(&ask)).await;
        });
    }

    async fn ask_server(&self, server: SocketAddr, name: &str, record_type: RecordType) -> bool {
        let wait = self.within(self.options.dns_wait.min(Duration::from_millis(3_600)));
        let asked = Instant::now();
        let ask = DnsAsk { wait, ..DnsAsk::new(server, Role::Target, Transport::Udp, name, record_type) };
        let question = async {
            let answers = dns::query_with_fallback(&ask).await;
            let first = answers.first().cloned();
            (answers, first)
        };
        let (answers, plain) = self.or_without_edns_beside(&ask, question).await;
        let mut answered = plain.is_some();
        let mut failed = false;
        for answer in answers.iter().cloned() {
            if let DnsOutcome::Answer(message) = &answer.outcome {
                answered = true;
                failed |= message.rcode == 2;
            }
            self.rec.note(asked, answer);
        }
        self.ask_for_large(&ask, &answers).await;
        if failed {
            let asked = Instant::now();
            let ask = DnsAsk { checking_disabled: true, wait: self.within(Duration::from_secs(2)), ..ask };
            self.rec.note(asked, dns::query(&ask).await);
        }
        answered
    }

    /// `tcp://`: the connection is up; does the peer greet, wait, or hang up?
    pub(super) async fn listen_after_connect(&self, opened: Opened) {
        let Opened { to, mut stream } = opened;
        let asked = Instant::now();
        let tcp = no_delay_dup(&stream);
        let mut greeting = [0_u8; 256];
        let outcome = match tokio::time::timeout(self.within(LISTEN), stream.read(&mut greeting)).await {
            Err(_) => SessionOutcome::Open,
            Ok(Ok(0)) => SessionOutcome::Closed,
            Ok(Ok(count)) => {
                SessionOutcome::Greeting { first_bytes: crate::recorder::printable(&greeting[..count.min(greeting.len())], 128) }
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => SessionOutcome::Reset,
            Ok(Err(error)) => SessionOutcome::Failed { why: error.kind().to_string() },
        };
        let mute = outcome == SessionOutcome::Open;
        self.rec.note(asked, SessionEnd { to, outcome, tcp: tcp.as_ref().and_then(tcp_health) });
        if mute && self.proxy().is_none() {
            self.interposition(to).await;
        }
    }
}

/// A datagram that the port's usual protocol answers.
fn question_for(port: u16) -> Vec<u8> {
    match port {
        // DNS: "." NS, recursion desired (RFC 1035 4.1).
        53 => vec![0x66, 0x6d, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1],
        // NTP version 4, mode 3 client (RFC 5905 7.3).
        123 => {
            let mut packet = vec![0_u8; 48];
            packet[0] = 0b00_100_011;
            packet
        }
        443 | 8443 => crate::http3::unknown_version(),
        // STUN binding request (RFC 8489 5).
        3478 => {
            let mut packet = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            packet.extend(b"faultmap-ask");
            packet
        }
        _ => b"\n".to_vec(),
    }
}
