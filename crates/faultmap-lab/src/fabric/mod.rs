//! The wires, switches and middleboxes between the hosts, in user space: frames come from AF_PACKET sockets on the
//! far ends of veth pairs, or from TAP devices where the medium itself is the point, and one thread moves them. It knows nothing of hosts, services or scenarios, and it is
//! the oracle: every element counts what it did.

mod core;
mod engine;
mod impairment;
mod link;
pub mod middlebox;
mod offload;
mod port;
mod queue;
mod rng;
mod switch;
mod tap;

pub use self::core::End;
pub use engine::{Fabric, PortSpec};
pub use impairment::Impairment;
pub use link::{Direction, Link, LinkStats, WayStats};
pub use switch::{Switch, SwitchStats};
pub(crate) use tap::set_medium;
pub use tap::{Duplex, TapSpec, tap_refusal};
