//! QUIC: headers of the packets in a datagram, and an Initial packet opened where the datagram itself gives the key.

use super::builder::Builder;
use super::{Doll, tls};
use crate::flow::Side;
use crate::quic::{CryptoStream, Frame, Frames, Initial, Kind, Long, Packet, packets, version_name};
use faultmap_model::Layer;

const WRITER: &str = "the sender's QUIC library, in the program";
const READER: &str = "the receiver's QUIC library; the header also everybody on the way";

/// The packets of a datagram; `None` if it is no QUIC. Short headers say so little that the port must be `likely`.
pub(super) fn dolls(builder: &Builder<'_>, likely: bool) -> Option<Vec<Doll>> {
    let (mut dolls, mut at) = (Vec::new(), 0);
    for packet in packets(builder.bytes()) {
        match packet {
            Packet::Long(long) => {
                dolls.push(header(builder.part(at, long.number_at), &long));
                dolls.extend(body(builder.part(at + long.number_at, long.bytes.len() - long.number_at), &long));
                at += long.bytes.len();
                continue;
            }
            Packet::VersionNegotiation { versions, .. } => {
                let mut b = builder.part(at, builder.len());
                let from = b.len() - versions.len();
                for (n, version) in versions.as_chunks::<4>().0.iter().enumerate() {
                    let number = u32::from_be_bytes(*version);
                    b.hex_field("version offered", from + 4 * n, 4).note(version_name(number));
                }
                dolls.push(b.doll(
                    Some(Layer::L4),
                    "QUIC version negotiation",
                    "the server, which does not speak the version asked for",
                    "the client",
                ));
            }
            Packet::Retry { version, token, .. } => {
                let mut b = builder.part(at, builder.len());
                b.hex_field("version", 1, 4).note(version_name(version));
                let from = b.len().saturating_sub(16 + token.len());
                b.field("token", from, token.len(), format!("{} bytes", token.len()));
                dolls.push(b.doll(Some(Layer::L4), "QUIC retry", "the server, which wants the client's address proven", "the client"));
            }
            Packet::Short { .. } if likely => {
                let mut b = builder.part(at, builder.len());
                b.hex_field("first byte", 0, 1).note("the rest is encrypted, or only the two ends know how to read it");
                dolls.push(b.doll(Some(Layer::L4), "QUIC, short header", WRITER, "the receiver alone"));
            }
            Packet::Unknown { version, .. } if likely => {
                let mut b = builder.part(at, builder.len());
                b.hex_field("version", 1, 4).note(version_name(version));
                dolls.push(b.doll(Some(Layer::L4), "QUIC, unknown version", WRITER, READER));
            }
            Packet::Short { .. } | Packet::Unknown { .. } => {}
        }
        break;
    }
    (!dolls.is_empty()).then_some(dolls)
}

fn header(mut b: Builder<'_>, long: &Long<'_>) -> Doll {
    b.hex_field("first byte", 0, 1).note("long header; its low half is protected");
    b.hex_field("version", 1, 4).note(version_name(long.version));
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    b.field("destination id", 6, long.dcid.len(), hex(long.dcid));
    let scid_at = 7 + long.dcid.len();
    b.field("source id", scid_at, long.scid.len(), hex(long.scid));
    if !long.token.is_empty() {
        b.field("token", scid_at + long.scid.len(), 0, format!("{} bytes", long.token.len()));
    }
    let payload = long.bytes.len().saturating_sub(long.number_at);
    b.field("length", long.number_at, 0, payload.to_string()).note(if long.cut {
        "the capture cut it"
    } else {
        "packet number and payload"
    });
    let name = match long.kind {
        Kind::Initial => "QUIC Initial",
        Kind::ZeroRtt => "QUIC 0-RTT",
        Kind::Handshake => "QUIC Handshake",
    };
    b.doll(Some(Layer::L4), name, WRITER, READER)
}

fn body(mut b: Builder<'_>, long: &Long<'_>) -> Vec<Doll> {
    let opened = Initial::new(long.version, long.dcid).and_then(|keys| keys.open(long, Side::Client));
    let Some(opened) = opened else {
        let why = match long.kind {
            Kind::Initial => "the key follows from the client's first packet, not from this one",
            _ => "encrypted for the two ends",
        };
        let len = b.len();
        b.field("payload", 0, len, format!("{len} bytes")).note(why);
        return vec![b.doll(Some(Layer::L6), "encrypted", WRITER, "the receiver alone")];
    };
    let mut inner = Builder::opened(&opened.frames);
    inner.field("packet number", 0, 0, opened.number.to_string());
    let (mut frames, mut at) = (Frames::new(&opened.frames), 0);
    while let Some(frame) = frames.next() {
        let end = opened.frames.len() - frames.rest().len();
        let (name, value) = match frame {
            Frame::Padding(len) => ("PADDING", format!("{len} bytes")),
            Frame::Ping => ("PING", "asks for an acknowledgement".to_owned()),
            Frame::Ack { largest } => ("ACK", format!("up to packet {largest}")),
            Frame::Crypto { offset, data } => ("CRYPTO", format!("{} bytes of the handshake from {offset} on", data.len())),
            Frame::Close { code, reason } => ("CONNECTION_CLOSE", format!("code 0x{code:x} {}", String::from_utf8_lossy(reason))),
        };
        inner.field(name, at, end - at, value);
        at = end;
    }
    let mut dolls = vec![inner.doll(Some(Layer::L4), "QUIC frames", WRITER, READER)];
    let mut stream = CryptoStream::default();
    stream.take(&opened.frames);
    if !stream.ready().is_empty() {
        dolls.extend(tls::messages(&Builder::opened(stream.ready())));
    }
    dolls
}
