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

/// Groups told without --verbose.
const MOST_GROUPS: usize = 8;
/// Columns of the layer's name: `Presentation`.
const NAME: usize = 12;
/// Who reads a capture need not sit where it was taken.
const HERE: &str = "where it was captured";

/// How much of the report is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// One line.
    Line,
    /// What a person reads first.
    Report,
    /// Everything.
    All,
}

/// The report.
pub(crate) fn report(report: &Report, told: Told, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    if told == Told::Line {
        one_line(&mut paper, report);
        return paper.finish();
    }
    let verbose = told == Told::All;
    header(&mut paper, report);
    verdict(&mut paper, report);
    paper.end();
    tower(&mut paper, report);
    sentence::remaining(&mut paper, report.verdict.status, &report.verdict.candidates);
    groups(&mut paper, report, verbose);
    if report.groups.is_empty() {
        bullets(&mut paper, "noticed", &report.verdict.also);
    }
    sentence::steps(&mut paper, &report.verdict.next, HERE);
    bullets(&mut paper, "fix", &report.verdict.fix);
    quality(&mut paper, report, verbose);
    if verbose {
        top::services(&mut paper, "services", &report.services);
    }
    paper.finish()
}

/// One finding with all that is known of it.
pub(crate) fn finding(group: &ShownGroup, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    group_head(&mut paper, group);
    if let Some(title) = group.title {
        paper.blank(5).put(DIM, title).end();
    }
    paper.wrapped(PLAIN, &group.summary, 5);
    evidence(&mut paper, group);
    let moment = |text: &str| text.replace('T', " ").trim_end_matches('Z').to_owned();
    let seen = format!("{} to {} UTC", moment(&group.from), moment(&group.to));
    paper.blank(5).put(DIM, "seen from ").wrapped(PLAIN, &seen, 15);
    if !group.flow_ids.is_empty() {
        let flows: Vec<String> = group.flow_ids.iter().map(ToString::to_string).collect();
        let more = group.flows.saturating_sub(flows.len() as u64);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        paper.blank(5).put(DIM, "in flows ").wrapped(PLAIN, &format!("{}{more}", flows.join(", ")), 14);
    }
    let status = if group.severity == Severity::Inconclusive { Status::Inconclusive } else { Status::Fault };
    sentence::remaining(&mut paper, status, &group.candidates);
    bullets(&mut paper, "also", &group.also);
    sentence::steps(&mut paper, &group.next, HERE);
    bullets(&mut paper, "fix", &group.fix);
    paper.finish()
}

fn names(report: &Report) -> String {
    let name = |name: &str| if name == "-" { "standard input".to_owned() } else { name.to_owned() };
    match report.files.as_slice() {
        [] => "capture".to_owned(),
        [one] => name(&one.name),
        [first, rest @ ..] => format!("{} and {}", name(&first.name), count(rest.len() as u64, "more file")),
    }
}

fn header(paper: &mut Paper, report: &Report) {
    let capture = &report.capture;
    paper.put(BOLD, &names(report)).end();
    let mut line = format!("{}, {}, {}", count(capture.packets, "packet"), bytes(capture.bytes), count(report.flows, "flow"));
    if let Some(from) = &capture.from {
        line = format!("{line}; {} from {} UTC", time(capture.duration_ms), from.replace('T', " ").get(..19).unwrap_or(from));
    }
    paper.wrapped(DIM, &line, 0).end();
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
    // Where nothing came, nothing is sure, and nothing need be said of it.
    let sure = format!(" ({:.0} % sure)", (verdict.confidence * 100.0).clamp(0.0, 100.0));
    let sure = if verdict.confidence > 0.0 { sure } else { String::new() };
    let cause = verdict.cause.as_deref().unwrap_or_default();
    if cause.len() + sure.len() + 1 > paper.room() {
        paper.end().blank(1);
    }
    if !cause.is_empty() {
        paper.blank(1).put(CYAN, cause);
    }
    paper.put(DIM, &sure);
    paper.end().wrapped(BOLD, &verdict.summary, 2);
}

fn tower(paper: &mut Paper, report: &Report) {
    for storey in report.layers.iter().rev() {
        let (glyph, style) = sign(paper, storey.status);
        let label = format!("{} {:NAME$}", storey.layer, storey.layer.name());
        paper.blank(2).put(style, glyph).blank(1).put(if storey.groups > 0 { BOLD } else { PLAIN }, &label).blank(2);
        paper.wrapped(DIM, &storey.summary, 2 + 2 + 3 + NAME + 2);
    }
}

fn groups(paper: &mut Paper, report: &Report, verbose: bool) {
    if report.groups.is_empty() {
        return;
    }
    paper.heading("what is wrong");
    let shown = if verbose { report.groups.len() } else { MOST_GROUPS };
    for group in report.groups.iter().take(shown) {
        one_group(paper, group, report, verbose);
    }
    let left = report.groups.len().saturating_sub(shown);
    if left > 0 {
        paper.blank(5).put(DIM, &format!("{left} more with --verbose")).end();
    }
    if report.more_groups > 0 {
        paper.blank(5).put(DIM, &format!("{} more for which there is no room; --filter chooses", report.more_groups)).end();
    }
}

/// A group in a few lines. What the verdict says in the same words is not said twice.
fn one_group(paper: &mut Paper, group: &ShownGroup, report: &Report, verbose: bool) {
    group_head(paper, group);
    if group.summary != report.verdict.summary {
        paper.wrapped(PLAIN, &group.summary, 5);
    }
    evidence(paper, group);
    if !verbose {
        return;
    }
    for line in &group.also {
        paper.blank(5).put(DIM, "also ").wrapped(PLAIN, line, 10);
    }
    if group.next != report.verdict.next {
        for step in &group.next {
            sentence::run(paper.blank(5).put(DIM, "next "), &step.run);
        }
    }
    if group.fix != report.verdict.fix {
        for line in group.fix.iter().take(3) {
            paper.blank(5).put(DIM, "fix  ").wrapped(PLAIN, line, 10);
        }
    }
}

fn group_head(paper: &mut Paper, group: &ShownGroup) {
    let (word, style): (&str, Style) = match group.severity {
        Severity::Fault => ("fault", RED),
        Severity::Inconclusive => ("unsure", YELLOW),
        Severity::Degraded => ("risk", YELLOW),
    };
    let layer = group.layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string());
    paper.cell_right(DIM, &format!("{}.", group.id), 4).blank(1).cell(style.bold(), word, 6).blank(1).put(BOLD, &layer).blank(1);
    paper.put(CYAN, group.cause.as_deref().unwrap_or("-")).blank(1);
    let share =
        group.share.filter(|share| *share < 0.995).map_or_else(String::new, |share| format!(", {:.0} % of its traffic", share * 100.0));
    let concerned = if group.flows > 0 { format!("({}{share})", count(group.flows, "flow")) } else { String::new() };
    paper.wrapped(PLAIN, &format!("{} {concerned}", group.party), 5);
}

/// The packets, and how to see them in Wireshark.
fn evidence(paper: &mut Paper, group: &ShownGroup) {
    paper.blank(5).put(DIM, "shown by ").wrapped(PLAIN, &packets(&group.packets), 14);
    // A filter is never wrapped: it is there to be copied.
    paper.blank(5).put(DIM, "Wireshark ").put(CYAN, &group.filter).end();
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
