//! What truly happened in a run, from the counters of wires, boxes, kernels and services. It has never heard of the
//! check and its verdict.

use serde::{Deserialize, Serialize};

use crate::faults::{FaultError, World};

/// Whether one fault took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testimony {
    /// The fault: its kind and place.
    pub fault: String,
    /// Whether it met any traffic of the run.
    pub bit: bool,
    /// The counters that say so.
    pub evidence: String,
}

type Look = Box<dyn FnOnce(&World) -> Result<Sight, FaultError> + Send>;

/// Remembers how things stood when a fault was applied, and looks again after the run.
pub struct Witness {
    fault: String,
    look: Look,
}

/// What a witness saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Whether the fault met any traffic.
    pub bit: bool,
    /// What was counted.
    pub evidence: String,
}

impl Sight {
    /// A counter that must have moved.
    pub fn count(what: &str, count: u64) -> Sight {
        Sight { bit: count > 0, evidence: format!("{what}: {count}") }
    }

    /// A state that must hold.
    pub fn state(what: impl Into<String>, holds: bool) -> Sight {
        Sight { bit: holds, evidence: what.into() }
    }
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl Witness {
    /// A witness that will look at the network when the run is over.
    pub fn new(look: impl FnOnce(&World) -> Result<Sight, FaultError> + Send + 'static) -> Witness {
        Witness { fault: String::new(), look: Box::new(look) }
    }

    /// The same witness of a named fault.
    pub fn of(self, fault: String) -> Witness {
        Witness { fault, ..self }
    }

    /// Looks.
    pub fn testify(self, world: &World) -> Result<Testimony, FaultError> {
        let Sight { bit, evidence } = (self.look)(world)?;
        Ok(Testimony { fault: self.fault, bit, evidence })
    }
}

/// Frames the lab itself failed to carry; any means that the run proves nothing. Cables into an interface that a fault
/// set down do not count: a frame that is not accepted there looks like one that the lab could not deliver.
pub fn overruns(world: &World) -> u64 {
    let carrying = world.net.links.iter().filter(|(name, _)| !world.downed.contains(name.as_str()));
    carrying.map(|(_, link)| link.stats().total(|way| way.overrun)).sum()
}
