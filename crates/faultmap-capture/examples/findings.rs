//! The analysis alone over a capture file, for measurements of the library and for profiles: `findings FILE`, or `-` for the standard input. Reads, follows
//! and judges as `faultmap capture` does, without its screen, and prints one line; on one core (`taskset -c 0`) all of it stays in one thread.

use faultmap_capture::analysis::{Analysis, Limits};
use faultmap_capture::file::{Files, Notes};
use faultmap_capture::keys::Keys;
use faultmap_capture::pipeline::Pipeline;
use faultmap_capture::report::Report;
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: findings FILE")?;
    let (files, mut analysis) = (Files::new(&[path]), Analysis::new(Limits::default()));
    let alone = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let (packets, notes) = if alone { one_core(files, &mut analysis)? } else { two_cores(files, &mut analysis)? };
    let outcome = analysis.finish();
    let report = Report::new(&outcome, Vec::new(), &notes, false);
    let (flows, findings) = (outcome.totals.flows, outcome.findings.len());
    writeln!(io::stdout(), "{packets} packets, {flows} flows, {findings} findings: {}", report.verdict.summary)?;
    Ok(())
}

fn one_core(mut files: Files, analysis: &mut Analysis) -> Result<(u64, Notes), Box<dyn Error>> {
    while let Some(packet) = files.next()? {
        analysis.packet(&packet);
    }
    Ok((files.packets(), files.notes().clone()))
}

fn two_cores(files: Files, analysis: &mut Analysis) -> Result<(u64, Notes), Box<dyn Error>> {
    let mut pipeline = Pipeline::begin(files, analysis, Keys::default())?;
    while pipeline.next(analysis)?.is_some() {}
    Ok((pipeline.packets(), pipeline.notes().cloned().unwrap_or_default()))
}
