//! What is said in a flow: one file for each protocol, all behind one trait. A conversation gets the bytes of both directions in order, and gives
//! exchanges (a question, its answer, how long each part took) and findings. It never sees packets, and never blocks: what it cannot read it lets go.

mod brokers;
mod clock;
mod content;
pub mod dhcp;
pub mod dhcp6;
mod dns;
mod gather;
mod h2;
mod http;
mod lines;
mod mysql;
pub mod ntp;
mod packets;
mod pairing;
mod postgres;
mod quic;
mod recognise;
mod redis;
#[cfg(test)]
mod robust;
mod socks;
mod ssh;
mod strangers;
mod talk;
mod tell;
#[cfg(test)]
mod testkit;
pub(crate) mod text;
mod tls;
mod turns;
mod websocket;

pub use recognise::{First, Guess, Spoken, recognise};

/// The protocol that is usually spoken at a port, as tables name it.
pub(crate) fn usual_at(port: u16) -> Option<&'static str> {
    recognise::usual(port).map(Spoken::name)
}

pub use talk::{Talk, datagrams};
pub(crate) use tls::sealed_handshake;

pub(crate) use self::tell::{CLOSES, CUT_OFF, CUT_SHORT, Mark};
pub(crate) use self::turns::AT_A_GLANCE;
use crate::finding::{Finding, Party};
use crate::flow::Side;
use crate::keys::Keys;
use crate::packet::{PacketNo, Stamp};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};

/// Bytes of one direction, in order, as they came.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Who sent them.
    pub from: Side,
    /// The bytes; never empty.
    pub bytes: &'a [u8],
    /// When the packet that made them readable was captured.
    pub at: Stamp,
    /// That packet.
    pub packet: PacketNo,
}

/// The beginning of a segment or datagram, the rest of which was cut off when it was captured (`tcpdump -s 96`).
#[derive(Debug, Clone, Copy)]
pub struct Glance<'a> {
    /// What was captured of it: its first bytes, or none.
    pub chunk: Chunk<'a>,
    /// How many more bytes it had; never 0.
    pub missing: u64,
}

/// How a flow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Both sides said FIN.
    Closed,
    /// This side said FIN and the flow went no further.
    HalfClosed(Side),
    /// This side sent a RST.
    Reset(Side),
    /// Nothing came any more for the time after which a flow is forgotten.
    Idle,
    /// The capture ended, or the flow was pushed out by a bound.
    Cut,
}

/// What a conversation may ask of the flow below it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Below {
    /// Round trip of the handshake, between the client and the point of capture and the server together.
    pub handshake_rtt_ms: Option<f64>,
    /// From the last byte of the last question to the first ACK that covers it, in milliseconds; `None` while no ACK covers it.
    pub question_acked_ms: Option<f64>,
    /// The SYN was seen, so that the first bytes of the conversation are its beginning.
    pub from_the_start: bool,
    /// When the handshake was complete.
    pub established: Option<Stamp>,
    /// Who said FIN first, if anybody did.
    pub first_fin: Option<Side>,
    /// When the connection's last packet was seen, or the first FIN or RST if there was one.
    pub last_word: Stamp,
    /// The server's port.
    pub server_port: u16,
    /// When the server last sent bytes that were new, whether or not they could be put in order.
    pub server_spoke: Option<Stamp>,
    /// One direction only was captured: what the other side said is not known.
    pub one_sided: bool,
}

impl Below {
    /// The network's part of a wait at the point of capture: the round trip to the server, as far as the handshake and the last ACK tell.
    #[must_use]
    pub fn network_ms(&self) -> f64 {
        match (self.handshake_rtt_ms, self.question_acked_ms) {
            (Some(handshake), Some(acked)) => handshake.min(acked),
            (one, other) => one.or(other).unwrap_or(0.0),
        }
    }

