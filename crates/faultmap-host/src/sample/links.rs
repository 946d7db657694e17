//! Interfaces for a sample: what rtnetlink says, and what the driver says of medium and rings.

use super::missing;
use crate::ethtool::Ethtool;
use crate::links::{self, LinkReading};
use crate::netlink::Netlink;
use crate::snapshot::{DRIVERS_MAX, described};
use faultmap_model::host::{HostSample, LinkSample};

pub(super) fn read(netlink: &mut Netlink, sample: &mut HostSample) {
    let (readings, failed) = links::read(netlink);
    for error in failed {
        missing(sample, "links", &error);
    }
    let ethtool = Ethtool::open();
    if ethtool.is_none() {
        missing(sample, "speed and rings", &"no socket for ethtool");
    }
    sample.links = readings.into_iter().enumerate().map(|(place, reading)| one(ethtool.as_ref(), place, &reading)).collect();
}

fn one(ethtool: Option<&Ethtool>, place: usize, reading: &LinkReading) -> LinkSample {
    // Drivers are asked one by one; of a host's thousands of virtual links the first tell enough.
    let ethtool = ethtool.filter(|_| place < DRIVERS_MAX && !reading.link.loopback);
    // rtnetlink names a kind only for devices made by software.
    let kind = reading.link.driver.clone();
    LinkSample {
        link: ethtool.map_or_else(|| reading.link.clone(), |ethtool| described(ethtool, reading)),
        stats: reading.named_stats().map(|(name, value)| (name.to_owned(), value)).collect(),
        carrier_changes: reading.carrier_changes().map(u64::from),
        qdisc: reading.root_queue.as_ref().map(|queue| queue.kind.clone()),
        qdisc_drops: reading.qdisc_drops,
        qdisc_queued: reading.root_queue.as_ref().map(|queue| u64::from(queue.queued)),
        shaped_bps: reading.root_queue.as_ref().and_then(|queue| queue.shaped).map(|bytes| bytes.saturating_mul(8)),
        tx_queue_len: reading.tx_queue_len.map(u64::from),
        ring: ethtool.filter(|_| kind.is_none()).and_then(|ethtool| ethtool.ring(&reading.link.iface)),
        kind,
        gateway_routes: 0,
    }
}
