//! Does a TCP connect complete, and if not, who ended it? Sends SYNs of one plain socket; never data.

use crate::recorder::ms;
use crate::sock::error_queue;
use crate::sock::options::{self, Family};
use crate::sock::syn::{self, Syn, SynEnd, SynOptions};
use crate::sock::{errno, tcp_info};
use faultmap_model::observation::{ConnectOutcome, Role, TcpConnect};
use socket2::Socket;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// What to connect to, and how.
#[derive(Debug, Clone)]
pub struct ConnectAsk {
    /// Where to.
    pub to: SocketAddr,
    /// Whose port it is.
    pub role: Role,
    /// How long to wait for an answer.
    pub wait: Duration,
    /// IP TTL (hop limit) of our packets; the system's default when `None`.
    pub ttl: Option<u8>,
    /// Largest segment to announce and send (`TCP_MAXSEG`), to clamp a connection below a suspected size limit.
    pub max_seg: Option<u32>,
}

impl ConnectAsk {
    /// A plain connect.
    #[must_use]
    pub const fn new(to: SocketAddr, role: Role, wait: Duration) -> Self {
        Self { to, role, wait, ttl: None, max_seg: None }
    }
}

/// Connects once. The stream is `Some` exactly when the outcome is `Connected`; it has `TCP_NODELAY` and no longer reports ICMP errors, so
/// that a soft error never ends a later read. `answer_ttl` is left to the caller, who may hold an `AnswerTap`.
pub async fn connect(ask: &ConnectAsk) -> (TcpConnect, Option<TcpStream>) {
    let how = SynOptions { ttl: ask.ttl, max_seg: ask.max_seg, ..SynOptions::default() };
    let syn = syn::connect(ask.to, how, ask.wait).await;
    let local = syn.local;
    let (outcome, stream) = outcome(syn, Family::of(ask.to.ip()));
    (TcpConnect { to: ask.to, role: ask.role, outcome, local, answer_ttl: None }, stream)
}

fn outcome(syn: Syn, family: Family) -> (ConnectOutcome, Option<TcpStream>) {
    match syn.end {
        SynEnd::Connected(socket) => {
            let reading = connected(&socket);
            match into_stream(socket, family) {
                Ok(stream) => (reading, Some(stream)),
                Err(error) => (failed(errno::of(&error), &syn.errors), None),
            }
        }
        SynEnd::Failed(errno) => (failed(errno, &syn.errors), None),
        SynEnd::Pending => {
            let icmp = error_queue::newest(&syn.errors);
            (ConnectOutcome::Silent { waited_ms: ms(syn.took), retransmits: syn.retransmits, icmp }, None)
        }
    }
}

fn failed(raw: i32, errors: &[error_queue::QueuedError]) -> ConnectOutcome {
    ConnectOutcome::Failed { errno: errno::name(raw), icmp: error_queue::behind(errors, raw) }
}

fn connected(socket: &Socket) -> ConnectOutcome {
    let (rtt_ms, retransmits, mss, pmtu) = tcp_info::read(socket).map_or((0.0, 0, 0, 0), |raw| {
        let info = raw.info;
        (tcp_info::from_us(u64::from(info.tcpi_rtt)), info.tcpi_total_retrans, info.tcpi_snd_mss, info.tcpi_pmtu)
    });
    ConnectOutcome::Connected { rtt_ms, retransmits, mss, pmtu }
}

fn into_stream(socket: Socket, family: Family) -> io::Result<TcpStream> {
    options::report_errors(&socket, family, false)?;
    socket.set_tcp_nodelay(true)?;
    TcpStream::from_std(socket.into())
}
