//! The report of `faultmap capture`: the JSON of the contract, and what the terminal shows of it.

use crate::analysis::{BoundsHit, Outcome, Quality};
use crate::file::Notes;
use crate::finding::{Cited, Finding, Weight};
use crate::flow::FlowId;
use crate::keys::KeysSeen;
use crate::packet::Stamp;
use crate::verdict::{self, Judgement, LayerSeen, MOST_SERVICES, Service, Severity};
use faultmap_model::calendar::civil;
use faultmap_model::verdict::{Candidate, Locus, NextStep, Status, Verdict};
use faultmap_model::{Layer, causes};
use serde::Serialize;
use std::collections::BTreeSet;

/// Schema name of the JSON object.
pub const SCHEMA: &str = "faultmap.capture/1";

/// Findings that are told one by one.
const MOST_FINDINGS: usize = 500;
/// Flow numbers that a group names.
const MOST_NAMED: usize = 20;

/// Where the packets came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The file or the interface, as the user named it.
    pub name: String,
    /// Why not all of it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The capture itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaptureSeen {
    /// Packets.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// The earliest packet, RFC 3339; null where there is none.
    pub from: Option<String>,
    /// The latest.
    pub to: Option<String>,
    /// Between them.
    pub duration_ms: f64,
    /// Link types of the packets read, by `LINKTYPE_` number.
    pub link_types: Vec<u32>,
    /// How good the capture is.
    pub quality: Quality,
    /// Packets that the writer of the file says it dropped; null if it says nothing.
    pub dropped: Option<u64>,
    /// What limits the analysis, in words.
    pub notes: Vec<String>,
    /// Findings about the capture, never about the network.
    pub findings: Vec<Finding>,
    /// Bounds of memory that were hit.
    pub limits_hit: BoundsHit,
    /// What the session keys of TLS were good for, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysSeen>,
    /// It was ended by the user before its end.
    pub cut_short: bool,
}

/// The verdict of the contract, without what only a check has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownVerdict {
    /// How the network is, as far as it was captured.
    pub status: Status,
    /// The layer at fault; null when healthy.
    pub layer: Option<Layer>,
    /// The cause.
    pub cause: Option<String>,
    /// 0 to 1.
    pub confidence: f64,
    /// Where.
    pub locus: Option<Locus>,
    /// One sentence.
    pub summary: String,
    /// Causes that remain.
    pub candidates: Vec<Candidate>,
    /// What else is wrong.
    pub also: Vec<String>,
    /// What to run next.
    pub next: Vec<NextStep>,
    /// How to mend it.
    pub fix: Vec<String>,
}

impl From<Verdict> for ShownVerdict {
    fn from(verdict: Verdict) -> Self {
        let Verdict { status, layer, cause, confidence, locus, summary, candidates, also, next, fix, .. } = verdict;
        Self { status, layer, cause, confidence, locus, summary, candidates, also, next, fix }
    }
}

/// What is wrong with one party, or with several in the same way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownGroup {
    /// Its number; `--write FILE --finding N` takes it.
    pub id: usize,
    /// The layer named.
    pub layer: Option<Layer>,
    /// The cause named.
    pub cause: Option<String>,
    /// What the cause is.
    pub title: Option<&'static str>,
    /// How bad.
    pub severity: Severity,
    /// 0 to 1.
    pub confidence: f64,
    /// The party at fault.
    pub party: String,
    /// One sentence.
    pub summary: String,
    /// Rules that matched.
    pub rules: Vec<&'static str>,
    /// Flows concerned.
    pub flows: u64,
    /// The first of them.
    pub flow_ids: Vec<FlowId>,
    /// All of them, for those who look for their packets.
    #[serde(skip)]
    pub all_flows: BTreeSet<FlowId>,
    /// Of all exchanges or flows of the party, those concerned: 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Packets that show it.
    pub packets: Cited,
    /// First and last time, RFC 3339.
    pub from: String,
    /// See `from`.
    pub to: String,
    /// The Wireshark display filter that shows them.
    pub filter: String,
    /// Causes that remain.
    pub candidates: Vec<Candidate>,
    /// What follows from it.
    pub also: Vec<String>,
    /// What to run next.
    pub next: Vec<NextStep>,
    /// How to mend it.
    pub fix: Vec<String>,
}

/// What a filter left of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Flows that match.
    pub flows: usize,
    /// Flows that there were.
    pub of: usize,
    /// A flow matches, or a finding, or a packet.
    pub anything: bool,
}

