//! TLS written by hand.

use crate::app::End;
use crate::app::testkit::{C, Line, S, exchanges, rules, told};
use crate::flow::Side;

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], &(content.len() as u16).to_be_bytes()[..], content].concat()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    record(22, &[&[kind], &len[1..], body].concat())
}

/// A ClientHello for `shop.test` that offers TLS 1.2.
fn client_hello() -> Vec<u8> {
    let sni = b"\0\0\0\x0e\0\x0c\0\0\x09shop.test";
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    body.extend((sni.len() as u16).to_be_bytes());
    body.extend(sni);
    handshake(1, &body)
}

fn server_hello(version: u16) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([9; 32]);
    body.extend([0, 0xc0, 0x2f, 0]);
    if version == 0x0304 {
        body.extend([0, 6, 0, 43, 0, 2, 3, 4]);
    }
    handshake(2, &body)
}

fn data(len: usize) -> Vec<u8> {
    record(23, &vec![0; len])
}

#[track_caller]
fn check(lines: &[(Side, u64, Vec<u8>)], how: End, end_ms: u64, expect: &[&str]) {
    let lines: Vec<Line<'_>> = lines.iter().map(|(side, ms, bytes)| (*side, *ms, &bytes[..])).collect();
    assert_eq!(rules(&told(443, &lines, how, end_ms)), expect);
}

/// A whole handshake of TLS 1.2.
fn shaken() -> Vec<(Side, u64, Vec<u8>)> {
    let finish = |at, side| (side, at, [record(20, &[1]), record(22, &[0; 40])].concat());
    vec![(C, 1, client_hello()), (S, 12, server_hello(0x0303)), finish(13, C), finish(24, S)]
}

#[test]
fn a_healthy_session_gives_no_finding_and_tells_how_long_it_took() {
    let mut lines = shaken();
    lines.extend([(C, 25, data(200)), (S, 60, data(1000)), (C, 61, record(21, &[0; 26])), (S, 62, record(21, &[0; 26]))]);
    check(&lines, End::Closed, 70, &[]);
    let lines: Vec<Line<'_>> = lines.iter().map(|(side, ms, bytes)| (*side, *ms, &bytes[..])).collect();
    let sink = told(443, &lines, End::Closed, 70);
    assert_eq!(exchanges(&sink), ["ClientHello shop.test > TLS 1.2", "encrypted request > encrypted answer"]);
    assert_eq!((sink.exchanges[0].total_ms, sink.exchanges[1].think_ms), (Some(23.0), Some(25.0)));
    assert_eq!((sink.protocol, sink.server_name.as_deref()), (Some("tls"), Some("shop.test")));
}

#[test]
fn an_alert_says_its_cause_by_who_sent_it_and_when() {
    let hello = (C, 1, client_hello());
    let alert = |side, code| (side, 30, record(21, &[2, code]));
    check(&[hello.clone(), alert(S, 70)], End::Closed, 40, &["tls.alert fault l6.tls-version-mismatch"]);
    check(&[hello.clone(), alert(S, 40)], End::Closed, 40, &["tls.alert fault l6.tls-cipher-mismatch"]);
    check(&[hello.clone(), alert(S, 112)], End::Closed, 40, &["tls.alert fault l6.sni-rejected"]);
    check(&[hello.clone(), alert(S, 120)], End::Closed, 40, &["tls.alert fault l6.alpn-mismatch"]);
    let chosen = (S, 20, server_hello(0x0303));
    check(&[hello.clone(), chosen.clone(), alert(C, 48)], End::Closed, 40, &["tls.alert fault l6.cert-untrusted-ca"]);
    check(&[hello.clone(), chosen.clone(), alert(C, 45)], End::Closed, 40, &["tls.alert fault l6.cert-expired"]);
    let wants = (S, 21, handshake(13, &[1, 1, 0, 0, 0, 0]));
    check(&[hello.clone(), chosen, wants, alert(S, 40)], End::Closed, 40, &["tls.alert fault l6.client-cert-required"]);
    check(&[hello, (S, 20, record(21, &[1, 112]))], End::Cut, 40, &["tls.alert note -"]);
}

#[test]
fn a_sealed_alert_of_tls_1_3_is_known_by_its_length_and_what_follows() {
    let begun = || vec![(C, 1, client_hello()), (S, 12, [server_hello(0x0304), data(1200)].concat())];
    let mut distrusted = begun();
    distrusted.push((C, 20, [record(20, &[1]), data(19)].concat()));
    check(&distrusted, End::Closed, 30, &["tls.sealed-refusal fault -"]);
    let mut refused = begun();
    refused.extend([(C, 20, data(53)), (C, 21, data(100)), (S, 32, data(19))]);
    check(&refused, End::Closed, 40, &["tls.alert fault l6.client-cert-required"]);
    let mut well = begun();
    well.extend([(C, 20, data(53)), (C, 21, data(100)), (S, 32, data(250)), (S, 40, data(900)), (C, 50, data(19)), (S, 51, data(19))]);
    check(&well, End::Closed, 60, &[]);
    let mut probe = begun();
    probe.extend([(C, 20, data(53)), (C, 21, data(19)), (S, 32, data(19))]);
    check(&probe, End::Closed, 40, &[]);
}

#[test]
fn the_time_of_a_server_is_seen_without_reading_a_word() {
    let mut lines = shaken();
    lines.extend([(C, 25, data(200)), (S, 2100, data(1000))]);
    check(&lines, End::Closed, 2200, &["tls.server-think warning l7.service-slow"]);
    // Tickets come first, unasked.
    let lines = vec![
        (C, 1, client_hello()),
        (S, 12, [server_hello(0x0304), data(1200)].concat()),
        (C, 13, [data(53), data(100)].concat()),
        (S, 24, [data(250), data(250)].concat()),
        (S, 3000, data(900)),
    ];
    check(&lines, End::Closed, 3100, &["tls.server-think warning l7.service-slow"]);
}

