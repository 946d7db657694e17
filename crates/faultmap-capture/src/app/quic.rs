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

/// QUIC between two ends.
pub(super) struct Quic {
    ends: Ends,
    keys: Option<(u32, Initial)>,
    said: CryptoStream,
    name: Option<String>,
    version: u32,
    asked: Option<Mark>,
    tries: u32,
    answered: Option<Mark>,
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
            answered: None,
            over: false,
            failed: None,
        }
    }

    fn long(&mut self, from: Side, packet: &Long<'_>, mark: Mark, sink: &mut Sink) {
        if packet.kind == Kind::Handshake && from == Side::Server {
            self.answered.get_or_insert(mark);
        }
        if packet.kind != Kind::Initial {
            return;
        }
        if from == Side::Client && self.keys.as_ref().is_none_or(|(version, _)| *version != packet.version) {
            self.keys = Initial::new(packet.version, packet.dcid).map(|keys| (packet.version, keys));
            self.version = packet.version;
        }
        let Some(opened) = self.keys.as_ref().and_then(|(_, keys)| keys.open(packet, from)) else { return };
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
        let (layer, cause, what) = match u8::try_from(code.wrapping_sub(ALERTS)) {
            Ok(alert) => (
                Layer::L6,
                tls::alert_cause(alert, from, self.answered.is_some()),
                format!("the TLS alert {} ({alert})", tls::alert_name(alert)),
            ),
            Err(_) if code == 2 => (Layer::L7, Some("l7.service-error"), "CONNECTION_REFUSED".to_owned()),
            Err(_) => (Layer::L4, None, format!("error {code}")),
        };
        let text = format!("{who} refused the QUIC connection in its handshake with {what}{said}");
        sink.findings
            .push(tell("quic.close", Weight::Fault, layer, mark, text).for_cause(cause).on(self.ends.service()).worth(code as f64));
        self.failed = Some(what);
    }

    fn negotiate(&mut self, versions: &[u8], mark: Mark, sink: &mut Sink) {
        self.answered.get_or_insert(mark);
        self.keys = None;
        let count = versions.len() / 4;
        let text = format!("the server does not speak {} and offers {count} other versions", version_name(self.version));
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
        if self.answered.is_none() && self.failed.is_none() && (self.tries >= MOST_TRIES || waited >= PATIENCE_MS) {
            // Clients go on by TCP: a warning.
            let text = format!("the ClientHello{name} over QUIC got no answer to {} tries in {}", self.tries, text::time(waited));
            let finding = tell("quic.unanswered", Weight::Warning, Layer::L4, asked, text).for_cause("l4.udp-filtered");
            sink.findings.push(finding.on(self.ends.service()).worth(waited));
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
