//! Faults of services: a field of their specification changes while they run. What it does to clients is the service's
//! own business; the oracle asks the service's counters.

use super::world::{FaultError, World};
use crate::oracle::{Sight, Witness};
use crate::services::{Change, ServiceStats};

pub(super) fn alter(world: &mut World, at: &str, port: Option<u16>, change: &Change) -> Result<Witness, FaultError> {
    let index = world.service_index(at, port)?;
    let service = world.service(index)?;
    service.handle.alter(change)?;
    let silent = change.0.get("listening").and_then(serde_json::Value::as_bool) == Some(false);
    let before = service.handle.stats();
    let name = format!("{} on port {} of {at}", service.kind(), service.handle.spec().port());
    Ok(Witness::new(move |world| {
        let after = world.running(index).map(|service| service.handle.stats()).unwrap_or_default();
        if silent {
            return Ok(Sight::state(format!("{name} does not listen"), true));
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
