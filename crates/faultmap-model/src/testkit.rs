//! Recordings made by hand, for the tests of causes and of the judge.

use crate::observation::{
    BodyReading, Certificate, ConnectOutcome, Dialogue, DialogueOutcome, DialogueStep, DnsAnswer, DnsConfig, DnsOutcome, DnsQuery,
    HostsFile, HttpExchange, HttpOutcome, HttpResponse, HttpSamples, Payload, RecordType, Role, SampleRow, Spoken, SystemLookup,
    TcpConnect, TcpHealth, TlsChain, TlsHandshake, TlsOffer, TlsOutcome, Transport, Trust,
};
use crate::recording::{Expect, Header, SCHEMA};
use crate::{Evidence, Observation, Recording, Seen, Target};

/// A recording of these answers, in this order, one millisecond apart; unprivileged.
pub(crate) fn recording(target: &str, seen: Vec<Seen>) -> Recording {
    let observations = (1..).zip(seen).map(|(id, seen)| Observation { id, layer: seen.layer(), at_ms: f64::from(id), took_ms: 1.0, seen });
    Recording {
        header: Header {
            schema: SCHEMA.to_owned(),
            target: Target::parse(target).expect("test target"),
            started_unix_ms: 1_790_000_000_000,
            total_ms: 100.0,
            cut_short: false,
            privileges: Vec::new(),
            expect: Expect::default(),
            from: None,
        },
        observations: observations.collect(),
    }
}

/// What one cause claims of a recording, as `(confidence, breaks)`; `None` when it keeps silent or contradicts.
pub(crate) fn claims(cause: &crate::causes::Cause, recording: &Recording) -> Option<(f64, bool)> {
    let claim = (cause.claim)(&Evidence::new(recording))?;
    if claim.standing == crate::causes::Standing::Contradicted {
        return None;
    }
    assert!(!claim.because.is_empty(), "{} claims without evidence", cause.id);
    for id in &claim.because {
        assert!(recording.observations.iter().any(|o| o.id == *id), "{} cites {id}, which is not there", cause.id);
    }
    Some((claim.confidence(), claim.severity == crate::causes::Severity::Breaks))
}

/// The clock of the healthy recordings: 2026-09-21 14:13:20 UTC.
pub(crate) const NOW: i64 = 1_790_000_000;
const DAY: i64 = 86_400;

/// A whole check of a healthy HTTPS service: resolved, connected, encrypted, trusted, answered with JSON.
pub(crate) fn healthy_https() -> Recording {
    let mut seen = resolved();
    seen.extend([Seen::TlsHandshake(tls("default", done())), Seen::TlsChain(trusted_chain())]);
    let mut response = json_response(200);
    response.headers.push(("cache-control".to_owned(), "max-age=60".to_owned()));
    seen.extend([
        Seen::HttpExchange(exchange("default", HttpOutcome::Response(Box::new(response)))),
        Seen::HttpSamples(samples(&[("200", false, None, 6)])),
    ]);
    recording("https://shop.test/", seen)
}

/// The same without TLS.
pub(crate) fn healthy_http() -> Recording {
    let mut seen = resolved();
    let answer =
        HttpExchange { url: "http://shop.test/".to_owned(), ..exchange("default", HttpOutcome::Response(Box::new(json_response(200)))) };
    seen.push(Seen::HttpExchange(answer));
    recording("http://shop.test:443/", seen)
}

/// A DNS server that is the target and answers.
pub(crate) fn healthy_dns() -> Recording {
    let ask = |kind, address: &str| Seen::DnsQuery(DnsQuery { role: Role::Target, ..query(RESOLVER, kind, found(&[address])) });
    recording("dns://10.1.0.53/shop.test", vec![ask(RecordType::A, "10.2.0.10"), ask(RecordType::Aaaa, "fd00:2::10")])
}

/// The resolver of the healthy recordings, and one more.
pub(crate) const RESOLVER: &str = "10.1.0.53:53";
pub(crate) const OTHER_RESOLVER: &str = "10.1.0.54:53";
/// The server of the healthy recordings.
pub(crate) const SERVER: &str = "10.2.0.10:443";

fn resolved() -> Vec<Seen> {
    let address: std::net::IpAddr = "10.2.0.10".parse().expect("address");
    let name = || "shop.test".to_owned();
    vec![
        Seen::DnsConfig(DnsConfig {
            resolvers: vec![RESOLVER.parse().expect("addr")],
            search: Vec::new(),
            ndots: 1,
            source: "/etc/resolv.conf".to_owned(),
        }),
        Seen::HostsFile(HostsFile { name: name(), addresses: Vec::new() }),
        Seen::SystemLookup(SystemLookup { name: name(), addresses: vec![address], error: None }),
        Seen::DnsQuery(query(RESOLVER, RecordType::A, found(&["10.2.0.10"]))),
        Seen::DnsQuery(query(RESOLVER, RecordType::Aaaa, found(&[]))),
        Seen::TcpConnect(TcpConnect {
            to: SERVER.parse().expect("addr"),
            role: Role::Target,
            outcome: ConnectOutcome::Connected { rtt_ms: 1.0, retransmits: 0, mss: 1448, pmtu: 1500 },
            local: None,
            answer_ttl: Some(63),
        }),
    ]
}

