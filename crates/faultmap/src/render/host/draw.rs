//! The full screen: header, body, footer. Pure: a board in, cells of a frame out.
//!
//! Lines are laid out here and cut to the width of the terminal, so that nothing wraps by surprise; every text passes the guard.

use super::board::{Board, View};
use super::tracks::{Track, Trend};
use super::{drops, figures, foretold, hue, named, readings, sound};
use crate::commands::clock;
use crate::render::{BOLD, CYAN, DIM, PLAIN, Paper, canvas, count, sign};
use crate::terminal::Terminal;
use faultmap_model::Layer;
use faultmap_model::host::drops::{DropRow, Drops, Weight};
use faultmap_model::host::{Finding, HostLayer, Reading, Severity, State, Unit};
use faultmap_model::report::LayerStatus;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::Duration;
use unicode_width::UnicodeWidthStr as _;

/// Nothing can be laid out on less.
const SMALLEST: (u16, u16) = (30, 8);
/// From here on a line has room for the names of the layers, and for a curve.
const ROOM_FOR_NAMES: usize = 60;
const ROOM_FOR_CURVES: usize = 76;

/// Draws the board.
pub(crate) fn draw(frame: &mut Frame<'_>, board: &Board) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        frame.render_widget(Paragraph::new("terminal too small; q quits"), area);
        return;
    }
    let body = Rect { y: area.y + 2, height: area.height - 4, ..area };
    let sheet = Sheet::new(board, usize::from(area.width));
    frame.render_widget(Paragraph::new(sheet.header()), Rect { height: 1, ..area });
    let lines = match board.view {
        View::Map => sheet.map(),
        View::Layer(layer) => sheet.layer(layer),
        View::Drops => sheet.drops(),
        View::Help => sheet.help(),
    };
    let height = usize::from(body.height);
    let first = board.scroll.min(lines.len().saturating_sub(height));
    let hidden = lines.len().saturating_sub(first + height);
    let shown: Vec<Line<'_>> = lines.into_iter().skip(first).take(height).collect();
    frame.render_widget(Paragraph::new(shown), body);
    let footer = Rect { y: area.y + area.height - 1, height: 1, ..area };
    frame.render_widget(Paragraph::new(sheet.footer(hidden)), footer);
}

/// One frame's lines under construction.
struct Sheet<'a> {
    board: &'a Board,
    paper: Paper,
    width: usize,
}

/// A line under construction, which knows how much room it has.
struct Row {
    spans: Vec<Span<'static>>,
    left: usize,
}

impl<'a> Sheet<'a> {
    fn new(board: &'a Board, width: usize) -> Self {
        Self { board, paper: Paper::new(Terminal { width, utf8: board.looks.utf8 }), width }
    }

    const fn row(&self) -> Row {
        Row { spans: Vec::new(), left: self.width }
    }

    /// Guarded and cut to the room that is left.
    fn put(&self, row: &mut Row, style: anstyle::Style, text: &str) {
        self.cell(row, style, text, text.width().saturating_mul(6));
    }

    /// The same, at most so many columns; not filled.
    fn cell(&self, row: &mut Row, style: anstyle::Style, text: &str, columns: usize) -> usize {
        let columns = columns.min(row.left);
        if columns == 0 {
            return 0;
        }
        let text = self.paper.cut(text, columns);
        let used = text.width();
        row.left = row.left.saturating_sub(used);
        row.spans.push(Span::styled(text, self.style(style)));
        used
    }

    /// A column of a table.
    fn column(&self, row: &mut Row, style: anstyle::Style, text: &str, columns: usize) {
        let used = self.cell(row, style, text, columns);
        blank(row, columns.saturating_sub(used));
    }

    fn column_right(&self, row: &mut Row, style: anstyle::Style, text: &str, columns: usize) {
        let text = self.paper.cut(text, columns);
        blank(row, columns.saturating_sub(text.width()));
        self.put(row, style, &text);
    }

