//! The lines, the table and the summary of `--watch`.

use super::history::{Change, State, Track, answer_ms};
use super::table::status_sign;
use super::{BOLD, CYAN, DIM, GREEN, PLAIN, Paper, RED, YELLOW, time};
use crate::terminal::Terminal;
use anstyle::Style;
use faultmap_model::{Report, Status};
use unicode_width::UnicodeWidthStr as _;

const CLOCK: usize = 10;
const STATUS: usize = 15;
const LAYER: usize = 4;
const TIME: usize = 8;
/// A strip shorter than this says nothing.
const SHORTEST_STRIP: usize = 8;
const LONGEST_STRIP: usize = 60;
/// A target cut shorter than this is not known by it.
const SHORTEST_TARGET: usize = 20;

/// `shop.test every 5 s; Ctrl-C ends`
pub(crate) fn watch_head(what: &str, every: &str, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    let tail = format!("  every {every}; Ctrl-C ends");
    let what = paper.cut(what, terminal.width.saturating_sub(tail.len()));
    paper.put(BOLD, &what).put(DIM, &tail).end();
    paper.finish()
}

/// One round of one target; after a change also what was before, and the sentence.
pub(crate) fn run_line(track: &Track, at: &str, change: Option<&Change>, report: &Report, alone: bool, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    let Some(state) = &track.state else { return String::new() };
    let changed = change.is_some_and(|change| change.before.is_some());
    paper.put(DIM, at).blank(CLOCK.saturating_sub(at.len()));
    put_status(&mut paper, state, changed);
    let took = time(answer_ms(report));
    let rest = paper.room().saturating_sub(LAYER + TIME + 2);
    let cause = rest.min(30);
    paper
        .cell(PLAIN, &layer(state), LAYER)
        .cell(CYAN, state.cause.as_deref().unwrap_or("-"), cause)
        .cell_right(PLAIN, &took, TIME)
        .blank(2);
    if alone {
        let room = paper.room();
        strip(&mut paper, track, room.min(LONGEST_STRIP));
    } else {
        let target = paper.cut(&track.target, paper.room());
        paper.put(BOLD, &target);
    }
    paper.end();
    if let Some((before, lasted)) = change.and_then(|change| change.before.as_ref()) {
        let (_, style) = status_sign(&paper, state.status);
        let arrow = paper.either("→", "->").to_owned();
        paper.blank(CLOCK).put(DIM, &called(before)).blank(1).put(BOLD, &arrow).blank(1).put(style.bold(), &called(state)).blank(1);
        paper.wrapped(DIM, &format!("after {}", crate::commands::clock::span(*lasted)), CLOCK);
    }
    if change.is_some() && state.status != Status::Healthy {
        paper.blank(CLOCK).wrapped(PLAIN, &report.verdict.summary, CLOCK);
    }
    paper.finish()
}

fn called(state: &State) -> String {
    state.cause.as_ref().map_or_else(|| state.status.word().to_owned(), |cause| format!("{} {cause}", state.status.word()))
}

fn layer(state: &State) -> String {
    state.layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string())
}

fn put_status(paper: &mut Paper, state: &State, strong: bool) {
    let (sign, style) = status_sign(paper, state.status);
    let style = if strong { style.bold() } else { style };
    paper.put(style.bold(), sign).blank(1).cell(style, state.status.word(), STATUS - 2);
}

/// The latest rounds as blocks, each with a height of its own, so that it can be read without colours.
fn strip(paper: &mut Paper, track: &Track, room: usize) {
    if room < SHORTEST_STRIP {
        return;
    }
    let utf8 = paper.utf8();
    for status in track.strip.iter().skip(track.strip.len().saturating_sub(room)) {
        let (block, ascii, style): (&str, &str, Style) = match status {
            Status::Healthy => ("▂", "_", GREEN),
            Status::Degraded => ("▄", "-", YELLOW),
            Status::Inconclusive => ("▆", "?", YELLOW),
            Status::Fault => ("█", "#", RED),
        };
        paper.put(style, if utf8 { block } else { ascii });
    }
}

/// `10:23:05  200 targets: 198 healthy, 2 fault`
pub(crate) fn round_line(tracks: &[Track], at: &str, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    paper.put(DIM, at).blank(2);
    counts(&mut paper, tracks);
    paper.end();
    paper.finish()
}

