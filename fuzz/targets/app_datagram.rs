//! Datagrams as DNS, QUIC and NTP may carry them: every conversation ends without panic, and what it tells is printable and bounded. Each datagram has a byte
//! for its side and one for its length before it.
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::app::{Below, Chunk, End, Ends, Sink, datagrams};
use faultmap_capture::flow::Side;
use faultmap_capture::packet::{PacketNo, Stamp};

faultmap_fuzz::target!(|data| {
    let (mut script, mut number, mut sink, below) = (data, 0_u32, Sink::default(), Below::default());
    let ends = Ends { client: ([10, 0, 0, 1], 40_000).into(), server: ([10, 0, 0, 2], 53).into() };
    let mut talk = None;
    while let [side, len, rest @ ..] = script {
        number += 1;
        let len = if *len == 255 { rest.len() } else { usize::from(*len).min(rest.len()) };
        let (bytes, tail) = rest.split_at(len);
        script = tail;
        let port = [53, 443, 123, 123][usize::from(side >> 1 & 3)];
        let from = if side & 1 == 0 { Side::Client } else { Side::Server };
        let ends = Ends { server: (ends.server.ip(), port).into(), ..ends };
        let talk = talk.get_or_insert_with(|| datagrams(ends, bytes));
        if let Some((_, talk)) = talk {
            let at = Stamp(i64::from(number) * 700_000_000);
            talk.chunk(Chunk { from, bytes, at, packet: PacketNo(u64::from(number)) }, &below, &mut sink);
        }
    }
    if let Some(Some((_, mut talk))) = talk {
        talk.end(End::Idle, Stamp(i64::from(number) * 700_000_000 + 9_000_000_000), &below, &mut sink);
    }
    assert!(sink.findings.iter().all(|finding| finding.text.len() < 2048 && !finding.text.chars().any(char::is_control)));
    assert!(sink.exchanges.len() <= number as usize);
});
