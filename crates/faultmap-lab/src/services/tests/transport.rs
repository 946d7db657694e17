//! TCP and UDP services, and how listeners take connections.

use std::{
    io::{ErrorKind, Write},
    net::{TcpStream, UdpSocket},
    time::Duration,
};

use super::{End, SILENCE, assert_bitten, connect, exchange, read_all, serve};

/// Sends `hello`, and compares all that comes back and how the connection ends, over both families.
#[track_caller]
fn check(behaviour: &str, want: &str, end: End, bite: &str) {
    let service = serve(&format!("kind = \"tcp\"\nbehaviour = {behaviour}"));
    for addr in service.addrs() {
        let mut stream = connect(*addr);
        // The service may have closed already.
        let _ = stream.write_all(b"hello");
        let (bytes, ended) = read_all(&mut stream);
        assert_eq!((String::from_utf8_lossy(&bytes).as_ref(), ended), (want, end), "{behaviour}");
    }
    assert_eq!(service.stats().accepted, 2);
    if !bite.is_empty() {
        assert_bitten(&service, bite);
    }
}

#[test]
fn an_echo_returns_what_it_gets() {
    check(r#"{ kind = "echo" }"#, "hello", End::Silent, "");
}

#[test]
fn a_mute_service_accepts_and_says_nothing() {
    check(r#"{ kind = "mute" }"#, "", End::Silent, "mute");
}

#[test]
fn a_banner_comes_unasked() {
    check(r#"{ kind = "banner", text = "220 hi\r\n" }"#, "220 hi\r\n", End::Silent, "");
}

#[test]
fn an_idle_session_is_closed_in_order() {
    check(r#"{ kind = "idle-close", ms = 100 }"#, "hello", End::Fin, "idle-close");
}

#[test]
fn an_old_session_is_closed_in_order() {
    check(r#"{ kind = "hard-timeout", ms = 200 }"#, "hello", End::Fin, "hard-timeout");
}

#[test]
fn a_reset_after_bytes_comes_once_they_are_received() {
    check(r#"{ kind = "reset-after", bytes = 5 }"#, "hello", End::Reset, "reset-after");
}

#[test]
fn a_dialogue_answers_by_rule_and_may_close() {
    let redis = r#"{ kind = "dialogue", rules = [
        { contains = { text = "PING" }, reply = { text = "+PONG\r\n" } },
        { contains = { hex = "68 65 6c" }, reply = { text = "-NOAUTH Authentication required.\r\n" }, close = true },
    ] }"#;
    check(&redis.replace('\n', ""), "-NOAUTH Authentication required.\r\n", End::Fin, "");
}

#[test]
fn a_close_after_accept_is_a_fin_without_a_byte() {
    let service = serve("kind = \"tcp\"\nbehaviour = { kind = \"close\" }");
    let (bytes, end) = read_all(&mut connect(service.addrs()[0]));
    assert_eq!((bytes.len(), end), (0, End::Fin));
    assert_bitten(&service, "close");
}

#[test]
fn a_reset_after_accept_is_a_reset() {
    let service = serve("kind = \"tcp\"\nbehaviour = { kind = \"reset\" }");
    // The reset may already be there when connect() looks at the socket.
    let (bytes, end) = match TcpStream::connect(service.addrs()[0]) {
        Ok(mut stream) => read_all(&mut stream),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (Vec::new(), End::Reset),
        Err(error) => panic!("connect: {error}"),
    };
    assert_eq!((bytes.len(), end), (0, End::Reset));
    assert_bitten(&service, "reset");
}

#[test]
fn a_source_sends_all_it_promises() {
    let service = serve("kind = \"tcp\"\nbehaviour = { kind = \"source\", bytes = 100000 }");
    let (bytes, end) = read_all(&mut connect(service.addrs()[0]));
    assert_eq!((bytes.len(), end), (100_000, End::Fin));
}

#[test]
fn a_reader_that_does_not_read_blocks_the_writer() {
    let service = serve("kind = \"tcp\"\nlisten = { receive-buffer = 4096 }\nbehaviour = { kind = \"never-read\" }");
    let mut stream = connect(service.addrs()[0]);
    stream.set_write_timeout(Some(SILENCE)).unwrap();
    let stuck = (0..10_000).find_map(|_| stream.write_all(&[0; 16 * 1024]).err()).unwrap();
    assert_eq!(stuck.kind(), ErrorKind::WouldBlock);
    assert_bitten(&service, "never-read");
    assert_eq!(service.stats().bytes_in, 0);
}

#[test]
fn a_listener_that_never_accepts_fills_its_queue_and_then_ignores_syns() {
    let service = serve("kind = \"tcp\"\nlisten = { backlog = 1, accept = { kind = \"never\" } }");
    let addr = service.addrs()[0];
    let tries: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&addr, SILENCE)).collect();
    let kinds: Vec<_> = tries.iter().map(|t| t.as_ref().err().map(std::io::Error::kind)).collect();
    assert_eq!(kinds, [None, None, Some(ErrorKind::TimedOut), Some(ErrorKind::TimedOut)]);
    let stats = service.stats();
    assert_eq!(stats.accepted, 0);
    assert_eq!(stats.accept_queue[&addr.to_string()], (2, 1));
}

#[test]
fn connections_beyond_the_limit_are_closed_and_counted() {
    let service = serve("kind = \"tcp\"\nlisten = { max-connections = 1 }");
    let first = connect(service.addrs()[0]);
    let (_, end) = read_all(&mut connect(service.addrs()[0]));
    assert_eq!(end, End::Fin);
    assert_eq!(service.stats().over_limit, 1);
    drop(first);
}

#[test]
fn a_slow_acceptor_still_serves_everyone() {
    let service = serve("kind = \"tcp\"\nlisten = { accept = { kind = \"slow\", ms = 50 } }");
    for _ in 0..3 {
        assert_eq!(exchange(service.addrs()[0], b"x").0, b"x");
    }
    assert_bitten(&service, "slow-accept");
}

/// Sends four datagrams and counts the answers.
#[track_caller]
fn check_udp(behaviour: &str, want: &[&str]) {
    let service = serve(&format!("kind = \"udp\"\nbehaviour = {behaviour}"));
    for addr in service.addrs() {
        let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut seen = Vec::new();
        for i in 0..4 {
            socket.send_to(format!("d{i}").as_bytes(), addr).unwrap();
            let mut buffer = [0; 100];
            if let Ok((n, from)) = socket.recv_from(&mut buffer) {
                assert_eq!(from, *addr);
                seen.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
            }
        }
        assert_eq!(seen, want, "{behaviour}");
    }
    assert_eq!(service.stats().requests, 8);
}

#[test]
fn udp_services_echo_stay_mute_reply_or_lose_every_second() {
    check_udp(r#"{ kind = "echo" }"#, &["d0", "d1", "d2", "d3"]);
    check_udp(r#"{ kind = "mute" }"#, &[]);
    check_udp(r#"{ kind = "reply", payload = { hex = "6f6b" } }"#, &["ok", "ok", "ok", "ok"]);
    check_udp(r#"{ kind = "drop-every", every = 2 }"#, &["d0", "d2"]);
}

/// What a client sends step by step, and what must come back in all.
#[track_caller]
fn check_session(behaviour: &str, steps: &[&[u8]], want: &[&[u8]], end: End, bite: &str) {
    let service = serve(&format!("kind = \"tcp\"\nbehaviour = {behaviour}"));
    let mut stream = connect(service.addrs()[0]);
    steps.iter().for_each(|step| stream.write_all(step).unwrap());
    let (bytes, ended) = read_all(&mut stream);
    for want in want {
        assert!(bytes.windows(want.len()).any(|w| w == *want), "{behaviour}: no {want:?} in {bytes:?}");
    }
    assert_eq!(ended, end, "{behaviour}");
    if !bite.is_empty() {
        assert_bitten(&service, bite);
    }
}

#[test]
fn postgres_lets_in_or_says_why_not() {
    let ssl: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
    let startup: &[u8] = b"\0\0\0\x13\0\x03\0\0user\0app\0\0\0";
    let password: &[u8] = b"p\0\0\0\x07pw\0";
    let asks: &[u8] = &[b'R', 0, 0, 0, 8, 0, 0, 0, 3];
    check_session("{ kind = \"postgres\" }", &[ssl, startup, password], &[b"N", asks, b"Z\0\0\0\x05I"], End::Silent, "");
    let wrong = "{ kind = \"postgres\", reject = { code = \"28P01\", message = \"password authentication failed\" } }";
    check_session(wrong, &[startup, password], &[asks, b"C28P01\0Mpassword authentication failed\0"], End::Fin, "postgres-28P01");
    let full = "{ kind = \"postgres\", reject = { code = \"53300\" } }";
    check_session(full, &[startup], &[b"SFATAL\0VFATAL\0C53300\0"], End::Fin, "postgres-53300");
}

#[test]
fn mysql_greets_then_lets_in_or_says_why_not() {
    let login: &[u8] = &[4, 0, 0, 1, 0, 0, 0, 0];
    check_session("{ kind = \"mysql\" }", &[login], &[b"\x0a8.0.39\0", &[7, 0, 0, 2, 0, 0, 0]], End::Silent, "");
    let denied = "{ kind = \"mysql\", reject = { code = 1045, sqlstate = \"28000\", message = \"Access denied\" } }";
    check_session(denied, &[login], &[b"\xff\x15\x04#28000Access denied"], End::Fin, "mysql-1045");
    let full = "{ kind = \"mysql\", reject = { code = 1040, message = \"Too many connections\" } }";
    check_session(full, &[], &[b"\0\xff\x10\x04Too many connections"], End::Fin, "mysql-1040");
}
