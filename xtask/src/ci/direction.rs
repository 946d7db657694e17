//! Which crate may know which: the arrows of ARCHITECTURE.md, checked against what cargo resolves.

use super::Outcome;
use crate::workspace::{self, Package};
use anyhow::{Result, bail};
use std::collections::BTreeSet;

/// A crate of ours, and those of ours that it may depend on. Every crate needs a row.
const ALLOWED: &[(&str, &[&str])] = &[
    ("faultmap-model", &[]),
    ("faultmap-wire", &["faultmap-model"]),
    ("faultmap-host", &["faultmap-model", "faultmap-wire"]),
    ("faultmap-probe", &["faultmap-model", "faultmap-wire", "faultmap-host"]),
    ("faultmap-capture", &["faultmap-model", "faultmap-wire"]),
    ("faultmap-lab", &["faultmap-model", "faultmap-wire"]),
    ("faultmap", &["faultmap-model", "faultmap-wire", "faultmap-host", "faultmap-probe", "faultmap-capture", "faultmap-lab"]),
    ("xtask", &[]),
];

/// Crates that must work without an async runtime, and without anything that needs one.
const WITHOUT_RUNTIME: [&str; 4] = ["faultmap-model", "faultmap-wire", "faultmap-host", "faultmap-capture"];
/// Crates whose errors need no type of their own: they end at a person.
const MAY_USE_ANYHOW: [&str; 2] = ["faultmap", "xtask"];

pub(super) fn run() -> Result<Outcome> {
    let packages = workspace::packages()?;
    let wrong = wrong(&packages);
    if wrong.is_empty() {
        let ours = packages.iter().filter(|package| package.ours).count();
        return Ok(Outcome::Passed(format!("{ours} crates")));
    }
    bail!("{}", wrong.join("\n"))
}

/// Every dependency that must not be, as a sentence.
fn wrong(packages: &[Package]) -> Vec<String> {
    let ours: BTreeSet<&str> = packages.iter().filter(|package| package.ours).map(|package| package.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in packages.iter().filter(|package| package.ours) {
        let name = package.name.as_str();
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            wrong.push(format!("{name} has no row in xtask/src/ci/direction.rs: say there which crates it may use"));
            continue;
        };
        let reached = workspace::reaches(packages, name);
        for (other, by) in reached.iter().filter(|(other, _)| ours.contains(**other) && !allowed.contains(other)) {
            wrong.push(format!("{name} must not depend on {other} (it does through {by})"));
        }
        if let Some(by) = reached.get("tokio").filter(|_| WITHOUT_RUNTIME.contains(&name)) {
            wrong.push(format!("{name} must work without tokio (it comes through {by})"));
        }
        if package.needs.iter().any(|need| need == "anyhow") && !MAY_USE_ANYHOW.contains(&name) {
            wrong.push(format!("{name} is a library: its errors are an enum with thiserror, not anyhow"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, ours: bool, needs: &[&str]) -> Package {
        let needs = needs.iter().map(|need| (*need).to_owned()).collect();
        Package { name: name.to_owned(), version: String::new(), license: None, needs, ours, manifest: Default::default() }
    }

    fn check(packages: &[Package], expect: &[&str]) {
        let found = wrong(packages);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{found}");
        }
    }

    #[test]
    fn a_crate_may_know_those_below_it_only() {
        let model = |needs: &[&str]| package("faultmap-model", true, needs);
        check(&[model(&[]), package("faultmap-wire", true, &["faultmap-model"])], &[]);
        check(&[model(&["faultmap-wire"]), package("faultmap-wire", true, &[])], &["faultmap-model must not depend on faultmap-wire"]);
    }

    #[test]
    fn a_runtime_does_not_slip_in_through_a_dependency() {
        let packages = [package("faultmap-host", true, &["netlink"]), package("netlink", false, &["tokio"]), package("tokio", false, &[])];
        check(&packages, &["without tokio (it comes through netlink)"]);
    }

    #[test]
    fn a_new_crate_must_say_what_it_may_use() {
        check(&[package("faultmap-new", true, &[])], &["no row"]);
        check(&[package("faultmap-probe", true, &["anyhow"])], &["thiserror"]);
    }
}
