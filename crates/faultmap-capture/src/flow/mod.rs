//! Flows: which packets belong together, and in which direction they go.

mod key;

pub use key::{FlowId, FlowKey, Protocol, Side};
