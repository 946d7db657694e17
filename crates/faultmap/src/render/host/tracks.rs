//! What the readings were over the last samples, for curves and trends. Bounded in length and in number, so that memory stays flat.

use faultmap_model::Layer;
use faultmap_model::host::{HostReport, Reading};
use std::collections::{BTreeMap, VecDeque};

/// Samples that are kept: the widest curve.
const LONGEST: usize = 240;
/// Readings that have a curve; a host of ten thousand containers has more links than anybody looks at.
const MOST_READINGS: usize = 1000;
/// Samples that a trend looks back.
const TREND: usize = 10;

/// Where a reading goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trend {
    Rising,
    Falling,
    Steady,
    /// Too few samples.
    Unknown,
}

/// The last values of one thing.
#[derive(Debug, Clone, Default)]
pub(super) struct Track {
    values: VecDeque<Option<f32>>,
}

impl Track {
    fn take(&mut self, value: Option<f64>) {
        if self.values.len() >= LONGEST {
            self.values.pop_front();
        }
        self.values.push_back(value.map(|value| value as f32).filter(|value| value.is_finite()));
    }

    /// Oldest first.
    pub(super) fn values(&self) -> Vec<Option<f32>> {
        self.values.iter().copied().collect()
    }

    /// The largest, for a curve without a natural end.
    pub(super) fn top(&self) -> f32 {
        self.values.iter().flatten().copied().fold(0.0, f32::max)
    }

    /// The present against the mean of the samples before it.
    pub(super) fn trend(&self) -> Trend {
        let recent: Vec<f32> = self.values.iter().rev().take(TREND + 1).flatten().copied().collect();
        let Some((now, before)) = recent.split_first().filter(|(_, before)| before.len() >= 2) else { return Trend::Unknown };
        let mean = before.iter().sum::<f32>() / before.len() as f32;
        let noise = (mean.abs() * 0.05).max(0.01);
        match now - mean {
            rise if rise > noise => Trend::Rising,
            rise if rise < -noise => Trend::Falling,
            _ => Trend::Steady,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    layers: [Track; 7],
    readings: BTreeMap<String, Track>,
}

impl Tracks {
    /// Takes in a report. Readings that are gone take their curves with them.
    pub(super) fn take(&mut self, report: &HostReport) {
        for (track, storey) in self.layers.iter_mut().zip(&report.layers) {
            track.take(storey.percent);
        }
        let mut kept = BTreeMap::new();
        for reading in report.readings.iter().take(MOST_READINGS) {
            let key = reading.key();
            let mut track = self.readings.remove(&key).unwrap_or_default();
            track.take(of_interest(reading));
            kept.insert(key, track);
        }
        self.readings = kept;
    }

    pub(super) fn layer(&self, layer: Layer) -> Option<&Track> {
        self.layers.get(usize::from(layer.number()).saturating_sub(1))
    }

    pub(super) fn reading(&self, reading: &Reading) -> Option<&Track> {
        self.readings.get(&reading.key())
    }
}

/// The number of a reading that tells how it goes.
fn of_interest(reading: &Reading) -> Option<f64> {
    reading.percent.or(reading.per_second).or(reading.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(values: impl IntoIterator<Item = f64>) -> Track {
        let mut track = Track::default();
        values.into_iter().for_each(|value| track.take(Some(value)));
        track
    }

    #[test]
    fn a_trend_is_more_than_noise_and_more_than_two_samples() {
        assert_eq!(track([1.0, 9.0]).trend(), Trend::Unknown);
        assert_eq!(track([50.0, 50.0, 51.0]).trend(), Trend::Steady);
        assert_eq!(track([50.0, 52.0, 60.0]).trend(), Trend::Rising);
        assert_eq!(track([50.0, 52.0, 40.0]).trend(), Trend::Falling);
    }

    #[test]
    fn a_track_forgets_what_no_curve_shows() {
        let long = track((0..10_000).map(f64::from));
        assert_eq!((long.values().len(), long.top()), (LONGEST, 9_999.0));
    }
}
