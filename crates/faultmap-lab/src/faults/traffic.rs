//! Traffic that a host makes beside whatever is measured: as a `[[given]]` the load of a busy and healthy host, as a `[[fault]]` what a fault
//! needs to be met. It goes to hosts of the lab only and never faster than it was told.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};

use super::exchanges::Exchanges;
use super::world::{FaultError, World};
use crate::host::{Family, Host};
use crate::oracle::{Sight, Witness};

/// Between two turns of a sender.
const ROUND: Duration = Duration::from_millis(10);
/// Before anything is measured, the load is steady.
const HEAD_START: Duration = Duration::from_millis(250);
/// Room for the longest UDP datagram.
const LONGEST: usize = 65_000;
/// How long a stream may take to be connected.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// What a host sends, to whom, and how fast.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrafficSpec {
    /// The host it goes to.
    pub to: String,
    /// The port there.
    pub port: u16,
    /// Over which IP version.
    #[serde(default = "v4")]
    pub family: Family,
    /// What is sent.
    pub load: Load,
    /// Connections or datagrams a second.
    #[serde(default)]
    pub per_second: u32,
    /// Kilobits a second of each stream; 0 is as many as the connection takes.
    #[serde(default)]
    pub kbit: u32,
    /// Bytes of each datagram.
    #[serde(default = "datagram")]
    pub bytes: u16,
    /// Streams at the same time.
    #[serde(default = "one")]
    pub flows: u16,
    /// Who takes streams and datagrams in at the other end.
    #[serde(default)]
    pub reader: Reader,
}

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// Many short TCP connections to a service: a request, its answer, the end.
    Connections,
    /// Long TCP transfers.
    Streams,
    /// UDP datagrams.
    Datagrams,
}

/// The other end of streams and datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reader {
    /// A program that the lab puts there reads everything.
    #[default]
    Reads,
    /// A program that the lab puts there never reads.
    Idle,
    /// Nobody, or a service of the scenario.
    None,
}

fn v4() -> Family {
    Family::V4
}

fn datagram() -> u16 {
    1_200
}

fn one() -> u16 {
    1
}

/// What a sender shares with those who watch it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    stop: AtomicBool,
    /// Attempts, datagrams or bytes.
    pub(super) count: AtomicU64,
}

impl Sent {
    pub(super) fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }
}

/// How much is due by now, so that a late round is made up for and none goes beyond the rate.
pub(super) struct Pace {
    started: Instant,
    per_second: f64,
    done: f64,
}

impl Pace {
    pub(super) fn new(per_second: f64) -> Pace {
        Pace { started: Instant::now(), per_second, done: 0.0 }
    }

    /// Whole units due and not yet taken, as of `now`.
    pub(super) fn due(&mut self, now: Instant) -> u64 {
        let due = (now.saturating_duration_since(self.started).as_secs_f64() * self.per_second - self.done).max(0.0).floor();
        // A machine that stood still for a second must not send a second's worth at once.
        let most = (self.per_second * ROUND.as_secs_f64() * 8.0).max(1.0).floor();
        self.done += due;
        due.min(most) as u64
    }
}

/// Starts the load; it goes on until the run is over.
pub(super) fn start(world: &mut World, at: &str, spec: &TrafficSpec) -> Result<Witness, FaultError> {
    let addr = world.net.host(&spec.to)?.addr(spec.family);
    let addr = addr.ok_or_else(|| FaultError::Impossible { reason: format!("{} has no {:?} address to send to", spec.to, spec.family) })?;
    let target = SocketAddr::new(addr, spec.port);
    let (host, peer) = (world.net.host(at)?, world.net.host(&spec.to)?);
    let sent = Arc::new(Sent::default());
    let unit = match spec.load {
        Load::Connections => {
            exchanges(host, target, spec, &sent)?;
            "connections tried"
        }
        Load::Streams => {
            receive_streams(peer, target, spec.reader)?;
            for _ in 0..spec.flows {
                stream(host, target, spec, &sent)?;
            }
            "bytes streamed"
        }
        Load::Datagrams => {
            receive_datagrams(peer, target, spec.reader)?;
            datagrams(host, target, spec, &sent)?;
            "datagrams sent"
        }
    };
    thread::sleep(HEAD_START);
    let what = format!("{unit} by {at} to {target}");
    Ok(Witness::new(move |_| {
        sent.stop.store(true, Ordering::Relaxed);
        Ok(Sight::count(&what, sent.count.load(Ordering::Relaxed)))
    }))
}

fn kernel(doing: &'static str, what: impl ToString) -> impl FnOnce(io::Error) -> FaultError {
    move |source| FaultError::Kernel { doing, what: what.to_string(), source }
}

