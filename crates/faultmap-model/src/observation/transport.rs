//! TCP and UDP as a socket sees them: connects, repeats, datagrams.

use super::{IcmpError, Role};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One TCP connect and how it ended, read from errno, the error queue and `TCP_INFO` together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TcpConnect {
    /// Where to.
    pub to: SocketAddr,
    /// `Target`, `Control` (another port of the same host), or `Resolver`.
    pub role: Role,
    /// How it ended.
    pub outcome: ConnectOutcome,
    /// Our address and port, when one was chosen.
    pub local: Option<SocketAddr>,
    /// IP TTL (hop limit) of the answer, when a raw listener could read it (CAP_NET_RAW).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_ttl: Option<u8>,
}

/// How a connect ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum ConnectOutcome {
    /// The three-way handshake completed.
    Connected {
        /// `tcpi_rtt`, the handshake's round trip.
        rtt_ms: f64,
        /// SYNs sent again before the answer (`tcpi_total_retrans`).
        retransmits: u32,
        /// `tcpi_snd_mss`.
        mss: u32,
        /// `tcpi_pmtu`.
        pmtu: u32,
    },
    /// The connect ended with an error.
    Failed {
        /// errno name, such as `ECONNREFUSED`, `ENETUNREACH`, `EADDRNOTAVAIL`, `EMFILE`.
        errno: String,
        /// The ICMP error behind it; `None` for a RST or an error of our own kernel.
        icmp: Option<IcmpError>,
    },
    /// No answer in time.
    Silent {
        /// How long we waited.
        waited_ms: f64,
        /// SYNs sent again (`tcpi_retransmits`).
        retransmits: u32,
        /// An ICMP error that arrived but did not end the connect (soft error).
        icmp: Option<IcmpError>,
    },
}

impl ConnectOutcome {
    /// The handshake completed.
    #[must_use]
    pub const fn connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// A RST answered: ECONNREFUSED with an empty error queue.
    #[must_use]
    pub fn reset(&self) -> bool {
        matches!(self, Self::Failed { errno, icmp: None } if errno == "ECONNREFUSED")
    }

    /// Nothing answered in time.
    #[must_use]
    pub const fn silent(&self) -> bool {
        matches!(self, Self::Silent { .. })
    }

    /// The ICMP error that came, whether it ended the connect or not.
    #[must_use]
    pub const fn icmp(&self) -> Option<IcmpError> {
        match self {
            Self::Failed { icmp, .. } | Self::Silent { icmp, .. } => *icmp,
            Self::Connected { .. } => None,
        }
    }

    /// errno of the failure.
    #[must_use]
    pub fn errno(&self) -> Option<&str> {
        match self {
            Self::Failed { errno, .. } => Some(errno),
            _ => None,
        }
    }
}

/// Several connects to one port in a short time: the listen-queue pattern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TcpRepeat {
    /// Where to.
    pub to: SocketAddr,
    /// Connects started.
    pub tried: u32,
    /// Connected without a SYN sent again.
    pub connected: u32,
    /// Connected after at least one SYN sent again (1 s, 3 s).
    pub connected_late: u32,
    /// Refused or failed.
    pub failed: u32,
    /// Silent to the end.
    pub silent: u32,
    /// How long each was given.
    pub waited_ms: f64,
    /// One sign for each connect, in order: `.` answered at once (by SYN-ACK or RST), `l` answered after a SYN sent again, `?` silent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub order: String,
    /// The first ICMP error that ended one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpError>,
}

impl TcpRepeat {
    /// Connects that hung although a later one was answered: loss strikes anywhere, a limit on new connections only after the first few.
    #[must_use]
    pub fn hung_between(&self) -> usize {
        let last = self.order.rfind('.').unwrap_or(0);
        self.order.get(..last).map_or(0, |before| before.matches(['l', '?']).count())
    }

