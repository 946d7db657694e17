//! However damaged and however cut, what two sides say makes no conversation panic, and the same bytes tell the same. The seeds are those of the fuzz target `app_tcp`.

use super::{Below, Chunk, End, Ends, Sink};
use crate::finding::Finding;
use crate::flow::Side;
use crate::fuzzing::{play, play_cut};
use crate::packet::{PacketNo, Stamp};
use proptest::prelude::*;

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
        let cut = play_cut(&input, size * 8);
        let printable = |finding: &Finding| finding.text.len() < 1024 && !finding.text.chars().any(char::is_control);
        prop_assert!(whole.findings.iter().chain(&cut.findings).all(printable));
        // After a hole a message is looked for where a segment begins; of garbage the first bytes may promise a protocol that the next belie.
        if hole || input[0] & 0x10 != 0 || whole.protocol != pieces.protocol {
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
