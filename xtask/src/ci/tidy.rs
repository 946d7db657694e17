//! Habits that no lint of clippy knows: every source file opens by saying what it answers, nothing unfinished is left in,
//! files stay readable, and links between documents lead somewhere.

use super::Outcome;
use crate::workspace;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// A file longer than this is split, or says why not: a line `// tidy: long, because …` among the first twenty.
const LONGEST_FILE: usize = 800;
const EXCUSE: &str = "// tidy: long, because ";
/// ARCHITECTURE.md is read in one sitting.
const LONGEST_ARCHITECTURE: usize = 200;
/// What only unfinished code holds. Cut in two, so that this file does not hold it.
const UNFINISHED: [&str; 3] = [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("db", "g!")];

pub(super) fn run() -> Result<Outcome> {
    let mut wrong = Vec::new();
    let sources = workspace::files(Path::new("."), "rs")?;
    for path in &sources {
        wrong.extend(source_faults(&read(path)?).into_iter().map(|fault| format!("{}: {fault}", shown(path))));
    }
    let documents = workspace::files(Path::new("."), "md")?;
    for path in &documents {
        wrong.extend(dead_links(path, &read(path)?).into_iter().map(|link| format!("{}: {link} leads nowhere", shown(path))));
    }
    let lines = read(Path::new("ARCHITECTURE.md"))?.lines().count();
    if lines >= LONGEST_ARCHITECTURE {
        wrong.push(format!("ARCHITECTURE.md: {lines} lines; it stays under {LONGEST_ARCHITECTURE}"));
    }
    wrong.extend(clippy_settings()?);
    if wrong.is_empty() {
        return Ok(Outcome::Passed(format!("{} sources, {} documents", sources.len(), documents.len())));
    }
    bail!("{} untidy places\n{}", wrong.len(), wrong.join("\n"))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

fn source_faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.lines().next().is_some_and(|line| line.starts_with("//! ")) {
        faults.push("the first line must be `//!` with what the file answers".to_owned());
    }
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if let Some(found) = UNFINISHED.iter().find(|word| holds_macro(code, word)) {
            faults.push(format!("line {}: {found} is left in", number + 1));
        }
    }
    let lines = text.lines().count();
    let excused = text.lines().take(20).any(|line| line.trim_start().starts_with(EXCUSE));
    if lines > LONGEST_FILE && !excused {
        faults.push(format!("{lines} lines; split it at {LONGEST_FILE}, or excuse it near the top with `{EXCUSE}…`"));
    }
    faults
}

/// The macro itself, not one whose name ends like it.
fn holds_macro(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Relative link targets of a document that do not exist.
fn dead_links(document: &Path, text: &str) -> Vec<String> {
    let folder = document.parent().map_or_else(PathBuf::new, Path::to_owned);
    let leads_nowhere = |link: &String| {
        let file = link.split('#').next().unwrap_or_default();
        !file.is_empty() && !folder.join(file).exists()
    };
    links(text).into_iter().filter(leads_nowhere).collect()
}

/// Targets of `[text](target)` outside code, without those that go to the network.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned());
        found.extend(targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")));
    }
    found
}

/// The nearest clippy.toml wins whole: one of a crate must repeat the settings of the root.
fn clippy_settings() -> Result<Vec<String>> {
    let root = read(Path::new("clippy.toml"))?;
    let mut wrong = Vec::new();
    for path in workspace::files(Path::new("crates"), "toml")? {
        if path.file_name().is_none_or(|name| name != "clippy.toml") {
            continue;
        }
        let own = read(&path)?;
        let missing = root.lines().filter(|line| line.contains('=')).find(|line| !own.lines().any(|other| other == *line));
        if let Some(line) = missing {
            wrong.push(format!("{}: must repeat `{line}` of the root's clippy.toml, which it hides", shown(&path)));
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        let found = source_faults(text);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{found}");
        }
    }

    #[test]
    fn a_file_opens_with_what_it_answers() {
        check("//! Answers nothing.\nfn f() {}\n", &[]);
        check("fn f() {}\n", &["first line"]);
        check("", &["first line"]);
    }

    #[test]
    fn unfinished_code_is_found_but_not_in_comments_nor_in_longer_names() {
        check(&format!("//! A.\n    {}()\n", UNFINISHED[0]), &["line 2"]);
        check(&format!("//! A.\n// {}()\nmy_{}(1)\n", UNFINISHED[0], UNFINISHED[2]), &[]);
    }

    #[test]
    fn a_long_file_needs_an_excuse() {
        let long = "//! A.\n".to_owned() + &"\n".repeat(LONGEST_FILE);
        check(&long, &["lines; split"]);
        check(&long.replacen('\n', &format!("\n{EXCUSE}it is a list.\n"), 1), &[]);
    }

    #[test]
    fn links_are_looked_for_in_prose_only() {
        let text = "See [a](docs/a.md#top) and `[b](b.md)`, [c](https://c.example).\n```\n[d](d.md)\n```\n";
        assert_eq!(links(text), ["docs/a.md#top"]);
    }
}
