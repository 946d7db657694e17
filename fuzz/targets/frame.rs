//! Frames as any wire may deliver them: every header view reads them without panic.
#![cfg_attr(fuzzing, no_main)]

use faultmap_wire::{Arp, Ethernet, Icmp, Icmpv6, IpPacket, Tcp, Udp};

faultmap_fuzz::target!(|data| {
    let Ok((ethernet, payload)) = Ethernet::parse(data) else { return };
    let _ = Arp::parse(payload);
    let Some(Ok(packet)) = IpPacket::in_frame(ethernet.ethertype, payload) else { return };
    let body = packet.payload;
    let _ = (Tcp::parse(body), Udp::parse(body), Icmp::parse(body), Icmpv6::parse(body));
});
