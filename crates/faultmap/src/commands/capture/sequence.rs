//! `--flow`: the packets of one flow in their order, with what each carries. Reads the files a second time, for the first reading keeps no packet.

use super::{limits, reading};
use crate::cli::CaptureArgs;
use anyhow::Context as _;
use faultmap_capture::analysis::{Analysis, Mark, Outcome};
use faultmap_capture::app::Unsealed;
use faultmap_capture::dolls::secrets;
use faultmap_capture::finding::Finding;
use faultmap_capture::flow::{FlowRecord, Side};
use faultmap_capture::packet::{Captured, Stamp};
use faultmap_wire::dissect::{Network, Transport, dissect};
use faultmap_wire::names::tls_handshake;
use faultmap_wire::{Tcp, TcpFlags};
use serde::Serialize;
use std::ops::ControlFlow;

/// Packets that are shown; a longer flow is cut.
const MOST_ROWS: usize = 20_000;
/// Characters of what a packet carries.
const MOST_TEXT: usize = 60;

/// One packet of the flow.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// Its number in the capture.
    pub(crate) packet: u64,
    /// Since the flow's first packet.
    pub(crate) at_ms: f64,
    /// Who sent it.
    pub(crate) from: Side,
    /// TCP flags: `SYN ACK`; empty elsewhere.
    pub(crate) flags: String,
    /// Sequence number, counted from the first that was seen of this side; null outside TCP.
    pub(crate) seq: Option<u32>,
    /// Acknowledgement number, counted from the first that was seen of the other side.
    pub(crate) ack: Option<u32>,
    /// Window as in the segment, not scaled.
    pub(crate) window: Option<u16>,
    /// Payload bytes.
    pub(crate) len: u32,
    /// What it carries, in short.
    pub(crate) carries: String,
    /// What TCP made of it.
    pub(crate) mark: Mark,
}

/// A flow packet by packet.
#[derive(Debug, Serialize)]
pub(crate) struct Sequence {
    /// Schema name of the JSON object.
    schema: &'static str,
    /// The flow.
    pub(crate) flow: FlowRecord,
    /// Its packets.
    pub(crate) packets: Vec<Row>,
    /// Packets beyond those.
    pub(crate) more: u64,
    /// What was found in it, worst first.
    #[serde(rename = "findings")]
    pub(crate) found: Vec<Finding>,
}

