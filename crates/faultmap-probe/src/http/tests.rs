//! Exchanges with servers on loopback: each outcome and each end of a body, and its healthy counterpart.

use super::*;
use crate::tls::handshake;
use crate::tls::testkit::{Authority, ClientAuth, NOW, Step, ask as tls_ask, say, scripted, tls, tls_late};
use bytes::Bytes;
use faultmap_model::observation::{BodyEnd, HttpExchange, HttpOutcome, HttpResponse};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::version::TLS13;
use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;

fn ask(to: SocketAddr) -> HttpAsk<'static> {
    HttpAsk {
        to,
        method: "GET",
        host_header: "server.test",
        path_and_query: "/path?secret=1",
        headers: &[],
        body: None,
        accept_encoding: true,
        wait: Duration::from_millis(300),
        body_limit: 10_000,
        body_wait: Duration::from_millis(300),
        purpose: "default",
        expect_body: None,
        shown_url: "http://server.test/path",
        now_unix: NOW,
    }
}

async fn plain(steps: Vec<Step>) -> HttpExchange {
    let to = scripted(steps);
    let stream = TcpStream::connect(to).await.unwrap();
    exchange(Connection::Plain(stream), &ask(to)).await
}

/// The same script above TLS, with the ALPN the server chooses.
async fn secure(steps: Vec<Step>, alpn: &str) -> HttpExchange {
    let authority = Authority::new("faultmap test", (2000, 2100));
    let to = tls(authority.server(&[&TLS13], &[alpn], ClientAuth::None), steps);
    over_tls(to, &authority, &[alpn]).await
}

async fn over_tls(to: SocketAddr, authority: &Authority, alpn: &[&str]) -> HttpExchange {
    let store = authority.store();
    let stream = TcpStream::connect(to).await.unwrap();
    let session = handshake(stream, &tls_ask(to, &store, alpn, 2000)).await.stream.unwrap();
    exchange(Connection::Tls(session), &HttpAsk { wait: Duration::from_secs(2), ..ask(to) }).await
}

fn response(exchange: HttpExchange) -> HttpResponse {
    match exchange.outcome {
        HttpOutcome::Response(response) => *response,
        other => panic!("{other:?}"),
    }
}

fn timeless(outcome: HttpOutcome) -> HttpOutcome {
    match outcome {
        HttpOutcome::Silent { received_bytes, .. } => HttpOutcome::Silent { waited_ms: 0.0, received_bytes },
        HttpOutcome::Malformed { first_bytes, looks_like, .. } => HttpOutcome::Malformed { why: String::new(), first_bytes, looks_like },
        other => other,
    }
}

fn malformed(first_bytes: &str, looks_like: Option<&str>) -> HttpOutcome {
    HttpOutcome::Malformed { why: String::new(), first_bytes: first_bytes.to_owned(), looks_like: looks_like.map(str::to_owned) }
}

