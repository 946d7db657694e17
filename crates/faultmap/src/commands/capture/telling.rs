//! Findings of a live capture as they happen: each once, a flood of one kind as a few lines and a number. It decides nothing.

use crate::render;
use crate::terminal::{self, Choice, Terminal};
use anyhow::Context as _;
use faultmap_capture::analysis::Fresh;
use faultmap_capture::finding::{Finding, Weight};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Of one kind so many are told within so long; the others are counted.
const MOST_OF_A_KIND: u32 = 3;
const SPAN: Duration = Duration::from_secs(3);

/// How they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Not at all.
    Silent,
    /// Lines for people.
    Words,
    /// One JSON object a line.
    Json,
}

/// Those told lately, by rule.
pub(super) struct Telling {
    way: Way,
    choice: Choice,
    kinds: BTreeMap<&'static str, Kind>,
}

struct Kind {
    since: Instant,
    told: u32,
    held: u64,
    last: Option<Finding>,
}

impl Telling {
    pub(super) const fn new(way: Way, choice: Choice) -> Self {
        Self { way, choice, kinds: BTreeMap::new() }
    }

    /// The lines that are due, and whether all of it could be given away.
    pub(super) fn tell(&mut self, progress: &render::Progress, found: Vec<Fresh>, over: bool) -> anyhow::Result<bool> {
        let mut worth: Vec<Fresh> = found.into_iter().filter(|fresh| fresh.finding.weight >= Weight::Warning).collect();
        worth.sort_by_key(|fresh| fresh.finding.last);
        match self.way {
            Way::Silent => Ok(true),
            Way::Json => {
                let mut lines = Vec::new();
                for fresh in worth {
                    serde_json::to_writer(&mut lines, &Line::of(&fresh)).context("cannot write a finding as JSON")?;
                    lines.push(b'\n');
                }
                if lines.is_empty() { Ok(true) } else { terminal::offer_bytes(&lines) }
            }
            Way::Words => {
                let text = self.words(worth.into_iter(), Instant::now(), over, Terminal::of_environment());
                if text.is_empty() { Ok(true) } else { progress.aside(|| terminal::offer(&text, self.choice)) }
            }
        }
    }

    fn words(&mut self, worth: impl Iterator<Item = Fresh>, now: Instant, over: bool, terminal: Terminal) -> String {
        let mut text = String::new();
        for fresh in worth {
            let kind = self.kinds.entry(fresh.finding.rule).or_insert_with(|| Kind { since: now, told: 0, held: 0, last: None });
            if now.duration_since(kind.since) >= SPAN && kind.held == 0 {
                (kind.since, kind.told) = (now, 0);
            }
            if kind.told < MOST_OF_A_KIND {
                kind.told += 1;
                text.push_str(&render::live_finding(&fresh.finding, fresh.ends, terminal));
            } else {
                kind.held += 1;
                kind.last = Some(fresh.finding);
            }
        }
        for (rule, kind) in &mut self.kinds {
            if kind.held > 0 && (over || now.duration_since(kind.since) >= SPAN) {
                text.push_str(&render::live_more(rule, kind.held, kind.last.as_ref(), terminal));
                *kind = Kind { since: now, told: MOST_OF_A_KIND, held: 0, last: None };
            }
        }
        text
    }
}

/// One finding as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    at: String,
    client: Option<SocketAddr>,
    server: Option<SocketAddr>,
    #[serde(flatten)]
    finding: &'a Finding,
}

impl<'a> Line<'a> {
    fn of(fresh: &'a Fresh) -> Self {
        let Fresh { finding, ends } = fresh;
        let at = faultmap_capture::report::moment(finding.last);
        let (client, server) = (ends.map(|(client, _)| client), ends.map(|(_, server)| server));
        Self { schema: "faultmap.capture.finding/1", at, client, server, finding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultmap_capture::finding::Cited;
    use faultmap_capture::packet::{PacketNo, Stamp};
    use faultmap_model::Layer;

    fn refused() -> Fresh {
        let finding = Finding {
            rule: "tcp.syn-refused",
            weight: Weight::Fault,
            layer: Some(Layer::L4),
            cause: Some("l4.port-closed"),
            flow: None,
            blames: None,
            first: Stamp(0),
            last: Stamp(0),
            cited: Cited::one(PacketNo(7)),
            text: "10.2.0.10:81 refused the SYN".to_owned(),
            said_by: None,
            value: None,
        };
        Fresh { finding, ends: None }
    }

    #[test]
    fn a_flood_of_one_kind_is_a_few_lines_and_a_number() {
        let terminal = Terminal { width: 100, utf8: true };
        let mut telling = Telling::new(Way::Words, Choice::Never);
        let begun = Instant::now();
        let mut at = |count: usize, ms: u64, over: bool| {
            let now = begun + Duration::from_millis(ms);
            let styled = telling.words(std::iter::repeat_with(refused).take(count), now, over, terminal);
            anstream::adapter::strip_str(&styled).to_string()
        };
        assert_eq!(at(300, 0, false).matches("refused the SYN").count(), 3);
        assert_eq!(at(15, 1000, false), "", "held back");
        let more = at(0, 3100, false);
        assert!(more.contains("312 more") && more.contains("tcp.syn-refused"), "{more}");
        assert_eq!(at(0, 4000, false), "");
        // It goes on: counted again. It has ended: the next one is news.
        assert!(at(5, 5000, false).is_empty());
        assert!(at(0, 6200, false).contains("5 more"));
        assert_eq!(at(1, 60_000, false).matches("refused the SYN").count(), 1);
        assert_eq!(at(2, 60_001, true).matches("refused the SYN").count(), 2);
    }
}
