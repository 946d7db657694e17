//! How many packets of which protocol a capture holds. It looks at nothing but what each frame says it is.

use super::{Totals, Volume};
use crate::packet::Captured;
use faultmap_wire::dissect::{Frame, Network, Transport};

/// Packets by protocol, counted without a look into a map; the link type is that of the packets since the last change.
#[derive(Default)]
pub(super) struct Counts {
    by_protocol: [Volume; NAMES.len()],
    link: Option<(u32, u64)>,
    /// By link type, but for the packets since the last change.
    links: std::collections::BTreeMap<u32, u64>,
}

const NAMES: [&str; 10] = ["arp", "ipv4", "ipv6", "tcp", "udp", "icmp", "icmpv6", "fragments", "tunnelled", "other"];

impl Counts {
    pub(super) fn add(&mut self, captured: &Captured<'_>, frame: &Frame<'_>) {
        match &mut self.link {
            Some((link, count)) if *link == captured.link.0 => *count += 1,
            _ => {
                self.settle_link();
                self.link = Some((captured.link.0, 1));
            }
        }
        let mut add = |index: usize| {
            if let Some(volume) = self.by_protocol.get_mut(index) {
                volume.add(u64::from(captured.wire_len));
            }
        };
        if frame.tunnels > 0 {
            add(8);
        }
        match &frame.network {
            Network::Arp(_) => add(0),
            Network::Other(_) => add(9),
            Network::Ip(packet) => {
                add(if packet.ip.src.is_ipv4() { 1 } else { 2 });
                match packet.transport {
                    Transport::Tcp(..) => add(3),
                    Transport::Udp(..) => add(4),
                    Transport::Icmp(..) => add(5),
                    Transport::Icmpv6(..) => add(6),
                    Transport::Other(_) => {}
                }
                if packet.ip.fragment.is_some() {
                    add(7);
                }
            }
        }
    }

    fn settle_link(&mut self) {
        if let Some((link, count)) = self.link.take() {
            *self.links.entry(link).or_default() += count;
        }
    }

    /// Writes down all that was counted.
    pub(super) fn tell(mut self, totals: &mut Totals) {
        self.settle_link();
        totals.link_types = self.links;
        let seen = NAMES.iter().zip(&self.by_protocol).filter(|(_, volume)| volume.packets > 0);
        totals.protocols = seen.map(|(name, volume)| (*name, *volume)).collect();
    }
}
