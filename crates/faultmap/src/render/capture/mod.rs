//! The report of a capture as text: the sentence, the tower of seven layers, the groups with their evidence, and how good the capture is.

mod board;
mod dolls;
mod flows;
mod live;
mod sequence;
mod top;

pub(crate) use board::{Ask, Course, LiveBoard, Of, draw_live};
pub(crate) use dolls::dolls;
pub(crate) use flows::flows;
pub(crate) use live::{live_finding, live_more};
pub(crate) use sequence::sequence;
pub(crate) use top::top;

use super::{BOLD, CYAN, DIM, PLAIN, Paper, RED, YELLOW, count, sentence, sign, table, time};
use crate::terminal::Terminal;
use anstyle::Style;
use faultmap_capture::finding::Cited;
use faultmap_capture::report::{Report, ShownGroup};
use faultmap_capture::verdict::Severity;
use faultmap_model::Status;
use faultmap_model::verdict::NextStep;

/// Groups told without --verbose.
const MOST_GROUPS: usize = 8;
/// Columns of the layer's name: `Presentation`.
const NAME: usize = 12;

/// The report.
pub(crate) fn report(report: &Report, verbose: bool, quiet: bool, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    if quiet {
        one_line(&mut paper, report);
        return paper.finish();
    }
    header(&mut paper, report);
    verdict(&mut paper, report);
    paper.end();
    tower(&mut paper, report);
    sentence::remaining(&mut paper, report.verdict.status, &report.verdict.candidates);
    groups(&mut paper, report, verbose);
    if report.groups.is_empty() {
        bullets(&mut paper, "noticed", &report.verdict.also);
    }
    steps(&mut paper, &report.verdict.next);
    bullets(&mut paper, "fix", &report.verdict.fix);
    quality(&mut paper, report, verbose);
    if verbose {
        top::services(&mut paper, "services", &report.services);
    }
    paper.finish()
}

fn names(report: &Report) -> String {
    match report.files.as_slice() {
        [] => "capture".to_owned(),
        [one] => one.name.clone(),
        [first, rest @ ..] => format!("{} and {}", first.name, count(rest.len() as u64, "more file")),
    }
}

fn header(paper: &mut Paper, report: &Report) {
    let capture = &report.capture;
    paper.put(BOLD, &names(report)).end();
    let mut line = format!("{}, {}, {}", count(capture.packets, "packet"), bytes(capture.bytes), count(report.flows, "flow"));
    if let Some(from) = &capture.from {
        line = format!("{line}; {} from {}", time(capture.duration_ms), from.replace('T', " ").get(..19).unwrap_or(from));
    }
    paper.put(DIM, &line).end().end();
}

fn verdict(paper: &mut Paper, report: &Report) {
    let verdict = &report.verdict;
    let (glyph, style) = table::status_sign(paper, verdict.status);
    let word = verdict.status.word().to_uppercase();
    let headline = match (verdict.status, verdict.layer) {
        (Status::Inconclusive, Some(layer)) => format!("{word}, likeliest at {layer} {}", layer.name()),
        (_, Some(layer)) => format!("{word} at {layer} {}", layer.name()),
        (_, None) => word,
    };
    paper.put(style.bold(), glyph).blank(1).put(style.bold(), &headline);
    if let Some(cause) = &verdict.cause {
        paper.blank(1).put(CYAN, cause);
    }
    paper.blank(1).put(DIM, &format!("({:.0} % sure)", (verdict.confidence * 100.0).clamp(0.0, 100.0))).end();
    paper.wrapped(BOLD, &verdict.summary, 2);
}

fn tower(paper: &mut Paper, report: &Report) {
    for storey in report.layers.iter().rev() {
        let (glyph, style) = sign(paper, storey.status);
        let label = format!("{} {:NAME$}", storey.layer, storey.layer.name());
        paper.blank(2).put(style, glyph).blank(1).put(if storey.groups > 0 { BOLD } else { PLAIN }, &label).blank(2);
        let room = paper.room();
        paper.cell(DIM, &storey.summary, room).end();
    }
}

fn groups(paper: &mut Paper, report: &Report, verbose: bool) {
    if report.groups.is_empty() {
        return;
    }
    paper.heading("what is wrong");
    let shown = if verbose { report.groups.len() } else { MOST_GROUPS };
    for group in report.groups.iter().take(shown) {
        one_group(paper, group, verbose);
    }
    let left = report.groups.len().saturating_sub(shown) + report.more_groups;
    if left > 0 {
        paper.blank(5).put(DIM, &format!("{left} more with --verbose")).end();
    }
}

