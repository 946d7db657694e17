//! The flows of a capture as a table.

use super::super::{BOLD, DIM, PLAIN, Paper, RED, YELLOW, count, time};
use super::bytes;
use crate::cli::Sort;
use crate::terminal::Terminal;
use anstyle::Style;
use faultmap_capture::analysis::Outcome;
use faultmap_capture::finding::Weight;
use faultmap_capture::flow::{FlowRecord, Protocol};
use std::net::SocketAddr;
use unicode_width::UnicodeWidthStr as _;

/// Rows that are shown; JSON and Parquet hold all.
const MOST: usize = 10_000;

/// The table.
pub(crate) fn flows(flows: &[&FlowRecord], outcome: &Outcome, sort: Sort, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    let address = |flow: &FlowRecord| flow.client.to_string().width().max(flow.server.to_string().width());
    let wide = flows.iter().take(MOST).map(|flow| address(flow)).max().unwrap_or(0).clamp(8, 47);
    // Of two long addresses each is cut, before the end of the line says nothing.
    let wide = wide.min(terminal.width.saturating_sub(ALWAYS + END) / 2).max(8);
    let columns = Columns::within(terminal.width.saturating_sub(2 * (wide + 1)), sort);
    head(&mut paper, wide, columns);
    for flow in flows.iter().take(MOST) {
        row(&mut paper, flow, wide, columns);
    }
    paper.end();
    let left = outcome.totals.flows.saturating_sub(flows.len() as u64) + flows.len().saturating_sub(MOST) as u64;
    let left = if left > 0 { format!("; {left} more are not shown (--parquet has all of them)") } else { String::new() };
    paper.wrapped(PLAIN, &format!("{}{left}", count(flows.len() as u64, "flow")), 0);
    legend(&mut paper, flows, columns);
    paper.finish()
}

/// The signs that the table uses, in words; and where to go from here.
fn legend(paper: &mut Paper, flows: &[&FlowRecord], columns: Columns) {
    let Some(first) = flows.first() else { return };
    let has = |weight| flows.iter().any(|flow| flow.worst() == Some(weight));
    let mut words = Vec::new();
    if has(Weight::Fault) {
        words.push("! fault".to_owned());
    }
    if has(Weight::Warning) {
        words.push("~ slow or at risk".to_owned());
    }
    if columns.wait {
        words.push("wait: the longest for an answer".to_owned());
    }
    if columns.again {
        words.push("again: segments sent again".to_owned());
    }
    words.push(format!("one packet by packet: --flow {}", first.id));
    paper.wrapped(DIM, &words.join("; "), 0);
}

/// Number and protocol, and a space after each address.
const ALWAYS: usize = 15;
/// Room in which the end can be told.
const END: usize = 12;
/// What is always there beside the addresses, spaces included.
const LEAST: usize = 32;

/// The columns that there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Columns {
    app: bool,
    packets: bool,
    bytes: bool,
    wait: bool,
    rtt: bool,
    again: bool,
}

impl Columns {
    /// Beside the addresses: number and protocol always, and room for how it ended. The column that the table is sorted by comes first, and then those that
    /// would be missed most.
    fn within(room: usize, sort: Sort) -> Self {
        let sorted = match sort {
            Sort::Packets => Some((8, Self { packets: true, ..Self::default() })),
            Sort::Rtt => Some((9, Self { rtt: true, ..Self::default() })),
            Sort::Wait => Some((9, Self { wait: true, ..Self::default() })),
            Sort::Retransmits => Some((6, Self { again: true, ..Self::default() })),
            Sort::Worst | Sort::Start | Sort::Duration | Sort::Bytes | Sort::Server | Sort::Client => None,
        };
        let (taken, mut columns) = sorted.unwrap_or_default();
        let mut left = room.saturating_sub(LEAST + taken);
        let all = [
            (9, &mut columns.bytes),
            (9, &mut columns.app),
            (9, &mut columns.wait),
            (6, &mut columns.again),
            (8, &mut columns.packets),
            (9, &mut columns.rtt),
        ];
        for (wide, shown) in all.into_iter().filter(|(_, shown)| !**shown) {
            if wide > left {
                break;
            }
            left -= wide;
            *shown = true;
        }
        columns
    }
}