    /// Text wrapped at words, every line at this indent.
    fn wrapped(&self, lines: &mut Vec<Line<'static>>, style: anstyle::Style, text: &str, indent: usize) {
        let mut row = self.row();
        blank(&mut row, indent);
        let mut empty = true;
        for word in text.split_whitespace() {
            let needed = self.paper.cut(word, self.width).width() + usize::from(!empty);
            if needed > row.left && !empty {
                lines.push(std::mem::replace(&mut row, self.row()).line());
                blank(&mut row, indent);
                empty = true;
            }
            if !empty {
                self.put(&mut row, style, " ");
            }
            self.put(&mut row, style, word);
            empty = false;
        }
        lines.push(row.line());
    }

    /// Without colours weight and dimness remain.
    fn style(&self, style: anstyle::Style) -> Style {
        canvas::style(style, self.board.looks.colored)
    }

    fn header(&self) -> Line<'static> {
        let board = self.board;
        let mut row = self.row();
        self.put(&mut row, BOLD, "faultmap host");
        if let Some(name) = board.report.as_ref().and_then(|report| report.hostname.as_deref()) {
            self.put(&mut row, PLAIN, &format!("  {name}"));
        }
        if let Some(place) = &board.place {
            self.put(&mut row, DIM, &format!("  {place}"));
        }
        self.put(&mut row, DIM, &format!("  {}", board.at));
        if board.paused {
            self.put(&mut row, BOLD.invert(), "  paused ");
        } else {
            self.put(&mut row, DIM, &format!("  every {}", pace(board.interval)));
        }
        row.line()
    }

    fn footer(&self, hidden: usize) -> Line<'static> {
        let mut row = self.row();
        if let Some(note) = &self.board.note {
            self.put(&mut row, hue(LayerStatus::Warn), note);
            return row.line();
        }
        if hidden > 0 {
            self.put(&mut row, BOLD, &format!("{hidden} more below  "));
        }
        if self.board.drops {
            self.put(&mut row, CYAN, "d");
            self.put(&mut row, DIM, " drops   ");
        }
        let keys: &[(&str, &str)] = match self.board.view {
            View::Map => &[("1-7", "layer"), ("Enter", "open"), ("p", "pause"), ("+ -", "interval"), ("?", "help"), ("q", "quit")],
            _ => &[("Esc", "map"), ("1-7", "layer"), ("Up Down", "scroll"), ("p", "pause"), ("?", "help"), ("q", "quit")],
        };
        for (key, what) in keys {
            self.put(&mut row, CYAN, key);
            self.put(&mut row, DIM, &format!(" {what}   "));
        }
        row.line()
    }

    fn map(&self) -> Vec<Line<'static>> {
        let Some(report) = &self.board.report else { return vec![Line::from("sampling")] };
        let mut lines: Vec<Line<'static>> = report.layers.iter().rev().map(|storey| self.storey(storey)).collect();
        lines.push(Line::default());
        match (&report.bottleneck, &report.fullest) {
            (Some(found), _) => {
                let mut row = self.row();
                let (glyph, style) = self.severity(found.severity);
                self.put(&mut row, style.bold(), &format!("{glyph} bottleneck: {} {}", found.layer, found.layer.name()));
                self.put(&mut row, CYAN, &format!("  {}", found.cause));
                lines.push(row.line());
                self.wrapped(&mut lines, BOLD, &found.sentence, 2);
                if let Some(finding) = report.findings.first() {
                    self.proof(&mut lines, finding);
                }
            }
            (None, Some(fullest)) => {
                let (glyph, style) = sign(&self.paper, LayerStatus::Ok);
                let mut row = self.row();
                self.put(&mut row, style, glyph);
                let what = named(&fullest.reading, &fullest.object);
                let words =
                    format!(" {}; fullest: {} {what}, {}", sound(report).to_lowercase(), fullest.layer, figures::percent(fullest.percent));
                self.put(&mut row, PLAIN, &words);
                lines.push(row.line());
            }
            (None, None) => self.wrapped(&mut lines, DIM, "nothing has a limit that is known", 2),
        }
        for forecast in &report.forecast {
            self.wrapped(&mut lines, hue(LayerStatus::Warn), &foretold(forecast), 2);
        }
        let others = report.findings.iter().skip(1);
        if others.len() > 0 {
            lines.push(Line::default());
            others.for_each(|finding| lines.push(self.finding_line(finding)));
        }
        if !report.unavailable.is_empty() {
            lines.push(Line::default());
            let readings: Vec<&str> = report.unavailable.iter().map(|missing| missing.reading.as_str()).collect();
            self.wrapped(&mut lines, DIM, &format!("not available: {} (? tells why)", readings.join(", ")), 2);
        }
        lines
    }

    /// What carries the bottleneck, and the first thing to do about it.
    fn proof(&self, lines: &mut Vec<Line<'static>>, finding: &Finding) {
        let readings = self.board.report.iter().flat_map(|report| &report.readings);
        for reading in readings.filter(|reading| finding.evidence.contains(&reading.key())).take(3) {
            self.wrapped(lines, DIM, &format!("because: {}", super::evidence(&reading.key(), reading)), 2);
        }
        if let Some(fix) = finding.fix.first() {
            self.wrapped(lines, DIM, &format!("fix: {fix}"), 2);
        }
    }

    fn storey(&self, storey: &HostLayer) -> Line<'static> {
        let mut row = self.row();
        let selected = self.board.selected == storey.layer;
        let mark = if selected { self.paper.either("▸ ", "> ") } else { "  " };
        self.put(&mut row, BOLD, mark);
        let (glyph, style) = sign(&self.paper, storey.status);
        self.put(&mut row, style, glyph);
        let label = if self.width >= ROOM_FOR_NAMES {
            format!(" {} {:12}", storey.layer, storey.layer.name())
        } else {
            format!(" {}", storey.layer)
        };
        self.put(&mut row, if selected { BOLD } else { PLAIN }, &label);
        self.put(&mut row, PLAIN, "  ");
        self.bar(&mut row, storey.percent, hue(storey.status), (self.width / 5).clamp(6, 32));
        self.put(&mut row, PLAIN, "  ");
        if self.width >= ROOM_FOR_CURVES {
            let columns = (self.width / 6).min(40);
            let values = self.board.tracks.layer(storey.layer).map(Track::values).unwrap_or_default();
            self.column(&mut row, hue(storey.status), &figures::curve(&values, columns, 100.0, self.board.looks.utf8), columns);
            self.put(&mut row, PLAIN, "  ");
        }
        if row.left >= 10 {
            self.put(&mut row, PLAIN, &storey.summary);
        }
        row.line()
    }

    /// Bar and share.
    fn bar(&self, row: &mut Row, percent: Option<f64>, style: anstyle::Style, columns: usize) {
        let utf8 = self.board.looks.utf8;
        match percent {
            Some(percent) => {
                let (full, empty) = figures::bar(percent, columns, utf8);
                self.put(row, style, &full);
                self.put(row, DIM, &empty);
                self.column_right(row, PLAIN, &figures::percent(percent), 7);
            }
            None => {
                self.put(row, DIM, &figures::no_bar(columns, utf8));
                self.column_right(row, DIM, "?", 7);
            }
        }
    }

    fn finding_line(&self, finding: &Finding) -> Line<'static> {
        let mut row = self.row();
        let (glyph, style) = self.severity(finding.severity);
        self.put(&mut row, style, &format!("{glyph} {} ", finding.layer));
        self.put(&mut row, CYAN, &finding.cause);
        self.put(&mut row, PLAIN, &format!("  {}", finding.summary));
        row.line()
    }

    fn severity(&self, severity: Severity) -> (&'static str, anstyle::Style) {
        super::severity(&self.paper, severity)
    }

    /// A layer opened: what is wrong with it, then its readings.
    fn layer(&self, layer: Layer) -> Vec<Line<'static>> {
        let Some(report) = &self.board.report else { return vec![Line::from("sampling")] };
        let mut lines = Vec::new();
        if let Some(storey) = report.layers.iter().find(|storey| storey.layer == layer) {
            let mut row = self.row();
            let (glyph, style) = sign(&self.paper, storey.status);
            self.put(&mut row, style.bold(), &format!("{glyph} {layer} {}  ", layer.name()));
            self.bar(&mut row, storey.percent, hue(storey.status), (self.width / 4).clamp(6, 40));
            lines.push(row.line());
            self.wrapped(&mut lines, DIM, &storey.summary, 2);
        }
        for finding in report.findings.iter().filter(|finding| finding.layer == layer) {
            lines.push(Line::default());
            self.finding(&mut lines, finding);
        }
        lines.push(Line::default());
        let own = self.board.readings(layer);
        if own.is_empty() {
            self.wrapped(&mut lines, DIM, "nothing of it can be read here", 2);
            return lines;
        }
        let widths = Widths::of(&own, self.width);
        own.into_iter().for_each(|reading| self.reading(&mut lines, reading, widths));
        lines
    }

    fn finding(&self, lines: &mut Vec<Line<'static>>, finding: &Finding) {
        let mut row = self.row();
        let (glyph, style) = self.severity(finding.severity);
        self.put(&mut row, style, &format!("{glyph} "));
        self.put(&mut row, CYAN, &finding.cause);
        self.put(&mut row, BOLD, &format!("  {}", finding.object));
        lines.push(row.line());
        self.wrapped(lines, PLAIN, &finding.summary, 2);
        for fix in finding.fix.iter().take(2) {
            self.wrapped(lines, DIM, &format!("fix: {fix}"), 2);
        }
        if let Some(advice) = &finding.advice {
            let words = format!("advice: {} is {}; set {}. It costs: {}", advice.sysctl, advice.present, advice.suggested, advice.costs);
            self.wrapped(lines, DIM, &words, 2);
        }
    }

    fn reading(&self, lines: &mut Vec<Line<'static>>, reading: &Reading, widths: Widths) {
        let mut row = self.row();
        let (glyph, style) = readings::state(&self.paper, reading.state);
        self.put(&mut row, style, &format!("{glyph} "));
        let name = if reading.object.is_empty() { reading.id.to_string() } else { format!("{} {}", reading.id, reading.object) };
        self.column(&mut row, PLAIN, &name, widths.name);
        self.column_right(&mut row, if reading.value.is_none() { DIM } else { BOLD }, &figures::filled(reading), widths.value);
        self.column_right(&mut row, style, &reading.percent.map_or_else(String::new, figures::percent), 7);
        self.column_right(&mut row, DIM, &figures::rate(reading), 11);
        let track = self.board.tracks.reading(reading);
        let trend = match track.map_or(Trend::Unknown, Track::trend) {
            Trend::Rising => self.paper.either("↑", "^"),
            Trend::Falling => self.paper.either("↓", "v"),
            Trend::Steady | Trend::Unknown => " ",
        };
        self.put(&mut row, BOLD, &format!(" {trend} "));
        if let Some(track) = track.filter(|_| widths.curve > 0) {
            let top = if reading.percent.is_some() { 100.0 } else { track.top() };
            self.put(&mut row, hue(LayerStatus::Ok), &figures::curve(&track.values(), widths.curve, top, self.board.looks.utf8));
        }
        lines.push(row.line());
        if reading.state >= State::Warn {
            let bound = reading.threshold.as_ref().map(readings::threshold_words).unwrap_or_default();
            self.wrapped(lines, DIM, &format!("{} {bound}", reading.text), 4);
        }
    }

    /// Where packets died since the sample before.
    fn drops(&self) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        self.wrapped(&mut lines, BOLD, "drops since the sample before", 0);
        lines.push(Line::default());
        match self.board.report.as_ref().and_then(|report| report.drops.as_ref()) {
            None => self.wrapped(&mut lines, DIM, "not counted yet", 2),
            Some(Drops::Unavailable { why, would_show, .. }) => {
                self.wrapped(&mut lines, DIM, &format!("not available: {why}; it would show {would_show}"), 2);
            }
            Some(Drops::Counted(report)) => {
                report.rows.iter().for_each(|row| self.drop_row(&mut lines, row));
                if report.rows.is_empty() {
                    self.wrapped(&mut lines, PLAIN, "no packet was dropped", 2);
                }
                drops::notes(report).iter().for_each(|note| self.wrapped(&mut lines, DIM, note, 2));
            }
        }
        lines
    }

    fn drop_row(&self, lines: &mut Vec<Line<'static>>, drop: &DropRow) {
        let mut row = self.row();
        let (glyph, style) = drops::weight(&self.paper, drop.weight);
        self.put(&mut row, style, &format!("{glyph} "));
        self.column(&mut row, PLAIN, drops::layer(drop.layer), 7);
        self.column(&mut row, CYAN, &drop.reason, drop.reason.width().max(22));
        self.column_right(&mut row, BOLD, &figures::value(drop.count as f64, Unit::Count), 9);
        self.column_right(&mut row, DIM, &format!("{}/s", figures::value(drop.per_second, Unit::Count)), 10);
        lines.push(row.line());
        if drop.weight != Weight::Ignored {
            self.wrapped(lines, DIM, &drops::meaning(drop), 4);
            for flow in drop.flows.iter().take(3) {
                self.wrapped(lines, DIM, &drops::flow_words(flow, self.paper.either("→", "->")), 4);
            }
        }
    }

    fn help(&self) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        for (keys, what) in [
            ("1 ... 7", "open a layer; L1 is the cable, L7 the application"),
            ("Up Down Enter", "choose a layer and open it; in a layer, scroll"),
            ("Esc", "back to the map"),
            ("d", "where in the kernel packets die, with --drops"),
            ("p", "pause, and go on"),
            ("+ -", "longer and shorter interval"),
            ("?", "this help"),
            ("q Ctrl-C", "quit"),
        ] {
            let mut row = self.row();
            self.column(&mut row, CYAN, keys, 16);
            self.put(&mut row, PLAIN, what);
            lines.push(row.line());
        }
        lines.push(Line::default());
        let words = "A bar is the fullest of what has a limit at that layer. It is empty and marked ? where nothing with a limit can be read, \
                     such as a virtual interface without a speed. Only what happens between two samples is called a fault.";
        self.wrapped(&mut lines, PLAIN, words, 0);
        let missing = self.board.report.iter().flat_map(|report| &report.unavailable);
        for (place, missing) in missing.enumerate() {
            if place == 0 {
                lines.push(Line::default());
                self.wrapped(&mut lines, BOLD, "not available", 0);
            }
            self.wrapped(&mut lines, DIM, &format!("{}: {}", missing.reading, missing.why), 2);
        }
        let words = count(self.board.report.as_ref().map_or(0, |report| report.readings.len()) as u64, "reading");
        lines.push(Line::default());
        self.wrapped(&mut lines, DIM, &format!("{words} in this sample"), 0);
        lines
    }
}

