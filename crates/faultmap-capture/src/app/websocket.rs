//! WebSocket after its upgrade (RFC 6455): how it was closed, and pings that nobody answered. Messages are stepped over.
//!
//! Memory: at most 14 bytes of a header and 64 bytes of a closing frame in each direction.

use super::gather::keep;
use super::tell::{CUT_OFF, Mark, tell};
use super::{Below, Chunk, Conversation, End, Ends, Sink, text};
use crate::finding::Weight;
use crate::flow::Side;
use crate::flow::record::PerSide;
use crate::packet::Stamp;
use faultmap_model::Layer;

const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// A ping that waited so long at the end was not answered, in milliseconds.
const PATIENCE_MS: f64 = 10_000.0;
/// Pongs are to come as soon as is practical (RFC 6455 §5.5.3): who waits so long and goes had none, in milliseconds.
const GAVE_UP_MS: f64 = 3000.0;
/// Bytes of a control frame that are kept; it has at most 125 (RFC 6455 §5.5).
const MOST_KEPT: usize = 64;

/// What a server appends to the key before it hashes it (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A close so soon after the upgrade, without a message, is a refusal, in milliseconds.
const AT_ONCE_MS: f64 = 1000.0;

/// What is wrong with the proof by which a server shows that it knows WebSocket; without a key nothing is.
pub(super) fn wrong_accept(key: Option<[u8; 24]>, accept: Option<[u8; 28]>) -> Option<&'static str> {
    let key = key?;
    let Some(accept) = accept else {
        return Some("the server changes over to WebSocket without a Sec-WebSocket-Accept: clients must give up the connection");
    };
    let hash = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &[&key[..], GUID].concat());
    (base64(hash.as_ref()) != accept).then_some(
        "the server's Sec-WebSocket-Accept does not belong to the client's key: who answered does not know WebSocket, and clients must give up the connection",
    )
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(28);
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - three.len()));
        let digit = |place: u32| DIGITS.get((word >> (18 - 6 * place)) as usize & 63).copied().unwrap_or(b'=');
        out.extend((0..4).map(|place| if place as usize <= three.len() { digit(place) } else { b'=' }));
    }
    out
}

/// A connection that speaks WebSocket.
pub(super) struct WebSocket {
    ends: Ends,
    halves: PerSide<Half>,
    /// Who said goodbye first, and when.
    closed: Option<(Side, Stamp)>,
    /// When the upgrade was seen, and whether the server has said anything since.
    since: Mark,
    server_spoke: bool,
    /// When either side last said something.
    last: Stamp,
}

#[derive(Default)]
struct Half {
    header: Vec<u8>,
    kept: Vec<u8>,
    left: u64,
    inside: bool,
    lost: bool,
    /// Something of it was not captured.
    hole: bool,
    /// Its ping that the other side has not answered.
    ping: Option<Mark>,
}

/// Length of a header that begins like this; `None` while that is not known.
fn header_len(header: &[u8]) -> Option<usize> {
    let [_, second, ..] = header else { return None };
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    Some(2 + extended + if second & 0x80 == 0 { 0 } else { 4 })
}

fn payload_len(header: &[u8]) -> u64 {
    match header {
        [_, second, a, b, ..] if second & 0x7f == 126 => u64::from(u16::from_be_bytes([*a, *b])),
        [_, second, rest @ ..] if second & 0x7f == 127 => rest.first_chunk::<8>().map_or(0, |len| u64::from_be_bytes(*len)),
        [_, second, ..] => u64::from(second & 0x7f),
        _ => 0,
    }
}

impl WebSocket {
    /// A connection between these.
    pub(super) fn new(ends: Ends, since: Mark) -> Self {
        Self { ends, halves: PerSide::default(), closed: None, since, server_spoke: false, last: since.at }
    }

