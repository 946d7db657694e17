//! The TCP sockets of this namespace, whoever owns them (`sock_diag`, net/ipv4/inet_diag.c).
//! A thin request with a filter by destination; never reads or closes what is not asked for.

use crate::HostError;
use crate::netlink::{Body, Extent, Message, Netlink, Request, be_u16_at, u8_at, u32_at};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;

// linux/sock_diag.h, linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_LEN: usize = 56;
const ANSWER_LEN: usize = 72;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKMEMINFO: u16 = 7;
const INET_DIAG_SKV6ONLY: u16 = 11;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_BC_D_COND: u8 = 8;
/// `struct inet_diag_bc_op` and `struct inet_diag_hostcond` before its address.
const CONDITION_LEN: u8 = 4 + 8;

/// `TCP_*` states of net/tcp_states.h, as numbers and as names.
const STATES: [(u8, &str); 13] = [
    (ESTABLISHED, "ESTABLISHED"),
    (SYN_SENT, "SYN_SENT"),
    (SYN_RECV, "SYN_RECV"),
    (4, "FIN_WAIT1"),
    (5, "FIN_WAIT2"),
    (TIME_WAIT, "TIME_WAIT"),
    (CLOSE, "CLOSE"),
    (CLOSE_WAIT, "CLOSE_WAIT"),
    (9, "LAST_ACK"),
    (LISTEN, "LISTEN"),
    (11, "CLOSING"),
    (12, "SYN_RECV"),
    (13, "BOUND_INACTIVE"),
];
pub(crate) const ESTABLISHED: u8 = 1;
pub(crate) const SYN_SENT: u8 = 2;
pub(crate) const SYN_RECV: u8 = 3;
pub(crate) const TIME_WAIT: u8 = 6;
pub(crate) const CLOSE: u8 = 7;
pub(crate) const CLOSE_WAIT: u8 = 8;
pub(crate) const LISTEN: u8 = 10;

/// Which sockets to list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// Bit mask of states, `1 << state`.
    pub(crate) states: u32,
    /// Only sockets to this address, and port where it is not 0.
    pub(crate) to: Option<SocketAddr>,
    /// Of this family; IPv4 sockets of dual-stack programs are in the IPv6 list.
    pub(crate) v6: bool,
    /// With `TCP_INFO`.
    pub(crate) with_info: bool,
}

/// One socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) state: u8,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Of a listener: connections that wait to be accepted.
    pub(crate) receive_queue: u32,
    /// Of a listener: how many may wait.
    pub(crate) send_queue: u32,
    /// Of an IPv6 listener: it takes no IPv4 connections.
    pub(crate) v6_only: bool,
    /// By which a process's descriptors name it; 0 for half-open and dying sockets.
    pub(crate) inode: u32,
    pub(crate) info: Option<Info>,
}

/// The parts of `struct tcp_info` that tell a living connection from a stuck one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Info {
    /// Probes of a closed window (or of an idle connection) that were not answered.
    pub(crate) probes: u8,
    /// The peer's window; kernels before 6.3 do not tell.
    pub(crate) send_window: Option<u32>,
    pub(crate) backoff: u8,
    pub(crate) unacked: u32,
    pub(crate) last_data_recv_ms: u32,
    pub(crate) last_ack_recv_ms: u32,
}

