//! Listening sockets: bound per address, with a chosen backlog, and how they take connections. Speaks no protocol.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use super::error::ServiceError;

/// How a TCP service listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct ListenSpec {
    /// Backlog given to listen(2); the kernel caps it by net.core.somaxconn and holds one connection more.
    pub backlog: u16,
    /// Whether and how connections are taken from the accept queue.
    pub accept: Accept,
    /// Connections served at once; one more is closed at once and counted as `over-limit`.
    pub max_connections: usize,
    /// SO_RCVBUF of the listener, inherited by its connections (bytes; the kernel doubles it).
    pub receive_buffer: Option<u32>,
}

impl Default for ListenSpec {
    fn default() -> Self {
        Self { backlog: 1024, accept: Accept::Normal, max_connections: 512, receive_buffer: None }
    }
}

/// Whether and how connections are taken from the accept queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Accept {
    /// At once.
    #[default]
    Normal,
    /// Never: the kernel completes handshakes until its queue is full, then drops SYNs (`ListenOverflows`).
    Never,
    /// One connection every `ms` milliseconds.
    Slow {
        /// Milliseconds between two accepts.
        ms: u64,
    },
}

impl Accept {
    pub(crate) fn pause(self) -> Option<Duration> {
        match self {
            Self::Slow { ms } => Some(Duration::from_millis(ms)),
            Self::Normal | Self::Never => None,
        }
    }
}

/// Opens a TCP listener on exactly this address (never dual-stack: each family has its own socket).
pub(crate) fn tcp(addr: SocketAddr, spec: &ListenSpec) -> Result<TcpListener, ServiceError> {
    let fail = |operation| move |source| ServiceError::Socket { operation, addr, source };
    let socket = socket(addr, Type::STREAM, Protocol::TCP).map_err(fail("open TCP socket for"))?;
    // A restarted service must not wait for its own TIME_WAIT connections.
    socket.set_reuse_address(true).map_err(fail("set SO_REUSEADDR on"))?;
    if let Some(bytes) = spec.receive_buffer {
        socket.set_recv_buffer_size(bytes as usize).map_err(fail("set SO_RCVBUF on"))?;
    }
    socket.bind(&addr.into()).map_err(fail("bind TCP"))?;
    socket.listen(i32::from(spec.backlog)).map_err(fail("listen on"))?;
    TcpListener::from_std(socket.into()).map_err(fail("register listener of"))
}

/// Opens a UDP socket bound to exactly this address, so that answers leave from it.
pub(crate) fn udp(addr: SocketAddr) -> Result<UdpSocket, ServiceError> {
    let fail = |operation| move |source| ServiceError::Socket { operation, addr, source };
    let socket = socket(addr, Type::DGRAM, Protocol::UDP).map_err(fail("open UDP socket for"))?;
    socket.bind(&addr.into()).map_err(fail("bind UDP"))?;
    UdpSocket::from_std(socket.into()).map_err(fail("register UDP socket of"))
}

/// Gives a listening socket another backlog; Linux lets listen(2) be called again.
pub(crate) fn set_backlog(listener: &TcpListener, backlog: u16) -> io::Result<()> {
    socket2::SockRef::from(listener).listen(i32::from(backlog))
}

/// The addresses to bind; with port 0 the kernel chooses a port for the first, which the others then share.
pub(crate) fn addresses(bind: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    bind.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
}

fn socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Length and limit of a listening socket's accept queue.
///
/// In state LISTEN the kernel reports them as `tcpi_unacked` and `tcpi_sacked` (net/ipv4/tcp.c, `tcp_get_info`).
pub(crate) fn accept_queue(listener: &impl AsFd) -> Option<(u32, u32)> {
    let info = tcp_info(listener.as_fd()).ok()?;
    Some((info.tcpi_unacked, info.tcpi_sacked))
}

#[allow(unsafe_code)]
fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    // SAFETY: tcp_info is plain integers, for which all zeroes are valid; the kernel writes at most `len` bytes into it.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
        let info_ptr = (&raw mut info).cast();
        match libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info_ptr, &raw mut len) {
            0 => Ok(info),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
