//! Every reading in a table, layer by layer, as `--verbose` shows them.

use super::super::{BOLD, DIM, GREEN, PLAIN, Paper, RED, YELLOW};
use super::figures;
use anstyle::Style;
use faultmap_model::Layer;
use faultmap_model::host::{HostReport, Reading, State, Threshold};
use unicode_width::UnicodeWidthStr as _;

/// Widest of the columns.
const ID: usize = 30;
const OBJECT: usize = 28;
const VALUE: usize = 26;
const SHARE: usize = 7;
const RATE: usize = 12;

pub(super) fn table(paper: &mut Paper, report: &HostReport) {
    for layer in Layer::ALL.into_iter().rev() {
        let own: Vec<&Reading> = report.readings.iter().filter(|reading| reading.layer == layer).collect();
        paper.heading(&format!("{layer} {}", layer.name()));
        if own.is_empty() {
            paper.blank(2).put(DIM, "nothing of it can be read here").end();
        }
        let columns = Columns::of(&own, paper.width());
        for reading in own {
            columns.row(paper, reading);
        }
    }
}

struct Columns {
    id: usize,
    object: usize,
    value: usize,
}

impl Columns {
    fn of(readings: &[&Reading], width: usize) -> Self {
        let widest = |text: &dyn Fn(&Reading) -> usize, most: usize| readings.iter().map(|r| text(r)).max().unwrap_or(0).min(most);
        let room = width.saturating_sub(4 + SHARE + RATE + 6);
        let value = widest(&|reading| figures::filled(reading).width(), VALUE).min(room / 3);
        let id = widest(&|reading| reading.id.width(), ID).min(room / 2);
        let object = widest(&|reading| reading.object.width(), OBJECT).min(room.saturating_sub(value + id));
        Self { id, object, value }
    }

    fn row(&self, paper: &mut Paper, reading: &Reading) {
        let (glyph, style) = state(paper, reading.state);
        paper.blank(2).put(style, glyph).blank(1);
        paper.cell(PLAIN, &reading.id, self.id).blank(1);
        if self.object > 0 {
            paper.cell(BOLD, &reading.object, self.object).blank(1);
        }
        let number = if reading.state == State::Unknown { DIM } else { PLAIN };
        paper.cell_right(number, &figures::filled(reading), self.value).blank(1);
        paper.cell_right(style, &reading.percent.map_or_else(String::new, figures::percent), SHARE);
        paper.cell_right(DIM, &figures::rate(reading), RATE);
        if let Some(threshold) = &reading.threshold {
            let words = threshold_words(threshold);
            if words.width() + 2 <= paper.room() {
                paper.blank(2).put(DIM, &words);
            }
        }
        paper.end();
        if reading.state >= State::Warn || reading.state == State::Unknown {
            paper.wrapped(DIM, &reading.text, 6);
        }
    }
}

pub(super) fn state(paper: &Paper, state: State) -> (&'static str, Style) {
    match state {
        State::Unknown => ("?", DIM),
        State::Ok => (paper.either("✔", "+"), GREEN),
        State::Warn => ("!", YELLOW),
        State::Crit => (paper.either("✘", "x"), RED),
    }
}

/// `from 75 / 90 % (node_exporter mixin)`.
pub(super) fn threshold_words(threshold: &Threshold) -> String {
    let unit = match threshold.of.as_ref() {
        "percent" => " %",
        "per-second" => "/s",
        _ => "",
    };
    let bounds: Vec<String> = [threshold.warn, threshold.crit].into_iter().flatten().map(|bound| format!("{bound}")).collect();
    format!("from {}{unit} ({})", bounds.join(" / "), threshold.by)
}
