//! Does every dependency have a licence that lets everybody use faultmap? Judged from `cargo metadata`; where cargo-deny is
//! installed it is asked as well. It reads licence expressions, not licence texts.

use super::Outcome;
use crate::{shell, workspace};
use anyhow::{Result, bail};
use std::path::PathBuf;

/// Licences that ask for no more than keeping a notice. The same list stands in deny.toml.
const PERMISSIVE: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(super) fn run() -> Result<Outcome> {
    let packages = workspace::packages()?;
    let mut wrong = Vec::new();
    for package in &packages {
        let fits = package.license.as_deref().is_some_and(permissive);
        if !fits {
            let licence = package.license.as_deref().unwrap_or("no licence that cargo knows");
            wrong.push(format!("{} {}: {licence}", package.name, package.version));
        }
    }
    let listed = listed_in_deny_toml()?;
    if let Some(missing) = PERMISSIVE.iter().find(|licence| !listed.contains(&format!("\"{licence}\""))) {
        wrong.push(format!("deny.toml does not allow {missing}, xtask/src/ci/licences.rs does"));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    let asked = if deny_installed() {
        shell::run(shell::cargo().args(["deny", "--offline", "check", "licenses", "bans", "sources"]))?;
        "cargo-deny agrees"
    } else {
        "cargo-deny is not installed"
    };
    Ok(Outcome::Passed(format!("{} packages; {asked}", packages.len())))
}

/// Known holes, from a database that is here already: CI must not depend on the network.
pub(super) fn advisories() -> Result<Outcome> {
    if !deny_installed() {
        return Ok(Outcome::Skipped("needs cargo-deny (cargo install cargo-deny) and its advisory database".to_owned()));
    }
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let here = |name: &str| cargo_home.as_ref().is_some_and(|home| home.join(name).is_dir());
    if !here("advisory-dbs") && !here("advisory-db") {
        return Ok(Outcome::Skipped("no advisory database here; `cargo deny fetch` brings it".to_owned()));
    }
    shell::run(shell::cargo().args(["deny", "--offline", "check", "advisories"]))?;
    Ok(Outcome::Passed("by the database of the last `cargo deny fetch`".to_owned()))
}

fn deny_installed() -> bool {
    shell::works("cargo-deny", &["--version"])
}

fn listed_in_deny_toml() -> Result<String> {
    Ok(std::fs::read_to_string("deny.toml")?)
}

/// Whether an SPDX expression leaves us a choice that is permissive.
fn permissive(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let verdict = any_of(&mut rest);
    rest.is_empty() && verdict == Some(true)
}

/// `a OR b`; None when it is no expression.
fn any_of(words: &mut &[&str]) -> Option<bool> {
    let mut fits = all_of(words)?;
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        fits |= all_of(words)?;
    }
    Some(fits)
}

/// `a AND b`, which binds closer than OR (SPDX 2.3, annex D).
fn all_of(words: &mut &[&str]) -> Option<bool> {
    let mut fits = one(words)?;
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        fits &= one(words)?;
    }
    Some(fits)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let fits = any_of(words)?;
            let [")", rest @ ..] = *words else { return None };
            *words = rest;
            Some(fits)
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            Some(PERMISSIVE.contains(&format!("{licence} WITH {exception}").as_str()))
        }
        ["AND" | "OR" | "WITH" | ")", ..] | [] => None,
        [licence, rest @ ..] => {
            *words = rest;
            Some(PERMISSIVE.contains(licence))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::permissive;

    #[test]
    fn one_permissive_choice_is_enough_but_every_part_of_a_conjunction_counts() {
        for good in ["MIT", "MIT/Apache-2.0", "Apache-2.0 / MIT", "MIT OR GPL-3.0-only", "(Apache-2.0 OR GPL-2.0-only) AND BSD-3-Clause"] {
            assert!(permissive(good), "{good}");
        }
        for bad in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "LGPL-2.1-or-later", "(MIT OR Apache-2.0) AND MPL-2.0"] {
            assert!(!permissive(bad), "{bad}");
        }
    }

    #[test]
    fn an_exception_is_part_of_the_licence() {
        assert!(permissive("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only"));
        assert!(!permissive("GPL-2.0-only WITH Classpath-exception-2.0"));
    }

    #[test]
    fn what_is_no_expression_is_no_licence() {
        for text in ["", "MIT OR", "(MIT", "MIT)", "AND", "MIT Apache-2.0"] {
            assert!(!permissive(text), "{text}");
        }
    }
}
