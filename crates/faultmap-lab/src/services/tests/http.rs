//! HTTP answers in the clear, as bytes and as hyper's own client sees them; and the balancer.

use std::io::{Read, Write};

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{End, assert_bitten, connect, exchange, read_all, serve};

const GET: &str = "GET / HTTP/1.1\r\nHost: server.lab\r\nConnection: close\r\n\r\n";

/// One request; the answer must contain every string of `want`, none of `lack`, and end as told.
#[track_caller]
fn check_request(spec: &str, request: &str, want: &[&str], lack: &[&str], end: End, bite: &str) {
    let service = serve(&format!("kind = \"http\"\n{spec}"));
    for addr in service.addrs() {
        let (bytes, ended) = exchange(*addr, request.as_bytes());
        let text: String = bytes.iter().map(|b| char::from(*b)).collect();
        for want in want {
            assert!(text.contains(want), "{spec}: no {want:?} in {text:?}");
        }
        for lack in lack {
            assert!(!text.contains(lack), "{spec}: {lack:?} in {text:?}");
        }
        assert_eq!(ended, end, "{spec}: {text:?}");
    }
    if !bite.is_empty() {
        assert_bitten(&service, bite);
    }
}

#[track_caller]
fn check(spec: &str, want: &[&str], end: End, bite: &str) {
    check_request(spec, GET, want, &[], end, bite);
}

#[test]
fn a_sound_server_answers_200_with_length_date_and_server() {
    let want = &["HTTP/1.1 200 OK\r\n", "content-length: 13\r\n", "server: faultmap-lab\r\n", "date: ", "\r\n\r\nfaultmap lab\n"];
    check("", want, End::Fin, "");
}

#[test]
fn any_status_comes_with_the_headers_that_explain_it() {
    let cases = [
        (429, "retry-after = \"7\"", "retry-after: 7\r\n"),
        (401, "www-authenticate = \"Basic realm=lab\"", "www-authenticate: Basic realm=lab\r\n"),
        (403, "x-denied-by = \"waf\"", "x-denied-by: waf\r\n"),
        (503, "via = \"1.1 cache\"", "via: 1.1 cache\r\n"),
        (500, "server-timing = \"db;dur=53\"", "server-timing: db;dur=53\r\n"),
    ];
    for (status, header, want) in cases {
        let spec = format!("respond = {{ status = {status}, headers = {{ {header} }} }}");
        check(&spec, &[&format!("HTTP/1.1 {status} "), want], End::Fin, &format!("status-{status}"));
    }
}

#[test]
fn routes_choose_the_longest_fit() {
    let spec = "[routes]\n\"/api/*\" = { status = 404 }\n\"/api/ok\" = { status = 200 }\n\"/*\" = { status = 410 }";
    for (path, status) in [("/api/x", 404), ("/api/ok", 200), ("/other", 410)] {
        check_request(spec, &GET.replace("GET / ", &format!("GET {path} ")), &[&format!("HTTP/1.1 {status} ")], &[], End::Fin, "");
    }
}

#[test]
fn redirects_can_go_round_with_every_hop_different() {
    let spec = "respond = { redirect = { to = \"/?hop={n}\" } }";
    check(spec, &["HTTP/1.1 302 Found", "location: /?hop="], End::Fin, "redirect");
}

#[test]
fn bodies_that_lie_about_themselves() {
    let gzip = "\u{1f}\u{8b}";
    let cases: &[(&str, &[&str], &str)] = &[
        ("{ encoding = \"gzip\" }", &["content-encoding: gzip\r\n", gzip], ""),
        ("{ encoding = \"gzip-declared-only\" }", &["content-encoding: gzip\r\n", "faultmap lab\n"], "gzip-declared-only"),
        ("{ encoding = \"gzip-undeclared\" }", &["text/plain", gzip], "gzip-undeclared"),
        ("{ encoding = \"gzip-corrupt\" }", &["content-encoding: gzip\r\n", gzip], "gzip-corrupt"),
        ("{ body = { kind = \"latin1\", text = \"caf\u{e9}\" } }", &["charset=utf-8", "\r\n\r\ncaf\u{e9}"], "latin1"),
        ("{ body = { kind = \"json\", text = '{\"a\":' } }", &["application/json", "\r\n\r\n{\"a\":"], "invalid-json"),
        (
            "{ content-type = \"application/json\", body = { kind = \"html\", text = \"<html>\" } }",
            &["content-type: application/json\r\n", "<html>"],
            "content-type",
        ),
    ];
    for (respond, want, bite) in cases {
        check(&format!("respond = {respond}"), want, End::Fin, bite);
    }
}

