//! One netlink socket: asks the kernel a question and hands its answers on, in bounded memory and time.
//! Never interprets a message body (the callers do), never writes to the kernel's tables.

mod codec;

pub(crate) use codec::{Attributes, Body, Message, be_u16_at, text, u8_at, u16_at, u32_at, u64_at};

use crate::HostError;
use codec::{HEADER_LEN, error_code, messages};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd};

// Message types and flags of linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_MULTI: u16 = 0x02;
const NLM_F_DUMP: u16 = 0x300;

/// The kernel fills at most 32 KiB of a dump at a time (`netlink_dump`, net/netlink/af_netlink.c).
const BUFFER_LEN: usize = 64 * 1024;
/// Answers are made within the system call that asks, so this only guards against a kernel that answers nothing.
const ANSWER_WAIT_MS: i64 = 500;
/// Datagrams of one answer: far above any real table, so that no answer can hold us for ever.
const DATAGRAMS_MAX: u32 = 4096;

/// Whether a dump was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// To its end.
    Whole,
    /// The reader had enough. The socket still holds the rest: drop it.
    Cut,
}

/// A request: its kernel name for messages, its type and the bytes after the netlink header.
pub(crate) struct Request<'a> {
    /// Such as `RTM_GETLINK`.
    pub(crate) operation: &'static str,
    /// Message type.
    pub(crate) kind: u16,
    /// The family header and attributes.
    pub(crate) body: &'a [u8],
}

/// A netlink socket of the calling thread's network namespace.
#[derive(Debug)]
pub(crate) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// A socket for rtnetlink requests.
    pub(crate) fn route() -> Result<Self, HostError> {
        Self::open(SockProtocol::NetlinkRoute, SockFlag::empty(), 0)
    }

    /// A socket for `sock_diag` requests.
    pub(crate) fn sock_diag() -> Result<Self, HostError> {
        Self::open(SockProtocol::NetlinkSockDiag, SockFlag::empty(), 0)
    }

    /// A non-blocking rtnetlink socket that hears the multicast `groups` (bit mask `RTMGRP_*`).
    pub(crate) fn listener(groups: u32) -> Result<Self, HostError> {
        Self::open(SockProtocol::NetlinkRoute, SockFlag::SOCK_NONBLOCK, groups)
    }

    fn open(protocol: SockProtocol, flags: SockFlag, groups: u32) -> Result<Self, HostError> {
        let failed = |call| move |errno| HostError::Socket { call, errno };
        let flags = flags | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).map_err(failed("socket"))?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(failed("bind"))?;
        setsockopt(&fd, ReceiveTimeout, &TimeVal::milliseconds(ANSWER_WAIT_MS)).map_err(failed("setsockopt"))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER_LEN] })
    }

    /// Asks for a whole table; `each` sees every message of the answer until it breaks.
    pub(crate) fn dump(
        &mut self,
        request: &Request<'_>,
        mut each: impl FnMut(&Message<'_>) -> ControlFlow<()>,
    ) -> Result<Extent, HostError> {
        self.send(request, NLM_F_DUMP)?;
        for _ in 0..DATAGRAMS_MAX {
            let len = self.receive(request.operation)?;
            for message in messages(self.buffer.get(..len).unwrap_or_default()) {
                if message.sequence != self.sequence {
                    continue;
                }
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        return ended(request.operation, &message).map(|()| Extent::Whole);
                    }
                    _ if each(&message).is_break() => return Ok(Extent::Cut),
                    _ if message.flags & NLM_F_MULTI == 0 => return Ok(Extent::Whole),
                    _ => {}
                }
            }
        }
        Err(HostError::Malformed { operation: request.operation, detail: "no end" })
    }

    /// Asks for one thing; `read` sees the one message of the answer.
    pub(crate) fn ask<T>(&mut self, request: &Request<'_>, read: impl FnOnce(&Message<'_>) -> Option<T>) -> Result<T, HostError> {
        let operation = request.operation;
        self.send(request, 0)?;
        let len = self.receive(operation)?;
        let message = messages(self.buffer.get(..len).unwrap_or_default())
            .find(|message| message.sequence == self.sequence)
            .ok_or(HostError::Malformed { operation, detail: "no message" })?;
        if message.kind == NLMSG_ERROR {
            ended(operation, &message)?;
            return Err(HostError::Malformed { operation, detail: "acknowledged without an answer" });
        }
        read(&message).ok_or(HostError::Malformed { operation, detail: "too short" })
    }

    /// Hands on the multicast messages that wait, without blocking; at most `datagrams_max` datagrams.
    /// `Err(ENOBUFS)` in [`HostError::Refused`] says that messages were lost.
    pub(crate) fn drain(&mut self, datagrams_max: u32, mut each: impl FnMut(&Message<'_>)) -> Result<(), HostError> {
        for _ in 0..datagrams_max {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) | Err(Errno::EAGAIN) => return Ok(()),
                Ok(len) => messages(self.buffer.get(..len).unwrap_or_default()).for_each(|message| each(&message)),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(HostError::Refused { operation: "multicast", errno });
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, request: &Request<'_>, flags: u16) -> Result<(), HostError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(HEADER_LEN + request.body.len());
        let length = u32::try_from(HEADER_LEN + request.body.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&request.kind.to_ne_bytes());
        bytes.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes.extend_from_slice(request.body);
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())
            .map(drop)
            .map_err(|errno| HostError::Refused { operation: request.operation, errno })
    }

    fn receive(&mut self, operation: &'static str) -> Result<usize, HostError> {
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_TRUNC) {
                Ok(len) if len > self.buffer.len() => {
                    return Err(HostError::Malformed { operation, detail: "longer than our buffer" });
                }
                Ok(0) => {
                    return Err(HostError::Malformed { operation, detail: "empty" });
                }
                Ok(len) => return Ok(len),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(HostError::Refused { operation, errno }),
            }
        }
    }
}

/// An answer's last message: its error, if it carries one.
fn ended(operation: &'static str, message: &Message<'_>) -> Result<(), HostError> {
    match error_code(message) {
        0 => Ok(()),
        code => Err(HostError::Refused { operation, errno: Errno::from_raw(code.saturating_neg()) }),
    }
}
