//! Which idle times are tried. Pure: no clock, no socket.
//!
//! A ladder of connections is opened at once, and each is used after its own idle time: so a limit is found in the time that it has, not in a
//! multiple of it. Between the last that lived and the first that died a second, finer ladder is put.

use std::time::Duration;

/// Rungs as shares of the longest idle time: dense where limits are short, and at the half, for round limits.
const RUNGS: [f64; 8] = [1.0 / 16.0, 1.0 / 8.0, 3.0 / 16.0, 1.0 / 4.0, 3.0 / 8.0, 1.0 / 2.0, 3.0 / 4.0, 1.0];
/// Each rung is a little longer than its share: a limit that people set is a round number, and a connection that is used at the very moment at which
/// the server closes it looks as if it had failed in use.
const PAST_ROUND: f64 = 1.02;
/// Connections of the finer ladder.
const FINER: u32 = 4;
/// A gap between two rungs that is worth no finer ladder.
const FINE: Duration = Duration::from_millis(100);
/// Requests on the connection that is kept active, over the whole time.
const ACTIVE_REQUESTS: u32 = 32;
const SHORTEST_GAP: Duration = Duration::from_millis(500);

/// The first ladder, ascending. The last rung is a little longer than asked: a limit of exactly that time shall be met.
pub(crate) fn ladder(asked: Duration) -> Vec<Duration> {
    let grace = (asked / 50).clamp(Duration::from_millis(100), Duration::from_secs(2));
    let mut rungs: Vec<Duration> = RUNGS.iter().map(|share| asked.mul_f64(*share * PAST_ROUND)).collect();
    if let Some(last) = rungs.last_mut() {
        *last = asked + grace;
    }
    rungs
}

/// The second ladder: idle times between one that was survived and one that was not, ascending.
pub(crate) fn finer(survived: Duration, died: Duration) -> Vec<Duration> {
    let span = died.saturating_sub(survived);
    if span <= FINE {
        return Vec::new();
    }
    (1..=FINER).map(|n| survived + span * n / (FINER + 1)).collect()
}

/// An idle time beyond one that was not survived: dying there too shows that it was no accident.
pub(crate) fn beyond(died: Duration) -> Duration {
    died.mul_f64(1.2)
}

/// The interval of a keep-alive that should do: about half of what a connection survives idle, as a number that people set.
pub(crate) fn interval(survived: Duration) -> Duration {
    let half = survived / 2;
    let step = match half.as_millis() {
        20_000.. => Duration::from_secs(5),
        1_000.. => Duration::from_secs(1),
        _ => Duration::from_millis(100),
    };
    let steps = u32::try_from(half.as_millis() / step.as_millis()).unwrap_or(u32::MAX);
    (step * steps).max(Duration::from_millis(50))
}

/// How long a connection with a keep-alive must live to show that the keep-alive helps.
pub(crate) fn proof(died: Duration) -> Duration {
    died.mul_f64(1.6) + Duration::from_millis(250)
}

/// The pause between two requests on the connection that is kept active.
pub(crate) fn gap(asked: Duration) -> Duration {
    (asked / ACTIVE_REQUESTS).max(SHORTEST_GAP)
}

/// Bound of the whole: two ladders, the proof, and the patience with connections that answer no more.
pub(crate) fn whole(asked: Duration) -> Duration {
    asked * 3 + Duration::from_secs(25)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What two ladders find of a limit: the longest idle time that lives, and the shortest that does not.
    fn bracket(asked: Duration, limit: Duration) -> Option<(Duration, Duration)> {
        let around = |times: &[Duration], low: Duration, high: Option<Duration>| {
            let low = times.iter().copied().filter(|idle| *idle < limit).max().unwrap_or(low);
            (low, times.iter().copied().find(|idle| *idle >= limit).or(high))
        };
        let (low, high) = around(&ladder(asked), Duration::ZERO, None);
        let (low, high) = around(&finer(low, high?), low, high);
        Some((low, high?))
    }

    proptest! {
        #[test]
        fn a_limit_within_the_asked_time_is_found_and_lies_within_what_is_told(asked_ms in 1_000_u64..3_600_000, share in 0.001_f64..1.0) {
            let asked = Duration::from_millis(asked_ms);
            let limit = asked.mul_f64(share);
            let (low, high) = bracket(asked, limit).expect("a limit that can be met");
            prop_assert!(low < limit && limit <= high);
            // A rung and its finer ladder: no worse than a twentieth of the asked time, or the gap that is not worth one.
            prop_assert!(high - low <= (asked / 18).max(FINE * 2), "{low:?} to {high:?}");
        }

        #[test]
        fn a_limit_beyond_the_asked_time_is_not_told(asked_ms in 1_000_u64..3_600_000, factor in 1.11_f64..10.0) {
            let asked = Duration::from_millis(asked_ms);
            prop_assert_eq!(bracket(asked, asked.mul_f64(factor)), None);
        }

        #[test]
        fn ladders_rise_and_stay_between_their_ends(low in 0_u64..10_000_000, span in 0_u64..10_000_000) {
            let (survived, died) = (Duration::from_millis(low), Duration::from_millis(low + span));
            let times = finer(survived, died);
            prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(times.iter().all(|idle| survived < *idle && *idle < died));
            prop_assert!(interval(survived) <= survived.max(Duration::from_millis(50)));
            prop_assert!(proof(died) > died && beyond(died) >= died);
        }
    }

    #[test]
    fn intervals_are_numbers_that_people_set() {
        for (survived_s, expected_s) in [(29.0, 14.0), (57.0, 25.0), (345.0, 170.0), (2.9, 1.0), (1.5, 0.7)] {
            assert_eq!(interval(Duration::from_secs_f64(survived_s)), Duration::from_secs_f64(expected_s), "{survived_s}");
        }
    }

    #[test]
    fn a_ladder_ends_just_beyond_what_was_asked() {
        let rungs = ladder(Duration::from_secs(60));
        assert_eq!((rungs.len(), rungs[5]), (8, Duration::from_millis(30_600)));
        assert!(rungs[7] > Duration::from_secs(60) && rungs[7] < Duration::from_secs(62));
    }
}
