//! Are the generated documents fresh? docs/accuracy.md is left out: it holds measurements, which differ from run to run.

use super::{Outcome, compile};
use crate::causes_doc;
use anyhow::Result;

pub(super) fn run() -> Result<Outcome> {
    compile::build_tested()?;
    causes_doc::check()?;
    Ok(Outcome::Passed("docs/causes.md".to_owned()))
}
