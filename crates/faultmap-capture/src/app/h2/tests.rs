//! HTTP/2 and gRPC written by hand.

use crate::app::End;
use crate::app::testkit::{C, Line, S, exchanges, rules, told, told_cut};
use crate::flow::Side;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let block = fluke_hpack::Encoder::new().encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    frame(1, 4 | flags, stream, &block)
}

fn hello() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat()
}

fn get(stream: u32) -> Vec<u8> {
    headers(1, stream, &[(":method", "GET"), (":path", "/a?secret"), (":authority", "shop.test:80")])
}

fn call(stream: u32) -> Vec<u8> {
    let fields = [(":method", "POST"), (":path", "/shop.Cart/Add"), ("content-type", "application/grpc")];
    [headers(0, stream, &fields), frame(0, 1, stream, &[0; 9])].concat()
}

#[track_caller]
fn check(lines: &[(Side, u64, Vec<u8>)], how: End, end_ms: u64, expect: &[&str], said: &[&str]) {
    let lines: Vec<Line<'_>> = lines.iter().map(|(side, ms, bytes)| (*side, *ms, &bytes[..])).collect();
    let sink = told(80, &lines, how, end_ms);
    assert_eq!(
        (rules(&sink), exchanges(&sink)),
        (expect.iter().map(|row| (*row).to_owned()).collect(), said.iter().map(|row| (*row).to_owned()).collect())
    );
}

#[test]
fn streams_are_paired_by_number_and_judged_by_status() {
    let lines = [
        (C, 1, [hello(), get(1), get(3)].concat()),
        (
            S,
            20,
            [frame(4, 0, 0, &[]), headers(1, 3, &[(":status", "503")]), headers(0, 1, &[(":status", "200")]), frame(0, 1, 1, b"body")]
                .concat(),
        ),
    ];
    check(&lines, End::Closed, 30, &["http.status fault l7.http-unavailable"], &["GET /a?… > 503", "GET /a?… > 200"]);
}

#[test]
fn the_status_of_grpc_stands_in_the_trailers() {
    let answer = |status| {
        [headers(0, 1, &[(":status", "200"), ("content-type", "application/grpc")]), headers(1, 1, &[("grpc-status", status)])].concat()
    };
    let lines = |status| [(C, 1, [hello(), call(1)].concat()), (S, 20, answer(status))];
    check(&lines("0"), End::Closed, 30, &[], &["POST /shop.Cart/Add > OK"]);
    check(&lines("14"), End::Closed, 30, &["grpc.status fault l7.grpc-error"], &["POST /shop.Cart/Add > UNAVAILABLE"]);
    check(&lines("5"), End::Closed, 30, &["grpc.status note l7.grpc-error"], &["POST /shop.Cart/Add > NOT_FOUND"]);
    let only = headers(1, 1, &[(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")]);
    let lines = [(C, 1, [hello(), call(1)].concat()), (S, 2020, only)];
    check(
        &lines,
        End::Closed,
        2030,
        &["grpc.server-think warning l7.service-slow", "grpc.status fault l7.grpc-unimplemented"],
        &["POST /shop.Cart/Add > UNIMPLEMENTED"],
    );
}

#[test]
fn resets_and_goodbyes_are_told_by_their_code() {
    let lines = |last| [(C, 1, [hello(), get(1)].concat()), (S, 20, last)];
    let reset = |code| frame(3, 0, 1, &[0, 0, 0, code]);
    check(&lines(reset(2)), End::Closed, 30, &["h2.rst-stream fault l7.http-server-error"], &["GET /a?… > INTERNAL_ERROR"]);
    check(&lines(reset(7)), End::Closed, 30, &["h2.rst-stream warning l7.http-unavailable"], &["GET /a?… > REFUSED_STREAM"]);
    check(&lines(reset(8)), End::Closed, 30, &["h2.rst-stream note -"], &["GET /a?… > CANCEL"]);
    let bye = [headers(1, 1, &[(":status", "200")]), frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])].concat();
    check(&lines(bye), End::Closed, 30, &[], &["GET /a?… > 200"]);
    let angry = [headers(1, 1, &[(":status", "200")]), frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2, b'x'])].concat();
    check(&lines(angry), End::Closed, 30, &["h2.goaway fault l7.http-server-error"], &["GET /a?… > 200"]);
}

