//! Status codes of gRPC (grpc/doc/statuscodes.md): most are the application's own data, some say that the service failed.

use crate::finding::Weight;
use faultmap_wire::names::grpc_status;

/// The name of a status.
pub(super) fn name(status: u16) -> &'static str {
    grpc_status(status.into()).unwrap_or("an unknown status")
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

/// The method of the health service (grpc/doc/health-checking.md).
pub(super) const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// What an answer of the health service says, unless it is SERVING: a message of one field, number 1, an enumeration.
pub(super) fn health(data: &[u8]) -> Option<&'static str> {
    match data {
        [0, 0, 0, 0, 2, 0x08, 2] => Some("NOT_SERVING"),
        [0, 0, 0, 0, 2, 0x08, 3] => Some("SERVICE_UNKNOWN"),
        // UNKNOWN is 0, which is not written.
        [0, 0, 0, 0, 0] => Some("UNKNOWN"),
        _ => None,
    }
}
