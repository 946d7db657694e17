//! One reading: a value, its limit, its rate, and how it stands against a threshold whose author is named.

use crate::Layer;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What a reading is about (Gregg's USE method, and what merely informs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// How full something with a limit is.
    Utilisation,
    /// Work that waits or is turned away because something is full.
    Saturation,
    /// Things that went wrong.
    Errors,
    /// Worth knowing; never an alarm by itself.
    Info,
}

/// How a reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It could not be read, or not be judged.
    Unknown,
    /// Below its threshold, or without one.
    Ok,
    /// At risk.
    Warn,
    /// At fault.
    Crit,
}

/// What the value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Bits a second.
    BitsPerSecond,
    /// Of a hundred.
    Percent,
    /// Milliseconds.
    Ms,
    /// Seconds.
    Seconds,
}

/// Where a reading begins to matter, and who said so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// From here on at risk.
    pub warn: Option<f64>,
    /// From here on at fault.
    pub crit: Option<f64>,
    /// What the two numbers measure: `percent`, `per-second`, `value`.
    pub of: Cow<'static, str>,
    /// Who set them: `Netdata`, `node_exporter mixin`, `faultmap`, `kernel`.
    pub by: Cow<'static, str>,
}

impl Threshold {
    /// On the share of the limit.
    #[must_use]
    pub const fn percent(warn: f64, crit: f64, by: &'static str) -> Self {
        Self { warn: Some(warn), crit: Some(crit), of: Cow::Borrowed("percent"), by: Cow::Borrowed(by) }
    }

    /// On the rate; `None` where only one of the two exists.
    #[must_use]
    pub const fn per_second(warn: Option<f64>, crit: Option<f64>, by: &'static str) -> Self {
        Self { warn, crit, of: Cow::Borrowed("per-second"), by: Cow::Borrowed(by) }
    }

    /// On the value itself.
    #[must_use]
    pub const fn value(warn: Option<f64>, crit: Option<f64>, by: &'static str) -> Self {
        Self { warn, crit, of: Cow::Borrowed("value"), by: Cow::Borrowed(by) }
    }

    /// How a number stands against it.
    #[must_use]
    pub fn state(&self, number: f64) -> State {
        match number {
            number if self.crit.is_some_and(|crit| number >= crit) => State::Crit,
            number if self.warn.is_some_and(|warn| number >= warn) => State::Warn,
            number if number.is_finite() => State::Ok,
            _ => State::Unknown,
        }
    }
}

/// One reading of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The layer it tells of.
    pub layer: Layer,
    /// Stable id, such as `conntrack.entries`.
    pub id: Cow<'static, str>,
    /// What it was read of: `eth0`, `0.0.0.0:443`, or nothing for the namespace.
    pub object: String,
    /// What it is about.
    pub kind: Kind,
    /// The value now, or how much it rose within the interval.
    pub value: Option<f64>,
    /// The most that it can be.
    pub limit: Option<f64>,
    /// What the value counts.
    pub unit: Unit,
    /// Share of the limit.
    pub percent: Option<f64>,
    /// Rise a second over the interval.
    pub per_second: Option<f64>,
    /// The kernel's counter as it stands, since boot; never judged.
    pub total: Option<f64>,
    /// How it stands.
    pub state: State,
    /// Against what.
    pub threshold: Option<Threshold>,
    /// In words.
    pub text: String,
}

impl Reading {
    /// A reading without a number yet, which is unknown.
    #[must_use]
    pub fn new(layer: Layer, id: &'static str, object: impl Into<String>, kind: Kind, unit: Unit) -> Self {
        Self {
            layer,
            id: Cow::Borrowed(id),
            object: object.into(),
            kind,
            value: None,
            limit: None,
            unit,
            percent: None,
            per_second: None,
            total: None,
            state: State::Unknown,
            threshold: None,
            text: String::new(),
        }
    }

    /// Sets value and limit, and the share that follows.
    #[must_use]
    pub fn filled(mut self, value: Option<f64>, limit: Option<f64>) -> Self {
        self.value = value;
        self.limit = limit;
        self.percent = value.zip(limit).and_then(|(value, limit)| share(value, limit));
        if value.is_some() {
            self.state = State::Ok;
        }
        self
    }

    /// Sets what a counter did in the interval: its rise, its rate, and where it stands.
    #[must_use]
    pub fn rising(mut self, rise: Option<f64>, per_second: Option<f64>, total: Option<f64>) -> Self {
        self.value = rise;
        self.per_second = per_second;
        self.total = total;
        if rise.is_some() {
            self.state = State::Ok;
        }
        self
    }

    /// Judges by the threshold: the share, the rate, or the value, as it says. Unknown stays unknown.
    #[must_use]
    pub fn against(mut self, threshold: Threshold) -> Self {
        let number = match threshold.of.as_ref() {
            "percent" => self.percent,
            "per-second" => self.per_second,
            _ => self.value,
        };
        self.state = number.map_or(State::Unknown, |number| threshold.state(number));
        self.threshold = Some(threshold);
        self
    }

    /// Keeps it from alarming although the threshold is passed: too few events to mean anything.
    #[must_use]
    pub fn unless(mut self, too_little: bool) -> Self {
        if too_little && self.state > State::Ok {
            self.state = State::Ok;
        }
        self
    }

    /// Never worse than a warning: by itself it proves nothing.
    #[must_use]
    pub fn at_most_warn(mut self) -> Self {
        self.state = self.state.min(State::Warn);
        self
    }

    /// Says it in words.
    #[must_use]
    pub fn saying(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// Id and object in one string; how a finding cites it and a history names it.
    #[must_use]
    pub fn key(&self) -> String {
        if self.object.is_empty() { self.id.to_string() } else { format!("{} {}", self.id, self.object) }
    }
}

/// What a reading says of which nothing can be said.
pub(super) const NOT_KNOWN: &str = "not known";

/// Percent of a limit; `None` where there is no limit to speak of.
pub(super) fn share(value: f64, limit: f64) -> Option<f64> {
    let percent = value / limit * 100.0;
    (limit > 0.0 && percent.is_finite()).then_some(percent)
}
