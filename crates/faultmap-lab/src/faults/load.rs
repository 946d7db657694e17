//! Faults of too much traffic: a host sends more than its shaper lets out, or looks for more neighbours than its kernel can remember.
//! The traffic goes to hosts of the lab only.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::world::{FaultError, World};
use crate::host::{Family, Host};
use crate::oracle::{Sight, Witness};

/// Bytes of one datagram: with its headers it fits every link of the lab.
const DATAGRAM: usize = 1_200;
/// The discard port (RFC 863): nothing of the lab listens there.
const DISCARD: u16 = 9;
const ROUND: Duration = Duration::from_millis(10);
/// Sockets that look for neighbours.
const SEEKERS: usize = 16;
/// Before the check starts, the queue is full.
const HEAD_START: Duration = Duration::from_millis(250);

/// Datagrams that a thread of a host keeps sending.
struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

impl Traffic {
    /// Calls `round` every ten milliseconds until told to stop; it says how many datagrams it sent.
    fn start(
        host: &Host,
        name: &str,
        mut round: impl FnMut(&UdpSocket) -> u64 + Send + 'static,
        any: IpAddr,
    ) -> Result<Traffic, FaultError> {
        let traffic = Traffic { stop: Arc::default(), sent: Arc::default() };
        let (stop, sent) = (Arc::clone(&traffic.stop), Arc::clone(&traffic.sent));
        let socket = host.run(move || UdpSocket::bind(SocketAddr::new(any, 0)))?;
        let socket = socket.map_err(|source| FaultError::Kernel { doing: "open", what: "UDP socket".to_owned(), source })?;
        host.spawn(name, move || {
            while !stop.load(Ordering::Relaxed) {
                sent.fetch_add(round(&socket), Ordering::Relaxed);
                thread::sleep(ROUND);
            }
        })?;
        thread::sleep(HEAD_START);
        Ok(traffic)
    }

    fn end(&self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.sent.load(Ordering::Relaxed)
    }
}

/// The host's first interface lets out `rate_kbit`, and the host sends `offered_kbit` beside the check.
pub(super) fn overloaded_queue(
    world: &mut World,
    at: &str,
    (rate_kbit, limit_bytes): (u32, u32),
    offered_kbit: u32,
    to: &str,
) -> Result<Witness, FaultError> {
    let addr = world.net.host(to)?.addr(Family::V4);
    let addr = addr.ok_or_else(|| FaultError::Impossible { reason: format!("{to} has no IPv4 address to send to") })?;
    let host = world.net.host(at)?;
    let (interface, link) = host
        .interfaces()
        .first()
        .map(|interface| (interface.name.clone(), interface.link.clone()))
        .ok_or_else(|| FaultError::Impossible { reason: format!("{at} has no interface") })?;
    host.rtnl()?.set_shaper(&interface, rate_kbit, limit_bytes)?;
    let before = delivered(world, at, &link)?;
    let each_round = u64::from(offered_kbit).saturating_mul(125) / 100 / DATAGRAM as u64;
    let target = SocketAddr::new(addr, DISCARD);
    let round = move |socket: &UdpSocket| (0..each_round.max(1)).filter(|_| socket.send_to(&[0; DATAGRAM], target).is_ok()).count() as u64;
    let traffic = Traffic::start(world.net.host(at)?, "overload", round, [0, 0, 0, 0].into())?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let sent = traffic.end();
        let out = delivered(world, &at, &link)?.saturating_sub(before);
        Ok(Sight::count(
            &format!("datagrams of {at} that never reached the cable (sent: {sent}, frames on it: {out})"),
            sent.saturating_sub(out),
        ))
    }))
}

fn delivered(world: &World, at: &str, link: &str) -> Result<u64, FaultError> {
    let link = world.net.link(link)?;
    Ok(link.direction_from(at).map_or(0, |direction| link.stats().way(direction).delivered))
}

/// The host sends to so many addresses of its own segment that its kernel cannot remember them all. The table is the whole machine's.
pub(super) fn neighbour_table(world: &mut World, at: &str) -> Result<Witness, FaultError> {
    let host = world.net.host(at)?;
    let Some(IpAddr::V6(own)) = host.addr(Family::V6) else {
        return Err(FaultError::Impossible { reason: format!("{at} has no IPv6 segment to search") });
    };
    let mut next = 0_u16;
    let mut sockets = Vec::new();
    let round = move |_: &UdpSocket| {
        // What waits for a neighbour fills the socket that sent it, after some two hundred: one alone fills no table.
        while sockets.len() < SEEKERS
            && let Ok(socket) = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))
        {
            let _ = socket.set_nonblocking(true);
            sockets.push(socket);
        }
        let mut sent = 0;
        for socket in sockets.iter().flat_map(|socket| std::iter::repeat_n(socket, 8)) {
            next = next.wrapping_add(1);
            let mut segments = own.segments();
            (segments[6], segments[7]) = (0xfa11, next);
            sent += u64::from(socket.send_to(b"?", SocketAddr::new(Ipv6Addr::from(segments).into(), DISCARD)).is_ok());
        }
        sent
    };
    let traffic = Traffic::start(host, "neighbours", round, Ipv6Addr::UNSPECIFIED.into())?;
    Ok(Witness::new(move |_| Ok(Sight::count("datagrams to neighbours that nobody is", traffic.end()))))
}
