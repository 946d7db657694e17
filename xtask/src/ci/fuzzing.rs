//! Fuzzing for every parser of bytes from outside: by libFuzzer, guided by coverage, where a C++ compiler can build it;
//! else by blind mutation of the seeds. Both run on the stable compiler.

use super::Outcome;
use crate::shell;
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Seconds of each core that the targets share, so that a new target does not make the whole longer.
const BUDGET: u64 = 180;
/// The least and the most that a target gets of it; `FAULTMAP_FUZZ_SECONDS` sets the seconds of each target instead.
const SHARE: std::ops::RangeInclusive<u64> = 10..=60;
/// Coverage counters that libFuzzer reads; each is a stable option of rustc that hands a stable pass to LLVM.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table";
/// Instrumented code shares nothing with other builds.
const BUILD: &str = "target/libfuzzer";
/// Inputs found in earlier runs on this machine.
const CORPUS: &str = "target/fuzz-corpus";
/// What a parser of one message may use and take; a head of 256 KiB or a chain of certificates takes milliseconds and a few megabytes.
const LIMITS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=512", "-max_len=65536"];

pub(super) fn run() -> Result<Outcome> {
    if !Path::new("fuzz/Cargo.toml").is_file() {
        return Ok(Outcome::Skipped("there is no fuzz package".to_owned()));
    }
    let targets = targets()?;
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let asked = std::env::var("FAULTMAP_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = asked.unwrap_or_else(|| share(targets.len(), at_once));
    let guided = shell::works("c++", &["--version"]);
    let folder = build(guided)?;
    let queue = Mutex::new(targets.iter().cloned().collect::<VecDeque<String>>());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(target) = pop(&queue) {
                    if let Err(error) = fuzz(&target, &folder, guided, seconds) {
                        failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(format!("{error:#}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    let how = if guided { "by libFuzzer" } else { "by blind mutation: there is no C++ compiler to build libFuzzer with" };
    Ok(Outcome::Passed(format!("{} targets, {seconds} s each, {how}", targets.len())))
}

/// Seconds for each of so many targets.
fn share(targets: usize, at_once: usize) -> u64 {
    let (targets, at_once) = (targets.max(1) as u64, at_once as u64);
    (BUDGET * at_once / targets).clamp(*SHARE.start(), *SHARE.end())
}

fn pop(queue: &Mutex<VecDeque<String>>) -> Option<String> {
    queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front()
}

/// One target is one file in `fuzz/targets`.
fn targets() -> Result<Vec<String>> {
    let entries = std::fs::read_dir("fuzz/targets").context("read fuzz/targets")?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Builds every target; gives the folder of the programs.
fn build(guided: bool) -> Result<PathBuf> {
    let host = host_triple()?;
    let mut cargo = shell::cargo();
    cargo.args(["build", "--manifest-path", "fuzz/Cargo.toml", "--locked", "--bins"]);
    if !guided {
        shell::run(cargo.args(["--target-dir", "target"]))?;
        return Ok(PathBuf::from("target/debug"));
    }
    // A target triple keeps the flags away from build scripts and macros.
    shell::run(cargo.args(["--target", &host, "--target-dir", BUILD]).env("RUSTFLAGS", INSTRUMENTED))?;
    Ok(Path::new(BUILD).join(host).join("debug"))
}

fn host_triple() -> Result<String> {
    let said = shell::read(Command::new("rustc").arg("-vV"))?;
    let said = String::from_utf8_lossy(&said);
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

fn fuzz(target: &str, folder: &Path, guided: bool, seconds: u64) -> Result<()> {
    let log = Path::new(CORPUS).join(format!("{target}.log"));
    let corpus = Path::new(CORPUS).join(target);
    std::fs::create_dir_all(&corpus).with_context(|| format!("make {}", corpus.display()))?;
    let mut command = Command::new(folder.join(target));
    if guided {
        let artifacts = format!("-artifact_prefix={CORPUS}/{target}-failed-");
        command.args(LIMITS).arg(artifacts).args([format!("-max_total_time={seconds}"), "-print_final_stats=1".to_owned()]);
        command.arg(&corpus).arg(Path::new("fuzz/seeds").join(target));
    } else {
        command.args(["--seconds", &seconds.to_string()]);
    }
    let out = std::fs::File::create(&log).with_context(|| format!("write {}", log.display()))?;
    let mut child: Child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .spawn()
        .with_context(|| format!("start the fuzz target {target}"))?;
    let status = child.wait().with_context(|| format!("wait for the fuzz target {target}"))?;
    let said = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
    eprintln!("{target}: {}", summary(&said));
    if !status.success() {
        let last: Vec<&str> = said.lines().rev().take(30).collect();
        bail!("fuzz target {target} failed; the input is in {CORPUS}\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

/// What a run says of itself at its end.
fn summary(said: &str) -> String {
    let stat = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))?;
        Some(line.trim_start_matches(':').trim().to_owned())
    };
    match (stat("number_of_executed_units"), stat("new_units_added"), stat("peak_rss_mb")) {
        (Some(runs), Some(new), Some(peak)) => format!("{runs} inputs, {new} of them reached new code, at most {peak} MB"),
        _ => said.lines().last().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_libfuzzers_own() {
        let said =
            "Done 12 runs\nstat::number_of_executed_units: 12\nstat::new_units_added:          3\nstat::peak_rss_mb:              29\n";
        assert_eq!(summary(said), "12 inputs, 3 of them reached new code, at most 29 MB");
        assert_eq!(summary("frame: 99 inputs"), "frame: 99 inputs");
    }

    #[test]
    fn many_targets_share_what_few_need_not() {
        assert_eq!([share(1, 2), share(13, 2), share(30, 2), share(1000, 2)], [60, 27, 12, 10]);
        assert_eq!(share(0, 1), 60);
    }
}
