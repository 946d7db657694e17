//! Questions asked of the network, and the driver that walks the stack.
//!
//! A question returns what it saw as a payload of `faultmap_model::observation`; the driver adds number and time. Nothing here judges.

pub mod dialogue;
pub mod dns;
mod driver;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod http3;
pub mod options;
pub mod peer;
pub mod proxy;
pub mod questions;
pub mod recorder;
mod session;
pub mod sock;
pub mod tls;
pub mod witness;

pub use driver::check;
pub use error::ProbeError;
pub use options::CheckOptions;
