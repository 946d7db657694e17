//! Several targets side by side: the tally, the exit code of the worst, and what the failures have in common. Pure.

use crate::verdict::{Status, Verdict};
use crate::{Layer, Report};
use serde::Serialize;
use std::cmp::Reverse;

/// Schema name of the JSON object.
pub const SCHEMA: &str = "faultmap.checks/1";

/// The JSON object of a check of several targets.
#[derive(Debug, Serialize)]
pub struct Checks<'a> {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// One report for each target that was checked, in the order given.
    pub results: Vec<&'a Report>,
    /// All of them in short.
    pub summary: Tally,
}

/// How many targets are how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Targets that were asked for, each counted once.
    pub targets: usize,
    /// Works.
    pub healthy: usize,
    /// Works, slow or at risk.
    pub degraded: usize,
    /// Broken, and several causes remain.
    pub inconclusive: usize,
    /// Broken, cause known.
    pub fault: usize,
    /// Not checked: the user interrupted.
    pub not_checked: usize,
    /// The exit code: that of the worst; of two faults, that of the lower layer. A target that was not checked counts as inconclusive.
    pub exit_code: u8,
    /// What several failures have in common, the most common first.
    pub shared: Vec<Shared>,
}

/// One thing behind several failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// The cause.
    pub cause: String,
    /// The place, when that is shared too: a gateway, a router, a resolver.
    pub at: Option<String>,
    /// So many of the targets that are not healthy.
    pub count: usize,
    /// All that are not healthy.
    pub of: usize,
}

impl Shared {
    /// One sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let place = self.at.as_ref().map_or_else(String::new, |at| format!(" at {at}"));
        format!("{} of {} failures share {}{place}.", self.count, self.of, self.cause)
    }
}

/// The worst first: faults, the lowest layer first; inconclusive; degraded; healthy.
#[must_use]
pub fn badness(verdict: &Verdict) -> (u8, Option<Layer>) {
    (rank(verdict.status), verdict.layer)
}

/// 0 is the worst.
pub(crate) const fn rank(status: Status) -> u8 {
    match status {
        Status::Fault => 0,
        Status::Inconclusive => 1,
        Status::Degraded => 2,
        Status::Healthy => 3,
    }
}

/// The exit code of several verdicts together.
#[must_use]
pub fn exit_code<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> u8 {
    verdicts.into_iter().min_by_key(|verdict| badness(verdict)).map_or(0, Verdict::exit_code)
}

impl Tally {
    /// Counts. `targets` is how many were asked for.
    #[must_use]
    pub fn of(verdicts: &[&Verdict], targets: usize) -> Self {
        let count = |status| verdicts.iter().filter(|verdict| verdict.status == status).count();
        let not_checked = targets.saturating_sub(verdicts.len());
        let worst = exit_code(verdicts.iter().copied());
        let exit_code = if not_checked > 0 && worst < 4 { 4 } else { worst };
        Self {
            targets,
            healthy: count(Status::Healthy),
            degraded: count(Status::Degraded),
            inconclusive: count(Status::Inconclusive),
            fault: count(Status::Fault),
            not_checked,
            exit_code,
            shared: shared(verdicts),
        }
    }
}