    /// The server's part of a wait of `wait_ms`.
    #[must_use]
    pub fn think_ms(&self, wait_ms: f64) -> f64 {
        (wait_ms - self.network_ms()).max(0.0)
    }

    /// How long a server that speaks first took to do so, beyond the network's time; `None` where the beginning was not seen.
    pub(crate) fn greeted_after_ms(&self, at: Stamp) -> Option<f64> {
        let since = self.established.filter(|_| self.from_the_start)?;
        Some(self.think_ms(at.ms_since(since)))
    }
}

/// The two ends of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who opened it.
    pub client: SocketAddr,
    /// Who was asked.
    pub server: SocketAddr,
}

impl Ends {
    /// The server, as somebody to blame.
    #[must_use]
    pub const fn service(&self) -> Party {
        Party::Service(self.server)
    }

    /// The client, as somebody to blame.
    #[must_use]
    pub const fn asker(&self) -> Party {
        Party::Host(self.client.ip())
    }

    /// Whoever sent what `side` sent.
    #[must_use]
    pub const fn party(&self, side: Side) -> Party {
        match side {
            Side::Client => self.asker(),
            Side::Server => self.service(),
        }
    }
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exchange {
    /// The protocol: `http`, `dns`, `postgres`.
    pub protocol: &'static str,
    /// The question in short: `GET /checkout`, `A shop.test`. Printable, at most 200 characters, never a credential.
    pub question: String,
    /// The answer in short: `503`, `NXDOMAIN`, `ERROR 28P01`. Empty if none came.
    pub answer: String,
    /// First byte of the question.
    #[serde(skip)]
    pub asked: Stamp,
    /// Packet of the question's first byte.
    pub asked_in: u64,
    /// From the question's last byte to the answer's first, less nothing.
    pub wait_ms: Option<f64>,
    /// The part of `wait_ms` that the server took: the wait less the network's round trip.
    pub think_ms: Option<f64>,
    /// From the first byte of the question to the last of the answer.
    pub total_ms: Option<f64>,
    /// Packet of the answer's first byte.
    pub answered_in: Option<u64>,
    /// The answer is one that the client wanted: no error status, no refusal.
    pub ok: bool,
}

impl Exchange {
    /// A question without an answer. What came of it is added where it is known.
    pub(crate) const fn unanswered(protocol: &'static str, question: String, asked: Mark) -> Self {
        let (asked, asked_in) = (asked.at, asked.packet.0);
        Self {
            protocol,
            question,
            answer: String::new(),
            asked,
            asked_in,
            wait_ms: None,
            think_ms: None,
            total_ms: None,
            answered_in: None,
            ok: false,
        }
    }

    /// A question in one datagram, with its answer, if one came: when, what, and whether it is what was wanted. Datagrams have no handshake that would tell
    /// the network's part of the wait.
    pub(crate) fn of_datagrams(protocol: &'static str, question: String, asked: Mark, answer: Option<(Mark, String, bool)>) -> Self {
        let unanswered = Self::unanswered(protocol, question, asked);
        let Some((mark, answer, ok)) = answer else { return unanswered };
        let wait_ms = Some(mark.at.ms_since(asked.at));
        Self { answer, ok, wait_ms, total_ms: wait_ms, answered_in: Some(mark.packet.0), ..unanswered }
    }

    /// When the first byte of its answer went by; of one without an answer, when it was asked.
    #[must_use]
    pub fn answered_at(&self) -> Stamp {
        Stamp(self.asked.0.saturating_add((self.wait_ms.unwrap_or_default() * 1e6) as i64))
    }
}

/// What was said of DNS, for who follows questions across flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsWord {
    /// A question was asked, or asked again.
    Asked {
        /// Type and name, as in [`Exchange::question`].
        question: String,
        /// The id under which it was asked.
        id: u16,
        /// When.
        at: Stamp,
        /// In which packet.
        packet: PacketNo,
    },
    /// A name has these addresses, of the type that was asked for.
    Has {
        /// The name.
        name: String,
        /// Some of them.
        addresses: Vec<IpAddr>,
    },
    /// A name without a dot got a public address.
    Dotless {
        /// The name.
        name: String,
        /// Equal for equal sets of addresses.
        content: u64,
        /// When.
        at: Stamp,
        /// In which packet.
        packet: PacketNo,
    },
}

