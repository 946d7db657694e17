//! Counts the asking check's packets on this host's wires, below firewall and reverse-path filter (needs CAP_NET_RAW). Keeps no packet.

use super::filter;
use crate::recorder::ms;
use crate::sock::{link_layer, packet};
use faultmap_model::observation::{FarError, FarWire};
use faultmap_wire::{Icmp, Icmpv6, IpPacket, Tcp, TcpFlags, icmp, icmpv6, proto};
use nix::errno::Errno;
use nix::net::if_::if_indextoname;
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::Socket;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Instant;

/// Packets taken in at one look.
const MOST_AT_ONCE: usize = 4096;
const MOST_INTERFACES: usize = 64;
const MOST_ERRORS: usize = 16;
// linux/if_packet.h
const PACKET_HOST: u8 = 0;
const PACKET_OUTGOING: u8 = 4;
/// Bigger ones were merged by the network card's driver: they say nothing of the path.
const LARGEST_PACKET: usize = 9216;

/// A tap with its counts.
pub(super) struct Tap {
    socket: Socket,
    target: SocketAddr,
    clients: Vec<IpAddr>,
    opened: Instant,
    /// By interface: a bridge and its port both show a packet.
    counts: BTreeMap<usize, FarWire>,
    missed: u32,
}

impl Tap {
    /// Begins to count.
    pub(super) fn open(target: SocketAddr, clients: &[IpAddr]) -> io::Result<Self> {
        let socket = link_layer::open()?;
        socket.attach_filter(&filter::program(target, clients))?;
        // As large as the system lets us: between two looks nothing is taken out.
        let _ = socket.set_recv_buffer_size(4 << 20);
        socket.bind(&link_layer::address(link_layer::EVERYTHING, 0, None)?)?;
        Ok(Self { socket, target, clients: clients.to_vec(), opened: Instant::now(), counts: BTreeMap::new(), missed: 0 })
    }

