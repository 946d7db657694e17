//! HTTP/1 conversations written by hand.

use super::Http;
use crate::app::testkit::{C, Line, S, at, below, ends, exchanges, rules, told, told_cut};
use crate::app::{Below, Chunk, Conversation, End, Sink};
use crate::flow::Side;
use crate::packet::PacketNo;

const GET: &[u8] = b"GET /a?token=secret HTTP/1.1\r\nHost: shop.test:8080\r\nCookie: secret\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[track_caller]
fn check(lines: &[Line<'_>], how: End, end_ms: u64, expect: &[&str]) {
    assert_eq!(rules(&told(80, lines, how, end_ms)), expect);
}

#[test]
fn a_healthy_exchange_gives_no_finding_and_keeps_no_secret() {
    let sink = told(80, &[(C, 1, GET), (S, 60, OK)], End::Closed, 100);
    assert_eq!(rules(&sink), [""; 0]);
    assert_eq!(exchanges(&sink), ["GET /a?… > 200"]);
    assert_eq!(sink.server_name.as_deref(), Some("shop.test"));
    let exchange = &sink.exchanges[0];
    assert_eq!((exchange.wait_ms, exchange.think_ms, exchange.ok), (Some(59.0), Some(49.0), true));
    assert!(!format!("{sink:?}").contains("secret"));
}

#[test]
fn pipelined_requests_are_paired_in_order_and_wait_for_one_another() {
    let lines = [
        (C, 1, b"GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n" as &[u8]),
        (
            S,
            900,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        ),
        (S, 1000, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    ];
    let sink = told(80, &lines, End::Closed, 1000);
    assert_eq!(exchanges(&sink), ["GET /1 > 200", "HEAD /2 > 200", "GET /3 > 404"]);
    assert_eq!(rules(&sink), ["http.status warning l7.http-not-found"]);
    assert_eq!(sink.exchanges[2].wait_ms, Some(100.0));
}

#[test]
fn a_server_that_thinks_long_is_told_from_a_client_that_asks_late() {
    check(&[(C, 1, GET), (S, 2012, OK)], End::Closed, 2100, &["http.server-think warning l7.service-slow"]);
    check(&[(C, 1345, GET), (S, 1400, OK)], End::Closed, 2100, &["http.client-slow warning -"]);
    check(&[(C, 30_000, GET), (S, 30_020, OK)], End::Closed, 31_000, &["http.client-slow note -"]);
}

#[test]
fn an_upload_counts_to_its_last_byte() {
    let lines = [
        (C, 1, b"POST /up HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n" as &[u8]),
        (S, 20, b"HTTP/1.1 100 Continue\r\n\r\n"),
        (C, 5000, b"data"),
        (S, 5030, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
    ];
    let sink = told(80, &lines, End::Closed, 5100);
    assert_eq!(rules(&sink), [""; 0]);
    assert_eq!((exchanges(&sink), sink.exchanges[0].wait_ms), (vec!["POST /up > 201".to_owned()], Some(30.0)));
}

#[test]
fn the_weight_of_a_status_is_that_of_its_meaning() {
    let row = |request: &str, status: &str, expect: &[&str]| {
        let (request, answer) = (format!("{request}\r\n\r\n"), format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        check(&[(C, 1, request.as_bytes()), (S, 20, answer.as_bytes())], End::Closed, 30, expect);
    };
    row("GET / HTTP/1.1", "503 Service Unavailable", &["http.status fault l7.http-unavailable"]);
    row("GET / HTTP/1.1", "502 Bad Gateway", &["http.status fault l7.http-bad-gateway"]);
    row("GET /favicon.ico HTTP/1.1", "404 Not Found", &["http.status note l7.http-not-found"]);
    row("GET / HTTP/1.1", "401 Unauthorized", &["http.status note l7.http-unauthorized"]);
    row("GET / HTTP/1.1\r\nAuthorization: Basic eDp5", "401 Unauthorized", &["http.status warning l7.http-unauthorized"]);
    row("CONNECT a.test:443 HTTP/1.1", "403 Forbidden", &["http.status fault l5.proxy-refused"]);
    row("GET /chat HTTP/1.1\r\nUpgrade: websocket", "403 Forbidden", &["http.status warning l7.websocket-refused"]);
    row("GET / HTTP/1.1", "304 Not Modified", &[]);
}

#[test]
fn a_page_is_no_answer_to_who_accepts_json_only() {
    let row = |accept: &str, status: &str, kind: &str, expect: &[&str]| {
        let request = format!("GET /api HTTP/1.1\r\nAccept: {accept}\r\n\r\n");
        let answer = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: 0\r\n\r\n");
        check(&[(C, 1, request.as_bytes()), (S, 20, answer.as_bytes())], End::Closed, 30, expect);
    };
    row("application/json", "200 OK", "text/html; charset=utf-8", &["http.page-for-json warning l6.content-type-mismatch"]);
    row("application/json", "200 OK", "application/json", &[]);
    row(
        "application/json, application/problem+json;q=0.9",
        "200 OK",
        "TEXT/HTML",
        &["http.page-for-json warning l6.content-type-mismatch"],
    );
    row("application/json, */*", "200 OK", "text/html", &[]);
    row("*/*", "200 OK", "text/html", &[]);
    row("application/json", "503 No", "text/html", &["http.status fault l7.http-unavailable"]);
}

#[test]
fn markup_that_is_declared_as_json_is_told() {
    let row = |body: &str, expect: &[&str]| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        check(&[(C, 1, GET), (S, 20, answer.as_bytes())], End::Closed, 30, expect);
    };
    row("<html></html>", &["http.page-for-json fault l6.content-type-mismatch"]);
    row("{\"a\":1}", &[]);
    row("\u{1f}", &[]);
}

#[test]
fn a_body_that_breaks_off_names_who_broke_it() {
    let short: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello";
    let lines = [(C, 1, GET), (S, 20, short)];
    check(&lines, End::Reset(Side::Server), 40, &["http.truncated-body fault l4.reset-mid-stream"]);
    check(&lines, End::Closed, 40, &["http.truncated-body fault l7.http-malformed"]);
    check(&lines, End::Reset(Side::Client), 40, &["http.truncated-body note -"]);
    check(&lines, End::Cut, 40, &[]);
    let endless: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nhello";
    check(&[(C, 1, GET), (S, 20, endless)], End::Closed, 40, &[]);
}

#[test]
fn a_question_without_an_answer_says_how_it_ended() {
    let lines = [(C, 1, GET)];
    check(&lines, End::Closed, 40, &["http.closed-without-answer fault l5.closed-without-answer"]);
    check(&lines, End::Reset(Side::Server), 40, &["http.closed-without-answer fault l5.closed-without-answer"]);
    check(&lines, End::Cut, 400, &[]);
    check(&lines, End::Cut, 30_000, &["http.unanswered fault l7.service-mute"]);
    check(&lines, End::HalfClosed(Side::Client), 10_000, &["http.unanswered fault l7.service-mute"]);
    check(&lines, End::Reset(Side::Client), 100, &[]);
    check(
        &[(C, 1, GET), (S, 9, OK), (C, 60_000, GET)],
        End::Reset(Side::Server),
        60_010,
        &["http.closed-without-answer warning l5.keepalive-race"],
    );
}

#[test]
fn a_server_that_wanted_tls_says_so_in_its_400() {
    let answer: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nServer: x\r\nConnection: close\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>";
    check(&[(C, 1, GET), (S, 20, answer)], End::Closed, 30, &["tls.plaintext-request fault l6.tls-on-plaintext-port"]);
    let go: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    check(&[(C, 1, GET), (S, 20, go)], End::Closed, 30, &["tls.plaintext-request fault l6.tls-on-plaintext-port"]);
    check(&[(C, 1, GET), (S, 20, b"HTTP/1.0 400 Bad Request\r\n\r\nno")], End::Closed, 30, &["http.status warning l7.http-bad-request"]);
}

#[test]
fn another_protocol_in_place_of_an_answer_is_named() {
    check(&[(C, 1, GET), (S, 20, b"SSH-2.0-OpenSSH_9.2\r\n")], End::Closed, 30, &["proto.mismatch fault l7.protocol-mismatch"]);
    check(&[(C, 1, GET), (S, 20, &[0x15, 3, 3, 0, 2, 2, 70])], End::Closed, 30, &["proto.mismatch fault l6.tls-on-plaintext-port"]);
    check(&[(C, 1, GET), (S, 20, b"\x01\x02 no words of HTTP")], End::Closed, 30, &["http.malformed fault l7.http-malformed"]);
    check(&[(C, 1, GET), (S, 20, b"ICY 200 OK\r\n\r\nsong")], End::Closed, 30, &[]);
    let endless = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X-Filler: abcdefgh\r\n".repeat(4000)].concat();
    check(&[(C, 1, GET), (S, 20, &endless)], End::Reset(Side::Client), 30, &["http.malformed fault l7.http-malformed"]);
    check(&[(C, 1, GET), (S, 20, b"HTTP/1.1 abc\r\n\r\n")], End::Closed, 30, &["http.malformed fault l7.http-malformed"]);
}

#[test]
fn a_body_that_is_not_as_declared_does_not_decode() {
    let lie: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello";
    check(&[(C, 1, GET), (S, 20, lie)], End::Closed, 30, &["http.encoding fault l6.content-encoding-mismatch"]);
    let hidden: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n\x1f\x8b\x08\0\0";
    check(&[(C, 1, GET), (S, 20, hidden)], End::Closed, 30, &["http.encoding fault l6.content-encoding-mismatch"]);
}

#[test]
fn a_circle_of_redirects_is_told_once() {
    let away: &[u8] = b"HTTP/1.1 302 Found\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n";
    let lines: Vec<_> = (0..6).flat_map(|n| [(C, n * 20 + 1, GET), (S, n * 20 + 9, away)]).collect();
    let sink = told(80, &lines, End::Closed, 300);
    let told: Vec<String> = rules(&sink).into_iter().filter(|row| !row.starts_with("http.redirect note")).collect();
    assert_eq!(told, ["http.redirect-loop fault l7.http-redirect-loop"]);
}

#[test]
fn what_the_server_said_and_nobody_could_read_may_be_the_answer() {
    use crate::app::tell::{Mark, Open};
    use crate::app::testkit::{at, below, ends};
    use crate::packet::PacketNo;
    let asked = Open { question: "GET /", asked: Mark { at: at(0), packet: PacketNo(1) }, done: None, reused: false };
    let check = |server_spoke, one_sided, expect: usize| {
        let below = crate::app::Below { server_spoke, one_sided, ..below(80) };
        let mut sink = crate::app::Sink::default();
        super::RULES.unanswered(&ends(80), &asked, End::HalfClosed(C), at(9000), &below, &mut sink);
        assert_eq!(sink.findings.len(), expect);
    };
    // Bytes behind a hole, or of an answer whose beginning was missed; a direction that was not captured; silence.
    check(Some(at(10)), false, 0);
    check(None, true, 0);
    check(None, false, 1);
}

/// What is told where 30 bytes of each segment were captured, as by `tcpdump -s 96`.
#[track_caller]
fn check_cut(lines: &[Line<'_>], how: End, expect: &[&str], said: &[&str]) {
    let sink = told_cut(80, lines, how, 9000, 30);
    let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
    assert_eq!((rules(&sink), exchanges(&sink)), (rows(expect), rows(said)), "{:?}", sink.findings);
    assert!(!format!("{sink:?}").contains("secret"));
}

#[test]
fn the_first_line_tells_a_status_though_the_rest_was_cut_off() {
    let ask: &[u8] = b"GET /pay HTTP/1.1\r\nHost: shop.test\r\nCookie: secret\r\n\r\n";
    let answer = |status: &str| format!("HTTP/1.1 {status}\r\nServer: a\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000));
    let gives = |status: &str, expect: &[&str], said: &str| {
        check_cut(&[(C, 1, ask), (S, 20, answer(status).as_bytes())], End::Closed, expect, &[said])
    };
    gives("200 OK", &[], "GET /pay > 200");
    gives("503 Service Unavailable", &["http.status fault l7.http-unavailable"], "GET /pay > 503");
    gives("404 Not Found", &["http.status warning l7.http-not-found"], "GET /pay > 404");
    // It may have wanted TLS; the client may have brought a login.
    gives("400 Bad Request", &[], "GET /pay > 400");
    gives("401 Unauthorized", &["http.status note l7.http-unauthorized"], "GET /pay > 401");
    let sink = told_cut(80, &[(C, 1, ask), (S, 20, answer("500 Oh").as_bytes())], End::Closed, 30, 30);
    assert!(sink.findings[0].text.contains("as far as its first bytes tell"), "{}", sink.findings[0].text);
}

#[test]
fn behind_a_cut_the_sides_are_followed_by_their_turns() {
    let ask: &[u8] = b"GET /a HTTP/1.1\r\nHost: a.long.name.example\r\n\r\n";
    let page: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nmuch more than that";
    let looks_like_one: &[u8] = b"HTTP/1.1 500 is what a page about HTTP says, in its middle";
    let broken: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 50\r\n\r\nmuch more than that";
    let lines: [Line<'_>; 6] = [(C, 1, ask), (S, 20, page), (S, 21, looks_like_one), (C, 40, ask), (S, 1900, broken), (C, 2000, ask)];
    let rules =
        ["http.server-think warning l7.service-slow", "http.status fault l7.http-bad-gateway", "http.unanswered warning l7.service-mute"];
    check_cut(&lines, End::Cut, &rules, &["GET /a > 200", "GET /a > 502", "GET /a > "]);
}

#[test]
fn a_target_that_was_cut_shows_no_user_and_no_more_than_it_says() {
    let to_proxy: &[u8] = b"GET http://joe:secret@shop.example.test/page HTTP/1.1\r\nHost: shop.example.test\r\n\r\n";
    let forbidden: &[u8] = b"HTTP/1.1 403 Forbidden\r\nServer: a\r\nContent-Length: 5\r\n\r\nnever";
    check_cut(&[(C, 1, to_proxy), (S, 20, forbidden)], End::Closed, &["http.status note l5.proxy-refused"], &["GET http://… > 403"]);
    let long: &[u8] = b"GET /a/very/long/path/of/a/page HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    let missing: &[u8] = b"HTTP/1.1 404 Not Found\r\nServer: a\r\nContent-Length: 5\r\n\r\nnever";
    let said = ["GET /a/very/long/path/of/a/pag… > 404"];
    check_cut(&[(C, 1, long), (S, 20, missing)], End::Closed, &["http.status note l7.http-not-found"], &said);
}

#[test]
fn a_tunnel_is_followed_though_the_proxys_answer_was_cut() {
    let lines: [Line<'_>; 4] = [
        (C, 1, b"CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\n\r\n"),
        (S, 20, b"HTTP/1.1 200 Connection established\r\n\r\n"),
        (C, 21, &[22, 3, 1, 0, 5, 1, 0, 0, 1, 3]),
        (S, 50, &[21, 3, 3, 0, 2, 2, 112]),
    ];
    check_cut(&lines, End::Closed, &["tls.alert fault l6.sni-rejected"], &["CONNECT shop.test:443 > 200"]);
}

#[test]
fn a_body_that_is_declared_as_json_and_does_not_parse_is_told_once_it_is_complete() {
    let gives = |head: &str, body: &str, expect: &[&str]| {
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        check(&[(C, 1, GET), (S, 60, answer.as_bytes())], End::Closed, 100, expect);
    };
    let json = "200 OK\r\nContent-Type: application/json; charset=utf-8";
    gives(json, "{\"items\": [1, 2]}", &[]);
    gives(json, "{\"items\": [1, 2, NaN, }", &["http.json fault l6.serialization-invalid"]);
    gives(json, "{\"items\": [1, 2", &["http.json fault l6.serialization-invalid"]);
    gives("200 OK\r\nContent-Type: application/json\r\nContent-Encoding: br", "{\"items\": [1, }", &[]);
    gives("206 Partial Content\r\nContent-Type: application/json", "1, }, 2, ]", &[]);
    let chunked: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n4\r\n:1,}\r\n0\r\n\r\n";
    check(&[(C, 1, GET), (S, 60, chunked)], End::Closed, 100, &["http.json fault l6.serialization-invalid"]);
}

#[test]
fn an_answer_to_an_unseen_question_may_be_to_any() {
    let alone = |status: &str, expect: &[&str]| {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        check(&[(S, 60, answer.as_bytes())], End::Closed, 100, expect);
    };
    alone("400 Bad Request", &[]);
    let refused: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let nonsense: &[u8] = b"\x01\x02 no question of HTTP\r\n\r\n";
    check(&[(C, 1, nonsense), (S, 60, refused)], End::Closed, 100, &["http.status warning l7.http-bad-request"]);
    alone("403 Forbidden\r\nX-Squid-Error: ERR_ACCESS_DENIED 0", &["http.status fault l5.proxy-refused"]);
    alone("503 Service Unavailable", &["http.status fault l7.http-unavailable"]);
}

#[test]
fn a_connection_that_the_server_ends_with_its_first_answer_is_noted_where_a_new_one_is_dear() {
    let gives = |ask: &str, answer: &str, rtt_ms: f64| {
        let (ask, answer) = (format!("GET /a HTTP/1.{ask}\r\n\r\n"), format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"));
        let (mut sink, below) = (Sink::default(), Below { handshake_rtt_ms: Some(rtt_ms), ..below(80) });
        let mut http = Http::new(ends(80));
        for (from, bytes) in [(C, &ask), (S, &answer)] {
            http.chunk(Chunk { from, bytes: bytes.as_bytes(), at: at(1), packet: PacketNo(4) }, &below, &mut sink);
        }
        rules(&sink)
    };
    let closing = "200 OK\r\nConnection: Close";
    assert_eq!(gives("1\r\nHost: a", closing, 80.0), ["http.closes note -"]);
    assert_eq!(gives("1\r\nHost: a", closing, 20.0), [""; 0], "near");
    assert_eq!(gives("1\r\nHost: a", "200 OK\r\nConnection: keep-alive", 80.0), [""; 0]);
    // The client wanted it so; a refusal may be the last word.
    for ask in ["1\r\nConnection: te, close", "0\r\nHost: a"] {
        assert_eq!(gives(ask, closing, 80.0), [""; 0], "{ask}");
    }
    assert_eq!(gives("1\r\nHost: a", "503 No\r\nConnection: close", 80.0), ["http.status fault l7.http-unavailable"]);
}

#[test]
fn a_redirect_that_names_no_place_and_has_no_page_is_told() {
    let gives = |ask: &[u8], answer: &[u8], expect: &[&str]| check(&[(C, 1, ask), (S, 60, answer)], End::Closed, 100, expect);
    let expect = ["http.redirect-nowhere warning l7.http-malformed"];
    gives(GET, b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", &expect);
    gives(GET, b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nhi", &[]);
    gives(GET, b"HTTP/1.1 302 Found\r\nLocation: http://b.test/\r\nContent-Length: 0\r\n\r\n", &[]);
    gives(b"HEAD /a HTTP/1.1\r\nHost: shop.test\r\n\r\n", b"HTTP/1.1 302 Found\r\nContent-Length: 9\r\n\r\n", &[]);
    // Of an upload that goes on, and of a page that did not change.
    for status in ["308 Resume Incomplete", "304 Not Modified"] {
        gives(GET, format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes(), &[]);
    }
}

#[test]
fn a_proxy_that_speaks_socks_is_known_by_its_two_bytes() {
    let connect: &[u8] = b"CONNECT shop.test:443 HTTP/1.1\r\nHost: shop.test:443\r\n\r\n";
    let row = |ask: &[u8], answer: &[u8], expect: &[&str]| check(&[(C, 1, ask), (S, 60, answer)], End::Closed, 100, expect);
    row(connect, &[5, 0xff], &["proto.mismatch fault l5.proxy-refused"]);
    row(connect, &[0, 91, 0, 0, 0, 0, 0, 0], &["proto.mismatch fault l5.proxy-refused"]);
    row(GET, &[5, 0xff], &["proto.mismatch fault l7.protocol-mismatch"]);
    check(&[(C, 1, connect), (S, 60, &[5, 0xff])], End::Cut, 100, &[]);
}
