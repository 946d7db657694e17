//! A question over UDP: sent at once, and again after 1 s and 3 s, through a connected socket, so that only the resolver is heard and
//! ICMP errors come with their sender.
//!
//! Datagrams that are not the answer are counted and the waiting goes on: a forged or late answer must not end the question.

use super::message::{self, Question};
use super::query::Exchange;
use crate::recorder::ms;
use crate::sock::errno;
use crate::sock::error_queue::{self, QueuedError};
use crate::sock::options::{self, Family};
use crate::sock::watched::watch;
use faultmap_model::observation::{DnsAnswer, DnsOutcome};
use socket2::{Protocol, Socket, Type};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

/// When the question is sent, counted from the start.
const SENDS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3)];
/// No datagram is larger.
const MOST_BYTES: usize = 65_535;
/// Datagrams taken in one go, before the clock is looked at again.
const MOST_AT_ONCE: usize = 32;

/// Asks until there is an answer or an error, or until `deadline`.
pub(super) async fn exchange(to: SocketAddr, question: &Question, deadline: Instant) -> Exchange {
    let started = Instant::now();
    let id = message::random_id();
    let Some(bytes) = question.encode(id) else { return Exchange { sent: 0, outcome: failed(libc::EINVAL), message: Vec::new() } };
    let socket = match open(to) {
        Ok(socket) => socket,
        Err(error) => return Exchange { sent: 0, outcome: failed(errno::of(&error)), message: Vec::new() },
    };
    let mut asking = Asking { socket, question, id, mismatched: 0, buffer: vec![0; MOST_BYTES], drained: false, message: Vec::new() };
    let mut sent = 0;
    for (number, at) in SENDS.iter().enumerate() {
        if number > 0 && started + *at >= deadline {
            break;
        }
        match asking.send(&bytes) {
            Ok(()) => sent += 1,
            Err(outcome) => return Exchange { sent, outcome, message: Vec::new() },
        }
        let until = SENDS.get(number + 1).map_or(deadline, |next| deadline.min(started + *next));
        if let Some(outcome) = asking.hear(until).await {
            return Exchange { sent, outcome, message: asking.message };
        }
    }
    Exchange { sent, outcome: DnsOutcome::Silent { waited_ms: ms(started.elapsed()), mismatched: asking.mismatched }, message: Vec::new() }
}

fn open(to: SocketAddr) -> io::Result<AsyncFd<Socket>> {
    let family = Family::of(to.ip());
    let socket = Socket::new(family.domain(), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    options::report_errors(&socket, family, true)?;
    socket.connect(&to.into())?;
    watch(socket, Interest::READABLE | Interest::ERROR)
}

fn failed(raw: i32) -> DnsOutcome {
    DnsOutcome::Failed { errno: errno::name(raw), icmp: None }
}

struct Asking<'q> {
    socket: AsyncFd<Socket>,
    question: &'q Question,
    id: u16,
    mismatched: u32,
    buffer: Vec<u8>,
    /// The socket had nothing more to read when we last looked.
    drained: bool,
    /// The bytes of the answer.
    message: Vec<u8>,
}

impl Asking<'_> {
    /// Sends once. An ICMP error that waits makes the kernel refuse the first try with its errno; if it is one that ends the question, it
    /// is the outcome, else the second try counts.
    fn send(&self, bytes: &[u8]) -> Result<(), DnsOutcome> {
        for last in [false, true] {
            match self.socket.get_ref().send(bytes) {
                Ok(_) => return Ok(()),
                Err(error) => {
                    if let Some(outcome) = self.icmp_outcome() {
                        return Err(outcome);
                    }
                    if last {
                        return Err(failed(errno::of(&error)));
                    }
                }
            }
        }
        Ok(())
    }

    /// The answer or an error that ends the question, until `until`.
    async fn hear(&mut self, until: Instant) -> Option<DnsOutcome> {
        loop {
            let heard = self.take(until);
            if heard.is_some() || Instant::now() >= until {
                return heard;
            }
            if !self.drained {
                // What is left raises no new edge; let others run and look again.
                tokio::task::yield_now().await;
                continue;
            }
            let Ok(Ok(mut guard)) = timeout_at(until, self.socket.ready(Interest::READABLE | Interest::ERROR)).await else {
                return self.take(until);
            };
            // Cleared before the next look: what arrives after the look raises a new edge.
            guard.clear_ready();
        }
    }

    /// What waits in the socket already. An answer is preferred to an error about another of our datagrams.
    /// At least one datagram is looked at, also when `until` has passed.
    fn take(&mut self, until: Instant) -> Option<DnsOutcome> {
        let mut refused = None;
        self.drained = false;
        for number in 0..MOST_AT_ONCE {
            // A hostile message of 64 KiB takes a tenth of a second to read.
            if number > 0 && Instant::now() >= until {
                break;
            }
            match self.socket.get_ref().read(&mut self.buffer) {
                Ok(length) => match self.answer(length) {
                    Some(answer) => {
                        self.message = self.buffer.get(..length).unwrap_or_default().to_vec();
                        return Some(DnsOutcome::Answer(answer));
                    }
                    None => self.mismatched = self.mismatched.saturating_add(1),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.drained = true;
                    break;
                }
                // The errno of a queued ICMP error, told once; what it is about is in the queue.
                Err(error) => {
                    refused = Some(errno::of(&error));
                }
            }
        }
        self.icmp_outcome().or_else(|| refused.filter(|raw| *raw != libc::EMSGSIZE).map(failed))
    }

    fn answer(&self, length: usize) -> Option<DnsAnswer> {
        self.question.answer_in(self.id, self.buffer.get(..length)?)
    }

    fn icmp_outcome(&self) -> Option<DnsOutcome> {
        let errors = error_queue::drain(self.socket.get_ref());
        let ending = errors.iter().find(|error| ends(error))?;
        Some(DnsOutcome::Failed { errno: ending.errno_name(), icmp: ending.icmp })
    }
}

/// "Too big" teaches the kernel a smaller path and the next datagram goes through; it ends nothing.
const fn ends(error: &QueuedError) -> bool {
    error.errno != libc::EMSGSIZE
}
