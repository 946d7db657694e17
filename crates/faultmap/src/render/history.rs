//! What one target did over many rounds: its present state and since when, its share of good rounds, its times. No clock of its own.

use faultmap_model::{Layer, Report, Status, Verdict};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Rounds kept for the strip.
const MOST_PLACES: usize = 200;
/// Times kept for the percentiles: the latest.
const MOST_TIMES: usize = 10_000;

/// One target's history.
pub(crate) struct Track {
    pub(crate) target: String,
    /// The latest rounds, the oldest first.
    pub(crate) strip: VecDeque<Status>,
    pub(crate) rounds: u32,
    /// Rounds in which the target did what was asked: healthy or degraded.
    pub(crate) good: u32,
    pub(crate) changes: u32,
    /// The present state.
    pub(crate) state: Option<State>,
    since: Option<Instant>,
    times_ms: VecDeque<f64>,
}

/// What makes one state differ from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) status: Status,
    pub(crate) layer: Option<Layer>,
    pub(crate) cause: Option<String>,
}

/// From one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The state before, and how long it lasted; `None` in the first round.
    pub(crate) before: Option<(State, Duration)>,
}

impl Track {
    /// Nothing known yet.
    pub(crate) fn new(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            strip: VecDeque::new(),
            rounds: 0,
            good: 0,
            changes: 0,
            state: None,
            since: None,
            times_ms: VecDeque::new(),
        }
    }

    /// Takes a report in; says whether the state is another one than before.
    pub(crate) fn take(&mut self, report: &Report, now: Instant) -> Option<Change> {
        let Verdict { status, layer, cause, .. } = &report.verdict;
        self.rounds += 1;
        if matches!(status, Status::Healthy | Status::Degraded) {
            self.good += 1;
            push(&mut self.times_ms, answer_ms(report), MOST_TIMES);
        }
        push(&mut self.strip, *status, MOST_PLACES);
        let state = State { status: *status, layer: *layer, cause: cause.clone() };
        if self.state.as_ref() == Some(&state) {
            return None;
        }
        let before = self.state.replace(state).zip(self.since.replace(now).map(|since| now.saturating_duration_since(since)));
        self.since = Some(now);
        self.changes += u32::from(before.is_some());
        Some(Change { before })
    }

    /// The share of rounds in which it worked, percent.
    pub(crate) fn uptime(&self) -> f64 {
        if self.rounds == 0 { 0.0 } else { f64::from(self.good) * 100.0 / f64::from(self.rounds) }
    }

    /// The time that this share of good rounds stayed within (nearest rank).
    pub(crate) fn percentile(&self, share: f64) -> Option<f64> {
        let mut sorted: Vec<f64> = self.times_ms.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank within 10000")]
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

fn push<T>(all: &mut VecDeque<T>, one: T, most: usize) {
    if all.len() >= most {
        all.pop_front();
    }
    all.push_back(one);
}

/// What a user of the target waits for: name, connection, handshake and answer. A check takes longer, for it also looks around.
pub(crate) fn answer_ms(report: &Report) -> f64 {
    let timing = &report.timing;
    let phases = [timing.dns_ms, timing.connect_ms, timing.tls_ms, timing.ttfb_ms, timing.body_ms];
    let sum: f64 = phases.into_iter().flatten().sum();
    if phases.iter().any(Option::is_some) { sum } else { timing.total_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultmap_model::recording::{Expect, Header, SCHEMA};
    use faultmap_model::{Recording, Target};

    /// A report of a target about which nothing is known, made to have this status.
    pub(super) fn report(status: Status, cause: Option<&str>) -> Report {
        let header = Header {
            schema: SCHEMA.to_owned(),
            target: Target::parse("tcp://10.0.0.1:80").expect("target"),
            started_unix_ms: 0,
            total_ms: 7.0,
            cut_short: false,
            privileges: Vec::new(),
            expect: Expect::default(),
            from: None,
        };
        let mut report = Report::new(Recording { header, observations: Vec::new() });
        (report.verdict.status, report.verdict.cause) = (status, cause.map(str::to_owned));
        report
    }

    #[test]
    fn a_change_tells_what_was_before_and_for_how_long() {
        let (mut track, start) = (Track::new("x"), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(track.take(&report(Status::Healthy, None), at(0)), Some(Change { before: None }));
        assert_eq!(track.take(&report(Status::Healthy, None), at(5)), None);
        let change = track.take(&report(Status::Fault, Some("l4.port-closed")), at(10)).and_then(|change| change.before);
        assert_eq!(change.map(|(state, lasted)| (state.status, lasted.as_secs())), Some((Status::Healthy, 10)));
        let change = track.take(&report(Status::Fault, Some("l4.port-filtered")), at(15)).and_then(|change| change.before);
        assert_eq!(change.map(|(state, lasted)| (state.cause, lasted.as_secs())), Some((Some("l4.port-closed".to_owned()), 5)));
        assert_eq!((track.rounds, track.good, track.changes, track.uptime()), (4, 2, 2, 50.0));
    }

    #[test]
    fn percentiles_are_of_the_rounds_that_worked() {
        let mut track = Track::new("x");
        assert_eq!(track.percentile(0.5), None);
        for ms in 1..=100 {
            let mut report = report(Status::Healthy, None);
            report.timing.ttfb_ms = Some(f64::from(ms));
            track.take(&report, Instant::now());
        }
        track.take(&report(Status::Fault, None), Instant::now());
        assert_eq!((track.percentile(0.5), track.percentile(0.95)), (Some(50.0), Some(95.0)));
    }

    #[test]
    fn a_history_is_bounded() {
        let mut track = Track::new("x");
        for _ in 0..(MOST_TIMES + 5) {
            track.take(&report(Status::Healthy, None), Instant::now());
        }
        assert_eq!((track.strip.len(), track.times_ms.len()), (MOST_PLACES, MOST_TIMES));
    }
}
