//! When something that grows will be full: a straight line through what it was. Never guesses from two points, and is
//! silent where the points are no line.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Fewer points make a line of anything: a program that has just started grows for three seconds.
const POINTS_MIN: usize = 5;
/// Points used: the most recent ones, since a host changes its mind.
const POINTS_MAX: usize = 600;
/// A rise below this many percentage points over all the points is noise.
const RISE_MIN: f64 = 0.5;
/// How much of the points' spread the line must explain (r²).
const FIT_MIN: f64 = 0.8;
/// Beyond this nothing is foretold: a week.
const FAR_S: f64 = 7.0 * 86_400.0;
/// And not beyond this many times the time that was watched.
const REACH: f64 = 1000.0;

/// What the readings were at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// When, Unix milliseconds.
    pub unix_ms: u64,
    /// Percent by [`Reading::key`](super::Reading::key).
    pub percents: BTreeMap<String, f64>,
}

/// A reading that grows toward its limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The reading, by [`Reading::key`](super::Reading::key).
    pub reading: String,
    /// How full now.
    pub percent: f64,
    /// Seconds until 100 %, if it goes on like this.
    pub seconds: f64,
    /// Percentage points a second.
    pub per_second: f64,
    /// From how many samples.
    pub samples: usize,
    /// The time that they span, seconds.
    pub watched_s: f64,
}

/// What will be full, soonest first.
pub(super) fn all(history: &[HistoryPoint], now: &HistoryPoint) -> Vec<Forecast> {
    let mut earlier: Vec<&HistoryPoint> = history.iter().filter(|point| point.unix_ms < now.unix_ms).collect();
    earlier.sort_by_key(|point| point.unix_ms);
    let recent = earlier.len().saturating_sub(POINTS_MAX - 1);
    let points: Vec<&HistoryPoint> = earlier.into_iter().skip(recent).chain([now]).collect();
    let mut found: Vec<Forecast> = now.percents.keys().filter_map(|key| one(key, now, &points)).collect();
    found.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    found
}

fn one(key: &str, now: &HistoryPoint, points: &[&HistoryPoint]) -> Option<Forecast> {
    let at = |point: &HistoryPoint| {
        let back_s = std::time::Duration::from_millis(now.unix_ms.saturating_sub(point.unix_ms)).as_secs_f64();
        point.percents.get(key).map(|percent| (-back_s, *percent)).filter(|(_, percent)| percent.is_finite())
    };
    let line: Vec<(f64, f64)> = points.iter().filter_map(|point| at(point)).collect();
    let (first, last) = (line.first()?, line.last()?);
    let (watched_s, percent) = (last.0 - first.0, last.1);
    if line.len() < POINTS_MIN || watched_s <= 0.0 || percent >= 100.0 || last.1 - first.1 < RISE_MIN {
        return None;
    }
    let (slope, fit) = fitted(&line)?;
    let seconds = (100.0 - percent) / slope;
    let sane = slope > 0.0 && fit >= FIT_MIN && seconds.is_finite() && seconds <= FAR_S.min(watched_s * REACH);
    sane.then(|| Forecast { reading: key.to_owned(), percent, seconds, per_second: slope, samples: line.len(), watched_s })
}

/// Slope of the line of least squares, and r².
fn fitted(line: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = f64::from(u32::try_from(line.len()).ok()?);
    let mean = |pick: fn(&(f64, f64)) -> f64| line.iter().map(pick).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in line {
        xx += (x - x_mean) * (x - x_mean);
        xy += (x - x_mean) * (y - y_mean);
        yy += (y - y_mean) * (y - y_mean);
    }
    let usable = xx > 0.0 && yy > 0.0;
    usable.then(|| (xy / xx, xy * xy / (xx * yy)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: u64, percent: f64) -> HistoryPoint {
        HistoryPoint { unix_ms: 1_000_000 + second * 1000, percents: BTreeMap::from([("conntrack.entries".to_owned(), percent)]) }
    }

    fn check(percents: &[f64], expected_s: Option<f64>) {
        let points: Vec<_> = (0..).zip(percents).map(|(second, percent)| point(second, *percent)).collect();
        let (now, history) = points.split_last().expect("points");
        let found = all(history, now);
        assert_eq!(found.first().map(|forecast| forecast.seconds.round()), expected_s, "{percents:?}");
    }

    #[test]
    fn what_grows_evenly_is_full_when_the_line_says() {
        check(&[10.0, 20.0, 30.0, 40.0, 50.0], Some(5.0));
    }

    #[test]
    fn a_few_samples_foretell_nothing() {
        check(&[10.0, 20.0], None);
        check(&[10.0, 20.0, 30.0, 40.0], None);
    }

    #[test]
    fn what_stands_falls_or_jumps_foretells_nothing() {
        check(&[40.0, 40.0, 40.0, 40.0, 40.0], None);
        check(&[40.0, 30.0, 20.0, 10.0, 5.0], None);
        check(&[40.0, 10.0, 60.0, 12.0, 55.0, 41.0], None);
        check(&[40.0, 40.1, 40.2, 40.3, 40.4], None);
    }

    #[test]
    fn what_is_full_already_needs_no_forecast() {
        check(&[60.0, 70.0, 80.0, 90.0, 100.0], None);
    }

    #[test]
    fn what_would_take_weeks_is_not_told() {
        check(&[10.0, 10.3, 10.6, 10.9, 11.2], Some(296.0));
        let slow: Vec<HistoryPoint> = (0..6_u32).map(|n| point(u64::from(n) * 100_000, 10.0 + f64::from(n) * 0.3)).collect();
        assert_eq!(all(&slow[..5], &slow[5]), Vec::new());
    }
}
