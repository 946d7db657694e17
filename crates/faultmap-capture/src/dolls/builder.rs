//! Builds one layer from its bytes: fields by place, values from bytes, credentials hidden.

use super::{Doll, Field, MOST_BYTES, MOST_FIELDS};
use crate::app::text::printable;
use faultmap_model::Layer;
use faultmap_wire::dissect::Span;
use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Characters of a value.
const MOST_VALUE: usize = 200;

/// A layer under construction.
#[derive(Clone)]
pub(super) struct Builder<'a> {
    bytes: &'a [u8],
    start: usize,
    /// In the bytes around this layer.
    hidden: Vec<Range<usize>>,
    fields: Vec<Field>,
    opened: bool,
}

impl<'a> Builder<'a> {
    /// The layer at `span` of `frame`.
    pub(super) fn new(frame: &'a [u8], span: Span, hidden: &[Range<usize>]) -> Builder<'a> {
        let bytes = frame.get(span.start as usize..(span.start + span.len) as usize).unwrap_or_default();
        Builder { bytes, start: span.start as usize, hidden: hidden.to_vec(), fields: Vec::new(), opened: false }
    }

    /// Bytes that were decrypted.
    pub(super) fn opened(bytes: &'a [u8]) -> Builder<'a> {
        Builder { bytes, start: 0, hidden: Vec::new(), fields: Vec::new(), opened: true }
    }

    /// The same, with the places of credentials in them.
    pub(super) fn opened_hiding(bytes: &'a [u8], hidden: Vec<Range<usize>>) -> Builder<'a> {
        Builder { hidden, ..Self::opened(bytes) }
    }

    /// A part of this layer, without its fields.
    pub(super) fn part(&self, at: usize, len: usize) -> Builder<'a> {
        let bytes = self.bytes.get(at..).unwrap_or_default();
        Builder {
            bytes: bytes.get(..len).unwrap_or(bytes),
            start: self.start + at,
            hidden: self.hidden.clone(),
            fields: Vec::new(),
            opened: self.opened,
        }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The unsigned number in up to eight bytes; 0 where they are missing.
    pub(super) fn number(&self, at: usize, len: usize) -> u64 {
        self.bytes.get(at..at + len).unwrap_or_default().iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    }

    pub(super) fn v4(&self, at: usize) -> String {
        self.bytes.get(at..).and_then(|bytes| bytes.first_chunk::<4>()).map_or_else(String::new, |addr| Ipv4Addr::from(*addr).to_string())
    }

    pub(super) fn v6(&self, at: usize) -> String {
        self.bytes.get(at..).and_then(|bytes| bytes.first_chunk::<16>()).map_or_else(String::new, |addr| Ipv6Addr::from(*addr).to_string())
    }

    pub(super) fn mac(&self, at: usize) -> String {
        self.bytes.get(at..).and_then(|bytes| bytes.first_chunk::<6>()).map_or_else(String::new, |mac| faultmap_wire::Mac(*mac).to_string())
    }

    /// A field. Where its bytes are hidden, so is its value. Fields beyond what is there are left out.
    pub(super) fn field(&mut self, name: impl Into<Cow<'static, str>>, at: usize, len: usize, value: impl Into<String>) -> &mut Self {
        if self.fields.len() >= MOST_FIELDS || at + len > self.bytes.len() {
            return self;
        }
        let place = self.start + at..self.start + at + len;
        let secret = len > 0 && self.hidden.iter().any(|hidden| hidden.start < place.end && place.start < hidden.end);
        let value = if secret { "hidden".to_owned() } else { printable(value.into().as_bytes(), MOST_VALUE) };
        let name = match name.into() {
            Cow::Owned(name) => Cow::Owned(printable(name.as_bytes(), 40)),
            name => name,
        };
        self.fields.push(Field { name, value, start: at, len, note: None, secret });
        self
    }

    /// A number as it is.
    pub(super) fn number_field(&mut self, name: &'static str, at: usize, len: usize) -> &mut Self {
        let value = self.number(at, len).to_string();
        self.field(name, at, len, value)
    }

    /// A number in hex.
    pub(super) fn hex_field(&mut self, name: &'static str, at: usize, len: usize) -> &mut Self {
        let value = format!("0x{:0width$x}", self.number(at, len), width = 2 * len);
        self.field(name, at, len, value)
    }

    /// What the last field means.
    pub(super) fn note(&mut self, note: impl Into<String>) -> &mut Self {
        let note = note.into();
        if let Some(last) = self.fields.last_mut().filter(|last| !note.is_empty() && !last.secret) {
            last.note = Some(printable(note.as_bytes(), MOST_VALUE));
        }
        self
    }

    /// Hides a part of the bytes, and the fields in it.
    pub(super) fn hide(&mut self, at: usize, len: usize) -> &mut Self {
        self.hidden.push(self.start + at..self.start + at + len);
        self
    }

    /// The layer.
    pub(super) fn doll(self, layer: Option<Layer>, name: impl Into<String>, written_by: &'static str, read_by: &'static str) -> Doll {
        let hidden = |at: usize| self.hidden.iter().any(|hidden| hidden.contains(&at));
        let shown = self.bytes.iter().take(MOST_BYTES).enumerate();
        let bytes = shown.map(|(at, byte)| (!hidden(self.start + at)).then_some(*byte)).collect();
        Doll {
            layer,
            name: name.into(),
            start: self.start,
            len: self.bytes.len(),
            written_by,
            read_by,
            fields: self.fields,
            bytes,
            opened: self.opened,
            quoted: false,
        }
    }
}