/// Columns of the table of a layer.
#[derive(Clone, Copy)]
struct Widths {
    name: usize,
    value: usize,
    curve: usize,
}

impl Widths {
    fn of(readings: &[&Reading], width: usize) -> Self {
        let widest = |text: &dyn Fn(&Reading) -> usize| readings.iter().map(|reading| text(reading)).max().unwrap_or(0);
        // Sign, share, rate, trend.
        let room = width.saturating_sub(2 + 7 + 11 + 3);
        let value = widest(&|reading| figures::filled(reading).width()).min(room / 2).min(28) + 2;
        let name = widest(&|reading| reading.key().width()).min(room.saturating_sub(value)).min(56);
        let curve = room.saturating_sub(value + name).min(40);
        Self { name, value, curve: if curve >= 8 { curve } else { 0 } }
    }
}

/// `1 s`, `500 ms`.
fn pace(interval: Duration) -> String {
    if interval.subsec_nanos() == 0 { clock::span(interval) } else { crate::render::time(interval.as_secs_f64() * 1e3) }
}

fn blank(row: &mut Row, columns: usize) {
    let columns = columns.min(row.left);
    row.left -= columns;
    row.spans.push(Span::raw(" ".repeat(columns)));
}

impl Row {
    fn line(self) -> Line<'static> {
        Line::from(self.spans)
    }
}
