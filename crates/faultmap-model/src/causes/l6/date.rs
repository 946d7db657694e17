//! Unix seconds as people write them. Reads no clock.

const DAY: i64 = 86_400;

/// `2026-09-21` in UTC, by the proleptic Gregorian calendar.
pub(super) fn day(unix: i64) -> String {
    // Years are counted from 1 March, so that the leap day is the last of its year; 400 years have 146097 days.
    let since_march = unix.div_euclid(DAY).saturating_add(719_468);
    let (era, day_of_era) = (since_march.div_euclid(146_097), since_march.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
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
