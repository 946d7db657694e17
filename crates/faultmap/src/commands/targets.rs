//! Which targets: those on the command line, and those of `--targets`. It parses none of them.

use crate::cli::{Every, Many, without_credentials};
use crate::terminal;
use anyhow::{Context as _, bail};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Largest list that is read.
const LIST_LIMIT: u64 = 1 << 20;
/// Most targets of one run.
const MOST_TARGETS: usize = 10_000;

/// A target as written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) text: String,
    /// File and line, when it comes from a list.
    pub(super) place: Option<String>,
}

/// All of them, in order, each once.
pub(super) fn all(given: &[String], many: &Many) -> anyhow::Result<Vec<Written>> {
    let after_watch = match &many.watch {
        Some(Every::Target(text)) => Some(text),
        _ => None,
    };
    let mut all: Vec<Written> = after_watch.into_iter().chain(given).map(|text| Written { text: text.clone(), place: None }).collect();
    if let Some(path) = &many.list {
        let (name, text) = read(path)?;
        let listed = parse(&name, &text);
        if listed.is_empty() {
            bail!("no target in {name}: write one a line");
        }
        all.extend(listed);
    }
    if all.is_empty() {
        bail!("no target; write faultmap check TARGET");
    }
    let repeated = once_each(&mut all);
    if let Some(first) = repeated.first() {
        let shown = if first.contains('@') { without_credentials(first) } else { first.clone() };
        let more = if repeated.len() > 1 { format!(" and {} more", repeated.len() - 1) } else { String::new() };
        terminal::say(&format!("faultmap: {shown}{more} given more than once; each is checked once\n"));
    }
    if all.len() > MOST_TARGETS {
        bail!("{} targets are more than the {MOST_TARGETS} that one run checks", all.len());
    }
    Ok(all)
}

fn read(path: &Path) -> anyhow::Result<(String, String)> {
    let stdin = path == Path::new("-");
    let name = if stdin { "the list on stdin".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if stdin {
        io::stdin().lock().take(LIST_LIMIT + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(LIST_LIMIT + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read the targets from {name}"))?;
    if bytes.len() as u64 > LIST_LIMIT {
        bail!("{name} is larger than 1 MiB; not a list of targets");
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow::anyhow!("{name} line {line} is not UTF-8 text; a list has one target a line")
    })?;
    Ok((name, text))
}

/// One a line; `#` at the start of a word begins a comment (within a URL it begins the fragment).
fn parse(name: &str, text: &str) -> Vec<Written> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = |(number, line): (usize, &str)| {
        let comment = line.char_indices().find(|(at, c)| *c == '#' && line[..*at].chars().next_back().is_none_or(char::is_whitespace));
        let target = line[..comment.map_or(line.len(), |(at, _)| at)].trim();
        (!target.is_empty()).then(|| Written { text: target.to_owned(), place: Some(format!("{name} line {number}")) })
    };
    (1..).zip(text.lines()).filter_map(line).collect()
}

/// Removes repeats; gives those that were removed.
fn once_each(all: &mut Vec<Written>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    let mut repeated = Vec::new();
    all.retain(|written| {
        let fresh = seen.insert(written.text.clone());
        if !fresh && !repeated.contains(&written.text) {
            repeated.push(written.text.clone());
        }
        fresh
    });
    repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_one_target_a_line_with_comments_and_empty_lines() {
        let text = "\u{feff}shop.test\r\n\n  # all of these are ours\ndb.test:5432   # the old one\n\thttps://a.test/#top\n#\n";
        let found: Vec<(String, String)> = parse("list", text).into_iter().map(|w| (w.text, w.place.unwrap_or_default())).collect();
        let expect = [("shop.test", "list line 1"), ("db.test:5432", "list line 4"), ("https://a.test/#top", "list line 5")];
        assert_eq!(found, expect.map(|(text, place)| (text.to_owned(), place.to_owned())));
    }

    #[test]
    fn a_target_that_is_listed_twice_is_checked_once() {
        let mut all = parse("list", "a\nb\na\na\n");
        assert_eq!(once_each(&mut all), ["a"]);
        assert_eq!(all.len(), 2);
    }
}
