//! The words of faultmap and its judge.
//!
//! Witnesses (probes, kernel counters, packets) produce [`Observation`]s: what was seen, never what it means.
//! The [`judge`] turns a [`Recording`] into a [`Verdict`]. Nothing here touches a socket, a file or a clock.

pub mod calendar;
pub mod causes;
pub mod compare;
pub mod evidence;
pub mod host;
mod journey;
pub mod judge;
pub mod layer;
pub mod many;
pub mod observation;
pub mod pages;
pub mod peer;
pub mod recording;
pub mod report;
pub mod target;
#[cfg(test)]
pub(crate) mod testkit;
pub mod verdict;

pub use evidence::Evidence;
pub use host::{HostReport, HostSample};
pub use layer::Layer;
pub use observation::{Observation, ObservationId, Seen};
pub use recording::Recording;
pub use report::Report;
pub use target::{Scheme, Target};
pub use verdict::{Status, Verdict};
