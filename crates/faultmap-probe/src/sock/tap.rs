//! Sees the peer's answers below the local firewall (needs CAP_NET_RAW). Never sends.

use super::link_layer;
use super::packet::{self, Segment, bare};
use super::watched::watch;
use socket2::Socket;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

/// Answers kept; a check sends a few hundred packets at most.
const MOST_KEPT: usize = 4096;
/// Packets taken from the socket in one go.
const MOST_AT_ONCE: usize = 1024;

/// Listens to TCP answers (SYN-ACK, RST) of one peer on every interface, as they come in from the link: before the firewall, the
/// reverse-path filter and the checksum test.
#[derive(Debug)]
pub struct AnswerTap {
    fd: AsyncFd<Socket>,
    answers: Vec<Segment>,
}

impl AnswerTap {
    /// Opens the tap; `None` without CAP_NET_RAW. Call it within the runtime.
    #[must_use]
    pub fn open(peer: IpAddr) -> Option<Self> {
        Self::try_open(peer).ok()
    }

    pub(crate) fn try_open(peer: IpAddr) -> io::Result<Self> {
        let socket = link_layer::open()?;
        socket.attach_filter(&link_layer::tcp_from(peer))?;
        socket.bind(&link_layer::address(link_layer::EVERYTHING, 0, None)?)?;
        Ok(Self { fd: watch(socket, Interest::READABLE)?, answers: Vec::new() })
    }

    /// TTL (hop limit) of the first SYN-ACK or RST from `from` to our address `to` (any address of ours when `None`). Takes in what waits.
    pub fn ttl_of(&mut self, from: SocketAddr, to: Option<SocketAddr>) -> Option<u8> {
        self.take_in();
        let wanted = |answer: &&Segment| answer.from == bare(from) && to.is_none_or(|to| answer.to == bare(to));
        self.answers.iter().find(wanted).map(|answer| answer.ttl)
    }

    /// TTL (hop limit) of the SYN-ACK and of the RST from `from` to our address `to`: where they differ, another station sent the RST.
    pub(crate) fn ttls_of(&mut self, from: SocketAddr, to: SocketAddr) -> (Option<u8>, Option<u8>) {
        self.take_in();
        let ttl = |reset: bool| {
            let wanted = |answer: &&Segment| answer.from == bare(from) && answer.to == bare(to) && answer.reset() == reset;
            self.answers.iter().rfind(wanted).map(|answer| answer.ttl)
        };
        (ttl(false), ttl(true))
    }

    /// How many SYN-ACKs and RSTs came from `from` since the tap was opened. A packet that passes a bond or bridge and its port is seen, and
    /// counted, once on each.
    pub fn count_from(&mut self, from: SocketAddr) -> u32 {
        self.take_in();
        let count = self.answers.iter().filter(|answer| answer.from == bare(from)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The answers so far.
    pub(crate) fn answers(&mut self) -> &[Segment] {
        self.take_in();
        &self.answers
    }

    /// Waits until something new may have come, or until `deadline`; false when the time is up.
    pub(crate) async fn news(&mut self, deadline: Instant) -> bool {
        match timeout_at(deadline, self.fd.ready(Interest::READABLE)).await {
            Ok(Ok(mut guard)) => {
                guard.clear_ready();
                true
            }
            _ => false,
        }
    }

    fn take_in(&mut self) {
        let mut socket = self.fd.get_ref();
        let mut packet = [0_u8; 2048];
        for _ in 0..MOST_AT_ONCE {
            // The interface going down is told as an error once, ENETDOWN; the next read goes on.
            let length = match socket.read(&mut packet) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            let read = packet::read_segment(packet.get(..length).unwrap_or(&packet));
            if let Some(answer) = read.filter(Segment::answers_syn)
                && self.answers.len() < MOST_KEPT
            {
                self.answers.push(answer);
            }
        }
    }
}
