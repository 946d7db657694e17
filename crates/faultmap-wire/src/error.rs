//! Why bytes are not the header they were taken for.

/// The bytes do not hold the header asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside the header.
    #[error("{header}: {need} bytes needed, {have} there")]
    Truncated {
        /// The header.
        header: &'static str,
        /// Bytes it needs.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// A field contradicts the standard or another field.
    #[error("{header}: {reason}")]
    Malformed {
        /// The header.
        header: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
}
