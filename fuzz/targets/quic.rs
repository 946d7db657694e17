//! Datagrams that may be QUIC: headers, Initial packets opened with the keys that follow from their own connection id, the frames within, and the handshake
//! bytes put in order.
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::flow::Side;
use faultmap_capture::quic::{CryptoStream, Frames, Initial, Packet, packets};

faultmap_fuzz::target!(|data| {
    let mut stream = CryptoStream::default();
    for packet in packets(data) {
        let Packet::Long(long) = packet else { continue };
        assert!(long.number_at <= long.bytes.len());
        let Some(initial) = Initial::new(long.version, long.dcid) else { continue };
        for side in [Side::Client, Side::Server] {
            if let Some(opened) = initial.open(&long, side) {
                stream.take(&opened.frames);
            }
        }
    }
    // A mutated packet is never authentic, so that the readers of what is within get the bytes as they are, too.
    assert!(Frames::new(data).count() <= 256);
    stream.take(data);
    let _ = stream.first_message();
});