/// Everything that an analysis found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Where the packets came from.
    pub files: Vec<Source>,
    /// The capture itself.
    pub capture: CaptureSeen,
    /// What the judge says.
    pub verdict: ShownVerdict,
    /// The seven layers, L1 first.
    pub layers: Vec<LayerSeen>,
    /// What is wrong, worst first.
    #[serde(rename = "findings")]
    pub groups: Vec<ShownGroup>,
    /// Groups that are left out for want of room.
    #[serde(rename = "more_findings")]
    pub more_groups: usize,
    /// Rules that matched, worst first: what the groups rest on, and notes that blame nobody.
    #[serde(rename = "rules")]
    pub findings: Vec<Finding>,
    /// Who served what, the busiest first.
    pub services: Vec<Service>,
    /// Flows.
    pub flows: u64,
}

impl Report {
    /// Judges an outcome and puts the report together. Pure.
    #[must_use]
    pub fn new(outcome: &Outcome, files: Vec<Source>, notes: &Notes, cut_short: bool) -> Self {
        let Judgement { verdict, layers, groups, more_groups, mut services, capture } = verdict::judge(outcome);
        services.truncate(MOST_SERVICES);
        let groups = groups.into_iter().enumerate().map(|(index, group)| shown(index + 1, group)).collect();
        let totals = &outcome.totals;
        let mut quality = outcome.quality;
        quality.unknown_link = quality.unknown_link.saturating_add(notes.unreadable);
        let capture = CaptureSeen {
            packets: totals.all.packets,
            bytes: totals.all.bytes,
            from: totals.first.map(moment),
            to: totals.last.map(moment),
            duration_ms: totals.duration_ms(),
            link_types: totals.link_types.keys().copied().collect(),
            quality,
            dropped: notes.dropped,
            notes: remarks(outcome, &quality, notes, cut_short),
            findings: capture,
            limits_hit: outcome.bounds_hit,
            keys: outcome.keys,
            cut_short,
        };
        let findings = outcome.findings.iter().filter(|finding| finding.weight != Weight::Capture).take(MOST_FINDINGS).cloned().collect();
        let flows = totals.flows.max(outcome.flows.len() as u64);
        Self { schema: SCHEMA, files, capture, verdict: verdict.into(), layers, groups, more_groups, findings, services, flows }
    }

    /// A filter left so much of the capture to judge. Where that is nothing, or nothing is wrong with it, the verdict is of no more than that.
    pub fn narrowed(&mut self, left: &Left) {
        let Left { flows, of, anything } = *left;
        self.capture.notes.insert(0, format!("Only what matches the filter is judged: {flows} of {of} flows."));
        if !anything && self.capture.packets > 0 {
            (self.verdict.status, self.verdict.confidence) = (Status::Inconclusive, 0.0);
            "Nothing in the capture matches the filter, so nothing was judged.".clone_into(&mut self.verdict.summary);
        } else if self.verdict.status == Status::Healthy {
            self.verdict.summary = format!("Nothing is wrong in what matches the filter: {flows} of {of} flows.");
        }
    }

    /// The process exit code of the contract: 0, 3, 4, or 11 to 17.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.verdict.status, self.verdict.layer) {
            (Status::Healthy, _) => 0,
            (Status::Degraded, _) => 3,
            (Status::Fault, Some(layer)) => 10 + layer.number(),
            (Status::Inconclusive | Status::Fault, _) => 4,
        }
    }
}

fn shown(id: usize, group: verdict::Group) -> ShownGroup {
    let verdict = group.verdict;
    let title = verdict.cause.as_deref().and_then(causes::find).map(|cause| cause.title);
    ShownGroup {
        id,
        layer: verdict.layer,
        cause: verdict.cause,
        title,
        severity: group.severity,
        confidence: verdict.confidence,
        party: group.party,
        summary: verdict.summary,
        rules: group.rules.into_iter().collect(),
        flows: (group.flows.len() as u64).saturating_add(group.more_flows),
        flow_ids: group.flows.iter().take(MOST_NAMED).copied().collect(),
        all_flows: group.flows,
        share: group.share.map(|share| (share * 1e4).round() / 1e4),
        packets: group.cited,
        from: moment(group.first),
        to: moment(group.last),
        filter: group.filter,
        candidates: verdict.candidates,
        also: verdict.also,
        next: verdict.next,
        fix: verdict.fix,
    }
}

