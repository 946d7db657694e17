//! Whatever happens to a capture file on its way, as `editcap` would do it (bytes changed, packets lost, doubled, swapped, cut short, times moved), its analysis
//! ends within its bounds and tells nothing that cannot be printed. The recordings of the lab are always changed; those of others where FAULTMAP_CAPTURES names them.

use crate::common;
use faultmap_capture::analysis::{Analysis, Limits, Outcome};
use faultmap_capture::file::Files;
use faultmap_capture::packet::{Captured, PacketNo, Stamp};
use faultmap_capture::report::Report;
use faultmap_wire::dissect::LinkType;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Packets of each file that are changed; the largest have far more of the same.
const MOST_PACKETS: usize = 1500;
/// So tight that every file hits some of them.
const TIGHT: Limits = Limits { max_flows: 8, max_records: 16, max_findings: 32, max_waiting_of_flow: 4096, max_waiting: 16_384 };

/// A packet as it is changed.
#[derive(Clone)]
struct Record {
    at: i64,
    link: LinkType,
    wire_len: u32,
    bytes: Vec<u8>,
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same changes at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True once in so many times.
    fn one_in(&mut self, times: u64) -> bool {
        self.roll().is_multiple_of(times)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }
}

/// One way of changing a capture.
type Change = fn(&mut Vec<Record>, &mut Dice);

const CHANGES: &[(&str, Change)] = &[
    ("a byte in a hundred is another", |records, dice| bytes(records, dice, 100)),
    ("a byte in a thousand is another", |records, dice| bytes(records, dice, 1000)),
    ("packets are cut short", |records, dice| {
        for record in records {
            let keep = dice.below(record.bytes.len() + 1);
            record.bytes.truncate(keep);
        }
    }),
    ("bytes are taken out of the middle", |records, dice| {
        for record in records.iter_mut().filter(|record| record.bytes.len() > 1) {
            let from = dice.below(record.bytes.len());
            let to = from + dice.below(record.bytes.len() - from);
            record.bytes.drain(from..to);
        }
    }),
    ("packets are lost", |records, dice| records.retain(|_| !dice.one_in(5))),
    ("packets come twice", |records, dice| {
        *records = records.iter().flat_map(|record| std::iter::repeat_n(record, 1 + usize::from(dice.one_in(3)))).cloned().collect();
    }),
    ("packets come in another order", |records, dice| {
        for place in 1..records.len() {
            let other = place - dice.below(place.min(6) + 1);
            records.swap(place, other);
        }
    }),
    ("times are any", |records, dice| records.iter_mut().for_each(|record| record.at = dice.roll().cast_signed())),
    ("links are any", |records, dice| {
        for record in records {
            if dice.one_in(4) {
                record.link = LinkType(dice.below(300) as u32);
            }
        }
    }),
    ("lengths on the wire are any", |records, dice| records.iter_mut().for_each(|record| record.wire_len = dice.roll() as u32)),
];

fn bytes(records: &mut [Record], dice: &mut Dice, one_in: u64) {
    for byte in records.iter_mut().flat_map(|record| &mut record.bytes) {
        if dice.one_in(one_in) {
            *byte = dice.roll() as u8;
        }
    }
}

fn read(path: &Path) -> Vec<Record> {
    let (mut files, mut records) = (Files::new(&[path.to_owned()]), Vec::new());
    while records.len() < MOST_PACKETS {
        match files.next() {
            Ok(Some(packet)) => {
                records.push(Record { at: packet.at.0, link: packet.link, wire_len: packet.wire_len, bytes: packet.bytes.to_vec() });
            }
            Ok(None) => break,
            // What stands before the damage is enough.
            Err(_) => {}
        }
    }
    records
}

fn analyse(records: &[Record], limits: Limits) -> Outcome {
    let mut analysis = Analysis::new(limits);
    for (place, record) in records.iter().enumerate() {
        let Record { at, link, wire_len, ref bytes } = *record;
        analysis.packet(&Captured { number: PacketNo(place as u64 + 1), at: Stamp(at), link, wire_len, bytes });
        assert!(analysis.open_flows() <= limits.max_flows);
    }
    analysis.finish()
}

/// The analysis ends within its bounds, and its report can be printed.
fn check(name: &str, records: &[Record]) {
    for limits in [Limits::default(), TIGHT] {
        let outcome = analyse(records, limits);
        assert!(outcome.flows.len() <= limits.max_records && outcome.findings.len() <= limits.max_findings, "{name}: a bound is exceeded");
        let report = Report::new(&outcome, Vec::new(), &Default::default(), false);
        let texts = report
            .groups
            .iter()
            .flat_map(|group| [&group.party, &group.summary])
            .chain(report.findings.iter().map(|finding| &finding.text));
        let bad = texts.chain([&report.verdict.summary]).find(|text| text.chars().any(char::is_control));
        assert!(bad.is_none(), "{name}: {bad:?} cannot be printed");
        assert!((0.0..=1.0).contains(&report.verdict.confidence), "{name}: a confidence of {}", report.verdict.confidence);
    }
}

/// Files of a folder and the folders in it.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let (mut folders, mut found) = (VecDeque::from([folder]), Vec::new());
    while let Some(folder) = folders.pop_front() {
        for path in std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() { folders.push_back(path) } else { found.push(path) }
        }
    }
    assert!(!found.is_empty(), "there is nothing to change");
    found.sort();
    found
}

fn change_all(folder: PathBuf) {
    for path in files(folder) {
        let whole = read(&path);
        for (seed, (how, change)) in CHANGES.iter().enumerate() {
            let mut records = whole.clone();
            change(&mut records, &mut Dice(seed as u64));
            check(&format!("{}: {how}", path.display()), &records);
        }
    }
}

#[test]
fn changed_recordings_of_the_lab_are_analysed_within_bounds() {
    change_all(common::lab());
}

#[test]
fn changed_captures_of_others_are_analysed_within_bounds() {
    if let Some(folder) = common::captures_of_others() {
        change_all(folder);
    }
}