#[test]
fn faults_below_http_break_the_connection_each_in_its_own_way() {
    let cases: &[(&str, &[&str], End, &str)] = &[
        ("{ kind = \"mute\" }", &[], End::Silent, "mute"),
        ("{ kind = \"close\" }", &[], End::Fin, "close"),
        ("{ kind = \"reset\" }", &[], End::Reset, "reset"),
        ("{ kind = \"reset-body\", after = 4 }", &["content-length: 13\r\n", "\r\n\r\nfaul"], End::Reset, "reset-body"),
        ("{ kind = \"stop-body\", after = 4 }", &["content-length: 13\r\n", "\r\n\r\nfaul"], End::Silent, "stop-body"),
        ("{ kind = \"truncate\", missing = 100 }", &["content-length: 113\r\n", "lab\n"], End::Fin, "truncate"),
        ("{ kind = \"bad-chunk\" }", &["transfer-encoding: chunked\r\n", "xyz"], End::Fin, "bad-chunk"),
        ("{ kind = \"garbage\" }", &["this is not HTTP"], End::Fin, "garbage"),
    ];
    for (fault, want, end, bite) in cases {
        let lack: &[&str] = if want.is_empty() { &["HTTP"] } else { &[] };
        check_request(&format!("respond = {{ fault = {fault} }}"), GET, want, lack, *end, bite);
    }
}

#[test]
fn a_delay_or_a_pause_changes_nothing_but_time() {
    check("respond = { delay-ms = 100 }", &["200 OK", "faultmap lab"], End::Fin, "delay");
    check("respond = { pause = { after = 5, ms = 100 } }", &["200 OK", "faultmap lab"], End::Fin, "pause");
}

#[test]
fn headers_beyond_the_limit_are_431() {
    let long = GET.replace("Host", &format!("X-Long: {}\r\nHost", "x".repeat(300)));
    check_request("max-header-bytes = 200", &long, &["HTTP/1.1 431 "], &[], End::Fin, "status-431");
    check_request("max-header-bytes = 200", GET, &["HTTP/1.1 200 "], &[], End::Fin, "");
}

#[test]
fn methods_not_allowed_are_405_with_allow() {
    let spec = "respond = { methods = [\"GET\", \"HEAD\"] }";
    check_request(spec, &GET.replace("GET", "POST"), &["HTTP/1.1 405 ", "allow: GET, HEAD\r\n"], &[], End::Fin, "status-405");
}

#[test]
fn one_backend_of_three_fails_by_name() {
    let service = serve("kind = \"http\"\nrespond = { rotation = { backends = 3, failing = [2], status = 500 } }");
    let mut seen = Vec::new();
    for _ in 0..6 {
        let text = String::from_utf8(exchange(service.addrs()[0], GET.as_bytes()).0).unwrap();
        let status = text[9..12].to_owned();
        let marker = text.split("x-backend: ").nth(1).unwrap()[..2].to_owned();
        seen.push(format!("{marker} {status}"));
    }
    seen.sort();
    assert_eq!(seen, ["b1 200", "b1 200", "b2 500", "b2 500", "b3 200", "b3 200"]);
}

#[test]
fn a_big_body_arrives_whole() {
    let service = serve("kind = \"http\"\nrespond = { body = { kind = \"fill\", bytes = 3000000 } }");
    let (bytes, end) = exchange(service.addrs()[0], GET.as_bytes());
    assert!(bytes.len() > 3_000_000 && bytes.len() < 3_001_000 && end == End::Fin);
}

#[test]
fn reuse_of_a_connection_can_be_allowed_announced_refused_or_betrayed() {
    let cases = [("allow", 2, End::Silent), ("close", 1, End::Fin), ("reset", 1, End::Reset), ("close-unannounced", 1, End::Fin)];
    for (reuse, answers, end) in cases {
        let service = serve(&format!("kind = \"http\"\nreuse = \"{reuse}\""));
        let mut stream = connect(service.addrs()[0]);
        let request = GET.replace("Connection: close\r\n", "");
        let mut first = [0; 4096];
        stream.write_all(request.as_bytes()).unwrap();
        let n = stream.read(&mut first).unwrap();
        let _ = stream.write_all(request.as_bytes());
        let (second, ended) = read_all(&mut stream);
        let text = String::from_utf8([&first[..n], &second].concat()).unwrap();
        assert_eq!(text.matches("HTTP/1.1 200").count(), answers, "{reuse}");
        // What was sent into a closed connection may come back as a reset.
        assert!(ended == end || (reuse == "close" && ended == End::Reset), "{reuse}: {ended:?}");
        assert_eq!(text.contains("connection: close"), reuse == "close");
    }
}