    /// The server's side ended the connection without a Close, which RFC 6455 §7.1.1 wants first.
    fn cut_off(&self, how: End, below: &Below, sink: &mut Sink) {
        let by_server = match how {
            End::Reset(side) | End::HalfClosed(side) => side == Side::Server,
            End::Closed => below.first_fin == Some(Side::Server),
            End::Idle | End::Cut => false,
        };
        let readable = [&self.halves.client, &self.halves.server].iter().all(|half| !half.lost && !half.hole);
        if !by_server || !readable || self.closed.is_some() {
            return;
        }
        let (silence, age) = (below.last_word.ms_since(self.last), below.last_word.ms_since(self.since.at));
        let (silent, old) = (text::time(silence), text::time(age));
        let text = format!("the server's side ended the WebSocket without a Close, after {silent} of silence, {old} after the upgrade");
        sink.findings.push(tell(CUT_OFF, Weight::Note, Layer::L5, self.since, text).on(self.ends.service()).worth(silence));
    }

    /// A frame is whole.
    fn frame(&mut self, from: Side, mark: Mark, sink: &mut Sink) {
        let half = self.halves.of_mut(from);
        let header = std::mem::take(&mut half.header);
        let mut kept = std::mem::take(&mut half.kept);
        let opcode = header.first().map_or(0, |first| first & 0x0f);
        if let (true, Some(mask)) = (header.get(1).is_some_and(|second| second & 0x80 != 0), header.last_chunk::<4>()) {
            kept.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        }
        match opcode {
            PING => half.ping = Some(mark),
            PONG => self.halves.of_mut(from.other()).ping = None,
            CLOSE => self.close(from, &kept, mark, sink),
            _ => self.server_spoke |= from == Side::Server,
        }
    }

    fn close(&mut self, from: Side, kept: &[u8], mark: Mark, sink: &mut Sink) {
        // The other side repeats the code.
        if self.closed.replace((from, mark.at)).is_some() {
            return;
        }
        let Some((code, reason)) = kept.split_first_chunk::<2>().map(|(code, reason)| (u16::from_be_bytes(*code), reason)) else { return };
        let at_once = from == Side::Server && !self.server_spoke && mark.at.ms_since(self.since.at) < AT_ONCE_MS;
        let (weight, cause) = match code {
            1000 | 1001 | 1005 => return,
            1008 | 3000.. if at_once => (Weight::Fault, Some("l7.websocket-refused")),
            1011 | 1014 => (Weight::Fault, Some("l7.service-error")),
            1002 => (Weight::Fault, Some("l7.protocol-mismatch")),
            1007 => (Weight::Fault, Some("l6.serialization-invalid")),
            1003 | 1009 => (Weight::Fault, Some("l7.service-error")),
            1012 | 1013 => (Weight::Warning, Some("l7.service-starting")),
            3000.. => (Weight::Note, None),
            _ => (Weight::Warning, None),
        };
        let who = if from == Side::Client { "the client" } else { "the server" };
        let reason = text::printable(reason, 60);
        let said = if reason.is_empty() { String::new() } else { format!(": {reason:?}") };
        let text = format!("{who} closed the WebSocket: {} ({code}){said}", name(code));
        // 1002 to 1009 accuse the other side of what it sent.
        let accused = if matches!(code, 1002..=1009) { from.other() } else { from };
        let layer = if code == 1007 { Layer::L6 } else { Layer::L7 };
        sink.findings.push(tell("ws.close", weight, layer, mark, text).for_cause(cause).on(self.ends.party(accused)).worth(code));
    }
}

fn name(code: u16) -> &'static str {
    match code {
        1002 => "protocol error",
        1003 => "data of a kind that it does not take",
        1007 => "data that is not of its declared type",
        1008 => "against a policy",
        1009 => "message too big",
        1010 => "an extension is missing",
        1011 => "internal error",
        1012 => "service restarts",
        1013 => "try again later",
        1014 => "bad gateway",
        _ => "a code of the application",
    }
}

