//! Lists the scenario and topology files of `scenarios/` as `include_str!` lines, so that adding a file is all it
//! takes to add a scenario. It reads file names only, never their contents.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let scenarios = Path::new(&root).join("scenarios");
    let mut code = String::new();
    list(&mut code, "SCENARIOS", &scenarios)?;
    list(&mut code, "TOPOLOGIES", &scenarios.join("topologies"))?;
    fs::write(Path::new(&out).join("embedded.rs"), code)
}

/// A constant of (file stem, text), sorted by stem.
fn list(code: &mut String, constant: &str, folder: &Path) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
    }
    files.sort();
    let _ = writeln!(code, "pub(super) const {constant}: &[(&str, &str)] = &[");
    for path in files {
        println!("cargo::rerun-if-changed={}", path.display());
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let _ = writeln!(code, "    ({stem:?}, include_str!({:?})),", path.display().to_string());
    }
    code.push_str("];\n");
    Ok(())
}
