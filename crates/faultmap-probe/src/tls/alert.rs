//! Names of TLS alerts as recordings have them.

use faultmap_wire::names::tls_alert;

/// The registered name of an alert code.
pub(crate) const fn alert_name(code: u8) -> &'static str {
    match tls_alert(code) {
        Some(name) => name,
        None => "unknown",
    }
}