#[test]
fn an_answer_of_grpc_without_a_status_was_cut() {
    let fields = [(":status", "200"), ("content-type", "application/grpc")];
    let cut = [headers(0, 1, &fields), frame(0, 1, 1, &[0; 9])].concat();
    check(
        &[(C, 1, [hello(), call(1)].concat()), (S, 20, cut)],
        End::Closed,
        30,
        &["grpc.no-status fault l7.grpc-error"],
        &["POST /shop.Cart/Add > 200"],
    );
}

#[test]
fn the_health_service_is_heard() {
    let ask = [(":method", "POST"), (":path", "/grpc.health.v1.Health/Check"), ("content-type", "application/grpc")];
    let ask = [headers(0, 1, &ask), frame(0, 1, 1, &[0; 5])].concat();
    let says = |message: &[u8]| {
        let fields = [(":status", "200"), ("content-type", "application/grpc")];
        [headers(0, 1, &fields), frame(0, 0, 1, message), headers(1, 1, &[("grpc-status", "0")])].concat()
    };
    let row = |message: &[u8], expect: &[&str]| {
        let lines = [(C, 1, [hello(), ask.clone()].concat()), (S, 20, says(message))];
        check(&lines, End::Closed, 30, expect, &["POST /grpc.health.v1.Health/Check > OK"]);
    };
    row(&[0, 0, 0, 0, 2, 8, 1], &[]);
    row(&[0, 0, 0, 0, 2, 8, 2], &["grpc.health fault l7.grpc-not-serving"]);
}

#[test]
fn a_server_that_answers_in_http1_does_not_speak_http2() {
    // The second one is that of a server that takes the preface for HTTP/0.9.
    for answer in ["HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", "<!DOCTYPE HTML>\n<html>"] {
        let answer = answer.as_bytes().to_vec();
        let expect = ["h2.answered-in-http1 fault l7.protocol-mismatch"];
        check(&[(C, 1, [hello(), call(1)].concat()), (S, 20, answer)], End::Closed, 30, &expect, &["POST /shop.Cart/Add > HTTP/1"]);
    }
}

#[test]
fn a_body_that_answers_head_harms_nobody() {
    let ask = |method: &str| headers(1, 1, &[(":method", method), (":path", "/a"), (":authority", "shop.test:80")]);
    let lines = |method: &str| {
        let answer = [headers(0, 1, &[(":status", "200")]), frame(0, 0, 1, b"body"), frame(0, 1, 1, b"")].concat();
        [(C, 1, [hello(), ask(method)].concat()), (S, 20, answer), (C, 21, frame(3, 0, 1, &[0, 0, 0, 1]))]
    };
    check(&lines("HEAD"), End::Closed, 30, &["h2.rst-stream note l7.http-malformed"], &["HEAD /a > 200"]);
    check(&lines("GET"), End::Closed, 30, &["h2.rst-stream fault l7.http-malformed"], &["GET /a > 200"]);
}

