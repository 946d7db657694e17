//! Two checks of one target, held side by side: what changed, and whether it matters. Pure; it judges neither of them.
//!
//! A time is slower only by a ratio and by an amount, both well above what two checks of one healthy target differ by.

mod changes;
mod facts;
mod sides;

pub use changes::{Change, Weight, changes};
pub use sides::{Comparison, LayerPair, SCHEMA, Side};

use crate::observation::{Baseline, Facts};
use crate::verdict::Verdict;
use crate::{Evidence, Recording};

/// The facts of a recording.
#[must_use]
pub fn facts(recording: &Recording) -> Facts {
    facts::of(&Evidence::new(recording))
}

/// The facts of evidence under judgement.
#[must_use]
pub fn facts_of(evidence: &Evidence<'_>) -> Facts {
    facts::of(evidence)
}

/// An earlier recording as a later check keeps it.
#[must_use]
pub fn baseline(earlier: &Recording, file: &str) -> Baseline {
    let Verdict { status, cause, .. } = crate::judge::judge(earlier);
    Baseline { file: file.to_owned(), started_unix_ms: earlier.header.started_unix_ms, status, cause, facts: facts(earlier) }
}

/// Every difference between an earlier check and this one, that of the verdicts first.
#[must_use]
pub fn since(baseline: &Baseline, evidence: &Evidence<'_>, verdict: &Verdict) -> Vec<Change> {
    let was = (baseline.status, baseline.cause.as_deref());
    let mut all: Vec<Change> = changes::verdicts(was, verdict).into_iter().collect();
    all.extend(changes(&baseline.facts, &facts::of(evidence)));
    all
}

/// The path of two checks to one address, when both know it.
#[derive(Debug, Clone, PartialEq)]
pub struct PathChange {
    /// Most hops then and now, when each walk now is longer, or shorter, than each then.
    pub length: Option<(u8, u8)>,
    /// The first hop whose routers are others, with them: TTL, then, now.
    pub reroute: Option<(u8, std::net::IpAddr, std::net::IpAddr)>,
}

/// How the path changed. Hops at which packets are spread over several routers are not compared: which of them answers is chance.
#[must_use]
pub fn path_change(before: &Facts, after: &Facts) -> Option<PathChange> {
    if before.to.map(|to| to.ip()) != after.to.map(|to| to.ip()) || before.to.is_none() {
        return None;
    }
    let length = match (before.distance, after.distance) {
        (Some((fewest, most)), Some((fewest_now, most_now))) if fewest_now > most || most_now < fewest => Some((most, most_now)),
        _ => None,
    };
    let pairs = (1_u8..).zip(before.hops.iter().zip(&after.hops));
    let reroute = pairs.filter_map(|(ttl, (then, now))| match (then.routers.as_slice(), now.routers.as_slice()) {
        ([then], [now]) if then != now => Some((ttl, *then, *now)),
        _ => None,
    });
    let reroute = reroute.min_by_key(|(ttl, ..)| *ttl);
    (length.is_some() || reroute.is_some()).then_some(PathChange { length, reroute })
}

/// The round trip is longer by half and by 15 ms: no queue of a healthy network makes the smallest of several so much larger.
#[must_use]
pub fn round_trip_rose(before: &Facts, after: &Facts) -> Option<(f64, f64)> {
    let (before, after) = (before.rtt_ms?, after.rtt_ms?);
    changes::slower(before, after, 1.5, 15.0).then_some((before, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Report;
    use crate::testkit::{healthy_https, plus};

    #[test]
    fn a_recording_with_its_baseline_is_read_as_it_was_written() {
        let recording = plus(healthy_https(), baseline(&healthy_https(), "good.jsonl"));
        let mut bytes = Vec::new();
        recording.write(&mut bytes).expect("written");
        assert_eq!(Recording::read(bytes.as_slice()).expect("read"), recording);
    }

    #[test]
    fn a_check_like_its_baseline_says_that_nothing_changed() {
        let report = Report::new(plus(healthy_https(), baseline(&healthy_https(), "good.jsonl")));
        assert_eq!(report.changes, Some(Vec::new()));
        assert_eq!(report.baseline.map(|baseline| baseline.file).as_deref(), Some("good.jsonl"));
        assert_eq!(Report::new(healthy_https()).changes, None);
    }
}
