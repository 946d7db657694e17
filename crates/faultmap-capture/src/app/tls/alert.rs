//! Alerts of TLS (RFC 8446 §6): what each means, by who sent it and when.

use super::certificate::{Defect, Shown};
use crate::finding::Weight;
use crate::flow::Side;
use faultmap_wire::names::tls_alert;

/// Where in the handshake an alert came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stage {
    /// The server has chosen.
    pub(super) chosen: bool,
    /// The server asked for a certificate of the client.
    pub(super) certificate_requested: bool,
}

/// The name of an alert in the words of the RFCs.
pub(super) fn name(code: u8) -> &'static str {
    tls_alert(code).unwrap_or("an unknown alert")
}

/// What an alert weighs; `None` for the ordinary end of a session.
pub(super) fn weight(level: u8, code: u8) -> Option<Weight> {
    match (level, code) {
        (_, 0) => None,
        (_, 90 | 100) => Some(Weight::Note),
        (1, _) if !matches!(code, 40..=49 | 70 | 116 | 120) => Some(Weight::Note),
        _ => Some(Weight::Fault),
    }
}

/// The cause that a fatal alert points to.
pub(super) fn cause(code: u8, from: Side, stage: Stage, shown: &Shown) -> &'static str {
    match (code, from) {
        (70 | 86, _) => "l6.tls-version-mismatch",
        (40, Side::Server) if stage.certificate_requested => "l6.client-cert-required",
        (40, _) if stage.chosen => "l6.tls-handshake-failed",
        (40 | 71, _) => "l6.tls-cipher-mismatch",
        (112, Side::Server) => "l6.sni-rejected",
        (120, _) => "l6.alpn-mismatch",
        (116 | 41, _) | (42..=46 | 48, Side::Server) => "l6.client-cert-required",
        (42..=46 | 48, Side::Client) => distrust(code, shown),
        _ => "l6.tls-handshake-failed",
    }
}

/// What a client has against a certificate: what it says, and what could be seen of the chain.
fn distrust(code: u8, shown: &Shown) -> &'static str {
    let seen = |defect| shown.defects.iter().any(|(other, _)| *other == defect);
    match code {
        45 => "l6.cert-expired",
        48 if seen(Defect::SelfSigned) => "l6.cert-self-signed",
        48 if seen(Defect::ChainIncomplete) => "l6.cert-chain-incomplete",
        48 => "l6.cert-untrusted-ca",
        // The others are used for whatever a client holds against a certificate.
        _ if seen(Defect::Expired) => "l6.cert-expired",
        _ if seen(Defect::NotYetValid) => "l6.cert-not-yet-valid",
        _ if seen(Defect::SelfSigned) => "l6.cert-self-signed",
        _ if seen(Defect::WrongHost) => "l6.cert-wrong-host",
        _ if seen(Defect::ChainIncomplete) => "l6.cert-chain-incomplete",
        _ => "l6.cert-untrusted-ca",
    }
}
