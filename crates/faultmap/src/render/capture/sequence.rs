//! One flow as a sequence diagram: client on the left, server on the right, an arrow for each packet.

use super::super::{BOLD, CYAN, DIM, GREEN, PLAIN, Paper, RED, YELLOW, count, time};
use crate::commands::capture::{Row, Sequence};
use crate::terminal::Terminal;
use anstyle::Style;
use faultmap_capture::analysis::Mark;
use faultmap_capture::flow::Side;
use unicode_width::UnicodeWidthStr as _;

/// Columns of time and number before the diagram.
const BEFORE: usize = 22;
/// Narrowest and widest lane between the two lines.
const LANE: std::ops::RangeInclusive<usize> = 36..=74;
/// Columns left of it for marks.
const MARKS: usize = 28;

/// The diagram.
pub(crate) fn sequence(sequence: &Sequence, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    head(&mut paper, sequence);
    let lane = paper.width().saturating_sub(BEFORE + MARKS).clamp(*LANE.start(), *LANE.end());
    let mut last = 0.0;
    for row in &sequence.packets {
        pause(&mut paper, row.at_ms - last, lane);
        last = row.at_ms;
        arrow(&mut paper, row, lane);
    }
    if sequence.more > 0 {
        paper.blank(BEFORE).put(DIM, &format!("{} more are not shown", count(sequence.more, "packet"))).end();
    }
    let flow = &sequence.flow;
    paper.end().put(PLAIN, &format!("{}; {} from first to last packet", flow.state.words(), time(flow.duration_ms()))).end();
    for found in &sequence.found {
        paper.item().put(CYAN, found.cause.unwrap_or(found.rule)).blank(2).wrapped(PLAIN, &found.text, 4);
    }
    paper.finish()
}

fn head(paper: &mut Paper, sequence: &Sequence) {
    let flow = &sequence.flow;
    paper.put(BOLD, &format!("flow {}", flow.id)).blank(2).put(PLAIN, &format!("{} and {}", flow.client, flow.server));
    for text in [flow.app.map(str::to_owned), flow.server_name.clone()].into_iter().flatten() {
        if text.width() + 2 > paper.room() {
            paper.end();
        }
        paper.blank(2).put(CYAN, &text);
    }
    paper.end();
    if let Some(rtt) = flow.tcp.as_ref().and_then(|tcp| tcp.handshake.rtt_ms()) {
        paper.put(DIM, &format!("round trip of the handshake {}", time(rtt))).end();
    }
    paper.end();
    let lane = paper.width().saturating_sub(BEFORE + MARKS).clamp(*LANE.start(), *LANE.end());
    paper.cell_right(DIM, "time", 12).cell_right(DIM, "packet", 8).blank(2).put(BOLD, "client");
    paper.blank(lane.saturating_sub(10)).put(BOLD, "server").end();
}

/// A wait that a person would notice stands on a line of its own.
fn pause(paper: &mut Paper, ms: f64, lane: usize) {
    if ms >= 200.0 {
        let bar = paper.either("│", "|");
        let text = format!("{} {}", paper.either("⋮", ":"), time(ms));
        paper.blank(BEFORE).put(DIM, bar).cell(YELLOW, &format!("  {text}"), lane).put(DIM, bar).end();
    }
}

fn arrow(paper: &mut Paper, row: &Row, lane: usize) {
    let dash = paper.either("─", "-");
    let bar = paper.either("│", "|");
    let text = paper.cut(&label(row), lane.saturating_sub(8));
    let fill = lane.saturating_sub(text.width() + 5);
    paper.cell_right(DIM, &time(row.at_ms), 12).cell_right(DIM, &row.packet.to_string(), 8).blank(2).put(DIM, bar);
    let style = color(row);
    let (left, right) = (paper.either("◀─", "<-"), paper.either("─▶", "->"));
    let line = dash.repeat(fill);
    match row.from {
        Side::Client => paper.put(style, dash).blank(1).put(style, &text).blank(1).put(style, &line).put(style, right),
        Side::Server => paper.put(style, left).put(style, &line).blank(1).put(style, &text).blank(1).put(style, dash),
    };
    paper.put(DIM, bar);
    if row.mark == Mark::Plain {
        paper.end();
    } else {
        paper.blank(1).wrapped(YELLOW, row.mark.words(), BEFORE + lane + 1);
    }
}

/// What it is and what it carries, before the numbers: they are cut first.
fn label(row: &Row) -> String {
    let mut parts: Vec<String> = Vec::new();
    // That data is to be handed over at once says nothing of it.
    let flags: Vec<&str> =
        row.flags.split(' ').filter(|flag| !flag.is_empty() && (row.len == 0 || !matches!(*flag, "PSH" | "ACK"))).collect();
    if !flags.is_empty() {
        parts.push(flags.join(" "));
    }
    if !row.carries.is_empty() {
        parts.push(row.carries.clone());
    }
    match (row.seq, row.len) {
        (Some(seq), len) if len > 0 => parts.push(format!("seq {seq} len {len}")),
        (Some(_), _) => {}
        (None, len) => parts.push(format!("len {len}")),
    }
    if let Some(ack) = row.ack.filter(|_| row.len == 0) {
        parts.push(format!("ack {ack}"));
    }
    if row.window == Some(0) && !row.flags.contains("RST") {
        parts.push("window 0".to_owned());
    }
    parts.join(" ")
}

fn color(row: &Row) -> Style {
    match row.mark {
        _ if row.flags.contains("RST") => RED,
        Mark::Plain if row.flags.contains("SYN") || row.flags.contains("FIN") => GREEN,
        Mark::Plain if row.len > 0 => PLAIN,
        Mark::Plain => DIM,
        _ => YELLOW,
    }
}
