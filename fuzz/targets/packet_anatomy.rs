//! Whole packets taken apart for showing, payloads included; the first byte chooses the link type. Fields lie within their layers, layers within the packet.
#![cfg_attr(fuzzing, no_main)]

use faultmap_capture::dolls::anatomy;
use faultmap_capture::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::LinkType;

const LINKS: [u32; 14] = [1, 0, 9, 12, 14, 50, 51, 101, 104, 108, 113, 228, 229, 276];

faultmap_fuzz::target!(|data| {
    let [link, bytes @ ..] = data else { return };
    let link = LinkType(LINKS.get(usize::from(*link)).copied().unwrap_or(1));
    let packet = Captured { number: PacketNo(1), at: Stamp(0), link, wire_len: bytes.len() as u32, bytes };
    for layer in anatomy(&packet, &[]).layers {
        assert!(layer.opened || layer.start + layer.len <= bytes.len());
        assert!(layer.fields.iter().all(|field| field.start + field.len <= layer.len));
    }
});
