//! Echo requests from a ping socket where `net.ipv4.ping_group_range` allows, else from a raw one with CAP_NET_RAW.
//! Sends echo requests; hears replies and the ICMP errors about them, matched by their number.

use super::datagram::{Datagram, DatagramOptions, Heard};
use super::errno;
use super::error_queue::QueuedError;
use super::options::Family;
use super::packet::{self, EchoHeader};
use socket2::{Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::time::Instant;

/// Why there is no socket for echo requests.
#[derive(Debug)]
pub(crate) enum PingRefused {
    /// Neither kind of socket is allowed.
    NotAllowed,
    /// The kernel said no for another reason: no route, no descriptors, ...
    Errno(i32),
}

/// What came back.
#[derive(Debug)]
pub(crate) enum PingHeard {
    /// An echo reply of the host asked.
    Reply { number: u16, ttl: Option<u8> },
    /// An ICMP error about request `number`, or an error of our own kernel.
    Error { number: Option<u16>, error: QueuedError },
}

/// A socket for echo requests to one address.
#[derive(Debug)]
pub(crate) struct Ping {
    datagram: Datagram,
    to: IpAddr,
    /// `Some` for a raw socket, which hears everybody's echo replies: ours carry this id.
    raw_id: Option<u16>,
}

impl Ping {
    /// Opens a socket toward `to`.
    pub(crate) fn open(to: IpAddr, with: DatagramOptions) -> Result<Self, PingRefused> {
        let (socket, raw_id) = open_either(Family::of(to))?;
        let datagram = Datagram::prepared(socket, SocketAddr::new(to, 0), with).map_err(|error| PingRefused::Errno(errno::of(&error)))?;
        Ok(Self { datagram, to, raw_id })
    }

    /// Sends request `number`.
    pub(crate) fn send(&self, number: u16, payload_bytes: usize) -> io::Result<()> {
        // A ping socket puts its own id in.
        self.datagram.send(&packet::echo_request(self.to.is_ipv4(), self.raw_id.unwrap_or(0), number, payload_bytes))
    }

    /// The next reply or error that concerns us, until `deadline`.
    pub(crate) async fn hear(&self, deadline: Instant) -> Option<PingHeard> {
        while let Some(heard) = self.datagram.hear(deadline).await {
            let ours = self.interpret(heard);
            // A raw socket may be flooded with replies to others: the deadline holds even then.
            if ours.is_some() || Instant::now() >= deadline {
                return ours;
            }
        }
        None
    }

    fn interpret(&self, heard: Heard) -> Option<PingHeard> {
        match heard {
            Heard::Packet(packet) => {
                let icmp = match self.raw_id {
                    Some(_) if self.to.is_ipv4() => packet::carried(&packet.head)?,
                    _ => &packet.head,
                };
                let header = self.ours(icmp).filter(|header| header.reply)?;
                let from_peer = packet.from.is_none_or(|from| from == self.to);
                from_peer.then_some(PingHeard::Reply { number: header.number, ttl: packet.ttl })
            }
            Heard::Error(error) if error.icmp.is_some() => {
                let header = self.ours(&error.quoted).filter(|header| !header.reply)?;
                Some(PingHeard::Error { number: Some(header.number), error })
            }
            Heard::Error(error) => Some(PingHeard::Error { number: None, error }),
        }
    }

    fn ours(&self, icmp: &[u8]) -> Option<EchoHeader> {
        packet::read_echo(self.to.is_ipv4(), icmp).filter(|header| self.raw_id.is_none_or(|id| header.id == id))
    }
}

fn open_either(family: Family) -> Result<(Socket, Option<u16>), PingRefused> {
    let protocol = match family {
        Family::V4 => Protocol::ICMPV4,
        Family::V6 => Protocol::ICMPV6,
    };
    match Socket::new(family.domain(), Type::DGRAM.nonblocking(), Some(protocol)) {
        Ok(socket) => return Ok((socket, None)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => {}
        Err(error) => return Err(PingRefused::Errno(errno::of(&error))),
    }
    let socket = Socket::new(family.domain(), Type::RAW.nonblocking(), Some(protocol)).map_err(|error| match errno::of(&error) {
        libc::EACCES | libc::EPERM => PingRefused::NotAllowed,
        other => PingRefused::Errno(other),
    })?;
    let [high, low, ..] = packet::unpredictable().to_be_bytes();
    Ok((socket, Some(u16::from_be_bytes([high, low]))))
}
