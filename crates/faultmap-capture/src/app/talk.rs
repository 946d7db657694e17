//! A conversation whose protocol is not known yet: it keeps the first bytes until the protocol is recognised, then hands over. Flows need no other.
//!
//! Memory: at most [`LOOKED_AT`] bytes of each side, in at most [`MOST_PIECES`] pieces, until the protocol is known or given up.

use super::recognise::usual;
use super::recognise::{First, Guess, LOOKED_AT, Spoken, recognise, recognise_cut};
use super::strangers::{self, Words};
use super::tell::{Mark, tell};
use super::turns::{ByTurns, Turn};
use super::{
    Below, Chunk, Conversation, End, Ends, Exchange, Glance, Sink, brokers, clock, dns, h2, http, lines, mysql, postgres, quic, redis,
    socks, ssh, tls,
};
use crate::finding::Weight;
use crate::flow::Side;
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;

/// Pieces that are kept: bytes that come one by one are let go.
const MOST_PIECES: usize = LOOKED_AT;

/// Bytes of one side that are waited out for a word of the other.
const MOST_SKIPPED: u64 = 64 * 1024;

/// What is said in a TCP connection.
pub struct Talk {
    ends: Ends,
    from_the_start: bool,
    /// It is said inside TLS.
    sealed: bool,
    state: State,
}

/// Small: most connections tell at once, and thousands are followed.
enum State {
    Unknown(Option<Box<Heard>>),
    Known { spoken: Spoken, inner: Box<dyn Conversation>, swapped: bool, first: Option<Box<FirstWords>>, turn: Option<Box<Turn>> },
    Given,
}

/// What was said before the protocol was clear.
#[derive(Default)]
struct Heard {
    pieces: Vec<Piece>,
    client: Vec<u8>,
    server: Vec<u8>,
    skipped: [u64; 2],
}

/// The first words of the side that did not begin, until it is clear that they are of the same protocol. They are held back as long as that is open.
struct FirstWords {
    spoken: Spoken,
    of: Side,
    asked: Mark,
    bytes: Vec<u8>,
    held: Vec<Piece>,
}

struct Piece {
    from: Side,
    bytes: Vec<u8>,
    at: Stamp,
    packet: PacketNo,
}

impl Talk {
    /// A connection between these; `from_the_start` if its SYN was seen.
    #[must_use]
    pub fn new(ends: Ends, from_the_start: bool) -> Self {
        Self { ends, from_the_start, sealed: false, state: State::Unknown(None) }
    }

    /// What is said inside the TLS of a connection.
    pub(super) fn inside_tls(ends: Ends, from_the_start: bool) -> Self {
        Self { sealed: true, ..Self::new(ends, from_the_start) }
    }

    /// The port, as a hint at the protocol: inside TLS that of the same protocol without it.
    const fn hint(&self) -> u16 {
        match self.ends.server.port() {
            853 if self.sealed => 53,
            465 if self.sealed => 25,
            990 if self.sealed => 21,
            5671 if self.sealed => 5672,
            8883 if self.sealed => 1883,
            port => port,
        }
    }

