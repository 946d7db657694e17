//! The seven layers with their fullest reading, and the one that is full first.

use super::findings::{Finding, Severity};
use super::reading::{Kind, NOT_KNOWN, Reading, State};
use crate::Layer;
use crate::report::LayerStatus;
use serde::{Deserialize, Serialize};

/// One layer of this host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostLayer {
    /// Which.
    pub layer: Layer,
    /// `ok`, `warn`, `fail`, or `unknown` when nothing of it could be read.
    pub status: LayerStatus,
    /// Percent of its fullest utilisation reading; null if none is known.
    pub percent: Option<f64>,
    /// Id of that reading.
    pub reading: Option<String>,
    /// Of what.
    pub object: Option<String>,
    /// One line.
    pub summary: String,
}

/// The reading that is nearest to 100 % of all, sick or healthy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fullest {
    /// Its layer.
    pub layer: Layer,
    /// Id of the reading.
    pub reading: String,
    /// Of what.
    pub object: String,
    /// How full.
    pub percent: f64,
}

/// The layer at which this host is at its end first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// The layer.
    pub layer: Layer,
    /// Id of the cause.
    pub cause: String,
    /// At fault, or at risk.
    pub severity: Severity,
    /// What it befell.
    pub object: String,
    /// How full, where that can be told.
    pub percent: Option<f64>,
    /// One sentence a person would say aloud.
    pub sentence: String,
}

/// The first finding: they are ranked already.
pub(super) fn bottleneck(findings: &[Finding]) -> Option<Bottleneck> {
    let worst = findings.first()?;
    Some(Bottleneck {
        layer: worst.layer,
        cause: worst.cause.clone(),
        severity: worst.severity,
        object: worst.object.clone(),
        percent: worst.percent,
        sentence: worst.summary.clone(),
    })
}

/// Of all utilisation readings the fullest.
pub(super) fn fullest(readings: &[Reading]) -> Option<Fullest> {
    let (reading, percent) = fullest_of(readings.iter())?;
    Some(Fullest { layer: reading.layer, reading: reading.id.to_string(), object: reading.object.clone(), percent })
}

fn fullest_of<'a>(readings: impl Iterator<Item = &'a Reading>) -> Option<(&'a Reading, f64)> {
    readings
        .filter(|reading| reading.kind == Kind::Utilisation)
        .filter_map(|reading| Some((reading, reading.percent?)))
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// L1 first, always seven.
pub(super) fn tower(readings: &[Reading], findings: &[Finding]) -> Vec<HostLayer> {
    Layer::ALL.into_iter().map(|layer| storey(layer, readings, findings)).collect()
}

fn storey(layer: Layer, readings: &[Reading], findings: &[Finding]) -> HostLayer {
    let own = || readings.iter().filter(|reading| reading.layer == layer);
    let fullest = fullest_of(own());
    let worst = findings.iter().filter(|finding| finding.layer == layer).max_by_key(|finding| finding.severity);
    let first = findings.iter().find(|finding| finding.layer == layer);
    let known = own().any(|reading| reading.state != State::Unknown);
    let status = match worst.map(|finding| finding.severity) {
        Some(Severity::Crit) => LayerStatus::Fail,
        Some(Severity::Warn) => LayerStatus::Warn,
        None if known => LayerStatus::Ok,
        None => LayerStatus::Unknown,
    };
    let summary = match (first, fullest) {
        (Some(finding), _) => finding.summary.clone(),
        (None, Some((reading, _))) => reading.text.clone(),
        (None, None) if known => quiet(own()),
        (None, None) => {
            let why = own().map(|reading| &reading.text).find(|text| !text.is_empty() && *text != NOT_KNOWN);
            why.map_or_else(|| "Nothing of it can be read here.".to_owned(), Clone::clone)
        }
    };
    HostLayer {
        layer,
        status,
        percent: fullest.map(|(_, percent)| percent),
        reading: fullest.map(|(reading, _)| reading.id.to_string()),
        object: fullest.map(|(reading, _)| reading.object.clone()),
        summary,
    }
}

/// Nothing has a limit that is known: the first reading that says something.
fn quiet<'a>(mut readings: impl Iterator<Item = &'a Reading>) -> String {
    let told = readings.find(|reading| reading.state != State::Unknown && !reading.text.is_empty());
    told.map_or_else(|| "Nothing of note.".to_owned(), |reading| reading.text.clone())
}