#[test]
fn behind_a_hole_a_silence_may_be_an_answer_that_nobody_captured() {
    let (opening, second, page) = ([hello(), get(1)].concat(), get(3), frame(0, 1, 1, &[b'x'; 400]));
    let lines: [Line<'_>; 3] = [(C, 1, &opening), (S, 20, &page), (C, 40, &second)];
    assert_eq!(rules(&told_cut(80, &lines, End::HalfClosed(C), 9000, 160)), [""; 0]);
}

#[test]
fn bodies_are_what_they_are_declared_to_be_or_told() {
    let row = |fields: &[(&str, &str)], body: &[&[u8]], expect: &[&str]| {
        let head = [&[(":status", "200")], fields].concat();
        let (last, first) = body.split_last().expect("one");
        let data = first.iter().map(|part| frame(0, 0, 1, part)).chain([frame(0, 1, 1, last)]);
        let answer = [headers(0, 1, &head)].into_iter().chain(data).collect::<Vec<_>>().concat();
        check(&[(C, 1, [hello(), get(1)].concat()), (S, 20, answer)], End::Closed, 30, expect, &["GET /a?… > 200"]);
    };
    let json = ("content-type", "application/json");
    row(&[("content-encoding", "gzip"), json], &[b"{\"a\"", b": 1}"], &["http.encoding fault l6.content-encoding-mismatch"]);
    row(&[("content-type", "text/html")], &[b"\x1f\x8b", b"\x08\0\0\0"], &["http.encoding fault l6.content-encoding-mismatch"]);
    row(&[json], &[b"{\"a\"", b": 1,}"], &["http.json fault l6.serialization-invalid"]);
    row(&[json], &[b"{\"a\"", b": 1}", b""], &[]);
    row(&[json], &[b"<html>"], &["http.page-for-json fault l6.content-type-mismatch"]);
    row(&[("content-type", "text/html; charset=utf-8")], &[b"Gr\xfc\xdfe"], &["http.charset warning l6.charset-mismatch"]);
    // Padding is not followed.
    let padded = [headers(0, 1, &[(":status", "200"), json]), frame(0, 9, 1, b"\x02{,}\0\0")].concat();
    check(&[(C, 1, [hello(), get(1)].concat()), (S, 20, padded)], End::Closed, 30, &[], &["GET /a?… > 200"]);
}

#[test]
fn a_page_is_no_answer_to_who_accepts_json_only() {
    let ask = |accept: &str| headers(1, 1, &[(":method", "GET"), (":path", "/a"), ("accept", accept)]);
    let page = [headers(0, 1, &[(":status", "200"), ("content-type", "text/html")]), frame(0, 1, 1, b"<html>")].concat();
    let lines = |accept: &str| [(C, 1, [hello(), ask(accept)].concat()), (S, 20, page.clone())];
    check(&lines("application/json"), End::Closed, 30, &["http.page-for-json warning l6.content-type-mismatch"], &["GET /a > 200"]);
    check(&lines("application/json, */*"), End::Closed, 30, &[], &["GET /a > 200"]);
}

#[test]
fn a_server_that_does_not_answer_the_preface_is_mute_before_any_question() {
    check(&[(C, 1, hello())], End::Cut, 4000, &["h2.unanswered warning l7.service-mute"], &["the preface of HTTP/2 > "]);
    check(
        &[(C, 1, hello())],
        End::HalfClosed(S),
        90,
        &["h2.closed-without-answer fault l5.closed-without-answer"],
        &["the preface of HTTP/2 > "],
    );
    check(&[(C, 1, hello())], End::HalfClosed(C), 900, &[], &["the preface of HTTP/2 > "]);
    check(&[(C, 1, hello()), (S, 9, frame(4, 0, 0, &[]))], End::Cut, 9000, &[], &[]);
}

#[test]
fn a_websocket_within_http2_is_heard_and_its_refusal_named() {
    let ask = [(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/chat"), (":authority", "shop.test")];
    let open = (C, 1, [hello(), headers(0, 1, &ask)].concat());
    let yes = (S, 12, headers(0, 1, &[(":status", "200"), ("sec-websocket-extensions", "permessage-deflate")]));
    // A compressed message (RFC 7692 §7.2.3.1), and a close in two frames of HTTP/2.
    let said = |close: &[u8]| (S, 20, [frame(0, 0, 1, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x88"), frame(0, 0, 1, close)].concat());
    let masked = (C, 15, frame(0, 0, 1, b"\xc1\x81\x01\x02\x03\x04\xf3"));
    let row = |close: &[u8], expect: &[&str]| {
        check(&[open.clone(), yes.clone(), masked.clone(), said(close)], End::Closed, 30, expect, &["CONNECT /chat > 200"]);
    };
    row(b"\x02\x03\xe8", &[]);
    row(b"\x02\x03\xf3", &["ws.close fault l7.service-error"]);
    row(b"\x02\x03\xef", &["ws.close fault l6.serialization-invalid"]);
    let no = (S, 12, headers(1, 1, &[(":status", "403")]));
    check(&[open, no], End::Closed, 30, &["http.status warning l7.websocket-refused"], &["CONNECT /chat > 403"]);
}
