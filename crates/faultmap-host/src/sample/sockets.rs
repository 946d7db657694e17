//! All sockets of this namespace for a sample, counted as the kernel lists them: one list a family, nothing kept of each.

use super::missing;
use crate::netlink::Extent;
use crate::sock_diag::{self, Ask, CLOSE_WAIT, ESTABLISHED, LISTEN, SYN_RECV, SYN_SENT, Socket, TIME_WAIT, UdpSocket};
use faultmap_model::host::{DestinationSample, HostSample, ListenerSample, PortRange, StuckSocket, TcpSample, UdpSample, UdpSocketSample};
use foldhash::HashMap;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};

/// Sockets counted, per family: some 200 ms. On a host with more, the counts are lower bounds.
const SOCKETS_MAX: usize = 200_000;
const LISTENERS_MAX: usize = 8192;
const UDP_MAX: usize = 16_384;
/// Pairs of source and destination remembered while counting, and then kept.
const PAIRS_MAX: usize = 65_536;
const PAIRS_KEPT: usize = 16;
const STUCK_KEPT: usize = 8;
const UNREACHED_KEPT: usize = 16;
/// As many as the judge expects: with fewer, all others had nothing to tell.
const UDP_KEPT: usize = 64;
const CLOSE_WAIT_KEPT: usize = 16;
const HOUR_MS: u32 = 3_600_000;

pub(super) fn read(sample: &mut HostSample) {
    let mut count = Count::default();
    let (mut listeners, mut failed) = (Vec::new(), None);
    for v6 in [false, true] {
        let ask = Ask { states: 1 << LISTEN, to: None, v6, with_info: false };
        if let Err(error) = sock_diag::list(&ask, LISTENERS_MAX, |socket| listeners.push(listener(&socket))) {
            failed.get_or_insert((v6, error));
        }
    }
    count.ports = sample.ports;
    count.listening = Listening::new(listeners.iter().map(|listener| listener.bound.port()));
    count.tcp.whole = true;
    for v6 in [false, true] {
        let ask = Ask { states: !(1 << LISTEN), to: None, v6, with_info: true };
        match sock_diag::list(&ask, SOCKETS_MAX, |socket| count.take(&socket)) {
            Ok(Extent::Whole) => {}
            Ok(Extent::Cut) => count.tcp.whole = false,
            Err(error) => {
                failed.get_or_insert((v6, error));
            }
        }
    }
    // A kernel without IPv6 refuses its list; the IPv4 one is enough then.
    match failed {
        Some((false, error)) => missing(sample, "sockets", &error),
        _ => {
            if !count.tcp.whole {
                missing(sample, "sockets beyond the first 200000", &"too many to count at each look: counts are lower bounds");
            }
            count.finish(sample, listeners);
        }
    }
    sample.unreached.retain(|station| station.connecting > 0);
    sample.unreached.truncate(UNREACHED_KEPT);
    udp(sample);
}

fn listener(socket: &Socket) -> ListenerSample {
    ListenerSample {
        bound: socket.local,
        waiting: u64::from(socket.receive_queue),
        limit: u64::from(socket.send_queue),
        half_open: 0,
        inode: socket.inode,
        pid: None,
        program: None,
    }
}

/// The ports that somebody listens on: asked for every socket.
#[derive(Default)]
struct Listening(Vec<bool>);

impl Listening {
    fn new(ports: impl Iterator<Item = u16>) -> Self {
        let mut listening = vec![false; usize::from(u16::MAX) + 1];
        for port in ports {
            if let Some(place) = listening.get_mut(usize::from(port)) {
                *place = true;
            }
        }
        Self(listening)
    }

    fn has(&self, port: u16) -> bool {
        self.0.get(usize::from(port)).copied().unwrap_or(false)
    }
}

/// What is counted in one pass.
#[derive(Default)]
struct Count {
    ports: Option<PortRange>,
    listening: Listening,
    tcp: TcpSample,
    states: [u64; 16],
    pairs: HashMap<(IpAddr, SocketAddr), (u64, u64)>,
    half_open: HashMap<SocketAddr, u64>,
    close_wait_own: BTreeMap<u16, u64>,
    close_wait_to: HashMap<SocketAddr, u64>,
    /// By address; the port is 0.
    connecting: HashMap<SocketAddr, u64>,
}

