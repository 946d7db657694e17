//! Networks broken on purpose: real kernels in rootless namespaces, joined by wires and boxes in user space, with
//! faults put in by scenarios and an oracle that knows what truly happened. It judges verdicts; it never gives one.

pub mod ctnetlink;
pub mod demo;
pub mod error;
pub mod fabric;
pub mod faults;
pub mod host;
pub mod netns;
mod nfnl;
pub mod nft;
pub mod oracle;
pub mod report;
pub mod rtnl;
pub mod runner;
pub mod sandbox;
pub mod scenario;
pub mod services;
pub mod topology;

pub use demo::demo;
pub use error::LabError;
pub use host::{Family, Host, Privilege};
pub use runner::{Progress, Results, RunOptions, Worker, run_all, up, worker_main};
pub use sandbox::Sandbox;
pub use scenario::{Library, Scenario};
pub use topology::{Net, Topology};