fn head(paper: &mut Paper, wide: usize, columns: Columns) {
    paper.cell_right(DIM, "flow", 6).blank(1).cell(DIM, "proto", 5).blank(1).cell(DIM, "client", wide + 1).cell(DIM, "server", wide + 1);
    if columns.app {
        paper.cell(DIM, "app", 9);
    }
    if columns.packets {
        paper.cell_right(DIM, "packets", 8);
    }
    if columns.bytes {
        paper.cell_right(DIM, "bytes", 9);
    }
    if columns.rtt {
        paper.cell_right(DIM, "rtt", 9);
    }
    if columns.wait {
        paper.cell_right(DIM, "wait", 9);
    }
    if columns.again {
        paper.cell_right(DIM, "again", 6);
    }
    paper.blank(1).put(DIM, "end").end();
}

/// An address that is too long loses its host's end, not its port: that tells flows apart.
fn shortened(end: SocketAddr, wide: usize, paper: &Paper) -> String {
    let whole = end.to_string();
    if whole.len() <= wide {
        return whole;
    }
    let port = format!(":{}", end.port());
    paper.cut(whole.trim_end_matches(&port), wide.saturating_sub(port.len())) + &port
}

fn row(paper: &mut Paper, flow: &FlowRecord, wide: usize, columns: Columns) {
    let (tag, style): (&str, Style) = match flow.worst() {
        Some(Weight::Fault) => ("!", RED),
        Some(Weight::Warning) => ("~", YELLOW),
        _ => ("", PLAIN),
    };
    let again =
        flow.tcp.as_ref().map_or(0, |tcp| tcp.sides.client.retransmits.total().saturating_add(tcp.sides.server.retransmits.total()));
    let milliseconds = |ms: Option<f64>| ms.map_or_else(String::new, time);
    paper.cell_right(BOLD, &flow.id.to_string(), 6).cell(style, tag, 1).cell(PLAIN, &flow.protocol.to_string(), 6);
    for end in [flow.client, flow.server] {
        let text = shortened(end, wide, paper);
        paper.cell(PLAIN, &text, wide).blank(1);
    }
    if columns.app {
        paper.cell(PLAIN, flow.app.unwrap_or(""), 9);
    }
    if columns.packets {
        paper.cell_right(PLAIN, &(flow.packets.client.saturating_add(flow.packets.server)).to_string(), 8);
    }
    if columns.bytes {
        paper.cell_right(PLAIN, &bytes(flow.bytes.client.saturating_add(flow.bytes.server)), 9);
    }
    if columns.rtt {
        paper.cell_right(PLAIN, &milliseconds(flow.tcp.as_ref().and_then(|tcp| tcp.handshake.rtt_ms())), 9);
    }
    if columns.wait {
        paper.cell_right(PLAIN, &milliseconds(flow.exchanges.worst_wait_ms), 9);
    }
    if columns.again {
        paper.cell_right(if again > 0 { YELLOW } else { DIM }, &again.to_string(), 6);
    }
    paper.blank(1);
    let mut words = if flow.protocol == Protocol::Tcp { flow.state.words().to_owned() } else { String::new() };
    let found: Vec<&str> = flow.findings.iter().filter(|found| found.weight >= Weight::Warning).map(|found| found.rule).take(3).collect();
    if !found.is_empty() {
        let separator = if words.is_empty() { "" } else { "; " };
        words = format!("{words}{separator}{}", found.join(", "));
    }
    let words = paper.cut(&words, paper.room());
    paper.put(style, &words).end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(room: usize, sort: Sort, expect: &str) {
        let Columns { app, packets, bytes, wait, rtt, again } = Columns::within(room, sort);
        let names = [(bytes, "bytes"), (app, "app"), (wait, "wait"), (again, "again"), (packets, "packets"), (rtt, "rtt")];
        let shown: Vec<&str> = names.into_iter().filter_map(|(shown, name)| shown.then_some(name)).collect();
        assert_eq!(shown.join(" "), expect);
    }

    #[test]
    fn a_narrow_table_keeps_the_column_it_is_sorted_by() {
        check(40, Sort::Worst, "");
        check(59, Sort::Worst, "bytes app wait");
        check(59, Sort::Rtt, "bytes app rtt");
        check(59, Sort::Retransmits, "bytes app again");
        check(82, Sort::Packets, "bytes app wait again packets rtt");
    }
}