    /// Connects that passed, at once or late.
    #[must_use]
    pub const fn passed(&self) -> u32 {
        self.connected.saturating_add(self.connected_late)
    }

    /// Connects whose first SYN got no answer.
    #[must_use]
    pub const fn hung(&self) -> u32 {
        self.silent.saturating_add(self.connected_late)
    }
}

/// A TCP segment with ACK set and no connection behind it (RFC 9293 3.10.7.2: a listener answers it with RST).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckProbe {
    /// Where to.
    pub to: SocketAddr,
    /// Segments sent.
    pub sent: u32,
    /// RSTs that came back from that address and port.
    pub resets: u32,
    /// TTL of the first RST.
    pub answer_ttl: Option<u8>,
}

/// One UDP question (or empty datagram) and what came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UdpProbe {
    /// Where to.
    pub to: SocketAddr,
    /// `Target`, or `Control` for a port that is closed on most hosts.
    pub role: Role,
    /// Payload bytes of each datagram.
    pub payload_bytes: u32,
    /// Datagrams sent.
    pub sent: u32,
    /// What came back.
    pub outcome: UdpOutcome,
}

/// What came back for a datagram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum UdpOutcome {
    /// A datagram came back.
    Answer {
        /// Its size.
        bytes: u32,
    },
    /// An ICMP error or an error of our own kernel.
    Failed {
        /// errno name; `EPERM` when the local firewall dropped it.
        errno: String,
        /// The ICMP error behind it.
        icmp: Option<IcmpError>,
    },
    /// Nothing in time.
    Silent {
        /// How long we waited.
        waited_ms: f64,
    },
}

/// What a live connection's `TCP_INFO` said at its end, or when it stalled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TcpHealth {
    /// Smoothed round trip.
    pub rtt_ms: f64,
    /// Its variance.
    pub rttvar_ms: f64,
    /// Smallest round trip seen.
    pub min_rtt_ms: f64,
    /// Segments we sent again, in all.
    pub retransmits: u32,
    /// Segments sent, data only.
    pub data_segs_out: u32,
    /// Segments received, data only.
    pub data_segs_in: u32,
    /// Segments sent and not yet acknowledged.
    pub unacked: u32,
    /// Retransmission timer backoff at this moment.
    pub backoff: u32,
    /// Milliseconds limited by the peer's window (`tcpi_rwnd_limited`).
    pub rwnd_limited_ms: f64,
    /// Peer's last advertised window, bytes, if the kernel tells.
    pub snd_wnd: Option<u32>,
    /// Segments received out of order (`tcpi_rcv_ooopack`).
    pub out_of_order: u32,
    /// Path MTU in use.
    pub pmtu: u32,
    /// Our MSS toward the peer.
    pub snd_mss: u32,
    /// Duplicate SACKs received (`tcpi_dsack_dups`): the network or a spurious retransmit duplicated.
    pub dsack_dups: u32,
    /// Zero-window probes outstanding (`tcpi_probes`).
    pub probes: u32,
    /// Bytes received in all.
    pub bytes_received: u64,
    /// Bytes of ours acknowledged in all.
    pub bytes_acked: u64,
    /// How long ago the last data came (`tcpi_last_data_recv`); absent when none ever came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_received_ms: Option<f64>,
}

/// What a peer did after a plain TCP connect, before we said anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// The peer.
    pub to: SocketAddr,
    /// What it did.
    pub outcome: SessionOutcome,
    /// State of the connection at the end.
    pub tcp: Option<TcpHealth>,
}

/// What a peer does with a connection that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum SessionOutcome {
    /// It waits for us: the usual case.
    Open,
    /// It speaks first.
    Greeting {
        /// What it said, printable, at most 128 characters.
        first_bytes: String,
    },
    /// FIN at once.
    Closed,
    /// RST at once.
    Reset,
    /// Another error of the socket.
    Failed {
        /// In words.
        why: String,
    },
}
