//! What is wrong, as causes of the registry: one finding an object, with its evidence, its next steps and what to set.
//! Which causes hold is decided in `findings/lN.rs`, from readings and samples; here is what they share.

mod l1;
mod l2;
mod l3;
mod l4;
mod l4_tables;
mod l5_to_l7;
mod rank;

use super::reading::Reading;
use super::window::Window;
use crate::Layer;
use crate::causes;
use crate::verdict::NextStep;
use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// At risk, or slower than it should be.
    Warn,
    /// At fault: full, losing packets, or without a way out.
    Crit,
}

/// A cause that the readings prove.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The layer of the cause.
    pub layer: Layer,
    /// Its id in the registry.
    pub cause: String,
    /// How bad.
    pub severity: Severity,
    /// What it befell: `eth0`, `0.0.0.0:443`, or nothing for the namespace.
    pub object: String,
    /// One sentence a person would say aloud.
    pub summary: String,
    /// The readings that prove it, by [`Reading::key`].
    pub evidence: Vec<String>,
    /// Packets or connections were lost in the interval, rather than something merely being full.
    pub loss: bool,
    /// How full the thing is, percent, where that can be told.
    pub percent: Option<f64>,
    /// The cause of which this one is a consequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// What to run next.
    pub next: Vec<NextStep>,
    /// How to mend it.
    pub fix: Vec<String>,
    /// A setting to change.
    pub advice: Option<Advice>,
}

/// A setting, its value, a better one, and the price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// Its name: a sysctl, a limit, a ring.
    pub sysctl: String,
    /// As it is.
    pub present: String,
    /// As it could be.
    pub suggested: String,
    /// What that costs.
    pub costs: String,
}

impl Finding {
    /// A finding with the registry's words on what to run and what to mend.
    pub(super) fn new(cause: &'static str, severity: Severity, object: impl Into<String>, summary: impl Into<String>) -> Self {
        let object = object.into();
        let known = causes::find(cause);
        let fill = |text: &str| filled(text, &object);
        let next = known.map(|cause| cause.confirm).unwrap_or_default();
        let fix = known.map(|cause| cause.fix).unwrap_or_default();
        Self {
            layer: known.map_or(Layer::L7, |cause| cause.layer),
            cause: cause.to_owned(),
            severity,
            summary: summary.into(),
            evidence: Vec::new(),
            loss: false,
            percent: None,
            follows: None,
            next: next.iter().map(|tool| NextStep { run: fill(tool.run), on: here(tool.on), why: fill(tool.why) }).collect(),
            fix: fix.iter().map(|text| fill(text)).collect(),
            advice: None,
            object,
        }
    }

    pub(super) fn citing<'r>(mut self, readings: impl IntoIterator<Item = &'r Reading>) -> Self {
        for reading in readings {
            let key = reading.key();
            if !self.evidence.contains(&key) {
                self.evidence.push(key);
            }
            // Several readings may bear on it: the fullest says how near the end is.
            self.percent = match (self.percent, reading.percent) {
                (Some(one), Some(other)) => Some(one.max(other)),
                (one, other) => one.or(other),
            };
        }
        self
    }

    pub(super) fn losing(mut self) -> Self {
        self.loss = true;
        self
    }

    pub(super) fn advised(mut self, advice: Option<Advice>) -> Self {
        self.advice = advice;
        self
    }
}

/// The registry speaks of a target; here the target is this host. What is not known stays a word in capitals.
fn filled(text: &str, object: &str) -> String {
    let port = object.rsplit_once(':').map_or("PORT", |(_, port)| port);
    let iface = if object.is_empty() || object.contains(':') { "IFACE" } else { object };
    [("{iface}", iface), ("{port}", port), ("{ip}", "this host"), ("{host}", "this host"), ("{gateway}", "GATEWAY")]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn here(on: &str) -> String {
    match on {
        "{ip}" | "{host}" | "here" => "here".to_owned(),
        other => filled(other, ""),
    }
}

/// Every finding, worst first, consequences behind their causes.
pub(super) fn all(window: &Window<'_>, readings: &[Reading]) -> Vec<Finding> {
    let mut found = Vec::new();
    let read = Read { window, readings };
    for look in [l1::look, l2::look, l3::look, l4_tables::look, l4::look, l5_to_l7::look] {
        look(&read, &mut found);
    }
    rank::ranked(window, found)
}

/// What the findings are made from.
pub(super) struct Read<'a> {
    pub(super) window: &'a Window<'a>,
    pub(super) readings: &'a [Reading],
}

impl<'a> Read<'a> {
    /// The readings of one id.
    pub(super) fn each(&self, id: &'static str) -> impl Iterator<Item = &'a Reading> + use<'a> {
        self.readings.iter().filter(move |reading| reading.id == id)
    }

    /// The reading of one id and object.
    pub(super) fn of(&self, id: &'static str, object: &str) -> Option<&'a Reading> {
        self.each(id).find(|reading| reading.object == object)
    }

    /// The only reading of an id.
    pub(super) fn one(&self, id: &'static str) -> Option<&'a Reading> {
        self.each(id).next()
    }
}