fn counts(paper: &mut Paper, tracks: &[Track]) {
    let count = |status| tracks.iter().filter(|track| track.state.as_ref().is_some_and(|state| state.status == status)).count();
    paper.put(PLAIN, &super::count(tracks.len() as u64, "target")).put(PLAIN, ":");
    let all = [(Status::Fault, RED), (Status::Inconclusive, YELLOW), (Status::Degraded, YELLOW), (Status::Healthy, GREEN)];
    let all = all.into_iter().map(|(status, style)| (count(status), status, style)).filter(|(count, ..)| *count > 0);
    for (place, (count, status, style)) in all.enumerate() {
        if place > 0 {
            paper.put(PLAIN, ",");
        }
        paper.blank(1).put(style, &format!("{count} {}", status.word()));
    }
}

/// Every target, the worst first, as many as the terminal has lines for.
pub(crate) fn watch_table(tracks: &[Track], at: &str, height: usize, terminal: Terminal) -> String {
    /// The line of counts, that of what is left out, and the cursor's.
    const OTHER_LINES: usize = 3;
    let mut paper = Paper::new(terminal);
    paper.put(DIM, at).blank(2);
    counts(&mut paper, tracks);
    paper.end();
    let mut sorted: Vec<&Track> = tracks.iter().collect();
    sorted.sort_by_key(|track| {
        track.state.as_ref().map(|state| (state.status != Status::Fault, state.status == Status::Healthy, state.layer))
    });
    let shown = height.saturating_sub(OTHER_LINES).max(1);
    let cause = sorted.iter().filter_map(|track| track.state.as_ref()?.cause.as_ref()).map(String::len).max().unwrap_or(1);
    let target = sorted.iter().map(|track| track.target.width()).max().unwrap_or(6);
    for track in sorted.iter().take(shown) {
        row(&mut paper, track, cause, target);
    }
    if let Some(left) = sorted.len().checked_sub(shown).filter(|left| *left > 0) {
        paper.put(DIM, &format!("{left} more")).end();
    }
    paper.finish()
}

fn row(paper: &mut Paper, track: &Track, cause: usize, target: usize) {
    let Some(state) = &track.state else {
        paper.put(DIM, "not checked").end();
        return;
    };
    put_status(paper, state, false);
    let room = paper.room().saturating_sub(LAYER + 8);
    let cause = cause.min(room / 2);
    // The history is worth a few columns of a long target.
    let most = room.saturating_sub(cause + 2);
    let target = target.min(if most >= SHORTEST_TARGET + SHORTEST_STRIP + 2 { most - SHORTEST_STRIP - 2 } else { most });
    paper.cell(PLAIN, &layer(state), LAYER).cell(CYAN, state.cause.as_deref().unwrap_or("-"), cause).blank(2);
    paper.cell(BOLD, &track.target, target).cell_right(DIM, &format!("{:.0} %", track.uptime()), 6).blank(2);
    let room = paper.room();
    strip(paper, track, room.min(LONGEST_STRIP));
    paper.end();
}

/// How it went.
pub(crate) fn watch_summary(tracks: &[Track], took: &str, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    paper.end();
    match tracks {
        [track] => one_summary(&mut paper, track, took),
        tracks => {
            let rounds = tracks.iter().map(|track| track.rounds).max().unwrap_or(0);
            paper.put(BOLD, &format!("{} in {took}", super::count(rounds, "round"))).put(PLAIN, "; ");
            counts(&mut paper, tracks);
            paper.end();
            let mut unsteady: Vec<&Track> = tracks.iter().filter(|track| track.changes > 0 || track.good < track.rounds).collect();
            unsteady.sort_by(|a, b| a.uptime().total_cmp(&b.uptime()));
            let target = unsteady.iter().map(|track| track.target.width()).max().unwrap_or(6).min(terminal.width / 2);
            for track in unsteady {
                paper.cell(BOLD, &track.target, target).cell_right(PLAIN, &format!("{:.1} %", track.uptime()), 9).blank(2);
                paper.put(PLAIN, &super::count(track.changes, "change")).blank(2);
                let room = paper.room();
                strip(&mut paper, track, room.min(LONGEST_STRIP));
                paper.end();
            }
        }
    }
    paper.finish()
}

fn one_summary(paper: &mut Paper, track: &Track, took: &str) {
    let rounds = super::count(track.rounds, "round");
    paper.put(BOLD, &format!("{rounds} in {took}"));
    if track.rounds == 0 {
        paper.end();
        return;
    }
    let style = if track.good == track.rounds { GREEN } else { RED };
    paper.put(PLAIN, ": ").put(style, &format!("{:.1} % up", track.uptime()));
    paper.put(PLAIN, &format!(", {}", super::count(track.changes, "change")));
    if let (Some(half), Some(most)) = (track.percentile(0.5), track.percentile(0.95)) {
        paper.wrapped(PLAIN, &format!(", answers p50 {}, p95 {}", time(half), time(most)), 2);
    } else {
        paper.end();
    }
    let room = paper.room();
    strip(paper, track, room);
    paper.end();
}
