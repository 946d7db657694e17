//! Captures whose packets were cut (`tcpdump -s 96`): at whatever length, less is told, but nothing else. What is healthy stays so, and what is blamed is blamed
//! on the same layer, or left open.

use crate::common::{self, Segment};
use faultmap_capture::analysis::{Analysis, Limits};
use faultmap_capture::file::{Files, Notes};
use faultmap_capture::packet::{Captured, PacketNo};
use faultmap_capture::report::{Report, ShownVerdict};
use faultmap_model::verdict::Status;
use faultmap_wire::dissect::LinkType;
use faultmap_wire::{Ipv4, TcpFlags, proto};
use std::net::{Ipv4Addr, SocketAddrV4};
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

#[test]
fn a_reset_after_a_question_that_was_cut_off_may_be_one_of_tls() {
    let (client, server) = (SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 40_000), SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 2), 8443));
    let (ack, mut analysis) = (TcpFlags::ACK, Analysis::new(Limits::default()));
    let story = [
        (true, TcpFlags::SYN, (0, 0), 0),
        (false, TcpFlags::SYN.with(ack), (0, 1), 0),
        (true, ack, (1, 1), 0),
        (true, ack, (1, 1), 300),
        (false, TcpFlags::RST.with(ack), (1, 301), 0),
    ];
    for (n, (asks, flags, numbers, len)) in (1..).zip(story) {
        let (from, to) = if asks { (client, server) } else { (server, client) };
        let segment = Segment::new(flags, numbers, len).emit(from, to);
        let packet = Ipv4 { id: n as u16, ..Ipv4::new(*from.ip(), *to.ip(), proto::TCP) }.emit(&segment);
        let bytes = packet.get(..40).unwrap_or(&packet);
        let link = LinkType::RAW;
        analysis.packet(&Captured { number: PacketNo(n), at: common::at(n as f64 * 10.0), link, wire_len: packet.len() as u32, bytes });
    }
    let verdict = Report::new(&analysis.finish(), Vec::new(), &Notes::default(), false).verdict;
    let causes: Vec<&str> = verdict.candidates.iter().map(|candidate| candidate.cause.as_str()).collect();
    assert_eq!((verdict.status, &causes[..]), (Status::Inconclusive, &["l5.closed-without-answer", "l6.tls-handshake-failed"][..]));
}
