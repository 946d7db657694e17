//! Where in the kernel packets died, as text. What a reason amounts to was said by the model.

use super::super::{BOLD, CYAN, DIM, PLAIN, Paper, RED, YELLOW, count};
use super::figures;
use anstyle::Style;
use faultmap_model::host::Unit;
use faultmap_model::host::drops::{DropFlow, DropLayer, DropReport, DropRow, Drops, Weight};

/// Most reasons, and flows of each.
const MOST_ROWS: usize = 12;
const MOST_FLOWS: usize = 3;
/// Columns of the reason's name, such as `NETFILTER_DROP`.
const REASON: usize = 22;
const COUNT: usize = 9;
const RATE: usize = 10;

pub(super) fn section(paper: &mut Paper, drops: &Drops) {
    paper.heading("drops");
    let report = match drops {
        Drops::Counted(report) => report,
        Drops::Unavailable { why, would_show, .. } => {
            paper.item().wrapped(DIM, &format!("not available: {why}; it would show {would_show}"), 4);
            return;
        }
    };
    let told: Vec<&DropRow> = report.rows.iter().filter(|row| row.weight != Weight::Ignored).collect();
    if told.is_empty() {
        paper.blank(2).put(PLAIN, "no packet died that somebody waited for").end();
    }
    for row in told.iter().take(MOST_ROWS) {
        one(paper, row, report.namespace.is_none());
    }
    super::more(paper, told.len(), MOST_ROWS);
    for note in notes(report) {
        paper.item().wrapped(DIM, &note, 4);
    }
}

/// `all`: every namespace was counted, so each row says whose it is.
fn one(paper: &mut Paper, row: &DropRow, all: bool) {
    let (glyph, style) = weight(paper, row.weight);
    paper.blank(2).put(style, glyph).blank(1).cell(PLAIN, layer(row.layer), 7);
    paper.cell(CYAN, &row.reason, REASON.max(row.reason.len() + 1).min(paper.room()));
    paper.cell_right(BOLD, &figures::value(row.count as f64, Unit::Count), COUNT);
    paper.cell_right(DIM, &format!("{}/s", figures::value(row.per_second, Unit::Count)), RATE);
    paper.end().blank(4).wrapped(PLAIN, &meaning(row), 4);
    if all {
        let whose =
            row.namespace.map_or_else(|| "of a namespace that cannot be told".to_owned(), |inode| format!("network namespace {inode}"));
        paper.blank(4).wrapped(DIM, &whose, 6);
    }
    for flow in row.flows.iter().take(MOST_FLOWS) {
        let words = flow_words(flow, paper.either("→", "->"));
        paper.blank(4).wrapped(DIM, &words, 6);
    }
}

/// What it means, and where in the kernel.
pub(super) fn meaning(row: &DropRow) -> String {
    match &row.location {
        Some(location) => format!("{} ({location})", row.meaning),
        None => row.meaning.clone(),
    }
}

/// `udp 10.0.0.2:53 → 10.0.0.1:4000, 47 packets, dnsmasq (process 812)`.
pub(super) fn flow_words(flow: &DropFlow, arrow: &str) -> String {
    let who = flow.process.as_ref().map(|process| format!(", {} (process {})", process.name, process.pid)).unwrap_or_default();
    format!("{} {} {arrow} {}, {}{who}", flow.protocol, flow.source, flow.destination, count(flow.count, "packet"))
}

/// What the rows leave out.
pub(super) fn notes(report: &DropReport) -> Vec<String> {
    let ignored = report.rows.iter().filter(|row| row.weight == Weight::Ignored).fold(0_u64, |sum, row| sum.saturating_add(row.count));
    [
        (ignored, "dropped in the ordinary life of protocols; --json lists them"),
        (report.unattributed, "of a namespace that cannot be told"),
        (report.elsewhere, "in other namespaces"),
        (report.lost, "not told apart: the table was full, or one died within another"),
    ]
    .into_iter()
    .filter(|(packets, _)| *packets > 0)
    .map(|(packets, what)| format!("{} {what}", count(packets, "packet")))
    .collect()
}

pub(super) const fn layer(layer: DropLayer) -> &'static str {
    match layer {
        DropLayer::L1 => "L1",
        DropLayer::L2 => "L2",
        DropLayer::L3 => "L3",
        DropLayer::L4 => "L4",
        DropLayer::L7 => "L7",
        DropLayer::Policy => "policy",
        DropLayer::Host => "host",
        DropLayer::Unknown => "?",
    }
}

pub(super) fn weight(paper: &Paper, weight: Weight) -> (&'static str, Style) {
    match weight {
        Weight::Loss => (paper.either("✘", "x"), RED),
        Weight::Noted => ("!", YELLOW),
        Weight::Ignored => (paper.either("·", "."), DIM),
    }
}
