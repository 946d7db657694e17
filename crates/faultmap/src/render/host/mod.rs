//! What `faultmap host` shows: the map as text, the full screen, and the metrics. Pure: a report in, text out; nothing is read or written here.

mod board;
mod draw;
mod drops;
mod figures;
#[cfg(test)]
mod fixture;
mod prometheus;
mod readings;
#[cfg(test)]
mod tests;
mod tracks;

pub(crate) use board::{Board, Deed, Looks};
pub(crate) use draw::draw;
pub(crate) use prometheus::{Beside, Units, prometheus};

use super::{BOLD, CYAN, DIM, GREEN, PLAIN, Paper, RED, YELLOW, sign};
use crate::cli::HostArgs;
use crate::commands::clock;
use crate::terminal::Terminal;
use anstyle::Style;
use faultmap_model::Layer;
use faultmap_model::Status;
use faultmap_model::host::drops::Drops;
use faultmap_model::host::{Finding, Forecast, HostLayer, HostReport, Severity};
use faultmap_model::report::LayerStatus;
use std::time::Duration;

/// Most lines of each list.
const MOST_FINDINGS: usize = 6;
const MOST_FORECASTS: usize = 4;
const MOST_NEXT: usize = 4;
/// Columns of the layer's name: `Presentation`.
const NAME: usize = 12;
/// Columns of a share: `100 %`, `0.4 %`.
const SHARE: usize = 6;
/// Narrower, the names of the layers go.
const ROOM_FOR_NAMES: usize = 56;

/// How the map is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HostShown {
    pub(crate) verbose: bool,
    pub(crate) quiet: bool,
    pub(crate) tcpip: bool,
}

impl From<&HostArgs> for HostShown {
    fn from(args: &HostArgs) -> Self {
        Self { verbose: args.verbose, quiet: args.quiet, tcpip: args.tcpip }
    }
}

/// The map as text for a terminal. `place` is the namespace that the user chose.
pub(crate) fn host(report: &HostReport, place: Option<&str>, shown: HostShown, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    if shown.quiet {
        one_line(&mut paper, report);
        return paper.finish();
    }
    header(&mut paper, report, place);
    verdict(&mut paper, report);
    paper.end();
    if shown.tcpip {
        four(&mut paper, report);
    } else {
        report.layers.iter().rev().for_each(|storey| row(&mut paper, &label(storey.layer, terminal.width), storey));
    }
    findings(&mut paper, report);
    if let Some(counted) = &report.drops {
        drops::section(&mut paper, counted);
    }
    forecasts(&mut paper, report);
    next(&mut paper, report);
    fix(&mut paper, report);
    advice(&mut paper, report);
    unavailable(&mut paper, report);
    if shown.verbose {
        readings::table(&mut paper, report);
    }
    paper.finish()
}

fn header(paper: &mut Paper, report: &HostReport, place: Option<&str>) {
    paper.put(BOLD, report.hostname.as_deref().unwrap_or("this host"));
    let over = match report.interval_ms {
        Some(ms) => format!("over {}", super::time(ms)),
        None => "one sample, no rates".to_owned(),
    };
    let namespace = report.namespace.map(|inode| format!("network namespace {inode}"));
    let words: Vec<String> = [place.map(str::to_owned), namespace, Some(over)].into_iter().flatten().collect();
    paper.blank(2).wrapped(DIM, &words.join(", "), 2).end();
}

/// State, layer and cause on one line, then the sentence.
fn verdict(paper: &mut Paper, report: &HostReport) {
    let (glyph, word, style) = status(paper, report.status);
    let Some(bottleneck) = &report.bottleneck else {
        paper.put(style.bold(), glyph).blank(1).put(style.bold(), word).end();
        let sound = sound(report);
        let sentence = match &report.fullest {
            Some(fullest) => format!(
                "{sound}. The fullest is {} {}: {}, {}.",
                fullest.layer,
                fullest.layer.name(),
                named(&fullest.reading, &fullest.object),
                figures::percent(fullest.percent)
            ),
            None => format!("{sound}; nothing has a limit that is known."),
        };
        paper.wrapped(PLAIN, &sentence, 2);
        return;
    };
    let layer = bottleneck.layer;
    paper.put(style.bold(), glyph).blank(1).put(style.bold(), &format!("{word} at {layer} {}", layer.name()));
    if bottleneck.cause.len() + 2 > paper.room() {
        paper.end().blank(1);
    }
    paper.blank(1).put(CYAN, &bottleneck.cause).end();
    paper.wrapped(BOLD, &bottleneck.sentence, 2);
    if !bottleneck.object.is_empty() {
        paper.blank(2).put(DIM, "where: ").wrapped(PLAIN, &bottleneck.object, 9);
    }
}

/// Silence of what could not be read proves nothing.
const fn sound(report: &HostReport) -> &'static str {
    if report.unavailable.is_empty() { "Nothing is lost or refused" } else { "As far as can be seen, nothing is lost or refused" }
}

