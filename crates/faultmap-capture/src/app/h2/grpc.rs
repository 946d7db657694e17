//! Status codes of gRPC (grpc/doc/statuscodes.md): most are the application's own data, some say that the service failed.

use crate::finding::Weight;

/// The name of a status.
pub(super) fn name(status: u16) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::from(status)).unwrap_or(&"an unknown status")
}

/// What a status weighs, and its cause; `None` for OK.
pub(super) fn judge(status: u16) -> Option<(Weight, &'static str)> {
    Some(match status {
        0 => return None,
        // The caller gave up, or asked for something that cannot be.
        1 | 3 | 5 | 6 | 9 | 11 => (Weight::Note, "l7.grpc-error"),
        7 | 16 => (Weight::Warning, "l7.auth-failed"),
        8 | 10 => (Weight::Warning, "l7.grpc-error"),
        12 => (Weight::Fault, "l7.grpc-unimplemented"),
        _ => (Weight::Fault, "l7.grpc-error"),
    })
}
