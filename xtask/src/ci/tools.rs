//! Are the compilers here that the build needs? Rust by rust-toolchain.toml, and a C compiler for `ring`.
//! It installs nothing.

use super::Outcome;
use crate::shell;
use anyhow::{Result, bail};

pub(super) fn run() -> Result<Outcome> {
    let version = shell::read(shell::cargo().arg("--version"))?;
    let version = String::from_utf8_lossy(&version).trim().to_owned();
    for component in ["fmt", "clippy"] {
        if !shell::works("cargo", &[component, "--version"]) {
            bail!("cargo {component} is missing: run `rustup component add rustfmt clippy`");
        }
    }
    let compiler = c_compiler()?;
    Ok(Outcome::Passed(format!("{version}, {compiler}")))
}

/// The C compiler that the `cc` crate will find: `$CC`, else `cc`.
fn c_compiler() -> Result<String> {
    let named = std::env::var("CC").ok().filter(|named| !named.trim().is_empty());
    let program = named.as_deref().unwrap_or("cc");
    // CC may hold arguments or a wrapper such as "ccache gcc".
    let mut words = program.split_whitespace();
    let first = words.next().unwrap_or("cc");
    let args: Vec<&str> = words.chain(["--version"]).collect();
    if shell::works(first, &args) {
        return Ok(program.to_owned());
    }
    bail!(
        "no C compiler: `{program}` does not run. The cryptography library `ring` has parts in C, and Rust links with cc. \
         On Debian and Ubuntu: apt install gcc libc6-dev; on Fedora: dnf install gcc; on Alpine: apk add gcc musl-dev"
    )
}
