//! `faultmap replay`: recordings good, bad and hostile.

use crate::{Scratch, run, run_with_input};
use faultmap_model::observation::{
    ConnectOutcome, Echo, HttpExchange, HttpOutcome, HttpResponse, IcmpError, NotAsked, Role, SystemLookup, TcpConnect, TlsHandshake,
    TlsOffer, TlsOutcome, Walk, WalkProtocol,
};
use faultmap_model::recording::{Expect, Header, SCHEMA};
use faultmap_model::{Observation, Recording, Report, Seen, Target};

fn recording(target: &str, seen: Vec<Seen>) -> Recording {
    let observations =
        (1..).zip(seen).map(|(id, seen)| Observation { id, layer: seen.layer(), at_ms: f64::from(id) / 3.0, took_ms: 0.1, seen });
    let header = Header {
        schema: SCHEMA.to_owned(),
        target: Target::parse(target).expect("target"),
        started_unix_ms: 1_790_000_000_000,
        total_ms: 100.0 / 3.0,
        cut_short: true,
        privileges: Vec::new(),
        expect: Expect::default(),
        from: None,
    };
    Recording { header, observations: observations.collect() }
}

fn bytes(recording: &Recording) -> Vec<u8> {
    let mut bytes = Vec::new();
    recording.write(&mut bytes).expect("written");
    bytes
}

fn connect(outcome: ConnectOutcome) -> Seen {
    Seen::TcpConnect(TcpConnect { to: "10.2.0.10:443".parse().expect("addr"), role: Role::Target, outcome, local: None, answer_ttl: None })
}

fn refused() -> Recording {
    let lookup = SystemLookup { name: "shop.test".to_owned(), addresses: vec!["10.2.0.10".parse().expect("ip")], error: None };
    recording(
        "https://shop.test/",
        vec![Seen::SystemLookup(lookup), connect(ConnectOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: None })],
    )
}

#[test]
fn a_recording_is_judged_again_the_same_every_time() {
    let scratch = Scratch::new();
    let recording = refused();
    std::fs::write(scratch.path("r"), bytes(&recording)).expect("written");
    let expect = format!("{}\n", serde_json::to_string(&Report::new(recording.clone())).expect("json"));
    for _ in 0..2 {
        let ran = run(&["replay", &scratch.path("r"), "--json"]);
        assert_eq!((ran.code, &ran.out, ran.err.as_str()), (14, &expect, ""));
    }
    let piped = run_with_input(&["replay", "-", "--json"], &bytes(&recording));
    assert_eq!((piped.code, &piped.out), (14, &expect));
    assert!(run(&["replay", &scratch.path("r")]).out.contains("l4.port-closed"));
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    let check = |input: &[u8], says: &str| {
        let ran = run_with_input(&["replay", "-"], input);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
        assert!(!ran.err.trim_end().contains(|c: char| c.is_control() && c != '\n'), "{:?}", ran.err);
    };
    let good = bytes(&refused());
    check(b"", "empty");
    check(b"\n\n\n", "empty");
    check(b"garbage\n", "line 1");
    check(b"\xff\xfe\x00\x00", "line 1");
    check(b"{}\n", "schema");
    check(b"{\"schema\":\"faultmap.recording/9\"}\n", "faultmap.recording/9");
    check(b"{\"schema\":\"\x1b[2Jboo\"}\n", "line 1");
    check("{\"schema\":\"\\u001b[2Jboo\"}\n".as_bytes(), "schema");
    check(&[&good[..], b"{\"id\":9}\n"].concat(), "line 4");
    check(&[&good[..], "{\"id\":9,\"layer\":\"L4\",\"at_ms\":0,\"took_ms\":0,\"kind\":\"\\u001b[2J\"}\n".as_bytes()].concat(), "line 4");
    check(&good[..good.len() - 20], "line 3");
    check(&vec![b'x'; 5 << 20], "line 1");
    check(&[&good[..], &vec![b' '; 5 << 20]].concat(), "line 4");
    check("[".repeat(100_000).as_bytes(), "line 1");
}

#[test]
fn a_recording_that_is_not_there_is_told() {
    let scratch = Scratch::new();
    for path in [scratch.path("none"), scratch.path("")] {
        let ran = run(&["replay", &path]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(ran.err.contains("cannot read"), "{}", ran.err);
    }
}

/// Text that a server or a forged recording may hold.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{9b}31m\u{202e}evil";

fn hostile() -> Recording {
    let to = "10.2.0.10:443".parse().expect("addr");
    let text = || HOSTILE.to_owned();
    let icmp = IcmpError { icmp_type: 255, code: 255, from: "::1".parse().expect("ip"), mtu: Some(u32::MAX) };
    let mut response = HttpResponse {
        status: 502,
        headers: vec![("server".to_owned(), text()), ("location".to_owned(), text())],
        ttfb_ms: 1e300,
        ..HttpResponse::default()
    };
    response.body.excerpt = text();
    response.body.declared_type = Some(text());
    let offer =
        TlsOffer { name: text(), sni: Some(text()), alpn: vec![text()], versions: vec![text()], hello_bytes: None, clamped_mss: None };
    let mut recording = recording(
        "https://shop.test/",
        vec![
            Seen::SystemLookup(SystemLookup { name: text(), addresses: Vec::new(), error: Some(text()) }),
            connect(ConnectOutcome::Silent { waited_ms: -1e300, retransmits: u32::MAX, icmp: Some(icmp) }),
            connect(ConnectOutcome::Failed { errno: text(), icmp: None }),
            Seen::Echo(Echo {
                to: "10.2.0.10".parse().expect("ip"),
                role: Role::Target,
                payload_bytes: 0,
                dont_fragment: true,
                sent: 0,
                received: 9,
                duplicates: 1,
                rtts_ms: vec![-1.0],
                reply_ttl: Some(0),
                icmp: None,
                errno: Some(text()),
            }),
            Seen::Walk(Walk { to, role: Role::Target, protocol: WalkProtocol::Tcp, hops: Vec::new(), reached_ttl: Some(255) }),
            Seen::TlsHandshake(TlsHandshake {
                to,
                role: Role::Target,
                offer,
                outcome: TlsOutcome::NotTls { first_bytes: text(), looks_like: Some(text()) },
                tcp: None,
            }),
            Seen::HttpExchange(HttpExchange {
                to,
                method: text(),
                url: text(),
                purpose: text(),
                version: text(),
                outcome: HttpOutcome::Response(Box::new(response)),
                tcp: None,
            }),
            Seen::NotAsked(NotAsked { question: text(), why: text(), would_settle: text(), missing: Some(text()) }),
        ],
    );
    recording.header.target.input = text();
    recording.header.target.host = text();
    recording.header.total_ms = f64::MAX;
    recording
}

#[test]
fn no_recording_can_command_the_terminal() {
    let bytes = bytes(&hostile());
    for args in [&["replay", "-", "-v"][..], &["replay", "-", "-q"], &["replay", "-", "--tcpip", "-v"], &["replay", "-"]] {
        let ran = run_with_input(args, &bytes);
        assert!(!ran.out.is_empty(), "{}", ran.err);
        let bad = ran.out.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None, "{args:?}: {}", ran.out);
    }
}
