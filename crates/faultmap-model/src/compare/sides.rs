//! `faultmap compare`: two recordings with their verdicts, layer by layer.

use super::{Change, changes, facts};
use crate::report::LayerStatus;
use crate::verdict::Status;
use crate::{Layer, Recording, Report};
use serde::Serialize;

/// Schema name of the JSON object.
pub const SCHEMA: &str = "faultmap.compare/1";

/// Two recordings side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The verdict is the same and nothing changed that matters.
    pub same: bool,
    /// Both are of one scheme, host and port.
    pub same_target: bool,
    /// The earlier one.
    pub earlier: Side,
    /// The later one.
    pub later: Side,
    /// The seven layers, L1 first.
    pub layers: Vec<LayerPair>,
    /// What is different, the verdict first, then from the lowest layer up.
    pub changes: Vec<Change>,
    /// Kinds of observation that only the later one has.
    pub appeared: Vec<&'static str>,
    /// Kinds of observation that only the earlier one has.
    pub disappeared: Vec<&'static str>,
}

/// One recording in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// The target, as written, credentials hidden.
    pub target: String,
    /// When the check began, Unix milliseconds.
    pub started_unix_ms: i64,
    /// Where it ran from, when the user chose a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<crate::recording::Vantage>,
    /// How the target was.
    pub status: Status,
    /// The layer named.
    pub layer: Option<Layer>,
    /// The cause named.
    pub cause: Option<String>,
    /// The sentence.
    pub summary: String,
    /// How long the whole check took.
    pub total_ms: f64,
}

/// One layer then and now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerPair {
    /// Which.
    pub layer: Layer,
    /// How it was.
    pub before: LayerStatus,
    /// How it is.
    pub after: LayerStatus,
    /// Its time then.
    pub before_ms: Option<f64>,
    /// Its time now.
    pub after_ms: Option<f64>,
    /// The difference, when both are known.
    pub delta_ms: Option<f64>,
}

impl Comparison {
    /// Judges both and compares them.
    #[must_use]
    pub fn new(earlier: Recording, later: Recording) -> Self {
        let place = |recording: &Recording| {
            let target = &recording.header.target;
            (target.scheme, target.host.clone(), target.port)
        };
        let same_target = place(&earlier) == place(&later);
        let started = (earlier.header.started_unix_ms, later.header.started_unix_ms);
        let (before, after) = (facts(&earlier), facts(&later));
        let (earlier, later) = (Report::new(earlier), Report::new(later));
        let mut differences: Vec<Change> =
            changes::verdicts((earlier.verdict.status, earlier.verdict.cause.as_deref()), &later.verdict).into_iter().collect();
        differences.extend(super::changes(&before, &after));
        let only = |a: &Report, b: &Report| {
            let mut kinds: Vec<&'static str> = Vec::new();
            for kind in a.observations.iter().map(|o| o.seen.kind()) {
                if !kinds.contains(&kind) && !b.observations.iter().any(|o| o.seen.kind() == kind) {
                    kinds.push(kind);
                }
            }
            kinds
        };
        let pair = |(a, b): (&crate::report::LayerReport, &crate::report::LayerReport)| LayerPair {
            layer: a.layer,
            before: a.status,
            after: b.status,
            before_ms: a.ms,
            after_ms: b.ms,
            delta_ms: a.ms.zip(b.ms).map(|(a, b)| ((b - a) * 1e3).round() / 1e3),
        };
        Self {
            schema: SCHEMA,
            same: !differences.iter().any(Change::matters),
            same_target,
            layers: earlier.layers.iter().zip(&later.layers).map(pair).collect(),
            appeared: only(&later, &earlier),
            disappeared: only(&earlier, &later),
            earlier: Side::of(earlier, started.0),
            later: Side::of(later, started.1),
            changes: differences,
        }
    }
}

impl Side {
    fn of(report: Report, started_unix_ms: i64) -> Self {
        Self {
            target: report.target.input,
            started_unix_ms,
            from: report.from,
            status: report.verdict.status,
            layer: report.verdict.layer,
            cause: report.verdict.cause,
            summary: report.verdict.summary,
            total_ms: report.timing.total_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::tests_support::connect;
    use crate::observation::{ConnectOutcome, Role, TlsChain};
    use crate::testkit::{but, healthy_https, recording};

    #[test]
    fn a_recording_compared_with_itself_is_the_same() {
        let found = Comparison::new(healthy_https(), healthy_https());
        assert!(found.same && found.same_target && found.changes.is_empty() && found.appeared.is_empty());
        assert!(found.layers.iter().all(|pair| pair.delta_ms.is_none_or(|delta| delta == 0.0)));
    }

    #[test]
    fn a_broken_service_is_told_by_its_verdict_and_by_what_is_no_longer_seen() {
        let outcome = ConnectOutcome::Failed { errno: "ECONNREFUSED".to_owned(), icmp: None };
        let broken = recording("https://shop.test/", vec![connect("10.2.0.10:443", Role::Target, outcome)]);
        let found = Comparison::new(healthy_https(), broken);
        assert_eq!(found.changes[0].what, "verdict");
        assert!(!found.same && found.disappeared.contains(&"tls.handshake"));
    }

    #[test]
    fn another_issuer_is_a_change_although_both_are_healthy() {
        let other = but::<TlsChain>(healthy_https(), |chain| {
            chain.certificates[0].issuer = "CN=Corporate Proxy".to_owned();
            chain.certificates[0].sha256 = "other".to_owned();
        });
        let found = Comparison::new(healthy_https(), other);
        let what: Vec<_> = found.changes.iter().map(|change| change.what).collect();
        assert!(what.contains(&"issuer") && !found.same, "{what:?}");
    }
}
