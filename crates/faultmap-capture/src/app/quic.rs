//! QUIC in the datagrams between two ends (RFC 9000, RFC 9001), as far as anybody can read it: the ClientHello, version negotiation, retries, and a refusal within the
//! handshake. What is said afterwards is encrypted and not looked at.
//!
//! Memory: the client's handshake bytes, at most 32 KiB, until its ClientHello is whole.

use super::tell::{Mark, tell};
use super::tls::{self, hello};
use super::{Below, Chunk, Conversation, End, Ends, Exchange, Sink, text};
use crate::finding::Weight;
use crate::flow::Side;
use crate::packet::Stamp;
use crate::quic::{CryptoStream, Frame, Frames, Initial, Kind, Long, Packet, packets, version_name};
use faultmap_model::Layer;
use tls_parser::parse_tls_handshake_client_hello;

/// A client that has asked so often, or waited so long (milliseconds), is not answered: probes double from about a second on (RFC 9002 §6.2).
const MOST_TRIES: u32 = 3;
const PATIENCE_MS: f64 = 3000.0;
/// Codes from here on are alerts of TLS (RFC 9000 §20.1).
const ALERTS: u64 = 0x100;

const CONNECTION_REFUSED: u64 = 2;
/// Versions of an offer that are told.
const MOST_VERSIONS: usize = 4;

/// The name of a transport error (RFC 9000 §20.1, RFC 9368 §10.2).
fn error_name(code: u64) -> String {
    let name = match code {
        1 => "INTERNAL_ERROR",
        CONNECTION_REFUSED => "CONNECTION_REFUSED",
        3 => "FLOW_CONTROL_ERROR",
        4 => "STREAM_LIMIT_ERROR",
        5 => "STREAM_STATE_ERROR",
        6 => "FINAL_SIZE_ERROR",
        7 => "FRAME_ENCODING_ERROR",
        8 => "TRANSPORT_PARAMETER_ERROR",
        9 => "CONNECTION_ID_LIMIT_ERROR",
        10 => "PROTOCOL_VIOLATION",
        11 => "INVALID_TOKEN",
        13 => "CRYPTO_BUFFER_EXCEEDED",
        14 => "KEY_UPDATE_ERROR",
        15 => "AEAD_LIMIT_REACHED",
        16 => "NO_VIABLE_PATH",
        17 => "VERSION_NEGOTIATION_ERROR",
        _ => return format!("error {code}"),
    };
    format!("{name} ({code})")
}

