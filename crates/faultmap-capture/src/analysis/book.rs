//! The findings of an analysis: bounded, one for each rule and flow or party, and counted beyond the bound.

use super::untold::{Kind, kind};
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::FlowId;
use crate::packet::{PacketNo, Stamp};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap};

/// Findings of one kind that are kept one by one: a service that refuses a thousand connections is told a hundred times.
const MOST_ALIKE: u32 = 100;
/// The same once half of the room is taken: two hundred services that refuse are all told of.
const MOST_ALIKE_OF_MANY: u32 = 10;

/// New findings that wait to be told at once; further ones are in the outcome alone.
const MOST_FRESH: usize = 10_000;

/// What makes two sightings one finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    pub(super) rule: &'static str,
    pub(super) flow: Option<FlowId>,
    pub(super) party: Option<Party>,
}

/// Findings of one kind: those that are kept, and those beyond.
#[derive(Default)]
struct Alike {
    kept: u32,
    beyond: u64,
}

/// All findings so far.
pub(super) struct Book {
    findings: Vec<Finding>,
    open: HashMap<Subject, usize, RandomState>,
    alike: HashMap<Kind, Alike, RandomState>,
    pub(super) rules: BTreeMap<&'static str, u64>,
    most: usize,
    /// Findings since they were last asked for; empty where nobody asks.
    fresh: Option<Vec<Finding>>,
    /// Findings for which there was no room.
    pub(super) left_out: u64,
}

impl Book {
    pub(super) fn new(most: usize) -> Self {
        let (open, alike) = (HashMap::default(), HashMap::default());
        Self { findings: Vec::new(), open, alike, rules: BTreeMap::new(), most, fresh: None, left_out: 0 }
    }

    /// One more finding.
    pub(super) fn add(&mut self, finding: Finding) {
        let count = self.rules.entry(finding.rule).or_default();
        *count = count.saturating_add(finding.cited.count.max(1));
        if let Some(fresh) = self.fresh.as_mut().filter(|fresh| fresh.len() < MOST_FRESH) {
            fresh.push(finding.clone());
        }
        // Notes must not take the room of what is wrong.
        let room = if finding.weight <= Weight::Note { self.most / 2 } else { self.most };
        let most_alike = if self.findings.len() < self.most / 2 { MOST_ALIKE } else { MOST_ALIKE_OF_MANY };
        let full = self.alike.len() >= self.most;
        let kind = kind(&finding);
        let alike = if full && !self.alike.contains_key(&kind) { None } else { Some(self.alike.entry(kind).or_default()) };
        match alike {
            Some(alike) if self.findings.len() < room && alike.kept < most_alike => {
                alike.kept += 1;
                self.findings.push(finding);
            }
            alike => {
                self.left_out = self.left_out.saturating_add(1);
                alike.into_iter().for_each(|alike| alike.beyond = alike.beyond.saturating_add(1));
            }
        }
    }

    /// How many of each kind are not among the findings.
    pub(super) fn beyond(&self) -> HashMap<Kind, u64, RandomState> {
        self.alike.iter().filter(|(_, alike)| alike.beyond > 0).map(|(kind, alike)| (*kind, alike.beyond)).collect()
    }

    /// One more sighting of what may be known already; `make` gives the finding if it is not.
    pub(super) fn sight(&mut self, subject: Subject, packet: PacketNo, at: Stamp, make: impl FnOnce() -> Finding) {
        if let Some(finding) = self.open.get(&subject).and_then(|index| self.findings.get_mut(*index)) {
            finding.cited.add(packet);
            finding.last = finding.last.max(at);
            let count = self.rules.entry(subject.rule).or_default();
            *count = count.saturating_add(1);
            return;
        }
        let before = self.findings.len();
        self.add(make());
        if self.findings.len() > before && self.open.len() < self.most {
            self.open.insert(subject, before);
        }
    }

    /// A rule whose evidence is in doubt: its findings become notes.
    pub(super) fn soften(&mut self, rule: &str, why: &str) {
        self.soften_where(why, |finding| finding.rule == rule);
    }

    /// Findings whose evidence is in doubt become notes.
    pub(super) fn soften_where(&mut self, why: &str, doubtful: impl Fn(&Finding) -> bool) {
        for finding in self.findings.iter_mut().filter(|finding| doubtful(finding)) {
            (finding.weight, finding.cause) = (Weight::Note, None);
            finding.text.push_str(why);
        }
    }

    /// Changes a finding that was sighted.
    pub(super) fn change(&mut self, subject: &Subject, change: impl FnOnce(&mut Finding)) {
        if let Some(finding) = self.open.get(subject).and_then(|index| self.findings.get_mut(*index)) {
            change(finding);
        }
    }

    /// Findings since the last call, those for which there is no room included. The first call begins it.
    pub(super) fn take(&mut self) -> Vec<Finding> {
        self.fresh.replace(Vec::new()).unwrap_or_default()
    }

    /// All of them: worst first, then by time.
    pub(super) fn into_findings(mut self) -> Vec<Finding> {
        self.findings
            .sort_by(|a, b| b.weight.cmp(&a.weight).then(a.first.cmp(&b.first)).then(a.flow.cmp(&b.flow)).then(a.rule.cmp(b.rule)));
        self.findings
    }
}

/// A finding about the capture, gathered over all of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered {
    pub(super) cited: Cited,
    first: Stamp,
    last: Stamp,
}

impl Gathered {
    pub(super) fn add(&mut self, packet: PacketNo, at: Stamp) {
        if self.cited.count == 0 {
            (self.first, self.last) = (at, at);
        }
        self.cited.add(packet);
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }

    /// The finding; `None` if there was nothing.
    pub(super) fn finding(self, rule: &'static str, weight: Weight, text: String) -> Option<Finding> {
        let Self { cited, first, last } = self;
        let value = Some(cited.count as f64);
        (cited.count > 0).then(|| Finding { value, ..Finding::of(rule, weight, (first, last), cited, text) })
    }
}
