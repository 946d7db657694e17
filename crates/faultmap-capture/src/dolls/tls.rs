//! TLS: records, the handshake messages that are readable, and alerts (RFC 8446, RFC 5246).

use super::Doll;
use super::builder::Builder;
use faultmap_model::Layer;
use faultmap_wire::names::{tls_alert, tls_handshake};

const WRITER: &str = "the sender's TLS library";
const READER: &str = "the receiver's TLS library; what is not encrypted also everybody on the way";
/// Records and messages shown.
const MOST: usize = 16;

/// The records of a payload; `None` if it does not begin with one.
pub(super) fn records(builder: &Builder<'_>) -> Option<Vec<Doll>> {
    let mut dolls = Vec::new();
    let mut at = 0;
    while let Some([kind @ 20..=24, 3, 0..=4, a, b, ..]) = builder.bytes().get(at..).filter(|_| dolls.len() < MOST) {
        let len = usize::from(u16::from_be_bytes([*a, *b]));
        if len > 16_640 {
            break;
        }
        let mut record = builder.part(at, 5);
        record.number_field("content type", 0, 1).note(content(*kind));
        let name = version(record.number(1, 2));
        record.hex_field("version", 1, 2).note(name);
        let there = builder.len() - at - 5;
        record.number_field("length", 3, 2).note(if there < len { "goes on in the next packets" } else { "" });
        dolls.push(record.doll(Some(Layer::L6), "TLS record", WRITER, READER));
        if there > 0 {
            dolls.extend(body(*kind, builder.part(at + 5, len)));
        }
        at += 5 + len;
    }
    (!dolls.is_empty()).then_some(dolls)
}

fn content(kind: u8) -> &'static str {
    match kind {
        20 => "change cipher spec",
        21 => "alert",
        22 => "handshake",
        23 => "application data, encrypted",
        _ => "heartbeat",
    }
}

/// The content of a record that is not sealed, or no longer.
pub(super) fn body(kind: u8, mut b: Builder<'_>) -> Vec<Doll> {
    match (kind, b.bytes()) {
        (21, [level @ (1 | 2), number]) => {
            let (level, name) = (*level, tls_alert(*number).unwrap_or("unknown alert"));
            b.number_field("level", 0, 1).note(if level == 2 { "fatal" } else { "warning" });
            b.number_field("description", 1, 1).note(name);
            vec![b.doll(Some(Layer::L6), format!("TLS alert: {name}"), WRITER, READER)]
        }
        (22, _) => messages(&b),
        (20, _) => vec![b.doll(Some(Layer::L6), "TLS change cipher spec", WRITER, READER)],
        _ => vec![b.doll(Some(Layer::L6), "encrypted", WRITER, "the receiver alone")],
    }
}

/// Handshake messages, as in a record or in QUIC's CRYPTO frames.
pub(super) fn messages(builder: &Builder<'_>) -> Vec<Doll> {
    let mut dolls = Vec::new();
    let mut at = 0;
    while let Some([kind, a, b, c, ..]) = builder.bytes().get(at..).filter(|_| dolls.len() < MOST) {
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(name) = tls_handshake(*kind).filter(|_| len <= 1 << 17) else { break };
        let mut part = builder.part(at, 4 + len);
        let cut = part.len() < 4 + len;
        part.number_field("message", 0, 1).note(name);
        part.number_field("length", 1, 3).note(if cut { "goes on in the next packets" } else { "" });
        match kind {
            1 => hello(&mut part, true),
            2 => hello(&mut part, false),
            _ => {}
        }
        dolls.push(part.doll(Some(Layer::L6), format!("TLS {name}"), WRITER, READER));
        at += 4 + len;
    }
    if dolls.is_empty() {
        dolls.push(builder.clone().doll(Some(Layer::L6), "TLS handshake, encrypted or continued", WRITER, "the receiver alone"));
    }
    dolls
}