    /// Counts what waits.
    pub(super) fn take_in(&mut self) {
        let mut bytes = [0_u8; 256];
        for _ in 0..MOST_AT_ONCE {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut bytes) {
                Ok((length, Some(from))) => self.count(bytes.get(..length).unwrap_or(&bytes), &from),
                Ok((_, None)) => {}
                // The interface going down is told as an error once; the next read goes on.
                Err(Errno::ENETDOWN | Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        self.missed = self.missed.saturating_add(lost(&self.socket));
    }

    /// What was counted, of the interface that saw most: for each direction by itself, for answers may leave by another.
    pub(super) fn wire(&self) -> FarWire {
        let name =
            |index: usize| u32::try_from(index).ok().and_then(|index| if_indextoname(index).ok()).and_then(|name| name.into_string().ok());
        let inward = self.counts.iter().max_by_key(|(_, wire)| (wire.syns, wire.any_in, wire.other_syns));
        let outward = self.counts.iter().max_by_key(|(_, wire)| (wire.syn_acks + wire.resets, wire.any_out));
        let mut wire = inward.map(|(_, wire)| wire.clone()).unwrap_or_default();
        wire.in_iface = inward.filter(|(_, wire)| wire.any_in > 0).and_then(|(index, _)| name(*index));
        if let Some((index, out)) = outward {
            (wire.syn_acks, wire.resets, wire.data_out) = (out.syn_acks, out.resets, out.data_out);
            (wire.largest_out, wire.any_out, wire.echo_out) = (out.largest_out, out.any_out, out.echo_out);
            wire.errors_out.clone_from(&out.errors_out);
            wire.out_iface = (out.any_out > 0).then(|| name(*index)).flatten();
        }
        // Errors about our answers may come in anywhere.
        let most = self.counts.values().max_by_key(|wire| wire.errors_in.iter().map(|error| error.count).sum::<u32>());
        wire.errors_in = most.map(|wire| wire.errors_in.clone()).unwrap_or_default();
        wire.missed = self.missed;
        wire
    }

    fn count(&mut self, bytes: &[u8], from: &LinkAddr) {
        let incoming = match from.pkttype() {
            PACKET_HOST => true,
            PACKET_OUTGOING => false,
            _ => return,
        };
        let Ok(packet) = IpPacket::parse(bytes) else { return };
        if self.counts.len() >= MOST_INTERFACES && !self.counts.contains_key(&from.ifindex()) {
            return;
        }
        let since = ms(self.opened.elapsed());
        let (target, clients) = (self.target, self.clients.as_slice());
        let wire = self.counts.entry(from.ifindex()).or_default();
        if incoming {
            let mac = from.addr().filter(|mac| *mac != [0; 6]).map(packet::spelled);
            count_in(wire, &packet, target, clients, since, mac);
        } else {
            count_out(wire, &packet, target, clients);
        }
    }
}

fn count_in(wire: &mut FarWire, packet: &IpPacket<'_>, target: SocketAddr, clients: &[IpAddr], since: f64, mac: Option<String>) {
    let ours = clients.contains(&packet.src);
    wire.any_in = wire.any_in.saturating_add(u32::from(ours));
    if let Some((tcp, data)) = tcp_of(packet).filter(|(tcp, _)| packet.dst == target.ip() && tcp.dst_port == target.port()) {
        let opening = tcp.flags.has(TcpFlags::SYN) && !tcp.flags.has(TcpFlags::ACK);
        if !ours {
            wire.other_syns = wire.other_syns.saturating_add(u32::from(opening));
            return;
        }
        wire.largest_in = wire.largest_in.max(size(packet));
        wire.data_in = wire.data_in.saturating_add(u32::from(data));
        if opening {
            wire.syns = wire.syns.saturating_add(1);
            wire.first_syn_ms.get_or_insert(since);
            wire.syn_ttl.get_or_insert(packet.hop_limit);
            wire.syn_mac = wire.syn_mac.take().or(mac);
        }
        return;
    }
    match message(packet) {
        Some(Message::EchoRequest) if ours => wire.echo_in = wire.echo_in.saturating_add(1),
        Some(Message::Error { icmp_type, code, about }) if about.is_some_and(|about| clients.contains(&about)) => {
            note(&mut wire.errors_in, icmp_type, code, packet.src);
        }
        _ => {}
    }
}

fn count_out(wire: &mut FarWire, packet: &IpPacket<'_>, target: SocketAddr, clients: &[IpAddr]) {
    if !clients.contains(&packet.dst) {
        return;
    }
    wire.any_out = wire.any_out.saturating_add(1);
    if let Some((tcp, data)) = tcp_of(packet).filter(|(tcp, _)| packet.src == target.ip() && tcp.src_port == target.port()) {
        wire.largest_out = wire.largest_out.max(size(packet));
        wire.data_out = wire.data_out.saturating_add(u32::from(data));
        if tcp.flags.has(TcpFlags::RST) {
            wire.resets = wire.resets.saturating_add(1);
        } else if tcp.flags.has(TcpFlags::SYN.with(TcpFlags::ACK)) {
            wire.syn_acks = wire.syn_acks.saturating_add(1);
        }
        return;
    }
    match message(packet) {
        Some(Message::EchoReply) => wire.echo_out = wire.echo_out.saturating_add(1),
        Some(Message::Error { icmp_type, code, .. }) => note(&mut wire.errors_out, icmp_type, code, packet.src),
        _ => {}
    }
}

/// The header of a TCP segment, and whether data follows it.
fn tcp_of<'a>(packet: &IpPacket<'a>) -> Option<(Tcp<'a>, bool)> {
    if packet.protocol != proto::TCP || !packet.has_upper_header() {
        return None;
    }
    let (tcp, data) = Tcp::parse(packet.payload).ok()?;
    Some((tcp, !data.is_empty()))
}

fn size(packet: &IpPacket<'_>) -> u32 {
    if packet.total_len > LARGEST_PACKET { 0 } else { u32::try_from(packet.total_len).unwrap_or(0) }
}

enum Message {
    EchoRequest,
    EchoReply,
    /// `about`: where the packet went that the error quotes.
    Error {
        icmp_type: u8,
        code: u8,
        about: Option<IpAddr>,
    },
}

fn message(packet: &IpPacket<'_>) -> Option<Message> {
    match packet.protocol {
        proto::ICMP => {
            let (header, quoted) = Icmp::parse(packet.payload).ok()?;
            match header.kind {
                icmp::ECHO_REQUEST => Some(Message::EchoRequest),
                icmp::ECHO_REPLY => Some(Message::EchoReply),
                _ if header.is_error() => Some(Message::Error { icmp_type: header.kind, code: header.code, about: quoted_to(quoted) }),
                _ => None,
            }
        }
        proto::ICMPV6 => {
            let (header, quoted) = Icmpv6::parse(packet.payload).ok()?;
            match header.kind {
                icmpv6::ECHO_REQUEST => Some(Message::EchoRequest),
                icmpv6::ECHO_REPLY => Some(Message::EchoReply),
                _ if header.is_error() => Some(Message::Error { icmp_type: header.kind, code: header.code, about: quoted_to(quoted) }),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The destination in the header that an error quotes; the rest of the quotation may be cut off.
fn quoted_to(quoted: &[u8]) -> Option<IpAddr> {
    match quoted.first()? >> 4 {
        4 => quoted.get(16..20).and_then(|octets| <[u8; 4]>::try_from(octets).ok()).map(IpAddr::from),
        6 => quoted.get(24..40).and_then(|octets| <[u8; 16]>::try_from(octets).ok()).map(IpAddr::from),
        _ => None,
    }
}

fn note(errors: &mut Vec<FarError>, icmp_type: u8, code: u8, from: IpAddr) {
    let same = |error: &&mut FarError| (error.icmp_type, error.code, error.from) == (icmp_type, code, from);
    if let Some(error) = errors.iter_mut().find(same) {
        error.count = error.count.saturating_add(1);
    } else if errors.len() < MOST_ERRORS {
        errors.push(FarError { icmp_type, code, from, count: 1 });
    }
}

/// Packets that found the tap's buffer full since the last call (packet(7), PACKET_STATISTICS).
#[allow(unsafe_code)]
fn lost(socket: &Socket) -> u32 {
    const PACKET_STATISTICS: libc::c_int = 6;
    // struct tpacket_stats: packets, drops.
    let mut stats = [0_u32; 2];
    let mut length = libc::socklen_t::try_from(size_of_val(&stats)).unwrap_or(0);
    // SAFETY: the buffer holds what the option writes, and its length is told.
    let told =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_PACKET, PACKET_STATISTICS, stats.as_mut_ptr().cast(), &raw mut length) };
    if told == 0 { stats[1] } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultmap_wire::ip;

    const CLIENT: &str = "10.0.1.10";
    const SERVER: &str = "10.0.2.20:443";

    fn seen(packets: &[(bool, Vec<u8>)]) -> FarWire {
        let (target, clients) = (SERVER.parse().unwrap(), [CLIENT.parse().unwrap()]);
        let mut wire = FarWire::default();
        for (incoming, bytes) in packets {
            let packet = IpPacket::parse(bytes).unwrap();
            if *incoming {
                count_in(&mut wire, &packet, target, &clients, 1.0, None);
            } else {
                count_out(&mut wire, &packet, target, &clients);
            }
        }
        wire
    }

    fn segment(from: &str, to: &str, flags: TcpFlags) -> Vec<u8> {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let tcp = Tcp::new(from.port(), to.port(), flags).emit(from.ip(), to.ip(), &[]);
        ip::emit(from.ip(), to.ip(), proto::TCP, 61, &tcp).unwrap()
    }

    #[test]
    fn a_syn_of_ours_and_its_answer_are_counted_and_those_of_others_apart() {
        let wire = seen(&[
            (true, segment("10.0.1.10:5000", SERVER, TcpFlags::SYN)),
            (true, segment("10.0.9.9:5000", SERVER, TcpFlags::SYN)),
            (true, segment("10.0.1.10:5000", "10.0.2.20:80", TcpFlags::SYN)),
            (false, segment(SERVER, "10.0.1.10:5000", TcpFlags::SYN.with(TcpFlags::ACK))),
            (false, segment(SERVER, "10.0.9.9:5000", TcpFlags::RST)),
        ]);
        assert_eq!((wire.syns, wire.other_syns, wire.syn_acks, wire.resets), (1, 1, 1, 0));
        assert_eq!((wire.any_in, wire.any_out, wire.syn_ttl), (2, 1, Some(61)));
    }

    #[test]
    fn an_error_about_our_answer_names_the_router_that_sent_it() {
        let answer = segment(SERVER, "10.0.1.10:5000", TcpFlags::SYN.with(TcpFlags::ACK));
        let error = icmp::error_about(&answer, "10.0.2.1".parse().unwrap(), 3, 0, [0; 4]).unwrap();
        let wire = seen(&[(true, error.clone()), (true, error)]);
        assert_eq!(wire.errors_in, [FarError { icmp_type: 3, code: 0, from: "10.0.2.1".parse().unwrap(), count: 2 }]);
    }

    proptest::proptest! {
        #[test]
        fn no_packet_makes_the_count_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120), incoming: bool) {
            if IpPacket::parse(&bytes).is_ok() {
                let _ = seen(&[(incoming, bytes)]);
            }
        }
    }
}
