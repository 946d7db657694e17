//! TLS faults as rustls' own client meets them, and on the wire where rustls would not speak that old.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};
use rustls_pki_types::ServerName;

use super::{End, assert_bitten, connect, exchange, pki, read_all, serve};

/// What a client offers and trusts.
#[derive(Clone, Copy)]
struct Client {
    name: &'static str,
    versions: &'static [&'static rustls::SupportedProtocolVersion],
    alpn: &'static [&'static str],
    with_certificate: bool,
}

const CLIENT: Client = Client { name: "server.lab", versions: rustls::ALL_VERSIONS, alpn: &[], with_certificate: false };
const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

impl Client {
    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(pki().ca_der()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = if self.with_certificate {
            let identity = pki().client("client.lab").unwrap();
            builder.with_client_auth_cert(identity.chain.clone(), identity.key()).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = self.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config
    }

    /// Handshakes, asks once, and says in one line what came of it.
    fn ask(&self, addr: SocketAddr) -> String {
        let name = ServerName::try_from(self.name).unwrap();
        let mut connection = ClientConnection::new(Arc::new(self.config()), name).unwrap();
        let mut tcp = connect(addr);
        while connection.is_handshaking() {
            if let Err(e) = connection.complete_io(&mut tcp) {
                return format!("handshake: {e}");
            }
        }
        let version = connection.protocol_version().unwrap();
        let alpn = connection.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned()).unwrap_or_default();
        let mut stream = StreamOwned::new(connection, tcp);
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: server.lab\r\nConnection: close\r\n\r\n");
        let mut text = Vec::new();
        match stream.read_to_end(&mut text) {
            Err(e) if text.is_empty() => format!("{version:?} {alpn} then: {e}"),
            _ => format!("{version:?} {alpn} {}", String::from_utf8_lossy(&text)),
        }
    }
}

#[track_caller]
fn check_client(client: Client, tls: &str, want: &str, bite: &str) {
    let service = serve(&format!("kind = \"https\"\n{tls}"));
    for addr in service.addrs() {
        let outcome = client.ask(*addr);
        assert!(outcome.contains(want), "{tls}: no {want:?} in {outcome:?}");
    }
    if !bite.is_empty() {
        assert_bitten(&service, bite);
    }
}

#[track_caller]
fn check(tls: &str, want: &str, bite: &str) {
    check_client(CLIENT, tls, want, bite);
}

#[test]
fn sound_tls_serves_http_under_name_and_address() {
    check("", "TLSv1_3  HTTP/1.1 200 OK", "");
    check_client(Client { name: "127.0.0.1", ..CLIENT }, "", "HTTP/1.1 200 OK", "");
    check_client(Client { name: "::1", ..CLIENT }, "", "HTTP/1.1 200 OK", "");
    check_client(Client { alpn: &["h2", "http/1.1"], ..CLIENT }, "tls = { alpn = [\"http/1.1\"] }", "TLSv1_3 http/1.1 HTTP/1.1 200 OK", "");
}

#[test]
fn every_unsound_certificate_fails_for_its_own_reason() {
    let cases = [
        ("{ kind = \"expired\" }", "certificate expired", "certificate-expired"),
        ("{ kind = \"not-yet-valid\" }", "not valid yet", "certificate-not-yet-valid"),
        ("{ kind = \"expiring\", in-days = 3 }", "HTTP/1.1 200 OK", "certificate-expiring"),
        ("{ kind = \"wrong-host\" }", "not valid for name", "certificate-wrong-host"),
        ("{ kind = \"self-signed\" }", "UnknownIssuer", "certificate-self-signed"),
        ("{ kind = \"unknown-ca\" }", "UnknownIssuer", "certificate-unknown-ca"),
        ("{ kind = \"chain-incomplete\" }", "UnknownIssuer", "certificate-chain-incomplete"),
        ("{ kind = \"clock-skew\", shift-s = 315360000 }", "not valid yet", "certificate-clock-skew"),
        ("{ kind = \"clock-skew\", shift-s = -31536000 }", "certificate expired", "certificate-clock-skew"),
    ];
    for (certificate, want, bite) in cases {
        check(&format!("tls = {{ certificate = {certificate} }}"), want, bite);
    }
}

