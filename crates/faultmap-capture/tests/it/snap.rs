//! Captures whose packets were cut (`tcpdump -s 96`): at whatever length, less is told, but nothing else. What is healthy stays so, and what is blamed is blamed
//! on the same layer, or left open.

use faultmap_capture::analysis::{Analysis, Limits};
use faultmap_capture::file::Files;
use faultmap_capture::packet::Captured;
use faultmap_capture::report::{Report, ShownVerdict};
use faultmap_model::verdict::Status;
use std::path::{Path, PathBuf};

/// Bytes of each packet that are left: of its payload none, a word, a line, a head.
const LENGTHS: [usize; 12] = [54, 60, 66, 70, 74, 82, 90, 96, 112, 128, 160, 200];

/// The verdict on the first `length` bytes of each packet.
fn judged(path: &Path, length: usize) -> ShownVerdict {
    let (mut files, mut analysis) = (Files::new(&[path.to_owned()]), Analysis::new(Limits::default()));
    while let Ok(Some(packet)) = files.next() {
        let bytes = packet.bytes.get(..length).unwrap_or(packet.bytes);
        analysis.packet(&Captured { bytes, ..packet });
    }
    Report::new(&analysis.finish(), Vec::new(), files.notes(), false).verdict
}

/// What a cut makes of a verdict that it must not.
fn wrong(whole: &ShownVerdict, cut: &ShownVerdict) -> Option<String> {
    let told = format!("{:?} {:?} became {:?} {:?}: {}", whole.status, whole.cause, cut.status, cut.cause, cut.summary);
    let open = cut.status == Status::Inconclusive && cut.candidates.iter().any(|candidate| Some(candidate.layer) == whole.layer);
    match (whole.status, cut.status) {
        (_, Status::Healthy) => None,
        (Status::Healthy, _) => Some(told),
        _ => (cut.layer != whole.layer && !open).then_some(told),
    }
}

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab");
    let mut paths: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no recordings");
    paths
}

#[test]
fn a_cut_takes_verdicts_away_and_adds_none() {
    let mut found = Vec::new();
    for path in recordings() {
        let whole = judged(&path, usize::MAX);
        let cuts = LENGTHS.iter().filter_map(|length| wrong(&whole, &judged(&path, *length)).map(|told| (length, told)));
        found.extend(cuts.map(|(length, told)| format!("{} at {length}: {told}", path.display())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_classic_96_bytes_still_show_most_faults() {
    let faulty: Vec<PathBuf> = recordings().into_iter().filter(|path| path.to_string_lossy().contains(".faulty.")).collect();
    let named = faulty.iter().filter(|path| judged(path, 96).status != Status::Healthy).count();
    assert!(named * 10 >= faulty.len() * 6, "{named} of {}", faulty.len());
}
