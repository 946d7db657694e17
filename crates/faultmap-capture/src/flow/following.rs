//! One flow while it is followed: its ends, its volume, the TCP in it, and the conversation that its bytes are.

use crate::app::{Below, Conversation, End, Ends, Glance, Sink, Talk};
use crate::flow::echo::Echo;
use crate::flow::record::{Cut, Exchanges, PerSide, RuleCount, State};
use crate::flow::stream::{Payload, Piece, Room, Stream};
use crate::flow::table::Keyed;
use crate::flow::tcp::{Segment, Tcp};
use crate::flow::{FlowId, FlowKey, Protocol, Side};
use crate::packet::{PacketNo, Stamp};
use faultmap_wire::Mac;

/// Ports from here on are drawn for clients (Linux's default range).
const EPHEMERAL: u16 = 32_768;
/// Ports below this belong to services.
const WELL_KNOWN: u16 = 1024;

/// A flow.
pub(crate) struct Flow {
    pub(crate) id: FlowId,
    pub(crate) key: FlowKey,
    pub(crate) low_is_client: bool,
    pub(crate) first_packet: PacketNo,
    pub(crate) first: Stamp,
    pub(crate) last: Stamp,
    pub(crate) last_packet: PacketNo,
    pub(crate) packets: PerSide<u64>,
    pub(crate) bytes: PerSide<u64>,
    pub(crate) wire_bytes: u64,
    pub(crate) body: Body,
    pub(crate) app: Option<&'static str>,
    pub(crate) server_name: Option<String>,
    pub(crate) hello_bytes: Option<u32>,
    pub(crate) exchanges: Exchanges,
    pub(crate) findings: Vec<RuleCount>,
    /// Its TLS was opened.
    pub(crate) decrypted: bool,
    /// Its packets went round in a loop.
    pub(crate) looped: bool,
    /// An ICMP error answered it.
    pub(crate) icmp_error: bool,
    /// Smallest TTL of the client's packets.
    pub(crate) ttl: u8,
    /// Datagrams of the client that went out in fragments.
    pub(crate) fragmented: u64,
    /// Datagrams of the server that went by in fragments.
    pub(crate) answered_in_fragments: u64,
    /// It asks DNS again under the id of an earlier try.
    pub(crate) asked_again: bool,
    /// What of its packets was cut off when they were captured.
    pub(crate) cut: Cut,
    /// The stations on the medium that its sides' packets come from.
    pub(crate) macs: PerSide<Option<Mac>>,
    /// The station that the client's packets go to, and how many have in a row.
    pub(crate) to: Option<Mac>,
    pub(crate) to_it: u32,
    /// The station that they went to before, without an answer.
    pub(crate) in_vain: Option<Mac>,
}

impl Keyed for Flow {
    fn key(&self) -> &FlowKey {
        &self.key
    }
}

/// What the flow is above IP.
pub(crate) enum Body {
    Tcp(Box<TcpBody>),
    Datagrams { talk: Option<Box<dyn Conversation>>, looked: bool },
    Echo(Box<Echo>),
    Plain,
}

/// A connection and the bytes in it.
#[derive(Default)]
pub(crate) struct TcpBody {
    pub(crate) tcp: Tcp,
    pub(crate) talk: Option<Talk>,
    pub(crate) streams: PerSide<Stream>,
}

/// The memory of connections that are over, for those to come: where thousands begin and end in a second, that spares the allocator most of its work.
#[derive(Default)]
#[allow(clippy::vec_box, reason = "the boxes themselves are what is used again")]
pub(crate) struct Spare(Vec<Box<TcpBody>>);

/// Connections whose memory waits to be used again.
const MOST_SPARE: usize = 64;

impl Spare {
    fn take(&mut self, talk: Talk) -> Box<TcpBody> {
        let mut body = self.0.pop().unwrap_or_default();
        body.talk = Some(talk);
        body
    }

    /// The flow is over.
    pub(crate) fn keep(&mut self, body: &mut Body) {
        if let Body::Tcp(mut body) = std::mem::replace(body, Body::Plain)
            && self.0.len() < MOST_SPARE
        {
            *body = TcpBody::default();
            self.0.push(body);
        }
    }
}

