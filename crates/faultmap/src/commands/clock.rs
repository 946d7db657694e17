//! Wall-clock times as people read them. It decides nothing.

use faultmap_model::calendar::civil;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970, 0 before it.
pub(super) fn unix_s(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Milliseconds since 1970, 0 before it.
pub(super) fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// `10:23:05`, in the time zone of this host (TZ, else /etc/localtime).
pub(super) fn local_time(time: SystemTime) -> String {
    let (hour, minute, second) = local(unix_s(time)).unwrap_or_else(|| {
        let second = unix_s(time).rem_euclid(86_400);
        (second / 3600, second / 60 % 60, second % 60)
    });
    format!("{hour:02}:{minute:02}:{second:02}")
}

#[allow(unsafe_code)]
fn local(unix: i64) -> Option<(i64, i64, i64)> {
    // SAFETY: tm is plain integers and a pointer to a name that is not read here; all zero is a valid value.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right type; localtime_r keeps neither of them.
    let done = unsafe { libc::localtime_r(&raw const unix, &raw mut parts) };
    (!done.is_null()).then(|| (parts.tm_hour.into(), parts.tm_min.into(), parts.tm_sec.into()))
}

/// Year, month and day of Unix seconds; times that no clock shows are told as the furthest of 270,000 years.
fn date(seconds: i64) -> (i64, i64, i64) {
    civil(seconds.div_euclid(86_400).clamp(-100_000_000, 100_000_000))
}

/// `2026-11-21 10:23 UTC`.
pub(crate) fn utc(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1000);
    let (year, month, day) = date(seconds);
    let second = seconds.rem_euclid(86_400);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", second / 3600, second / 60 % 60)
}

/// `20261121T102305Z`, for names of files.
pub(super) fn stamp(time: SystemTime) -> String {
    let seconds = unix_s(time);
    let (year, month, day) = date(seconds);
    let second = seconds.rem_euclid(86_400);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// `45 s`, `2 min 5 s`, `3 h 20 min`, `2 days 4 h`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{big} {big_unit}") } else { format!("{big} {big_unit} {small} {small_unit}") }
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..172_800 => pair(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => pair(seconds / 86_400, "days", seconds / 3600 % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_since_1970_are_dates() {
        let check = |unix_s: i64, expect: &str| assert_eq!(utc(unix_s * 1000), expect);
        check(0, "1970-01-01 00:00 UTC");
        check(951_782_400, "2000-02-29 00:00 UTC");
        check(1_790_000_000, "2026-09-21 14:13 UTC");
        check(-1, "1969-12-31 23:59 UTC");
        let _ = (utc(i64::MIN), utc(i64::MAX));
    }

    #[test]
    fn spans_have_two_units_at_the_most() {
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (125, "2 min 5 s"), (7_200, "2 h"), (187_200, "2 days 4 h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