    /// The protocol is not known, and will not be: bytes need not be put together for this conversation any more.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        matches!(self.state, State::Given)
    }

    /// The protocol is known, so that there may be something to tell in the end.
    pub(crate) const fn has_begun(&self) -> bool {
        matches!(self.state, State::Known { .. })
    }

    /// The connection is over, and nothing in it waits: what the conversation kept is let go. Should bytes come all the same, they are looked at as those of
    /// a connection whose beginning was not seen.
    pub(crate) fn rest(&mut self) {
        if matches!(&self.state, State::Known { inner, .. } if inner.is_settled()) {
            *self = Self::new(self.ends, false);
        }
    }

    /// Bytes of a protocol that is not known yet; `missing` more of their segment were not captured.
    fn listen(&mut self, chunk: Chunk<'_>, missing: u64, below: &Below, sink: &mut Sink) {
        let port = self.hint();
        let State::Unknown(heard) = &mut self.state else { return };
        // Where it is clear at once, nothing is copied.
        if heard.is_none() {
            let here = chunk.bytes.get(..LOOKED_AT).unwrap_or(chunk.bytes);
            let (client, server) = if chunk.from == Side::Client { (here, &[][..]) } else { (&[][..], here) };
            let first = First { port, from_the_start: self.from_the_start, client, server };
            if let Guess::Is(spoken, swapped) = recognise(&first) {
                return self.hand_over(spoken, swapped, Heard::default(), (chunk, missing), below, sink);
            }
        }
        let Heard { pieces, client, server, skipped } = heard.get_or_insert_default().as_mut();
        let (own, other) = if chunk.from == Side::Client { (client, server) } else { (server, client) };
        let alone = own.is_empty();
        let side = usize::from(chunk.from == Side::Server);
        // All that is looked at has been looked at; only the other side can still tell.
        if own.len() >= LOOKED_AT {
            skipped[side] += chunk.bytes.len() as u64;
            if !other.is_empty() || skipped[side] > MOST_SKIPPED {
                self.state = State::Given;
            }
            return;
        }
        if !alone {
            let room = LOOKED_AT.saturating_sub(own.len());
            own.extend_from_slice(chunk.bytes.get(..room).unwrap_or(chunk.bytes));
        }
        let here = if alone { chunk.bytes.get(..LOOKED_AT).unwrap_or(chunk.bytes) } else { &own[..] };
        let (client, server) = if chunk.from == Side::Client { (here, &other[..]) } else { (&other[..], here) };
        let first = First { port, from_the_start: self.from_the_start, client, server };
        let guess = if missing > 0 { recognise_cut(&first) } else { recognise(&first) };
        // Whose first words say nothing may still be answered in words that do.
        let silent = other.is_empty();
        match guess {
            Guess::Is(spoken, swapped) => {
                let heard = heard.take().map(|heard| *heard).unwrap_or_default();
                self.hand_over(spoken, swapped, heard, (chunk, missing), below, sink);
            }
            Guess::Unknown if !silent => self.state = State::Given,
            // What follows is no beginning.
            Guess::More | Guess::Unknown if missing > 0 => self.forget(),
            Guess::More | Guess::Unknown => {
                let full = pieces.len() >= MOST_PIECES || own.len() >= LOOKED_AT;
                let room = if full { 0 } else { LOOKED_AT };
                let kept = chunk.bytes.get(..room).unwrap_or(chunk.bytes);
                if alone {
                    own.extend_from_slice(kept);
                }
                skipped[side] += (chunk.bytes.len() - kept.len()) as u64;
                if !kept.is_empty() {
                    pieces.push(Piece { from: chunk.from, bytes: kept.to_vec(), at: chunk.at, packet: chunk.packet });
                }
            }
        }
    }

    fn hand_over(
        &mut self,
        spoken: Spoken,
        swapped: bool,
        heard: Heard,
        (last, missing): (Chunk<'_>, u64),
        below: &Below,
        sink: &mut Sink,
    ) {
        let ends = if swapped { Ends { client: self.ends.server, server: self.ends.client } } else { self.ends };
        let Heard { pieces: kept, skipped, .. } = heard;
        let mut inner = open(spoken, ends, self.from_the_start);
        sink.protocol = Some(spoken.name());
        let first = kept.first().map_or(Mark::from(&last), |piece| Mark { at: piece.at, packet: piece.packet });
        if !self.sealed {
            unusual(spoken, &ends, first, sink);
        }
        let one_side = kept.iter().all(|piece| piece.from == last.from);
        let watched = strangers::watched(spoken, last.from == Side::Client).filter(|_| one_side && self.from_the_start && !swapped);
        let words = watched.map(|of| Box::new(FirstWords { spoken, of, asked: first, bytes: Vec::new(), held: Vec::new() }));
        for piece in &kept {
            let from = turned(piece.from, swapped);
            inner.chunk(Chunk { from, bytes: &piece.bytes, at: piece.at, packet: piece.packet }, below, sink);
        }
        for (from, missing) in [Side::Client, Side::Server].into_iter().zip(skipped).filter(|(_, missing)| *missing > 0) {
            inner.gap(turned(from, swapped), missing, sink);
        }
        let mut turn = None;
        if inner.is_read_by_turns() {
            let pieces = kept.iter().map(|piece| Chunk { from: piece.from, bytes: &piece.bytes, at: piece.at, packet: piece.packet });
            pieces.for_each(|piece| Turn::take(&mut turn, &Chunk { from: turned(piece.from, swapped), ..piece }));
        }
        self.state = State::Known { spoken, inner, swapped, first: words, turn };
        self.say(last, missing, below, sink);
    }

    /// Bytes of the side that began, or after the first words of the other one; `missing` more of their segment were not captured.
    fn say(&mut self, chunk: Chunk<'_>, missing: u64, below: &Below, sink: &mut Sink) {
        let State::Known { spoken, inner, swapped, turn, .. } = &mut self.state else { return };
        let chunk = Chunk { from: turned(chunk.from, *swapped), ..chunk };
        if missing == 0 {
            if inner.is_read_by_turns() {
                Turn::take(turn, &chunk);
            }
            return inner.chunk(chunk, below, sink);
        }
        if inner.is_read_by_turns() {
            let ends = if *swapped { Ends { client: self.ends.server, server: self.ends.client } } else { self.ends };
            *inner = Box::new(ByTurns::new(*spoken, ends, turn.take().as_deref(), self.from_the_start));
        }
        inner.glance(Glance { chunk, missing }, below, sink);
    }

    /// Looks no further back than here.
    fn forget(&mut self) {
        self.from_the_start = false;
        self.state = State::Unknown(None);
    }

    /// Bytes of a known protocol; the first of the side that did not begin are looked at before.
    fn hand_on(&mut self, chunk: Chunk<'_>, missing: u64, below: &Below, sink: &mut Sink) {
        let State::Known { first, .. } = &mut self.state else { return };
        let Some(words) = first else { return self.say(chunk, missing, below, sink) };
        if chunk.from == words.of {
            let room = strangers::LOOKED_AT.saturating_sub(words.bytes.len());
            words.bytes.extend_from_slice(chunk.bytes.get(..room).unwrap_or(chunk.bytes));
            match strangers::words(words.spoken, words.of, &words.bytes) {
                Words::Perhaps if missing == 0 => {
                    return words.held.push(Piece { from: chunk.from, bytes: chunk.bytes.to_vec(), at: chunk.at, packet: chunk.packet });
                }
                Words::Foreign(layer, cause, whose) => {
                    let mark = words.held.first().map_or(Mark::from(&chunk), |piece| Mark { at: piece.at, packet: piece.packet });
                    strange(words, (layer, cause, whose), mark, &self.ends, sink);
                    self.state = State::Given;
                    return;
                }
                Words::Perhaps | Words::Own => {}
            }
        }
        // The rest of what was said to it.
        else if words.held.is_empty() && words.bytes.is_empty() {
            return self.say(chunk, missing, below, sink);
        }
        // Clear, or nobody can wait for more: the other side goes on.
        for piece in first.take().map(|words| words.held).unwrap_or_default() {
            self.say(Chunk { from: piece.from, bytes: &piece.bytes, at: piece.at, packet: piece.packet }, 0, below, sink);
        }
        self.say(chunk, missing, below, sink);
    }
}