/// Who of two ends asked, where no SYN tells: services have the lower ports.
fn first_is_client(from: u16, to: u16) -> bool {
    // Who serves DHCP has a port of its own, whoever spoke first (RFC 2131 §4.1, RFC 8415 §7.2).
    match (from, to) {
        (67, 68) | (547, 546) => return false,
        (68, 67) | (546, 547) => return true,
        _ => {}
    }
    match (from < WELL_KNOWN, to < WELL_KNOWN) {
        (true, false) => return false,
        (false, true) => return true,
        _ => {}
    }
    !(from < EPHEMERAL && to >= EPHEMERAL)
}

fn ends(key: &FlowKey, low_is_client: bool) -> Ends {
    let (client, server) = if low_is_client { (key.low, key.high) } else { (key.high, key.low) };
    Ends { client: client.into(), server: server.into() }
}

impl Flow {
    /// A flow of which this is the first packet. `opener` where a SYN tells who opened it; `looped` if packets of it went round before.
    pub(crate) fn new(
        (id, key): (FlowId, FlowKey),
        low_sends: bool,
        opener: Option<bool>,
        packet: (PacketNo, Stamp),
        looped: bool,
        spare: &mut Spare,
    ) -> Self {
        let (from, to) = if low_sends { (key.low, key.high) } else { (key.high, key.low) };
        let by_client = opener.unwrap_or_else(|| first_is_client(from.port, to.port));
        let low_is_client = by_client == low_sends;
        let body = match key.protocol {
            Protocol::Tcp => Body::Tcp(spare.take(Talk::new(ends(&key, low_is_client), opener.is_some()))),
            Protocol::Icmp => Body::Echo(Box::default()),
            Protocol::Udp => Body::Datagrams { talk: None, looked: false },
            _ => Body::Plain,
        };
        Self {
            id,
            key,
            low_is_client,
            first_packet: packet.0,
            first: packet.1,
            last: packet.1,
            last_packet: packet.0,
            packets: PerSide::default(),
            bytes: PerSide::default(),
            wire_bytes: 0,
            body,
            app: None,
            server_name: None,
            hello_bytes: None,
            exchanges: Exchanges::default(),
            findings: Vec::new(),
            decrypted: false,
            looped,
            icmp_error: false,
            ttl: u8::MAX,
            fragmented: 0,
            answered_in_fragments: 0,
            asked_again: false,
            cut: Cut::default(),
            macs: PerSide::default(),
            to: None,
            to_it: 0,
            in_vain: None,
        }
    }

    pub(crate) fn ends(&self) -> Ends {
        ends(&self.key, self.low_is_client)
    }

    pub(crate) const fn side(&self, low_sends: bool) -> Side {
        if low_sends == self.low_is_client { Side::Client } else { Side::Server }
    }

    /// Counts a rule that matched.
    pub(crate) fn note(&mut self, found: RuleCount) {
        match self.findings.iter_mut().find(|known| known.rule == found.rule) {
            Some(known) => {
                known.count = known.count.saturating_add(found.count);
                known.weight = known.weight.max(found.weight);
            }
            None => self.findings.push(found),
        }
    }

    /// How far it came.
    pub(crate) fn state(&self) -> State {
        match &self.body {
            Body::Tcp(body) => body.tcp.state(),
            _ if self.packets.server == 0 => State::S0,
            _ if self.packets.client == 0 => State::Oth,
            _ => State::Sf,
        }
    }
}

impl TcpBody {
    /// What the conversation may know of the connection.
    pub(crate) fn below(&self, server_port: u16) -> Below {
        let handshake = &self.tcp.handshake;
        Below {
            handshake_rtt_ms: handshake.rtt_ms(),
            question_acked_ms: self.tcp.question_acked_ms,
            from_the_start: handshake.syn.is_some() || handshake.syn_ack.is_some(),
            established: handshake.ack.map(|ack| ack.at()),
            first_fin: self.tcp.first_fin(),
            last_word: self.tcp.last_word(),
            server_port,
            server_spoke: self.tcp.server_spoke(),
            one_sided: self.tcp.one_sided().is_some(),
        }
    }

    /// Hands a payload to the conversation, in its turn.
    pub(crate) fn deliver(&mut self, from: Side, payload: Payload<'_>, server_port: u16, room: &mut Room, sink: &mut Sink) {
        let below = self.below(server_port);
        let Some(talk) = &mut self.talk else { return };
        let wanted = talk.wants(from);
        self.streams.of_mut(from).take(payload, room, &mut |piece| tell(talk, from, piece, wanted, &below, sink));
        self.let_go(room);
    }