fn exchanges(host: &Host, target: SocketAddr, spec: &TrafficSpec, sent: &Arc<Sent>) -> Result<(), FaultError> {
    let (sent, per_second) = (Arc::clone(sent), f64::from(spec.per_second));
    host.spawn("connections", move || {
        let (mut pace, mut exchanges) = (Pace::new(per_second), Exchanges::new(target));
        while sent.goes_on() {
            let now = Instant::now();
            let due = pace.due(now);
            sent.add(due);
            exchanges.round(due, now);
            thread::sleep(ROUND);
        }
    })?;
    Ok(())
}

fn stream(host: &Host, target: SocketAddr, spec: &TrafficSpec, sent: &Arc<Sent>) -> Result<(), FaultError> {
    let connect = move || {
        let stream = TcpStream::connect_timeout(&target, CONNECT_LIMIT)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let mut stream = host.run(connect)?.map_err(kernel("connect to", target))?;
    let (sent, kbit) = (Arc::clone(sent), spec.kbit);
    host.spawn("stream", move || {
        let chunk = [0x5a; 64 * 1024];
        let mut pace = Pace::new(if kbit == 0 { 1e10 } else { f64::from(kbit) * 125.0 });
        while sent.goes_on() {
            let mut due = usize::try_from(pace.due(Instant::now())).unwrap_or(usize::MAX);
            while due > 0 {
                match stream.write(chunk.get(..due.min(chunk.len())).unwrap_or_default()) {
                    Ok(written) => {
                        due = due.saturating_sub(written.max(1));
                        sent.add(written as u64);
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return,
                }
            }
            thread::sleep(ROUND);
        }
    })?;
    Ok(())
}

/// Listens at the other end and takes in what comes, or takes it in and never reads.
fn receive_streams(host: &Host, target: SocketAddr, reader: Reader) -> Result<(), FaultError> {
    if reader == Reader::None {
        return Ok(());
    }
    let listener = host.run(move || TcpListener::bind(target))?.map_err(kernel("listen on", target))?;
    host.spawn("stream-sink", move || {
        let mut unread = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            if reader == Reader::Idle {
                unread.push(stream);
                continue;
            }
            thread::spawn(move || {
                let mut chunk = [0; 64 * 1024];
                while let Ok(1..) = stream.read(&mut chunk) {}
            });
        }
    })?;
    Ok(())
}

fn datagrams(host: &Host, target: SocketAddr, spec: &TrafficSpec, sent: &Arc<Sent>) -> Result<(), FaultError> {
    let any: IpAddr = if target.is_ipv4() { [0, 0, 0, 0].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let open = move || {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let socket = host.run(open)?.map_err(kernel("open", "UDP socket"))?;
    let (sent, per_second, bytes) = (Arc::clone(sent), f64::from(spec.per_second), usize::from(spec.bytes).min(LONGEST));
    host.spawn("datagrams", move || {
        let payload = vec![0x5a; bytes];
        let mut pace = Pace::new(per_second);
        while sent.goes_on() {
            let due = pace.due(Instant::now());
            for _ in 0..due {
                // What cannot be sent (no route, a full queue) is what some faults are about.
                let _ = socket.send_to(&payload, target);
            }
            sent.add(due);
            thread::sleep(ROUND);
        }
    })?;
    Ok(())
}

fn receive_datagrams(host: &Host, target: SocketAddr, reader: Reader) -> Result<(), FaultError> {
    if reader == Reader::None {
        return Ok(());
    }
    let socket = host.run(move || UdpSocket::bind(target))?.map_err(kernel("bind UDP socket to", target))?;
    host.spawn("datagram-sink", move || {
        let mut buffer = vec![0; LONGEST];
        loop {
            match reader {
                Reader::Idle => thread::park(),
                _ => drop(socket.recv(&mut buffer)),
            }
        }
    })?;
    Ok(())
}

/// A nonblocking TCP socket on its way to `to`.
pub(super) fn begin_connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        _ => Ok(socket.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_keeps_its_rate_and_makes_up_for_late_rounds_but_not_for_long_ones() {
        let mut pace = Pace::new(1000.0);
        let start = pace.started;
        assert_eq!(pace.due(start + Duration::from_millis(10)), 10);
        assert_eq!(pace.due(start + Duration::from_millis(10)), 0);
        assert_eq!(pace.due(start + Duration::from_millis(35)), 25);
        assert_eq!(pace.due(start + Duration::from_secs(10)), 80);
        assert_eq!(pace.due(start + Duration::from_millis(10_010)), 10);
    }
}
