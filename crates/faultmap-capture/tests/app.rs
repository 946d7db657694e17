//! What captures of others say at L5 to L7, conversation by conversation: read from the folder that FAULTMAP_CAPTURES names. They are not ours to commit;
//! where the folder is not set, the test says so and passes. Segments are put in order here in the simplest way, so that only conversations are tested.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use faultmap_capture::app::{Below, Chunk, Conversation, End, Ends, Sink, Talk, datagrams};
use faultmap_capture::file::Files;
use faultmap_capture::finding::Weight;
use faultmap_capture::flow::Side;
use faultmap_capture::packet::{PacketNo, Stamp};
use faultmap_wire::dissect::{Network, Transport, dissect};
use faultmap_wire::{Tcp, TcpFlags};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The rules that must match in a capture, the worst that may be found, and protocols that must be recognised.
const EXPECTED: &[(&str, &[&str], Weight, &[&str])] = &[
    ("lab-l4_rst_mid_response.pcap", &["http.truncated-body"], Weight::Fault, &["http"]),
    ("chrissanders-latency1.pcapng", &[], Weight::Note, &["http"]),
    ("chrissanders-latency3.pcapng", &["http.client-slow"], Weight::Warning, &["http"]),
    ("lab-l7_server_think_2s.pcap", &["http.server-think"], Weight::Warning, &["http"]),
    ("zeek-tls__tls-1.2-handshake-failure.pcap", &["tls.alert"], Weight::Fault, &["tls"]),
    ("ndpi-tls_alert.pcap", &["tls.alert"], Weight::Fault, &["tls"]),
    ("zeek-tls__certificate-request-failed.pcap", &["tls.alert"], Weight::Fault, &["tls"]),
    ("lab-l6_tls_unknown_ca_alert.pcap", &["tls.alert"], Weight::Fault, &["tls"]),
    ("zeek-tls__tls-expired-cert.pcap", &["tls.cert-expired"], Weight::Fault, &["tls"]),
    ("zeek-tls__https-to-http.pcap", &["tls.plaintext-reply"], Weight::Fault, &["tls"]),
    ("lab-l6_plaintext_to_tls_port.pcap", &["tls.plaintext-request"], Weight::Fault, &["http"]),
    ("zeek-tls__missing-intermediate.pcap", &["tls.chain-incomplete"], Weight::Warning, &["tls"]),
    ("chrissanders-dns_query_nonexistent.pcapng", &["dns.nxdomain"], Weight::Warning, &["dns"]),
    ("chrissanders-nowebaccess1.pcapng", &["dns.timeout"], Weight::Fault, &["dns"]),
    ("zeek-dns-two-responses.pcap", &["dns.duplicate-response"], Weight::Note, &["dns"]),
    ("lab-l7_dns_servfail.pcap", &["dns.servfail"], Weight::Fault, &["dns"]),
    // Each try has a port of its own.
    ("lab-l7_dns_drop.pcap", &["dns.timeout", "dns.unanswered"], Weight::Fault, &["dns"]),
    ("lab-l7_dns_ttl0.pcap", &["dns.ttl0"], Weight::Note, &["dns"]),
    ("lab-l7_dns_empty.pcap", &["dns.nodata"], Weight::Warning, &["dns"]),
    ("ndpi-malformed_dns.pcap", &["dns.malformed"], Weight::Warning, &["dns"]),
    ("zeek-http__methods.pcap", &["http.status"], Weight::Warning, &["http"]),
    ("lab-l7_http_503.pcap", &["http.status"], Weight::Fault, &["http"]),
    ("suricata-http2-errorcode__input.pcap", &["h2.goaway"], Weight::Fault, &["h2"]),
    ("wireshark-grpc_stream_reassembly_sample.pcapng.gz", &[], Weight::Note, &["grpc"]),
    ("zeek-websocket__message-too-big-status.pcap", &["ws.close"], Weight::Fault, &["websocket"]),
    ("zeek-postgresql__psql-login-fail.pcap", &["pg.error"], Weight::Fault, &["postgres"]),
    ("zeek-postgresql__psql-insert-fail-drop-fail.pcap", &["pg.error"], Weight::Warning, &["postgres"]),
    ("zeek-postgresql__http-on-port-5432.pcap", &["proto.mismatch"], Weight::Note, &["http"]),
    ("lab-l7_pg_auth_or_db_missing.pcap", &["pg.error"], Weight::Fault, &["postgres"]),
    ("zeek-mysql__change-user-error.pcap", &["mysql.error"], Weight::Fault, &["mysql"]),
    ("lab-l7_mysql_sql_error.pcap", &["mysql.greeting-slow", "mysql.error"], Weight::Warning, &["mysql"]),
    ("zeek-redis__auth.pcap", &["redis.error"], Weight::Fault, &["redis"]),
    ("ndpi-ftp_failed.pcap", &["ftp.reply"], Weight::Fault, &["ftp"]),
    ("zeek-http__docker-http-upgrade.pcap", &[], Weight::Note, &["http"]),
    ("chrissanders-weather_working.pcapng", &[], Weight::Note, &[]),
    ("chrissanders-http_google.pcapng", &[], Weight::Note, &["http"]),
    ("zeek-tls__tls1.2.pcap", &[], Weight::Note, &["tls"]),
    ("zeek-tunnels__vxlan-encapsulated-http.pcap", &[], Weight::Note, &["http"]),
    ("zeek-vlan-collisions.pcap", &[], Weight::Note, &["http"]),
    ("zeek-tcp__ssh-dups.pcap", &[], Weight::Note, &["ssh"]),
    ("zeek-tcp__missing-syn.pcap", &[], Weight::Note, &[]),
    ("suricata-http-gap-simple__input.pcap", &[], Weight::Note, &["http"]),
    ("wireshark-quic-with-secrets.pcapng", &[], Weight::Note, &[]),
    ("tcpdump-quic_vn.pcap", &["quic.version-negotiation"], Weight::Note, &[]),
    ("wireshark-dns-ooo.pcap", &[], Weight::Note, &["dns"]),
];