impl Count {
    fn take(&mut self, socket: &Socket) {
        if let Some(count) = self.states.get_mut(usize::from(socket.state)) {
            *count += 1;
        }
        let own = self.listening.has(socket.local.port());
        match socket.state {
            SYN_RECV => note(&mut self.half_open, socket.local),
            CLOSE_WAIT if own => *self.close_wait_own.entry(socket.local.port()).or_insert(0) += 1,
            CLOSE_WAIT => note(&mut self.close_wait_to, socket.remote),
            SYN_SENT => note(&mut self.connecting, SocketAddr::new(socket.remote.ip(), 0)),
            ESTABLISHED => self.established(socket),
            _ => {}
        }
        let ephemeral = self.ports.is_some_and(|range| (range.low..=range.high).contains(&socket.local.port()));
        if ephemeral && !own && socket.remote.port() != 0 {
            let key = (socket.local.ip(), socket.remote);
            let full = self.pairs.len() >= PAIRS_MAX;
            let pair = match self.pairs.entry(key) {
                Entry::Occupied(pair) => Some(pair.into_mut()),
                Entry::Vacant(place) if !full => Some(place.insert((0, 0))),
                Entry::Vacant(_) => None,
            };
            if let Some((used, waiting)) = pair {
                *used += 1;
                *waiting += u64::from(socket.state == TIME_WAIT);
            }
        }
    }

    fn established(&mut self, socket: &Socket) {
        let remote = !socket.remote.ip().is_loopback() && socket.remote.ip() != socket.local.ip();
        self.tcp.established_remote += u64::from(remote);
        self.tcp.unread += u64::from(socket.receive_queue > 0);
        let Some(info) = socket.info else { return };
        self.tcp.idle_hour += u64::from(info.last_data_recv_ms.min(info.last_ack_recv_ms) >= HOUR_MS);
        let backing_off = remote && info.unacked > 0 && info.backoff >= 2;
        // Data waits, none is under way, and the peer's window is shut or being probed. Probes of idle connections
        // (keep-alive) have nothing that waits.
        let shut = info.send_window == Some(0) || (info.probes > 0 && info.send_window.is_none_or(|window| window < 512));
        let zero_window = socket.send_queue > 0 && info.unacked == 0 && shut;
        self.tcp.backing_off += u64::from(backing_off);
        self.tcp.zero_window += u64::from(zero_window);
        if backing_off || zero_window {
            self.stuck(StuckSocket {
                local: socket.local,
                remote: socket.remote,
                zero_window,
                backoff: info.backoff,
                silent_ms: u64::from(info.last_data_recv_ms.min(info.last_ack_recv_ms)),
            });
        }
    }

    fn stuck(&mut self, socket: StuckSocket) {
        let at = self.tcp.stuck.partition_point(|other| other.silent_ms >= socket.silent_ms);
        if at < STUCK_KEPT {
            self.tcp.stuck.insert(at, socket);
            self.tcp.stuck.truncate(STUCK_KEPT);
        }
    }

    fn finish(mut self, sample: &mut HostSample, mut listeners: Vec<ListenerSample>) {
        for (state, count) in self.states.iter().enumerate().filter(|(_, count)| **count > 0) {
            if let Some(name) = u8::try_from(state).ok().and_then(sock_diag::state_name) {
                *self.tcp.states.entry(name.to_owned()).or_insert(0) += count;
            }
        }
        self.tcp.states.insert("LISTEN".to_owned(), listeners.len() as u64);
        let own = self.close_wait_own.iter().map(|(port, count)| (format!(":{port}"), *count));
        let mut waits: Vec<(String, u64)> = own.chain(self.close_wait_to.iter().map(|(to, count)| (to.to_string(), *count))).collect();
        waits.sort_by_key(|(place, count)| (Reverse(*count), place.clone()));
        self.tcp.close_wait = waits.into_iter().take(CLOSE_WAIT_KEPT).collect();
        attribute(&mut listeners, &self.half_open);
        for station in &mut sample.unreached {
            station.connecting = self.connecting.get(&SocketAddr::new(station.address, 0)).copied().unwrap_or(0);
        }
        let pair = |((source, destination), (used, time_wait))| DestinationSample { source, destination, used, time_wait };
        let mut pairs: Vec<DestinationSample> = self.pairs.into_iter().map(pair).collect();
        pairs.sort_by_key(|pair| (Reverse(pair.used), pair.destination, pair.source));
        pairs.truncate(PAIRS_KEPT);
        (sample.tcp, sample.destinations, sample.listeners) = (Some(self.tcp), pairs, listeners);
    }
}

/// Half-open connections to the listener on the very address, else to the one on all addresses.
fn attribute(listeners: &mut [ListenerSample], half_open: &HashMap<SocketAddr, u64>) {
    for (at, count) in half_open {
        let exact = listeners.iter().position(|listener| listener.bound == *at);
        let any = || listeners.iter().position(|listener| listener.bound.port() == at.port() && listener.bound.ip().is_unspecified());
        if let Some(listener) = exact.or_else(any).and_then(|place| listeners.get_mut(place)) {
            listener.half_open += count;
        }
    }
}

fn note(counts: &mut HashMap<SocketAddr, u64>, at: SocketAddr) {
    if counts.len() < PAIRS_MAX || counts.contains_key(&at) {
        *counts.entry(at).or_insert(0) += 1;
    }
}