pub(super) fn of(args: &CaptureArgs, outcome: &Outcome, id: u64) -> anyhow::Result<Sequence> {
    let flow = flow(outcome, id)?;
    let mut analysis = Analysis::new(limits(args));
    let keys = reading::keys(args)?;
    analysis.use_keys(keys.clone());
    analysis.keep_opened();
    let mut rows = Vec::new();
    let mut more = 0;
    let mut base = Base::default();
    reading::read(args, &keys, |packet| {
        analysis.packet(packet);
        let opened = analysis.take_opened();
        let Some(place) = analysis.place().filter(|place| place.flow.0 == id) else { return Ok(ControlFlow::Continue(())) };
        match base.row(packet, flow.first, place.from, place.mark) {
            Some(row) if rows.len() < MOST_ROWS => rows.push(Row { carries: inside(&opened).unwrap_or(row.carries), ..row }),
            _ => more += 1,
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let found = outcome.findings.iter().filter(|finding| finding.flow == Some(flow.id)).cloned().collect();
    Ok(Sequence { schema: "faultmap.capture.flow/1", flow: flow.clone(), packets: rows, more, found })
}

/// The flow of this number.
pub(super) fn flow(outcome: &Outcome, id: u64) -> anyhow::Result<&FlowRecord> {
    let found = outcome.flows.iter().find(|flow| flow.id.0 == id);
    found.with_context(|| format!("there is no flow {id} in the tables; --flows lists {}", outcome.flows.len()))
}

/// The first sequence number of each side.
#[derive(Debug, Default)]
struct Base {
    client: Option<u32>,
    server: Option<u32>,
}

impl Base {
    fn row(&mut self, packet: &Captured<'_>, first: Stamp, from: Side, mark: Mark) -> Option<Row> {
        let frame = dissect(packet.link, packet.bytes, packet.wire_len as usize);
        let Network::Ip(ip) = frame.network else { return None };
        let at_ms = packet.at.ms_since(first);
        let plain = |carries: String| Row {
            packet: packet.number.0,
            at_ms,
            from,
            flags: String::new(),
            seq: None,
            ack: None,
            window: None,
            len: ip.payload_len,
            carries,
            mark,
        };
        Some(match ip.transport {
            Transport::Tcp(tcp, payload) => {
                let (seq, ack) = self.relative(&tcp, from);
                let carries = if payload.is_empty() { String::new() } else { carries(payload) };
                Row { flags: flags(&tcp), seq: Some(seq), ack, window: Some(tcp.window), ..plain(carries) }
            }
            Transport::Udp(_, payload) => plain(carries(payload)),
            Transport::Icmp(icmp, _) => plain(format!("ICMP {icmp:?}").chars().take(MOST_TEXT).collect()),
            Transport::Icmpv6(icmp, _) => plain(format!("ICMPv6 {icmp:?}").chars().take(MOST_TEXT).collect()),
            Transport::Other(_) => plain("fragment, or another protocol".to_owned()),
        })
    }

    fn relative(&mut self, tcp: &Tcp<'_>, from: Side) -> (u32, Option<u32>) {
        let (own, other) = match from {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server => (&mut self.server, &mut self.client),
        };
        let seq = tcp.seq.wrapping_sub(*own.get_or_insert(tcp.seq));
        let ack = tcp.flags.has(TcpFlags::ACK).then(|| tcp.ack.wrapping_sub(*other.get_or_insert(tcp.ack.wrapping_sub(1))));
        (seq, ack)
    }
}

fn flags(tcp: &Tcp<'_>) -> String {
    let names = [(TcpFlags::SYN, "SYN"), (TcpFlags::FIN, "FIN"), (TcpFlags::RST, "RST"), (TcpFlags::PSH, "PSH"), (TcpFlags::ACK, "ACK")];
    names.into_iter().filter(|(flag, _)| tcp.flags.has(*flag)).map(|(_, name)| name).collect::<Vec<_>>().join(" ")
}

/// The beginning of a payload, as far as it is text or the record of a protocol that is known by its first bytes.
fn carries(payload: &[u8]) -> String {
    if let [kind @ 20..=23, 3, 0..=4, _, _, rest @ ..] = payload {
        return tls(*kind, rest);
    }
    let line: Vec<u8> = payload.iter().copied().take_while(|byte| !matches!(byte, b'\r' | b'\n')).take(MOST_TEXT).collect();
    let printable = line.iter().filter(|byte| (0x20..0x7f).contains(*byte)).count();
    if line.len() < 3 || printable * 10 < line.len() * 9 {
        return String::new();
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    // A few words more than elsewhere: a line that is cut here may break off within them.
    let by_word = |line: &str| ["auth", "pass", "cookie", "token", "secret"].iter().any(|word| line.to_ascii_lowercase().contains(word));
    let secret = by_word(&line) || !secrets(line.as_bytes()).is_empty();
    if secret { line.split([' ', ':', '?']).next().unwrap_or_default().to_owned() + " …" } else { line }
}

/// What the sealed records say that this packet made readable.
fn inside(opened: &[Unsealed]) -> Option<String> {
    let mut said: Vec<String> = Vec::new();
    for record in opened {
        let text = sealed(record);
        if said.last() != Some(&text) {
            said.push(text);
        }
    }
    (!said.is_empty()).then(|| format!("in TLS: {}", said.join(", ")))
}

fn sealed(record: &Unsealed) -> String {
    match (record.kind, record.bytes.as_slice()) {
        (21, &[level, description]) => format!("alert {level}/{description}"),
        (22, bytes) => handshake_message(bytes).unwrap_or("handshake").to_owned(),
        (_, bytes) => match frame_of_h2(bytes) {
            Some(name) => format!("HTTP/2 {name}"),
            None => Some(carries(bytes)).filter(|text| !text.is_empty()).unwrap_or_else(|| format!("{} bytes", bytes.len())),
        },
    }
}

fn tls(kind: u8, rest: &[u8]) -> String {
    let text = match (kind, rest) {
        (20, _) => "TLS ChangeCipherSpec",
        (21, [level, description]) => return format!("TLS alert {level}/{description}"),
        (21, _) => "TLS alert, encrypted",
        (22, rest) => return handshake_message(rest).map_or_else(|| "TLS handshake, encrypted".to_owned(), |name| format!("TLS {name}")),
        _ => "TLS application data",
    };
    text.to_owned()
}

/// The first message of the handshake in a record. An encrypted one begins with any byte, often with the zeros of its nonce.
fn handshake_message(bytes: &[u8]) -> Option<&'static str> {
    bytes.first().copied().filter(|kind| matches!(kind, 1..=20 | 24)).and_then(tls_handshake)
}

/// The frame of HTTP/2 that begins here (RFC 9113 §6), if one does: its length is that of the bytes, or others follow.
fn frame_of_h2(bytes: &[u8]) -> Option<&'static str> {
    let [a, b, c, kind, _, 0..=0x7f, _, _, _, ..] = *bytes else { return None };
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    let fits = len + 9 <= bytes.len();
    let name = match kind {
        0 => "DATA",
        1 => "HEADERS",
        3 => "RST_STREAM",
        4 => "SETTINGS",
        6 => "PING",
        7 => "GOAWAY",
        8 => "WINDOW_UPDATE",
        _ => return None,
    };
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::carries;

    #[test]
    fn payloads_are_told_by_their_first_bytes_and_secrets_are_not() {
        for (payload, expect) in [
            (&b"GET /x HTTP/1.1\r\nHost: a\r\n"[..], "GET /x HTTP/1.1"),
            (&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0], "TLS ClientHello"),
            (&[0x15, 3, 3, 0, 2, 2, 40], "TLS alert 2/40"),
            (&[0, 1, 2, 3, 4, 5], ""),
            (b"PASS hunter2\r\n", "PASS …"),
            (b"GET /?token=abc HTTP/1.1\r\n", "GET …"),
            (b"GET /?api_key=abc HTTP/1.1\r\n", "GET …"),
        ] {
            assert_eq!(carries(payload), expect);
        }
    }
}