/// Two ends in a realm, and whether they speak TCP.
type Key = (SocketAddr, SocketAddr, u32, bool);

/// Bytes that wait for those before them.
type Segment = (Vec<u8>, Stamp, PacketNo);

/// One TCP connection, or the datagrams between two ends.
struct Flow {
    ends: Ends,
    talk: Option<Box<dyn Conversation>>,
    next: [Option<u32>; 2],
    waiting: [BTreeMap<u32, Segment>; 2],
    below: Below,
    syn: Option<Stamp>,
    fin: [bool; 2],
    reset: Option<Side>,
}

#[derive(Default)]
struct Told {
    rows: Vec<(String, Weight)>,
    protocols: Vec<&'static str>,
    exchanges: usize,
}

fn read(path: &Path) -> Told {
    let (mut told, mut flows, mut last) = (Told::default(), BTreeMap::<Key, Flow>::new(), Stamp::default());
    let mut files = Files::new(&[path.to_owned()]);
    while let Ok(Some(captured)) = files.next() {
        let frame = dissect(captured.link, captured.bytes, captured.wire_len as usize);
        last = captured.at;
        let Network::Ip(packet) = frame.network else { continue };
        let (src, dst) = (packet.ip.src, packet.ip.dst);
        match packet.transport {
            Transport::Tcp(tcp, payload) => {
                let (from, to) = (SocketAddr::new(src, tcp.src_port), SocketAddr::new(dst, tcp.dst_port));
                let flow = flows
                    .entry((from.min(to), from.max(to), frame.realm, true))
                    .or_insert_with(|| open(from, to, tcp.flags.is_opening(), None));
                segment(flow, from, &tcp, payload, (captured.at, captured.number), &mut told);
            }
            Transport::Udp(udp, payload) if !payload.is_empty() => {
                let (from, to) = (SocketAddr::new(src, udp.src_port), SocketAddr::new(dst, udp.dst_port));
                let flow =
                    flows.entry((from.min(to), from.max(to), frame.realm, false)).or_insert_with(|| open(from, to, true, Some(payload)));
                let side = if from == flow.ends.client { Side::Client } else { Side::Server };
                let mut sink = Sink::default();
                if let Some(talk) = &mut flow.talk {
                    talk.chunk(Chunk { from: side, bytes: payload, at: captured.at, packet: captured.number }, &flow.below, &mut sink);
                }
                keep(&mut told, sink);
            }
            _ => {}
        }
    }
    for flow in flows.values_mut() {
        let how = match (flow.reset, flow.fin) {
            (Some(side), _) => End::Reset(side),
            (None, [true, true]) => End::Closed,
            (None, [true, false]) => End::HalfClosed(Side::Client),
            (None, [false, true]) => End::HalfClosed(Side::Server),
            _ => End::Cut,
        };
        lost(flow, &mut told);
        let mut sink = Sink::default();
        if let Some(talk) = &mut flow.talk {
            talk.end(how, last, &flow.below, &mut sink);
        }
        keep(&mut told, sink);
    }
    told
}

fn open(from: SocketAddr, to: SocketAddr, opens: bool, datagram: Option<&[u8]>) -> Flow {
    let ends = if opens || from.port() > to.port() { Ends { client: from, server: to } } else { Ends { client: to, server: from } };
    Flow {
        ends,
        talk: match datagram {
            None => Some(Box::new(Talk::new(ends, opens))),
            Some(first) => datagrams(ends, first).map(|(_, talk)| talk),
        },
        next: [None; 2],
        waiting: [BTreeMap::new(), BTreeMap::new()],
        below: Below { server_port: ends.server.port(), question_acked_ms: Some(0.0), ..Below::default() },
        syn: None,
        fin: [false; 2],
        reset: None,
    }
}

