//! What a scenario about a host itself asks for: at which host `faultmap host` looks, and which interfaces are more than a plain wire's end.

use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::fabric::{Duplex, TapSpec};
use crate::topology::Topology;

/// What a scenario puts to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// `faultmap check`: is the right cause named?
    Check,
    /// `faultmap host`: is the right bottleneck named?
    Host,
}

impl Subject {
    /// Both.
    pub const ALL: [Subject; 2] = [Subject::Check, Subject::Host];
}

/// Asks `faultmap host` about one host of the network instead of checking a target.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostQuestion {
    /// The host it runs on.
    pub at: String,
    /// Its further arguments.
    #[serde(default)]
    pub args: Vec<String>,
}

/// An interface of a host that is a TAP device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TapEnd {
    /// The host.
    pub at: String,
    /// The cable it is plugged into; the host's first interface if absent.
    pub link: Option<String>,
    /// Megabits per second.
    pub speed_mbps: Option<u32>,
    /// Whether both sides may send at once.
    #[serde(default)]
    pub duplex: Duplex,
    /// Frames that the ring holds.
    pub ring: Option<u32>,
}

impl TapEnd {
    fn spec(&self) -> TapSpec {
        let usual = TapSpec::default();
        TapSpec { speed_mbps: self.speed_mbps.unwrap_or(usual.speed_mbps), duplex: self.duplex, ring: self.ring.unwrap_or(usual.ring) }
    }

    /// Makes the interface one, in a topology that is not built yet.
    pub(super) fn plug(&self, topology: &mut Topology) -> Result<(), LabError> {
        if topology.set_tap(&self.at, self.link.as_deref(), self.spec()) {
            return Ok(());
        }
        let reason = format!("{} has no interface on {}", self.at, self.link.as_deref().unwrap_or("any link"));
        Err(LabError::Topology { name: topology.name.clone(), reason })
    }
}