/// One question for `shop.test` to a resolver.
pub(crate) fn query(resolver: &str, record_type: RecordType, outcome: DnsOutcome) -> DnsQuery {
    DnsQuery {
        resolver: resolver.parse().expect("addr"),
        role: Role::Resolver,
        transport: Transport::Udp,
        name: "shop.test".to_owned(),
        record_type,
        checking_disabled: false,
        offered: None,
        sent: 1,
        outcome,
    }
}

/// NOERROR with these addresses, TTL 300.
pub(crate) fn found(addresses: &[&str]) -> DnsOutcome {
    let addresses: Vec<std::net::IpAddr> = addresses.iter().map(|address| address.parse().expect("address")).collect();
    let records = u32::try_from(addresses.len()).expect("few");
    DnsOutcome::Answer(DnsAnswer {
        rcode: 0,
        authoritative: false,
        truncated: false,
        recursion_available: true,
        authentic: false,
        min_ttl_s: (records > 0).then_some(300),
        addresses,
        cnames: Vec::new(),
        ede: Vec::new(),
        referral: None,
        records,
        bytes: 60,
    })
}

/// An answer with this RCODE and nothing else.
pub(crate) fn rcode(code: u16) -> DnsOutcome {
    let DnsOutcome::Answer(answer) = found(&[]) else { unreachable!() };
    DnsOutcome::Answer(DnsAnswer { rcode: code, ..answer })
}

/// Nothing in five seconds.
pub(crate) fn unanswered() -> DnsOutcome {
    DnsOutcome::Silent { waited_ms: 5_000.0, mismatched: 0 }
}

/// One handshake with the server under this offer.
pub(crate) fn tls(offer: &str, outcome: TlsOutcome) -> TlsHandshake {
    TlsHandshake {
        to: SERVER.parse().expect("addr"),
        role: Role::Target,
        offer: TlsOffer {
            name: offer.to_owned(),
            sni: Some("shop.test".to_owned()),
            alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
            versions: vec!["TLS 1.2".to_owned(), "TLS 1.3".to_owned()],
            hello_bytes: Some(517),
            clamped_mss: None,
        },
        outcome,
        tcp: Some(TcpHealth::default()),
    }
}

/// A completed handshake.
pub(crate) fn done() -> TlsOutcome {
    TlsOutcome::Done {
        version: "TLS 1.3".to_owned(),
        cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
        alpn: Some("http/1.1".to_owned()),
        client_cert_requested: false,
        resumed: false,
    }
}

/// A fatal alert during the handshake.
pub(crate) fn alert(code: u8) -> TlsOutcome {
    TlsOutcome::Alert { code, name: format!("alert-{code}"), after_handshake: false, client_cert_requested: false }
}

/// The server took a raw offer.
pub(crate) fn accepted(version: &str, cipher: u16) -> TlsOutcome {
    TlsOutcome::Accepted { version: version.to_owned(), cipher }
}

/// A leaf and its intermediate, both sound for months.
pub(crate) fn trusted_chain() -> TlsChain {
    let certificate = |subject: &str, issuer: &str, is_ca: bool| Certificate {
        subject: subject.to_owned(),
        issuer: issuer.to_owned(),
        names: if is_ca { Vec::new() } else { vec!["shop.test".to_owned(), "www.shop.test".to_owned()] },
        not_before_unix: NOW - 20 * DAY,
        not_after_unix: NOW + 70 * DAY,
        self_signed: false,
        sha256: subject.to_owned(),
        is_ca,
        issuer_url: Some("http://ca.test/intermediate.cer".to_owned()),
    };
    TlsChain {
        to: SERVER.parse().expect("addr"),
        name: "shop.test".to_owned(),
        certificates: vec![certificate("CN=shop.test", "CN=Intermediate", false), certificate("CN=Intermediate", "CN=Root", true)],
        trust: Trust::Trusted,
        trust_error: None,
        name_matches: true,
        now_unix: NOW,
        demanded: None,
        path: vec![0, 1],
        roots: 140,
        store: "system".to_owned(),
    }
}

