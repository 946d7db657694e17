//! The tower: the seven layers, L7 on top, L1 at the bottom, each with its state, one line, and its time.

use super::{BOLD, DIM, PLAIN, Paper, RED, sign, time};
use anstyle::Style;
use faultmap_model::Report;
use faultmap_model::report::{LayerReport, LayerStatus};

/// Columns of the layer's name: `Presentation`.
const NAME: usize = 12;
/// Columns of the time.
const TIME: usize = 8;

pub(super) fn tower(paper: &mut Paper, report: &Report) {
    for storey in report.layers.iter().rev() {
        let label = format!("{} {:NAME$}", storey.layer, storey.layer.name());
        row(paper, &label, storey);
    }
}

/// One line: sign, label, summary as far as it fits, time.
pub(super) fn row(paper: &mut Paper, label: &str, storey: &LayerReport) {
    let (glyph, style) = sign(paper, storey.status);
    paper.blank(2).put(style, glyph).blank(1).put(label_style(storey.status), label).blank(2);
    let text = if storey.summary.is_empty() { placeholder(storey.status) } else { &storey.summary };
    let dim = matches!(storey.status, LayerStatus::NotReached | LayerStatus::Unknown) || storey.summary.is_empty();
    let style = if dim { DIM } else { PLAIN };
    let room = paper.room();
    match storey.ms {
        None => paper.cell(style, text, room),
        Some(ms) => paper.cell(style, text, room.saturating_sub(TIME + 2)).blank(2).cell_right(DIM, &time(ms), TIME),
    };
    paper.end();
}

fn label_style(status: LayerStatus) -> Style {
    match status {
        LayerStatus::Fail => RED.bold(),
        LayerStatus::Warn => BOLD,
        LayerStatus::NotReached => DIM,
        LayerStatus::Ok | LayerStatus::Unknown => PLAIN,
    }
}

const fn placeholder(status: LayerStatus) -> &'static str {
    match status {
        LayerStatus::Ok => "an answer from above passed through it",
        LayerStatus::Warn | LayerStatus::Fail => "named by the verdict",
        LayerStatus::Unknown => "the evidence does not tell",
        LayerStatus::NotReached => "not reached",
    }
}