#[test]
fn a_client_hello_without_an_answer_says_how_it_ended() {
    let hello = || vec![(C, 1, client_hello())];
    check(&hello(), End::Cut, 9000, &["tls.no-server-hello fault l6.tls-handshake-stalled"]);
    check(&hello(), End::Cut, 900, &[]);
    check(&hello(), End::Reset(S), 20, &["tls.closed-in-handshake fault l6.tls-handshake-failed"]);
    check(
        &[(C, 1, client_hello()), (S, 12, server_hello(0x0303))],
        End::Reset(C),
        20,
        &["tls.handshake-unfinished note l6.tls-handshake-failed"],
    );
    check(
        &[(C, 1, client_hello()), (S, 12, server_hello(0x0303))],
        End::Reset(S),
        20,
        &["tls.handshake-unfinished warning l6.tls-handshake-failed"],
    );
}

#[test]
fn plain_text_in_answer_to_a_client_hello_is_told_with_its_words() {
    let lines = [(C, 1, client_hello()), (S, 12, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())];
    check(&lines, End::Closed, 20, &["tls.plaintext-reply fault l6.plaintext-on-tls-port"]);
    check(
        &[(C, 1, client_hello()), (S, 12, b"SSH-2.0".to_vec())],
        End::Closed,
        20,
        &["tls.plaintext-reply fault l6.plaintext-on-tls-port"],
    );
}

#[test]
fn a_retry_is_no_second_choice() {
    let retry = {
        let mut body = vec![3, 3];
        body.extend([
            0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a,
            0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
        ]);
        body.extend([0, 0xc0, 0x2f, 0, 0, 6, 0, 43, 0, 2, 3, 4]);
        handshake(2, &body)
    };
    let lines = vec![
        (C, 1, client_hello()),
        (S, 12, [retry, record(20, &[1])].concat()),
        (C, 13, [record(20, &[1]), client_hello()].concat()),
        (S, 24, [server_hello(0x0304), data(1200)].concat()),
        (C, 25, [data(53), data(100)].concat()),
        (S, 40, data(900)),
    ];
    check(&lines, End::Closed, 60, &[]);
}

#[test]
fn what_no_client_takes_in_a_handshake_is_told() {
    check(&[(C, 1, client_hello()), (S, 12, handshake(11, &[0; 90]))], End::Closed, 30, &["tls.malformed fault l6.tls-handshake-failed"]);
    let giant = record(22, &[&[11, 0xff, 0xff, 0xfc][..], &[0; 400]].concat());
    let lines = [(C, 1, client_hello()), (S, 12, server_hello(0x0303)), (S, 13, giant)];
    check(&lines, End::Reset(Side::Client), 30, &["tls.malformed fault l6.tls-handshake-failed"]);
}

/// A handshake of TLS 1.3 up to the client's part, and a question by HTTP/2.
fn asked_by_h2() -> Vec<(Side, u64, Vec<u8>)> {
    let server = [server_hello(0x0304), record(20, &[1]), data(1200)].concat();
    let client = [record(20, &[1]), data(69), data(41), data(122)].concat();
    vec![
        (C, 1, client_hello()),
        (S, 12, server),
        (C, 13, client),
        (S, 24, [data(179), data(50)].concat()),
        (C, 25, data(26)),
        (S, 36, data(39)),
    ]
}

#[test]
fn an_encrypted_question_without_an_answer_is_noted_and_no_more() {
    let lines = asked_by_h2();
    check(&lines, End::Closed, 60, &["tls.closed-without-answer note l5.closed-without-answer"]);
    check(&lines, End::HalfClosed(Side::Client), 9000, &["tls.unanswered note l7.service-mute"]);
    check(&lines, End::HalfClosed(Side::Client), 90, &[]);
    let mut answered = lines.clone();
    answered.push((S, 40, data(90)));
    check(&answered, End::Closed, 60, &[]);
    // By HTTP/1 the one record may be a ticket, or a small answer.
    let mut lines = lines;
    lines.truncate(2);
    lines.push((C, 13, [record(20, &[1]), data(69), data(136)].concat()));
    let mut one = lines.clone();
    one.push((S, 24, data(179)));
    check(&one, End::Closed, 60, &[]);
    let mut two = lines.clone();
    two.push((S, 24, [data(255), data(255)].concat()));
    check(&two, End::Closed, 60, &["tls.closed-without-answer note l5.closed-without-answer"]);
    check(&lines, End::HalfClosed(Side::Client), 9000, &["tls.unanswered note l7.service-mute"]);
    // One ticket before the question, its twin behind it: as OpenSSL sends them.
    let mut around: Vec<_> = lines[..2].to_vec();
    around.extend([(C, 13, [record(20, &[1]), data(69)].concat()), (S, 14, data(250)), (C, 15, data(95)), (S, 16, data(250))]);
    check(&around, End::Closed, 60, &["tls.closed-without-answer note l5.closed-without-answer"]);
    around[5].2 = data(260);
    check(&around, End::Closed, 60, &[]);
}

#[test]
fn a_ticket_is_no_answer_to_a_question_by_h2() {
    let mut lines = asked_by_h2();
    lines.push((S, 3030, data(118)));
    check(&lines, End::Closed, 3060, &["tls.server-think warning l7.service-slow"]);
}
