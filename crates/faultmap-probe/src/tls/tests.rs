//! Handshakes and offers against servers on loopback: each outcome, and its healthy counterpart.

use super::testkit::{Authority, ClientAuth, NOW, Step, ask, say, scripted, tls, tls_late};
use super::*;
use faultmap_model::observation::{Role, TlsOutcome, Trust};
use rustls::version::{TLS12, TLS13};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

const ORG: &str = "faultmap test";

async fn shake(to: SocketAddr, store: &TrustStore, alpn: &[&str], wait_ms: u64) -> TlsResult {
    let stream = TcpStream::connect(to).await.unwrap();
    handshake(stream, &ask(to, store, alpn, wait_ms)).await
}

/// A ServerHello that chooses a version by number alone.
fn server_hello(version: u8) -> Vec<u8> {
    let body = [&[3, version][..], &[7; 32], &[0, 0xc0, 0x13, 0]].concat();
    [&[22, 3, version, 0, 4 + 38, 2, 0, 0, 38][..], &body].concat()
}

/// Blanks the times, which no test may depend on.
fn timeless(outcome: TlsOutcome) -> TlsOutcome {
    match outcome {
        TlsOutcome::Silent { received_bytes, .. } => TlsOutcome::Silent { waited_ms: 0.0, received_bytes },
        other => other,
    }
}

fn alert(code: u8, name: &str) -> TlsOutcome {
    TlsOutcome::Alert { code, name: name.to_owned(), after_handshake: false, client_cert_requested: false }
}

fn not_tls(first_bytes: &str, looks_like: Option<&str>) -> TlsOutcome {
    TlsOutcome::NotTls { first_bytes: first_bytes.to_owned(), looks_like: looks_like.map(str::to_owned) }
}

/// What a server without a certificate may do to a ClientHello, and what it is called. The same for handshake and raw offer.
fn refusals() -> Vec<(Vec<Step>, TlsOutcome)> {
    use Step::{Fin, Hear, Hold, Reset};
    let hello = server_hello(3);
    vec![
        (vec![Hear, say([21, 3, 1, 0, 2, 2, 70]), Fin], alert(70, "protocol_version")),
        (vec![Hear, say([21, 3, 3, 0, 2, 2, 40]), Hold], alert(40, "handshake_failure")),
        (vec![Hear, say([21, 3, 3, 0, 2, 2, 112]), Step::Pause(20), Reset], alert(112, "unrecognized_name")),
        (vec![say([21, 3, 3, 0, 2, 2, 120]), Fin], alert(120, "no_application_protocol")),
        (vec![Hear, say("HTTP/1.1 400 Bad Request\r\n\r\n"), Fin], not_tls("HTTP/1.1 400 Bad Request\\r\\n\\r\\n", Some("http"))),
        (vec![say("SSH-2.0-OpenSSH_9.2\r\n"), Hold], not_tls("SSH-2.0-OpenSSH_9.2\\r\\n", Some("ssh"))),
        (vec![say("220 mail.lab ESMTP\r\n"), Hear, Reset], not_tls("220 mail.lab ESMTP\\r\\n", Some("smtp"))),
        (vec![say("x"), Hold], not_tls("x", None)),
        (vec![Hear, Fin], TlsOutcome::Closed { received_bytes: 0 }),
        (vec![Hear, say([21, 3, 3, 0, 2, 1, 0]), Fin], TlsOutcome::Closed { received_bytes: 7 }),
        (vec![Hear, say(&hello[..20]), Fin], TlsOutcome::Closed { received_bytes: 20 }),
        (vec![Hear, Reset], TlsOutcome::Reset { received_bytes: 0 }),
        (vec![Hear, say(&hello[..20]), Step::Pause(50), Reset], TlsOutcome::Reset { received_bytes: 20 }),
        (vec![Hold], TlsOutcome::Silent { waited_ms: 0.0, received_bytes: 0 }),
        (vec![Hear, say(&hello[..20]), Hold], TlsOutcome::Silent { waited_ms: 0.0, received_bytes: 20 }),
    ]
}

#[tokio::test]
async fn every_way_to_refuse_a_handshake_has_its_own_name() {
    let store = Authority::new(ORG, (2000, 2100)).store();
    for (steps, expected) in refusals() {
        let result = shake(scripted(steps.clone()), &store, &[], 400).await;
        assert_eq!(timeless(result.handshake.outcome), expected, "{steps:?}");
        assert!(result.stream.is_none() && result.chain.is_none());
    }
}

