//! One packet as nested headers, the "Russian dolls": for each layer its fields with their place in the bytes, who wrote it, and who reads it. Outermost first.
//! It works on the bytes of one captured frame and nothing else: no flow, no state. Credentials in payloads are hidden, in values and in bytes.

mod builder;
mod dns;
mod http;
mod link;
mod network;
mod payload;
mod quic;
mod sealed;
mod secret;
mod service;
mod tls;
mod transport;

pub use secret::secrets;

use crate::app::Unsealed;
use crate::packet::Captured;
use builder::Builder;
use faultmap_model::Layer;
use faultmap_wire::dissect::{Frame, Header, LinkType, Network, Span, dissect};
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// Bytes of one layer that are kept for showing.
pub const MOST_BYTES: usize = 2048;
/// Fields of one layer.
const MOST_FIELDS: usize = 120;
/// Layers of one packet, those of a quoted packet included.
const MOST_LAYERS: usize = 60;

/// One field of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name, as standards and tools have it.
    pub name: Cow<'static, str>,
    /// Its value, printable.
    pub value: String,
    /// Its first byte, counted from the layer's first.
    pub start: usize,
    /// Its length in bytes; 0 for what was computed.
    pub len: usize,
    /// What the value means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// It is a credential: value and bytes are hidden.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doll {
    /// The OSI layer; none for what only the capture knows, and for padding.
    pub layer: Option<Layer>,
    /// The header: `IPv4`, `TCP`, `TLS handshake`.
    pub name: String,
    /// Its first byte in the frame; in the bytes opened, where `opened`.
    pub start: usize,
    /// Its length in bytes.
    pub len: usize,
    /// Who wrote it.
    pub written_by: &'static str,
    /// Who reads it.
    pub read_by: &'static str,
    /// Its fields in the order of the bytes.
    pub fields: Vec<Field>,
    /// Its bytes, at most [`MOST_BYTES`]; none where they are hidden.
    #[serde(rename = "hex", serialize_with = "hex")]
    pub bytes: Vec<Option<u8>>,
    /// The bytes do not stand in the frame like this: they were decrypted with a key that anybody can derive, or that the user has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opened: bool,
    /// It is part of a packet that an ICMP error quotes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quoted: bool,
}

/// A packet's layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Anatomy {
    /// Schema name of the JSON object.
    pub schema: &'static str,
    /// The packet's number.
    pub packet: u64,
    /// When, nanoseconds since the epoch.
    pub at_ns: i64,
    /// Link type (`LINKTYPE_` number).
    pub link: u32,
    /// Bytes on the wire.
    pub wire_len: u32,
    /// Bytes captured.
    pub captured: usize,
    /// Outermost first.
    pub layers: Vec<Doll>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

fn hex<S: Serializer>(bytes: &[Option<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&bytes.iter().map(|byte| byte.map_or_else(|| "**".to_owned(), |byte| format!("{byte:02x}"))).collect::<String>())
}

/// Takes a packet apart for showing, and the sealed records of TLS in `opened` that end in it.
#[must_use]
pub fn anatomy(packet: &Captured<'_>, opened: &[Unsealed]) -> Anatomy {
    let frame = dissect(packet.link, packet.bytes, packet.wire_len as usize);
    let mut layers = layers(&frame, packet.bytes, false);
    layers.extend(opened.iter().flat_map(|record| sealed::dolls(&frame, record)));
    layers.extend(padding(&frame, packet.bytes));
    layers.truncate(MOST_LAYERS);
    Anatomy {
        schema: "faultmap.capture.packet/1",
        packet: packet.number.0,
        at_ns: packet.at.0,
        link: packet.link.0,
        wire_len: packet.wire_len,
        captured: packet.bytes.len(),
        layers,
        problem: frame.problem.map(|problem| problem.to_string()),
    }
}

fn layers(frame: &Frame<'_>, bytes: &[u8], quoted: bool) -> Vec<Doll> {
    let mut layers = Vec::new();
    let spans = frame.spans();
    let spans = spans.as_slice();
    let hidden = secrets(bytes);
    for (at, span) in spans.iter().enumerate() {
        let innermost = spans.iter().skip(at + 1).all(|span| span.header == Header::Payload);
        let builder = Builder::new(bytes, *span, &hidden);
        match span.header {
            Header::Payload => layers.extend(carried(frame, bytes, *span, &hidden, quoted)),
            header => layers.push(one(header, builder, frame, innermost)),
        }
    }
    layers.iter_mut().for_each(|layer| layer.quoted |= quoted);
    layers
}

fn one(header: Header, builder: Builder<'_>, frame: &Frame<'_>, innermost: bool) -> Doll {
    let packet = match &frame.network {
        Network::Ip(packet) if innermost => Some(packet),
        _ => None,
    };
    match header {
        Header::Tcp | Header::Udp | Header::Sctp | Header::Icmp | Header::Icmpv6 => transport::doll(header, builder, packet),
        Header::Ipv4
        | Header::Ipv6
        | Header::HopByHop
        | Header::Routing
        | Header::Ipv6Fragment
        | Header::DestinationOptions
        | Header::Ipv6Extension
        | Header::Authentication
        | Header::Esp
        | Header::Gre
        | Header::Vxlan
        | Header::Geneve
        | Header::Erspan => network::doll(header, builder),
        header => link::doll(header, builder),
    }
}

/// The payload: the packet that an ICMP error quotes, or what the protocols above say.
fn carried(frame: &Frame<'_>, bytes: &[u8], span: Span, hidden: &[std::ops::Range<usize>], quoted: bool) -> Vec<Doll> {
    let (start, end) = (span.start as usize, (span.start + span.len) as usize);
    let payload = bytes.get(start..end).unwrap_or_default();
    if transport::quotes(frame) && !quoted {
        let inner = dissect(LinkType::RAW, payload, payload.len());
        let mut dolls = layers(&inner, payload, true);
        dolls.iter_mut().for_each(|doll| doll.start += start);
        if !dolls.is_empty() {
            return dolls;
        }
    }
    payload::dolls(frame, Builder::new(bytes, span, hidden))
}

/// Shorter frames of Ethernet are filled up (IEEE 802.3 §3.2.8), the checksum not counted, which captures leave out.
const SHORTEST_FRAME: usize = 60;

/// What the network card adds to a frame that is too short, or whatever else stands behind the packet.
fn padding(frame: &Frame<'_>, bytes: &[u8]) -> Option<Doll> {
    let end = frame.spans().as_slice().iter().map(|span| (span.start + span.len) as usize).max()?;
    let rest = bytes.get(end..).filter(|rest| !rest.is_empty())?;
    // What could not be read is no padding.
    if frame.problem.is_some() {
        return None;
    }
    let span = Span { header: Header::Payload, start: end as u32, len: rest.len() as u32 };
    // Tags may stand beside the 60.
    let short = bytes.len() <= SHORTEST_FRAME + 2 * 4;
    let (name, by) = if short {
        ("padding", "the sending network card, to reach Ethernet's 60 bytes")
    } else {
        ("trailer", "whoever passed the frame on, behind the packet: a card, a switch, a tap")
    };
    Some(Builder::new(bytes, span, &[]).doll(None, name, by, "nobody"))
}

#[cfg(test)]
mod tests;