#[test]
fn sessions_end_after_idling_or_at_an_age() {
    let request = GET.replace("Connection: close\r\n", "");
    check_request("idle-close-ms = 100", &request, &["200 OK"], &[], End::Fin, "idle-close");
    check_request("hard-timeout-ms = 200", &request, &["200 OK"], &[], End::Fin, "hard-timeout");
}

#[test]
fn the_clock_of_a_server_can_be_wrong() {
    let service = serve("kind = \"http\"\ndate-shift-s = 864000");
    let text = String::from_utf8(exchange(service.addrs()[0], GET.as_bytes()).0).unwrap();
    let date = text.split("date: ").nth(1).unwrap().lines().next().unwrap().trim();
    let ahead = httpdate::parse_http_date(date).unwrap().duration_since(std::time::SystemTime::now()).unwrap();
    assert_eq!((ahead.as_secs() + 60) / 86_400, 10);
}

#[test]
fn a_tls_hello_on_a_plain_port_is_a_bad_request() {
    check_request("", "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n", &["HTTP/1.1 400 Bad Request"], &[], End::Fin, "");
}

#[test]
fn a_forward_proxy_tunnels_to_names_it_knows() {
    let target = serve("kind = \"tcp\"\nbehaviour = { kind = \"banner\", text = \"through\" }");
    let port = target.addrs()[0].port();
    let proxy = "connect = { \"server.lab\" = \"127.0.0.1\" }";
    let connect = |host: &str| format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    check_request(proxy, &connect("server.lab"), &["HTTP/1.1 200 OK\r\n", "\r\n\r\nthrough"], &["content-length"], End::Silent, "");
    check_request(proxy, &connect("other.lab"), &["HTTP/1.1 502 "], &["through"], End::Silent, "");
}

#[test]
fn a_websocket_handshake_is_accepted_or_refused() {
    let request = "GET /ws HTTP/1.1\r\nHost: server.lab\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let want = &["HTTP/1.1 101 ", "upgrade: websocket\r\n", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"];
    check_request("respond = { websocket = true }", request, want, &["content-length"], End::Silent, "");
    check_request("respond = { status = 403 }", request, &["HTTP/1.1 403 "], &["101"], End::Silent, "status-403");
}

/// Asks over HTTP/2 with prior knowledge; gives status, body (or `broken`), and grpc-status.
fn ask_h2(addr: std::net::SocketAddr) -> (u16, Result<Vec<u8>, String>, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(addr).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("http://server.lab/").body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let status_of = |h: &http::HeaderMap| h.get("grpc-status").map(|v| v.to_str().unwrap().to_owned());
        match body.collect().await {
            Ok(body) => {
                let trailers = body.trailers().and_then(status_of);
                (parts.status.as_u16(), Ok(body.to_bytes().to_vec()), trailers.or(status_of(&parts.headers)))
            }
            Err(e) => (parts.status.as_u16(), Err(e.to_string()), None),
        }
    })
}

#[test]
fn http2_with_prior_knowledge_is_served_and_can_break_a_stream() {
    let sound = serve("kind = \"http\"");
    assert_eq!(ask_h2(sound.addrs()[0]), (200, Ok(b"faultmap lab\n".to_vec()), None));
    let broken = serve("kind = \"http\"\nrespond = { fault = { kind = \"truncate\", missing = 5 } }");
    assert!(ask_h2(broken.addrs()[0]).1.is_err());
}

#[test]
fn http2_connections_can_be_reset_closed_or_left_mute() {
    for (fault, want) in [("reset", End::Reset), ("close", End::Fin)] {
        let service = serve(&format!("kind = \"http\"\nrespond = {{ fault = {{ kind = \"{fault}\" }} }}"));
        let mut stream = connect(service.addrs()[0]);
        stream.write_all(H2_GET).unwrap();
        let (bytes, end) = read_all(&mut stream);
        assert_eq!(end, want, "{fault}: {bytes:?}");
        assert_bitten(&service, fault);
    }
    let service = serve("kind = \"http\"\nrespond = { fault = { kind = \"mute\" } }");
    assert_eq!(exchange(service.addrs()[0], H2_GET).1, End::Silent);
    assert_bitten(&service, "mute");
}

