//! The verdict in words: what is said first, what carries it, what is ruled out, what to do.

use super::{BOLD, CYAN, DIM, GREEN, PLAIN, Paper, RED, YELLOW, observations};
use anstyle::Style;
use faultmap_model::verdict::{Candidate, Locus, NextStep, RuledOut, Where};
use faultmap_model::{Report, Status, Verdict, causes};

/// Most lines of each list.
const MOST_BECAUSE: usize = 8;
const MOST_RULED_OUT: usize = 5;
const MOST_OPEN: usize = 3;

/// The target, as it was read.
pub(super) fn header(paper: &mut Paper, report: &Report) {
    let target = &report.target;
    paper.put(BOLD, &target.input);
    let place = match target.port {
        0 => format!("{} to {}", target.scheme.name(), target.host),
        port => format!("{} to {} port {port}", target.scheme.name(), target.host),
    };
    if paper.room() > place.len() + 3 {
        paper.blank(2).put(DIM, &place);
    }
    paper.end();
    super::comparison::vantage(paper, report);
    paper.end();
}

/// State, layer, cause, confidence and place on one line, then the sentence.
pub(super) fn verdict(paper: &mut Paper, report: &Report) {
    let verdict = &report.verdict;
    let (glyph, word, style) = status(paper, verdict.status);
    paper.put(style.bold(), glyph).blank(1).put(style.bold(), &headline(verdict, word));
    let sure = format!("{:.0} % sure", (verdict.confidence * 100.0).clamp(0.0, 100.0));
    let id = verdict.cause.as_deref().unwrap_or_default();
    if id.len() + sure.len() + 6 > paper.room() {
        paper.end().blank(1);
    }
    if !id.is_empty() {
        paper.blank(1).put(CYAN, id);
    }
    paper.blank(1).put(DIM, &format!("({sure})")).end();
    paper.wrapped(BOLD, &verdict.summary, 2);
    if let Some(locus) = &verdict.locus {
        paper.blank(2).put(DIM, "where: ").wrapped(PLAIN, &place(locus), 9);
    }
}

fn status(paper: &Paper, status: Status) -> (&'static str, &'static str, Style) {
    let utf8 = paper.utf8();
    let pick = |sign, ascii| if utf8 { sign } else { ascii };
    match status {
        Status::Healthy => (pick("✔", "+"), "HEALTHY", GREEN),
        Status::Degraded => ("!", "DEGRADED", YELLOW),
        Status::Fault => (pick("✘", "x"), "FAULT", RED),
        Status::Inconclusive => ("?", "INCONCLUSIVE", YELLOW),
    }
}

fn headline(verdict: &Verdict, word: &str) -> String {
    match (verdict.status, verdict.layer) {
        (Status::Inconclusive, Some(layer)) => format!("{word}, likeliest at {layer} {}", layer.name()),
        (_, Some(layer)) => format!("{word} at {layer} {}", layer.name()),
        (_, None) => word.to_owned(),
    }
}

fn place(locus: &Locus) -> String {
    let side = match locus.side {
        Where::Local => "on this host",
        Where::Path => "on the path",
        Where::Remote => "at the far side",
    };
    if locus.at.is_empty() { side.to_owned() } else { format!("{side}, {}", locus.at) }
}

/// `status layer cause target summary`, a dash for what there is not.
pub(super) fn one_line(paper: &mut Paper, report: &Report) {
    let verdict = &report.verdict;
    let (_, word, style) = status(paper, verdict.status);
    let layer = verdict.layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string());
    paper.put(style.bold(), &word.to_lowercase()).blank(1).put(BOLD, &layer).blank(1);
    paper.put(CYAN, verdict.cause.as_deref().unwrap_or("-")).blank(1);
    paper.put(PLAIN, &report.target.input).blank(1).put(PLAIN, &verdict.summary).end();
}

/// The causes between which the evidence does not decide.
pub(super) fn remaining(paper: &mut Paper, status: Status, candidates: &[Candidate]) {
    if status != Status::Inconclusive || candidates.len() < 2 {
        return;
    }
    paper.heading("one of");
    for candidate in candidates {
        paper.blank(2).cell_right(PLAIN, &format!("{:.0} %", (candidate.confidence * 100.0).clamp(0.0, 100.0)), 5).blank(2);
        let title = causes::find(&candidate.cause).map_or("", |cause| cause.title);
        paper.put(CYAN, &candidate.cause).blank(2).wrapped(PLAIN, title, 9);
    }
}

