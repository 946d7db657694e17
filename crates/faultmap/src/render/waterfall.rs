//! Where the time went: one bar for each phase, after the other, over their sum.

use super::{CYAN, DIM, PLAIN, Paper, time};
use faultmap_model::Report;

/// Columns of the phase's name.
const NAME: usize = 6;
/// Columns of its time.
const TIME: usize = 8;
/// Wider bars tell no more.
const WIDEST: usize = 60;

/// Nothing when no phase took place.
pub(super) fn waterfall(paper: &mut Paper, report: &Report) {
    let timing = &report.timing;
    let phases =
        [("DNS", timing.dns_ms), ("TCP", timing.connect_ms), ("TLS", timing.tls_ms), ("wait", timing.ttfb_ms), ("body", timing.body_ms)];
    let phases: Vec<(&str, f64)> =
        phases.into_iter().filter_map(|(name, ms)| Some((name, ms.filter(|ms| ms.is_finite() && *ms >= 0.0)?))).collect();
    let sum: f64 = phases.iter().map(|(_, ms)| ms).sum();
    let reached = timing.connect_ms.is_some() || timing.ttfb_ms.is_some();
    if !reached || !sum.is_finite() {
        return;
    }
    paper.end();
    let columns = paper.width().saturating_sub(2 + NAME + TIME + 4).clamp(10, WIDEST);
    let mut before = 0.0;
    for (name, ms) in &phases {
        let (start, length) = bar(before, *ms, sum, columns);
        let (full, rest) = (paper.either("█", "#"), paper.either("·", "."));
        paper.blank(2).cell(PLAIN, name, NAME);
        paper.put(DIM, &rest.repeat(start)).put(CYAN, &full.repeat(length)).put(DIM, &rest.repeat(columns.saturating_sub(start + length)));
        paper.blank(2).cell_right(PLAIN, &time(*ms), TIME).end();
        before += ms;
    }
    let whole = format!("{} of {} for the check as a whole", time(sum), time(timing.total_ms));
    paper.blank(2 + NAME).put(DIM, &whole).end();
}

/// First column and length of a bar: at least one column, never beyond the end.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "columns are small and clamped")]
fn bar(before: f64, ms: f64, sum: f64, columns: usize) -> (usize, usize) {
    if sum <= 0.0 {
        return (0, 1);
    }
    let at = |ms: f64| ((ms / sum) * columns as f64).round().clamp(0.0, columns as f64) as usize;
    let start = at(before).min(columns - 1);
    let end = at(before + ms).clamp(start + 1, columns);
    (start, end - start)
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn every_phase_is_seen_and_none_leaves_the_frame() {
        for (before, ms, sum) in [(0.0, 0.0, 0.0), (0.0, 1.0, 1.0), (100.0, 0.0, 100.0), (0.0, 0.001, 1e9), (1e300, 1e300, 2e300)] {
            let (start, length) = bar(before, ms, sum, 40);
            assert!(length >= 1 && start + length <= 40, "{before} {ms} {sum}: {start} {length}");
        }
        assert_eq!(bar(50.0, 25.0, 100.0, 40), (20, 10));
    }
}
