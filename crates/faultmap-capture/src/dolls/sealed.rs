//! The content of TLS records that the user's keys opened. It may begin in earlier packets: shown is the record that ends in this one.

use super::builder::Builder;
use super::{Doll, payload, secret, tls};
use crate::app::Unsealed;
use faultmap_model::Layer;
use faultmap_wire::dissect::{Frame, Network, Transport};

const WRITER: &str = "the sender's TLS library, from what the program above gave it";
const READER: &str = "the receiver's TLS library, and who has the session keys";
const APPLICATION_DATA: u8 = 23;

/// The layers of an opened record, that of its true type first.
pub(super) fn dolls(frame: &Frame<'_>, record: &Unsealed) -> Vec<Doll> {
    let content = Builder::opened_hiding(&record.bytes, secret::secrets(&record.bytes));
    let mut plain = Builder::opened(&[]);
    let kind = match record.kind {
        21 => "alert",
        22 => "handshake",
        APPLICATION_DATA => "application data",
        _ => "another type",
    };
    plain.field("true content type", 0, 0, format!("{} {kind}", record.kind));
    plain.field("length", 0, 0, record.bytes.len().to_string());
    let mut dolls = vec![plain.doll(Some(Layer::L6), format!("TLS {kind}, opened"), WRITER, READER)];
    if record.bytes.is_empty() {
        return dolls;
    }
    if record.kind != APPLICATION_DATA {
        dolls.extend(tls::body(record.kind, content));
        return dolls;
    }
    let ports = match &frame.network {
        Network::Ip(packet) => match packet.transport {
            Transport::Tcp(tcp, _) => (tcp.src_port, tcp.dst_port),
            _ => (0, 0),
        },
        _ => (0, 0),
    };
    dolls.extend(payload::over_tcp(&content, ports.0, ports.1).unwrap_or_else(|| vec![payload::unknown(content)]));
    dolls
}
