//! A folder in place of a file: the captures that it holds, in the order in which they were written. It opens no capture.

use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};

/// How the names of captures end, before a number of tcpdump's -C and what they are packed with.
const ENDINGS: [&str; 3] = [".pcap", ".pcapng", ".cap"];
const PACKED: [&str; 2] = [".gz", ".zst"];

/// The same paths, with folders replaced by what is in them.
pub(super) fn opened(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut opened = Vec::with_capacity(paths.len());
    for path in paths {
        if path.is_dir() {
            opened.extend(captures(path)?);
        } else {
            opened.push(path.clone());
        }
    }
    Ok(opened)
}

fn captures(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_capture(&name) && entry.path().is_file() {
            names.push(name);
        }
    }
    if names.is_empty() {
        bail!("the folder {} holds no captures: files that end in .pcap, .pcapng or .cap, also .gz or .zst", folder.display());
    }
    names.sort_by_cached_key(|name| ordered(name));
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Hidden files are those that are being written.
fn is_capture(name: &str) -> bool {
    let plain = PACKED.iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(name);
    let plain = plain.trim_end_matches(|c: char| c.is_ascii_digit());
    !name.starts_with('.') && ENDINGS.iter().any(|ending| plain.ends_with(ending))
}

/// Numbers in names count as numbers: `x.pcap2` was written before `x.pcap10`.
fn ordered(name: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(text);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        parts.push((u64::MAX, word.to_owned()));
        parts.push((number.parse().unwrap_or(0), number.to_owned()));
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_known_by_their_names() {
        for name in ["a.pcap", "a.pcapng", "a.cap", "a.pcap.gz", "ring.pcap12", "day.pcapng.zst"] {
            assert!(is_capture(name), "{name}");
        }
        for name in ["notes.txt", "pcap", "a.pcap.txt", ".a.pcapng.77.tmp", ".hidden.pcap", "a.gz"] {
            assert!(!is_capture(name), "{name}");
        }
    }

    #[test]
    fn files_of_a_rotation_are_read_in_the_order_of_their_numbers() {
        let mut names = ["x.pcap10", "x.pcap2", "x.pcap1", "faultmap-000011.pcapng", "faultmap-000002.pcapng"];
        names.sort_by_cached_key(|name| ordered(name));
        assert_eq!(names, ["faultmap-000002.pcapng", "faultmap-000011.pcapng", "x.pcap1", "x.pcap2", "x.pcap10"]);
    }
}
