//! What stands above the transport: recognised by its bytes, with the port as a hint where bytes alone do not tell.

use super::builder::Builder;
use super::{Doll, dns, http, quic, service, tls};
use crate::app::dhcp::Dhcp;
use crate::app::ntp::Ntp;
use faultmap_model::Layer;
use faultmap_wire::dissect::{Frame, Network, Transport};

/// The layers of a payload.
pub(super) fn dolls(frame: &Frame<'_>, builder: Builder<'_>) -> Vec<Doll> {
    let Network::Ip(packet) = &frame.network else { return vec![unknown(builder)] };
    let found = match packet.transport {
        Transport::Tcp(tcp, _) => over_tcp(&builder, tcp.src_port, tcp.dst_port),
        Transport::Udp(udp, _) => over_udp(&builder, udp.src_port, udp.dst_port),
        _ => None,
    };
    found.unwrap_or_else(|| vec![unknown(builder)])
}

/// What a stream over TCP holds between these ports.
pub(super) fn over_tcp(builder: &Builder<'_>, from: u16, to: u16) -> Option<Vec<Doll>> {
    let either = |port: u16| from == port || to == port;
    tls::records(builder)
        .or_else(|| http::one(builder))
        .or_else(|| http::two(builder))
        .or_else(|| either(53).then(|| dns::over_tcp(builder)).flatten())
        .or_else(|| service::over_tcp(builder, from, to))
}

fn over_udp(builder: &Builder<'_>, from: u16, to: u16) -> Option<Vec<Doll>> {
    let either = |port: u16| from == port || to == port;
    match () {
        () if either(53) || either(5353) => dns::over_udp(builder).map(|doll| vec![doll]),
        () if either(67) || either(68) => dhcp(builder.clone()).map(|doll| vec![doll]),
        () if either(123) => ntp(builder.clone()).map(|doll| vec![doll]),
        () if either(161) || either(162) => Some(vec![snmp(builder.clone())]),
        () => quic::dolls(builder, either(443) || either(8443)),
    }
}

/// Bytes that nothing here can read. Text is shown as text.
pub(super) fn unknown(mut b: Builder<'_>) -> Doll {
    let bytes = b.bytes();
    let text = bytes.iter().filter(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t')).count();
    if text * 10 >= bytes.len() * 9 {
        b.field("text", 0, bytes.len(), String::from_utf8_lossy(bytes));
    }
    b.doll(Some(Layer::L7), "payload", "the sending program", "the receiving program")
}

/// The community in SNMP is a password in clear.
fn snmp(mut b: Builder<'_>) -> Doll {
    let len = b.len();
    b.hide(0, len);
    b.field("message", 0, len, "");
    b.doll(Some(Layer::L7), "SNMP", "the manager or the device", "the other of the two")
}

fn dhcp(mut b: Builder<'_>) -> Option<Doll> {
    /// Where options begin.
    const OPTIONS_AT: usize = 240;
    let message = Dhcp::parse(b.bytes())?;
    b.number_field("operation", 0, 1).note(if message.op == 1 { "from a client" } else { "from a server" });
    b.hex_field("transaction", 4, 4).number_field("seconds", 8, 2);
    for (name, at) in [("client address", 12), ("your address", 16), ("next server", 20), ("relay", 24)] {
        let addr = b.v4(at);
        b.field(name, at, 4, addr);
    }
    b.field("client MAC", 28, 6, message.mac.to_string());
    for (kind, at, data) in message.options() {
        let addrs =
            || data.as_chunks::<4>().0.iter().map(|addr| std::net::Ipv4Addr::from(*addr).to_string()).collect::<Vec<_>>().join(", ");
        let seconds = || data.first_chunk::<4>().map_or_else(String::new, |word| format!("{} s", u32::from_be_bytes(*word)));
        let (name, value) = match kind {
            1 => ("subnet mask", addrs()),
            3 => ("routers", addrs()),
            6 => ("DNS servers", addrs()),
            12 => ("host name", String::from_utf8_lossy(data).into_owned()),
            15 => ("domain", String::from_utf8_lossy(data).into_owned()),
            26 => ("MTU", data.first_chunk::<2>().map_or_else(String::new, |mtu| u16::from_be_bytes(*mtu).to_string())),
            50 => ("requested address", addrs()),
            51 => ("lease time", seconds()),
            53 => ("message type", message.kind_name().to_owned()),
            54 => ("server", addrs()),
            56 => ("message", String::from_utf8_lossy(data).into_owned()),
            _ => ("option", format!("number {kind}, {} bytes", data.len())),
        };
        b.field(name, OPTIONS_AT + at, 2 + data.len(), value);
    }
    let (writer, reader) =
        if message.op == 1 { ("the client", "DHCP servers and relays") } else { ("the DHCP server", "the client, or its relay") };
    Some(b.doll(Some(Layer::L7), format!("DHCP {}", message.kind_name()), writer, reader))
}

fn ntp(mut b: Builder<'_>) -> Option<Doll> {
    let ntp = Ntp::parse(b.bytes())?;
    b.field("leap", 0, 1, ntp.leap.to_string()).note(if ntp.leap == 3 { "the clock is not set" } else { "" });
    b.field("version", 0, 1, ntp.version.to_string());
    b.field("mode", 0, 1, ntp.mode.to_string()).note(ntp.mode_name());
    b.number_field("stratum", 1, 1).note(ntp.refusal().map_or_else(String::new, |word| format!("the server refuses: {word}")));
    b.hex_field("reference", 12, 4);
    for (name, at) in [("origin time", 24), ("receive time", 32), ("transmit time", 40)] {
        let seconds = b.number(at, 4);
        b.field(name, at, 8, format!("{seconds} s")).note("since 1900");
    }
    let (writer, reader) = if ntp.mode == 3 { ("the client's clock", "the server") } else { ("the server's clock", "the client") };
    Some(b.doll(Some(Layer::L7), "NTP", writer, reader))
}