/// What limits an analysis, in words.
fn remarks(outcome: &Outcome, quality: &Quality, notes: &Notes, cut_short: bool) -> Vec<String> {
    let hit = outcome.bounds_hit;
    let told: [(u64, &str, &str); 15] = [
        (quality.copies, "packet", "captured twice or more; the copies are not counted"),
        (quality.forwarded_copies, "packet", "captured again behind a router; these copies are not counted"),
        (quality.gaps, "hole", "in what was captured: those bytes arrived, and what was said there is not known"),
        (quality.one_sided_flows, "TCP connection", "captured in one direction only; silence of the other says nothing"),
        (quality.midstream_flows, "TCP connection", "begun before the capture, so that the handshake is not known"),
        (quality.truncated, "packet", "cut by the snap length; tcpdump -s 0 keeps packets whole"),
        (quality.time_backwards, "packet", "with a time before that of its predecessor"),
        (
            quality.kernel_drops.max(notes.dropped.unwrap_or(0)),
            "packet",
            "dropped by the recorder for want of room; what is missing may look like loss",
        ),
        (quality.interface_drops, "packet", "dropped by the interface before it could be captured"),
        (quality.malformed, "packet", "with a header that cannot be read, or a wrong checksum: they are not looked at further"),
        (quality.unknown_link, "packet", "not read, for the link type is not known"),
        (hit.flows, "flow", "closed early for want of room (--max-flows)"),
        (hit.records, "flow", "not in the tables for want of room (--parquet has all of them)"),
        (hit.findings, "finding", "counted, but not told one by one"),
        (hit.waiting_bytes, "byte", "not read for want of room"),
    ];
    let there = told.into_iter().filter(|(count, ..)| *count > 0);
    let mut remarks: Vec<String> = there.map(|(count, of, text)| format!("{} {text}.", verdict::many(count, of))).collect();
    if let Some(keys) = &outcome.keys {
        remarks.insert(0, of_keys(keys));
    }
    if cut_short {
        remarks.push("The reading was ended before the end of the capture.".to_owned());
    }
    remarks
}

/// What came of the session keys. None of it says anything of the network.
fn of_keys(keys: &KeysSeen) -> String {
    if keys.secrets == 0 {
        let lines =
            if keys.unreadable_lines > 0 { format!("{} lines of it are none", keys.unreadable_lines) } else { "it is empty".to_owned() };
        return format!("The key log holds no session key of TLS: {lines}.");
    }
    let mut text = format!(
        "{} secrets of {} connections were read: {} TLS connections of the capture were opened with them",
        keys.secrets, keys.connections, keys.opened
    );
    let rest: [(u64, &str); 4] = [
        (keys.misfits, "are named in it and were not opened, for the keys do not fit"),
        (keys.unread_ciphers, "are under a cipher that is not read here (only AES-GCM and ChaCha20-Poly1305 are)"),
        (keys.unreadable_lines, "lines are no key log"),
        (keys.let_go, "secrets were let go for want of room"),
    ];
    for (count, what) in rest.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!("; {count} {what}"));
    }
    text + "."
}

/// RFC 3339 in UTC, to the microsecond.
#[must_use]
pub fn moment(at: Stamp) -> String {
    let (seconds, nanoseconds) = (at.0.div_euclid(1_000_000_000), at.0.rem_euclid(1_000_000_000));
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", nanoseconds / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_utc_whatever_they_are() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_795_269_723_123_456_789, "2026-11-21T14:02:03.123456Z"),
            (-1_000, "1969-12-31T23:59:59.999999Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775Z"),
            (i64::MIN, "1677-09-21T00:12:43.145224Z"),
        ] {
            assert_eq!(moment(Stamp(ns)), text);
        }
    }

    #[test]
    fn a_capture_without_a_packet_is_neither_well_nor_ill() {
        let report = Report::new(&Outcome::default(), Vec::new(), &Notes::default(), false);
        assert_eq!((report.exit_code(), report.verdict.status, report.layers.len()), (4, Status::Inconclusive, 7));
    }

    #[test]
    fn what_no_filter_let_through_is_not_called_healthy() {
        let mut outcome = Outcome::default();
        outcome.totals.all.packets = 7;
        let narrowed = |left: Left| {
            let mut report = Report::new(&outcome, Vec::new(), &Notes::default(), false);
            report.narrowed(&left);
            (report.exit_code(), report.verdict.summary)
        };
        let nothing = "Nothing in the capture matches the filter, so nothing was judged.";
        assert_eq!(narrowed(Left { flows: 0, of: 3, anything: false }), (4, nothing.to_owned()));
        let some = "Nothing is wrong in what matches the filter: 2 of 3 flows.";
        assert_eq!(narrowed(Left { flows: 2, of: 3, anything: true }), (0, some.to_owned()));
    }
}
