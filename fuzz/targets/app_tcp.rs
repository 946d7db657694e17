//! What two sides may say in a TCP connection: every conversation ends without panic, what it tells is printable and bounded, and it tells the same
//! however the bytes are cut, if it is taken for the same protocol: of garbage the first bytes may promise one that the next belie. The first byte chooses the port and how the flow ends; then each piece has a byte for its side and length.
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::app::{Below, Chunk, Conversation, End, Ends, Sink, Talk};
use faultmap_capture::flow::Side;
use faultmap_capture::packet::{PacketNo, Stamp};

const PORTS: [u16; 16] = [80, 443, 53, 5432, 3306, 6379, 25, 21, 22, 1883, 5672, 8080, 587, 50_051, 26_379, 9999];

faultmap_fuzz::target!(|data| {
    let Some((first, script)) = data.split_first() else { return };
    let (whole, hole) = play(*first, script, usize::MAX);
    assert!(whole.findings.iter().all(|finding| finding.text.len() < 1024 && !finding.text.chars().any(char::is_control)));
    assert!(whole.exchanges.iter().all(|exchange| exchange.question.len() < 1024 && !exchange.question.chars().any(char::is_control)));
    // After a hole, or in the middle, a message is looked for where a segment begins.
    let (pieces, _) = play(*first, script, 1);
    if !hole && first & 0x10 == 0 && whole.protocol == pieces.protocol {
        assert_eq!(format!("{whole:?}"), format!("{pieces:?}"), "byte by byte");
    }
});

fn play(first: u8, mut script: &[u8], size: usize) -> (Sink, bool) {
    let port = PORTS[usize::from(first & 15)];
    let ends = Ends { client: ([10, 0, 0, 1], 40_000).into(), server: ([10, 0, 0, 2], port).into() };
    let below = Below {
        handshake_rtt_ms: Some(10.0),
        question_acked_ms: Some(10.0),
        from_the_start: first & 0x10 == 0,
        established: Some(Stamp(0)),
        first_fin: None,
        server_port: port,
    };
    let (mut talk, mut sink, mut number, mut hole) = (Talk::new(ends, below.from_the_start), Sink::default(), 0, false);
    while let Some((head, rest)) = script.split_first() {
        number += 1;
        let from = if head & 0x80 == 0 { Side::Client } else { Side::Server };
        // A length of 127 means the rest; one of 0 a hole.
        let len = if head & 0x7f == 0x7f { rest.len() } else { usize::from(head & 0x7f).min(rest.len()) };
        if head & 0x7f == 0 {
            hole = true;
            talk.gap(from, 100, &mut sink);
        }
        for piece in rest[..len].chunks(size.min(len.max(1))) {
            talk.chunk(Chunk { from, bytes: piece, at: Stamp(number * 700_000_000), packet: PacketNo(number as u64) }, &below, &mut sink);
        }
        script = &rest[len..];
    }
    let how = [End::Closed, End::Idle, End::Reset(Side::Server), End::Reset(Side::Client)][usize::from(first >> 6)];
    talk.end(how, Stamp(number * 700_000_000 + 9_000_000_000), &below, &mut sink);
    (sink, hole)
}
