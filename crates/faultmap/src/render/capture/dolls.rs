//! One packet as boxes in boxes: the outermost header outside, each field beside the hex of its bytes.

use super::super::{BOLD, CYAN, DIM, PLAIN, Paper, RED, YELLOW};
use crate::terminal::Terminal;
use faultmap_capture::dolls::{Anatomy, Doll, Field};
use unicode_width::UnicodeWidthStr as _;

/// Columns of a field's name.
const NAME: usize = 21;
/// Columns of hex on the right: eight bytes, three on a narrow terminal.
const HEX: usize = 24;
const HEX_NARROW: usize = 9;
/// Narrower terminals get less hex.
const WIDE: usize = 76;
/// Bytes on a line of a dump.
const ROW: usize = 16;
/// Lines of a dump.
const MOST_ROWS: usize = 16;
/// Boxes that are drawn further in; deeper ones stay at this depth.
const DEEPEST: usize = 10;

/// The boxes.
pub(crate) fn dolls(anatomy: &Anatomy, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    paper.put(BOLD, &format!("packet {}", anatomy.packet)).put(DIM, &format!("  {} bytes on the wire", anatomy.wire_len));
    if anatomy.captured as u64 != u64::from(anatomy.wire_len) {
        paper.put(YELLOW, &format!(", {} captured", anatomy.captured));
    }
    paper.end();
    let depths = depths(&anatomy.layers);
    let mut open = 0;
    for (doll, depth) in anatomy.layers.iter().zip(depths) {
        close(&mut paper, &mut open, depth);
        header(&mut paper, doll, depth);
        open = depth + 1;
        people(&mut paper, doll, open);
        doll.fields.iter().for_each(|field| line(&mut paper, doll, field, open));
        dump(&mut paper, doll, open);
    }
    close(&mut paper, &mut open, 0);
    if let Some(problem) = &anatomy.problem {
        paper.put(RED, "could not be read: ").put(PLAIN, problem).end();
    }
    paper.finish()
}

/// How deep each box lies. A header lies in the one before it; records, messages and frames of one payload lie side by side.
fn depths(layers: &[Doll]) -> Vec<usize> {
    let mut depths: Vec<usize> = Vec::with_capacity(layers.len());
    for (at, doll) in layers.iter().enumerate() {
        let below = depths.last().map_or(0, |depth| depth + 1);
        let beside = beside(doll).and_then(|kind| {
            let before = layers.iter().zip(&depths).take(at);
            before.filter(|(earlier, _)| self::beside(earlier) == Some(kind)).map(|(_, depth)| *depth).next()
        });
        let depth = if doll.name == "padding" { below.min(1) } else { beside.unwrap_or(below) };
        depths.push(depth.min(DEEPEST));
    }
    depths
}

/// What lies side by side with its like.
fn beside(doll: &Doll) -> Option<u8> {
    match doll.name.as_str() {
        "TLS record" => Some(0),
        "encrypted" => Some(1),
        name if name.starts_with("TLS ") => Some(1),
        name if name.starts_with("HTTP/2 ") => Some(2),
        "QUIC Initial" | "QUIC Handshake" | "QUIC 0-RTT" | "QUIC, short header" => Some(3),
        _ => None,
    }
}

fn bars(paper: &mut Paper, depth: usize) {
    let bar = paper.either("│", "|");
    for _ in 0..depth {
        paper.put(DIM, bar).blank(1);
    }
}

/// Closes boxes until only `depth` are open.
fn close(paper: &mut Paper, open: &mut usize, depth: usize) {
    while *open > depth {
        *open -= 1;
        bars(paper, *open);
        let foot = paper.either("└─", "'-");
        paper.put(DIM, foot).end();
    }
}

