//! Packets of known content, and packets of any: fields stand where they say, and credentials stand nowhere.

use super::*;
use crate::packet::{PacketNo, Stamp};
use faultmap_wire::{Ethernet, Ipv4, Mac, Tcp, TcpFlags, Udp, proto};
use proptest::prelude::*;
use std::net::Ipv4Addr;

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn tcp(port: u16, payload: &[u8]) -> Vec<u8> {
    let segment = Tcp::new(40000, port, TcpFlags::ACK.with(TcpFlags::PSH)).emit(A.into(), B.into(), payload);
    Ethernet::new(Mac([2; 6]), Mac([4; 6]), 0x0800).emit(&Ipv4::new(A, B, proto::TCP).emit(&segment))
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let datagram = Udp::new(40000, port).emit(A.into(), B.into(), payload);
    Ethernet::new(Mac([2; 6]), Mac([4; 6]), 0x0800).emit(&Ipv4::new(A, B, proto::UDP).emit(&datagram))
}

fn of(bytes: &[u8]) -> Anatomy {
    let captured = Captured { number: PacketNo(7), at: Stamp(0), link: LinkType::ETHERNET, wire_len: bytes.len() as u32, bytes };
    anatomy(&captured, &[])
}

fn names(anatomy: &Anatomy) -> Vec<&str> {
    anatomy.layers.iter().map(|layer| layer.name.as_str()).collect()
}

fn value<'a>(anatomy: &'a Anatomy, layer: &str, field: &str) -> &'a str {
    let layer = anatomy.layers.iter().find(|doll| doll.name == layer).unwrap_or_else(|| panic!("{layer} of {:?}", names(anatomy)));
    layer
        .fields
        .iter()
        .find(|found| found.name == field)
        .map_or_else(|| panic!("{field} of {:?}", layer.fields), |found| found.value.as_str())
}

#[test]
fn a_request_is_shown_with_who_writes_and_reads_each_layer() {
    let bytes = tcp(80, b"GET /pay?token=abc HTTP/1.1\r\nHost: shop.test\r\nAuthorization: Bearer sesame\r\nCookie: id=hunter2\r\n\r\n");
    let shown = of(&bytes);
    assert_eq!(names(&shown), ["Ethernet", "IPv4", "TCP", "HTTP/1 request"]);
    assert_eq!(value(&shown, "Ethernet", "source"), "04:04:04:04:04:04");
    assert_eq!(value(&shown, "IPv4", "destination"), "10.0.0.2");
    assert_eq!(value(&shown, "TCP", "flags"), "PSH,ACK");
    assert_eq!((value(&shown, "HTTP/1 request", "path"), value(&shown, "HTTP/1 request", "Host")), ("/pay", "shop.test"));
    for hidden in ["query", "Authorization", "Cookie"] {
        assert_eq!(value(&shown, "HTTP/1 request", hidden), "hidden");
    }
    let json = serde_json::to_string(&shown).unwrap();
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for secret in ["sesame", "hunter2", "abc"] {
        assert!(!json.contains(secret) && !json.contains(&hex(secret)), "{secret}");
    }
    assert!(shown.layers.iter().all(|layer| !layer.written_by.is_empty() && !layer.read_by.is_empty()));
}

#[test]
fn a_client_hello_shows_its_server_name() {
    let hello = include_bytes!("../../../../fuzz/seeds/quic/client-initial-1");
    let shown = of(&udp(443, hello));
    assert_eq!(names(&shown), ["Ethernet", "IPv4", "UDP", "QUIC Initial", "QUIC frames", "TLS ClientHello"]);
    assert_eq!(value(&shown, "TLS ClientHello", "server name (SNI)"), "example.com");
    assert_eq!(value(&shown, "TLS ClientHello", "versions offered"), "TLS 1.3");
    assert!(shown.layers[5].opened, "those bytes are not in the frame");
    assert_eq!(value(&shown, "QUIC Initial", "destination id"), "8394c8f03e515708");
}

#[test]
fn an_error_shows_the_packet_that_it_quotes() {
    let original = Ipv4::new(A, B, proto::UDP).emit(&Udp::new(5000, 53).emit(A.into(), B.into(), b"x"));
    let error = faultmap_wire::icmp::error_about(&original, B, 3, 3, [0; 4]).unwrap();
    let shown = of(&Ethernet::new(Mac([2; 6]), Mac([4; 6]), 0x0800).emit(&error));
    let quoted: Vec<_> = shown.layers.iter().filter(|layer| layer.quoted).map(|layer| layer.name.as_str()).collect();
    assert_eq!(quoted[..2], ["IPv4", "UDP"]);
    assert_eq!(shown.layers[2].fields[0].note.as_deref(), Some("port unreachable"));
}

