//! Display filters as anybody may type them, asked about one packet; errors point into the text.
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::filter::{Filter, Subject};
use faultmap_capture::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::{LinkType, dissect};

const FRAME: &[u8] = b"\x02\x02\x02\x02\x02\x02\x04\x04\x04\x04\x04\x04\x08\x00\x45\x00\x00\x2d\0\0\0\0\x40\x06\0\0\x0a\0\0\x01\x0a\0\0\x02\x9c\x40\x01\xbb\0\0\0\x01\0\0\0\x02\x50\x18\x02\0\0\0\0\0hello";

faultmap_fuzz::target!(|data| {
    let text = String::from_utf8_lossy(data);
    let frame = dissect(LinkType::ETHERNET, FRAME, FRAME.len());
    let captured = Captured { number: PacketNo(1), at: Stamp(0), link: LinkType::ETHERNET, wire_len: FRAME.len() as u32, bytes: FRAME };
    match Filter::parse(&text) {
        Ok(filter) => {
            let _ = (filter.asks(), filter.matches(&Subject { packet: Some((&captured, &frame)), facts: None }));
        }
        Err(error) => assert!(error.column <= error.text.chars().count()),
    }
});
