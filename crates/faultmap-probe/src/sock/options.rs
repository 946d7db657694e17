//! Socket options that the questions need, one name for both families. Sets them; never reads a packet.

use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// Address family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub(crate) const fn domain(self) -> socket2::Domain {
        match self {
            Self::V4 => socket2::Domain::IPV4,
            Self::V6 => socket2::Domain::IPV6,
        }
    }

    /// Bytes of an IP header without options or extension headers.
    pub(crate) const fn header_bytes(self) -> u32 {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

/// Lets ICMP errors reach the error queue with their sender (`IP_RECVERR`, `IPV6_RECVERR`; ip(7)).
pub(crate) fn report_errors(fd: &impl AsFd, family: Family, on: bool) -> io::Result<()> {
    match family {
        Family::V4 => setsockopt(fd, sockopt::Ipv4RecvErr, &on)?,
        Family::V6 => setsockopt(fd, sockopt::Ipv6RecvErr, &on)?,
    }
    Ok(())
}

/// Sets the TTL (hop limit) of every packet that the socket sends.
pub(crate) fn set_ttl(socket: &Socket, family: Family, ttl: u8) -> io::Result<()> {
    match family {
        Family::V4 => socket.set_ttl_v4(u32::from(ttl)),
        Family::V6 => socket.set_unicast_hops_v6(u32::from(ttl)),
    }
}

/// Lets the kernel discard segments that arrive with a smaller TTL (hop limit); it counts them as `TCPMinTTLDrop` (ip(7), `IP_MINTTL`).
pub(crate) fn set_least_ttl(fd: &impl AsFd, family: Family, least: u8) -> io::Result<()> {
    // linux/in6.h; libc has no name for it.
    const IPV6_MINHOPCOUNT: libc::c_int = 73;
    match family {
        Family::V4 => set_int(fd, libc::IPPROTO_IP, libc::IP_MINTTL, libc::c_int::from(least)),
        Family::V6 => set_int(fd, libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT, libc::c_int::from(least)),
    }
}

/// Lets the TTL (hop limit) of received packets come with them as a control message.
pub(crate) fn report_ttl(fd: &impl AsFd, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => setsockopt(fd, sockopt::Ipv4RecvTtl, &true)?,
        Family::V6 => setsockopt(fd, sockopt::Ipv6RecvHopLimit, &true)?,
    }
    Ok(())
}

/// Forbids or allows fragmentation. Forbidden means `PROBE`: the path MTU that the kernel has learned is ignored, so that the question
/// goes out and is answered by the network instead of by a memory (ip(7), `IP_MTU_DISCOVER`).
pub(crate) fn set_dont_fragment(fd: &impl AsFd, family: Family, forbid: bool) -> io::Result<()> {
    match (family, forbid) {
        (Family::V4, true) => set_int(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        (Family::V4, false) => set_int(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT),
        (Family::V6, true) => {
            set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
            set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)
        }
        (Family::V6, false) => Ok(()),
    }
}

/// Sets an integer option for which neither nix nor socket2 has a name.
#[allow(unsafe_code)]
fn set_int(fd: &impl AsFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    const LENGTH: libc::socklen_t = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` lives through the call and its length is that of the integer that these options take.
    let status = unsafe { libc::setsockopt(fd.as_fd().as_raw_fd(), level, option, (&raw const value).cast(), LENGTH) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
