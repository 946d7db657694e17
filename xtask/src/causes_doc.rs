//! docs/causes.md: a page of the book written from the registry of causes, as `faultmap causes --json` tells it.

use crate::shell;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::process::Command;

const FILE: &str = "docs/causes.md";
const SCHEMA: &str = "faultmap.causes/1";
/// ISO/IEC 7498-1.
const LAYERS: [(&str, &str); 7] = [
    ("L1", "Physical"),
    ("L2", "Data link"),
    ("L3", "Network"),
    ("L4", "Transport"),
    ("L5", "Session"),
    ("L6", "Presentation"),
    ("L7", "Application"),
];

/// Writes the page.
pub(crate) fn write() -> Result<()> {
    shell::run(shell::cargo().args(["build", "--package", "faultmap", "--locked"]))?;
    std::fs::write(FILE, page(&ask()?)?).with_context(|| format!("write {FILE}"))?;
    eprintln!("wrote {FILE}");
    Ok(())
}

/// Fails when the page is not what would be written now. Expects the program to be built.
pub(crate) fn check() -> Result<()> {
    let fresh = page(&ask()?)?;
    let stored = std::fs::read_to_string(FILE).with_context(|| format!("read {FILE}"))?;
    if stored == fresh {
        return Ok(());
    }
    let differs = stored.lines().zip(fresh.lines()).position(|(old, new)| old != new);
    let line = differs.unwrap_or_else(|| stored.lines().count().min(fresh.lines().count())) + 1;
    bail!("{FILE} is stale from line {line} on: run `cargo xtask causes-doc`")
}

fn ask() -> Result<Value> {
    let said = shell::read(Command::new("target/debug/faultmap").args(["causes", "--json"]))?;
    serde_json::from_slice(&said).context("read the answer of faultmap causes --json")
}

fn page(registry: &Value) -> Result<String> {
    if registry["schema"] != SCHEMA {
        bail!("faultmap causes answers with schema {}, not {SCHEMA}", registry["schema"]);
    }
    let causes = registry["causes"].as_array().context("the registry lists no causes")?;
    let mut out = String::from("# Causes\n\n");
    let _ = writeln!(
        out,
        "Generated from the registry by `cargo xtask causes-doc`; not edited by hand. {} causes, lowest layer first. \
         `faultmap explain ID` prints the same in a terminal. In commands, words in braces stand for what the check found: \
         `{{host}}`, `{{ip}}`, `{{port}}`, `{{iface}}`, `{{gateway}}`.\n",
        causes.len()
    );
    contents(&mut out, causes)?;
    let mut layer = "";
    for cause in causes {
        let at = text(cause, "layer")?;
        if at != layer {
            layer = at;
            let name = LAYERS.iter().find(|(known, _)| *known == layer).map_or("", |(_, name)| name);
            let _ = writeln!(out, "\n## {layer} {name}");
        }
        one(&mut out, cause)?;
    }
    Ok(out)
}

fn contents(out: &mut String, causes: &[Value]) -> Result<()> {
    let _ = writeln!(out, "| id | in short |\n|---|---|");
    for cause in causes {
        let id = text(cause, "cause")?;
        let _ = writeln!(out, "| [`{id}`](#{}) | {} |", anchor(id), text(cause, "title")?.replace('|', "\\|"));
    }
    Ok(())
}

fn one(out: &mut String, cause: &Value) -> Result<()> {
    let _ = writeln!(out, "\n### {}\n", text(cause, "cause")?);
    let _ = writeln!(out, "**{}.** {}\n", capital(text(cause, "title")?), text(cause, "what")?);
    let _ = writeln!(out, "*What shows it.* {}\n", text(cause, "shows")?);
    let tools = cause["confirm"].as_array().map_or(&[][..], Vec::as_slice);
    if !tools.is_empty() {
        let _ = writeln!(out, "*Confirm it:*\n");
    }
    for tool in tools {
        let _ = writeln!(out, "- `{}` on {}: {}", text(tool, "run")?, place(text(tool, "on")?), text(tool, "why")?);
    }
    let fixes = cause["fix"].as_array().map_or(&[][..], Vec::as_slice);
    if !fixes.is_empty() {
        let _ = writeln!(out, "\n*Mend it:*\n");
    }
    for fix in fixes.iter().filter_map(Value::as_str) {
        let _ = writeln!(out, "- {fix}");
    }
    Ok(())
}

fn text<'v>(value: &'v Value, key: &str) -> Result<&'v str> {
    value[key].as_str().with_context(|| format!("a cause without {key}: {value}"))
}

fn place(on: &str) -> String {
    if on == "here" { "this host".to_owned() } else { on.to_owned() }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The anchor that Markdown renderers make of a heading: punctuation goes, hyphens stay.
fn anchor(id: &str) -> String {
    id.replace('.', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_shows_every_cause_under_its_layer() {
        let tool = json!({ "run": "ss -ltn", "on": "here", "why": "tells" });
        let cause = json!({ "cause": "l4.port-closed", "layer": "L4", "title": "nothing listens", "what": "W.", "shows": "S.",
            "confirm": [tool], "fix": ["Start it."] });
        let page = page(&json!({ "schema": SCHEMA, "causes": [cause] })).expect("a page");
        for part in [
            "## L4 Transport",
            "### l4.port-closed",
            "(#l4port-closed)",
            "**Nothing listens.** W.",
            "- `ss -ltn` on this host: tells",
            "- Start it.",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
