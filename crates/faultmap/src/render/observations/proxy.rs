//! The lines of a check through a proxy, and of the controls that show who meddles on the way.

use super::{count, list, time};
use faultmap_model::observation::{ConnectOutcome, ProxyBypass, ProxyChoice, ProxyTunnel, TlsControl, TunnelOutcome};

/// Which proxy is used, or not.
pub(super) fn choice(it: &ProxyChoice) -> String {
    let login = if it.credentials { ", with a login" } else { "" };
    let kind = it.protocol.title();
    let how = match (&it.exempted_by, it.forwards) {
        (Some(entry), _) => format!("not used: NO_PROXY has {entry}"),
        (None, true) => "passes the request on".to_owned(),
        (None, false) => "is asked for a tunnel".to_owned(),
    };
    format!("{kind} proxy {} (from {}){login}: {how}", it.host_port(), it.configured_by)
}

/// What it answered.
pub(super) fn tunnel(it: &ProxyTunnel) -> String {
    let asked = if it.purpose == "alive" { "whether it answers at all".to_owned() } else { format!("for {}", it.destination) };
    let said = match &it.outcome {
        TunnelOutcome::Open { status: Some(status) } if it.purpose == "alive" => format!("it does, with {status}"),
        TunnelOutcome::Open { status } => status.map_or_else(|| "open".to_owned(), |status| format!("open ({status})")),
        TunnelOutcome::CredentialsWanted { scheme, given } => {
            let scheme = scheme.as_ref().map_or_else(String::new, |scheme| format!(" ({scheme})"));
            format!("{}{scheme}", if *given { "refuses our login" } else { "wants a login" })
        }
        TunnelOutcome::Refused { code, name, said, server } => {
            let said = said.as_ref().map_or_else(String::new, |said| format!(": {said:?}"));
            let server = server.as_ref().map_or_else(String::new, |server| format!(", {server}"));
            format!("{code} {name}{server}{said}")
        }
        TunnelOutcome::Foreign { looks_like, first_bytes } => {
            format!("another protocol ({}): {first_bytes:?}", looks_like.as_deref().unwrap_or("unknown"))
        }
        TunnelOutcome::Closed { received_bytes } => format!("closed after {}", count(*received_bytes, "byte")),
        TunnelOutcome::Reset { received_bytes } => format!("reset after {}", count(*received_bytes, "byte")),
        TunnelOutcome::Silent { waited_ms, received_bytes } => {
            format!("silent for {} after {}", time(*waited_ms), count(*received_bytes, "byte"))
        }
        TunnelOutcome::NoConnection { why } => format!("no connection: {why}"),
    };
    format!("{} asked {asked}: {said}", it.to)
}

/// The direct way.
pub(super) fn bypass(it: &ProxyBypass) -> String {
    let place = format!("{} port {}", it.host, it.port);
    if it.addresses.is_empty() {
        let why = it.error.as_ref().map_or_else(String::new, |error| format!(" ({error})"));
        return format!("without the proxy, {place}: no address{why}");
    }
    let connects: Vec<String> = it.connects.iter().map(|(to, outcome)| format!("{to} {}", end(outcome))).collect();
    format!("without the proxy, {place}: {}", list(&connects))
}

/// Who has a certificate for a name that cannot exist.
pub(super) fn tls_control(it: &TlsControl) -> String {
    let asked = format!("{} asked for {}, which cannot exist", it.to, it.name);
    match it.certificates.first() {
        None => format!("{asked}: no certificate"),
        Some(leaf) if it.name_matches => format!("{asked}: a certificate for just that name, from {}", leaf.issuer),
        Some(leaf) => format!("{asked}: a certificate for {}, from {}", list(&leaf.names), leaf.issuer),
    }
}

fn end(outcome: &ConnectOutcome) -> String {
    match outcome {
        ConnectOutcome::Connected { .. } => "connects".to_owned(),
        ConnectOutcome::Failed { errno, .. } => format!("fails ({errno})"),
        ConnectOutcome::Silent { .. } => "is silent".to_owned(),
    }
}