/// Where a conversation puts what it has.
#[derive(Debug, Default)]
pub struct Sink {
    /// Findings, without flow id (the flow adds its own).
    pub findings: Vec<Finding>,
    /// Exchanges that are complete, or that will never be.
    pub exchanges: Vec<Exchange>,
    /// The protocol has been recognised as another one than assumed; shown in tables: `tls`, `http`, `h2`, `postgres`.
    pub protocol: Option<&'static str>,
    /// The name that the client asked for (SNI, Host, the database), printable.
    pub server_name: Option<String>,
    /// Length of its ClientHello with the headers of records, bytes.
    pub hello_bytes: Option<u32>,
    /// What was said of DNS over datagrams.
    pub lookups: Vec<DnsWord>,
    /// The keys with which TLS is opened, if the user has any.
    pub keys: Option<Keys>,
    /// A record of TLS was opened.
    pub unsealed: bool,
    /// Where opened records are kept, for who wants to show them.
    pub shown: Option<Vec<Unsealed>>,
    /// So many sessions of TLS stand around what is said now.
    pub(crate) within: u8,
}

/// A record of TLS, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsealed {
    /// Who sent it.
    pub from: Side,
    /// Its true content type (RFC 8446 §5.1).
    pub kind: u8,
    /// Its content.
    pub bytes: Vec<u8>,
    /// The packet with its last byte.
    pub packet: PacketNo,
}

impl Sink {
    /// Nothing was said, as after most packets.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { findings, exchanges, protocol, server_name, hello_bytes, lookups, unsealed, .. } = self;
        findings.is_empty()
            && exchanges.is_empty()
            && lookups.is_empty()
            && protocol.is_none()
            && server_name.is_none()
            && hello_bytes.is_none()
            && !*unsealed
    }
}

/// One protocol in one flow. Memory is bounded: each conversation says in its file how much it may keep.
pub trait Conversation: Send {
    /// Bytes of one side, in order.
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink);
    /// The beginning of a segment, the rest of which was not captured. Who cannot read on behind it takes it for bytes and a hole. Who can tells only what the
    /// first bytes of a message settle, and only where it knows that a message begins.
    fn glance(&mut self, glance: Glance<'_>, below: &Below, sink: &mut Sink) {
        bytes_and_a_hole(self, glance, below, sink);
    }
    /// Behind a segment that was cut this conversation can go on only by its turns (see `turns`).
    fn is_read_by_turns(&self) -> bool {
        false
    }
    /// Whether more bytes of this side are of use. Once neither side's are, the flow stops keeping bytes for it.
    fn wants(&self, from: Side) -> bool {
        let _ = from;
        true
    }
    /// Nothing is under way: were the flow over now, [`Conversation::end`] would have nothing to tell. May say no where that is so.
    fn is_settled(&self) -> bool {
        false
    }
    /// So many bytes of one side will never come: the capture lost them, or a bound was hit.
    fn gap(&mut self, from: Side, missing: u64, sink: &mut Sink);
    /// The flow is over. `at` is the last moment of the capture, or of the time after which the flow was forgotten: what waited until then waited
    /// so long.
    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink);
}

/// What a segment that was cut is to whoever cannot read on behind it.
fn bytes_and_a_hole(of: &mut (impl Conversation + ?Sized), glance: Glance<'_>, below: &Below, sink: &mut Sink) {
    if !glance.chunk.bytes.is_empty() {
        of.chunk(glance.chunk, below, sink);
    }
    of.gap(glance.chunk.from, glance.missing, sink);
}
