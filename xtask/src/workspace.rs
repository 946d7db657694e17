//! The workspace as cargo describes it: our crates, everything they depend on, and the files of the repository.
//! It reads; it changes nothing.

use crate::shell;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Folders that hold no source of ours.
const NOT_OURS: [&str; 3] = ["target", ".git", "node_modules"];

/// The folder of the root Cargo.toml, wherever cargo was called.
pub(crate) fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().context("xtask lies in the workspace")?;
    if !root.join("Cargo.toml").is_file() {
        bail!("{} is not the workspace: xtask was built somewhere else; run it as `cargo xtask`", root.display());
    }
    Ok(root.to_owned())
}

/// A package of the dependency graph.
#[derive(Debug)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// SPDX expression, if it declares one.
    pub(crate) license: Option<String>,
    /// Names of what it depends on directly, to run or to build; not to test.
    pub(crate) needs: Vec<String>,
    /// It is a member of this workspace.
    pub(crate) ours: bool,
    /// Its Cargo.toml.
    pub(crate) manifest: PathBuf,
}

/// What `cargo metadata` says. The lock file decides the versions and is not touched.
pub(crate) fn packages() -> Result<Vec<Package>> {
    let said = shell::read(shell::cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    let said: Value = serde_json::from_slice(&said).context("read the answer of cargo metadata")?;
    let members = said["workspace_members"].as_array().map_or(&[][..], Vec::as_slice);
    let packages = said["packages"].as_array().context("cargo metadata names no packages")?;
    let nodes = said["resolve"]["nodes"].as_array().context("cargo metadata resolves nothing")?;
    let names: HashMap<&str, &str> =
        packages.iter().filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?))).collect();
    packages.iter().map(|package| read_package(package, &needs(nodes, &names, package), members.contains(&package["id"]))).collect()
}

/// What is linked to a package at run time: as resolved, so optional dependencies that nobody switched on are left out.
fn needs(nodes: &[Value], names: &HashMap<&str, &str>, package: &Value) -> Vec<String> {
    let node = nodes.iter().find(|node| node["id"] == package["id"]);
    let dependencies = node.and_then(|node| node["deps"].as_array()).map_or(&[][..], Vec::as_slice);
    let at_run_time = |dependency: &&Value| {
        let kinds = dependency["dep_kinds"].as_array().map_or(&[][..], Vec::as_slice);
        kinds.iter().any(|kind| kind["kind"].as_str() != Some("dev"))
    };
    let ids = dependencies.iter().filter(at_run_time).filter_map(|dependency| dependency["pkg"].as_str());
    ids.filter_map(|id| names.get(id)).map(|name| (*name).to_owned()).collect()
}

fn read_package(package: &Value, needs: &[String], ours: bool) -> Result<Package> {
    let text = |key: &str| package[key].as_str().map(str::to_owned);
    Ok(Package {
        name: text("name").context("a package without a name")?,
        version: text("version").unwrap_or_default(),
        license: text("license"),
        needs: needs.to_vec(),
        ours,
        manifest: text("manifest_path").unwrap_or_default().into(),
    })
}

/// Everything that a package needs at run time, itself left out; each with the package that asks for it.
pub(crate) fn reaches<'p>(packages: &'p [Package], from: &str) -> BTreeMap<&'p str, &'p str> {
    let mut found = BTreeMap::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(name) = open.pop() {
        for package in packages.iter().filter(|package| package.name == name) {
            for need in &package.needs {
                if !found.contains_key(need.as_str()) {
                    found.insert(need.as_str(), package.name.as_str());
                    open.push(need);
                }
            }
        }
    }
    found
}

/// Every file below a folder whose name ends so, in order.
pub(crate) fn files(below: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![below.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("list {}", folder.display()))?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name();
            if kind.is_dir() && !NOT_OURS.iter().any(|other| name == *other) {
                open.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, needs: &[&str]) -> Package {
        let needs = needs.iter().map(|need| (*need).to_owned()).collect();
        Package { name: name.to_owned(), version: String::new(), license: None, needs, ours: true, manifest: PathBuf::new() }
    }

    #[test]
    fn what_a_package_reaches_is_told_with_who_asks_for_it() {
        let packages = [package("a", &["b"]), package("b", &["c"]), package("c", &["b"]), package("d", &["a"])];
        let reached = reaches(&packages, "a");
        assert_eq!(reached.get("c"), Some(&"b"));
        assert!(!reached.contains_key("d"));
    }
}
