//! What is told of one flow: who, when, how much, how it ended, and what TCP went through. Plain data for tables, JSON and columns; packets are
//! named by number and never kept.

use crate::app::{End, Exchange};
use crate::finding::Weight;
use crate::flow::{FlowId, Protocol, Side};
use crate::packet::{PacketNo, Stamp};
use serde::{Serialize, Serializer};
use std::net::SocketAddr;

/// Failing exchanges that a record keeps; further ones are counted only.
pub const MOST_FAILING: usize = 4;

/// One value for each side: of what that side sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PerSide<T> {
    /// Of the client's packets.
    pub client: T,
    /// Of the server's packets.
    pub server: T,
}

impl<T> PerSide<T> {
    /// That of a side.
    #[must_use]
    pub const fn of(&self, side: Side) -> &T {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// That of a side, to change.
    pub const fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

/// A packet and its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Number of the packet.
    pub packet: u64,
    /// When, nanoseconds since the epoch.
    pub at_ns: i64,
}

impl Seen {
    /// A packet and its moment.
    #[must_use]
    pub const fn new(packet: PacketNo, at: Stamp) -> Self {
        Self { packet: packet.0, at_ns: at.0 }
    }

    /// When.
    #[must_use]
    pub const fn at(self) -> Stamp {
        Stamp(self.at_ns)
    }
}

/// How far a flow came, in the words of Zeek's `conn_state`. UDP and others know `S0` (unanswered) and `SF` (both spoke) only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Asked, no answer.
    S0,
    /// Established, not ended.
    S1,
    /// Established and ended in order.
    Sf,
    /// Refused.
    Rej,
    /// Established; the client said FIN, the server did not.
    S2,
    /// Established; the server said FIN, the client did not.
    S3,
    /// Established; the client reset.
    Rsto,
    /// Established; the server reset.
    Rstr,
    /// The client sent SYN, then RST, without an answer.
    Rstos0,
    /// The server answered SYN-ACK, then RST; the client's part was not seen.
    Rstrh,
    /// The client sent SYN, then FIN, without an answer.
    Sh,
    /// The server answered SYN-ACK, then FIN; the client's part was not seen.
    Shr,
    /// No SYN seen: the capture began in mid-stream.
    Oth,
}

impl State {
    /// Zeek's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::S0 => "S0",
            Self::S1 => "S1",
            Self::Sf => "SF",
            Self::Rej => "REJ",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::Rsto => "RSTO",
            Self::Rstr => "RSTR",
            Self::Rstos0 => "RSTOS0",
            Self::Rstrh => "RSTRH",
            Self::Sh => "SH",
            Self::Shr => "SHR",
            Self::Oth => "OTH",
        }
    }

    /// The same in plain words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::S0 => "no answer",
            Self::S1 => "open",
            Self::Sf => "closed in order",
            Self::Rej => "refused",
            Self::S2 => "half closed by the client",
            Self::S3 => "half closed by the server",
            Self::Rsto => "reset by the client",
            Self::Rstr => "reset by the server",
            Self::Rstos0 => "given up by the client",
            Self::Rstrh => "reset by the server, client not seen",
            Self::Sh => "closed by the client without an answer",
            Self::Shr => "closed by the server, client not seen",
            Self::Oth => "seen from the middle on",
        }
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Where packets of a flow were lost, as seen from the point of capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossSide {
    /// Between their sender and the point of capture: they were never seen, and sent again.
    BeforeCapture,
    /// Behind it: they were seen, did not arrive (or their ACK did not come back), and were sent again.
    AfterCapture,
    /// On both sides.
    Both,
}

/// Segments sent again, by what made the sender do so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Retransmits {
    /// SYN or SYN-ACK.
    pub syn: u32,
    /// Asked for by duplicate ACKs or SACK (RFC 5681, RFC 6675).
    pub fast: u32,
    /// The retransmission timer ran out (RFC 6298).
    pub timeout: u32,
    /// A tail loss probe (RFC 8985).
    pub probe: u32,
    /// Needless: the bytes had arrived (RFC 2883, RFC 3522).
    pub spurious: u32,
    /// A FIN without data.
    pub fin: u32,
}

impl Retransmits {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.needed().saturating_add(self.spurious)
    }

    /// Those that repaired a loss, or tried to.
    #[must_use]
    pub const fn needed(&self) -> u32 {
        self.syn.saturating_add(self.fast).saturating_add(self.timeout).saturating_add(self.probe).saturating_add(self.fin)
    }
}

