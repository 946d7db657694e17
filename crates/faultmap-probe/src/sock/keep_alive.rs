//! TCP keep-alive of a live socket: switches the kernel's probes on, and reads whether they were answered. Sends nothing itself.

use super::tcp_info;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// The shortest interval that the kernel takes (tcp(7), `TCP_KEEPIDLE`).
pub(crate) const SHORTEST: Duration = Duration::from_secs(1);

/// Lets the kernel probe the peer whenever nothing has come from it for so long; unanswered, after `tries` it ends the connection
/// (`ETIMEDOUT`). A connection that has been quiet for longer already is probed at once.
pub(crate) fn keep_alive(fd: &impl AsFd, every: Duration, tries: u32) -> io::Result<()> {
    let every = every.max(SHORTEST);
    SockRef::from(fd).set_tcp_keepalive(&TcpKeepalive::new().with_time(every).with_interval(every).with_retries(tries))
}

/// What the kernel knows of the peer's silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Silence {
    /// Since the last ACK came.
    pub(crate) since_ack: Duration,
    /// Keep-alive or window probes that are unanswered.
    pub(crate) probes: u32,
    /// Segments that are unacknowledged.
    pub(crate) unacked: u32,
    /// Segments sent again in all.
    pub(crate) retransmits: u32,
    /// The connection has ended.
    pub(crate) closed: bool,
}

/// Reads it; `None` when the descriptor is no TCP socket.
pub(crate) fn silence(fd: &impl AsFd) -> Option<Silence> {
    let info = tcp_info::read(fd)?.info;
    Some(Silence {
        since_ack: Duration::from_millis(u64::from(info.tcpi_last_ack_recv)),
        probes: u32::from(info.tcpi_probes),
        unacked: info.tcpi_unacked,
        retransmits: info.tcpi_total_retrans,
        closed: info.tcpi_state == tcp_info::CLOSED,
    })
}
