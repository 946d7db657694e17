//! The file of `--history`: what was how full, and when, one line a sample. Bounded; it never loses what it has.
//!
//! A line that cannot be read (cut off by a kill, written by another version) is passed over. Several writers take turns (flock).

use anyhow::{Context as _, bail};
use faultmap_model::host::{HistoryPoint, HostReport};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// From here on the older half of the file goes.
const LIMIT: u64 = 8 << 20;
/// Longest line that is read.
const LINE_LIMIT: u64 = 1 << 20;
/// Points that are kept in memory: as many as a forecast uses.
const MOST_POINTS: usize = 600;
/// Readings of a point; a host with more has them in containers, which have forecasts of their own.
const MOST_READINGS: usize = 200;
/// Times that a file may be replaced by others while we wait for it.
const TRIES: usize = 10;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    unix_ms: u64,
    /// Of which host and namespace: a file may hold several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<u64>,
    percents: BTreeMap<String, f64>,
}

/// The points of this run, and those of the file.
pub(super) struct History {
    path: Option<PathBuf>,
    points: Vec<HistoryPoint>,
    whose: Option<(Option<String>, Option<u64>)>,
}

impl History {
    /// Opens the file for both reading and writing, so that what cannot work is told before the first sample.
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = path {
            if path.is_dir() {
                bail!("--history {}: it is a folder; give it a file", path.display());
            }
            open_for_append(path).with_context(|| cannot(path))?;
        }
        Ok(Self { path: path.map(Path::to_owned), points: Vec::new(), whose: None })
    }

    /// What was, for the forecast: the points of this host and namespace.
    pub(super) fn points(&mut self, hostname: Option<&str>, namespace: Option<u64>) -> &[HistoryPoint] {
        let whose = (hostname.map(str::to_owned), namespace);
        if self.whose.as_ref() != Some(&whose) {
            self.points = self.path.as_deref().map(|path| read(path, &whose)).unwrap_or_default();
            self.whose = Some(whose);
        }
        &self.points
    }

    /// Keeps a point for the forecasts to come.
    pub(super) fn remember(&mut self, report: &HostReport) {
        if self.points.len() >= MOST_POINTS {
            self.points.drain(..=self.points.len() - MOST_POINTS);
        }
        self.points.push(point(report));
    }

    /// Appends a point to the file, if there is one.
    pub(super) fn write(&self, report: &HostReport) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let HistoryPoint { unix_ms, percents } = point(report);
        let entry = Entry { unix_ms, hostname: report.hostname.clone(), namespace: report.namespace, percents };
        let mut line = serde_json::to_vec(&entry).context("cannot write a point of the history")?;
        line.push(b'\n');
        append(path, &line).with_context(|| cannot(path))
    }
}

fn cannot(path: &Path) -> String {
    format!("cannot write the history {}", path.display())
}

/// With three decimals, and bounded.
fn point(report: &HostReport) -> HistoryPoint {
    let mut point = report.point();
    if point.percents.len() > MOST_READINGS {
        let mut fullest: Vec<(String, f64)> = std::mem::take(&mut point.percents).into_iter().collect();
        fullest.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        fullest.truncate(MOST_READINGS);
        point.percents = fullest.into_iter().collect();
    }
    point.percents.values_mut().for_each(|percent| *percent = (*percent * 1e3).round() / 1e3);
    point
}

/// The last points of the file, oldest first; the tail of a file that is larger than ours ever are.
fn read(path: &Path, whose: &(Option<String>, Option<u64>)) -> Vec<HistoryPoint> {
    let Ok(mut file) = File::open(path) else { return Vec::new() };
    let regular = file.metadata().ok().filter(fs::Metadata::is_file);
    let Some(length) = regular.map(|about| about.len()) else { return Vec::new() };
    if length > LIMIT && file.seek(SeekFrom::Start(length - LIMIT)).is_err() {
        return Vec::new();
    }
    let mut points = Vec::new();
    let mut lines = BufReader::new(file.take(LIMIT));
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(LINE_LIMIT).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
        let Ok(entry) = serde_json::from_slice::<Entry>(&line) else { continue };
        if (&entry.hostname, &entry.namespace) == (&whose.0, &whose.1) {
            points.push(HistoryPoint { unix_ms: entry.unix_ms, percents: entry.percents });
        }
        if points.len() > 2 * MOST_POINTS {
            points.drain(..MOST_POINTS);
        }
    }
    points.sort_by_key(|point| point.unix_ms);
    points.drain(..points.len().saturating_sub(MOST_POINTS));
    points
}

