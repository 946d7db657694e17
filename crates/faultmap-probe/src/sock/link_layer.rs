//! Packet sockets (packet(7)): sees and sends at the link layer, below routing and the local firewall. Needs CAP_NET_RAW.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// `ETH_P_ALL`, `ETH_P_ARP` of linux/if_ether.h.
pub(crate) const EVERYTHING: u16 = 0x0003;
pub(crate) const ARP: u16 = 0x0806;
/// The broadcast address of Ethernet.
pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

/// A socket that receives nothing until it is bound, so that a filter can be attached first. Packets start with their network header.
pub(crate) fn open() -> io::Result<Socket> {
    Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), Some(Protocol::from(0)))
}

/// The address of a station, or with `mac` `None` of a whole interface; `index` 0 is every interface.
#[allow(unsafe_code)]
pub(crate) fn address(protocol: u16, index: u32, mac: Option<[u8; 6]>) -> io::Result<SockAddr> {
    let mut hardware = [0_u8; 8];
    if let Some(mac) = mac {
        hardware[..6].copy_from_slice(&mac);
    }
    let link = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or(0),
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(index).unwrap_or(0),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: if mac.is_some() { 6 } else { 0 },
        sll_addr: hardware,
    };
    let bytes = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the types that a sockaddr_storage is made to hold; the length given is the one written, and the family
    // says which type it is.
    unsafe {
        (&raw mut storage).cast::<libc::sockaddr_ll>().write(link);
        Ok(SockAddr::new(storage, bytes))
    }
}

/// What we need of an interface in order to ask for a neighbour in our own name.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) index: u32,
    /// `None` on links without link-layer addresses.
    pub(crate) mac: Option<[u8; 6]>,
    /// An IPv4 address of ours on it, in the subnet of the address asked for if there is one.
    pub(crate) address: Option<Ipv4Addr>,
}

/// Our station on `iface`, about to ask for `target`.
pub(crate) fn station(iface: &str, target: IpAddr) -> io::Result<Station> {
    let index = if_nametoindex(iface)?;
    let mut station = Station { index, mac: None, address: None };
    let mut in_subnet = false;
    for entry in getifaddrs()?.filter(|entry| entry.interface_name == iface) {
        let Some(address) = entry.address else {
            continue;
        };
        if let Some(link) = address.as_link_addr() {
            let ethernet = link.hatype() == libc::ARPHRD_ETHER && link.halen() == 6;
            station.mac = link.addr().filter(|mac| ethernet && *mac != [0; 6]);
        } else if let Some(ours) = address.as_sockaddr_in() {
            let mask = entry.netmask.and_then(|mask| mask.as_sockaddr_in().map(|mask| mask.ip()));
            let same = matches!((target, mask), (IpAddr::V4(target), Some(mask)) if masked(target, mask) == masked(ours.ip(), mask));
            if station.address.is_none() || (same && !in_subnet) {
                station.address = Some(ours.ip());
                in_subnet = same;
            }
        }
    }
    Ok(station)
}

fn masked(address: Ipv4Addr, mask: Ipv4Addr) -> u32 {
    u32::from(address) & u32::from(mask)
}

/// A classic BPF program that lets TCP packets from `peer` pass, received ones only (the kernel's linux/filter.h, `SKF_AD_PKTTYPE`).
pub(crate) fn tcp_from(peer: IpAddr) -> Vec<SockFilter> {
    let (version, protocol_at, address_at, address): (u32, u32, u32, Vec<u32>) = match peer {
        IpAddr::V4(peer) => (0x40, 9, 12, vec![u32::from(peer)]),
        IpAddr::V6(peer) => {
            let bits = u128::from(peer);
            let words = [96, 64, 32, 0].map(|shift| u32::try_from((bits >> shift) & 0xffff_ffff).unwrap_or(0));
            (0x60, 6, 8, words.to_vec())
        }
    };
    // Each test: what to load, the value wanted, and whether the load is masked to the version nibble.
    let packet_type = u32::from_ne_bytes((libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).to_ne_bytes());
    let mut tests = vec![(BYTE_AT, 0, version, true), (BYTE_AT, protocol_at, 6, false)];
    tests.extend(address.iter().zip(0..).map(|(&word, place)| (WORD_AT, address_at + 4 * place, word, false)));
    // 2 instructions for "not outgoing", 2 or 3 for each test, then accept and reject.
    let total = 2 + tests.iter().map(|test| if test.3 { 3 } else { 2 }).sum::<usize>();
    let mut program = vec![SockFilter::new(BYTE_AT, 0, 0, packet_type)];
    program.push(SockFilter::new(JUMP_IF_EQUAL, to_reject(total, 1), 0, u32::from(libc::PACKET_OUTGOING)));
    for (load, at, value, nibble) in tests {
        program.push(SockFilter::new(load, 0, 0, at));
        if nibble {
            program.push(SockFilter::new(AND, 0, 0, 0xf0));
        }
        let here = program.len();
        program.push(SockFilter::new(JUMP_IF_EQUAL, 0, to_reject(total, here), value));
    }
    program.push(SockFilter::new(RETURN, 0, 0, 0xffff));
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program
}

/// Distance from the jump at `here` to the rejecting instruction, which is the one after `total`.
fn to_reject(total: usize, here: usize) -> u8 {
    u8::try_from(total - here).unwrap_or(0)
}

// Opcodes of classic BPF (linux/bpf_common.h).
const BYTE_AT: u16 = 0x30;
const WORD_AT: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