impl Conversation for WebSocket {
    fn chunk(&mut self, chunk: Chunk<'_>, _below: &Below, sink: &mut Sink) {
        self.last = chunk.at;
        let mut rest = chunk.bytes;
        loop {
            let half = self.halves.of_mut(chunk.from);
            if half.lost {
                return;
            }
            if !half.inside {
                let Some((byte, tail)) = rest.split_first() else { return };
                half.header.push(*byte);
                rest = tail;
                if header_len(&half.header) != Some(half.header.len()) {
                    continue;
                }
                half.left = payload_len(&half.header);
                half.inside = true;
                let control = half.header.first().is_some_and(|first| first & 0x08 != 0);
                if (control && half.left > 125) || half.left >> 63 != 0 {
                    half.lost = true;
                    return;
                }
            }
            let part = rest.get(..usize::try_from(half.left).unwrap_or(usize::MAX)).unwrap_or(rest);
            if half.header.first().is_some_and(|first| first & 0x08 != 0) {
                keep(&mut half.kept, part, MOST_KEPT);
            }
            half.left -= part.len() as u64;
            rest = rest.get(part.len()..).unwrap_or_default();
            if half.left > 0 {
                return;
            }
            half.inside = false;
            self.frame(chunk.from, Mark::from(&chunk), sink);
        }
    }

