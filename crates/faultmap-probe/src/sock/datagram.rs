//! A connected datagram socket (UDP, ping or raw) that hears both packets and queued errors. Knows no protocol above IP.

use super::error_queue::{self, ControlSpace, QueuedError};
use super::options::{self, Family};
use super::watched::watch;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::{Protocol, Socket, Type};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

/// Packets taken from the socket in one go; the rest waits in the kernel.
const MOST_AT_ONCE: usize = 64;

/// What the socket heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A packet for us.
    Packet(Packet),
    /// An entry of the error queue.
    Error(QueuedError),
}

/// A received packet.
#[derive(Debug)]
pub(crate) struct Packet {
    /// The first bytes of it.
    pub(crate) head: Vec<u8>,
    /// Its whole length.
    pub(crate) length: usize,
    /// TTL (hop limit), where the socket reports it.
    pub(crate) ttl: Option<u8>,
    /// Sender.
    pub(crate) from: Option<IpAddr>,
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Datagram {
    fd: AsyncFd<Socket>,
    heard: RefCell<VecDeque<Heard>>,
}

/// What a datagram socket sets on its packets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DatagramOptions {
    pub(crate) ttl: Option<u8>,
    /// `None` leaves the system's default.
    pub(crate) dont_fragment: Option<bool>,
}

impl Datagram {
    /// A UDP socket connected to `to`.
    pub(crate) fn udp(to: SocketAddr, with: DatagramOptions) -> io::Result<Self> {
        let family = Family::of(to.ip());
        Self::prepared(Socket::new(family.domain(), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?, to, with)
    }

    /// Takes a fresh non-blocking socket, sets the options and connects it.
    pub(crate) fn prepared(socket: Socket, to: SocketAddr, with: DatagramOptions) -> io::Result<Self> {
        let family = Family::of(to.ip());
        options::report_errors(&socket, family, true)?;
        options::report_ttl(&socket, family)?;
        if let Some(ttl) = with.ttl {
            options::set_ttl(&socket, family, ttl)?;
        }
        if let Some(forbid) = with.dont_fragment {
            options::set_dont_fragment(&socket, family, forbid)?;
        }
        socket.connect(&to.into())?;
        let fd = watch(socket, Interest::READABLE | Interest::ERROR)?;
        Ok(Self { fd, heard: RefCell::default() })
    }

    /// Sends one datagram. An ICMP error about an earlier one may make the kernel refuse this one; it is taken aside and kept, and the
    /// datagram is sent again.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let socket = self.fd.get_ref();
        let _pending = socket.take_error();
        if socket.send(bytes).is_ok() {
            return Ok(());
        }
        self.take_errors();
        let _pending = socket.take_error();
        socket.send(bytes).map(|_| ())
    }

    /// The next packet or error that already waits.
    pub(crate) fn waiting(&self) -> Option<Heard> {
        self.take_errors();
        self.take_packets();
        self.heard.borrow_mut().pop_front()
    }

    /// The next packet or error, until `deadline`.
    pub(crate) async fn hear(&self, deadline: Instant) -> Option<Heard> {
        loop {
            if let Some(heard) = self.waiting() {
                return Some(heard);
            }
            let ready = timeout_at(deadline, self.fd.ready(Interest::READABLE | Interest::ERROR)).await;
            let Ok(Ok(mut guard)) = ready else {
                return self.waiting();
            };
            // Cleared before the next look: what arrives after the look raises a new edge.
            guard.clear_ready();
        }
    }

    fn take_errors(&self) {
        self.heard.borrow_mut().extend(error_queue::drain(self.fd.get_ref()).into_iter().map(Heard::Error));
    }

    fn take_packets(&self) {
        let socket = self.fd.get_ref();
        for _ in 0..MOST_AT_ONCE {
            match receive(socket) {
                Ok(packet) => self.heard.borrow_mut().push_back(Heard::Packet(packet)),
                Err(nix::errno::Errno::EAGAIN) => break,
                // The errno of a queued ICMP error, told once; what it is about is in the queue.
                Err(_) => self.take_errors(),
            }
        }
    }
}

fn receive(socket: &Socket) -> nix::Result<Packet> {
    let mut data = [0_u8; 512];
    let mut control = ControlSpace([0; 256]);
    let mut slices = [IoSliceMut::new(&mut data)];
    // MSG_TRUNC: the length returned is that of the packet, not of our buffer.
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control.0), flags)?;
    let length = message.bytes;
    let from = message.address.as_ref().and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|from| IpAddr::V4(from.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|from| IpAddr::V6(from.ip())))
    });
    let ttl = message.cmsgs().ok().and_then(|mut messages| {
        messages.find_map(|message| match message {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => u8::try_from(ttl).ok(),
            _ => None,
        })
    });
    Ok(Packet { head: data.get(..length).unwrap_or(&data).to_vec(), length, ttl, from })
}