    /// A SYN or SYN-ACK: the first byte stands behind it. What came with a SYN waits until the server has taken it.
    pub(crate) fn opened(&mut self, segment: &Segment<'_>, start: Option<i64>, server_port: u16, room: &mut Room, sink: &mut Sink) {
        let early = segment.len > 0 && segment.from == Side::Client;
        self.streams.of_mut(segment.from).begin(i64::from(!early));
        if let Some(start) = start.filter(|_| early) {
            let payload = Payload { start, bytes: segment.payload, len: segment.len, at: segment.at, packet: segment.no };
            return self.deliver(segment.from, payload, server_port, room, sink);
        }
        if segment.from == Side::Server {
            // Where nothing waits, nobody will ask.
            let below = if self.streams.client.waits() { self.below(server_port) } else { Below::default() };
            let taken = self.tcp.fast_open_ignored.is_none();
            let Some(talk) = &mut self.talk else { return };
            let out = &mut |piece: Piece<'_>| tell(talk, Side::Client, piece, true, &below, sink);
            self.streams.client.release(taken, segment.at, segment.no, room, out);
        }
    }

    /// The capture has missed what is before `offset`.
    pub(crate) fn skip_to(&mut self, from: Side, offset: i64, when: (Stamp, PacketNo), server_port: u16, room: &mut Room, sink: &mut Sink) {
        let below = self.below(server_port);
        let Some(talk) = &mut self.talk else { return };
        self.streams.of_mut(from).skip_to(offset, when.0, when.1, room, &mut |piece| tell(talk, from, piece, true, &below, sink));
    }

    /// Both sides have closed. Thousands of such flows may wait for late packets: they keep no conversation whose every byte has come.
    pub(crate) fn rest(&mut self) {
        let whole = |side: Side| self.tcp.closed_at(side).is_some_and(|fin| self.streams.of(side).has_all_before(fin));
        if whole(Side::Client)
            && whole(Side::Server)
            && let Some(talk) = &mut self.talk
        {
            talk.rest();
        }
    }

    /// The flow is over: the conversation ends.
    pub(crate) fn end(&mut self, how: End, now: Stamp, server_port: u16, sink: &mut Sink) {
        if self.talk.as_ref().is_some_and(Talk::has_begun) {
            let below = self.below(server_port);
            if let Some(talk) = &mut self.talk {
                talk.end(how, now, &below, sink);
            }
        }
    }

    /// The flow is over: what waited comes out.
    pub(crate) fn flush(&mut self, when: (Stamp, PacketNo), server_port: u16, room: &mut Room, sink: &mut Sink) {
        if !self.streams.client.waits() && !self.streams.server.waits() {
            return;
        }
        let below = self.below(server_port);
        for from in [Side::Client, Side::Server] {
            let stream = self.streams.of_mut(from);
            if let Some(talk) = &mut self.talk {
                stream.flush(when.0, when.1, room, &mut |piece| tell(talk, from, piece, true, &below, sink));
            }
            stream.clear(room);
        }
    }

    /// Nobody listens any more: nothing is kept.
    fn let_go(&mut self, room: &mut Room) {
        let deaf = self.talk.as_ref().is_some_and(|talk| talk.is_deaf() || !(talk.wants(Side::Client) || talk.wants(Side::Server)));
        if !deaf {
            return;
        }
        self.streams.client.clear(room);
        self.streams.server.clear(room);
        if self.talk.as_ref().is_some_and(Talk::is_deaf) {
            self.talk = None;
        }
    }
}

fn tell(talk: &mut Talk, from: Side, piece: Piece<'_>, wanted: bool, below: &Below, sink: &mut Sink) {
    match piece {
        Piece::Bytes(bytes, at, packet) if wanted => talk.chunk(crate::app::Chunk { from, bytes, at, packet }, below, sink),
        Piece::Cut(bytes, missing, at, packet) if wanted => {
            let chunk = crate::app::Chunk { from, bytes, at, packet };
            talk.glance(Glance { chunk, missing }, below, sink);
        }
        Piece::Bytes(..) => {}
        Piece::Cut(_, missing, ..) | Piece::Gap(missing) => talk.gap(from, missing, sink),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thousands are followed at once, and every packet brings one of them back from memory.
    #[test]
    fn a_connection_in_which_nothing_happens_takes_few_lines_of_a_cache() {
        let lines = |bytes: usize| bytes.div_ceil(64);
        let (flow, body) = (lines(size_of::<Flow>()), lines(size_of::<TcpBody>()));
        assert!(flow <= 6 && body <= 14, "{flow} and {body} lines: what seldom happens belongs apart");
    }
}