/// Preface, empty SETTINGS, and HEADERS of stream 1: `GET http /` with authority `lab`, all from the static table of
/// HPACK but the authority (RFC 7541 appendix A).
const H2_GET: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\
    \0\0\x08\x01\x05\0\0\0\x01\x82\x86\x84\x41\x03lab";

#[test]
fn grpc_health_is_a_message_and_a_status_in_trailers() {
    let cases = [
        ("{ health = 1 }", vec![0, 0, 0, 0, 2, 8, 1], "0"),
        ("{ health = 2 }", vec![0, 0, 0, 0, 2, 8, 2], "0"),
        ("{ status = 12, message = \"unknown service\" }", vec![], "12"),
    ];
    for (grpc, message, status) in cases {
        let service = serve(&format!("kind = \"http\"\nrespond = {{ grpc = {grpc} }}"));
        assert_eq!(ask_h2(service.addrs()[0]), (200, Ok(message), Some(status.to_owned())), "{grpc}");
    }
}

/// A balancer over what the backends do; gives the statuses of six requests.
fn balance(backends: &[&str], upstream: &str) -> (Vec<String>, super::ServiceHandle) {
    let backends: Vec<_> = backends.iter().map(|spec| serve(spec)).collect();
    let list: Vec<_> = backends.iter().map(|b| format!("\"{}\"", b.addrs()[0])).collect();
    let spec = format!("kind = \"balancer\"\nupstream = {{ backends = [{}], timeout-ms = 200, {upstream} }}", list.join(", "));
    let balancer = serve(&spec);
    let ask = |_| String::from_utf8(exchange(balancer.addrs()[0], GET.as_bytes()).0).unwrap();
    ((0..6).map(ask).collect(), balancer)
}

fn statuses(answers: &[String]) -> Vec<&str> {
    answers.iter().map(|a| &a[9..12]).collect()
}

#[test]
fn a_balancer_passes_on_and_signs_as_itself() {
    let (answers, _) = balance(&["kind = \"http\"", "kind = \"http\""], "via = \"1.1 lb\", marker = \"x-upstream\"");
    assert_eq!(statuses(&answers), ["200"; 6]);
    for answer in &answers {
        assert!(answer.contains("server: nginx\r\n") && answer.contains("via: 1.1 lb\r\n") && answer.contains("x-upstream: 127.0.0.1:"));
        assert!(answer.ends_with("faultmap lab\n"));
    }
}

#[test]
fn a_balancer_answers_502_when_backends_refuse_and_504_when_they_are_silent() {
    let (answers, balancer) = balance(&["kind = \"http\"\nlistening = false"], "");
    assert_eq!(statuses(&answers), ["502"; 6]);
    assert!(answers[0].contains("<center><h1>502 Bad Gateway</h1></center>"));
    assert_bitten(&balancer, "upstream-refused");
    let (answers, balancer) = balance(&["kind = \"http\"\nrespond = { fault = { kind = \"mute\" } }"], "");
    assert_eq!(statuses(&answers), ["504"; 6]);
    assert_bitten(&balancer, "upstream-timeout");
}

#[test]
fn a_balancer_without_a_second_try_fails_as_often_as_its_backend() {
    let dead = "kind = \"http\"\nrespond = { fault = { kind = \"close\" } }";
    let (answers, _) = balance(&["kind = \"http\"", dead, "kind = \"http\""], "next-on-error = false");
    assert_eq!(statuses(&answers), ["200", "502", "200", "200", "502", "200"]);
    let (answers, _) = balance(&["kind = \"http\"", dead, "kind = \"http\""], "");
    assert_eq!(statuses(&answers), ["200"; 6]);
}

#[test]
fn a_balancer_whose_backends_are_all_out_says_so() {
    let dead = "kind = \"http\"\nrespond = { fault = { kind = \"close\" } }";
    let (answers, balancer) = balance(&[dead, dead], "fail-timeout-ms = 60000, none-healthy-status = 503");
    assert_eq!(statuses(&answers), ["502", "503", "503", "503", "503", "503"]);
    assert_bitten(&balancer, "upstream-none-healthy");
}
