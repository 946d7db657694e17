//! Whole frames of any link type: the first byte chooses the link, the second adds to the length on the wire. Every span lies within the bytes, what the
//! packet holds lies within the packet, and its checksums can be asked for.
#![cfg_attr(fuzzing, no_main)]

use faultmap_wire::dissect::{LinkType, Network, checksums, dissect};

const LINKS: [u32; 14] = [1, 0, 9, 12, 14, 50, 51, 101, 104, 108, 113, 228, 229, 276];

faultmap_fuzz::target!(|data| {
    let [link, more, bytes @ ..] = data else { return };
    let link = LinkType(LINKS.get(usize::from(*link)).copied().unwrap_or(u32::from(*link)));
    let frame = dissect(link, bytes, bytes.len() + usize::from(*more) * 512);
    for span in frame.spans().as_slice() {
        assert!((span.start + span.len) as usize <= bytes.len());
    }
    if let Network::Ip(packet) = frame.network {
        assert!(packet.ip.payload.len() <= packet.bytes.len());
        let _ = checksums(&packet);
    }
});
