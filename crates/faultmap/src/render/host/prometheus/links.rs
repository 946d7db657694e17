//! Interfaces and neighbours as metrics.

use super::exposition::{Exposition, Label};
use faultmap_model::host::{HostSample, LinkSample};

/// One metric for each of the kernel's own names (`rtnl_link_stats64`, include/uapi/linux/if_link.h).
pub(super) fn links(text: &mut Exposition, sample: &HostSample) {
    for link in &sample.links {
        let device = [("device", link.link.iface.as_str())];
        for (name, count) in &link.stats {
            let help = format!("Counter {name} of the interface (rtnl_link_stats64).");
            text.counter(&format!("faultmap_network_{}_total", stat_name(name)), &help, &device, *count);
        }
        state(text, link, &device);
        queues(text, link, &device);
    }
}

/// `rx_bytes` is `receive_bytes`, as node_exporter has it.
fn stat_name(name: &str) -> String {
    match name.split_once('_') {
        Some(("rx", rest)) => format!("receive_{rest}"),
        Some(("tx", rest)) => format!("transmit_{rest}"),
        _ if name == "multicast" => "receive_multicast".to_owned(),
        _ => name.to_owned(),
    }
}

fn state(text: &mut Exposition, sample: &LinkSample, device: &[Label<'_>]) {
    let link = &sample.link;
    let duplex = match link.full_duplex {
        Some(true) => "full",
        Some(false) => "half",
        None => "unknown",
    };
    let labels = [
        ("device", link.iface.as_str()),
        ("kind", sample.kind.as_deref().unwrap_or_default()),
        ("driver", link.driver.as_deref().unwrap_or_default()),
        ("duplex", duplex),
    ];
    text.gauge("faultmap_network_info", "What the interface is; always 1.", &labels, 1_u32);
    text.gauge("faultmap_network_up", "1 when the interface is switched on (IFF_UP).", device, link.up);
    text.gauge_of("faultmap_network_carrier", "1 when the other end of the cable is there (IFF_LOWER_UP).", device, link.carrier);
    text.gauge("faultmap_network_mtu_bytes", "Largest packet that the interface sends.", device, link.mtu);
    let bytes = link.speed_mbps.map(|speed| u64::from(speed) * 125_000);
    text.gauge_of(
        "faultmap_network_speed_bytes",
        "Speed of the link in bytes per second; absent where the driver has none.",
        device,
        bytes,
    );
    text.counter_of("faultmap_network_carrier_changes_total", "Times that the carrier came or went.", device, sample.carrier_changes);
}

fn queues(text: &mut Exposition, sample: &LinkSample, device: &[Label<'_>]) {
    text.counter_of("faultmap_network_qdisc_dropped_packets_total", "Packets that its queues dropped.", device, sample.qdisc_drops);
    text.gauge_of("faultmap_network_qdisc_queued_packets", "Packets that wait in its root queue.", device, sample.qdisc_queued);
    text.gauge_of("faultmap_network_transmit_queue_length", "Packets that a plain queue holds (txqueuelen).", device, sample.tx_queue_len);
    let Some(ring) = sample.ring else { return };
    let iface = sample.link.iface.as_str();
    for (direction, size, most) in [("receive", ring.rx, ring.rx_max), ("transmit", ring.tx, ring.tx_max)] {
        let labels = [("device", iface), ("direction", direction)];
        text.gauge("faultmap_network_ring_descriptors", "Descriptors of the driver's ring.", &labels, size);
        text.gauge("faultmap_network_ring_descriptors_limit", "The most that the ring can have.", &labels, most);
    }
}

/// What the tables hold, and the next hops.
pub(super) fn neighbors(text: &mut Exposition, sample: &HostSample) {
    for (state, entries) in &sample.neighbors {
        let state = format!("{state:?}").to_lowercase();
        text.gauge("faultmap_neighbor_entries", "Neighbours (ARP, ND) of this namespace.", &[("state", &state)], *entries);
    }
    for table in &sample.neighbor_tables {
        let family = [("family", if table.v6 { "ipv6" } else { "ipv4" })];
        text.gauge_of("faultmap_neighbor_table_entries", "Entries of the whole host's neighbour table.", &family, table.entries);
        for (number, limit) in ["1", "2", "3"].into_iter().zip(table.thresholds) {
            let labels = [family[0], ("threshold", number)];
            text.gauge_of("faultmap_neighbor_table_threshold", "gc_thresh1, 2 and 3; the third is the limit.", &labels, limit);
        }
        text.counter_of("faultmap_neighbor_table_fulls_total", "Entries refused because the table was full.", &family, table.table_fulls);
        text.counter_of(
            "faultmap_neighbor_forced_gc_runs_total",
            "Collections forced by a nearly full table.",
            &family,
            table.forced_gc_runs,
        );
        text.counter_of(
            "faultmap_neighbor_resolution_failures_total",
            "Solicitations that nobody answered.",
            &family,
            table.resolution_failures,
        );
    }
    for gateway in &sample.gateways {
        let address = gateway.address.to_string();
        let Some(state) = gateway.state else { continue };
        let state = format!("{state:?}").to_lowercase();
        let labels = [("address", address.as_str()), ("device", gateway.iface.as_str()), ("state", &state)];
        text.gauge("faultmap_gateway_neighbor_state", "State of the neighbour entry of a next hop; always 1.", &labels, 1_u32);
    }
}
