//! A finding in the moment when it happens: one line; and one line for many of a kind.

use super::{CYAN, DIM, PLAIN, Paper, RED, YELLOW};
use crate::terminal::Terminal;
use faultmap_capture::finding::{Finding, Weight};
use std::net::SocketAddr;

/// `14:03:07.123  L4  tcp.syn-refused  the port is closed  (packet 12)`.
pub(crate) fn live_finding(finding: &Finding, ends: Option<(SocketAddr, SocketAddr)>, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    let style = if finding.weight == Weight::Fault { RED.bold() } else { YELLOW.bold() };
    let layer = finding.layer.map_or_else(|| "--".to_owned(), |layer| layer.to_string());
    paper.put(DIM, &clock(finding.last.0)).blank(1).put(style, &layer).blank(1).put(CYAN, finding.cause.unwrap_or(finding.rule)).blank(1);
    // Whoever the sentence does not name.
    let unnamed = ends.filter(|(client, server)| [client, server].iter().any(|end| !finding.text.contains(&end.ip().to_string())));
    let parties = unnamed.map_or_else(String::new, |(client, server)| format!(" ({client} to {server})"));
    let packet = finding.cited.packets.first().map_or_else(String::new, |packet| format!(" [packet {packet}]"));
    paper.wrapped(PLAIN, &format!("{}{parties}{packet}", finding.text), 13);
    paper.finish()
}

/// `… and 312 more tcp.syn-refused, last: …`: what was held back of a flood.
pub(crate) fn live_more(rule: &str, held: u64, last: Option<&Finding>, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    let dots = paper.either("…", "...").to_owned();
    let last = last.map_or_else(String::new, |finding| format!("; the last: {}", finding.text));
    paper.blank(13).wrapped(DIM, &format!("{dots} and {held} more {rule}{last}"), 13);
    paper.finish()
}

/// Time of day (UTC) of a moment, with milliseconds.
pub(super) fn clock(ns: i64) -> String {
    let ms = ns.div_euclid(1_000_000).rem_euclid(86_400_000);
    let (s, ms) = (ms / 1000, ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::clock;

    #[test]
    fn moments_are_told_as_time_of_day() {
        for (ns, text) in [(0, "00:00:00.000"), (1_795_000_000_123_456_789, "11:06:40.123"), (-1_000_000, "23:59:59.999")] {
            assert_eq!(clock(ns), text);
        }
    }
}