fn open_for_append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// One whole line at the end, or nothing. What is no ordinary file is only written to.
fn append(path: &Path, line: &[u8]) -> anyhow::Result<()> {
    let mut file = locked(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok(file.write_all(line)?);
    }
    if about.len() + line.len() as u64 > LIMIT {
        // The lock is on the old file; whoever waits for it sees that the name has gone to another.
        return super::super::file::replace(path, &newer_half(path, line)?);
    }
    let begin: &[u8] = if ends_whole(path, about.len())? { b"" } else { b"\n" };
    let written = file.write_all(&[begin, line].concat()).and_then(|()| file.flush());
    if let Err(error) = written {
        // A full disk may have taken a part: what was there before stays as it was.
        let _ = file.set_len(about.len());
        return Err(error.into());
    }
    Ok(())
}

/// The file behind the name, ours alone until it is dropped.
fn locked(path: &Path) -> anyhow::Result<Flock<File>> {
    for _ in 0..TRIES {
        let file = open_for_append(path)?;
        let file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| std::io::Error::from(errno))?;
        let same =
            fs::metadata(path).is_ok_and(|named| file.metadata().is_ok_and(|ours| (named.dev(), named.ino()) == (ours.dev(), ours.ino())));
        if same {
            return Ok(file);
        }
    }
    bail!("others replace it all the time")
}

fn ends_whole(path: &Path, length: u64) -> std::io::Result<bool> {
    let mut last = [b'\n'];
    if length > 0 {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
    }
    Ok(last == *b"\n")
}

/// The whole lines of the last half of the limit, and the new one.
fn newer_half(path: &Path, line: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LIMIT / 2)))?;
    let mut bytes = Vec::new();
    file.take(LIMIT / 2).read_to_end(&mut bytes)?;
    let first = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |place| place + 1);
    bytes.drain(..first);
    if bytes.last().is_some_and(|byte| *byte != b'\n') {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("faultmap-history-{}-{name}", std::process::id()))
    }

    fn line(unix_ms: u64, hostname: &str, fill: usize) -> Vec<u8> {
        let percents = (0..fill).map(|number| (format!("reading {number:08}"), 50.0)).collect();
        let entry = Entry { unix_ms, hostname: Some(hostname.to_owned()), namespace: Some(1), percents };
        let mut line = serde_json::to_vec(&entry).expect("JSON");
        line.push(b'\n');
        line
    }

    #[test]
    fn points_of_other_hosts_and_broken_lines_are_passed_over() {
        let path = scratch("mixed");
        let mut text = line(2, "a", 1);
        text.extend(line(1, "a", 1));
        text.extend(line(3, "b", 1));
        text.extend(b"not JSON\n{\"unix_ms\":4,\n");
        text.extend(&line(5, "a", 1)[..20]);
        fs::write(&path, &text).expect("written");
        let times = |path: &Path| read(path, &(Some("a".to_owned()), Some(1))).iter().map(|point| point.unix_ms).collect::<Vec<_>>();
        assert_eq!(times(&path), [1, 2]);
        // The line that was cut off does not spoil the next one.
        append(&path, &line(6, "a", 1)).expect("appended");
        assert_eq!(times(&path), [1, 2, 6]);
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_full_file_keeps_its_newer_half() {
        let path = scratch("full");
        fs::write(&path, b"").expect("written");
        let mut at = 0;
        loop {
            at += 1;
            let before = fs::metadata(&path).expect("there").len();
            append(&path, &line(at, "a", 4_000)).expect("appended");
            let after = fs::metadata(&path).expect("there").len();
            assert!(after <= LIMIT);
            if after < before {
                break;
            }
        }
        let kept = read(&path, &(Some("a".to_owned()), Some(1)));
        assert_eq!(kept.last().map(|point| point.unix_ms), Some(at));
        assert!(kept.len() as u64 > at / 3, "{} of {at}", kept.len());
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_device_that_is_full_is_an_error() {
        assert!(append(Path::new("/dev/full"), &line(1, "a", 1)).is_err());
        assert!(append(Path::new("/dev/null"), &line(1, "a", 1)).is_ok());
    }
}