fn segment(flow: &mut Flow, from: SocketAddr, tcp: &Tcp<'_>, payload: &[u8], (at, number): (Stamp, PacketNo), told: &mut Told) {
    let side = if from == flow.ends.client { Side::Client } else { Side::Server };
    let index = usize::from(side == Side::Server);
    let syn = tcp.flags.has(TcpFlags::SYN);
    if syn {
        flow.next[index] = Some(tcp.seq.wrapping_add(1));
        flow.below.from_the_start |= tcp.flags.is_opening();
        match flow.syn {
            None if tcp.flags.is_opening() => flow.syn = Some(at),
            Some(since) if side == Side::Server => {
                flow.below.handshake_rtt_ms = Some(at.ms_since(since));
                flow.below.established = Some(at);
            }
            _ => {}
        }
    }
    if tcp.flags.has(TcpFlags::RST) {
        flow.reset.get_or_insert(side);
    }
    if tcp.flags.has(TcpFlags::FIN) {
        flow.fin[index] = true;
        flow.below.first_fin.get_or_insert(side);
    }
    if !payload.is_empty() {
        flow.waiting[index].insert(tcp.seq.wrapping_add(u32::from(syn)), (payload.to_vec(), at, number));
        deliver(flow, side, told);
    }
}

/// Hands over what is in order.
fn deliver(flow: &mut Flow, side: Side, told: &mut Told) {
    let index = usize::from(side == Side::Server);
    loop {
        let Some(next) = flow.next[index].or_else(|| flow.waiting[index].keys().next().copied()) else { return };
        flow.next[index] = Some(next);
        let Some(seq) = flow.waiting[index].keys().copied().find(|seq| next.wrapping_sub(*seq) < 1 << 30) else { return };
        let Some((bytes, at, packet)) = flow.waiting[index].remove(&seq) else { return };
        let Some(bytes) = bytes.get(next.wrapping_sub(seq) as usize..).filter(|bytes| !bytes.is_empty()) else { continue };
        flow.next[index] = Some(next.wrapping_add(bytes.len() as u32));
        let mut sink = Sink::default();
        if let Some(talk) = &mut flow.talk {
            talk.chunk(Chunk { from: side, bytes, at, packet }, &flow.below, &mut sink);
        }
        keep(told, sink);
    }
}

/// What was not captured is stepped over.
fn lost(flow: &mut Flow, told: &mut Told) {
    for side in [Side::Client, Side::Server] {
        let index = usize::from(side == Side::Server);
        while let (Some(next), Some(seq)) = (flow.next[index], flow.waiting[index].keys().next().copied()) {
            let mut sink = Sink::default();
            if let Some(talk) = &mut flow.talk {
                talk.gap(side, u64::from(seq.wrapping_sub(next)), &mut sink);
            }
            keep(told, sink);
            flow.next[index] = Some(seq);
            deliver(flow, side, told);
        }
    }
}

fn keep(told: &mut Told, sink: Sink) {
    told.exchanges += sink.exchanges.len();
    told.protocols.extend(sink.protocol);
    let row = |finding: faultmap_capture::finding::Finding| {
        (format!("{} {} {}", finding.rule, finding.cause.unwrap_or("-"), finding.text), finding.weight)
    };
    told.rows.extend(sink.findings.into_iter().map(row));
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("FAULTMAP_CAPTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: FAULTMAP_CAPTURES does not name a folder of captures");
    }
    folder
}

#[test]
fn captures_of_others_show_what_they_are_known_for_and_no_more() {
    let Some(folder) = folder() else { return };
    let mut wrong = Vec::new();
    for (name, rules, worst, protocols) in EXPECTED {
        let told = read(&folder.join(name));
        let missing = rules.iter().filter(|rule| !told.rows.iter().any(|(row, _)| row.starts_with(**rule)));
        wrong.extend(missing.map(|rule| format!("{name}: {rule} is missing")));
        wrong.extend(told.rows.iter().filter(|(_, weight)| weight > worst).map(|(row, weight)| format!("{name}: {weight:?} {row}")));
        // Datagrams are known by their first, and say no name here.
        let unknown = protocols.iter().filter(|spoken| **spoken != "dns" && !told.protocols.contains(spoken));
        wrong.extend(unknown.map(|spoken| format!("{name}: {spoken} is not recognised")));
        eprintln!("{name}: {} exchanges, {:?}", told.exchanges, told.protocols);
        for (row, weight) in &told.rows {
            eprintln!("    {weight:?} {row}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_capture_however_damaged_makes_a_conversation_panic() {
    let Some(folder) = folder() else { return };
    for place in [folder.clone(), folder.join("malformed"), folder.join("pcapng-format")] {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            read(&entry.path());
        }
    }
}
