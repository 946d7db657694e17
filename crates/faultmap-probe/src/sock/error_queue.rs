//! Reads `MSG_ERRQUEUE`: which ICMP error came, from whom, about which of our packets.
//!
//! The kernel queues every ICMP error of a socket with `IP_RECVERR` here (`ip_icmp_error`, `ipv6_icmp_error`), also the ones that it keeps
//! as a soft error because the socket was locked at that moment. Never waits, never sends.

use super::errno;
use faultmap_model::observation::IcmpError;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// No queue of ours holds more than a few errors; the bound keeps a flood of them from holding us here.
const MOST_ERRORS: usize = 64;

/// Control messages of one read, aligned as `cmsghdr` wants it. `IP_RECVERR` needs 64 bytes; other options may add a few.
#[repr(align(8))]
pub(crate) struct ControlSpace(pub(crate) [u8; 256]);

/// One entry of the error queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueuedError {
    /// The errno that the kernel maps the error to.
    pub(crate) errno: i32,
    /// The ICMP error; `None` when our own kernel complained (`SO_EE_ORIGIN_LOCAL`).
    pub(crate) icmp: Option<IcmpError>,
    /// Start of our packet as the error quoted it: from the ICMP header for ping sockets, the payload for UDP, empty for TCP.
    pub(crate) quoted: Vec<u8>,
}

/// Takes everything that waits in the error queue, oldest first.
pub(crate) fn drain(fd: &impl AsFd) -> Vec<QueuedError> {
    let mut errors = Vec::new();
    while errors.len() < MOST_ERRORS {
        match next(fd) {
            Some(error) => errors.push(error),
            None => break,
        }
    }
    errors
}

/// The newest ICMP error among `errors` that the kernel maps to `errno`.
pub(crate) fn behind(errors: &[QueuedError], errno: i32) -> Option<IcmpError> {
    errors.iter().rev().find(|error| error.errno == errno && error.icmp.is_some()).and_then(|error| error.icmp)
}

/// The newest ICMP error among `errors`.
pub(crate) fn newest(errors: &[QueuedError]) -> Option<IcmpError> {
    errors.iter().rev().find_map(|error| error.icmp)
}

fn next(fd: &impl AsFd) -> Option<QueuedError> {
    let mut data = [0_u8; 64];
    let mut control = ControlSpace([0; 256]);
    let mut slices = [IoSliceMut::new(&mut data)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(fd.as_fd().as_raw_fd(), &mut slices, Some(&mut control.0), flags).ok()?;
    let bytes = message.bytes;
    let (errno, icmp) = message.cmsgs().ok()?.find_map(read_control).unwrap_or((libc::EIO, None));
    Some(QueuedError { errno, icmp, quoted: data.get(..bytes).unwrap_or(&data).to_vec() })
}

fn read_control(message: ControlMessageOwned) -> Option<(i32, Option<IcmpError>)> {
    let (error, offender) = match message {
        ControlMessageOwned::Ipv4RecvErr(error, offender) => {
            let offender = offender.filter(|from| i32::from(from.sin_family) == libc::AF_INET);
            (error, offender.map(|from| IpAddr::from(u32::from_be(from.sin_addr.s_addr).to_be_bytes())))
        }
        ControlMessageOwned::Ipv6RecvErr(error, offender) => {
            let offender = offender.filter(|from| i32::from(from.sin6_family) == libc::AF_INET6);
            (error, offender.map(|from| IpAddr::from(from.sin6_addr.s6_addr)))
        }
        _ => return None,
    };
    let from_network = matches!(error.ee_origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
    let icmp = offender.filter(|_| from_network).map(|from| icmp_error(&error, from));
    Some((i32::try_from(error.ee_errno).unwrap_or(libc::EIO), icmp))
}

fn icmp_error(error: &libc::sock_extended_err, from: IpAddr) -> IcmpError {
    let too_big = if from.is_ipv4() { (error.ee_type, error.ee_code) == (3, 4) } else { error.ee_type == 2 };
    IcmpError { icmp_type: error.ee_type, code: error.ee_code, from, mtu: (too_big && error.ee_info > 0).then_some(error.ee_info) }
}

impl QueuedError {
    /// Name of the errno.
    pub(crate) fn errno_name(&self) -> String {
        errno::name(self.errno)
    }
}
