//! What is inside TLS: the trace of RFC 8448, and sessions of rustls in memory, whole, with holes, damaged, and with keys that do not fit.

use crate::app::testkit::{C, S, at, below, ends, exchanges, rules};
use crate::app::{Below, Chunk, Conversation, End, Glance, Sink, Talk, Unsealed};
use crate::flow::Side;
use crate::keys::Keys;
use crate::packet::PacketNo;
use proptest::prelude::*;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection, SupportedCipherSuite};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

/// Who sent what; an empty one of a length is a hole.
#[derive(Debug, Clone)]
enum Part {
    Bytes(Side, Vec<u8>),
    Hole(Side, u64),
    /// The beginning of a segment, and how much of it was cut off.
    Cut(Side, Vec<u8>, u64),
}

fn play(port: u16, parts: &[Part], keys: Option<&[u8]>, size: usize) -> Sink {
    let (mut sink, below) = (Sink::default(), Below { last_word: at(900), ..below(port) });
    sink.keys = keys.map(|log| {
        let keys = Keys::default();
        keys.read(log);
        keys
    });
    sink.shown = Some(Vec::new());
    let mut talk = Talk::new(ends(port), true);
    for (number, part) in parts.iter().enumerate() {
        match part {
            Part::Bytes(from, bytes) => {
                for piece in bytes.chunks(size) {
                    talk.chunk(
                        Chunk { from: *from, bytes: piece, at: at(10 * number as u64), packet: PacketNo(number as u64 + 1) },
                        &below,
                        &mut sink,
                    );
                }
            }
            Part::Hole(from, missing) => talk.gap(*from, *missing, &mut sink),
            Part::Cut(from, bytes, missing) => {
                let chunk = Chunk { from: *from, bytes, at: at(10 * number as u64), packet: PacketNo(number as u64 + 1) };
                talk.glance(Glance { chunk, missing: *missing }, &below, &mut sink);
            }
        }
    }
    talk.end(End::Closed, at(1000), &below, &mut sink);
    sink
}

fn opened(sink: &Sink) -> &[Unsealed] {
    sink.shown.as_deref().unwrap_or_default()
}

#[test]
fn the_trace_of_rfc_8448_opens_with_its_secrets() {
    let hex = |digits: &str| -> Vec<u8> {
        (0..digits.len() / 2).map(|byte| u8::from_str_radix(&digits[2 * byte..2 * byte + 2], 16).expect("digits")).collect()
    };
    let trace = include_str!("../../keys/rfc8448.txt").lines().filter(|line| !line.starts_with('#'));
    let parts: Vec<Part> = trace.map(|line| Part::Bytes(if line.starts_with('C') { C } else { S }, hex(&line[2..]))).collect();
    let random = "cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7";
    let log = format!(
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET {random} b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21\n\
         SERVER_HANDSHAKE_TRAFFIC_SECRET {random} b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38\n\
         CLIENT_TRAFFIC_SECRET_0 {random} 9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5\n\
         SERVER_TRAFFIC_SECRET_0 {random} a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643\n"
    );
    let sink = play(443, &parts, Some(log.as_bytes()), usize::MAX);
    let kinds: Vec<(Side, u8)> = opened(&sink).iter().map(|record| (record.from, record.kind)).collect();
    assert_eq!(kinds, [(S, 22), (C, 22), (S, 22), (C, 23), (S, 23), (C, 21), (S, 21)]);
    let content: Vec<u8> = (0..50).collect();
    assert_eq!((&opened(&sink)[3].bytes, &opened(&sink)[4].bytes), (&content, &content));
    assert_eq!(opened(&sink)[5].bytes, [1, 0]);
    assert_eq!(exchanges(&sink), ["ClientHello server > TLS 1.3"]);
    // Its certificate is for "rsa".
    assert_eq!(rules(&sink)[0], "tls.cert-wrong-host warning l6.cert-wrong-host");
    // Without the secrets of the handshake what follows opens all the same.
    let later: String = log.lines().skip(2).map(|line| format!("{line}\n")).collect();
    assert_eq!(opened(&play(443, &parts, Some(later.as_bytes()), 7)).len(), 5);
    assert_eq!(opened(&play(443, &parts, Some(b""), 7)), []);
}

