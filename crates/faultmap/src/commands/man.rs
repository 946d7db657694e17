//! `faultmap man`: manual pages, from the one definition of the command line.

use crate::cli::{ManArgs, definition};
use crate::terminal;
use anyhow::Context as _;

pub(super) fn run(args: &ManArgs) -> anyhow::Result<i32> {
    match &args.folder {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(definition()).render(&mut page).context("cannot write the manual page")?;
            terminal::print_bytes(&page)?;
        }
        Some(folder) => {
            let pages = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(definition(), folder));
            pages.with_context(|| format!("cannot write manual pages into {}", folder.display()))?;
        }
    }
    Ok(0)
}