/// What one side of a TCP connection did.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct TcpSide {
    /// Segments that it sent again.
    pub retransmits: Retransmits,
    /// Its segments that came in another order than sent.
    pub out_of_order: u32,
    /// Its segments lost before the capture point, and those lost behind it.
    pub lost_before: u32,
    /// See `lost_before`.
    pub lost_after: u32,
    /// Duplicate ACKs that it sent.
    pub dup_acks: u32,
    /// ACKs of it that reported a duplicate arrival (RFC 2883).
    pub d_sacks: u32,
    /// How often it closed its window.
    pub zero_windows: u32,
    /// How long its window was closed, milliseconds in all.
    pub zero_window_ms: f64,
    /// Its window was still closed when the flow ended.
    pub zero_window_at_end: bool,
    /// Probes that it sent into a closed window.
    pub window_probes: u32,
    /// Its segments that filled the peer's window.
    pub window_full: u32,
    /// Its keep-alives, and how many of them were answered.
    pub keep_alives: u32,
    /// See `keep_alives`.
    pub keep_alives_answered: u32,
    /// Its segments whose checksum is wrong, and not because the capturing host's card fills it in.
    pub bad_checksums: u32,
    /// Most of its bytes on the way at once.
    pub most_in_flight: u64,
    /// Its bytes that arrived but are not in the capture.
    pub missing_bytes: u64,
    /// Holes of the capture among its bytes.
    pub gaps: u32,
    /// Its FIN.
    pub fin: Option<Seen>,
    /// Its largest segment, bytes of payload.
    #[serde(skip)]
    pub largest_payload: u32,
    /// Its largest segment that was acknowledged, bytes of payload.
    #[serde(skip)]
    pub largest_acked: u32,
    /// The segment that it sent again and again to the end, if it is larger than any that was acknowledged, bytes of payload.
    #[serde(skip)]
    pub stuck_payload: Option<u32>,
    /// Its segments whose checksum the capture cannot judge, for a network card fills it in.
    #[serde(skip)]
    pub unchecked: u32,
    /// Its round trips, where it sent in bulk.
    #[serde(skip)]
    pub trips: Option<Trips>,
    /// TTL of its packets.
    #[serde(skip)]
    pub ttl: Option<u8>,
    /// Options of its SYN: largest segment.
    pub mss: Option<u16>,
    /// Window scale.
    pub window_scale: Option<u8>,
    /// Selective acknowledgements permitted.
    pub sack: bool,
    /// Timestamps.
    pub timestamps: bool,
}

/// Round trips of a sender in bulk, those that it filled with its segments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trips {
    /// Losses of which the round trip at that moment is known.
    pub losses: u32,
    /// The mean round trip at these, milliseconds.
    pub at_loss_ms: f32,
    /// The shortest of all, milliseconds; infinite where none is known.
    pub least_ms: f32,
}

/// The handshake.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Handshake {
    /// The first SYN.
    pub syn: Option<Seen>,
    /// The first SYN-ACK.
    pub syn_ack: Option<Seen>,
    /// The client's ACK of it.
    pub ack: Option<Seen>,
    /// SYN to SYN-ACK: the round trip from here to the server. None if either was repeated (Karn, RFC 6298).
    pub server_rtt_ms: Option<f64>,
    /// SYN-ACK to ACK: the round trip from here to the client.
    pub client_rtt_ms: Option<f64>,
}

impl Handshake {
    /// The whole round trip.
    #[must_use]
    pub fn rtt_ms(&self) -> Option<f64> {
        Some(self.server_rtt_ms? + self.client_rtt_ms?)
    }
}

/// The first RST of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reset {
    /// Whose name it bears.
    pub by: Side,
    /// The packet.
    pub seen: Seen,
    /// Its TTL.
    pub ttl: u8,
    /// The TTL of that side's other packets.
    pub usual_ttl: Option<u8>,
    /// Its sequence number is one that the receiver accepts (RFC 5961).
    pub in_window: bool,
}

/// What TCP went through.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct TcpRecord {
    /// The handshake.
    pub handshake: Handshake,
    /// What each side did.
    pub sides: PerSide<TcpSide>,
    /// The first RST.
    pub reset: Option<Reset>,
    /// Where packets were lost.
    pub loss: Option<LossSide>,
    /// The longest time without any packet, milliseconds.
    pub longest_idle_ms: f64,
    /// The longest silence after which data got through, milliseconds.
    #[serde(skip)]
    pub survived_ms: f64,
    /// The silence before data that did not: it was sent again to the end, or answered by RST.
    #[serde(skip)]
    pub died_after: Option<Pause>,
}

/// A silence within a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pause {
    /// How long, milliseconds.
    pub ms: f64,
    /// When it ended.
    pub until: Stamp,
}

