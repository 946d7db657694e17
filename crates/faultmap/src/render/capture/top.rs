//! Hosts and services of a capture in order of what they moved, and how long they made others wait.

use super::super::{BOLD, CYAN, DIM, PLAIN, Paper, RED, count, time};
use super::bytes;
use crate::commands::capture::Top;
use crate::terminal::Terminal;
use faultmap_capture::verdict::{Service, Times};

/// The tables.
pub(crate) fn top(top: &Top, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    paper.put(BOLD, "talkers").end();
    for talker in &top.talkers {
        paper.blank(2).cell(PLAIN, &talker.host.to_string(), 40).put(DIM, "sent ").cell_right(PLAIN, &bytes(talker.sent.bytes), 9);
        paper.put(DIM, "  received ").cell_right(PLAIN, &bytes(talker.received.bytes), 9);
        paper.blank(2).put(DIM, &count(talker.flows, "flow")).end();
    }
    services(&mut paper, "services", &top.services);
    services(&mut paper, "slowest", &top.slowest);
    paper.finish()
}

/// A table of services: the network's time beside the server's.
pub(super) fn services(paper: &mut Paper, heading: &str, services: &[Service]) {
    if services.is_empty() {
        return;
    }
    paper.heading(heading);
    paper.blank(2).cell(DIM, "server", 28).cell(DIM, "app", 10).cell_right(DIM, "flows", 7).cell_right(DIM, "failed", 7);
    paper.cell_right(DIM, "network", 10).cell_right(DIM, "think", 10).cell_right(DIM, "worst", 10).blank(2).put(DIM, "name").end();
    for service in services {
        let median = |times: Option<Times>| times.map_or_else(String::new, |times| time(times.median_ms));
        let worst = service.think.or(service.wait).map_or_else(String::new, |times| time(times.worst_ms));
        paper.blank(2).cell(PLAIN, &service.server.to_string(), 27).blank(1).cell(CYAN, service.app.unwrap_or(""), 10);
        paper.cell_right(PLAIN, &service.flows.to_string(), 7);
        paper.cell_right(if service.failed_flows > 0 { RED } else { DIM }, &service.failed_flows.to_string(), 7);
        paper.cell_right(PLAIN, &median(service.network), 10).cell_right(PLAIN, &median(service.think), 10).cell_right(PLAIN, &worst, 10);
        paper.blank(2).put(DIM, service.name.as_deref().unwrap_or("")).end();
    }
}