fn header(paper: &mut Paper, doll: &Doll, depth: usize) {
    bars(paper, depth);
    let corner = paper.either("┌─", ".-");
    paper.put(DIM, corner).blank(1);
    if let Some(layer) = doll.layer {
        paper.put(CYAN, &layer.to_string()).blank(1);
    }
    paper.put(BOLD, &doll.name);
    let place = match (doll.opened, doll.len) {
        (true, len) => format!("  {len} bytes, decrypted"),
        (false, 0) => "  empty".to_owned(),
        (false, 1) => format!("  byte {}", doll.start),
        (false, len) => format!("  bytes {} to {}", doll.start, doll.start + len - 1),
    };
    paper.put(DIM, &place);
    if doll.quoted {
        paper.put(YELLOW, "  quoted");
    }
    paper.end();
}

fn people(paper: &mut Paper, doll: &Doll, depth: usize) {
    for (verb, who) in [("written by", doll.written_by), ("read by", doll.read_by)] {
        for (n, text) in wrap(&format!("{verb} {who}"), room(paper, depth)).into_iter().enumerate() {
            bars(paper, depth);
            paper.blank(if n > 0 { 2 } else { 0 }).put(DIM, &text).end();
        }
    }
}

/// Columns inside a box.
fn room(paper: &Paper, depth: usize) -> usize {
    paper.width().saturating_sub(2 * depth + 2).max(16)
}

/// Name, value and note on the left, the bytes on the right; what does not fit goes on below.
fn line(paper: &mut Paper, doll: &Doll, field: &Field, depth: usize) {
    let hex_columns = if paper.width() >= WIDE { HEX } else { HEX_NARROW };
    let left = paper.width().saturating_sub(2 * depth + NAME + hex_columns + 1).max(12);
    let note = field.note.as_deref().unwrap_or_default();
    let joined = if note.is_empty() { field.value.clone() } else { format!("{}  {note}", field.value) };
    let together = joined.width() <= left;
    let values = wrap(if together { &joined } else { &field.value }, left);
    let name = if field.name.width() < NAME { field.name.to_string() } else { paper.cut(&field.name, NAME - 1) };
    for (n, value) in values.iter().enumerate() {
        bars(paper, depth);
        paper.cell(DIM, if n == 0 { &name } else { "" }, NAME);
        let style = if field.secret { YELLOW } else { PLAIN };
        match value.strip_suffix(note).filter(|_| together && !note.is_empty()) {
            Some(value_alone) => {
                paper.put(style, value_alone).put(DIM, note).blank(left.saturating_sub(value.width()));
            }
            None => _ = paper.cell(style, value, left),
        }
        if n == 0 {
            let hex = paper.cut(&hex(doll, field.start, field.len, hex_columns / 3), hex_columns);
            paper.blank(1).put(CYAN, &hex);
        }
        paper.end();
    }
    if !together && !note.is_empty() {
        for text in wrap(note, room(paper, depth).saturating_sub(NAME)) {
            bars(paper, depth);
            paper.blank(NAME).put(DIM, &text).end();
        }
    }
}

/// At most so many bytes; more are told by a mark.
fn hex(doll: &Doll, start: usize, len: usize, room: usize) -> String {
    let bytes = doll.bytes.get(start..(start + len).min(doll.bytes.len())).unwrap_or_default();
    let most = if len > room { room - 1 } else { room };
    let mut out = bytes
        .iter()
        .take(most)
        .map(|byte| byte.map_or_else(|| "**".to_owned(), |byte| format!("{byte:02x}")))
        .collect::<Vec<_>>()
        .join(" ");
    if len > most && !out.is_empty() {
        out.push_str(" …");
    }
    out
}