/// The exchanges of a flow in short.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Exchanges {
    /// All.
    pub count: u64,
    /// Those whose answer is not one that the client wanted, or that had none.
    pub failing: u64,
    /// The longest wait for the first byte of an answer.
    pub worst_wait_ms: Option<f64>,
    /// The part of it that the server took, if known.
    pub worst_think_ms: Option<f64>,
    /// The first [`MOST_FAILING`] that failed.
    pub first_failing: Vec<Exchange>,
}

impl Exchanges {
    /// One more.
    pub fn add(&mut self, exchange: Exchange) {
        self.count = self.count.saturating_add(1);
        if exchange.wait_ms.is_some_and(|wait| self.worst_wait_ms.is_none_or(|worst| wait > worst)) {
            self.worst_wait_ms = exchange.wait_ms;
        }
        if exchange.think_ms.is_some_and(|think| self.worst_think_ms.is_none_or(|worst| think > worst)) {
            self.worst_think_ms = exchange.think_ms;
        }
        if !exchange.ok {
            self.failing = self.failing.saturating_add(1);
            if self.first_failing.len() < MOST_FAILING {
                self.first_failing.push(exchange);
            }
        }
    }
}

/// How often a rule matched in a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RuleCount {
    /// The rule.
    pub rule: &'static str,
    /// Packets that show it.
    pub count: u64,
    /// How much it weighs.
    pub weight: Weight,
}

/// One flow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlowRecord {
    /// Its number; `--flow` takes it.
    pub id: FlowId,
    /// What it speaks above IP.
    pub protocol: Protocol,
    /// Who opened it.
    pub client: SocketAddr,
    /// The other end.
    pub server: SocketAddr,
    /// A mix of VLAN and tunnel ids; 0 where there are none.
    pub realm: u32,
    /// What is spoken in it: `tls`, `http`, `dns`.
    pub app: Option<&'static str>,
    /// The name that the client asked for.
    pub server_name: Option<String>,
    /// Length of the ClientHello, if one was sent, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello_bytes: Option<u32>,
    /// Its TLS was opened with the user's keys: `app` and the exchanges are those inside.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub decrypted: bool,
    /// First packet: its number.
    pub first_packet: u64,
    /// First packet: its moment.
    #[serde(rename = "first_ns", serialize_with = "nanoseconds")]
    pub first: Stamp,
    /// Last packet: its moment.
    #[serde(rename = "last_ns", serialize_with = "nanoseconds")]
    pub last: Stamp,
    /// Packets, without copies that only the capture made.
    pub packets: PerSide<u64>,
    /// Payload bytes above TCP or UDP, as sent (repeated ones counted again).
    pub bytes: PerSide<u64>,
    /// How far it came.
    pub state: State,
    /// How it ended.
    pub end: End,
    /// TCP only.
    pub tcp: Option<TcpRecord>,
    /// Questions and answers in it.
    pub exchanges: Exchanges,
    /// The client's packets had few hops to go when they passed: it searched the path, as traceroute does.
    #[serde(skip)]
    pub searching: bool,
    /// Datagrams of the client that went out in fragments.
    #[serde(skip)]
    pub fragmented: u64,
    /// Datagrams of the server that went by in fragments.
    #[serde(skip)]
    pub answered_in_fragments: u64,
    /// It asks DNS again under the id of an earlier try: its client has heard no answer.
    #[serde(skip)]
    pub asked_again: bool,
    /// The smallest TTL of the client's packets as they passed here.
    #[serde(skip)]
    pub client_ttl: u8,
    /// The client's packets went to the station that has the server's address on this medium.
    #[serde(skip)]
    pub delivered: bool,
    /// What of its packets was cut off when they were captured.
    #[serde(skip)]
    pub cut: Cut,
    /// Rules that matched, worst first.
    pub findings: Vec<RuleCount>,
}

/// What the capture cut off of a flow's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// A part of what they carry.
    pub payload: bool,
    /// A part of their headers, too: options of TCP, by which repairs that were needed are told from needless ones.
    pub headers: bool,
}

impl FlowRecord {
    /// TLS is spoken in it, whether or not what it hides could be read.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.decrypted || self.app == Some("tls")
    }

    /// The worst that was found in it.
    #[must_use]
    pub fn worst(&self) -> Option<Weight> {
        self.findings.iter().map(|found| found.weight).max()
    }

    /// From first to last packet, milliseconds.
    #[must_use]
    pub fn duration_ms(&self) -> f64 {
        self.last.ms_since(self.first)
    }
}

fn nanoseconds<S: Serializer>(stamp: &Stamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(stamp.0)
}
