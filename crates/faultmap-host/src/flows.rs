//! Connections that other programs of this namespace hold toward the target, and whether they live while new ones
//! fail. Reads the kernel's socket list; never touches the sockets.

use crate::netlink::Netlink;
use crate::route::lookup;
use crate::sock_diag::{self, Ask, ESTABLISHED, SYN_SENT, Socket};
use faultmap_model::observation::{Flows, RouteOutcome};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Sockets looked at, per family. 16 384 with `TCP_INFO` take about 15 ms.
const SOCKETS_MAX: usize = 16_384;
/// Other destinations whose route is looked up, some 5 µs each.
const DESTINATIONS_MAX: usize = 128;

/// Counts the sockets toward `to` (and `port`, if given), other than those whose local address is in `ours`.
/// `since` is the age of our check: an ACK or data within it proves that a connection lives.
///
/// At most 16 384 sockets a family and 128 other destinations are looked at: on a host with more, the counts are
/// lower bounds. What cannot be read counts as nothing.
#[must_use]
pub fn flows(to: IpAddr, port: Option<u16>, since: Duration, ours: &[SocketAddr]) -> Flows {
    let to = to.to_canonical();
    let since_ms = u32::try_from(since.as_millis()).unwrap_or(u32::MAX);
    let mut flows = Flows { to: Some(to), port, ..Flows::default() };
    let ask =
        Ask { states: (1 << ESTABLISHED) | (1 << SYN_SENT), to: Some(SocketAddr::new(to, port.unwrap_or(0))), v6: false, with_info: true };
    each_family(ask, |socket| {
        // Asked for again: without filter support (CONFIG_INET_DIAG of old kernels) the list is unfiltered.
        let wanted = socket.remote.ip() == to && port.is_none_or(|port| socket.remote.port() == port);
        if wanted && !ours.contains(&socket.local) {
            count(&mut flows, &socket, since_ms);
        }
    });
    flows.alive_elsewhere = alive_elsewhere(to, since_ms, ours);
    flows
}

fn count(flows: &mut Flows, socket: &Socket, since_ms: u32) {
    if socket.state == SYN_SENT {
        flows.syn_sent += 1;
        return;
    }
    flows.established += 1;
    flows.alive += u32::from(is_alive(socket, since_ms));
    flows.stuck += u32::from(is_stuck(socket));
}

/// Something arrived during the check.
fn is_alive(socket: &Socket, since_ms: u32) -> bool {
    socket.info.is_some_and(|info| info.last_ack_recv_ms.min(info.last_data_recv_ms) <= since_ms)
}

/// Data is out, unacknowledged, and its retransmission backed off at least once.
fn is_stuck(socket: &Socket) -> bool {
    socket.info.is_some_and(|info| info.unacked > 0 && info.backoff > 0)
}

/// Living connections to other destinations that leave by the same interface and the same router.
fn alive_elsewhere(to: IpAddr, since_ms: u32, ours: &[SocketAddr]) -> u32 {
    let Ok(mut netlink) = Netlink::route() else {
        return 0;
    };
    let Some(exit) = exit_toward(&mut netlink, to) else {
        return 0;
    };
    let mut elsewhere: HashMap<IpAddr, u32> = HashMap::new();
    let ask = Ask { states: 1 << ESTABLISHED, to: None, v6: false, with_info: true };
    each_family(ask, |socket| {
        let other = socket.remote.ip();
        let counts = other != to
            && other.is_ipv4() == to.is_ipv4()
            && !other.is_loopback()
            && !ours.contains(&socket.local)
            && is_alive(&socket, since_ms);
        if counts && (elsewhere.len() < DESTINATIONS_MAX || elsewhere.contains_key(&other)) {
            *elsewhere.entry(other).or_insert(0) += 1;
        }
    });
    elsewhere.iter().filter(|(other, _)| exit_toward(&mut netlink, **other).as_ref() == Some(&exit)).map(|(_, n)| n).sum()
}

/// Interface and router by which packets to `to` leave this host.
fn exit_toward(netlink: &mut Netlink, to: IpAddr) -> Option<(String, Option<IpAddr>)> {
    match lookup(netlink, to) {
        RouteOutcome::Found { iface, gateway, local: false, .. } => Some((iface, gateway)),
        _ => None,
    }
}

/// The IPv4 list, then the IPv6 list, in which dual-stack programs hold their IPv4 connections.
fn each_family(ask: Ask, mut each: impl FnMut(Socket)) {
    for v6 in [false, true] {
        if !v6 && ask.to.is_some_and(|to| to.is_ipv6()) {
            continue;
        }
        // A family that cannot be read (no IPv6 in this kernel) adds nothing.
        let _ = sock_diag::list(&Ask { v6, ..ask }, SOCKETS_MAX, &mut each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sock_diag::Info;

    fn socket(state: u8, backoff: u8, unacked: u32, last_data_recv_ms: u32, last_ack_recv_ms: u32) -> Socket {
        let any = SocketAddr::from(([10, 0, 0, 1], 1));
        let info = Some(Info { backoff, unacked, last_data_recv_ms, last_ack_recv_ms, ..Info::default() });
        Socket { state, local: any, remote: any, receive_queue: 0, send_queue: 0, v6_only: false, inode: 0, info }
    }

    fn check(sockets: &[Socket], expected: (u32, u32, u32, u32)) {
        let mut flows = Flows::default();
        sockets.iter().for_each(|socket| count(&mut flows, socket, 1000));
        assert_eq!((flows.established, flows.alive, flows.stuck, flows.syn_sent), expected);
    }

    #[test]
    fn a_connection_lives_when_an_ack_arrived_during_the_check() {
        check(&[socket(ESTABLISHED, 0, 0, 90_000, 900), socket(ESTABLISHED, 0, 0, 90_000, 90_000)], (2, 1, 0, 0));
    }

    #[test]
    fn unacknowledged_data_is_stuck_only_once_its_retransmission_backed_off() {
        check(&[socket(ESTABLISHED, 0, 3, 9000, 9000), socket(ESTABLISHED, 2, 3, 9000, 9000)], (2, 0, 1, 0));
    }

    #[test]
    fn a_connect_under_way_is_counted_apart() {
        check(&[socket(SYN_SENT, 3, 1, 0, 0)], (0, 0, 0, 1));
    }
}