#[tokio::test]
async fn a_raw_offer_names_refusals_like_a_handshake() {
    for (steps, expected) in refusals() {
        let outcome = offered(scripted(steps.clone()), OfferKind::Only(TlsVersion::V12)).await;
        assert_eq!(timeless(outcome), expected, "{steps:?}");
    }
}

async fn offered(to: SocketAddr, kind: OfferKind) -> TlsOutcome {
    let stream = TcpStream::connect(to).await.unwrap();
    let wait = Duration::from_millis(400);
    let ask = OfferAsk { to, role: Role::Target, kind, name: "server.test", alpn: &["h2"], wait, clamped_mss: None };
    let seen = offer(stream, &ask).await;
    assert_eq!(seen.offer.name, kind.name());
    assert_eq!(seen.offer.sni.is_none(), kind == OfferKind::NoSni);
    assert_eq!(seen.offer.alpn.is_empty(), kind == OfferKind::NoAlpn);
    assert!(seen.offer.hello_bytes.is_some_and(|size| size > 100 && (kind != OfferKind::ShortHello || size < 256)));
    seen.outcome
}

#[tokio::test]
async fn an_offer_tells_which_versions_a_server_takes() {
    use OfferKind::*;
    let authority = Authority::new(ORG, (2000, 2100));
    let both = [&TLS12, &TLS13];
    let cases: &[(&[&'static rustls::SupportedProtocolVersion], OfferKind, Option<&str>)] = &[
        (&both, Only(TlsVersion::V13), Some("TLS 1.3")),
        (&both, Only(TlsVersion::V12), Some("TLS 1.2")),
        (&both, Only(TlsVersion::V11), None),
        (&both, Only(TlsVersion::V10), None),
        (&[&TLS12], Only(TlsVersion::V13), None),
        (&[&TLS12], Only(TlsVersion::V12), Some("TLS 1.2")),
        (&[&TLS13], Only(TlsVersion::V12), None),
        (&both, AllCiphers, Some("TLS 1.3")),
        (&both, NoSni, Some("TLS 1.3")),
        (&both, OtherSni, Some("TLS 1.3")),
        (&both, NoAlpn, Some("TLS 1.3")),
        (&both, ShortHello, Some("TLS 1.2")),
        (&both, ClampedMss, Some("TLS 1.3")),
        (&both, SecondTry, Some("TLS 1.3")),
    ];
    for (versions, kind, expected) in cases {
        let to = tls(authority.server(versions, &[], ClientAuth::None), vec![Step::Hear, Step::Hold]);
        let outcome = offered(to, *kind).await;
        match (expected, &outcome) {
            (Some(expected), TlsOutcome::Accepted { version, .. }) => assert_eq!(version, expected, "{kind:?}"),
            (None, TlsOutcome::Alert { code: 40 | 70 | 71, .. }) => {}
            _ => panic!("{kind:?}: {outcome:?}"),
        }
    }
    let old = scripted(vec![Step::Hear, say(server_hello(1)), Step::Hold]);
    assert_eq!(offered(old, Only(TlsVersion::V10)).await, TlsOutcome::Accepted { version: "TLS 1.0".to_owned(), cipher: 0xc013 });
}

#[tokio::test]
async fn a_sound_server_is_done_and_trusted_in_both_versions() {
    let authority = Authority::new(ORG, (2000, 2100));
    let store = authority.store();
    for (version, name, cipher) in
        [(&TLS13, "TLS 1.3", "TLS_AES_256_GCM_SHA384"), (&TLS12, "TLS 1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    {
        let to = tls(authority.server(&[version], &["h2", "http/1.1"], ClientAuth::None), vec![say("hi"), Step::Hold]);
        let mut result = shake(to, &store, &["h2", "http/1.1"], 2000).await;
        let done = TlsOutcome::Done {
            version: name.to_owned(),
            cipher: cipher.to_owned(),
            alpn: Some("h2".to_owned()),
            client_cert_requested: false,
            resumed: false,
        };
        assert_eq!(result.handshake.outcome, done);
        assert_eq!(result.handshake.offer.sni.as_deref(), Some("server.test"));
        assert!(result.handshake.offer.hello_bytes.is_some_and(|size| size > 100 && size < 600));
        let chain = result.chain.unwrap();
        assert_eq!((chain.trust, chain.name_matches, chain.path.as_slice(), chain.roots), (Trust::Trusted, true, &[0, 1][..], 1));
        assert_eq!(chain.certificates[0].names, ["server.test", "127.0.0.1"]);
        let stream = result.stream.as_mut().unwrap();
        assert_eq!(stream.ended(Duration::from_millis(100)).await, None);
        assert_eq!(stream.alpn(), Some("h2"));
    }
}

#[tokio::test]
async fn a_version_that_we_do_not_speak_is_our_own_refusal() {
    let store = Authority::new(ORG, (2000, 2100)).store();
    let to = scripted(vec![Step::Hear, say(server_hello(1)), Step::Hold]);
    let outcome = shake(to, &store, &[], 400).await.handshake.outcome;
    assert!(matches!(outcome, TlsOutcome::Rejected { .. }), "{outcome:?}");
}

#[tokio::test]
async fn no_common_protocol_or_cipher_is_the_servers_alert() {
    let authority = Authority::new(ORG, (2000, 2100));
    let store = authority.store();
    let to = tls(authority.server(&[&TLS13], &["other"], ClientAuth::None), vec![Step::Hear]);
    assert_eq!(shake(to, &store, &["h2"], 2000).await.handshake.outcome, alert(120, "no_application_protocol"));
    // The certificate is ECDSA, so RSA suites fit nobody.
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite().as_str().is_some_and(|name| name.contains("ECDHE_RSA")));
    let sound = authority.sound();
    let builder = rustls::ServerConfig::builder_with_provider(provider.into()).with_protocol_versions(&[&TLS12]).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(sound.chain, sound.key).unwrap();
    assert_eq!(shake(tls(config, vec![Step::Hear]), &store, &[], 2000).await.handshake.outcome, alert(40, "handshake_failure"));
}

#[tokio::test]
async fn a_demand_for_a_client_certificate_is_seen_and_its_refusal_named() {
    let authority = Authority::new(ORG, (2000, 2100));
    let store = authority.store();
    for (version, after) in [(&TLS12, false), (&TLS13, true)] {
        let to = tls(authority.server(&[version], &[], ClientAuth::Required), vec![Step::Hear]);
        let result = shake(to, &store, &[], 2000).await;
        let TlsOutcome::Alert { name, after_handshake, client_cert_requested, .. } = result.handshake.outcome else {
            panic!("{:?}", result.handshake.outcome)
        };
        assert!(name == "certificate_required" || name == "handshake_failure", "{name}");
        assert_eq!((after_handshake, client_cert_requested), (after, true));
        assert_eq!(result.chain.map(|chain| chain.trust), Some(Trust::Trusted));
        assert!(result.stream.is_none());
        let to = tls(authority.server(&[version], &[], ClientAuth::Optional), vec![Step::Hear, Step::Hold]);
        let healthy = shake(to, &store, &[], 2000).await;
        assert!(matches!(healthy.handshake.outcome, TlsOutcome::Done { client_cert_requested: true, .. }));
        assert!(healthy.stream.is_some());
    }
}

#[tokio::test]
async fn a_late_refusal_reaches_whoever_listens_after_the_handshake() {
    let authority = Authority::new(ORG, (2000, 2100));
    let store = authority.store();
    let to = tls_late(authority.server(&[&TLS13], &[], ClientAuth::Required), 600);
    let mut result = shake(to, &store, &[], 2000).await;
    assert!(matches!(result.handshake.outcome, TlsOutcome::Done { client_cert_requested: true, .. }));
    let end = result.stream.as_mut().unwrap().ended(Duration::from_secs(3)).await;
    assert!(matches!(&end, Some(TlsOutcome::Alert { code: 116, after_handshake: true, .. })), "{end:?}");
}

#[tokio::test]
async fn a_name_that_no_certificate_can_hold_is_refused_before_a_byte_is_sent() {
    let store = Authority::new(ORG, (2000, 2100)).store();
    let to = scripted(vec![Step::Hold]);
    let stream = TcpStream::connect(to).await.unwrap();
    let result = handshake(stream, &TlsAsk { name: "bad name", ..ask(to, &store, &[], 400) }).await;
    assert!(matches!(result.handshake.outcome, TlsOutcome::Rejected { .. }));
    assert_eq!((result.handshake.offer.hello_bytes, NOW > 0), (None, true));
}