#[tokio::test]
async fn every_way_to_leave_a_request_unanswered_has_its_own_name() {
    use Step::{Fin, Hear, Hold, Reset};
    let cases = vec![
        (vec![Hear, Fin], HttpOutcome::Closed { received_bytes: 0 }),
        (vec![Fin], HttpOutcome::Closed { received_bytes: 0 }),
        (vec![Hear, say("HTTP/1.1 200 OK\r\nServ"), Fin], HttpOutcome::Closed { received_bytes: 21 }),
        (vec![Hear, Reset], HttpOutcome::Reset { received_bytes: 0 }),
        (vec![Hear, say("HTTP/1.1 200"), Step::Pause(50), Reset], HttpOutcome::Reset { received_bytes: 12 }),
        (vec![Hold], HttpOutcome::Silent { waited_ms: 0.0, received_bytes: 0 }),
        (vec![Hear, say("HTTP/1.1 200 OK\r\n"), Hold], HttpOutcome::Silent { waited_ms: 0.0, received_bytes: 17 }),
        (vec![Hear, say("SSH-2.0-OpenSSH_9.2\r\n"), Hold], malformed("SSH-2.0-OpenSSH_9.2\\r\\n", Some("ssh"))),
        (vec![say("220 mail.lab ESMTP\r\n"), Hold], malformed("220 mail.lab ESMTP\\r\\n", Some("smtp"))),
        (vec![Hear, say("-ERR wrong number\r\n"), Fin], malformed("-ERR wrong number\\r\\n", Some("redis"))),
        (vec![Hear, say([21, 3, 1, 0, 2, 2, 70]), Fin], malformed("\\u{15}\\u{3}\\u{1}\\u{0}\\u{2}\\u{2}F", Some("tls"))),
        (vec![Hear, say("\x4a\0\0\0\x0a8.0.36\0"), Hold], malformed("J\\u{0}\\u{0}\\u{0}\\n8.0.36\\u{0}", Some("mysql"))),
        (vec![Hear, say("hello"), Hold], malformed("hello", None)),
        (vec![Hear, say("HTTP/1.1 abc\r\n\r\n"), Hold], malformed("HTTP/1.1 abc\\r\\n\\r\\n", Some("http"))),
        (
            vec![Hear, say("HTTP/1.1 200 OK\r\nbad header\r\n\r\n"), Hold],
            malformed("HTTP/1.1 200 OK\\r\\nbad header\\r\\n\\r\\n", Some("http")),
        ),
    ];
    for (steps, expected) in cases {
        let seen = plain(steps.clone()).await;
        assert_eq!(timeless(seen.outcome), expected, "{steps:?}");
        assert_eq!((seen.version.as_str(), seen.url.as_str()), ("HTTP/1.1", "http://server.test/path"));
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_question_is_an_answer() {
    let steps = vec![say("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), Step::Fin];
    let to = scripted(steps);
    let stream = TcpStream::connect(to).await.unwrap();
    stream.readable().await.unwrap();
    assert_eq!(response(exchange(Connection::Plain(stream), &ask(to)).await).status, 503);
}

#[tokio::test]
async fn above_tls_the_same_ends_have_the_same_names() {
    use Step::{Fin, Hear, Reset};
    let cases = vec![
        (vec![Hear, say("HTTP/1.1 200 OK\r\nServ"), Fin], HttpOutcome::Closed { received_bytes: 21 }),
        (vec![Hear, Step::Pause(20), Reset], HttpOutcome::Reset { received_bytes: 0 }),
        (vec![Hear, say("SSH-2.0-x\r\n"), Fin], malformed("SSH-2.0-x\\r\\n", Some("ssh"))),
    ];
    for (steps, expected) in cases {
        assert_eq!(timeless(secure(steps.clone(), "http/1.1").await.outcome), expected, "{steps:?}");
    }
    let healthy = secure(vec![Hear, say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Step::Hold], "http/1.1").await;
    assert_eq!(response(healthy).body.end, BodyEnd::Complete);
}

#[tokio::test]
async fn a_client_certificate_refused_after_the_handshake_is_an_alert_and_no_reset() {
    let authority = Authority::new("faultmap test", (2000, 2100));
    let to = tls_late(authority.server(&[&TLS13], &[], ClientAuth::Required), 700);
    let seen = over_tls(to, &authority, &[]).await;
    assert_eq!(seen.outcome, HttpOutcome::Alert { code: 116, name: "certificate_required".to_owned() });
    let to = tls_late(authority.server(&[&TLS13], &["h2"], ClientAuth::Required), 700);
    let seen = over_tls(to, &authority, &["h2"]).await;
    assert_eq!(
        (seen.outcome, seen.version.as_str()),
        (HttpOutcome::Alert { code: 116, name: "certificate_required".to_owned() }, "HTTP/2")
    );
}

#[tokio::test]
async fn a_body_ends_in_one_of_seven_ways() {
    use Step::{Fin, Hear, Hold, Pause, Reset};
    let head = |rest: &str| say(format!("HTTP/1.1 200 OK\r\n{rest}"));
    let big = "x".repeat(20_000);
    let framing = BodyEnd::BadFraming { why: String::new() };
    let cases = vec![
        (vec![Hear, head("Content-Length: 5\r\n\r\nhello"), Hold], BodyEnd::Complete, 5),
        (vec![Hear, head("Content-Length: 0\r\n\r\n"), Hold], BodyEnd::Complete, 0),
        (vec![Hear, head("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), Hold], BodyEnd::Complete, 5),
        (vec![Hear, head("\r\nhello"), Fin], BodyEnd::Complete, 5),
        (vec![Hear, head("Content-Length: 9\r\n\r\nhello"), Fin], BodyEnd::Truncated, 5),
        (vec![Hear, head("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), Fin], BodyEnd::Truncated, 5),
        (vec![Hear, head("Transfer-Encoding: chunked\r\n\r\n9\r\nhello"), Fin], BodyEnd::Truncated, 5),
        (vec![Hear, head("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"), Hold], framing.clone(), 5),
        (vec![Hear, head("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"), Fin], framing.clone(), 5),
        (vec![Hear, head("Transfer-Encoding: chunked\r\n\r\nhello"), Reset], framing.clone(), 0),
        (vec![Hear, head("Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX"), Hold], framing, 5),
        (vec![Hear, head("Content-Length: 9\r\n\r\nhello"), Pause(50), Reset], BodyEnd::Reset, 5),
        (vec![Hear, head("\r\nhello"), Pause(50), Reset], BodyEnd::Reset, 5),
        (vec![Hear, head("Content-Length: 9\r\n\r\nhello"), Hold], BodyEnd::Stalled, 5),
        (vec![Hear, head(&format!("Content-Length: 20000\r\n\r\n{big}")), Hold], BodyEnd::Limit, 10_000),
    ];
    for (steps, expected, bytes) in cases {
        let body = response(plain(steps.clone()).await).body;
        let end = if let BodyEnd::BadFraming { .. } = body.end { BodyEnd::BadFraming { why: String::new() } } else { body.end };
        assert_eq!((end, body.wire_bytes), (expected, bytes), "{:?}", steps.get(1));
    }
}

#[tokio::test]
async fn a_stream_that_still_flows_when_time_is_up_was_cut_by_us() {
    let tick = [say("data: 1\n\n"), Step::Pause(30)];
    let mut steps = vec![Step::Hear, say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")];
    steps.extend((0..30).flat_map(|_| tick.clone()));
    assert_eq!(response(plain(steps).await).body.end, BodyEnd::Limit);
}

#[tokio::test]
async fn a_close_without_goodbye_ends_an_unframed_body_and_cuts_a_framed_one() {
    let unframed = secure(vec![Step::Hear, say("HTTP/1.1 200 OK\r\n\r\nhello"), Step::Fin], "http/1.1").await;
    assert_eq!(response(unframed).body.end, BodyEnd::Complete);
    let framed = secure(vec![Step::Hear, say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"), Step::Fin], "http/1.1").await;
    assert_eq!(response(framed).body.end, BodyEnd::Truncated);
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn codings_and_headers_are_written_down() {
    let page = gzip(br#"{"ok": true}"#);
    let head = format!(
        "HTTP/1.1 203 Fine\r\nDate: Wed, 01 Jul 2026 00:00:10 GMT\r\nServer: test\r\nSet-Cookie: sid=secret\r\n\
         Content-Type: Application/JSON; charset=UTF-8\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        page.len()
    );
    let to = scripted(vec![Step::Hear, say([head.as_bytes(), &page].concat()), Step::Hold]);
    let stream = TcpStream::connect(to).await.unwrap();
    let seen = exchange(Connection::Plain(stream), &HttpAsk { expect_body: Some("true"), ..ask(to) }).await;
    assert!(seen.tcp.is_some());
    let got = response(seen);
    assert_eq!((got.status, got.date_unix, got.now_unix), (203, Some(NOW + 10), NOW));
    assert_eq!(got.header("set-cookie"), Some("sid"));
    assert_eq!(got.body.decoded_bytes, 12);
    assert_eq!((got.body.declared_encoding.as_deref(), got.body.declared_type.as_deref()), (Some("gzip"), Some("application/json")));
    assert_eq!((got.body.declared_charset.as_deref(), got.body.decode_error, got.body.expected_found), (Some("utf-8"), None, Some(true)));
    assert_eq!((got.body.sniffed.as_str(), got.body.excerpt.as_str()), ("json", "{\"ok\": true}"));
    let lie = plain(vec![Step::Hear, say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain"), Step::Hold]).await;
    assert!(response(lie).body.decode_error.is_some_and(|words| words.starts_with("gzip")));
}

#[tokio::test]
async fn a_message_without_body_is_never_read_as_a_broken_one() {
    for (method, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n"),
        ("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        let to = scripted(vec![Step::Hear, say(head), Step::Hold]);
        let stream = TcpStream::connect(to).await.unwrap();
        let body = response(exchange(Connection::Plain(stream), &HttpAsk { method, ..ask(to) }).await).body;
        assert_eq!(
            (body.end, body.sniffed.as_str(), body.decode_error, body.syntax_error),
            (BodyEnd::Complete, "empty", None, None),
            "{head}"
        );
    }
}

/// What the server saw of the request, as its own answer.
async fn echo(
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<http_body_util::combinators::UnsyncBoxBody<Bytes, String>>, Infallible> {
    let get = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let told = format!("{} {} [{}] [{}] [{}]", request.method(), request.uri(), get("user-agent"), get("accept-encoding"), get("x-mine"));
    let cut = request.uri().path() == "/cut";
    let sent = request.into_body().collect().await.unwrap().to_bytes();
    let told = format!("{told} {}", String::from_utf8_lossy(&sent));
    let frames: Vec<Result<Frame<Bytes>, String>> =
        if cut { vec![Ok(Frame::data(told.into())), Err("boom".to_owned())] } else { vec![Ok(Frame::data(told.into()))] };
    // A reset at once would overtake the data.
    let paced = futures_util::stream::iter(frames).then(|frame| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        frame
    });
    Ok(hyper::Response::new(BodyExt::boxed_unsync(StreamBody::new(paced))))
}

async fn http2_server(authority: &Authority) -> SocketAddr {
    let config = authority.server(&[&TLS13], &["h2"], ClientAuth::None);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        let _ =
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service_fn(echo)).await;
    });
    to
}

async fn http2(path: &str, headers: &[(String, String)]) -> HttpExchange {
    let authority = Authority::new("faultmap test", (2000, 2100));
    let to = http2_server(&authority).await;
    let store = authority.store();
    let stream = TcpStream::connect(to).await.unwrap();
    let session = handshake(stream, &tls_ask(to, &store, &["h2", "http/1.1"], 2000)).await.stream.unwrap();
    let ask = HttpAsk { method: "POST", body: Some(b"payload"), path_and_query: path, headers, wait: Duration::from_secs(2), ..ask(to) };
    exchange(Connection::Tls(session), &ask).await
}

#[tokio::test]
async fn http2_is_spoken_when_alpn_chose_it() {
    let seen = http2("/x?y", &[("X-Mine".to_owned(), "1".to_owned()), ("user-agent".to_owned(), "me".to_owned())]).await;
    assert_eq!(seen.version, "HTTP/2");
    let got = response(seen);
    assert_eq!((got.status, got.body.end), (200, BodyEnd::Complete));
    assert_eq!(got.body.excerpt, "POST https://server.test/x?y [me] [gzip, deflate, br, zstd] [1] payload");
}

#[tokio::test]
async fn a_stream_reset_by_the_server_is_a_reset_of_the_body() {
    let body = response(http2("/cut", &[]).await).body;
    assert_eq!(body.end, BodyEnd::Reset);
}

#[tokio::test]
async fn a_server_that_chose_h2_and_speaks_http1_is_malformed() {
    let steps = vec![Step::Hear, say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), Step::Hold];
    let seen = secure(steps, "h2").await;
    assert_eq!(timeless(seen.outcome), malformed("HTTP/1.1 400 Bad Request\\r\\nContent-Length: 0\\r\\n\\r\\n", Some("http")));
    let mute = secure(vec![Step::Hear, Step::Fin], "h2").await;
    assert!(matches!(mute.outcome, HttpOutcome::Closed { .. }), "{:?}", mute.outcome);
}

#[tokio::test]
async fn a_request_of_bad_parts_is_the_users_error() {
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    assert!(validate("GET", &header("X-A", "b")).is_ok());
    assert!(validate("GE T", &[]).is_err());
    for bad in [header("X A", "b"), header("X-A", "b\r\nX-B: c"), header("", "b")] {
        assert!(validate("GET", &bad).is_err_and(|error| !error.to_string().contains("X-B")));
    }
}
