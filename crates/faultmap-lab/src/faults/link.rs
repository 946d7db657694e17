//! Faults of the medium: interfaces, carriers, and cables that lose, damage, delay or refuse what they carry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::world::{FaultError, World};
use crate::fabric::{Direction, Impairment, LinkStats};
use crate::oracle::{Sight, Witness};

/// Changes to what a cable does; absent fields stay as they are. Units as in [`Impairment`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct WirePatch {
    /// Only frames towards this host or switch; both ways if absent.
    pub toward: Option<String>,
    /// Milliseconds every frame takes.
    pub delay_ms: Option<f64>,
    /// Up to so many milliseconds more.
    pub jitter_ms: Option<f64>,
    /// Share of frames lost.
    pub loss: Option<f64>,
    /// Share of packets with a flipped bit.
    pub corrupt: Option<f64>,
    /// Share of frames that arrive twice.
    pub duplicate: Option<f64>,
    /// Share of frames overtaken by later ones.
    pub reorder: Option<f64>,
    /// Line rate in kilobits per second.
    pub rate_kbit: Option<u64>,
    /// Frames that wait for the line.
    pub queue_packets: Option<usize>,
    /// Longest frame carried, in bytes.
    pub max_frame: Option<usize>,
    /// Nothing passes.
    pub blackhole: Option<bool>,
}

impl WirePatch {
    fn apply(&self, to: &mut Impairment) {
        set(&mut to.delay_ms, self.delay_ms);
        set(&mut to.jitter_ms, self.jitter_ms);
        set(&mut to.loss, self.loss);
        set(&mut to.corrupt, self.corrupt);
        set(&mut to.duplicate, self.duplicate);
        set(&mut to.reorder, self.reorder);
        set(&mut to.rate_kbit, self.rate_kbit);
        set(&mut to.queue_packets, self.queue_packets);
        set(&mut to.max_frame, self.max_frame);
        set(&mut to.blackhole, self.blackhole);
    }
}

fn set<T: Copy>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

pub(super) fn interface_down(world: &mut World, at: &str, link: Option<&str>) -> Result<Witness, FaultError> {
    let host = world.net.host(at)?;
    let interface = match link {
        Some(link) => host.iface(link),
        None => host.interfaces().first(),
    };
    let missing = || FaultError::Impossible { reason: format!("{at} has no such interface") };
    let interface = interface.ok_or_else(missing)?;
    let (name, cable) = (interface.name.clone(), interface.link.clone());
    host.rtnl()?.set_up(&name, false)?;
    world.downed.insert(cable);
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let routed = world.net.host(&at)?.read("/proc/thread-self/net/route")?.contains(&name);
        Ok(Sight::state(format!("routes through {name} of {at} left: {routed}"), !routed))
    }))
}

pub(super) fn carrier_off(world: &mut World, at: &str) -> Result<Witness, FaultError> {
    world.net.link(at)?.set_carrier(false)?;
    let at = at.to_owned();
    let before = world.net.link(&at)?.stats().total(|way| way.delivered);
    Ok(Witness::new(move |world| {
        let delivered = world.net.link(&at)?.stats().total(|way| way.delivered) - before;
        Ok(Sight::state(format!("frames that crossed {at} without its carrier: {delivered}"), delivered == 0))
    }))
}

pub(super) fn carrier_flap(
    world: &mut World,
    at: &str,
    (down_ms, up_ms): (u64, u64),
    before: u32,
    during: bool,
) -> Result<Witness, FaultError> {
    let link = world.net.link(at)?.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let flaps = Arc::new(AtomicU64::new(0));
    let flap = {
        let (link, flaps) = (link.clone(), Arc::clone(&flaps));
        move || {
            let down = link.set_carrier(false).is_ok();
            thread::sleep(Duration::from_millis(down_ms));
            if link.set_carrier(true).is_ok() && down {
                flaps.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(up_ms));
        }
    };
    for _ in 0..before {
        flap();
    }
    // Routes survive: the kernel removes them with the interface's administrative state, not with its carrier.
    if during {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                flap();
            }
        });
    }
    Ok(Witness::new(move |_| {
        stop.store(true, Ordering::Relaxed);
        Ok(Sight::count("times the carrier went and came", flaps.load(Ordering::Relaxed)))
    }))
}

pub(super) fn wire(world: &mut World, at: &str, patch: &WirePatch) -> Result<Witness, FaultError> {
    let link = world.net.link(at)?;
    let directions = match patch.toward.as_deref() {
        None => Direction::BOTH.to_vec(),
        Some(node) => {
            let missing = || FaultError::Impossible { reason: format!("{at} does not lead to {node}") };
            vec![link.direction_to(node).ok_or_else(missing)?]
        }
    };
    for direction in directions {
        link.set(direction, |impairment| patch.apply(impairment));
    }
    let before = link.stats();
    let (at, patch) = (at.to_owned(), patch.clone());
    Ok(Witness::new(move |world| Ok(sight(&patch, &before, &world.net.link(&at)?.stats()))))
}

/// Every impairment that was asked for must have met frames; a delay or a rate meets every frame.
fn sight(patch: &WirePatch, before: &LinkStats, after: &LinkStats) -> Sight {
    type Counter = fn(&crate::fabric::WayStats) -> u64;
    let share = |value: Option<f64>| value.is_some_and(|v| v > 0.0);
    let asked: [(bool, &str, Counter); 8] = [
        (share(patch.loss), "lost", |w| w.lost),
        (share(patch.corrupt), "corrupted", |w| w.corrupted),
        (share(patch.duplicate), "duplicated", |w| w.duplicated),
        (share(patch.reorder), "reordered", |w| w.reordered),
        (patch.max_frame.is_some(), "too big", |w| w.too_big),
        (patch.blackhole == Some(true), "swallowed", |w| w.blackholed),
        (patch.queue_packets.is_some(), "dropped at the full queue", |w| w.queue_full),
        (share(patch.delay_ms) || share(patch.jitter_ms) || patch.rate_kbit.is_some(), "carried", |w| w.delivered),
    ];
    let counted = asked.into_iter().filter(|(wanted, ..)| *wanted).map(|(_, name, counter)| {
        let moved = after.total(counter).saturating_sub(before.total(counter));
        (moved, format!("{name} {moved}"))
    });
    let (moved, texts): (Vec<_>, Vec<_>) = counted.unzip();
    Sight { bit: moved.iter().all(|moved| *moved > 0), evidence: format!("frames: {}", texts.join(", ")) }
}
