//! Faults of a host's adapter, on its TAP interface: what it negotiated, and a ring that nobody empties in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::world::{FaultError, World};
use crate::fabric::{Duplex, set_medium};
use crate::host::Interface;
use crate::oracle::{Sight, Witness};

/// The interface plugged into `link`, the host's first if absent.
fn interface(world: &World, at: &str, link: Option<&str>) -> Result<Interface, FaultError> {
    let host = world.net.host(at)?;
    let found = match link {
        Some(link) => host.iface(link),
        None => host.interfaces().first(),
    };
    found.cloned().ok_or_else(|| FaultError::Impossible { reason: format!("{at} has no such interface") })
}

pub(super) fn medium(world: &mut World, at: &str, link: Option<&str>, speed_mbps: u32, duplex: Duplex) -> Result<Witness, FaultError> {
    let name = interface(world, at, link)?.name;
    let of = name.clone();
    world.net.host(at)?.run(move || set_medium(&name, speed_mbps, duplex))??;
    let what = format!("{of} of {at}: {speed_mbps} Mb/s, {duplex:?} duplex");
    Ok(Witness::new(move |_| Ok(Sight::state(what, true))))
}

/// No frame leaves for `stalled_ms`, then all goes well for `working_ms`, and so on until the run is over.
pub(super) fn stalls(
    world: &mut World,
    at: &str,
    link: Option<&str>,
    ring: u32,
    (stalled_ms, working_ms): (u64, u64),
) -> Result<Witness, FaultError> {
    let interface = interface(world, at, link)?;
    let cable = world.net.link(&interface.link)?.clone();
    let missing = || FaultError::Impossible { reason: format!("{} does not lead to {at}", interface.link) };
    let direction = cable.direction_from(at).ok_or_else(missing)?;
    world.net.host(at)?.rtnl()?.set_queue_length(&interface.name, ring)?;
    // What the ring drops is the fault, not a lab that was too slow.
    world.downed.insert(interface.link.clone());
    let before = cable.stats().way(direction).overrun;
    let stop = Arc::new(AtomicBool::new(false));
    let (hung, until) = (cable.clone(), Arc::clone(&stop));
    thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            hung.set_stalled(direction, true);
            thread::sleep(Duration::from_millis(stalled_ms));
            hung.set_stalled(direction, false);
            thread::sleep(Duration::from_millis(working_ms));
        }
    });
    let what = format!("frames for which the ring of {} had no room", interface.name);
    Ok(Witness::new(move |_| {
        stop.store(true, Ordering::Relaxed);
        Ok(Sight::count(&what, cable.stats().way(direction).overrun.saturating_sub(before)))
    }))
}