/// Lists sockets; `each` sees at most `limit` of them.
pub(crate) fn list(ask: &Ask, limit: usize, mut each: impl FnMut(Socket)) -> Result<Extent, HostError> {
    // A fresh socket each time: one that was cut short cannot be asked again.
    let mut netlink = Netlink::sock_diag()?;
    let body = query(ask);
    let mut seen = 0_usize;
    let request = Request { operation: "SOCK_DIAG_BY_FAMILY", kind: SOCK_DIAG_BY_FAMILY, body: body.bytes() };
    netlink.dump(&request, |message| {
        if let Some(socket) = read_socket(message) {
            each(socket);
        }
        seen += 1;
        if seen >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

/// `struct sk_meminfo` of one UDP socket, and what it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UdpSocket {
    pub(crate) bound: SocketAddr,
    pub(crate) inode: u32,
    pub(crate) receive_used: u32,
    pub(crate) receive_limit: u32,
    pub(crate) drops: u32,
}

/// Lists UDP sockets; `each` sees at most `limit` of them.
pub(crate) fn list_udp(v6: bool, limit: usize, mut each: impl FnMut(UdpSocket)) -> Result<Extent, HostError> {
    let mut netlink = Netlink::sock_diag()?;
    let mut header = [0; REQUEST_LEN];
    header[0] = family_of(v6);
    header[1] = libc::IPPROTO_UDP as u8;
    header[2] = 1 << (INET_DIAG_SKMEMINFO - 1);
    header[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    let mut seen = 0_usize;
    let request = Request { operation: "SOCK_DIAG_BY_FAMILY (UDP)", kind: SOCK_DIAG_BY_FAMILY, body: &header };
    netlink.dump(&request, |message| {
        if let Some(socket) = read_udp(message) {
            each(socket);
        }
        seen += 1;
        if seen >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

/// `SK_MEMINFO_*`: rmem_alloc, rcvbuf, wmem_alloc, sndbuf, fwd_alloc, wmem_queued, optmem, backlog, drops.
fn read_udp(message: &Message<'_>) -> Option<UdpSocket> {
    if message.kind != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let body = message.body;
    let mut attributes = message.attributes(ANSWER_LEN);
    let (_, memory) = attributes.find(|(kind, _)| *kind == INET_DIAG_SKMEMINFO)?;
    Some(UdpSocket {
        bound: SocketAddr::new(address_at(body, 8, u8_at(body, 0)?)?, be_u16_at(body, 4)?),
        inode: u32_at(body, 68)?,
        receive_used: u32_at(memory, 0)?,
        receive_limit: u32_at(memory, 4)?,
        drops: u32_at(memory, 32)?,
    })
}

/// The name of a state, such as `TIME_WAIT`.
pub(crate) fn state_name(state: u8) -> Option<&'static str> {
    STATES.iter().find(|(number, _)| *number == state).map(|(_, name)| *name)
}

/// `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, and an identity that stays empty.
fn query(ask: &Ask) -> Body {
    let mut header = [0; REQUEST_LEN];
    header[0] = family_of(ask.v6);
    header[1] = libc::IPPROTO_TCP as u8;
    header[2] = if ask.with_info { 1 << (INET_DIAG_INFO - 1) } else { 0 };
    header[4..8].copy_from_slice(&ask.states.to_ne_bytes());
    let body = Body::new(&header);
    match ask.to {
        Some(to) => body.with(INET_DIAG_REQ_BYTECODE, &destination_filter(to)),
        None => body,
    }
}

/// One operation for the kernel's filter machine: go on when the destination matches, else jump past the end, which
/// rejects. An IPv4 condition also matches the mapped addresses of IPv6 sockets.
fn destination_filter(to: SocketAddr) -> Vec<u8> {
    let octets = match to.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let bytes = u8::try_from(octets.len()).unwrap_or(16);
    let length = CONDITION_LEN + bytes;
    let port = if to.port() == 0 { -1 } else { i32::from(to.port()) };
    let mut code = vec![INET_DIAG_BC_D_COND, length];
    code.extend_from_slice(&u16::from(length + 4).to_ne_bytes());
    code.extend_from_slice(&[family_of(to.is_ipv6()), bytes * 8, 0, 0]);
    code.extend_from_slice(&port.to_ne_bytes());
    code.extend_from_slice(&octets);
    code
}

/// `struct inet_diag_msg`: family, state, timer, retransmits, identity (ports, addresses, interface, cookie),
/// expires, rqueue, wqueue, uid, inode.
fn read_socket(message: &Message<'_>) -> Option<Socket> {
    if message.kind != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let body = message.body;
    let family = u8_at(body, 0)?;
    // One pass: on a busy host this runs for tens of thousands of sockets at each look.
    let (mut v6_only, mut info) = (false, None);
    for (kind, value) in message.attributes(ANSWER_LEN) {
        match kind {
            INET_DIAG_SKV6ONLY => v6_only = u8_at(value, 0) == Some(1),
            INET_DIAG_INFO => info = read_info(value),
            _ => {}
        }
    }
    Some(Socket {
        state: u8_at(body, 1)?,
        local: SocketAddr::new(address_at(body, 8, family)?, be_u16_at(body, 4)?),
        remote: SocketAddr::new(address_at(body, 24, family)?, be_u16_at(body, 6)?),
        receive_queue: u32_at(body, 56)?,
        send_queue: u32_at(body, 60)?,
        inode: u32_at(body, 68)?,
        v6_only,
        info,
    })
}

/// `struct tcp_info`: state, ca_state, retransmits, probes, backoff, ... then words from byte 8 on.
fn read_info(value: &[u8]) -> Option<Info> {
    Some(Info {
        probes: u8_at(value, 3)?,
        send_window: u32_at(value, 228),
        backoff: u8_at(value, 4)?,
        unacked: u32_at(value, 24)?,
        last_data_recv_ms: u32_at(value, 52)?,
        last_ack_recv_ms: u32_at(value, 56)?,
    })
}

/// The address at `offset`; a mapped one (`::ffff:10.0.0.1`) as what it is, an IPv4 address.
fn address_at(body: &[u8], offset: usize, family: u8) -> Option<IpAddr> {
    let octets: [u8; 16] = body.get(offset..)?.first_chunk().copied()?;
    match i32::from(family) {
        libc::AF_INET => octets.first_chunk::<4>().map(|v4| Ipv4Addr::from(*v4).into()),
        libc::AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(octets)).to_canonical()),
        _ => None,
    }
}

fn family_of(v6: bool) -> u8 {
    if v6 { libc::AF_INET6 as u8 } else { libc::AF_INET as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_filter_rejects_by_jumping_four_bytes_past_its_end() {
        let code = destination_filter("10.1.2.3:443".parse().expect("an address"));
        assert_eq!(code.len(), 16);
        assert_eq!((code[1], u16::from_ne_bytes([code[2], code[3]])), (16, 20));
        assert_eq!((code[5], &code[12..]), (32, &[10, 1, 2, 3][..]));
    }

    #[test]
    fn port_zero_is_any_port() {
        let code = destination_filter("[fd00::1]:0".parse().expect("an address"));
        assert_eq!(code[8..12], (-1_i32).to_ne_bytes());
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_that_it_maps() {
        let mut body = [0; ANSWER_LEN];
        body[0] = libc::AF_INET6 as u8;
        let mapped = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped();
        body[24..40].copy_from_slice(&mapped.octets());
        let read = read_socket(&Message { kind: SOCK_DIAG_BY_FAMILY, flags: 0, sequence: 0, body: &body });
        assert_eq!(read.map(|socket| socket.remote.ip()), Some(IpAddr::from([10, 0, 0, 1])));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let message = Message { kind: SOCK_DIAG_BY_FAMILY, flags: 0, sequence: 0, body: &bytes };
            let _ = (read_socket(&message), read_udp(&message));
        }
    }
}
