//! Held connections as lines of time: how long each was held, and how it ended. Shows what was seen; judges nothing.

use super::{CYAN, DIM, GREEN, PLAIN, Paper, RED, observations, time};
use faultmap_model::observation::{HeldFor, SessionIdle};
use faultmap_model::{Report, Seen};

/// Columns of what was done with a connection.
const NAME: usize = 28;
/// Columns of the time.
const TIME: usize = 8;
/// Columns of the longest line.
const WIDEST: usize = 30;
/// Words about the end that are shown.
const ENDING: usize = 34;

/// Nothing when none was held.
pub(super) fn idle(paper: &mut Paper, report: &Report) {
    let held = report.observations.iter().filter_map(|observation| match &observation.seen {
        Seen::SessionIdle(line) if line.purpose != HeldFor::Fresh => Some(line),
        _ => None,
    });
    let mut held: Vec<&SessionIdle> = held.collect();
    if held.is_empty() {
        return;
    }
    held.sort_by(|a, b| rank(a.purpose).cmp(&rank(b.purpose)).then(a.idle_ms.total_cmp(&b.idle_ms)));
    let longest = held.iter().map(|line| line.idle_ms).fold(1.0, f64::max);
    paper.heading("connections held");
    let columns = paper.width().saturating_sub(2 + NAME + TIME + 4 + ENDING).clamp(8, WIDEST);
    for line in held {
        let (full, sign) = match line.survived() {
            true => (paper.either("━", "="), paper.either("✔", "+")),
            false => (paper.either("━", "="), paper.either("✘", "x")),
        };
        let style = if line.survived() { GREEN } else { RED };
        paper.blank(2).cell(PLAIN, &observations::held(line), NAME).cell_right(DIM, &time(line.idle_ms), TIME).blank(2);
        let length = length(line.idle_ms, longest, columns);
        paper.put(CYAN, &full.repeat(length)).put(style, sign).blank(columns.saturating_sub(length) + 1);
        let ending = observations::held_ending(line);
        let room = paper.room().saturating_sub(1);
        let ending = paper.cut(&ending, room);
        paper.put(DIM, &ending).end();
    }
}

const fn rank(purpose: HeldFor) -> u8 {
    match purpose {
        HeldFor::Idle => 0,
        HeldFor::KeptAlive => 1,
        HeldFor::Active | HeldFor::Fresh => 2,
    }
}

/// At least one column, at most all.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "columns are small and clamped")]
fn length(ms: f64, longest: f64, columns: usize) -> usize {
    ((ms / longest) * columns as f64).round().clamp(1.0, columns as f64) as usize
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn every_line_is_seen_and_none_leaves_the_frame() {
        for (ms, longest) in [(0.0, 1.0), (1.0, 1.0), (f64::NAN, 1.0), (1e300, 1.0), (0.0, 1e300)] {
            assert!(length(ms, longest, 20) <= 20, "{ms} {longest}");
        }
        assert_eq!(length(30.0, 60.0, 20), 10);
    }
}
