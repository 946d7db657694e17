//! The analysis alone over a capture file, for measurements of the library and for profiles: `findings FILE`, or `-` for the standard input. Reads,
//! follows and judges as `faultmap capture` does, without its screen, and prints one line.

use faultmap_capture::analysis::{Analysis, Limits};
use faultmap_capture::file::Files;
use faultmap_capture::report::Report;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: findings FILE")?;
    let (mut files, mut analysis) = (Files::new(&[path]), Analysis::new(Limits::default()));
    while let Some(packet) = files.next()? {
        analysis.packet(&packet);
    }
    let packets = files.packets();
    let outcome = analysis.finish();
    let report = Report::new(&outcome, Vec::new(), files.notes(), false);
    let (flows, findings) = (outcome.totals.flows, outcome.findings.len());
    writeln!(io::stdout(), "{packets} packets, {flows} flows, {findings} findings: {}", report.verdict.summary)?;
    Ok(())
}