#[test]
fn questions_answers_and_greetings_are_read() {
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04shop\x04test\0\0\x01\0\x01";
    assert_eq!(value(&of(&udp(53, question)), "DNS question", "question"), "shop.test A");
    let shown = of(&tcp(5432, b"p\0\0\0\x0csecret1\0"));
    assert!(!serde_json::to_string(&shown).unwrap().contains("736563726574"), "a password in hex");
    let shown = of(&tcp(443, &[21, 3, 3, 0, 2, 2, 40]));
    assert_eq!(names(&shown)[3..], ["TLS record", "TLS alert: handshake_failure"]);
    let mut ntp = [0; 48];
    ntp[0] = 0x23;
    assert_eq!(value(&of(&udp(123, &ntp)), "NTP", "mode"), "3");
}

#[test]
fn padding_is_a_layer_of_its_own_that_nobody_reads() {
    let mut bytes = tcp(80, &[]);
    bytes.resize(60, 0);
    let shown = of(&bytes);
    let last = shown.layers.last().unwrap();
    assert_eq!((last.name.as_str(), last.len, last.read_by), ("padding", 6, "nobody"));
    // Nobody fills up a frame that is long enough.
    let mut bytes = tcp(80, &[b'x'; 100]);
    bytes.extend([0; 4]);
    assert_eq!(of(&bytes).layers.last().unwrap().name, "trailer");
    // On the port of a tunnel, and none.
    assert!(
        of(&udp(4789, b"another protocol, longer than a header of VXLAN would be"))
            .layers
            .iter()
            .all(|layer| layer.name != "padding" && layer.name != "trailer")
    );
}

#[test]
fn every_packet_of_the_captures_folder_is_shown() {
    let Some(folder) = std::env::var_os("FAULTMAP_CAPTURES").map(std::path::PathBuf::from) else { return };
    let mut paths: Vec<_> =
        [folder.clone(), folder.join("malformed")].iter().flat_map(|folder| std::fs::read_dir(folder).unwrap().flatten()).collect();
    paths.retain(|entry| entry.path().is_file());
    let (mut packets, mut opened) = (0, 0);
    for entry in paths {
        let mut files = crate::file::Files::new(&[entry.path()]);
        while let Ok(Some(packet)) = files.next() {
            let shown = anatomy(&packet, &[]);
            packets += 1;
            opened += usize::from(shown.layers.iter().any(|layer| layer.opened));
            for layer in &shown.layers {
                assert!(
                    layer.opened || layer.start + layer.len <= packet.bytes.len(),
                    "{:?} packet {}: {layer:?}",
                    entry.path(),
                    packet.number
                );
                assert!(
                    layer.fields.iter().all(|field| field.start + field.len <= layer.len),
                    "{:?} packet {}: {layer:?}",
                    entry.path(),
                    packet.number
                );
            }
        }
    }
    assert!(packets > 5000 && opened > 0, "{packets} packets, {opened} opened");
}

proptest! {
    #[test]
    fn any_payload_on_any_port_is_shown_without_panic(
        payload in prop::collection::vec(any::<u8>(), 0..120), port in prop::sample::select(vec![
            53_u16, 67, 80, 123, 161, 389, 443, 1433, 1883, 3306, 5432, 5672, 6379, 9999,
        ]), start in prop::sample::select(vec![
            &b""[..], &[22, 3, 1, 0, 90, 1, 0, 0, 86, 3, 3], &[0xc3, 0, 0, 0, 1, 4], b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 200 OK\r\n",
        ]),
    ) {
        let payload = [start, &payload].concat();
        for bytes in [tcp(port, &payload), udp(port, &payload)] {
            for layer in of(&bytes).layers {
                prop_assert!(layer.opened || layer.start + layer.len <= bytes.len());
                prop_assert!(layer.fields.iter().all(|field| field.start + field.len <= layer.len), "{layer:?}");
            }
        }
    }

    #[test]
    fn damaged_frames_are_shown_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..120_usize) {
        let whole = [&tcp(443, b"hello")[..cut.min(50)], &bytes].concat();
        of(&whole);
        of(&bytes);
    }
}