/// The two sides speak different protocols.
fn strange(words: &FirstWords, (layer, cause, whose): (Layer, &'static str, &'static str), mark: Mark, ends: &Ends, sink: &mut Sink) {
    let spoken = words.spoken.name();
    // Who knocks at a port with another protocol may be somebody who only tries.
    let (weight, text) = match words.of {
        Side::Server => (Weight::Fault, format!("{spoken} was spoken to the server, and its first words are those of {whose}")),
        Side::Client => (Weight::Warning, format!("the server speaks {spoken}, and the client began with {whose}")),
    };
    sink.findings.push(tell("proto.mismatch", weight, layer, mark, text).and(words.asked).for_cause(cause).on(ends.service()));
    let (answer, answered_in) = (whose.to_owned(), Some(mark.packet.0));
    sink.exchanges.push(Exchange { answer, answered_in, ..Exchange::unanswered(spoken, format!("{spoken} greeting"), words.asked) });
}

fn open(spoken: Spoken, ends: Ends, from_the_start: bool) -> Box<dyn Conversation> {
    match spoken {
        Spoken::Tls => Box::new(tls::Tls::new(ends)),
        Spoken::Http => Box::new(http::Http::new(ends)),
        Spoken::H2 if from_the_start => Box::new(h2::H2::new(ends)),
        Spoken::H2 => Box::new(h2::H2::midstream(ends)),
        Spoken::Dns => Box::new(dns::Dns::new(ends, true)),
        Spoken::Postgres => Box::new(postgres::Postgres::new(ends)),
        Spoken::Mysql => Box::new(mysql::Mysql::new(ends)),
        Spoken::Redis => Box::new(redis::Redis::new(ends)),
        Spoken::Smtp => Box::new(lines::Lines::new(lines::Kind::Smtp, ends)),
        Spoken::Ftp => Box::new(lines::Lines::new(lines::Kind::Ftp, ends)),
        Spoken::Ssh => Box::new(ssh::Ssh::new(ends)),
        Spoken::Mqtt => Box::new(brokers::Mqtt::new(ends)),
        Spoken::Amqp => Box::new(brokers::Amqp::new(ends)),
        Spoken::Socks => Box::new(socks::Socks::new(ends)),
    }
}