/// The lines that rustls gives.
#[derive(Debug, Default)]
struct Log(Mutex<Vec<u8>>);

impl rustls::KeyLog for Log {
    fn log(&self, label: &str, random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(random), hex(secret));
        self.0.lock().expect("whole").extend_from_slice(line.as_bytes());
    }
}

/// A session in memory.
struct Session {
    client: Connection,
    server: Connection,
    log: Arc<Log>,
    parts: Vec<Part>,
}

const NAME: &str = "shop.test";

impl Session {
    fn new(suite: SupportedCipherSuite) -> Self {
        Self::offering(suite, [&[], &[]])
    }

    /// With the application protocols that client and server know.
    fn offering(suite: SupportedCipherSuite, [offered, known]: [&[&str]; 2]) -> Self {
        let names = |list: &[&str]| list.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
        let provider = Arc::new(CryptoProvider { cipher_suites: vec![suite], ..ring::default_provider() });
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.der().clone(), PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()));
        let versions = rustls::ALL_VERSIONS;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).expect("versions");
        let mut server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).expect("a server");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a root");
        let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
        let mut client = client.with_root_certificates(roots).with_no_client_auth();
        (client.alpn_protocols, server.alpn_protocols) = (names(offered), names(known));
        let log = Arc::new(Log::default());
        client.key_log = Arc::clone(&log) as Arc<dyn rustls::KeyLog>;
        let name = ServerName::try_from(NAME).expect("a name");
        Self {
            client: ClientConnection::new(Arc::new(client), name).expect("a client").into(),
            server: ServerConnection::new(Arc::new(server)).expect("a server").into(),
            log,
            parts: Vec::new(),
        }
    }

    fn sides(&mut self, from: Side) -> (&mut Connection, &mut Connection) {
        if from == C { (&mut self.client, &mut self.server) } else { (&mut self.server, &mut self.client) }
    }

    /// What one side has to send goes to the other, and into the capture.
    fn pass(&mut self, from: Side) -> bool {
        let (sender, receiver) = self.sides(from);
        let mut bytes = Vec::new();
        while sender.wants_write() {
            sender.write_tls(&mut bytes).expect("memory");
        }
        let mut rest = bytes.as_slice();
        let mut content = [0; 4096];
        while !rest.is_empty() {
            receiver.read_tls(&mut rest).expect("memory");
            receiver.process_new_packets().expect("a sound peer");
            while receiver.reader().read(&mut content).is_ok_and(|len| len > 0) {}
        }
        let some = !bytes.is_empty();
        if some {
            self.parts.push(Part::Bytes(from, bytes));
        }
        some
    }

    fn settle(&mut self) {
        while self.pass(C) | self.pass(S) {}
    }

    fn say(&mut self, from: Side, text: &[u8]) {
        self.sides(from).0.writer().write_all(text).expect("memory");
        self.pass(from);
    }

    fn update(&mut self, from: Side) {
        self.sides(from).0.refresh_traffic_keys().expect("TLS 1.3");
        self.settle();
    }

    fn keys(&self) -> Vec<u8> {
        self.log.0.lock().expect("whole").clone()
    }
}

fn suites() -> impl Iterator<Item = SupportedCipherSuite> {
    ring::default_provider().cipher_suites.into_iter().filter(|suite| !format!("{suite:?}").contains("_RSA_"))
}

