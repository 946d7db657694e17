//! What the status of an HTTP answer says about the service that gave it (RFC 9110 §15). Most of 4xx is data, not a fault of the network or of the service: the
//! weight says so.

use super::head::RequestHead;
use crate::finding::Weight;
use faultmap_model::Layer;

/// The weight, the layer and the cause of a status from 400 on; `None` for what is a matter of course.
pub(in crate::app) fn judge(status: u16, request: Asked) -> Option<(Weight, Layer, &'static str)> {
    let l7 = |weight, cause| Some((weight, Layer::L7, cause));
    match status {
        400 => l7(Weight::Warning, "l7.http-bad-request"),
        // A challenge is the first step of a login; a refused credential is a failed one.
        401 => l7(if request.authorised { Weight::Warning } else { Weight::Note }, "l7.http-unauthorized"),
        403 => l7(Weight::Warning, "l7.http-forbidden"),
        404 | 410 => l7(if request.idle_curiosity { Weight::Note } else { Weight::Warning }, "l7.http-not-found"),
        405 => l7(Weight::Warning, "l7.http-method-not-allowed"),
        407 => Some((if request.authorised { Weight::Fault } else { Weight::Note }, Layer::L5, "l5.proxy-refused")),
        // The server's patience with an idle connection, a condition that does not hold, a retry that the client will make by itself.
        408 | 412 | 416 | 417 | 421 | 425 | 426 | 428 => l7(Weight::Note, "l7.http-client-error"),
        415 => l7(Weight::Warning, "l7.http-unsupported-media-type"),
        429 => l7(Weight::Warning, "l7.http-rate-limited"),
        431 => l7(Weight::Warning, "l7.http-header-too-large"),
        402..=499 => l7(Weight::Warning, "l7.http-client-error"),
        502 => l7(Weight::Fault, "l7.http-bad-gateway"),
        503 => l7(Weight::Fault, "l7.http-unavailable"),
        504 => l7(Weight::Fault, "l7.http-gateway-timeout"),
        500..=599 => l7(Weight::Fault, "l7.http-server-error"),
        _ => None,
    }
}

/// What of a request matters for the weight of its answer.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::app) struct Asked {
    pub(in crate::app) authorised: bool,
    pub(in crate::app) idle_curiosity: bool,
}

impl From<&RequestHead> for Asked {
    fn from(head: &RequestHead) -> Self {
        Self { authorised: head.authorised, idle_curiosity: head.idle_curiosity || head.target_cut }
    }
}