fn is_grease(version: u32) -> bool {
    version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

/// `QUIC 1`, `version 0x51303530`
fn version_words(version: u32) -> String {
    match version_name(version) {
        "unknown version" => format!("version {version:#010x}"),
        name => name.to_owned(),
    }
}

/// QUIC between two ends.
pub(super) struct Quic {
    ends: Ends,
    keys: Option<(u32, Initial)>,
    said: CryptoStream,
    name: Option<String>,
    version: u32,
    asked: Option<Mark>,
    tries: u32,
    /// The server wanted to see a token first, at this moment.
    retried: Option<Mark>,
    answered: Option<Mark>,
    /// The client seals as only who has heard the server can, whether or not the capture has (RFC 9001 §4.1.4).
    heard: bool,
    /// The handshake is beyond what can be read.
    over: bool,
    failed: Option<String>,
}

/// Whether a datagram may be the first of a connection.
pub(super) fn opens(datagram: &[u8]) -> bool {
    // A first packet of a version that is not known here may be answered with one that is; it is as long as any (RFC 9000 §14.1).
    let other = || datagram.len() >= 1200 && matches!(packets(datagram).next(), Some(Packet::Unknown { version, .. }) if version != 0);
    crate::quic::opens_connection(datagram, datagram.len()) || other()
}

impl Quic {
    /// A flow between these.
    pub(super) fn new(ends: Ends) -> Self {
        Self {
            ends,
            keys: None,
            said: CryptoStream::default(),
            name: None,
            version: 0,
            asked: None,
            tries: 0,
            retried: None,
            answered: None,
            heard: false,
            over: false,
            failed: None,
        }
    }

    fn long(&mut self, from: Side, packet: &Long<'_>, mark: Mark, sink: &mut Sink) {
        if packet.kind == Kind::Handshake && from == Side::Server {
            self.answered.get_or_insert(mark);
        }
        self.heard |= packet.kind == Kind::Handshake;
        if packet.kind != Kind::Initial {
            return;
        }
        if from == Side::Client && self.keys.as_ref().is_none_or(|(version, _)| *version != packet.version) {
            self.keys = Initial::new(packet.version, packet.dcid).map(|keys| (packet.version, keys));
            self.version = packet.version;
        }
        let mut opened = self.keys.as_ref().and_then(|(_, keys)| keys.open(packet, from));
        if opened.is_none() && from == Side::Client && self.answered.is_none() {
            // Another connection between the same ports: a client that begins anew chooses another id.
            let keys = Initial::new(packet.version, packet.dcid);
            opened = keys.as_ref().and_then(|keys| keys.open(packet, from));
            if opened.is_some() {
                self.keys = keys.map(|keys| (packet.version, keys));
                self.said = CryptoStream::default();
            }
        }
        let Some(opened) = opened else { return };
        for frame in Frames::new(&opened.frames) {
            match frame {
                Frame::Crypto { offset, data } if from == Side::Client && self.name.is_none() => {
                    if offset == 0 {
                        self.asked.get_or_insert(mark);
                        self.tries += 1;
                    }
                    self.said.insert(offset, data);
                    self.hello(sink);
                }
                Frame::Crypto { offset: 0, .. } if from == Side::Client => self.tries += 1,
                Frame::Crypto { .. } if from == Side::Server => {
                    self.answered.get_or_insert(mark);
                }
                Frame::Close { code, reason } => self.close(from, code, reason, mark, sink),
                _ => {}
            }
        }
    }

    fn hello(&mut self, sink: &mut Sink) {
        let Some((1, body)) = self.said.first_message() else { return };
        let read = parse_tls_handshake_client_hello(body).map(|(_, hello)| hello::client(&hello)).unwrap_or_default();
        if sink.server_name.is_none() {
            sink.server_name.clone_from(&read.name);
        }
        self.name = Some(read.name.unwrap_or_default());
        self.said = CryptoStream::default();
    }

    fn close(&mut self, from: Side, code: u64, reason: &[u8], mark: Mark, sink: &mut Sink) {
        self.over = true;
        // NO_ERROR; and an error of the application, told in general words before encryption is complete (RFC 9000 §10.2.3).
        if matches!(code, 0 | 0x0c) || self.failed.is_some() {
            return;
        }
        let who = if from == Side::Client { "the client" } else { "the server" };
        let words = text::printable(reason, 80);
        let said = if words.is_empty() { String::new() } else { format!(": {words:?}") };
        let (weight, layer, cause, what) = match u8::try_from(code.wrapping_sub(ALERTS)) {
            Ok(alert) => {
                let Some((weight, cause)) = tls::alert_weight(alert, from, self.answered.is_some()) else { return };
                (weight, Layer::L6, Some(cause), format!("the TLS alert {} ({alert})", tls::alert_name(alert)))
            }
            Err(_) if code == CONNECTION_REFUSED => (Weight::Fault, Layer::L7, Some("l7.service-error"), error_name(code)),
            Err(_) => (Weight::Fault, Layer::L4, None, error_name(code)),
        };
        let text = format!("{who} refused the QUIC connection in its handshake with {what}{said}");
        sink.findings.push(tell("quic.close", weight, layer, mark, text).for_cause(cause).on(self.ends.service()).worth(code as f64));
        self.failed = Some(what);
    }

    fn negotiate(&mut self, versions: &[u8], mark: Mark, sink: &mut Sink) {
        self.answered.get_or_insert(mark);
        self.keys = None;
        let offered = versions.chunks_exact(4).filter_map(|four| four.first_chunk::<4>()).map(|four| u32::from_be_bytes(*four));
        // Some are there to be ignored (RFC 9000 §15).
        let named: Vec<String> = offered.filter(|version| !is_grease(*version)).take(MOST_VERSIONS).map(version_words).collect();
        let offers = if named.is_empty() { "none that is known".to_owned() } else { named.join(", ") };
        let text = format!("the server does not speak {} and offers {offers}", version_words(self.version));
        sink.findings.push(tell("quic.version-negotiation", Weight::Note, Layer::L4, mark, text).on(self.ends.service()));
    }
}

impl Conversation for Quic {
    fn chunk(&mut self, chunk: Chunk<'_>, _below: &Below, sink: &mut Sink) {
        if self.over {
            return;
        }
        let mark = Mark::from(&chunk);
        for packet in packets(chunk.bytes) {
            match packet {
                Packet::Long(long) => self.long(chunk.from, &long, mark, sink),
                Packet::VersionNegotiation { versions, .. } if chunk.from == Side::Server => self.negotiate(versions, mark, sink),
                Packet::Unknown { version, .. } if chunk.from == Side::Client => self.version = version,
                // The next Initial has keys of its own.
                Packet::Retry { .. } if chunk.from == Side::Server => {
                    self.keys = None;
                    self.said = CryptoStream::default();
                    self.retried.get_or_insert(mark);
                }
                Packet::Short { .. } => self.over |= chunk.from == Side::Server && self.answered.is_some(),
                _ => {}
            }
        }
    }

    fn gap(&mut self, _from: Side, _missing: u64, _sink: &mut Sink) {}

    fn end(&mut self, _how: End, at: Stamp, _below: &Below, sink: &mut Sink) {
        let Some(asked) = self.asked else { return };
        let name = self.name.take().filter(|name| !name.is_empty()).map(|name| format!(" {name}")).unwrap_or_default();
        let waited = at.ms_since(asked.at);
        if self.answered.is_none() && !self.heard && self.failed.is_none() && (self.tries >= MOST_TRIES || waited >= PATIENCE_MS) {
            // Clients go on by TCP: a warning.
            let text = format!("the ClientHello{name} over QUIC got no answer to {} tries in {}", self.tries, text::time(waited));
            let finding = tell("quic.unanswered", Weight::Warning, Layer::L4, asked, text).on(self.ends.service()).worth(waited);
            sink.findings.push(match self.retried {
                None => finding.for_cause("l4.udp-filtered"),
                // UDP passes in both directions.
                Some(retried) => {
                    let mut finding = finding.and(retried);
                    finding.text.push_str(", though the server had asked for a token first (Retry)");
                    finding
                }
            });
        }
        let ok = self.answered.is_some() && self.failed.is_none();
        let wait = self.answered.map(|mark| mark.at.ms_since(asked.at));
        sink.exchanges.push(Exchange {
            answer: self.failed.take().or(self.answered.map(|_| version_name(self.version).to_owned())).unwrap_or_default(),
            wait_ms: wait,
            total_ms: wait,
            answered_in: self.answered.map(|mark| mark.packet.0),
            ok,
            ..Exchange::unanswered("quic", format!("ClientHello{name}"), asked)
        });
    }
}

#[cfg(test)]
mod tests;