/// Another protocol than the one whose port this is: worth a word, and no fault. TLS and HTTP/2 are known guests.
fn unusual(spoken: Spoken, ends: &Ends, mark: Mark, sink: &mut Sink) {
    let port = ends.server.port();
    let Some(usual) = usual(port).filter(|usual| *usual != spoken && !matches!(spoken, Spoken::Tls | Spoken::H2)) else { return };
    let text = format!("{} is spoken on port {port}, where {} usually is", spoken.name(), usual.name());
    sink.findings.push(tell("proto.mismatch", Weight::Note, Layer::L7, mark, text).on(ends.service()));
}

const fn turned(side: Side, swapped: bool) -> Side {
    if swapped { side.other() } else { side }
}

impl Conversation for Talk {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        if chunk.bytes.is_empty() {
            return;
        }
        match &mut self.state {
            State::Known { .. } => self.hand_on(chunk, 0, below, sink),
            State::Unknown(_) => self.listen(chunk, 0, below, sink),
            State::Given => {}
        }
    }

    fn glance(&mut self, glance: Glance<'_>, below: &Below, sink: &mut Sink) {
        match &mut self.state {
            State::Known { .. } => self.hand_on(glance.chunk, glance.missing, below, sink),
            State::Unknown(_) if glance.chunk.bytes.is_empty() => self.forget(),
            State::Unknown(_) => self.listen(glance.chunk, glance.missing, below, sink),
            State::Given => {}
        }
    }

    fn gap(&mut self, from: Side, missing: u64, sink: &mut Sink) {
        match &mut self.state {
            State::Known { inner, swapped, first, turn, .. } => {
                (*first, *turn) = (None, None);
                self.from_the_start = false;
                inner.gap(turned(from, *swapped), missing, sink);
            }
            // What follows is no beginning.
            State::Unknown(_) => self.forget(),
            State::Given => {}
        }
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        if let State::Known { inner, swapped, first, .. } = &mut self.state {
            for piece in first.take().map(|words| words.held).unwrap_or_default() {
                inner.chunk(Chunk { from: piece.from, bytes: &piece.bytes, at: piece.at, packet: piece.packet }, below, sink);
            }
            let how = match how {
                End::HalfClosed(side) => End::HalfClosed(turned(side, *swapped)),
                End::Reset(side) => End::Reset(turned(side, *swapped)),
                other => other,
            };
            inner.end(how, at, below, sink);
        }
    }
}

/// What is said in the datagrams of a flow, by the first of them; `None` if no protocol of this module is. A datagram is one chunk.
#[must_use]
pub fn datagrams(ends: Ends, first: &[u8]) -> Option<(&'static str, Box<dyn Conversation>)> {
    let ports = [ends.server.port(), ends.client.port()];
    // Questions to a whole group (mDNS, LLMNR) are answered by whom they concern, or by nobody.
    let group = ends.server.ip().is_multicast() || ports.contains(&5353) || ports.contains(&5355) || ports.contains(&137);
    if !group && (ports.contains(&53) || dns::looks_like(first)) {
        return Some(("dns", Box::new(dns::Dns::new(ends, false))));
    }
    if !group && ports.contains(&123) && clock::looks_like(first) {
        return Some(("ntp", Box::new(clock::Clock::new(ends))));
    }
    quic::opens(first).then(|| ("quic", Box::new(quic::Quic::new(ends)) as Box<dyn Conversation>))
}
