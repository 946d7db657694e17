//! DNS messages (RFC 1035): header, questions, records. Names are followed through compression, bounded.

use super::Doll;
use super::builder::Builder;
use faultmap_model::Layer;

/// Labels of one name, and pointers followed.
const MOST_LABELS: usize = 64;
/// Records shown.
const MOST_RECORDS: u64 = 24;

pub(super) fn over_udp(builder: &Builder<'_>) -> Option<Doll> {
    message(builder.clone())
}

/// Two bytes of length, then the message.
pub(super) fn over_tcp(builder: &Builder<'_>) -> Option<Vec<Doll>> {
    let len = builder.number(0, 2) as usize;
    let whole = builder.len() >= 14 && len >= 12;
    whole.then(|| message(builder.part(2, len))).flatten().map(|doll| vec![doll])
}

fn message(mut b: Builder<'_>) -> Option<Doll> {
    if b.len() < 12 {
        return None;
    }
    let flags = b.number(2, 2);
    let answer = flags & 0x8000 != 0;
    b.hex_field("id", 0, 2).note("the answer bears the same");
    b.hex_field("flags", 2, 2).note(if answer { "answer" } else { "question" });
    let code = flags & 0xf;
    if answer {
        b.field("code", 3, 1, code.to_string()).note(rcode(code));
        b.field("truncated", 2, 1, super::network::yes(flags & 0x0200 != 0));
    }
    let counts = [b.number(4, 2), b.number(6, 2), b.number(8, 2), b.number(10, 2)];
    b.number_field("questions", 4, 2).number_field("answers", 6, 2).number_field("authority records", 8, 2).number_field(
        "additional records",
        10,
        2,
    );
    let mut at = Some(12);
    for _ in 0..counts[0].min(4) {
        at = at.and_then(|at| question(&mut b, at));
    }
    let sections = [("answer", counts[1]), ("authority", counts[2]), ("additional", counts[3])];
    for (section, count) in sections {
        for _ in 0..count.min(MOST_RECORDS) {
            at = at.and_then(|at| record(&mut b, section, at));
        }
    }
    let (writer, reader) =
        if answer { ("the name server", "the resolver that asked") } else { ("the resolver of the client", "the name server") };
    Some(b.doll(Some(Layer::L7), if answer { "DNS answer" } else { "DNS question" }, writer, reader))
}

fn question(b: &mut Builder<'_>, at: usize) -> Option<usize> {
    let (name, end) = name(b.bytes(), at)?;
    let kind = kind(b.number(end, 2));
    b.field("question", at, end + 4 - at, format!("{name} {kind}"));
    Some(end + 4)
}

fn record(b: &mut Builder<'_>, section: &'static str, at: usize) -> Option<usize> {
    let (owner, end) = name(b.bytes(), at)?;
    let (number, ttl, len) = (b.number(end, 2), b.number(end + 4, 4), b.number(end + 8, 2) as usize);
    let data = end + 10;
    b.bytes().get(data..data + len)?;
    let value = match (number, len) {
        (1, 4) => b.v4(data),
        (28, 16) => b.v6(data),
        (2 | 5 | 12, _) => name(b.bytes(), data)?.0,
        (15, _) => name(b.bytes(), data + 2)?.0,
        (6, _) => format!("{} …", name(b.bytes(), data)?.0),
        (16, _) => b.bytes().get(data + 1..data + len).map_or_else(String::new, |text| String::from_utf8_lossy(text).into_owned()),
        (41, _) => format!("up to {} bytes by UDP", b.number(end + 2, 2)),
        _ => format!("{len} bytes"),
    };
    let value = if number == 41 { format!("EDNS, {value}") } else { format!("{owner} {} {value}", kind(number)) };
    b.field(section, at, data + len - at, value);
    if number != 41 {
        b.note(format!("TTL {ttl} s"));
    }
    Some(data + len)
}

/// The name at `at` in text, and where it ends there.
fn name(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let (mut text, mut from, mut end) = (String::new(), at, None);
    for _ in 0..MOST_LABELS {
        match *bytes.get(from)? {
            0 => {
                let text = if text.is_empty() { ".".to_owned() } else { text };
                return Some((text, end.unwrap_or(from + 1)));
            }
            len @ 1..=63 => {
                let label = bytes.get(from + 1..from + 1 + usize::from(len))?;
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&String::from_utf8_lossy(label));
                from += 1 + usize::from(len);
            }
            high @ 0xc0.. => {
                end.get_or_insert(from + 2);
                from = usize::from(u16::from_be_bytes([high & 0x3f, *bytes.get(from + 1)?]));
            }
            _ => return None,
        }
    }
    None
}

fn rcode(code: u64) -> &'static str {
    match code {
        0 => "NOERROR",
        1 => "FORMERR: the question was not understood",
        2 => "SERVFAIL: the server could not find out",
        3 => "NXDOMAIN: there is no such name",
        4 => "NOTIMP",
        5 => "REFUSED",
        _ => "",
    }
}

fn kind(number: u64) -> String {
    let name = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        41 => "OPT",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        number => return format!("TYPE{number}"),
    };
    name.to_owned()
}
