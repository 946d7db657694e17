//! What the fuzz targets and the property tests do with any bytes. No part of the library's face.

use crate::app::{Below, Chunk, Conversation, End, Ends, Glance, Sink, Talk};
use crate::flow::Side;
use crate::keys::Keys;
use crate::packet::{PacketNo, Stamp};

const PORTS: [u16; 16] = [80, 443, 53, 5432, 3306, 6379, 25, 21, 22, 1883, 5672, 8080, 587, 50_051, 26_379, 9999];

/// The same where only the first `most` bytes of each segment were captured.
#[must_use]
pub fn play_cut(input: &[u8], most: usize) -> Sink {
    played(Sink::default(), input, usize::MAX, most).0
}

/// What two sides say, read from any bytes and handed over in pieces of at most `size`: what is told of it, and whether there was a hole. The first byte
/// chooses the port, whether the beginning was seen, and how the flow ends; then each piece has a byte for its side and length.
#[must_use]
pub fn play(input: &[u8], size: usize) -> (Sink, bool) {
    played(Sink::default(), input, size, usize::MAX)
}

/// The same of somebody who has a key log: the length of that in two bytes, the log, and the rest as in [`play`]. Opened records are kept.
#[must_use]
pub fn play_with_keys(input: &[u8], size: usize) -> (Sink, bool) {
    let (len, rest) = input.split_first_chunk::<2>().unwrap_or((&[0; 2], input));
    let (log, script) = rest.split_at(usize::from(u16::from_be_bytes(*len)).min(rest.len()));
    let keys = Keys::default();
    keys.read(log);
    keys.end_of_log();
    played(Sink { keys: Some(keys), shown: Some(Vec::new()), ..Sink::default() }, script, size, usize::MAX)
}

/// Messages of the handshake that only keys show.
pub fn sealed_handshake(message: &[u8]) {
    crate::app::sealed_handshake(message);
}

fn played(mut sink: Sink, input: &[u8], size: usize, most: usize) -> (Sink, bool) {
    let mut hole = false;
    let Some((first, mut script)) = input.split_first() else { return (sink, hole) };
    let port = PORTS[usize::from(first & 15)];
    let ends = Ends { client: ([10, 0, 0, 1], 40_000).into(), server: ([10, 0, 0, 2], port).into() };
    let from_the_start = first & 0x10 == 0;
    let below = Below {
        handshake_rtt_ms: Some(10.0),
        question_acked_ms: Some(10.0),
        from_the_start,
        established: Some(Stamp(0)),
        first_fin: None,
        last_word: Stamp(0),
        server_port: port,
        server_spoke: None,
        one_sided: false,
    };
    let (mut talk, mut number) = (Talk::new(ends, from_the_start), 0);
    while let Some((head, rest)) = script.split_first() {
        number += 1;
        let from = if head & 0x80 == 0 { Side::Client } else { Side::Server };
        let len = if head & 0x7f == 0x7f { rest.len() } else { usize::from(head & 0x7f).min(rest.len()) };
        if head & 0x7f == 0 {
            hole = true;
            talk.gap(from, 100, &mut sink);
        }
        for piece in rest[..len].chunks(size.min(len.max(1))) {
            let (bytes, cut) = piece.split_at(most.min(piece.len()));
            let chunk = Chunk { from, bytes, at: Stamp(number * 700_000_000), packet: PacketNo(number as u64) };
            match cut.len() as u64 {
                0 => talk.chunk(chunk, &below, &mut sink),
                missing => talk.glance(Glance { chunk, missing }, &below, &mut sink),
            }
        }
        script = &rest[len..];
    }
    let how = [End::Closed, End::Idle, End::Reset(Side::Server), End::Reset(Side::Client)][usize::from(first >> 6)];
    talk.end(how, Stamp(number * 700_000_000 + 9_000_000_000), &below, &mut sink);
    (sink, hole)
}
