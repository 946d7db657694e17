//! Differences in words: of two recordings, and of a check from its baseline.

use super::{BOLD, CYAN, DIM, GREEN, PLAIN, Paper, RED, YELLOW, sign, time};
use crate::commands::clock;
use crate::terminal::Terminal;
use anstyle::Style;
use faultmap_model::Report;
use faultmap_model::compare::{Change, Comparison, LayerPair, Side, Weight};

/// Columns of a layer's time.
const TIME: usize = 9;

/// Two recordings.
pub(crate) fn comparison(found: &Comparison, names: &[String; 2], terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    for (word, side, name) in [("earlier", &found.earlier, &names[0]), ("later", &found.later, &names[1])] {
        head(&mut paper, word, side, name);
    }
    if !found.same_target {
        paper.put(YELLOW, "The two are of different targets.").end();
    }
    paper.end();
    for pair in found.layers.iter().rev() {
        layer(&mut paper, pair);
    }
    paper.end();
    list(&mut paper, &found.changes);
    for (word, kinds) in [("only in the later one", &found.appeared), ("only in the earlier one", &found.disappeared)] {
        if !kinds.is_empty() {
            paper.put(DIM, word).put(DIM, ": ").wrapped(DIM, &kinds.join(", "), 2);
        }
    }
    paper.finish()
}

fn head(paper: &mut Paper, word: &str, side: &Side, name: &str) {
    paper.cell(DIM, word, 9).put(BOLD, name).blank(2).put(DIM, &clock::utc(side.started_unix_ms));
    if let Some(from) = &side.from {
        paper.put(DIM, &format!(", from {from}"));
    }
    paper.end();
    let (glyph, style) = super::table::status_sign(paper, side.status);
    paper.blank(9).put(style.bold(), glyph).blank(1).put(style.bold(), side.status.word());
    if let Some(cause) = &side.cause {
        paper.blank(1).put(CYAN, cause);
    }
    paper.put(DIM, " in ").put(DIM, &time(side.total_ms)).blank(1).wrapped(PLAIN, &side.target, 9);
}

fn layer(paper: &mut Paper, pair: &LayerPair) {
    let ((before, before_style), (after, after_style)) = (sign(paper, pair.before), sign(paper, pair.after));
    let arrow = paper.either("→", ">").to_owned();
    paper.blank(2).put(before_style, before).put(DIM, &arrow).put(after_style, after).blank(1);
    paper.cell(PLAIN, &format!("{} {}", pair.layer, pair.layer.name()), 18);
    let shown = |ms: Option<f64>| ms.map_or_else(String::new, time);
    paper.cell_right(PLAIN, &shown(pair.before_ms), TIME).blank(2).cell_right(PLAIN, &shown(pair.after_ms), TIME);
    if let Some(delta) = pair.delta_ms {
        let sign = if delta < 0.0 { "-" } else { "+" };
        paper.blank(2).cell_right(DIM, &format!("{sign}{}", time(delta.abs())), TIME + 1);
    }
    paper.end();
}

/// What changed, what matters first.
fn list(paper: &mut Paper, changes: &[Change]) {
    if changes.is_empty() {
        paper.put(GREEN, "Nothing changed.").end();
        return;
    }
    if !changes.iter().any(Change::matters) {
        paper.put(GREEN, "Nothing changed that matters.").end();
    }
    for change in changes.iter().filter(|change| change.matters()).chain(changes.iter().filter(|change| !change.matters())) {
        let (mark, style): (&str, Style) = match change.weight {
            Weight::Worse => (paper.either("▼", "-"), RED),
            Weight::Better => (paper.either("▲", "+"), GREEN),
            Weight::Changed => (paper.either("●", "*"), YELLOW),
            Weight::Note => (paper.either("·", "."), DIM),
        };
        let mark = mark.to_owned();
        let text = if change.weight == Weight::Note { DIM } else { PLAIN };
        paper.blank(2).put(style.bold(), &mark).blank(1).put(DIM, &change.layer.to_string()).blank(1).wrapped(text, &change.text, 7);
    }
}

/// `compared with good.jsonl of 2026-11-21 10:23 UTC`, and the differences.
pub(super) fn since_baseline(paper: &mut Paper, report: &Report) {
    let (Some(baseline), Some(changes)) = (&report.baseline, &report.changes) else { return };
    let date = clock::utc(baseline.started_unix_ms);
    paper.end().put(BOLD, "compared with ").put(BOLD, &baseline.file).put(DIM, &format!(" of {date}")).end();
    list(paper, changes);
}

/// `from the network of process 4711 (redis-server)`
pub(super) fn vantage(paper: &mut Paper, report: &Report) {
    if let Some(from) = &report.from {
        paper.put(DIM, "from ").wrapped(PLAIN, &from.to_string(), 5);
    }
}