#[test]
fn versions_that_do_not_meet_end_in_the_alert_protocol_version() {
    for (server, client) in [("1.2", TLS13), ("1.3", TLS12)] {
        let spec = format!("tls = {{ versions = [\"{server}\"] }}");
        check_client(Client { versions: client, ..CLIENT }, &spec, "fatal alert: ProtocolVersion", "");
        check(&spec, if server == "1.2" { "TLSv1_2" } else { "TLSv1_3" }, "");
    }
    check(r#"tls = { rules = [{ do = { kind = "legacy", version = "1.0" } }] }"#, "fatal alert: ProtocolVersion", "legacy");
}

#[test]
fn a_legacy_server_answers_a_client_that_offers_no_more_than_it_speaks() {
    let service = serve("kind = \"https\"\ntls = { rules = [{ do = { kind = \"legacy\", version = \"1.1\" } }] }");
    for version in [1, 2] {
        // A minimal hello of TLS 1.0 or 1.1 without extensions.
        let body = [&[3, version][..], &[1; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
        let message = [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
        let record = [&[22, 3, 1, 0, u8::try_from(message.len()).unwrap()][..], &message].concat();
        let (bytes, end) = exchange(service.addrs()[0], &record);
        assert_eq!(bytes[..3], [22, 3, version]);
        assert_eq!(bytes[5], 2);
        assert_eq!(bytes[9..11], [3, version]);
        assert_eq!(end, End::Fin);
    }
}

#[test]
fn ciphers_that_do_not_meet_end_in_the_alert_handshake_failure() {
    let rsa_only = r#"tls = { versions = ["1.2"], suites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"] }"#;
    check(rsa_only, "fatal alert: HandshakeFailure", "");
    // 5 is TLS_RSA_WITH_RC4_128_SHA.
    check("tls = { rules = [{ when = { lacks-suites = [5] }, do = { kind = \"alert\", code = 40 } }] }", "HandshakeFailure", "alert-40");
}

#[test]
fn application_protocols_that_do_not_meet_end_in_their_own_alert() {
    let client = Client { alpn: &["http/1.1"], ..CLIENT };
    check_client(client, "tls = { alpn = [\"h2\"] }", "fatal alert: NoApplicationProtocol", "");
    // The server agrees to h2 but speaks HTTP/1.1, which is no HTTP/2 preface.
    let client = Client { alpn: &["h2"], ..CLIENT };
    check_client(client, "speak = \"http/1.1\"", "TLSv1_3 h2 HTTP/1.1 200 OK", "forced-protocol");
}

#[test]
fn a_client_certificate_can_be_demanded_in_either_version() {
    let spec = "tls = { client-auth = \"required\" }";
    check_client(Client { versions: TLS12, ..CLIENT }, spec, "handshake: received fatal alert: CertificateRequired", "");
    check_client(Client { versions: TLS13, ..CLIENT }, spec, "TLSv1_3  then: received fatal alert: CertificateRequired", "");
    check_client(Client { with_certificate: true, ..CLIENT }, spec, "HTTP/1.1 200 OK", "");
    check("tls = { client-auth = \"optional\" }", "HTTP/1.1 200 OK", "");
}

#[test]
fn a_name_can_be_refused_by_alert_or_reset() {
    let rule = |action: &str| format!("tls = {{ rules = [{{ when = {{ sni-not-in = [\"www.server.lab\"] }}, do = {action} }}] }}");
    check(&rule("{ kind = \"alert\", code = 112 }"), "UnrecognisedName", "alert-112");
    check(&rule("{ kind = \"reset\" }"), "reset", "handshake-reset");
    check_client(Client { name: "www.server.lab", ..CLIENT }, &rule("{ kind = \"reset\" }"), "HTTP/1.1 200 OK", "");
}

#[test]
fn a_hello_can_be_met_by_silence_a_close_or_a_wait() {
    check("tls = { rules = [{ do = { kind = \"mute\" } }] }", "handshake: Resource temporarily unavailable", "handshake-mute");
    check("tls = { rules = [{ do = { kind = \"close\" } }] }", "handshake: ", "handshake-close");
    check("tls = { rules = [{ do = { kind = \"delay\", ms = 100 } }] }", "HTTP/1.1 200 OK", "handshake-delay");
}

#[test]
fn a_server_can_be_intolerant_of_large_hellos() {
    let rule = |size| format!("tls = {{ rules = [{{ when = {{ larger-than = {size} }}, do = {{ kind = \"mute\" }} }}] }}");
    check(&rule(100), "Resource temporarily unavailable", "handshake-mute");
    check(&rule(10_000), "HTTP/1.1 200 OK", "");
}

#[test]
fn plaintext_on_the_tls_port_is_no_tls_message() {
    for plaintext in ["smtp", "ssh", "service"] {
        check(&format!("tls = {{ plaintext = {{ kind = \"{plaintext}\" }} }}"), "corrupt message", "plaintext-on-tls-port");
    }
    let service = serve("kind = \"https\"\ntls = { plaintext = { kind = \"smtp\" } }");
    let (bytes, end) = read_all(&mut connect(service.addrs()[0]));
    assert_eq!((bytes.as_slice(), end), (&b"220 mail.lab ESMTP Postfix\r\n"[..], End::Silent));
}

#[test]
fn a_plain_request_on_the_tls_port_is_told_so_as_nginx_does() {
    let service = serve("kind = \"https\"");
    let (bytes, end) = exchange(service.addrs()[0], b"GET / HTTP/1.1\r\nHost: server.lab\r\n\r\n");
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("The plain HTTP request was sent to HTTPS port"), "{text}");
    assert_eq!(end, End::Fin);
    assert_bitten(&service, "plain-http-on-tls-port");
}

#[test]
fn a_skewed_server_is_skewed_in_its_date_too() {
    let service = serve(
        "kind = \"http\"\ndate-shift-s = 0\ntls = { certificate = { kind = \"clock-skew\", shift-s = 864000 }, plaintext = { kind = \"service\" } }",
    );
    let (bytes, _) = exchange(service.addrs()[0], b"GET / HTTP/1.1\r\nHost: server.lab\r\nConnection: close\r\n\r\n");
    let text = String::from_utf8(bytes).unwrap();
    let date = text.split("date: ").nth(1).unwrap().lines().next().unwrap().trim();
    let ahead = httpdate::parse_http_date(date).unwrap().duration_since(std::time::SystemTime::now()).unwrap();
    assert_eq!((ahead.as_secs() + 60) / 86_400, 10);
}

#[test]
fn faults_of_http_come_through_tls_too() {
    check("respond = { fault = { kind = \"reset\" } }", "then: Connection reset", "reset");
    check("respond = { fault = { kind = \"truncate\", missing = 9 } }", "content-length: 22", "truncate");
}

#[test]
fn a_plain_tcp_service_can_speak_within_tls() {
    check_client(CLIENT, "", "200", "");
    let service = serve("kind = \"tcp\"\ntls = {}\nbehaviour = { kind = \"banner\", text = \"+OK\" }");
    assert!(CLIENT.ask(service.addrs()[0]).starts_with("TLSv1_3  +OK"));
    assert_eq!(service.stats().tls_handshakes, 1);
}

#[test]
fn a_refused_certificate_is_known_to_the_server_by_the_clients_alert() {
    let service = serve("kind = \"https\"\ntls = { certificate = { kind = \"expired\" } }");
    CLIENT.ask(service.addrs()[0]);
    let failures = loop {
        let failures = service.stats().tls_failures;
        if !failures.is_empty() {
            break failures;
        }
        std::thread::yield_now();
    };
    assert_eq!(failures.keys().map(String::as_str).collect::<Vec<_>>(), ["received fatal alert: CertificateExpired"]);
}