fn status(paper: &Paper, status: Status) -> (&'static str, &'static str, Style) {
    let (glyph, style) = super::table::status_sign(paper, status);
    let word = match status {
        Status::Healthy => "HEALTHY",
        Status::Degraded => "DEGRADED",
        Status::Fault => "FAULT",
        Status::Inconclusive => "INCONCLUSIVE",
    };
    (glyph, word, style)
}

/// `status layer cause summary`, a dash for what there is not.
fn one_line(paper: &mut Paper, report: &HostReport) {
    let (_, word, style) = status(paper, report.status);
    paper.put(style.bold(), &word.to_lowercase()).blank(1);
    match (&report.bottleneck, &report.fullest) {
        (Some(found), _) => {
            paper.put(BOLD, &found.layer.to_string()).blank(1).put(CYAN, &found.cause).blank(1).put(PLAIN, &found.sentence);
        }
        (None, Some(fullest)) => {
            let words = format!("fullest: {} {}", named(&fullest.reading, &fullest.object), figures::percent(fullest.percent));
            paper.put(BOLD, &fullest.layer.to_string()).put(PLAIN, " - ").put(PLAIN, &words);
        }
        (None, None) => {
            paper.put(PLAIN, "- - nothing has a limit that is known");
        }
    }
    paper.end();
}

/// A reading and what it was read of.
fn named(id: &str, object: &str) -> String {
    if object.is_empty() { id.to_owned() } else { format!("{id} of {object}") }
}

fn label(layer: Layer, width: usize) -> String {
    if width >= ROOM_FOR_NAMES { format!("{layer} {:NAME$}", layer.name()) } else { layer.to_string() }
}

/// One line: sign, label, bar, share, summary as far as it fits.
fn row(paper: &mut Paper, label: &str, storey: &HostLayer) {
    let (glyph, style) = sign(paper, storey.status);
    paper.blank(2).put(style, glyph).blank(1);
    let weight = if matches!(storey.status, LayerStatus::Fail | LayerStatus::Warn) { style } else { PLAIN };
    paper.put(weight, label).blank(2);
    let columns = (paper.width() / 5).clamp(8, 24);
    match storey.percent {
        Some(percent) => {
            let (full, empty) = figures::bar(percent, columns, paper.utf8());
            let style = if storey.status == LayerStatus::Ok { GREEN } else { style };
            paper.put(style, &full).put(DIM, &empty).cell_right(PLAIN, &figures::percent(percent), SHARE + 1);
        }
        None => {
            let empty = figures::no_bar(columns, paper.utf8());
            paper.put(DIM, &empty).cell_right(DIM, "?", SHARE + 1);
        }
    }
    let room = paper.room().saturating_sub(2);
    if room >= 12 {
        let style = if storey.percent.is_none() && storey.status == LayerStatus::Unknown { DIM } else { PLAIN };
        paper.blank(2).cell(style, &storey.summary, room);
    }
    paper.end();
}

/// RFC 1122: each of the four with the worst of what it holds, and the fullest bar.
fn four(paper: &mut Paper, report: &HostReport) {
    for (name, layers) in super::tcpip::FOUR {
        let within = report.layers.iter().filter(|storey| layers.contains(&storey.layer));
        let gravity = |storey: &&HostLayer| super::tcpip::gravity(storey.status);
        let fullness = |storey: &HostLayer| storey.percent.unwrap_or(-1.0);
        let Some(worst) = within.clone().max_by(|a, b| gravity(a).cmp(&gravity(b)).then(fullness(a).total_cmp(&fullness(b)))) else {
            continue;
        };
        let mut merged = worst.clone();
        merged.percent = within.filter_map(|storey| storey.percent).max_by(f64::total_cmp);
        if layers.len() > 1 {
            merged.summary = format!("{}: {}", worst.layer, worst.summary);
        }
        row(paper, &format!("{name:11} {:5}", super::tcpip::span(layers)), &merged);
    }
}

fn findings(paper: &mut Paper, report: &HostReport) {
    if report.findings.is_empty() {
        return;
    }
    paper.heading("findings");
    for finding in report.findings.iter().take(MOST_FINDINGS) {
        one_finding(paper, report, finding);
    }
    more(paper, report.findings.len(), MOST_FINDINGS);
}

fn one_finding(paper: &mut Paper, report: &HostReport, finding: &Finding) {
    let (glyph, style) = severity(paper, finding.severity);
    paper.blank(2).put(style, glyph).blank(1).put(CYAN, &finding.cause);
    if !finding.object.is_empty() {
        let object = paper.cut(&finding.object, paper.room().saturating_sub(2).max(1));
        paper.blank(2).put(BOLD, &object);
    }
    paper.end();
    // The first one has been said above.
    if report.bottleneck.as_ref().is_none_or(|said| said.sentence != finding.summary) {
        paper.blank(4).wrapped(PLAIN, &finding.summary, 4);
    }
    for key in &finding.evidence {
        let reading = report.readings.iter().find(|reading| reading.key() == *key);
        let words = reading.map(|reading| evidence(key, reading)).or_else(|| dropped(key, report)).unwrap_or_else(|| key.clone());
        paper.blank(4).put(DIM, "because: ").wrapped(DIM, &words, 13);
    }
    if let Some(cause) = &finding.follows {
        paper.blank(4).put(DIM, "follows from: ").wrapped(DIM, cause, 6);
    }
}

