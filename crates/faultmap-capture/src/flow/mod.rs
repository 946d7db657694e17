//! Flows: which packets belong together, in which direction they go, and what becomes of them.

mod key;
pub mod record;

pub use key::{FlowId, FlowKey, Protocol, Side};
pub use record::FlowRecord;
