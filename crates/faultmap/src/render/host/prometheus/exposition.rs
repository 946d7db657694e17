//! The text format of Prometheus, version 0.0.4: families, samples, labels, escaping. It knows no metric.
//!
//! A family is written once, with its HELP and TYPE before its samples, and no sample twice: a scraper refuses the whole text otherwise.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Longest value of a label; what is longer is cut.
const LABEL_LIMIT: usize = 256;

/// What a family counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Only rises, until its owner restarts. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A number as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// Exact, however large.
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<bool> for Number {
    fn from(number: bool) -> Self {
        Self::Whole(number.into())
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

/// Name and value.
pub(super) type Label<'a> = (&'static str, &'a str);

struct Family {
    name: String,
    help: String,
    kind: Type,
    /// By their labels as written.
    samples: BTreeMap<String, Number>,
}

/// Families under construction, in the order of their first sample.
#[derive(Default)]
pub(super) struct Exposition {
    families: Vec<Family>,
    /// Where the family of a name stands.
    places: BTreeMap<String, usize>,
}

impl Exposition {
    /// Adds a sample of a gauge.
    pub(super) fn gauge(&mut self, name: &str, help: &str, labels: &[Label<'_>], number: impl Into<Number>) {
        self.put(name, help, Type::Gauge, labels, number.into());
    }

    /// Adds a sample of a counter.
    pub(super) fn counter(&mut self, name: &str, help: &str, labels: &[Label<'_>], number: impl Into<Number>) {
        self.put(name, help, Type::Counter, labels, number.into());
    }

    /// Adds to a sample of a counter: several things share its labels.
    pub(super) fn add_counter(&mut self, name: &str, help: &str, labels: &[Label<'_>], number: u64) {
        self.put(name, help, Type::Counter, labels, Number::Whole(0));
        let family = self.places.get(name).and_then(|place| self.families.get_mut(*place));
        if let Some(Number::Whole(sum)) = family.and_then(|family| family.samples.get_mut(&written(labels))) {
            *sum = sum.saturating_add(number);
        }
    }

    /// The same, where the number is known.
    pub(super) fn gauge_of(&mut self, name: &str, help: &str, labels: &[Label<'_>], number: Option<impl Into<Number>>) {
        if let Some(number) = number {
            self.gauge(name, help, labels, number);
        }
    }

    /// The same, where the number is known.
    pub(super) fn counter_of(&mut self, name: &str, help: &str, labels: &[Label<'_>], number: Option<impl Into<Number>>) {
        if let Some(number) = number {
            self.counter(name, help, labels, number);
        }
    }

    /// The first sample of a name and its labels stands; names that are none are left out.
    fn put(&mut self, name: &str, help: &str, kind: Type, labels: &[Label<'_>], number: Number) {
        if !is_name(name) {
            return;
        }
        let place = *self.places.entry(name.to_owned()).or_insert_with(|| {
            self.families.push(Family { name: name.to_owned(), help: help.to_owned(), kind, samples: BTreeMap::new() });
            self.families.len() - 1
        });
        if let Some(family) = self.families.get_mut(place).filter(|family| family.kind == kind) {
            family.samples.entry(written(labels)).or_insert(number);
        }
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        let mut out = String::with_capacity(64 * 1024);
        for Family { name, help, kind, samples } in self.families {
            let kind = match kind {
                Type::Counter => "counter",
                Type::Gauge => "gauge",
            };
            let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {kind}", escaped(&help, false));
            for (labels, number) in samples {
                let _ = match number {
                    Number::Whole(number) => writeln!(out, "{name}{labels} {number}"),
                    Number::Real(number) if number.is_nan() => writeln!(out, "{name}{labels} NaN"),
                    Number::Real(number) if number.is_infinite() => {
                        writeln!(out, "{name}{labels} {}", if number > 0.0 { "+Inf" } else { "-Inf" })
                    }
                    Number::Real(number) => writeln!(out, "{name}{labels} {number}"),
                };
            }
        }
        out
    }
}

/// `{device="eth0",cpu="1"}`; nothing without labels.
fn written(labels: &[Label<'_>]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            let value: String = value.chars().take(LABEL_LIMIT).collect();
            format!("{name}=\"{}\"", escaped(&value, true))
        })
        .collect();
    format!("{{{}}}", pairs.join(","))
}

/// Backslash and line feed; in the value of a label the quotation mark too.
fn escaped(text: &str, label: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if label => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`; colons are for rules.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_one_head_and_no_sample_twice() {
        let mut text = Exposition::default();
        text.counter("a_total", "What it is.", &[("device", "eth0")], 1_u64);
        text.gauge("b", "Other.", &[], 0.5);
        text.counter("a_total", "ignored", &[("device", "eth1")], u64::MAX);
        text.counter("a_total", "ignored", &[("device", "eth0")], 9_u64);
        text.gauge("a_total", "of another type", &[], 9_u64);
        text.gauge("bad name", "is left out", &[], 9_u64);
        assert_eq!(
            text.finish(),
            "# HELP a_total What it is.\n# TYPE a_total counter\na_total{device=\"eth0\"} 1\na_total{device=\"eth1\"} 18446744073709551615\n\
             # HELP b Other.\n# TYPE b gauge\nb 0.5\n"
        );
    }

    #[test]
    fn no_label_breaks_its_line() {
        let mut text = Exposition::default();
        text.gauge("a", "back\\slash and\nline", &[("x", "a\"b\\c\nd")], f64::INFINITY);
        assert_eq!(text.finish(), "# HELP a back\\\\slash and\\nline\n# TYPE a gauge\na{x=\"a\\\"b\\\\c\\nd\"} +Inf\n");
    }
}
