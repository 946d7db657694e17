//! One non-blocking TCP connect of a plain socket, watched to its end: errno, error queue and `TCP_INFO` together.
//!
//! An ICMP error that arrives while the kernel itself holds the socket is only soft: the connect goes on (net/ipv4/tcp_ipv4.c,
//! `tcp_v4_err`). It is kept, for it tells the truth as well as a fatal one.

use super::error_queue::{self, QueuedError};
use super::options::{self, Family};
use super::watched::watch;
use super::{errno, tcp_info};
use faultmap_model::observation::IcmpMeaning;
use socket2::{Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::{Instant, sleep, timeout_at};

/// How to send the SYN.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SynOptions {
    pub(crate) ttl: Option<u8>,
    pub(crate) max_seg: Option<u32>,
    /// Answers with a smaller TTL are not heard.
    pub(crate) least_ttl: Option<u8>,
    /// What an ICMP error means that the kernel kept as a soft one.
    pub(crate) soft: SoftError,
}

/// What to make of an ICMP error that met a busy socket. On any network with a delay the same error would have ended the connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SoftError {
    /// It ends the connect, unless an answer comes within a moment.
    #[default]
    Fails,
    /// It ends the wait at once: a walk wants the router's word, not the connection.
    Ends,
}

/// An answer may be right behind an ICMP error (two paths, one of them broken).
const AFTER_ERROR: Duration = Duration::from_millis(25);

/// How it ended.
#[derive(Debug)]
pub(crate) enum SynEnd {
    /// The handshake completed.
    Connected(Socket),
    /// The connect ended with this errno.
    Failed(i32),
    /// Nothing ended it in time, or a soft error came first and was to end it.
    Pending,
}

/// One connect and all that the kernel said of it.
#[derive(Debug)]
pub(crate) struct Syn {
    pub(crate) end: SynEnd,
    /// Everything that the error queue held, oldest first.
    pub(crate) errors: Vec<QueuedError>,
    pub(crate) local: Option<SocketAddr>,
    /// SYNs sent again while there was no answer.
    pub(crate) retransmits: u32,
    /// From the call of connect() to the end.
    pub(crate) took: Duration,
    /// Whether a SYN was handed to the kernel's IP layer at all.
    pub(crate) sent: bool,
}

/// Connects to `to` and watches for at most `wait`.
pub(crate) async fn connect(to: SocketAddr, how: SynOptions, wait: Duration) -> Syn {
    let started = Instant::now();
    let deadline = started + wait;
    let mut syn = Syn { end: SynEnd::Pending, errors: Vec::new(), local: None, retransmits: 0, took: Duration::ZERO, sent: false };
    match open(to, how) {
        Ok((socket, direct)) => {
            syn.local = socket.local_addr().ok().and_then(|address| address.as_socket()).filter(|local| local.port() != 0);
            match direct {
                None => {
                    syn.sent = true;
                    syn.end = follow(socket, deadline, how.soft, &mut syn.errors, &mut syn.retransmits).await;
                }
                Some(error) => {
                    syn.errors = error_queue::drain(&socket);
                    syn.end = SynEnd::Failed(error);
                }
            }
        }
        Err(error) => syn.end = SynEnd::Failed(errno::of(&error)),
    }
    syn.took = started.elapsed();
    syn
}

/// The socket with the SYN on its way, or with the errno of a connect() that failed at once.
fn open(to: SocketAddr, how: SynOptions) -> io::Result<(Socket, Option<i32>)> {
    let family = Family::of(to.ip());
    let socket = Socket::new(family.domain(), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    options::report_errors(&socket, family, true)?;
    if let Some(ttl) = how.ttl {
        options::set_ttl(&socket, family, ttl)?;
    }
    if let Some(least) = how.least_ttl {
        options::set_least_ttl(&socket, family, least)?;
    }
    if let Some(bytes) = how.max_seg {
        socket.set_tcp_mss(bytes)?;
    }
    let direct = match socket.connect(&to.into()) {
        Ok(()) => None,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => None,
        Err(error) => Some(errno::of(&error)),
    };
    Ok((socket, direct))
}

async fn follow(
    mut socket: Socket,
    mut deadline: Instant,
    soft: SoftError,
    errors: &mut Vec<QueuedError>,
    retransmits: &mut u32,
) -> SynEnd {
    loop {
        // A fresh registration for each wake: tokio keeps "write closed" for good once epoll reported an error alone, and would spin on
        // a soft error. Registering anew asks epoll for the present state.
        let waiting = match watch(socket, Interest::WRITABLE | Interest::ERROR) {
            Ok(waiting) => waiting,
            Err(error) => return SynEnd::Failed(errno::of(&error)),
        };
        let in_time = matches!(timeout_at(deadline, waiting.writable()).await, Ok(Ok(_)));
        socket = waiting.into_inner();
        // Before the queue: taking the last ICMP error out of it clears the socket's errno (net/core/skbuff.c, sock_dequeue_err_skb).
        let errno = socket.take_error().ok().flatten().map(|error| errno::of(&error));
        let news = error_queue::drain(&socket);
        let told = !news.is_empty();
        errors.extend(news);
        *retransmits = tcp_info::read(&socket).map_or(*retransmits, |raw| u32::from(raw.info.tcpi_retransmits));
        match settled(&socket, errno, errors) {
            Some(Ok(())) => return SynEnd::Connected(socket),
            Some(Err(error)) => return SynEnd::Failed(error),
            None if told && soft == SoftError::Ends => return SynEnd::Pending,
            None if !in_time => {
                return errors.iter().rev().find(|error| refuses(error)).map_or(SynEnd::Pending, |e| SynEnd::Failed(e.errno));
            }
            None if told && errors.iter().any(refuses) => deadline = deadline.min(Instant::now() + AFTER_ERROR),
            // Woken for nothing that we can name: do not turn this into a busy loop.
            None if !told => sleep(Duration::from_millis(5)).await,
            None => {}
        }
        if errors.len() > 256 {
            return SynEnd::Pending;
        }
    }
}

/// The kernel ends a connect by such an error (`icmp_err_convert`, net/ipv4/icmp.c), if the socket is not busy at that moment.
fn refuses(error: &QueuedError) -> bool {
    error.icmp.is_some_and(|icmp| !matches!(icmp.meaning(), IcmpMeaning::Other | IcmpMeaning::TooBig))
}

/// The outcome, once there is one. The state decides: `SO_ERROR` also tells soft errors, which end nothing.
fn settled(socket: &Socket, errno: Option<i32>, errors: &[QueuedError]) -> Option<Result<(), i32>> {
    match tcp_info::read(socket)?.info.tcpi_state {
        tcp_info::SYN_SENT => None,
        tcp_info::CLOSED => {
            // Ended between the look at the errno and the look at the queue, which cleared it.
            let late = || socket.take_error().ok().flatten().map(|error| errno::of(&error));
            let quoted = || errors.last().map(|error| error.errno);
            Some(Err(errno.or_else(late).or_else(quoted).unwrap_or(libc::ECONNABORTED)))
        }
        _ => Some(Ok(())),
    }
}