/// A handshake, and two questions by HTTP: one is answered, one is refused.
fn asked(suite: SupportedCipherSuite) -> Session {
    let mut session = Session::new(suite);
    session.settle();
    let ask = format!("GET /a HTTP/1.1\r\nHost: {NAME}\r\n\r\n");
    session.say(C, ask.as_bytes());
    session.say(S, &[b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n".as_slice(), &[b'x'; 40_000]].concat());
    session.say(C, ask.as_bytes());
    session.say(S, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    session.client.send_close_notify();
    session.settle();
    session
}

/// The rules that matched, without those of the certificate, which TLS 1.2 shows in any case.
fn beside_certificates(sink: &Sink) -> Vec<String> {
    rules(sink).into_iter().filter(|rule| !rule.starts_with("tls.cert")).collect()
}

const FOUND: &str = "http.status fault l7.http-unavailable";

#[test]
fn each_cipher_opens_and_what_is_inside_is_judged_like_plain_text() {
    let mut versions = [0, 0];
    for suite in suites() {
        let session = asked(suite);
        let keys = session.keys();
        for size in [usize::MAX, 1, 5, 1000] {
            let sink = play(443, &session.parts, Some(&keys), size);
            assert_eq!(rules(&sink).last().map(String::as_str), Some(FOUND), "{suite:?} in pieces of {size}");
            let said = exchanges(&sink);
            assert_eq!(said[1..], ["GET /a > 200", "GET /a > 503"], "{suite:?}: {said:?}");
            assert_eq!((sink.protocol, sink.unsealed), (Some("http"), true));
            let seen = sink.keys.as_ref().and_then(Keys::seen).expect("keys");
            assert_eq!((seen.opened, seen.misfits), (1, 0));
        }
        let sealed = play(443, &session.parts, None, usize::MAX);
        assert_eq!((beside_certificates(&sealed), sealed.protocol, sealed.unsealed), (vec![], Some("tls"), false), "{suite:?}");
        versions[usize::from(suite.tls13().is_some())] += 1;
    }
    assert_eq!(versions, [3, 3]);
}

#[test]
fn keys_that_change_are_followed() {
    let modern = suites().find(|suite| suite.tls13().is_some()).expect("TLS 1.3");
    let mut session = Session::new(modern);
    session.settle();
    for from in [C, S, C, C, S] {
        session.update(from);
        session.say(C, b"GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n");
        session.say(S, b"HTTP/1.1 204 No Content\r\n\r\n");
    }
    let sink = play(443, &session.parts, Some(&session.keys()), 100);
    assert_eq!(exchanges(&sink)[1..], ["GET /a > 204"; 5]);
}

/// A hole in the capture where the bytes of the first answer stand.
fn holed(session: &Session, cut: std::ops::Range<usize>) -> Vec<Part> {
    let mut parts = Vec::new();
    for part in &session.parts {
        match part {
            Part::Bytes(S, bytes) if bytes.len() > 40_000 => {
                parts.push(Part::Bytes(S, bytes[..cut.start].to_vec()));
                parts.push(Part::Hole(S, cut.len() as u64));
                parts.push(Part::Bytes(S, bytes[cut.end..].to_vec()));
            }
            other => parts.push(other.clone()),
        }
    }
    parts
}

#[test]
fn after_a_hole_records_open_again_only_where_their_place_and_number_are_sure() {
    for suite in suites() {
        let session = asked(suite);
        let keys = session.keys();
        let overhead = if suite.tls13().is_some() {
            17
        } else if format!("{suite:?}").contains("CHACHA") {
            16
        } else {
            24
        };
        let record = 5 + 16_384 + overhead;
        // Within one record; a whole record and more, up to the beginning of the next; and one that leaves no beginning.
        for cut in [100..9000, 50..record, 50..2 * record, 50..record + 77] {
            let sink = play(443, &holed(&session, cut.clone()), Some(&keys), usize::MAX);
            let last = opened(&sink).iter().rfind(|record| record.from == S && record.kind == 23);
            let refused = last.is_some_and(|record| record.bytes.starts_with(b"HTTP/1.1 503"));
            assert!(refused, "{suite:?} {cut:?}");
            assert!(beside_certificates(&sink).iter().all(|rule| rule == FOUND), "{suite:?} {cut:?}: {:?}", rules(&sink));
            assert_eq!(sink.keys.as_ref().and_then(Keys::seen).map(|seen| seen.misfits), Some(0));
        }
    }
}

#[test]
fn a_record_whose_end_was_cut_off_counts_and_is_not_read() {
    for suite in suites() {
        let session = asked(suite);
        let mut parts = Vec::new();
        for part in &session.parts {
            match part {
                // Segments of a record each, of which the capture keeps 100 bytes.
                Part::Bytes(S, bytes) if bytes.len() > 40_000 => {
                    let mut rest = bytes.as_slice();
                    while let Some([_, _, _, high, low]) = rest.first_chunk::<5>() {
                        let (record, tail) = rest.split_at(5 + usize::from(u16::from_be_bytes([*high, *low])));
                        let kept = record.len().min(100);
                        parts.push(Part::Cut(S, record[..kept].to_vec(), (record.len() - kept) as u64));
                        rest = tail;
                    }
                }
                other => parts.push(other.clone()),
            }
        }
        let sink = play(443, &parts, Some(&session.keys()), usize::MAX);
        let last = opened(&sink).iter().rfind(|record| record.from == S && record.kind == 23).map(|record| record.bytes.as_slice());
        assert!(last.is_some_and(|record| record.starts_with(b"HTTP/1.1 503")), "{suite:?}");
        assert!(beside_certificates(&sink).iter().all(|rule| rule == FOUND), "{suite:?}: {:?}", rules(&sink));
    }
}

#[test]
fn a_record_that_does_not_verify_is_told_and_blames_nobody() {
    for suite in suites() {
        let session = asked(suite);
        let mut parts = session.parts.clone();
        for part in &mut parts {
            if let Part::Bytes(S, bytes) = part
                && bytes.len() > 40_000
            {
                bytes[20_000] ^= 1;
            }
        }
        let sink = play(443, &parts, Some(&session.keys()), usize::MAX);
        assert_eq!(beside_certificates(&sink), ["tls.record-damaged note -"], "{suite:?}");
    }
}

#[test]
fn keys_of_another_connection_under_its_name_open_nothing_and_change_nothing() {
    for suite in suites() {
        let session = asked(suite);
        let other = String::from_utf8(asked(suite).keys()).expect("text");
        let own = String::from_utf8(session.keys()).expect("text");
        let random = own.split(' ').nth(1).expect("a random");
        let theirs = other.split(' ').nth(1).expect("a random");
        let sink = play(443, &session.parts, Some(other.replace(theirs, random).as_bytes()), usize::MAX);
        let seen = sink.keys.as_ref().and_then(Keys::seen).expect("keys");
        assert_eq!((seen.opened, seen.misfits, sink.unsealed), (0, 1, false), "{suite:?}");
        let without = play(443, &session.parts, None, usize::MAX);
        assert_eq!((sink.findings, sink.exchanges), (without.findings, without.exchanges));
    }
}

#[test]
fn half_the_keys_tell_no_half_of_a_conversation() {
    for suite in suites().filter(|suite| suite.tls13().is_some()) {
        let session = asked(suite);
        let keys = String::from_utf8(session.keys()).expect("text");
        for side in ["CLIENT_", "SERVER_"] {
            let half: String = keys.lines().filter(|line| line.starts_with(side)).map(|line| format!("{line}\n")).collect();
            let sink = play(443, &session.parts, Some(half.as_bytes()), usize::MAX);
            let http = sink.exchanges.iter().filter(|exchange| exchange.protocol == "http").count();
            assert_eq!((http, beside_certificates(&sink)), (0, vec![]), "{side}");
        }
    }
}

#[test]
fn a_protocol_that_begins_tls_itself_goes_on_inside() {
    let suite = suites().next().expect("one");
    let mut session = Session::new(suite);
    let plain = |from, text: &[u8]| Part::Bytes(from, text.to_vec());
    session.parts.extend([
        plain(S, b"220 mail ESMTP\r\n"),
        plain(C, b"EHLO a\r\n"),
        plain(S, b"250-mail\r\n250 STARTTLS\r\n"),
        plain(C, b"STARTTLS\r\n"),
        plain(S, b"220 go on\r\n"),
    ]);
    session.settle();
    for (from, text) in [(C, "EHLO a\r\n"), (S, "250 mail\r\n"), (C, "MAIL FROM:<a@a>\r\n"), (S, "451 later\r\n")] {
        session.say(from, text.as_bytes());
    }
    let sink = play(25, &session.parts, Some(&session.keys()), 50);
    let said = exchanges(&sink);
    assert_eq!(said.last().map(String::as_str), Some("MAIL > 451"), "{said:?}");
    assert!(said.iter().any(|said| said == "STARTTLS > 220"), "{said:?}");
}

#[test]
fn http2_to_a_server_that_did_not_agree_to_it_is_a_mismatch_and_no_silence() {
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x0c\x04\0\0\0\0\0\0\x02\0\0\0\0\0\x04\0\0\xff\xff\0\0\x04\x08\0\0\0\0\0\0\x0f\0\0";
    for suite in suites() {
        let told = |known: &[&str], answer: &[u8], keys: bool| {
            let mut session = Session::offering(suite, [&["h2"], known]);
            session.settle();
            session.say(C, hello);
            if !answer.is_empty() {
                session.say(S, answer);
            }
            beside_certificates(&play(443, &session.parts, keys.then(|| session.keys()).as_deref(), usize::MAX))
        };
        assert_eq!(told(&[], b"", true), ["h2.not-agreed fault l6.alpn-mismatch"], "{suite:?}");
        assert_eq!(told(&["h2"], b"", true), ["h2.closed-without-answer fault l5.closed-without-answer"], "{suite:?}");
        let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(told(&[], refusal, true), ["h2.answered-in-http1 fault l6.alpn-mismatch"], "{suite:?}");
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        assert_eq!(told(&[], settings, true), [""; 0], "it speaks HTTP/2 all the same: {suite:?}");
        // Without keys the choice shows up to TLS 1.2 only.
        let sealed = suite.tls13().map(|_| "tls.closed-without-answer note l5.closed-without-answer");
        assert_eq!(told(&[], b"", false), [sealed.unwrap_or("h2.not-agreed fault l6.alpn-mismatch")], "{suite:?}");
    }
}

/// A conversation in plain text, and the same inside TLS from its line number `from` on, at `port`: what is told of both.
fn plain_and_sealed(port: u16, [plain_port, from]: [u16; 2], lines: &[(Side, Vec<u8>)]) -> [(Vec<String>, Vec<String>); 2] {
    let of_session = |sink: &Sink| {
        let said = exchanges(sink).into_iter().filter(|said| !said.starts_with("ClientHello") && !said.starts_with("SSLRequest"));
        (beside_certificates(sink), said.collect::<Vec<_>>())
    };
    let spoken: Vec<Part> = lines.iter().skip(from.into()).map(|(side, bytes)| Part::Bytes(*side, bytes.clone())).collect();
    let mut session = Session::new(suites().next().expect("one"));
    session.parts.extend(lines.iter().take(from.into()).map(|(side, bytes)| Part::Bytes(*side, bytes.clone())));
    session.settle();
    for (side, bytes) in lines.iter().skip(from.into()) {
        session.say(*side, bytes);
    }
    let keys = session.keys();
    [of_session(&play(plain_port, &spoken, None, usize::MAX)), of_session(&play(port, &session.parts, Some(&keys), 77))]
}

#[test]
fn refusals_of_databases_and_brokers_are_named_inside_tls_as_in_plain_text() {
    let frame = |length: usize, head: &[u8], body: &[u8]| [head, &(length as u32).to_be_bytes(), body].concat();
    let startup = frame(25, b"", b"\0\x03\0\0user\0app\0database\0a\0\0");
    let fatal = |code: &str| {
        let body = format!("SFATAL\0VFATAL\0C{code}\0Mno\0\0");
        frame(body.len() + 4, b"E", body.as_bytes())
    };
    let amqp = |class: u16, method: u16, rest: &[u8]| {
        let body = [&class.to_be_bytes()[..], &method.to_be_bytes(), rest].concat();
        [&frame(body.len(), &[1, 0, 0], &body)[..], &[0xce]].concat()
    };
    let connect = b"\x10\x0f\0\x04MQTT\x04\x02\0\x3c\0\x03abc".to_vec();
    let get = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_vec();
    let check = |ports: &[u16], [plain, from]: [u16; 2], lines: &[(Side, Vec<u8>)], expect: &str| {
        for port in ports {
            let [open, sealed] = plain_and_sealed(*port, [plain, from], lines);
            assert_eq!(open.0, [expect], "{plain}");
            assert_eq!(open, sealed, "at {port}");
        }
    };
    check(&[8883, 1883, 443], [1883, 0], &[(C, connect.clone()), (S, b"\x20\x02\0\x05".to_vec())], "mqtt.connack fault l7.auth-failed");
    check(&[8883], [1883, 0], &[(C, connect), (S, b"\x20\x03\0\x88\0".to_vec())], "mqtt.connack fault l7.service-starting");
    let start = [(C, b"AMQP\0\0\x09\x01".to_vec()), (S, amqp(10, 10, &[0, 9, 0]))];
    let refused = amqp(10, 50, b"\x01\x93\x0eACCESS_REFUSED\0\0\0\0");
    check(&[5671, 5672], [5672, 0], &[&start[..], &[(S, refused)]].concat(), "amqp.close fault l7.auth-failed");
    check(&[5671], [5672, 0], &[&start[..], &[(C, amqp(10, 11, b"secret"))]].concat(), "amqp.login-closed fault l7.auth-failed");
    for (word, expect) in [
        ("NOAUTH Authentication required.", "redis.error fault l7.auth-failed"),
        ("LOADING Redis is loading", "redis.error fault l7.service-starting"),
        ("READONLY You can't write", "redis.error fault l7.service-read-only"),
    ] {
        check(&[6380, 6379, 443], [6379, 0], &[(C, get.clone()), (S, format!("-{word}\r\n").into_bytes())], expect);
    }
    let request = [(C, b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec()), (S, b"S".to_vec())];
    for (code, expect) in [
        ("28P01", "pg.error fault l7.auth-failed"),
        ("3D000", "pg.error fault l7.database-missing"),
        ("53300", "pg.error fault l7.too-many-connections"),
        ("57P03", "pg.error fault l7.service-starting"),
    ] {
        let said = [(C, startup.clone()), (S, fatal(code))];
        check(&[5432, 6432], [5432, 2], &[&request[..], &said].concat(), expect);
        // PostgreSQL 17 knows TLS from the first byte on, too.
        check(&[5432], [5432, 0], &said, expect);
    }
}

#[test]
fn a_login_of_mysql_that_is_refused_inside_tls_is_named() {
    let packet = |sequence: u8, body: &[u8]| [&(body.len() as u32).to_le_bytes()[..3], &[sequence], body].concat();
    let greeting = (S, packet(0, b"\x0a8.0.36\0abcdefghijklmn"));
    let wants_tls = (C, packet(1, &[&[0x05, 0xaa, 0, 0][..], &[0; 28]].concat()));
    let login = |sequence| (C, packet(sequence, &[&[0x05, 0xaa, 0, 0][..], &[0; 28], b"app\0secret"].concat()));
    let refused = |sequence, number: u16| (S, packet(sequence, &[&[0xff][..], &number.to_le_bytes(), b"#28000no"].concat()));
    for (number, expect) in [
        (1045, "mysql.error fault l7.auth-failed"),
        (1049, "mysql.error fault l7.database-missing"),
        (1040, "mysql.error fault l7.too-many-connections"),
    ] {
        let [_, sealed] = plain_and_sealed(3306, [3306, 2], &[greeting.clone(), wants_tls.clone(), login(2), refused(3, number)]);
        assert_eq!(sealed, (vec![expect.to_owned()], vec![format!("login > ERROR {number}")]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_happens_to_a_session_its_reading_never_panics_and_invents_nothing(
        pick in 0usize..6,
        changes in prop::collection::vec((0usize..40, 0usize..45_000, any::<u8>(), 0u8..4), 0..6),
        size in 1usize..3000,
    ) {
        let session = asked(suites().nth(pick).expect("six"));
        let mut parts = session.parts.clone();
        for (which, place, byte, how) in changes {
            let count = parts.len();
            let Part::Bytes(from, bytes) = &mut parts[which % count] else { continue };
            let (from, place) = (*from, place % bytes.len().max(1));
            match how {
                0 => bytes.iter_mut().skip(place).take(1).for_each(|b| *b ^= byte),
                1 => bytes.truncate(place),
                2 => {
                    let rest = bytes.split_off(place);
                    let lost = usize::from(byte).min(rest.len());
                    let tail = Part::Bytes(from, rest[lost..].to_vec());
                    parts.insert(which % count + 1, Part::Hole(from, lost as u64));
                    parts.insert(which % count + 2, tail);
                }
                _ => _ = parts.remove(which % count),
            }
            if parts.is_empty() {
                break;
            }
        }
        let sink = play(443, &parts, Some(&session.keys()), size);
        for record in opened(&sink).iter().filter(|record| record.kind == 23) {
            let known = record.bytes.iter().all(|byte| *byte == b'x') || record.bytes.starts_with(b"GET /a") || record.bytes.starts_with(b"HTTP/1.1 ");
            prop_assert!(known, "what was not sent was opened");
        }
    }
}