/// All bytes of a layer that has no fields, or fewer than its bytes are worth: a payload.
fn dump(paper: &mut Paper, doll: &Doll, depth: usize) {
    let told: usize = doll.fields.iter().map(|field| field.len).sum();
    let payload = doll.fields.is_empty() || (told == 0 && doll.len > 0) || doll.name == "payload";
    if !payload || doll.bytes.is_empty() || doll.name == "encrypted" && doll.fields.is_empty() && doll.len == 0 {
        return;
    }
    let row = if room(paper, depth) >= 6 + 3 * ROW + 2 + ROW { ROW } else { ROW / 2 };
    for (n, bytes) in doll.bytes.chunks(row).take(MOST_ROWS).enumerate() {
        bars(paper, depth);
        let hex = bytes.iter().map(|byte| byte.map_or_else(|| "**".to_owned(), |byte| format!("{byte:02x}"))).collect::<Vec<_>>().join(" ");
        let text: String = bytes.iter().map(|byte| byte.filter(|byte| (0x20..0x7f).contains(byte)).map_or('.', char::from)).collect();
        paper.put(DIM, &format!("{:04x}  ", n * row)).cell(CYAN, &hex, 3 * row + 1).put(PLAIN, &text).end();
    }
    let shown = (row * MOST_ROWS).min(doll.bytes.len());
    if doll.len > shown {
        bars(paper, depth);
        paper.put(DIM, &format!("{} more bytes", doll.len - shown)).end();
    }
}

/// Lines of at most so many columns, broken at blanks where there are any.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word.to_owned();
        while let Some(line) = lines.last_mut() {
            let blank = usize::from(!line.is_empty());
            if line.width() + blank + word.width() <= columns {
                line.push_str(if blank == 1 { " " } else { "" });
                line.push_str(&word);
                break;
            }
            if line.is_empty() {
                let end = word.char_indices().nth(columns.max(1)).map_or(word.len(), |(at, _)| at);
                let rest = word.split_off(end);
                line.push_str(&word);
                if rest.is_empty() {
                    break;
                }
                word = rest;
            }
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultmap_capture::dolls::anatomy;
    use faultmap_capture::packet::{Captured, PacketNo, Stamp};
    use faultmap_wire::dissect::LinkType;
    use faultmap_wire::{Ethernet, Ipv4, Mac, Tcp, TcpFlags, proto};
    use std::net::Ipv4Addr;

    fn shown(payload: &[u8], width: usize, utf8: bool) -> String {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let segment = Tcp::new(40000, 80, TcpFlags::ACK).emit(a.into(), b.into(), payload);
        let bytes = Ethernet::new(Mac([2; 6]), Mac([4; 6]), 0x0800).emit(&Ipv4::new(a, b, proto::TCP).emit(&segment));
        let packet = Captured { number: PacketNo(7), at: Stamp(0), link: LinkType::ETHERNET, wire_len: bytes.len() as u32, bytes: &bytes };
        anstream::adapter::strip_str(&dolls(&anatomy(&packet, &[]), Terminal { width, utf8 })).to_string()
    }

    #[test]
    fn every_line_fits_and_every_box_is_closed() {
        for (width, utf8) in [(80, true), (60, false), (40, true), (140, true)] {
            let text = shown(
                b"GET /a/very/long/path/that/does/not/fit/anywhere/at/all HTTP/1.1\r\nHost: shop.test\r\nCookie: id=hunter2\r\n\r\n",
                width,
                utf8,
            );
            if width >= 60 {
                assert!(text.lines().all(|line| line.width() <= width), "{text}");
            }
            let (opened, closed) = if utf8 { ("┌─", "└─") } else { (".-", "'-") };
            assert_eq!(text.matches(opened).count(), 4, "{text}");
            assert_eq!(text.matches(closed).count(), 4, "{text}");
            assert!(!text.contains("hunter2") && text.contains("hidden"), "{text}");
            assert!(utf8 || text.is_ascii(), "{text}");
        }
    }

    #[test]
    fn a_field_stands_beside_its_bytes() {
        let text = shown(&[0, 1, 2, 250], 80, true);
        let line = |what: &str| text.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(line("destination port").contains("80") && line("destination port").ends_with("00 50"), "{text}");
        assert!(text.contains("0000  00 01 02 fa"), "{text}");
    }
}