/// Every UDP socket is counted; those that lost something, or whose buffer fills, are kept.
fn udp(sample: &mut HostSample) {
    let (mut udp, mut failed) = (UdpSample::default(), None);
    for v6 in [false, true] {
        let listed = sock_diag::list_udp(v6, UDP_MAX, |socket| {
            udp.sockets += 1;
            keep(&mut udp.worst, &socket);
        });
        if let (Err(error), false) = (listed, v6) {
            failed = Some(error);
        }
    }
    match failed {
        Some(error) => missing(sample, "UDP sockets", &error),
        None => sample.udp = Some(udp),
    }
}

fn keep(worst: &mut Vec<UdpSocketSample>, socket: &UdpSocket) {
    let fills = u64::from(socket.receive_used) * 4 >= u64::from(socket.receive_limit) && socket.receive_used > 0;
    if socket.drops == 0 && !fills {
        return;
    }
    let rank = |drops: u64, used: u64| (drops, used);
    let own = rank(u64::from(socket.drops), u64::from(socket.receive_used));
    let at = worst.partition_point(|other| rank(other.drops, other.receive_used) >= own);
    if at < UDP_KEPT {
        worst.insert(
            at,
            UdpSocketSample {
                bound: socket.bound,
                inode: socket.inode,
                receive_used: u64::from(socket.receive_used),
                receive_limit: u64::from(socket.receive_limit),
                drops: u64::from(socket.drops),
                program: None,
            },
        );
        worst.truncate(UDP_KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sock_diag::Info;

    fn socket(state: u8, local: &str, remote: &str) -> Socket {
        let (local, remote) = (local.parse().expect("an address"), remote.parse().expect("an address"));
        Socket { state, local, remote, receive_queue: 0, send_queue: 0, v6_only: false, inode: 0, info: None }
    }

    fn counted(sockets: &[Socket]) -> Count {
        let ports = Some(PortRange { low: 32768, high: 60999, reserved: 0 });
        let mut count = Count { ports, listening: Listening::new([443, 40000].into_iter()), ..Count::default() };
        sockets.iter().for_each(|socket| count.take(socket));
        count
    }

    #[test]
    fn ports_are_counted_by_pair_and_a_listening_port_is_none_of_them() {
        let count = counted(&[
            socket(ESTABLISHED, "10.0.0.1:50000", "10.0.0.2:5432"),
            socket(TIME_WAIT, "10.0.0.1:50001", "10.0.0.2:5432"),
            socket(ESTABLISHED, "10.0.0.1:40000", "10.0.0.9:50000"),
            socket(ESTABLISHED, "10.0.0.1:443", "10.0.0.9:50001"),
        ]);
        let pair = ("10.0.0.1".parse().expect("an address"), "10.0.0.2:5432".parse().expect("an address"));
        assert_eq!(count.pairs.into_iter().collect::<Vec<_>>(), [(pair, (2, 1))]);
    }

    #[test]
    fn a_keep_alive_probe_is_no_closed_window() {
        let info = |probes, send_window| Some(Info { probes, send_window, ..Info::default() });
        let idle = Socket { info: info(1, Some(65_000)), ..socket(ESTABLISHED, "10.0.0.1:443", "10.0.0.9:1") };
        let shut = Socket { info: info(1, Some(0)), send_queue: 500, ..idle };
        let old_kernel = Socket { info: info(2, None), send_queue: 500, ..idle };
        assert_eq!(counted(&[idle]).tcp.zero_window, 0);
        assert_eq!(counted(&[shut, old_kernel]).tcp.zero_window, 2);
    }

    #[test]
    fn half_open_connections_belong_to_the_listener_that_answers_them() {
        let any = Socket { send_queue: 8, ..socket(LISTEN, "0.0.0.0:443", "0.0.0.0:0") };
        let mut listeners = vec![listener(&any), listener(&Socket { local: "10.0.0.1:443".parse().expect("an address"), ..any })];
        let count = counted(&[socket(SYN_RECV, "10.0.0.1:443", "9.9.9.9:1"), socket(SYN_RECV, "10.0.0.7:443", "9.9.9.9:1")]);
        attribute(&mut listeners, &count.half_open);
        assert_eq!(listeners.iter().map(|listener| listener.half_open).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn a_udp_socket_that_lost_nothing_and_waits_for_nothing_is_not_kept() {
        let bound = "0.0.0.0:53".parse().expect("an address");
        let quiet = UdpSocket { bound, inode: 1, receive_used: 0, receive_limit: 2000, drops: 0 };
        let mut worst = Vec::new();
        keep(&mut worst, &quiet);
        keep(&mut worst, &UdpSocket { receive_used: 600, ..quiet });
        keep(&mut worst, &UdpSocket { drops: 3, ..quiet });
        assert_eq!(worst.iter().map(|socket| socket.drops).collect::<Vec<_>>(), [3, 0]);
    }
}