/// The observations that carry the verdict.
pub(super) fn because(paper: &mut Paper, report: &Report) {
    let cited = report.verdict.because.iter().filter_map(|id| report.observations.iter().find(|o| o.id == *id));
    let cited: Vec<_> = cited.collect();
    if cited.is_empty() {
        return;
    }
    paper.heading("because");
    for observation in cited.iter().take(MOST_BECAUSE) {
        observations::cited(paper, report, observation);
    }
    more(paper, cited.len(), MOST_BECAUSE, "more with --verbose");
}

/// Causes by the reason that excludes them.
pub(super) fn ruled_out(paper: &mut Paper, report: &Report) {
    let groups = by_reason(&report.verdict.ruled_out);
    if groups.is_empty() {
        return;
    }
    paper.heading("ruled out");
    for (why, ids) in groups.iter().take(MOST_RULED_OUT) {
        paper.item().wrapped(PLAIN, &format!("{}: {why}", ids.join(", ")), 4);
    }
    more(paper, groups.len(), MOST_RULED_OUT, "more with --json");
}

fn by_reason(ruled_out: &[RuledOut]) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for out in ruled_out {
        match groups.iter_mut().find(|(why, _)| *why == out.why) {
            Some((_, ids)) => ids.push(&out.cause),
            None => groups.push((&out.why, vec![&out.cause])),
        }
    }
    groups
}

/// Consequences, and what is also worth knowing.
pub(super) fn also(paper: &mut Paper, report: &Report) {
    bullets(paper, "also", report.verdict.also.iter());
}

/// Questions that could not be asked.
pub(super) fn open(paper: &mut Paper, report: &Report) {
    if report.limits.is_empty() {
        return;
    }
    paper.heading("left open");
    for limit in report.limits.iter().take(MOST_OPEN) {
        let text = format!("{} (missing: {})", limit.would_settle, limit.missing);
        paper.item().wrapped(PLAIN, &text, 4);
    }
    more(paper, report.limits.len(), MOST_OPEN, "more with --json");
}

/// Commands to run, and where, and what their answers tell.
pub(super) fn next(paper: &mut Paper, report: &Report) {
    steps(paper, &report.verdict.next, "here");
}

/// The same; `here` is how the place is called where the observations were made.
pub(super) fn steps(paper: &mut Paper, next: &[NextStep], here: &str) {
    if next.is_empty() {
        return;
    }
    paper.heading("next");
    for (number, step) in (1_usize..).zip(next) {
        paper.cell_right(DIM, &format!("{number}."), 4).blank(1);
        run(paper, &step.run);
        let place = match step.on.strip_prefix("here") {
            Some(more) => format!("{here}{more}"),
            None => format!("on {}", step.on),
        };
        paper.blank(5).wrapped(PLAIN, &format!("{place}: {}", step.why), 5);
    }
}

/// A command is never wrapped: it is there to be copied.
pub(super) fn run(paper: &mut Paper, run: &str) {
    if is_prose(run) {
        paper.wrapped(CYAN, run, 5);
    } else {
        paper.put(CYAN, run).end();
    }
}

/// It says what to look at, in place of a command to copy.
fn is_prose(run: &str) -> bool {
    run.starts_with("the ") || run.starts_with("compare the ")
}

/// How to mend it.
pub(super) fn fix(paper: &mut Paper, report: &Report) {
    bullets(paper, "fix", report.verdict.fix.iter());
}

fn bullets<'a>(paper: &mut Paper, heading: &str, lines: impl ExactSizeIterator<Item = &'a String>) {
    if lines.len() == 0 {
        return;
    }
    paper.heading(heading);
    for line in lines {
        paper.item().wrapped(PLAIN, line, 4);
    }
}

fn more(paper: &mut Paper, there: usize, shown: usize, how: &str) {
    if let Some(left) = there.checked_sub(shown).filter(|left| *left > 0) {
        paper.blank(4).put(DIM, &format!("{left} {how}")).end();
    }
}
