//! Flows: which packets belong together, in which direction they go, and what becomes of them.

pub(crate) mod echo;
pub(crate) mod following;
mod key;
pub mod record;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod tcp;

pub use key::{FlowEnd, FlowId, FlowKey, Protocol, Side};
pub use record::FlowRecord;

/// TTLs below this are those of a search for the path; hosts start at 64 or above.
pub(crate) const SEARCHING_TTL: u8 = 33;
