//! The step from one place to the next: an answer sent the check on, and what was seen after it is of the next place.

use crate::Target;
use serde::{Deserialize, Serialize};

/// A redirect to another place, followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onward {
    /// The status of the answer that redirects, 301 to 308 (RFC 9110 15.4).
    pub status: u16,
    /// The place that it names, which every later observation is of.
    pub target: Target,
}
