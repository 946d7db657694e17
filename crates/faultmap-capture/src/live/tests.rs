//! Captures on this machine's loopback, where we may; without CAP_NET_RAW they check that this is said.

use super::*;
use std::net::UdpSocket;
use std::time::Instant;

/// Datagrams sent to ourselves while a capture runs, and what it showed of them.
fn seen_of(payloads: &[Vec<u8>], wanted: &Wanted) -> Option<(Vec<Vec<u8>>, Counts)> {
    let mut live = match Live::open(wanted) {
        Ok(live) => live,
        Err(LiveError::NotAllowed { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    let (from, to) = (UdpSocket::bind("127.0.0.1:0").expect("a socket"), UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    let port = to.local_addr().expect("an address").port();
    for payload in payloads {
        from.send_to(payload, ("127.0.0.1", port)).expect("sent");
    }
    let mut seen = Vec::new();
    let until = Instant::now() + Duration::from_secs(10);
    while seen.len() < payloads.len() && Instant::now() < until {
        let read = live.read(Duration::from_millis(200), |name, packet| {
            let frame = faultmap_wire::dissect::dissect(packet.link, packet.bytes, packet.wire_len as usize);
            if let faultmap_wire::dissect::Network::Ip(ip) = frame.network
                && let faultmap_wire::dissect::Transport::Udp(udp, payload) = ip.transport
                && udp.dst_port == port
            {
                assert_eq!(name, "lo");
                seen.push(payload.to_vec());
            }
        });
        read.expect("the interface is there");
    }
    Some((seen, live.counts()))
}

#[test]
fn every_packet_on_the_loopback_shows_once_and_in_order() {
    let payloads: Vec<Vec<u8>> = (0..200_u32).map(|n| vec![n as u8; 1 + n as usize * 40]).collect();
    for interface in ["lo", "any"] {
        let Some((seen, counts)) = seen_of(&payloads, &Wanted::on(interface)) else { return };
        assert_eq!(seen, payloads, "on {interface}");
        assert_eq!(counts.dropped, 0);
        assert!(counts.received >= 200);
    }
}

#[test]
fn the_kernels_filter_holds_from_the_first_packet() {
    // ret 0: nothing passes.
    let nothing = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
    let Ok(mut live) = Live::open(&Wanted { filter: vec![nothing], ..Wanted::on("lo") }) else { return };
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.send_to(b"x", socket.local_addr().expect("an address")).expect("sent");
    let count = live.read(Duration::from_millis(200), |_, _| {}).expect("the interface is there");
    assert_eq!(count, 0);
}

#[test]
fn an_interface_that_is_not_there_is_told_with_those_that_are() {
    let error = Live::open(&Wanted::on("nosuch0")).expect_err("not there");
    assert!(error.to_string().contains("there is no interface nosuch0 here; there are: "), "{error}");
}

#[test]
fn a_tag_that_the_card_took_out_is_put_back() {
    let frame: Vec<u8> = (0..60).collect();
    let slot = Slot { at_ns: 0, wire_len: 60, bytes: &frame, interface: 1, kind: ETHER, direction: 0, vlan: Some((0x8100, 7)) };
    let mut scratch = Vec::new();
    let (bytes, added) = with_tag(&slot, &mut scratch);
    assert_eq!(added, 4);
    assert_eq!((&bytes[..12], &bytes[12..16], &bytes[16..]), (&frame[..12], &[0x81, 0, 0, 7][..], &frame[12..]));
}
