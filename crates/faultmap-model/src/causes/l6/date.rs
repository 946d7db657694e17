//! Unix seconds as people write them. Reads no clock.

use crate::calendar::civil;

const DAY: i64 = 86_400;

/// `2026-09-21` in UTC, by the proleptic Gregorian calendar.
pub(super) fn day(unix: i64) -> String {
    let (year, month, day) = civil(unix.div_euclid(DAY));
    format!("{year:04}-{month:02}-{day:02}")
}

/// A span in the unit that people would use: `3 days`, `5 hours`, `12 minutes`.
pub(super) fn span(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    let (count, unit) = match seconds {
        172_800.. => (seconds / 86_400, "day"),
        7_200.. => (seconds / 3_600, "hour"),
        120.. => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (1_709_251_199, "2024-02-29"),
            (1_790_000_000, "2026-09-21"),
            (4_107_542_400, "2100-03-01"),
            (253_402_300_799, "9999-12-31"),
        ];
        for (unix, expect) in cases {
            assert_eq!(day(unix), expect);
        }
        // The ends of the range do not overflow.
        assert!(!day(i64::MIN).is_empty() && !day(i64::MAX).is_empty());
    }

    #[test]
    fn spans_are_said_in_a_fitting_unit() {
        let cases = [(30, "30 seconds"), (-600, "10 minutes"), (3 * 3_600, "3 hours"), (47 * 3_600, "47 hours"), (5 * DAY, "5 days")];
        for (seconds, expect) in cases {
            assert_eq!(span(seconds), expect);
        }
    }
}
