//! Does a bare ACK to the port draw a reset? (Needs CAP_NET_RAW.) Sends segments without data that belong to no connection.
//!
//! A listener answers with a reset even while its queues are full (RFC 9293 3.10.7.2), and so does a closed port; a firewall that drops,
//! and one that keeps state, do not.

use crate::sock::AnswerTap;
use crate::sock::options::Family;
use crate::sock::packet;
use faultmap_model::observation::{AckProbe, NotAsked};
use socket2::{Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

const MOST_TRIES: u32 = 16;
const APART: Duration = Duration::from_millis(20);

/// Sends `tries` bare ACKs (1 to 16), 20 ms apart, from our address `from`, and counts the resets; waits `wait` after the last, less when
/// every one was answered.
pub async fn ack_probe(to: SocketAddr, from: IpAddr, tries: u32, wait: Duration) -> Result<AckProbe, NotAsked> {
    let mut probe = Probe::open(to, from).map_err(|error| not_asked(&error))?;
    let mut seen = AckProbe { to, sent: 0, resets: 0, answer_ttl: None };
    let tries = tries.clamp(1, MOST_TRIES);
    for number in 1..=tries {
        seen.sent += u32::from(probe.send().is_ok());
        let pause = if number == tries { wait } else { APART };
        let deadline = Instant::now() + pause;
        loop {
            probe.count(&mut seen);
            let answered = number == tries && seen.resets >= seen.sent;
            if answered || !probe.tap.news(deadline).await {
                break;
            }
        }
    }
    probe.count(&mut seen);
    Ok(seen)
}

struct Probe {
    raw: Socket,
    tap: AnswerTap,
    /// Bound to the source port, so that no other program gets it meanwhile.
    _port: Socket,
    from: SocketAddr,
    to: SocketAddr,
}

impl Probe {
    fn open(to: SocketAddr, from: IpAddr) -> io::Result<Self> {
        if !packet::same_family(to.ip(), from) {
            return Err(io::Error::other("our address is of the other family"));
        }
        let domain = Family::of(to.ip()).domain();
        let raw = Socket::new(domain, Type::RAW.nonblocking(), Some(Protocol::TCP))?;
        let tap = AnswerTap::try_open(to.ip())?;
        let port = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        port.bind(&SocketAddr::new(from, 0).into())?;
        let from = port.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        raw.bind(&SocketAddr::new(from.ip(), 0).into())?;
        // The port of a raw socket's address must be zero or the protocol (ip(7)); ours is in the segment.
        let mut peer = to;
        peer.set_port(0);
        raw.connect(&peer.into())?;
        Ok(Self { raw, tap, _port: port, from, to })
    }

    fn send(&self) -> io::Result<usize> {
        let numbers = packet::unpredictable().to_be_bytes();
        let [a, b, c, d, e, f, g, h] = numbers;
        self.raw.send(&packet::bare_ack(self.from, self.to, u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])))
    }

    fn count(&mut self, seen: &mut AckProbe) {
        let (from, to) = (packet::bare(self.to), packet::bare(self.from));
        let resets = self.tap.answers().iter().filter(|answer| answer.reset() && answer.from == from && answer.to == to);
        // A bond or bridge and its port each show the packet: never more resets than segments.
        seen.resets = u32::try_from(resets.clone().count()).unwrap_or(u32::MAX).min(seen.sent);
        seen.answer_ttl = resets.map(|answer| answer.ttl).next();
    }
}

fn not_asked(error: &io::Error) -> NotAsked {
    super::raw_not_asked("tcp.ack-probe", error, "whether packets to the port reach a listener")
}
