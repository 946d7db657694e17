//! Initial packets sealed by hand.

use crate::app::testkit::{C, S, exchanges, rules, told_of_datagrams};
use crate::flow::Side;
use crate::quic::{Initial, V1, protect};

const FIRST_ID: &[u8] = b"\x83\x94\xc8\xf0\x3e\x51\x57\x08";
const ANOTHER_ID: &[u8] = b"\x01\x02\x03\x04\x05\x06\x07\x08";

/// An Initial of version 1 to `dcid`, sealed with the keys that follow from `first`.
fn initial(from: Side, first: &[u8], dcid: &[u8], number: u8, frames: &[u8]) -> Vec<u8> {
    let mut frames = frames.to_vec();
    frames.resize(1150, 0);
    let len = (frames.len() + 1 + 16) as u16 | 0x4000;
    let header = [&[0xc0, 0, 0, 0, 1, dcid.len() as u8][..], dcid, &[0, 0], &len.to_be_bytes(), &[number]].concat();
    let mut datagram = protect(&Initial::new(V1, first).expect("a known version"), from, &header, 1, &frames);
    datagram.resize(1200, 0);
    datagram
}

/// The frame of a ClientHello for `shop.test`.
fn hello() -> Vec<u8> {
    let sni = b"\0\0\0\x0e\0\x0c\0\0\x09shop.test";
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend((sni.len() as u16).to_be_bytes());
    body.extend(sni);
    let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    [&[6, 0, 0x40, message.len() as u8][..], &message].concat()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    [&[0x1c][..], &(code | 0x4000).to_be_bytes(), &[6, reason.len() as u8], reason].concat()
}

fn ask(number: u8) -> Vec<u8> {
    initial(C, FIRST_ID, FIRST_ID, number, &hello())
}

fn answer(frames: &[u8]) -> Vec<u8> {
    initial(S, FIRST_ID, &[], 0, frames)
}

#[track_caller]
fn check(lines: &[(Side, u64, Vec<u8>)], end_ms: u64, expect: &[&str], said: &str) -> Vec<String> {
    let lines: Vec<(Side, u64, &[u8])> = lines.iter().map(|(side, ms, bytes)| (*side, *ms, &bytes[..])).collect();
    let sink = told_of_datagrams(443, &lines, end_ms);
    assert_eq!((rules(&sink), exchanges(&sink)), (expect.iter().map(|row| (*row).to_owned()).collect(), vec![said.to_owned()]));
    sink.findings.into_iter().map(|finding| finding.text).collect()
}

#[test]
fn a_handshake_that_goes_on_gives_no_finding() {
    let server_hello = [6, 0, 4, 2, 0, 0, 0];
    check(&[(C, 0, ask(0)), (S, 20, answer(&server_hello))], 9000, &[], "ClientHello shop.test > QUIC 1");
}

#[test]
fn a_client_that_goes_on_to_the_handshake_has_heard_a_server_that_the_capture_has_not() {
    let handshake = [&[0xe0, 0, 0, 0, 1, 8][..], FIRST_ID, &[0, 0x40, 60], &[7; 60]].concat();
    check(&[(C, 0, ask(0)), (C, 20, handshake)], 9000, &[], "ClientHello shop.test > ");
    check(&[(C, 0, ask(0))], 9000, &["quic.unanswered warning l4.udp-filtered"], "ClientHello shop.test > ");
}

#[test]
fn a_close_in_the_handshake_names_the_alert_or_the_error() {
    let refuse = |code: u16, expect: &str, said: &str| {
        let lines = [(C, 0, ask(0)), (S, 20, answer(&close(code, b"no")))];
        let texts = check(&lines, 90, &[expect], &format!("ClientHello shop.test > {said}"));
        assert!(texts[0].contains(said) && texts[0].ends_with(": \"no\""), "{texts:?}");
    };
    refuse(0x178, "quic.close fault l6.alpn-mismatch", "the TLS alert no_application_protocol (120)");
    refuse(0x170, "quic.close fault l6.sni-rejected", "the TLS alert unrecognized_name (112)");
    refuse(0x128, "quic.close fault l6.tls-cipher-mismatch", "the TLS alert handshake_failure (40)");
    refuse(0x146, "quic.close fault l6.tls-version-mismatch", "the TLS alert protocol_version (70)");
    refuse(2, "quic.close fault l7.service-error", "CONNECTION_REFUSED (2)");
    refuse(11, "quic.close fault -", "INVALID_TOKEN (11)");
    // An ordinary end, and an error of the application, told in general words.
    for code in [0, 12] {
        check(&[(C, 0, ask(0)), (S, 20, answer(&close(code, b"")))], 90, &[], "ClientHello shop.test > ");
    }
    // The client does not like the certificate.
    let lines = [(C, 0, ask(0)), (S, 20, answer(&[6, 0, 4, 2, 0, 0, 0])), (C, 30, initial(C, FIRST_ID, b"ab", 2, &close(0x12d, b"")))];
    check(&lines, 90, &["quic.close fault l6.cert-expired"], "ClientHello shop.test > the TLS alert certificate_expired (45)");
}

#[test]
fn silence_is_of_udp_and_after_a_retry_it_is_not() {
    let tries = [(C, 0, ask(0)), (C, 1000, ask(1)), (C, 3000, ask(2))];
    check(&tries, 4000, &["quic.unanswered warning l4.udp-filtered"], "ClientHello shop.test > ");
    let retry = [&[0xf0, 0, 0, 0, 1, 0, 8][..], ANOTHER_ID, b"token", &[0; 16]].concat();
    let again = |number| initial(C, ANOTHER_ID, ANOTHER_ID, number, &hello());
    let lines = [(C, 0, ask(0)), (S, 20, retry.clone()), (C, 30, again(1)), (C, 1030, again(2)), (C, 3030, again(3))];
    let texts = check(&lines, 4000, &["quic.unanswered warning -"], "ClientHello shop.test > ");
    assert!(texts[0].ends_with("asked for a token first (Retry)"), "{texts:?}");
    let server_hello = initial(S, ANOTHER_ID, &[], 0, &[6, 0, 4, 2, 0, 0, 0]);
    check(&[(C, 0, ask(0)), (S, 20, retry), (C, 30, again(1)), (S, 50, server_hello)], 90, &[], "ClientHello shop.test > QUIC 1");
}

#[test]
fn a_client_that_begins_anew_on_the_same_ports_is_still_read() {
    let anew = initial(C, ANOTHER_ID, ANOTHER_ID, 0, &hello());
    let refusal = initial(S, ANOTHER_ID, &[], 0, &close(0x178, b""));
    let lines = [(C, 0, ask(0)), (C, 1000, anew), (S, 1020, refusal)];
    check(&lines, 1100, &["quic.close fault l6.alpn-mismatch"], "ClientHello shop.test > the TLS alert no_application_protocol (120)");
}

#[test]
fn versions_that_a_server_offers_instead_are_named() {
    let offer = [&[0x80, 0, 0, 0, 0, 0, 0][..], &[0x6b, 0x33, 0x43, 0xcf, 0x1a, 0x2a, 0x3a, 0x4a, 0x51, 0x30, 0x35, 0x30]].concat();
    let lines = [(C, 0, ask(0)), (S, 20, offer)];
    let texts = check(&lines, 90, &["quic.version-negotiation note -"], "ClientHello shop.test > QUIC 1");
    assert_eq!(texts[0], "the server does not speak QUIC 1 and offers QUIC 2, version 0x51303530");
}