fn evidence(key: &str, reading: &faultmap_model::host::Reading) -> String {
    let mut parts = vec![figures::filled(reading)];
    parts.extend(reading.percent.map(figures::percent));
    let rate = figures::rate(reading);
    if !rate.is_empty() {
        parts.push(rate);
    }
    format!("{key}: {}", parts.join(", "))
}

/// A reason for which packets were dropped, as evidence.
fn dropped(key: &str, report: &HostReport) -> Option<String> {
    let Some(Drops::Counted(counted)) = &report.drops else { return None };
    let rows = counted.rows.iter().filter(|row| row.key() == key);
    let packets = rows.fold(0_u64, |sum, row| sum.saturating_add(row.count));
    Some(format!("{key}: {}", super::count(packets, "packet")))
}

fn severity(paper: &Paper, severity: Severity) -> (&'static str, Style) {
    match severity {
        Severity::Warn => sign(paper, LayerStatus::Warn),
        Severity::Crit => sign(paper, LayerStatus::Fail),
    }
}

fn forecasts(paper: &mut Paper, report: &HostReport) {
    if report.forecast.is_empty() {
        return;
    }
    paper.heading("forecast");
    for forecast in report.forecast.iter().take(MOST_FORECASTS) {
        paper.item().wrapped(PLAIN, &foretold(forecast), 4);
    }
    more(paper, report.forecast.len(), MOST_FORECASTS);
}

/// `conntrack.entries is full in 42 min at the present rate (62 % now; 40 samples in 40 min)`.
fn foretold(forecast: &Forecast) -> String {
    format!(
        "{} is full in {} at the present rate ({} now; {} in {})",
        forecast.reading,
        span(forecast.seconds),
        figures::percent(forecast.percent),
        super::count(forecast.samples as u64, "sample"),
        span(forecast.watched_s),
    )
}

fn span(seconds: f64) -> String {
    clock::span(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

/// What to run, for the worst finding first; each command once.
fn next(paper: &mut Paper, report: &HostReport) {
    let mut steps: Vec<_> = Vec::new();
    for step in report.findings.iter().flat_map(|finding| &finding.next) {
        if !steps.iter().any(|known: &&faultmap_model::verdict::NextStep| known.run == step.run) {
            steps.push(step);
        }
    }
    if steps.is_empty() {
        return;
    }
    paper.heading("next");
    for (number, step) in (1_usize..).zip(steps.into_iter().take(MOST_NEXT)) {
        // A command is never wrapped: it is there to be copied.
        paper.cell_right(DIM, &format!("{number}."), 4).blank(1).put(CYAN, &step.run).end();
        paper.blank(5).put(DIM, "on ").wrapped(PLAIN, &format!("{}: {}", step.on, step.why), 5);
    }
}

/// How to mend the worst one; a consequence goes with its cause.
fn fix(paper: &mut Paper, report: &HostReport) {
    let Some(worst) = report.findings.first().filter(|worst| !worst.fix.is_empty()) else { return };
    paper.heading("fix");
    for line in &worst.fix {
        paper.item().wrapped(PLAIN, line, 4);
    }
}

fn advice(paper: &mut Paper, report: &HostReport) {
    let mut told: Vec<&faultmap_model::host::Advice> = Vec::new();
    for advice in report.findings.iter().filter_map(|finding| finding.advice.as_ref()) {
        if !told.contains(&advice) {
            told.push(advice);
        }
    }
    if told.is_empty() {
        return;
    }
    paper.heading("advice");
    for advice in told {
        paper.item().put(CYAN, &advice.sysctl).blank(1);
        paper.wrapped(PLAIN, &format!("is {}; set {}", advice.present, advice.suggested), 4);
        paper.blank(4).put(DIM, "costs: ").wrapped(PLAIN, &advice.costs, 11);
    }
}

fn unavailable(paper: &mut Paper, report: &HostReport) {
    if report.unavailable.is_empty() {
        return;
    }
    paper.heading("not available");
    for missing in &report.unavailable {
        paper.item().put(PLAIN, &missing.reading).wrapped(DIM, &format!(": {}", missing.why), 4);
    }
}

fn more(paper: &mut Paper, there: usize, shown: usize) {
    if let Some(left) = there.checked_sub(shown).filter(|left| *left > 0) {
        paper.blank(4).put(DIM, &format!("{left} more with --json")).end();
    }
}

/// Colour of a status where there is no paper.
fn hue(status: LayerStatus) -> Style {
    match status {
        LayerStatus::Ok => GREEN,
        LayerStatus::Warn => YELLOW,
        LayerStatus::Fail => RED,
        LayerStatus::Unknown | LayerStatus::NotReached => DIM,
    }
}
