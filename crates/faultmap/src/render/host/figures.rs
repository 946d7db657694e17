//! Numbers, bars and small curves of the host's map, the same on paper and on the full screen. It knows no colours.

use super::super::time;
use faultmap_model::host::{Reading, Unit};

/// Filled and empty part of a bar. Anything above nothing has at least one cell; only what is full fills it.
pub(super) fn bar(percent: f64, columns: usize, utf8: bool) -> (String, String) {
    let (full, empty) = if utf8 { ("█", "░") } else { ("#", ".") };
    let share = if percent.is_finite() { percent.clamp(0.0, 100.0) } else { 0.0 };
    let exact = share / 100.0 * columns as f64;
    let cells = match share {
        share if share >= 100.0 => columns,
        share if share > 0.5 => (exact.round() as usize).clamp(1, columns.saturating_sub(1).max(1)),
        _ => 0,
    };
    (full.repeat(cells), empty.repeat(columns.saturating_sub(cells)))
}

/// The bar of what nobody knows.
pub(super) fn no_bar(columns: usize, utf8: bool) -> String {
    if utf8 { "╌" } else { "-" }.repeat(columns)
}

/// The last values as a curve, the newest at the right; a blank where there is none.
pub(super) fn curve(values: &[Option<f32>], columns: usize, top: f32, utf8: bool) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 8] = ['_', '.', ',', ':', '-', '=', '+', '#'];
    let steps = if utf8 { BLOCKS } else { ASCII };
    let shown = &values[values.len().saturating_sub(columns)..];
    let mut out = " ".repeat(columns - shown.len());
    out.extend(shown.iter().map(|value| match value {
        Some(value) if value.is_finite() && top > 0.0 => {
            let place = (value / top * 7.0).round().clamp(0.0, 7.0) as usize;
            steps.get(place).copied().unwrap_or(' ')
        }
        _ => ' ',
    }));
    out
}

/// `62 %`, `3.4 %`, `0 %`; never `100 %` for less.
pub(super) fn percent(percent: f64) -> String {
    match percent {
        percent if !percent.is_finite() => "?".to_owned(),
        percent if (99.5..100.0).contains(&percent) => "99 %".to_owned(),
        percent if percent >= 9.95 => format!("{:.0} %", percent.min(99_999.0)),
        percent if percent >= 0.05 => format!("{percent:.1} %"),
        _ => "0 %".to_owned(),
    }
}

/// A number with its unit.
pub(super) fn value(number: f64, unit: Unit) -> String {
    if !number.is_finite() {
        return "?".to_owned();
    }
    match unit {
        Unit::Count => count(number),
        Unit::Bytes => scaled(number, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB"]),
        Unit::BitsPerSecond => scaled(number, 1000.0, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]),
        Unit::Percent => percent(number),
        Unit::Ms => time(number),
        Unit::Seconds => time(number * 1e3),
    }
}

/// `60,000`; from ten millions on `12.3 M`.
fn count(number: f64) -> String {
    let size = number.abs();
    if size >= 1e7 {
        return scaled(number, 1000.0, ["", "k", "M", "G", "T"]).trim_end().to_owned();
    }
    if size < 10.0 && number.fract().abs() > 0.005 {
        return if size < 0.995 { format!("{number:.2}") } else { format!("{number:.1}") };
    }
    let digits = format!("{size:.0}");
    let mut out = if number < 0.0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn scaled(number: f64, step: f64, units: [&str; 5]) -> String {
    let mut rest = number;
    let mut unit = units[0];
    for larger in &units[1..] {
        if rest.abs() < step {
            break;
        }
        rest /= step;
        unit = larger;
    }
    let digits = if rest.abs() < 9.95 && rest.fract().abs() > 0.005 { 1 } else { 0 };
    format!("{rest:.digits$} {unit}")
}

/// Value, of which limit: `60,000 of 65,536`.
pub(super) fn filled(reading: &Reading) -> String {
    match (reading.value, reading.limit) {
        (None, _) => "unknown".to_owned(),
        (Some(number), None) => value(number, reading.unit),
        (Some(number), Some(limit)) => format!("{} of {}", value(number, reading.unit), value(limit, reading.unit)),
    }
}

/// `12/s`; nothing where nothing moves or nobody knows.
pub(super) fn rate(reading: &Reading) -> String {
    match reading.per_second {
        Some(rate) if rate.is_finite() && rate.abs() >= 0.005 => match reading.unit {
            Unit::Bytes => format!("{}/s", value(rate, Unit::Bytes)),
            _ => format!("{}/s", count(rate)),
        },
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_full_fills_the_bar() {
        for (percent, cells) in [(0.0, 0), (0.4, 0), (1.0, 1), (50.0, 5), (99.9, 9), (100.0, 10), (250.0, 10), (f64::NAN, 0)] {
            let (full, empty) = bar(percent, 10, false);
            assert_eq!((full.len(), full.len() + empty.len()), (cells, 10), "{percent}");
        }
    }

    #[test]
    fn numbers_are_short_and_keep_what_matters() {
        for (number, unit, text) in [
            (60_000.0, Unit::Count, "60,000"),
            (999.0, Unit::Count, "999"),
            (12_345_678.0, Unit::Count, "12 M"),
            (0.25, Unit::Count, "0.25"),
            (1_536.0, Unit::Bytes, "1.5 KiB"),
            (940e6, Unit::BitsPerSecond, "940 Mbit/s"),
            (62.3, Unit::Percent, "62 %"),
            (1.5, Unit::Seconds, "1.5 s"),
            (f64::NAN, Unit::Count, "?"),
            (-1_234.0, Unit::Count, "-1,234"),
        ] {
            assert_eq!(value(number, unit), text);
        }
        assert_eq!(
            (percent(99.99), percent(100.0), percent(0.0), percent(3.44)),
            ("99 %".into(), "100 %".into(), "0 %".into(), "3.4 %".into())
        );
    }

    #[test]
    fn a_curve_ends_at_the_newest_value_and_leaves_gaps() {
        let values = [Some(0.0), None, Some(50.0), Some(100.0)];
        assert_eq!(curve(&values, 6, 100.0, true), "  ▁ ▅█");
        assert_eq!(curve(&values, 2, 100.0, false), "-#");
        assert_eq!(curve(&[], 3, 100.0, true), "   ");
    }
}