    fn gap(&mut self, from: Side, missing: u64, _sink: &mut Sink) {
        let half = self.halves.of_mut(from);
        half.hole = true;
        if half.inside && missing < half.left {
            half.left -= missing;
        } else {
            half.lost = true;
        }
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        self.cut_off(how, below, sink);
        for from in [Side::Client, Side::Server] {
            let (lost, ping) = (self.halves.of_mut(from.other()).lost, self.halves.of_mut(from).ping);
            let Some(mark) = ping.filter(|_| !lost) else { continue };
            let left = match how {
                End::Reset(side) | End::HalfClosed(side) => side == from,
                End::Closed => below.first_fin == Some(from),
                End::Idle | End::Cut => false,
            };
            let (until, patience) = match self.closed {
                Some((side, at)) => (at, if side == from { GAVE_UP_MS } else { f64::MAX }),
                None if left => (below.last_word, GAVE_UP_MS),
                None => (at, PATIENCE_MS),
            };
            let waited = until.ms_since(mark.at);
            if waited < patience {
                continue;
            }
            let text = format!("a WebSocket ping was not answered for {}", text::time(waited));
            let finding = tell("ws.ping-unanswered", Weight::Warning, Layer::L7, mark, text);
            sink.findings.push(finding.for_cause("l7.service-mute").on(self.ends.party(from.other())).worth(waited));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, Line, S, rules, told};

    const ASK: &[u8] = b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    const YES: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    #[track_caller]
    fn check(lines: &[Line<'_>], end_ms: u64, expect: &[&str]) {
        let all: Vec<Line<'_>> = [(C, 1, ASK), (S, 12, YES)].into_iter().chain(lines.iter().copied()).collect();
        assert_eq!(rules(&told(80, &all, End::Cut, end_ms)), expect);
    }

    #[test]
    fn a_close_is_told_unless_it_is_a_goodbye() {
        check(&[(S, 20, &[0x81, 2, b'h', b'i', 0x88, 2, 3, 232])], 40, &[]);
        check(&[(S, 20, &[0x88, 2, 3, 241])], 40, &["ws.close fault l7.service-error"]);
        check(&[(S, 20, &[0x88, 2, 3, 240])], 40, &["ws.close fault l7.websocket-refused"]);
        check(&[(S, 20, &[0x81, 2, b'h', b'i', 0x88, 2, 3, 240])], 40, &["ws.close warning -"]);
        check(&[(C, 20, &[0x88, 0x82, 1, 1, 1, 1, 2, 242])], 40, &["ws.close fault l7.service-error"]);
        check(&[(S, 20, &[0x88, 0])], 40, &[]);
    }

    #[test]
    fn compressed_messages_are_stepped_over_and_a_close_behind_them_is_heard() {
        // RFC 7692 §7.2.3: the first fragment and the last of one message, a ping between them, which is never compressed.
        let message: &[u8] = &[0x41, 3, 0xf2, 0x48, 0xcd, 0x89, 0, 0x80, 4, 0xc9, 0xc9, 0x07, 0x00];
        let pong: &[u8] = &[0x8a, 0x80, 1, 1, 1, 1];
        check(&[(S, 20, message), (C, 21, pong)], 40_000, &[]);
        check(&[(S, 20, message), (C, 21, pong), (S, 22, &[0x88, 2, 3, 243])], 40, &["ws.close fault l7.service-error"]);
        // What a side has against the extension itself.
        check(&[(S, 20, message), (C, 21, &[0x88, 0x82, 0, 0, 0, 0, 3, 242])], 40, &["ws.close warning -"]);
    }

    #[test]
    fn an_end_without_a_close_is_told_of_the_side_that_ends() {
        let said: [Line<'_>; 3] = [(C, 1, ASK), (S, 12, YES), (S, 20, &[0x81, 2, b'h', b'i'])];
        let ends = |lines: &[Line<'_>], how: End| rules(&told(80, lines, how, 4020));
        assert_eq!(ends(&said, End::HalfClosed(S)), ["ws.cut-off note -"]);
        assert_eq!(told(80, &said, End::HalfClosed(S), 4020).findings[0].value, Some(4000.0));
        assert_eq!(ends(&said, End::HalfClosed(C)), [""; 0]);
        let goodbye: [Line<'_>; 4] = [said[0], said[1], said[2], (S, 30, &[0x88, 2, 3, 232])];
        assert_eq!(ends(&goodbye, End::HalfClosed(S)), [""; 0]);
    }

    #[test]
    fn a_page_in_place_of_a_websocket_is_a_refusal() {
        let ask: &[u8] = b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let page: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(rules(&told(80, &[(C, 1, ask), (S, 12, page)], End::Closed, 30)), ["ws.not-upgraded fault l7.websocket-refused"]);
        let good: &[u8] = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert_eq!(rules(&told(80, &[(C, 1, ask), (S, 12, good)], End::Cut, 30)), [""; 0]);
        let bad: &[u8] = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: t3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert_eq!(rules(&told(80, &[(C, 1, ask), (S, 12, bad)], End::Cut, 30)), ["ws.wrong-accept fault l7.websocket-refused"]);
    }

    #[test]
    fn an_accept_belongs_to_its_key() {
        // The example of RFC 6455 §1.3.
        let (key, accept) = (*b"dGhlIHNhbXBsZSBub25jZQ==", *b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(super::wrong_accept(Some(key), Some(accept)), None);
        assert_eq!(super::wrong_accept(None, None), None);
        assert!(super::wrong_accept(Some(key), None).is_some());
        assert!(super::wrong_accept(Some(key), Some(*b"t3pPLMBiTxaQ9kYGzzhZRbK+xOo=")).is_some());
    }

    #[test]
    fn a_ping_waits_for_its_pong() {
        check(&[(S, 20, &[0x89, 0])], 40_000, &["ws.ping-unanswered warning l7.service-mute"]);
        check(&[(S, 20, &[0x89, 0]), (C, 21, &[0x8a, 0x80, 1, 1, 1, 1])], 40_000, &[]);
        check(&[(S, 20, &[0x89, 0])], 900, &[]);
        let goodbye: &[u8] = &[0x88, 0x82, 1, 1, 1, 1, 2, 233];
        check(&[(C, 20, &[0x89, 0x80, 1, 1, 1, 1]), (C, 3500, goodbye)], 3600, &["ws.ping-unanswered warning l7.service-mute"]);
        check(&[(C, 20, &[0x89, 0x80, 1, 1, 1, 1]), (C, 500, goodbye)], 600, &[]);
    }
}
