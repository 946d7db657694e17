//! Several reports as a table, the worst first, what they share, and then each that is not healthy. It sorts nothing.

use super::{BOLD, CYAN, DIM, GREEN, PLAIN, Paper, RED, YELLOW};
use crate::cli::Shown;
use crate::terminal::Terminal;
use anstyle::Style;
use faultmap_model::many::Tally;
use faultmap_model::{Report, Status, Verdict};
use unicode_width::UnicodeWidthStr as _;

/// A sentence narrower than this says nothing.
const NARROWEST_SUMMARY: usize = 24;
/// Room for the longest status with its sign.
const STATUS: usize = 14;
const LAYER: usize = 4;

/// Sign and colour.
pub(super) fn status_sign(paper: &Paper, status: Status) -> (&'static str, Style) {
    let pick = |sign, ascii| if paper.utf8() { sign } else { ascii };
    match status {
        Status::Healthy => (pick("✔", "+"), GREEN),
        Status::Degraded => ("!", YELLOW),
        Status::Fault => (pick("✘", "x"), RED),
        Status::Inconclusive => ("?", YELLOW),
    }
}

/// The whole text.
pub(crate) fn table(reports: &[&Report], tally: &Tally, shown: Shown, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    let columns = Columns::of(reports, terminal.width);
    columns.head(&mut paper);
    for report in reports {
        columns.row(&mut paper, &report.target.input, &report.verdict);
    }
    paper.end();
    counts(&mut paper, tally);
    for shared in &tally.shared {
        paper.put(BOLD, &shared.sentence()).end();
    }
    let mut text = paper.finish();
    if !shown.quiet {
        details(&mut text, reports, shown, terminal);
    }
    text
}

/// How wide each column is.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    cause: usize,
    target: usize,
    summary: usize,
}

impl Columns {
    /// As wide as their texts, as far as the terminal goes; the summary takes what is left, or is left out.
    pub(crate) fn of(reports: &[&Report], width: usize) -> Self {
        let widest = |text: &dyn Fn(&Report) -> usize, least: usize| reports.iter().map(|r| text(r)).max().unwrap_or(0).max(least);
        let cause = widest(&|report| report.verdict.cause.as_deref().map_or(1, str::len), 5);
        let target = widest(&|report| report.target.input.width(), 6);
        let room = width.saturating_sub(STATUS + LAYER);
        let cause = cause.min(room / 2) + 2;
        let room = room.saturating_sub(cause);
        let target = if room >= target + 2 + NARROWEST_SUMMARY { target + 2 } else { room.min(target + 2) };
        let left = room.saturating_sub(target);
        Self { cause, target, summary: if left >= NARROWEST_SUMMARY { left } else { 0 } }
    }

    /// The names of the columns.
    pub(crate) fn head(self, paper: &mut Paper) {
        paper.cell(DIM, "status", STATUS).cell(DIM, "", LAYER).cell(DIM, "cause", self.cause).cell(DIM, "target", self.target);
        if self.summary > 0 {
            paper.put(DIM, "summary");
        }
        paper.end();
    }

    /// One target.
    pub(crate) fn row(self, paper: &mut Paper, target: &str, verdict: &Verdict) {
        let (sign, style) = status_sign(paper, verdict.status);
        paper.put(style.bold(), sign).blank(1).cell(style, verdict.status.word(), STATUS - 2);
        let layer = verdict.layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string());
        paper.cell(PLAIN, &layer, LAYER).cell(CYAN, verdict.cause.as_deref().unwrap_or("-"), self.cause - 2).blank(2);
        let target = paper.cut(target, self.target.saturating_sub(2));
        paper.cell(BOLD, &target, self.target);
        if self.summary > 0 {
            let summary = paper.cut(&verdict.summary, self.summary);
            paper.put(PLAIN, &summary);
        }
        paper.end();
    }
}

/// `200 targets: 3 fault, 1 degraded, 196 healthy`.
fn counts(paper: &mut Paper, tally: &Tally) {
    paper.put(PLAIN, &super::count(tally.targets as u64, "target")).put(PLAIN, ":");
    let counts = [
        (tally.fault, "fault", RED),
        (tally.inconclusive, "inconclusive", YELLOW),
        (tally.degraded, "degraded", YELLOW),
        (tally.healthy, "healthy", GREEN),
        (tally.not_checked, "not checked", YELLOW),
    ];
    let mut first = true;
    for (number, word, style) in counts.into_iter().filter(|(number, ..)| *number > 0) {
        if !first {
            paper.put(PLAIN, ",");
        }
        paper.blank(1).put(style, &format!("{number} {word}"));
        first = false;
    }
    paper.end();
}

/// Each target that is not healthy (with --verbose, each). Failures of one cause at one place are told once.
fn details(text: &mut String, reports: &[&Report], shown: Shown, terminal: Terminal) {
    let mut told: Vec<&Report> = Vec::new();
    for report in reports {
        let short = report.verdict.status == Status::Healthy || told.iter().any(|known| alike(known, report));
        if short && !shown.verbose {
            continue;
        }
        told.push(report);
        let mut paper = Paper::new(terminal);
        let rule = paper.either("─", "-").repeat(terminal.width.min(100));
        paper.end().put(DIM, &rule).end();
        if !shown.verbose {
            let others: Vec<&str> = reports.iter().filter(|other| alike(report, other)).map(|other| other.target.input.as_str()).collect();
            if others.len() > 1 {
                paper.put(DIM, &format!("one of {} with this cause at this place", others.len())).end();
            }
        }
        text.push_str(&paper.finish());
        text.push_str(&super::report(report, shown, terminal));
    }
}

/// The same cause at the same place.
fn alike(a: &Report, b: &Report) -> bool {
    let at = |report: &Report| report.verdict.locus.as_ref().map(|locus| locus.at.clone()).filter(|at| !at.is_empty());
    a.verdict.status != Status::Healthy && a.verdict.cause == b.verdict.cause && at(a).is_some() && at(a) == at(b)
}