/// Causes that stand behind at least half of the failures, or behind ten: with their place where it is one, else alone.
fn shared(verdicts: &[&Verdict]) -> Vec<Shared> {
    const MANY: usize = 10;
    let sick: Vec<&Verdict> = verdicts.iter().copied().filter(|verdict| verdict.status != Status::Healthy).collect();
    let of = sick.len();
    let worth = |count: usize, least: usize| count >= least && (count * 2 >= of || count >= MANY);
    let mut found: Vec<Shared> = Vec::new();
    let mut groups: Vec<(&str, &str, usize)> = Vec::new();
    for verdict in &sick {
        let Some(cause) = verdict.cause.as_deref() else { continue };
        let at = verdict.locus.as_ref().map_or("", |locus| locus.at.as_str());
        match groups.iter_mut().find(|(known, place, _)| (*known, *place) == (cause, at)) {
            Some((_, _, count)) => *count += 1,
            None => groups.push((cause, at, 1)),
        }
    }
    groups.sort_by_key(|(_, _, count)| Reverse(*count));
    for (cause, at, count) in &groups {
        let all: usize = groups.iter().filter(|(known, ..)| known == cause).map(|(_, _, count)| count).sum();
        if !at.is_empty() && worth(*count, 2) && *count * 2 >= all {
            found.push(Shared { cause: (*cause).to_owned(), at: Some((*at).to_owned()), count: *count, of });
        } else if worth(all, 3) && !found.iter().any(|known| known.cause == *cause) {
            found.push(Shared { cause: (*cause).to_owned(), at: None, count: all, of });
        }
    }
    found.sort_by_key(|shared| Reverse(shared.count));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Locus, Where};

    fn verdict(status: Status, cause: &str, at: &str) -> Verdict {
        let layer =
            cause.get(1..2).and_then(|digit| digit.parse::<u8>().ok()).and_then(|n| Layer::ALL.into_iter().find(|l| l.number() == n));
        Verdict {
            status,
            layer,
            cause: layer.map(|_| cause.to_owned()),
            confidence: 0.9,
            locus: Some(Locus { side: Where::Path, at: at.to_owned() }),
            summary: String::new(),
            because: Vec::new(),
            candidates: Vec::new(),
            ruled_out: Vec::new(),
            also: Vec::new(),
            next: Vec::new(),
            fix: Vec::new(),
        }
    }

    fn tally(list: &[(Status, &str, &str)], targets: usize) -> Tally {
        let verdicts: Vec<Verdict> = list.iter().map(|(status, cause, at)| verdict(*status, cause, at)).collect();
        Tally::of(&verdicts.iter().collect::<Vec<_>>(), targets)
    }

    const WELL: (Status, &str, &str) = (Status::Healthy, "", "");

    #[test]
    fn the_exit_code_is_that_of_the_worst_and_of_the_lowest_layer() {
        let check = |list: &[(Status, &str, &str)], targets, expect| assert_eq!(tally(list, targets).exit_code, expect, "{list:?}");
        let closed = (Status::Fault, "l4.port-closed", "10.0.0.1:80");
        let gateway = (Status::Fault, "l2.gateway-unresolved", "10.0.0.1");
        let slow = (Status::Degraded, "l7.service-slow", "");
        let unsure = (Status::Inconclusive, "l4.port-filtered", "");
        check(&[WELL, WELL], 2, 0);
        check(&[WELL, slow], 2, 3);
        check(&[slow, unsure], 2, 4);
        check(&[unsure, closed, slow], 3, 14);
        check(&[closed, gateway, WELL], 3, 12);
        check(&[], 0, 0);
    }

    #[test]
    fn a_target_that_was_not_checked_is_never_called_healthy() {
        assert_eq!(tally(&[WELL], 3).exit_code, 4);
        assert_eq!(tally(&[WELL, (Status::Fault, "l4.port-closed", "x")], 3).exit_code, 14);
        assert_eq!(tally(&[WELL], 3).not_checked, 2);
    }

    #[test]
    fn failures_behind_one_gateway_are_told_as_one() {
        let gateway = (Status::Fault, "l2.gateway-unresolved", "10.0.0.1");
        let mut list = vec![gateway; 12];
        list.extend([(Status::Fault, "l7.http-500", "a"), (Status::Fault, "l4.port-closed", "b"), WELL]);
        let shared = tally(&list, list.len()).shared;
        assert_eq!(shared[0].sentence(), "12 of 14 failures share l2.gateway-unresolved at 10.0.0.1.");
        assert_eq!(shared.len(), 1);
    }

    #[test]
    fn one_cause_at_many_places_is_told_without_a_place() {
        let at = ["a", "b", "c", "d"];
        let list: Vec<_> = at.iter().map(|at| (Status::Fault, "l7.dns-timeout", *at)).collect();
        let shared = tally(&list, 4).shared;
        assert_eq!(shared.iter().map(Shared::sentence).collect::<Vec<_>>(), ["4 of 4 failures share l7.dns-timeout."]);
    }

    #[test]
    fn unlike_failures_share_nothing() {
        let list =
            [(Status::Fault, "l4.port-closed", "a"), (Status::Fault, "l7.http-500", "b"), (Status::Degraded, "l6.cert-expiring", "c")];
        assert_eq!(tally(&list, 3).shared, []);
        assert_eq!(tally(&list[..1], 1).shared, []);
    }
}
