//! Causes of layer 1, physical: bits on a medium.

mod bit_errors;
mod half_duplex;
mod interface_down;
mod link_flapping;
mod link_saturated;
mod no_carrier;
mod queue_drops;

use super::Cause;
use crate::observation::{Link, LinkDelta};
use crate::{Evidence, ObservationId};

pub(in crate::causes) use bit_errors::damaged;

/// In the order of `faultmap causes`.
pub(super) static CAUSES: &[&Cause] = &[
    &interface_down::CAUSE,
    &no_carrier::CAUSE,
    &link_flapping::CAUSE,
    &bit_errors::CAUSE,
    &half_duplex::CAUSE,
    &link_saturated::CAUSE,
    &queue_drops::CAUSE,
];

/// The link that the check's packets use, never loopback.
fn used_link<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a Link)> {
    let ip = ev.failure().map(|failure| failure.ip).or_else(|| ev.main_address().map(|main| main.ip()));
    let found = ip.and_then(|ip| ev.link_toward(ip)).or_else(|| ev.first::<Link>(|link| link.on_path));
    found.filter(|(_, link)| !link.loopback)
}

/// The speed that bounds the link, Mbit/s. Pure software names one that bounds nothing: a veth or bridge always 10 Gbit/s, a TUN or TAP device
/// 10 Mbit/s or 10 Gbit/s unless somebody set another (`drivers/net/tun.c`).
fn line_rate_mbps(link: &Link) -> Option<u32> {
    let named = link.speed_mbps.filter(|mbps| *mbps > 0)?;
    let idle_word = match link.driver.as_deref() {
        Some("tun") => named == 10 || named == 10_000,
        Some("veth" | "bridge" | "macvlan" | "vxlan" | "wireguard") => true,
        _ => false,
    };
    (!idle_word).then_some(named)
}

/// What its counters did during the check.
fn used_delta<'a>(ev: &Evidence<'a>) -> Option<(ObservationId, &'a LinkDelta)> {
    let (_, link) = used_link(ev)?;
    ev.first::<LinkDelta>(|delta| delta.iface == link.iface)
}

/// A rise of a counter, 0 when it did not rise.
fn rise(delta: &LinkDelta, name: &str) -> u64 {
    delta.rose.get(name).copied().unwrap_or(0)
}