/// A hello from its version on; ends at the first part that does not fit.
fn hello(b: &mut Builder<'_>, client: bool) {
    let name = version(b.number(4, 2));
    b.hex_field("version", 4, 2).note(format!("{name}; the one that counts may stand in an extension"));
    b.field("random", 6, 32, "32 bytes");
    let session = b.number(38, 1) as usize;
    b.field("session id", 39, session, format!("{session} bytes"));
    let mut at = 39 + session;
    if client {
        let len = b.number(at, 2) as usize;
        let suites: Vec<String> = (0..len / 2).take(6).map(|n| suite(b.number(at + 2 + 2 * n, 2))).collect();
        b.field("cipher suites", at + 2, len, format!("{}: {}", len / 2, suites.join(", ")));
        at += 2 + len;
        at += 1 + b.number(at, 1) as usize;
    } else {
        let chosen = suite(b.number(at, 2));
        b.field("cipher suite", at, 2, chosen);
        at += 3;
    }
    let end = (at + 2 + b.number(at, 2) as usize).min(b.len());
    at += 2;
    while at + 4 <= end {
        let (kind, len) = (b.number(at, 2), b.number(at + 2, 2) as usize);
        extension(b, kind, at, len, client);
        at += 4 + len;
    }
}

fn extension(b: &mut Builder<'_>, kind: u64, at: usize, len: usize, client: bool) {
    let data = at + 4;
    let text = |b: &Builder<'_>, at: usize, len: usize| {
        b.bytes().get(at..at + len).map_or_else(String::new, |text| String::from_utf8_lossy(text).into_owned())
    };
    match kind {
        0 if client && len > 5 => {
            let name = text(b, data + 5, b.number(data + 3, 2) as usize);
            b.field("server name (SNI)", at, 4 + len, name).note("everybody on the way can read it");
        }
        16 => {
            let (mut names, mut from) = (Vec::new(), data + 2);
            while from < data + len && names.len() < 8 {
                let size = b.number(from, 1) as usize;
                names.push(text(b, from + 1, size));
                from += 1 + size;
            }
            b.field(if client { "ALPN offered" } else { "ALPN chosen" }, at, 4 + len, names.join(", "));
        }
        43 if client => {
            let versions: Vec<String> =
                (0..b.number(data, 1) as usize / 2).take(8).map(|n| version(b.number(data + 1 + 2 * n, 2)).to_owned()).collect();
            b.field("versions offered", at, 4 + len, versions.join(", "));
        }
        43 => {
            let chosen = version(b.number(data, 2));
            b.field("version chosen", at, 4 + len, chosen);
        }
        51 => {
            let first = if client { data + 2 } else { data };
            let group = group(b.number(first, 2));
            b.field("key share", at, 4 + len, group);
        }
        13 => _ = b.field("signature algorithms", at, 4 + len, format!("{} bytes", len)),
        10 => _ = b.field("groups", at, 4 + len, format!("{}", len.saturating_sub(2) / 2)),
        41 => _ = b.field("pre-shared key", at, 4 + len, "resumes an earlier session"),
        65037 => _ = b.field("encrypted hello", at, 4 + len, "the true name is encrypted, or this only looks like it"),
        kind => _ = b.field("extension", at, 4 + len, format!("number {kind}, {len} bytes")),
    }
}

fn version(number: u64) -> &'static str {
    match number {
        0x0300 => "SSL 3.0",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        number if number & 0x0f0f == 0x0a0a => "GREASE",
        _ => "unknown",
    }
}

fn group(number: u64) -> String {
    match number {
        23 => "secp256r1".to_owned(),
        24 => "secp384r1".to_owned(),
        29 => "x25519".to_owned(),
        4588 => "X25519MLKEM768".to_owned(),
        number if number & 0x0f0f == 0x0a0a => "GREASE, and others".to_owned(),
        number => format!("group {number}"),
    }
}

fn suite(number: u64) -> String {
    let name = match number {
        0x1301 => "AES_128_GCM_SHA256",
        0x1302 => "AES_256_GCM_SHA384",
        0x1303 => "CHACHA20_POLY1305_SHA256",
        0xc02b => "ECDHE_ECDSA_AES_128_GCM",
        0xc02c => "ECDHE_ECDSA_AES_256_GCM",
        0xc02f => "ECDHE_RSA_AES_128_GCM",
        0xc030 => "ECDHE_RSA_AES_256_GCM",
        0xcca8 => "ECDHE_RSA_CHACHA20",
        0xcca9 => "ECDHE_ECDSA_CHACHA20",
        0x002f => "RSA_AES_128_CBC",
        0x0035 => "RSA_AES_256_CBC",
        0x00ff => "renegotiation info",
        number if number & 0x0f0f == 0x0a0a => "GREASE",
        number => return format!("0x{number:04x}"),
    };
    name.to_owned()
}
