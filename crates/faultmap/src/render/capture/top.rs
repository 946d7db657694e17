//! Hosts and services of a capture in order of what they moved, and how long they made others wait.

use super::super::{BOLD, CYAN, DIM, PLAIN, Paper, RED, time};
use super::bytes;
use crate::commands::capture::Top;
use crate::terminal::Terminal;
use faultmap_capture::verdict::{Service, Times};
use unicode_width::UnicodeWidthStr as _;

/// The tables.
pub(crate) fn top(top: &Top, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    if top.talkers.is_empty() {
        paper.put(PLAIN, "no host was heard").end();
        return paper.finish();
    }
    paper.put(BOLD, "talkers").end();
    let hosts = top.talkers.iter().map(|talker| talker.host.to_string().width()).max().unwrap_or(0);
    let wide = (hosts + 2).min(paper.width().saturating_sub(46)).max(12);
    paper.blank(2).cell(DIM, "host", wide);
    for name in ["sent", "received", "flows"] {
        paper.cell_right(DIM, name, 11);
    }
    paper.end();
    for talker in &top.talkers {
        paper.blank(2).cell(PLAIN, &talker.host.to_string(), wide.saturating_sub(1)).blank(1);
        paper.cell_right(PLAIN, &bytes(talker.sent.bytes), 11).cell_right(PLAIN, &bytes(talker.received.bytes), 11);
        paper.cell_right(PLAIN, &talker.flows.to_string(), 11).end();
    }
    services(&mut paper, "services", &top.services);
    // The order is all that differs.
    if top.slowest.len() > 1 {
        services(&mut paper, "slowest", &top.slowest);
    }
    paper.finish()
}

/// Columns of numbers: flows, failed, and three times.
const NUMBERS: [(&str, usize); 5] = [("flows", 7), ("failed", 7), ("network", 9), ("think", 9), ("worst", 9)];

/// A table of services: the network's time beside the server's.
pub(super) fn services(paper: &mut Paper, heading: &str, services: &[Service]) {
    if services.is_empty() {
        return;
    }
    paper.heading(heading);
    let numbers: usize = NUMBERS.iter().map(|(_, columns)| columns).sum();
    let servers = services.iter().map(|service| service.server.to_string().width()).max().unwrap_or(0);
    let room = paper.width().saturating_sub(2 + numbers);
    let wide = (servers + 2).min(room).max(12);
    // What it speaks and how it is called go before the numbers do.
    let (app, name) = (room >= wide + 10, room >= wide + 10 + 12);
    paper.blank(2).cell(DIM, "server", wide);
    if app {
        paper.cell(DIM, "app", 10);
    }
    for (name, columns) in NUMBERS {
        paper.cell_right(DIM, name, columns);
    }
    if name {
        paper.blank(2).put(DIM, "name");
    }
    paper.end();
    for service in services {
        row(paper, service, wide, (app, name));
    }
}

fn row(paper: &mut Paper, service: &Service, wide: usize, (app, name): (bool, bool)) {
    let median = |times: Option<Times>| times.map_or_else(String::new, |times| time(times.median_ms));
    let worst = service.think.or(service.wait).map_or_else(String::new, |times| time(times.worst_ms));
    paper.blank(2).cell(PLAIN, &service.server.to_string(), wide.saturating_sub(1)).blank(1);
    if app {
        paper.cell(CYAN, service.app.unwrap_or(""), 10);
    }
    let failed = service.failed_flows;
    let cells = [
        (PLAIN, service.flows.to_string()),
        (if failed > 0 { RED } else { DIM }, failed.to_string()),
        (PLAIN, median(service.network)),
        (PLAIN, median(service.think)),
        (PLAIN, worst),
    ];
    for ((style, text), (_, columns)) in cells.into_iter().zip(NUMBERS) {
        paper.cell_right(style, &text, columns);
    }
    if name {
        let room = paper.room().saturating_sub(2);
        let text = paper.cut(service.name.as_deref().unwrap_or(""), room);
        paper.blank(2).put(DIM, &text);
    }
    paper.end();
}
