//! Plays a conversation written by hand, whole and byte by byte, and gives what it told; both must tell the same.

use super::{Below, Chunk, Conversation, End, Ends, Glance, Sink, Talk, datagrams};
use crate::finding::Weight;
use crate::flow::Side;
use crate::packet::{PacketNo, Stamp};

pub(super) const C: Side = Side::Client;
pub(super) const S: Side = Side::Server;

/// Who, when (milliseconds after the handshake), what.
pub(super) type Line<'a> = (Side, u64, &'a [u8]);

pub(super) fn ends(port: u16) -> Ends {
    Ends { client: ([10, 0, 0, 1], 40_000).into(), server: ([10, 0, 0, 2], port).into() }
}

pub(super) fn at(ms: u64) -> Stamp {
    Stamp(1_700_000_000_000_000_000 + i64::try_from(ms).unwrap_or(i64::MAX / 2) * 1_000_000)
}

pub(super) fn below(port: u16) -> Below {
    Below {
        handshake_rtt_ms: Some(10.0),
        question_acked_ms: Some(10.0),
        from_the_start: true,
        established: Some(at(0)),
        first_fin: None,
        last_word: at(0),
        server_port: port,
        server_spoke: None,
        one_sided: false,
    }
}

/// What is told of a TCP connection to `port` that ends `how` at `end_ms`.
pub(super) fn told(port: u16, lines: &[Line<'_>], how: End, end_ms: u64) -> Sink {
    let whole = play(port, lines, how, end_ms, usize::MAX);
    for size in [1, 3, 7, 100] {
        let pieces = play(port, lines, how, end_ms, size);
        assert_eq!(whole.findings, pieces.findings, "in pieces of {size}");
        assert_eq!(whole.exchanges, pieces.exchanges, "in pieces of {size}");
        assert_eq!((whole.protocol, &whole.server_name), (pieces.protocol, &pieces.server_name), "in pieces of {size}");
    }
    for most in [0, 5, 12, 17, 30, 60] {
        let cut = told_cut(port, lines, how, end_ms, most);
        let adds = cut
            .findings
            .iter()
            .find(|finding| finding.weight >= Weight::Warning && !whole.findings.iter().any(|whole| covers(whole, finding)));
        assert!(adds.is_none(), "cut to {most} bytes adds {adds:?} to {:?}", rules(&whole));
    }
    whole
}

/// Whether a finding blames at least as much, on the same layer; what leaves the cause open blames nobody alone.
fn covers(whole: &crate::finding::Finding, cut: &crate::finding::Finding) -> bool {
    if cut.cause.is_none() { whole.weight >= Weight::Warning } else { whole.weight >= cut.weight && whole.layer == cut.layer }
}

/// What is told where only the first `most` bytes of each line were captured.
pub(super) fn told_cut(port: u16, lines: &[Line<'_>], how: End, end_ms: u64, most: usize) -> Sink {
    let (mut sink, below) = (Sink::default(), Below { last_word: at(end_ms), ..below(port) });
    let mut talk = Talk::new(ends(port), true);
    for (number, (from, ms, bytes)) in lines.iter().enumerate() {
        let (here, missing) = bytes.split_at(most.min(bytes.len()));
        let chunk = Chunk { from: *from, bytes: here, at: at(*ms), packet: PacketNo(number as u64 + 4) };
        if missing.is_empty() {
            talk.chunk(chunk, &below, &mut sink);
        } else {
            talk.glance(Glance { chunk, missing: missing.len() as u64 }, &below, &mut sink);
        }
    }
    talk.end(how, at(end_ms), &below, &mut sink);
    sink
}

fn play(port: u16, lines: &[Line<'_>], how: End, end_ms: u64, size: usize) -> Sink {
    let (mut sink, below) = (Sink::default(), Below { last_word: at(end_ms), ..below(port) });
    let mut talk = Talk::new(ends(port), true);
    for (number, (from, ms, bytes)) in lines.iter().enumerate() {
        for piece in bytes.chunks(size.min(bytes.len().max(1))) {
            talk.chunk(Chunk { from: *from, bytes: piece, at: at(*ms), packet: PacketNo(number as u64 + 4) }, &below, &mut sink);
        }
    }
    talk.end(how, at(end_ms), &below, &mut sink);
    sink
}

/// What is told of datagrams.
pub(super) fn told_of_datagrams(port: u16, lines: &[Line<'_>], end_ms: u64) -> Sink {
    let (mut sink, below) = (Sink::default(), below(port));
    let Some((name, mut talk)) = lines.first().and_then(|(_, _, bytes)| datagrams(ends(port), bytes)) else { return sink };
    sink.protocol = Some(name);
    for (number, (from, ms, bytes)) in lines.iter().enumerate() {
        talk.chunk(Chunk { from: *from, bytes, at: at(*ms), packet: PacketNo(number as u64 + 1) }, &below, &mut sink);
    }
    talk.end(End::Idle, at(end_ms), &below, &mut sink);
    sink
}

/// The rules that matched, with weight and cause: `http.status fault l7.http-unavailable`.
pub(super) fn rules(sink: &Sink) -> Vec<String> {
    let row = |finding: &crate::finding::Finding| format!("{} {} {}", finding.rule, finding.weight.name(), finding.cause.unwrap_or("-"));
    sink.findings.iter().map(row).collect()
}

/// The exchanges: `GET / > 200`.
pub(super) fn exchanges(sink: &Sink) -> Vec<String> {
    sink.exchanges.iter().map(|exchange| format!("{} > {}", exchange.question, exchange.answer)).collect()
}