fn one_group(paper: &mut Paper, group: &ShownGroup, verbose: bool) {
    let (word, style): (&str, Style) = match group.severity {
        Severity::Fault => ("fault", RED),
        Severity::Inconclusive => ("unsure", YELLOW),
        Severity::Degraded => ("risk", YELLOW),
    };
    let layer = group.layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string());
    paper.cell_right(DIM, &format!("{}.", group.id), 4).blank(1).cell(style.bold(), word, 6).blank(1).put(BOLD, &layer).blank(1);
    paper.put(CYAN, group.cause.as_deref().unwrap_or("-")).blank(1).put(PLAIN, &group.party);
    let share = group.share.filter(|share| *share < 0.995).map_or_else(String::new, |share| format!(", {:.1} % of it", share * 100.0));
    if group.flows > 0 {
        paper.put(DIM, &format!("  {}{share}", count(group.flows, "flow")));
    }
    paper.end();
    paper.wrapped(PLAIN, &group.summary, 5);
    paper.blank(5).put(DIM, "shown by ").wrapped(PLAIN, &packets(&group.packets), 14);
    // A filter is never wrapped: it is there to be copied.
    paper.blank(5).put(DIM, "Wireshark ").put(CYAN, &group.filter).end();
    if verbose {
        for line in &group.also {
            paper.blank(5).put(DIM, "also ").wrapped(PLAIN, line, 10);
        }
        for step in &group.next {
            paper.blank(5).put(DIM, "next ").put(CYAN, &step.run).end();
        }
        for line in group.fix.iter().take(3) {
            paper.blank(5).put(DIM, "fix ").wrapped(PLAIN, line, 9);
        }
    }
}

/// `packets 3, 7, 9 and 12 more`.
fn packets(cited: &Cited) -> String {
    let numbers: Vec<String> = cited.packets.iter().map(ToString::to_string).collect();
    let more = cited.count.saturating_sub(cited.packets.len() as u64);
    let noun = if cited.count == 1 { "packet" } else { "packets" };
    match (numbers.is_empty(), more) {
        (true, _) => count(cited.count, "packet"),
        (false, 0) => format!("{noun} {}", numbers.join(", ")),
        (false, more) => format!("{noun} {} and {more} more", numbers.join(", ")),
    }
}

fn steps(paper: &mut Paper, next: &[NextStep]) {
    if next.is_empty() {
        return;
    }
    paper.heading("next");
    for (number, step) in (1_usize..).zip(next) {
        paper.cell_right(DIM, &format!("{number}."), 4).blank(1).put(CYAN, &step.run).end();
        paper.blank(5).put(DIM, "on ").wrapped(PLAIN, &format!("{}: {}", step.on, step.why), 5);
    }
}

fn bullets(paper: &mut Paper, heading: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    paper.heading(heading);
    for line in lines {
        paper.item().wrapped(PLAIN, line, 4);
    }
}

/// What the capture itself leaves open.
fn quality(paper: &mut Paper, report: &Report, verbose: bool) {
    let errors: Vec<String> = report.files.iter().filter_map(|file| file.error.clone()).collect();
    let notes: Vec<String> = report.capture.notes.iter().cloned().chain(errors).collect();
    bullets(paper, "about the capture (not the network)", &notes);
    if verbose {
        for finding in &report.capture.findings {
            let text = format!("{}: {} ({})", finding.rule, finding.text, packets(&finding.cited));
            paper.item().wrapped(DIM, &text, 4);
        }
    }
}

/// `status layer cause file summary`, a dash for what there is not.
fn one_line(paper: &mut Paper, report: &Report) {
    let verdict = &report.verdict;
    let (_, style) = table::status_sign(paper, verdict.status);
    let layer = verdict.layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string());
    paper.put(style.bold(), verdict.status.word()).blank(1).put(BOLD, &layer).blank(1);
    paper.put(CYAN, verdict.cause.as_deref().unwrap_or("-")).blank(1);
    paper.put(PLAIN, &names(report)).blank(1).put(PLAIN, &verdict.summary).end();
}

/// `1.2 MB`.
fn bytes(number: u64) -> String {
    let value = number as f64;
    match number {
        0..1_000 => format!("{number} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.1} GB", value / 1e9),
    }
}