/// One GET of `https://shop.test/`.
pub(crate) fn exchange(purpose: &str, outcome: HttpOutcome) -> HttpExchange {
    HttpExchange {
        to: SERVER.parse().expect("addr"),
        method: "GET".to_owned(),
        url: "https://shop.test/".to_owned(),
        purpose: purpose.to_owned(),
        version: "HTTP/1.1".to_owned(),
        outcome,
        tcp: Some(TcpHealth { rtt_ms: 1.0, ..TcpHealth::default() }),
    }
}

/// One conversation with the server, of one step, with this outcome.
pub(crate) fn dialogue(protocol: Spoken, step: &str, outcome: DialogueOutcome) -> Dialogue {
    Dialogue {
        to: SERVER.parse().expect("addr"),
        protocol,
        purpose: "default".to_owned(),
        steps: vec![DialogueStep { name: step.to_owned(), took_ms: 1.0 }],
        server: None,
        facts: Vec::new(),
        first_byte_ms: Some(1.0),
        outcome,
        tcp: Some(TcpHealth::default()),
    }
}

/// A small JSON answer with this status.
pub(crate) fn json_response(status: u16) -> HttpResponse {
    HttpResponse {
        status,
        headers: vec![("server".to_owned(), "nginx".to_owned())],
        ttfb_ms: 4.0,
        body: BodyReading {
            wire_bytes: 17,
            decoded_bytes: 17,
            declared_type: Some("application/json".to_owned()),
            sniffed: "json".to_owned(),
            excerpt: "{\"status\": \"ok\"}".to_owned(),
            ..BodyReading::default()
        },
        date_unix: Some(NOW),
        now_unix: NOW,
    }
}

/// Samples by `(outcome, failed, backend, count)`.
pub(crate) fn samples(rows: &[(&str, bool, Option<&str>, u32)]) -> HttpSamples {
    let row = |(outcome, failed, backend, count): &(&str, bool, Option<&str>, u32)| SampleRow {
        outcome: (*outcome).to_owned(),
        failed: *failed,
        to: SERVER.parse().expect("addr"),
        backend: backend.map(str::to_owned),
        count: *count,
        median_ms: 4.0,
    };
    HttpSamples { tried: rows.iter().map(|(.., count)| count).sum(), rows: rows.iter().map(row).collect() }
}

/// The recording with every payload of one kind changed.
pub(crate) fn but<T: Payload + Clone>(mut recording: Recording, change: impl Fn(&mut T)) -> Recording {
    for observation in &mut recording.observations {
        if let Some(payload) = T::of(&observation.seen) {
            let mut payload = payload.clone();
            change(&mut payload);
            observation.seen = payload.into();
        }
    }
    recording
}

/// The recording with the response of every exchange changed.
pub(crate) fn but_response(recording: Recording, change: impl Fn(&mut HttpResponse)) -> Recording {
    but::<HttpExchange>(recording, |http| {
        if let HttpOutcome::Response(response) = &mut http.outcome {
            change(response);
        }
    })
}

/// The recording with one more observation at its end.
pub(crate) fn plus(mut recording: Recording, seen: impl Into<Seen>) -> Recording {
    let seen = seen.into();
    let id = recording.observations.last().map_or(0, |last| last.id) + 1;
    recording.observations.push(Observation { id, layer: seen.layer(), at_ms: f64::from(id), took_ms: 1.0, seen });
    recording
}

/// The recording without observations of one kind.
pub(crate) fn without<T: Payload>(mut recording: Recording) -> Recording {
    recording.observations.retain(|observation| T::of(&observation.seen).is_none());
    recording
}

/// The recording in which every answer of one kind took this long.
pub(crate) fn took<T: Payload>(mut recording: Recording, took_ms: f64) -> Recording {
    for observation in recording.observations.iter_mut().filter(|observation| T::of(&observation.seen).is_some()) {
        observation.took_ms = took_ms;
    }
    recording
}

/// A conversation in the target's own protocol that ended so at this step.
pub(crate) fn conversation(target: &str, purpose: &str, step: &str, outcome: DialogueOutcome) -> Dialogue {
    let protocol = Target::parse(target).expect("test target").scheme.dialogue().expect("a protocol of its own");
    Dialogue { purpose: purpose.to_owned(), ..dialogue(protocol, step, outcome) }
}

/// A check whose conversation ended so.
pub(crate) fn spoken(target: &str, step: &str, outcome: DialogueOutcome) -> Recording {
    recording(target, vec![Seen::Dialogue(conversation(target, "default", step, outcome))])
}

/// A check whose conversation was refused with this code.
pub(crate) fn refusing(target: &str, code: &str, message: &str) -> Recording {
    spoken(target, "session", DialogueOutcome::Refused { code: code.to_owned(), message: message.to_owned() })
}
