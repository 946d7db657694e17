//! Faults of services: a field of their specification changes while they run. What it does to clients is the service's
//! own business; the oracle asks the service's counters.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use serde_json::json;

use super::world::{FaultError, World};
use crate::oracle::{Sight, Witness};
use crate::services::{Change, ServiceStats};

pub(super) fn alter(world: &mut World, at: &str, port: Option<u16>, change: &Change) -> Result<Witness, FaultError> {
    let index = world.service_index(at, port)?;
    let service = world.service(index)?;
    service.handle.alter(change)?;
    let silent = change.0.get("listening").and_then(serde_json::Value::as_bool) == Some(false);
    let accept = change.0.get("listen").and_then(|listen| listen.get("accept")).and_then(|accept| accept.get("kind"));
    let never_accepts = accept.and_then(serde_json::Value::as_str) == Some("never");
    let before = service.handle.stats();
    let name = format!("{} on port {} of {at}", service.kind(), service.handle.spec().port());
    Ok(Witness::new(move |world| {
        let after = world.running(index).map(|service| service.handle.stats()).unwrap_or_default();
        if silent {
            return Ok(Sight::state(format!("{name} does not listen"), true));
        }
        if never_accepts {
            return Ok(Sight::state(format!("{name} does not accept"), true));
        }
        let bites = after.bitten().saturating_sub(before.bitten());
        let met = traffic(&after).saturating_sub(traffic(&before));
        let evidence = format!("{name}: misbehaved {bites} times, {met} requests, handshakes and connections");
        Ok(Sight { bit: bites + met > 0, evidence })
    }))
}

fn traffic(stats: &ServiceStats) -> u64 {
    let failures = stats.tls_failures.values().sum::<u64>();
    stats.accepted + stats.requests + stats.tls_handshakes + failures
}

fn change_of(value: serde_json::Value) -> Change {
    match value {
        serde_json::Value::Object(fields) => Change(fields),
        _ => Change::default(),
    }
}

/// The service stops listening on the addresses of the network; somebody listens on those of loopback in its place.
pub(super) fn bound_to_loopback(world: &mut World, at: &str, port: Option<u16>) -> Result<Witness, FaultError> {
    let index = world.service_index(at, port)?;
    let service = world.service(index)?;
    let port = service.handle.spec().port();
    service.handle.alter(&change_of(json!({ "listening": false })))?;
    let host = world.net.host(at)?;
    let open =
        move || [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))].map(TcpListener::bind);
    for opened in host.run(open)? {
        let kernel = |source| FaultError::Kernel { doing: "listen on loopback of", what: at.to_owned(), source };
        world.keep_listening(opened.map_err(kernel)?);
    }
    let what = format!("port {port} of {at} is open on loopback only");
    Ok(Witness::new(move |_| Ok(Sight::state(what, true))))
}

/// The service accepts no more, with room in its queue for many.
pub(super) fn frozen(world: &mut World, at: &str, port: Option<u16>) -> Result<Witness, FaultError> {
    let index = world.service_index(at, port)?;
    let service = world.service(index)?;
    service.handle.alter(&change_of(json!({ "listen": { "accept": { "kind": "never" } } })))?;
    let name = format!("{} on port {} of {at}", service.kind(), service.handle.spec().port());
    Ok(Witness::new(move |world| {
        let stats = world.running(index).map(|service| service.handle.stats()).unwrap_or_default();
        let waiting: u64 = stats.accept_queue.values().map(|(waiting, _)| u64::from(*waiting)).sum();
        Ok(Sight::count(&format!("connections that wait for {name}"), waiting))
    }))
}
