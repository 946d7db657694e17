//! However damaged and however cut, what two sides say makes no conversation panic, and the same bytes tell the same. The seeds are those of the fuzz target `app_tcp`.

use super::{Below, Chunk, Conversation, End, Ends, Sink, Talk};
use crate::flow::Side;
use crate::packet::{PacketNo, Stamp};
use proptest::prelude::*;

const PORTS: [u16; 16] = [80, 443, 53, 5432, 3306, 6379, 25, 21, 22, 1883, 5672, 8080, 587, 50_051, 26_379, 9999];

/// As the fuzz target reads its input: the port, then pieces with a byte for side and length.
fn play(input: &[u8], size: usize) -> (Sink, bool) {
    let (mut sink, mut hole) = (Sink::default(), false);
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
        server_port: port,
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
            talk.chunk(Chunk { from, bytes: piece, at: Stamp(number * 700_000_000), packet: PacketNo(number as u64) }, &below, &mut sink);
        }
        script = &rest[len..];
    }
    let how = [End::Closed, End::Idle, End::Reset(Side::Server), End::Reset(Side::Client)][usize::from(first >> 6)];
    talk.end(how, Stamp(number * 700_000_000 + 9_000_000_000), &below, &mut sink);
    (sink, hole)
}

fn seeds() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/app_tcp");
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("the seeds").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

/// One small damage: a byte set, a piece cut, or a piece repeated.
fn damage(seed: &mut Vec<u8>, (kind, at, value): (u8, u16, u8)) {
    let at = usize::from(at) % seed.len().max(1);
    match kind % 4 {
        0 => seed[at] = value,
        1 => seed[at] ^= 1 << (value % 8),
        2 => seed.truncate(at),
        _ => {
            let piece = seed[at..].iter().copied().take(usize::from(value)).collect::<Vec<_>>();
            seed.splice(at..at, piece);
        }
    }
    if seed.is_empty() {
        seed.push(value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn damaged_conversations_end_and_tell_the_same_in_whatever_pieces(
        which in 0_usize..64,
        damages in proptest::collection::vec((any::<u8>(), any::<u16>(), any::<u8>()), 0..5),
        size in 1_usize..9,
    ) {
        let seeds = seeds();
        let mut input = seeds[which % seeds.len()].clone();
        damages.into_iter().for_each(|one| damage(&mut input, one));
        let ((whole, hole), (pieces, _)) = (play(&input, usize::MAX), play(&input, size));
        prop_assert!(whole.findings.iter().all(|finding| finding.text.len() < 1024 && !finding.text.chars().any(char::is_control)));
        // After a hole a message is looked for where a segment begins.
        if hole || input[0] & 0x10 != 0 {
            return Ok(());
        }
        prop_assert_eq!(&whole.findings, &pieces.findings, "{:?}", input.escape_ascii().to_string());
        prop_assert_eq!(&whole.exchanges, &pieces.exchanges, "{:?}", input.escape_ascii().to_string());
    }

    #[test]
    fn no_datagram_makes_a_conversation_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), damages in proptest::collection::vec((any::<u8>(), any::<u16>(), any::<u8>()), 0..5)) {
        let ends = Ends { client: ([10, 0, 0, 1], 40_000).into(), server: ([10, 0, 0, 2], 53).into() };
        let mut question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x04shop\x04test\0\0\x01\0\x01".to_vec();
        damages.into_iter().for_each(|one| damage(&mut question, one));
        let (mut sink, below) = (Sink::default(), Below::default());
        for first in [&question, &bytes] {
            if let Some((_, mut talk)) = super::datagrams(ends, first) {
                for (number, message) in [&question, &bytes, &question].into_iter().enumerate() {
                    let from = if number == 0 { Side::Client } else { Side::Server };
                    talk.chunk(Chunk { from, bytes: message, at: Stamp(number as i64), packet: PacketNo(1) }, &below, &mut sink);
                }
                talk.end(End::Idle, Stamp(i64::MAX), &below, &mut sink);
            }
        }
        prop_assert!(sink.findings.iter().all(|finding| !finding.text.chars().any(char::is_control)));
    }
}
