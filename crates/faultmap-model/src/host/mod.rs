//! What `faultmap host` says: the facts of one moment, the readings made of two, and which layer is full first.
//!
//! [`HostSample`] holds facts and no opinion. [`HostReport::new`] compares two samples; only what happened between them
//! is ever called a fault, never a total since boot. Nothing here reads a clock, a file or a socket.

mod advice;
mod drop_findings;
mod drop_reasons;
pub mod drops;
mod findings;
mod forecast;
mod layers;
mod reading;
mod readings;
mod report;
mod sample;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_support;
mod window;

pub use findings::{Advice, Finding, Severity};
pub use forecast::{Forecast, HistoryPoint};
pub use layers::{Bottleneck, Fullest, HostLayer};
pub use reading::{Kind, Reading, State, Threshold, Unit};
pub use report::{HostReport, SCHEMA};
pub use sample::{
    CertificateSample, ConntrackSample, CpuSample, DestinationSample, FdSample, GatewaySample, HostSample, LearnedMtu, LinkSample,
    ListenerSample, NeighborTableSample, PortRange, PressureSample, ProcessFds, ProcessSample, RingSample, SoftnetCpu, StuckSocket,
    TcpSample, UdpSample, UdpSocketSample, Unavailable, UnreachedSample,
};
