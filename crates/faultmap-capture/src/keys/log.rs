//! The lines of a key log (RFC 9850): label, random of the ClientHello, secret, in hex. Comments, labels that open no record, and whatever else stands in the
//! file are passed over.

use super::{LONGEST_SECRET, Label, Random, Secret, Secrets};
use zeroize::{Zeroize as _, Zeroizing};

/// Longest line that is read: label, 64 digits, 96 digits. A longer one is no line of a key log.
const LONGEST_LINE: usize = 256;

/// Shortest secret: that of SHA-256.
const SHORTEST_SECRET: usize = 32;

/// What a line is.
pub(super) enum Line<'a> {
    /// A secret of the connection of this random.
    Secret(Label, Random, &'a [u8]),
    /// A comment, an empty line, or a secret that opens no record.
    OfNoUse,
    /// No line of a key log.
    Unreadable,
}

/// Puts lines together from pieces.
#[derive(Default)]
pub(super) struct Lines {
    kept: Zeroizing<Vec<u8>>,
    /// The line is too long: the rest of it is passed over.
    skipping: bool,
}

impl Lines {
    /// Takes in a piece; `each` gets the lines that are whole.
    pub(super) fn read(&mut self, bytes: &[u8], each: &mut dyn FnMut(Line<'_>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            self.keep(line);
            if std::mem::take(&mut self.skipping) {
                each(Line::Unreadable);
            } else {
                self.line(each);
            }
            self.kept.zeroize();
        }
        self.keep(rest);
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.kept.len() + piece.len() > LONGEST_LINE {
            self.skipping = true;
            self.kept.zeroize();
        }
        if !self.skipping {
            // So that it never moves and leaves a copy.
            let room = LONGEST_LINE.saturating_sub(self.kept.len());
            self.kept.reserve_exact(room);
            self.kept.extend_from_slice(piece);
        }
    }

    fn line(&self, each: &mut dyn FnMut(Line<'_>)) {
        let mut secret = Zeroizing::new([0; LONGEST_SECRET]);
        each(parse(&self.kept, &mut secret));
    }
}

fn parse<'a>(line: &[u8], secret: &'a mut Zeroizing<[u8; LONGEST_SECRET]>) -> Line<'a> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let Some(label) = words.next().filter(|label| !label.starts_with(b"#")) else { return Line::OfNoUse };
    let (Some(random), Some(digits), None) = (words.next(), words.next(), words.next()) else { return Line::Unreadable };
    let mut id = Random::default();
    if !hex(random, &mut id) {
        return Line::Unreadable;
    }
    let Some(known) = Label::ALL.iter().find(|(_, name)| name.as_bytes() == label).map(|(known, _)| *known) else {
        // EXPORTER_SECRET, ECH_SECRET and those to come.
        let is_label = label.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_');
        return if is_label { Line::OfNoUse } else { Line::Unreadable };
    };
    let len = digits.len() / 2;
    let read = len >= SHORTEST_SECRET && secret.get_mut(..len).is_some_and(|place| hex(digits, place));
    if read { Line::Secret(known, id, secret.get(..len).unwrap_or_default()) } else { Line::Unreadable }
}

/// Reads digits that must fill `out`.
fn hex(digits: &[u8], out: &mut [u8]) -> bool {
    let nibble = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    if digits.len() != 2 * out.len() {
        return false;
    }
    digits.as_chunks::<2>().0.iter().zip(out).all(|([high, low], byte)| match (nibble(*high), nibble(*low)) {
        (Some(high), Some(low)) => {
            *byte = high << 4 | low;
            true
        }
        _ => false,
    })
}

/// The lines of one connection.
pub(super) fn write(random: &Random, secrets: &Secrets, out: &mut Zeroizing<Vec<u8>>) {
    for (label, name) in Label::ALL {
        let Some(secret) = secrets.of(label) else { continue };
        line(name, random, secret, out);
    }
}

fn line(name: &str, random: &Random, secret: &Secret, out: &mut Zeroizing<Vec<u8>>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    let mut grown = Zeroizing::new(Vec::with_capacity(out.len() + LONGEST_LINE));
    grown.extend_from_slice(out);
    grown.extend(name.bytes().chain([b' ']));
    grown.extend(random.iter().flat_map(digits));
    grown.push(b' ');
    grown.extend(secret.as_bytes().iter().flat_map(digits));
    grown.push(b'\n');
    *out = grown;
}
