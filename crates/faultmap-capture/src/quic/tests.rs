//! The examples of RFC 9001 and RFC 9369, appendix A, and what must hold for any bytes.

use super::initial::testkit::protect;
use super::*;
use crate::flow::Side;
use proptest::prelude::*;

const DCID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
const CLIENT_HELLO: &str = "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff";
const SERVER_HELLO: &str = "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a1200130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00020304";

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn long(bytes: &[u8]) -> Long<'_> {
    match packets(bytes).next() {
        Some(Packet::Long(long)) => long,
        other => panic!("{other:?}"),
    }
}

/// A.2 is 1200 bytes; its header and the first bytes of its payload tell as much, for the payload is authenticated.
#[track_caller]
fn check_client(version: u32, header: &str, protected: &str) {
    let mut frames = hex(CLIENT_HELLO);
    frames.resize(1162, 0);
    let initial = Initial::new(version, &DCID).unwrap();
    let packet = protect(&initial, Side::Client, &hex(header), 4, &frames);
    assert_eq!(packet.len(), 1200);
    assert_eq!(packet[..protected.len() / 2], hex(protected));
    assert!(opens_connection(&packet, 1200));
    let opened = initial.open(&long(&packet), Side::Client).unwrap();
    assert_eq!((opened.number, &opened.frames), (2, &frames));
    let mut stream = CryptoStream::default();
    stream.take(&opened.frames);
    let (kind, hello) = stream.first_message().unwrap();
    assert_eq!((kind, hello.len()), (1, 0xed));
    assert!(hello.windows(11).any(|name| name == b"example.com"));
}

#[test]
fn the_clients_first_packet_of_the_rfcs_is_opened() {
    check_client(
        V1,
        "c300000001088394c8f03e5157080000449e00000002",
        "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c0bab7df5976d27cd449f63300099f399",
    );
    check_client(
        V2,
        "d36b3343cf088394c8f03e5157080000449e00000002",
        "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071bf03dceebfa162e75d6c96058bdbfb127cdfcbf90338",
    );
}

#[test]
fn the_servers_first_packet_of_the_rfcs_is_opened() {
    for (version, packet) in [
        (
            V1,
            "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee",
        ),
        (
            V2,
            "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bbf87263017915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140",
        ),
    ] {
        let bytes = hex(packet);
        let packet = long(&bytes);
        assert_eq!((packet.version, packet.kind, packet.scid.len()), (version, Kind::Initial, 8));
        let initial = Initial::new(version, &DCID).unwrap();
        let opened = initial.open(&packet, Side::Server).unwrap();
        assert_eq!((opened.number, opened.frames.clone()), (1, hex(SERVER_HELLO)));
        let frames: Vec<Frame<'_>> = Frames::new(&opened.frames).collect();
        assert!(matches!(frames[..], [Frame::Ack { largest: 0 }, Frame::Crypto { offset: 0, data }] if data.len() == 90), "{frames:?}");
        assert_eq!(initial.open(&packet, Side::Client), None, "other keys");
        assert_eq!(Initial::new(version, b"another").unwrap().open(&packet, Side::Server), None, "another connection");
    }
}

#[test]
fn a_retry_and_a_version_negotiation_are_told_apart() {
    let retry = hex("ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba");
    assert!(matches!(packets(&retry).next(), Some(Packet::Retry { version: V1, token: b"token", scid, .. }) if scid.len() == 8));
    let negotiation = hex("80000000000100020102000000016b3343cf");
    assert!(
        matches!(packets(&negotiation).next(), Some(Packet::VersionNegotiation { versions, .. }) if versions == [0, 0, 0, 1, 0x6b, 0x33, 0x43, 0xcf])
    );
    assert_eq!(version_name(0x1a2a_3a4a), "a version that nobody speaks, to test");
    assert!(matches!(packets(&hex("c01a2a3a4a0001020102")).next(), Some(Packet::Unknown { version: 0x1a2a_3a4a, .. })));
}

#[test]
fn packets_that_share_a_datagram_are_all_read() {
    let initial = Initial::new(V1, &DCID).unwrap();
    let header = hex("c300000001088394c8f03e515708000040750000000000000000000000");
    let first = protect(&initial, Side::Client, &hex("c300000001088394c8f03e515708000040450000000a"), 4, &[0; 49]);
    let datagram = [&first[..], &hex("e300000001088394c8f03e5157080005aabbccddee")].concat();
    let kinds: Vec<_> =
        packets(&datagram).map(|packet| matches!(packet, Packet::Long(long) if !long.cut).then(|| long_kind(packet))).collect();
    assert_eq!(kinds, [Some(Kind::Initial), Some(Kind::Handshake)]);
    assert!(long(&header).cut, "the length says more than there is");
}

fn long_kind(packet: Packet<'_>) -> Kind {
    match packet {
        Packet::Long(long) => long.kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn handshake_bytes_are_put_in_order_and_bounded() {
    let mut stream = CryptoStream::default();
    for (offset, piece) in [(6, &b"67"[..]), (2, b"2345"), (0, b"01"), (1, b"123"), (8, b"8")] {
        stream.insert(offset, piece);
    }
    assert_eq!(stream.ready(), b"012345678");
    for offset in 0..10_000_u64 {
        stream.insert(10 + offset * 100_000, &[1; 1000]);
    }
    assert!(stream.waiting() <= 64 && stream.ready().len() <= 32 * 1024);
}

proptest! {
    #[test]
    fn no_datagram_makes_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), v1: bool) {
        if v1 && bytes.len() > 5 {
            bytes[0] |= 0xc0;
            bytes[1..5].copy_from_slice(&[0, 0, 0, 1]);
        }
        for packet in packets(&bytes) {
            let Packet::Long(long) = packet else { continue };
            prop_assert!(long.number_at <= long.bytes.len());
            if let Some(opened) = Initial::new(long.version, long.dcid).and_then(|initial| initial.open(&long, Side::Client)) {
                CryptoStream::default().take(&opened.frames);
            }
        }
        CryptoStream::default().take(&bytes);
    }
}
