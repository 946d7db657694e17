//! Faults of the machine or process that checks: no descriptors, misleading variables. They change how the check is
//! started, never the check itself.

use std::collections::BTreeMap;

use super::world::{FaultError, World};
use crate::oracle::{Sight, Witness};

/// How the check's process is started.
#[derive(Debug, Clone, Default)]
pub struct CheckEnvironment {
    /// RLIMIT_NOFILE.
    pub nofile: Option<u64>,
    /// Environment variables added.
    pub variables: BTreeMap<String, String>,
}

pub(super) fn fd_exhausted(world: &mut World, limit: u64) -> Result<Witness, FaultError> {
    world.check.nofile = Some(limit);
    Ok(Witness::new(move |_| Ok(Sight::state(format!("the check ran with RLIMIT_NOFILE {limit}"), true))))
}

pub(super) fn environment(world: &mut World, set: &BTreeMap<String, String>) -> Result<Witness, FaultError> {
    let values = world.placeholders();
    let expanded = set.iter().map(|(name, value)| (name.clone(), crate::scenario::expand(value, &values)));
    world.check.variables.extend(expanded);
    let names = set.keys().cloned().collect::<Vec<_>>().join(", ");
    Ok(Witness::new(move |_| Ok(Sight::state(format!("the check ran with {names} set"), true))))
}
