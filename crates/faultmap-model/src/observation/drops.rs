//! Packets of the check that this host's own kernel dropped, as the kernel itself gave the reason.

use crate::host::drops::{DropSample, FlowCount};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

const TCP: u8 = 6;

/// What this host's kernel dropped between itself and the target while answers were provoked (needs CAP_BPF and CAP_PERFMON).
/// Empty: it dropped nothing of the target's, in so far as the packets' headers could be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocalDrops {
    /// The target whose answers were provoked.
    pub to: SocketAddr,
    /// Connects sent toward it in the window.
    pub provoked: u32,
    /// Length of the window, milliseconds.
    pub window_ms: f64,
    /// By reason and direction.
    pub drops: Vec<LocalDrop>,
}

/// Packets to or from the target that were dropped for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalDrop {
    /// The kernel's name, without `SKB_DROP_REASON_`.
    pub reason: String,
    /// From the target to us; else from us to it.
    pub incoming: bool,
    /// Packets.
    pub count: u64,
    /// The kernel's function, where all drops for the reason were in one.
    pub location: Option<String>,
}

impl LocalDrops {
    /// What of a count concerns TCP between us and `to`.
    #[must_use]
    pub fn new(to: SocketAddr, provoked: u32, sample: &DropSample) -> Self {
        let mut drops: Vec<LocalDrop> = Vec::new();
        for flow in &sample.flows {
            let Some(incoming) = direction(flow, to) else { continue };
            match drops.iter_mut().find(|drop| drop.reason == flow.reason && drop.incoming == incoming) {
                Some(drop) => drop.count = drop.count.saturating_add(flow.count),
                None => drops.push(LocalDrop {
                    reason: flow.reason.clone(),
                    incoming,
                    count: flow.count,
                    location: only_location(sample, &flow.reason),
                }),
            }
        }
        drops.sort_by(|a, b| (&a.reason, a.incoming).cmp(&(&b.reason, b.incoming)));
        Self { to, provoked, window_ms: sample.age_ms, drops }
    }

    /// Packets dropped for a reason: on their way out, and on their way in.
    #[must_use]
    pub fn of(&self, reason: &str) -> (u64, u64) {
        let sum = |incoming| {
            let counts = self.drops.iter().filter(|drop| drop.reason == reason && drop.incoming == incoming).map(|drop| drop.count);
            counts.fold(0, u64::saturating_add)
        };
        (sum(false), sum(true))
    }
}

/// `true`: from the target; `false`: to it; `None`: of somebody else.
fn direction(flow: &FlowCount, to: SocketAddr) -> Option<bool> {
    let [a, b, c, d] = flow.transport;
    let end = |ip: IpAddr, port: [u8; 2]| SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(port));
    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
    if flow.protocol != TCP {
        return None;
    }
    if end(flow.source, [a, b]) == to {
        return Some(true);
    }
    (end(flow.destination, [c, d]) == to).then_some(false)
}

fn only_location(sample: &DropSample, reason: &str) -> Option<String> {
    let mut places = sample.counts.iter().filter(|count| count.reason == reason && count.namespace.is_some()).map(|count| &count.location);
    let first = places.next()?;
    places.all(|place| place == first).then(|| first.clone()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::drops::DropCount;

    fn flow(source: &str, destination: &str, protocol: u8) -> FlowCount {
        let (source, destination): (SocketAddr, SocketAddr) = (source.parse().expect("one"), destination.parse().expect("one"));
        let ([a, b], [c, d]) = (source.port().to_be_bytes(), destination.port().to_be_bytes());
        FlowCount {
            reason: "NETFILTER_DROP".to_owned(),
            namespace: 7,
            protocol,
            source: source.ip(),
            destination: destination.ip(),
            transport: [a, b, c, d],
            count: 2,
            socket: None,
        }
    }

    #[test]
    fn only_packets_of_the_target_and_its_port_count_each_way_apart() {
        let count = |location: &str, namespace| DropCount {
            reason: "NETFILTER_DROP".to_owned(),
            namespace,
            location: Some(location.to_owned()),
            count: 9,
        };
        let sample = DropSample {
            age_ms: 220.0,
            namespace: Some(7),
            counts: vec![count("nft_do_chain", Some(7)), count("elsewhere", None)],
            flows: vec![
                flow("10.0.0.1:40000", "10.0.0.9:443", TCP),
                flow("10.0.0.1:40001", "10.0.0.9:443", TCP),
                flow("10.0.0.9:443", "10.0.0.1:40000", TCP),
                flow("10.0.0.9:80", "10.0.0.1:40000", TCP),
                flow("10.0.0.1:40000", "10.0.0.9:443", 17),
            ],
            elsewhere: 0,
            lost: 0,
        };
        let drops = LocalDrops::new("10.0.0.9:443".parse().expect("addr"), 4, &sample);
        assert_eq!(drops.of("NETFILTER_DROP"), (4, 2));
        assert_eq!(drops.drops.iter().map(|drop| drop.location.as_deref()).collect::<Vec<_>>(), [Some("nft_do_chain"); 2]);
    }
}
