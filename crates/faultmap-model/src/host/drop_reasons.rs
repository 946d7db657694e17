//! What each of the kernel's drop reasons means, on which layer it lies, and whether it is worth a word: a list.
//!
//! By name, for the numbers differ between versions of Linux. The words follow the comments in `include/net/dropreason-core.h`.
//! What is not in the list is shown by its name, and never blamed.

use super::drops::{DropLayer, Weight};

/// A reason and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reason {
    /// Without `SKB_DROP_REASON_`.
    pub(super) name: &'static str,
    pub(super) layer: DropLayer,
    pub(super) weight: Weight,
    /// One plain sentence.
    pub(super) meaning: &'static str,
    /// The cause that the reason speaks for, where there is only one.
    pub(super) cause: Option<&'static str>,
}

impl Reason {
    const fn speaks_for(mut self, cause: &'static str) -> Self {
        self.cause = Some(cause);
        self
    }

    const fn weighs(mut self, weight: Weight) -> Self {
        self.weight = weight;
        self
    }
}

const fn reason(layer: DropLayer, name: &'static str, meaning: &'static str) -> Reason {
    Reason { name, layer, weight: Weight::Noted, meaning, cause: None }
}

const fn l1(name: &'static str, meaning: &'static str) -> Reason {
    reason(DropLayer::L1, name, meaning)
}

const fn l2(name: &'static str, meaning: &'static str) -> Reason {
    reason(DropLayer::L2, name, meaning)
}

const fn l3(name: &'static str, meaning: &'static str) -> Reason {
    reason(DropLayer::L3, name, meaning)
}

const fn l4(name: &'static str, meaning: &'static str) -> Reason {
    reason(DropLayer::L4, name, meaning)
}

const fn policy(name: &'static str, meaning: &'static str) -> Reason {
    reason(DropLayer::Policy, name, meaning)
}

const fn host(name: &'static str, meaning: &'static str) -> Reason {
    reason(DropLayer::Host, name, meaning)
}

/// Part of the ordinary life of protocols: copies, leftovers, the end of a socket.
const fn ordinary(layer: DropLayer, name: &'static str, meaning: &'static str) -> Reason {
    reason(layer, name, meaning).weighs(Weight::Ignored)
}

/// The meaning of a reason at a place in the kernel.
pub(super) fn meaning(name: &str, location: Option<&str>) -> Reason {
    let function = location.map(plain_function).unwrap_or_default();
    let at = || AT_PLACES.iter().find(|(place, reason)| reason.name == name && *place == function).map(|(_, reason)| *reason);
    let listed = || REASONS.iter().find(|reason| reason.name == name).copied();
    let of_subsystem = || SUBSYSTEMS.iter().find(|reason| name.starts_with(reason.name)).copied();
    at().or_else(listed).or_else(of_subsystem).unwrap_or(UNKNOWN)
}

/// Without what the compiler appends to parts and copies of a function (`ip_rcv_core.isra.0`), and without the module's name.
fn plain_function(symbol: &str) -> &str {
    symbol.split(['.', ' ', '+']).next().unwrap_or_default()
}

const UNKNOWN: Reason = reason(DropLayer::Unknown, "", "faultmap knows no more of this reason than its name");

/// Reasons that say little, at places that say more.
const AT_PLACES: &[(&str, Reason)] = &[
    ("ip6_mc_input", ordinary(DropLayer::L3, "NOT_SPECIFIED", "multicast for a group that nobody here has joined: every network has some")),
    ("ip_forward", l3("IP_INHDR", "the TTL ran out here: a loop, or somebody walks the path")),
    ("ip6_forward", l3("IP_INHDR", "the hop limit ran out here: a loop, or somebody walks the path")),
    ("ip_error", l3("NOT_SPECIFIED", "a packet to forward has no usable route: blackhole, unreachable or prohibit")),
    ("__dev_forward_skb2", l2("NOT_SPECIFIED", "a virtual link would not take the frame: larger than its MTU, or the other end is down")),
    ("____dev_forward_skb", l2("NOT_SPECIFIED", "a virtual link would not take the frame: larger than its MTU, or the other end is down")),
];

/// Reasons of subsystems, by the front of their names; modules keep the rest to themselves.
const SUBSYSTEMS: &[Reason] =
    &[l2("MAC80211", "the wireless stack dropped the frame"), policy("OPENVSWITCH", "a flow of Open vSwitch dropped the packet")];

const REASONS: &[Reason] = &[
    // L1 and its queues
    l1("FULL_RING", "the ring of the device is full: its reader is too slow").speaks_for("l1.queue-drops").weighs(Weight::Loss),
    l1("CPU_BACKLOG", "the CPU's backlog of received packets is full (net.core.netdev_max_backlog), or its flow limit is reached")
        .speaks_for("l1.queue-drops")
        .weighs(Weight::Loss),
    l1("QDISC_DROP", "the queue of the interface is full or not yet set up, or its shaper has no more to give")
        .speaks_for("l1.queue-drops")
        .weighs(Weight::Loss),
    l1("QDISC_OVERLIMIT", "the queue of the interface is over its limit").speaks_for("l1.queue-drops").weighs(Weight::Loss),
    l1("QDISC_CONGESTED", "the queue's manager dropped early, to tell the senders to slow down"),
    l1("QDISC_BURST_DROP", "the queue's burst allowance is used up"),
    l1("CAKE_FLOOD", "the queue's flood protection dropped a packet of a sender that does not slow down"),
    l1("FQ_BAND_LIMIT", "the priority band of the fair queue is full").speaks_for("l1.queue-drops").weighs(Weight::Loss),
    l1("FQ_HORIZON_LIMIT", "the packet's send time lies too far ahead for the fair queue"),
    l1("FQ_FLOW_LIMIT", "one flow filled its share of the fair queue").speaks_for("l1.queue-drops").weighs(Weight::Loss),
    l1("DUALPI2_STEP_DROP", "the queue's manager dropped early, to tell the senders to slow down"),
    l1("DEV_READY", "the device is not ready: its queue is not set up"),
    l1("DEV_HDR", "the device's driver could not read or write its own header"),
    l1("IP_CSUM", "the checksum of the IP header is wrong: bits changed on the way").speaks_for("l1.bit-errors"),
    l1("TCP_CSUM", "the TCP checksum is wrong: bits changed on the way").speaks_for("l1.bit-errors"),
    l1("UDP_CSUM", "the UDP checksum is wrong: bits changed on the way").speaks_for("l1.bit-errors"),
    l1("ICMP_CSUM", "the ICMP checksum is wrong: bits changed on the way").speaks_for("l1.bit-errors"),
    l1("SKB_CSUM", "the checksum could not be computed before sending"),
    // L2
    l2("OTHERHOST", "the frame was for another station: a switch floods, somebody has our MAC wrong, or an interface listens to all"),
    l2("NEIGH_FAILED", "the next hop does not answer ARP or neighbour discovery").speaks_for("l2.neighbor-unresolved"),
    l2("NEIGH_CREATEFAIL", "no neighbour entry could be made: the table is full").speaks_for("l2.neighbor-table-full").weighs(Weight::Loss),
    l2("NEIGH_QUEUEFULL", "too many packets wait for the next hop's MAC address"),
    l2("NEIGH_DEAD", "the neighbour entry was on its way out"),
    l2("NEIGH_HH_FILLFAIL", "the frame's header could not be filled from the neighbour entry"),
    l2("UNHANDLED_PROTO", "a protocol that this host does not speak, such as LLDP or spanning tree of a switch"),
    l2("UNICAST_IN_L2_MULTICAST", "a packet for one station came in a frame for many"),
    l2("BRIDGE_INGRESS_STP_STATE", "spanning tree has the bridge port blocked or learning"),
    l2("BRIDGE_NON_FORWARDING_STATE", "spanning tree has the bridge port blocked or learning"),
    l2("MAC_INVALID_SOURCE", "the source MAC address is no station's"),
    l2("LOCAL_MAC", "the source MAC address is our own: a loop, or somebody else uses it"),
    ordinary(DropLayer::L2, "MAC_IEEE_MAC_CONTROL", "a frame of flow control, which ends at the port"),
    l2("ARP_PVLAN_DISABLE", "an ARP request that would need proxying within the VLAN, which is off"),
    l2("NO_TX_TARGET", "the virtual device has no member to send by"),
    l2("PKT_TOO_SMALL", "the packet is shorter than its own header"),
    l2("HDR_TRUNC", "the packet's header is cut short"),
    l2("VXLAN_INVALID_HDR", "the VXLAN header is not valid"),
    l2("VXLAN_VNI_NOT_FOUND", "no VXLAN device here has this network identifier"),
    l2("VXLAN_INVALID_SMAC", "the frame within VXLAN has our own source MAC address"),
    l2("VXLAN_ENTRY_EXISTS", "the MAC address is fixed to another VXLAN tunnel end"),
    l2("VXLAN_NO_REMOTE", "the VXLAN device knows no tunnel end for this MAC address"),
    l2("IPV6_NDISC_FRAG", "a message of neighbour discovery came in fragments (RFC 6980)"),
    l2("IPV6_NDISC_HOP_LIMIT", "a message of neighbour discovery came through a router (RFC 4861)"),
    l2("IPV6_NDISC_BAD_CODE", "a message of neighbour discovery has a wrong code"),
    l2("IPV6_NDISC_BAD_OPTIONS", "a message of neighbour discovery has broken options"),
    ordinary(DropLayer::L2, "IPV6_NDISC_NS_OTHERHOST", "a neighbour solicitation for somebody else's address"),
    l2("PFMEMALLOC", "the kernel is out of memory and keeps its last for swapping").weighs(Weight::Loss),
    // L3
    l3("IP_INHDR", "the IP header is not valid"),
    l3("IP_RPFILTER", "the reverse-path filter: answers to this source would leave by another interface").speaks_for("l3.rp-filter"),
    l3("IP_NOPROTO", "nobody here speaks the protocol that the IP header names"),
    l3("IP_OUTNOROUTES", "there is no route to the destination").speaks_for("l3.no-route"),
    l3("IP_INNOROUTES", "a packet came in for which there is no route on"),
    l3("IP_INADDRERRORS", "the destination is not ours, and this host does not forward"),
    l3("IP_LOCAL_SOURCE", "a packet came in with our own source address"),
    l3("IP_INVALID_SOURCE", "the source address can be nobody's (multicast, broadcast, zero)"),
    l3("IP_INVALID_DEST", "the destination address can be nobody's"),
    l3("IP_LOCALNET", "an address of loopback came in from, or was to leave by, another interface"),
    l3("PKT_TOO_BIG", "the packet is larger than the MTU and must not be fragmented"),
    l3("DUP_FRAG", "the fragment came twice"),
    l3("FRAG_REASM_TIMEOUT", "fragments of one packet did not all come within 30 s"),
    l3("FRAG_TOO_FAR", "fragments of one packet are too far apart (net.ipv4.ipfrag_max_dist)"),
    l3("FRAG_FAILED", "the packet could not be fragmented"),
    l3("IPV6DISABLED", "IPv6 is switched off on the interface"),
    l3("IPV6_BAD_EXTHDR", "an IPv6 extension header is not valid"),
    l3("INVALID_PROTO", "the network protocol within the packet is not valid here"),
    l3("XFRM_POLICY", "the IPsec policy does not let the packet through"),
    l3("PSP_INPUT", "the packet fails its PSP encryption check"),
    l3("PSP_OUTPUT", "the packet could not be encrypted with PSP"),
    l3("IP_TUNNEL_ECN", "the congestion marks within and around the tunnel contradict each other"),
    l3("TUNNEL_TXINFO", "the packet to send by a tunnel has no tunnel's address"),
    l3("RECURSION_LIMIT", "tunnels or virtual devices lead into each other").weighs(Weight::Loss),
    // Policies: somebody wants it so
    policy("NETFILTER_DROP", "a rule of nftables or iptables on this host drops or rejects it").speaks_for("l4.local-firewall"),
    policy("TC_INGRESS", "a filter of traffic control drops it on its way in"),
    policy("TC_EGRESS", "a filter of traffic control drops it on its way out"),
    policy("TC_COOKIE_ERROR", "traffic control lost its own state of the packet"),
    policy("TC_CHAIN_NOTFOUND", "a filter of traffic control leads to a chain that does not exist"),
    policy("TC_RECLASSIFY_LOOP", "filters of traffic control lead into each other"),
    policy("XDP", "a program at the driver (XDP) drops it"),
    policy("BPF_CGROUP_EGRESS", "a BPF program of the sender's control group drops it").speaks_for("l4.local-firewall"),
    policy("SECURITY_HOOK", "the security module (SELinux, AppArmor, Smack) drops it"),
    policy("SOCKET_FILTER", "a filter that the program set on its own socket drops it"),
    policy("TAP_FILTER", "a filter of the tap device drops it"),
    policy("TAP_TXFILTER", "the tap device's reader takes no frames for this address"),
    // L4
    l4("NO_SOCKET", "no socket here waits for it: nothing listens on that port, or the connection is over"),
    l4("SOCKET_RCVBUFF", "the socket's receive buffer is full: the program reads too slowly").weighs(Weight::Loss),
    l4("SOCKET_BACKLOG", "the socket is busy, and its backlog full: the program keeps it locked too long").weighs(Weight::Loss),
    l4("PROTO_MEM", "the protocol's memory is used up (net.ipv4.tcp_mem, udp_mem)").weighs(Weight::Loss),
    l4("TCP_LISTEN_OVERFLOW", "the listener's accept queue is full").speaks_for("l4.accept-queue-full").weighs(Weight::Loss),
    l4("TCP_FLAGS", "the TCP flags make no sense in this state"),
    l4("TCP_RESET", "the segment was a reset, and did its work"),
    l4("TCP_INVALID_SEQUENCE", "the sequence number is outside the window"),
    l4("TCP_INVALID_END_SEQUENCE", "the segment ends outside the window"),
    l4("TCP_INVALID_ACK_SEQUENCE", "it acknowledges what lies outside the window"),
    l4("TCP_INVALID_SYN", "a SYN within a connection that stands"),
    l4("TCP_ACK_UNSENT_DATA", "it acknowledges what was never sent"),
    l4("TCP_RFC7323_PAWS", "the timestamp is older than the connection's last (RFC 7323)"),
    l4("TCP_RFC7323_TW_PAWS", "the timestamp is older than that of the connection before (RFC 7323)"),
    l4("TCP_RFC7323_TSECR", "the echoed timestamp is not one of ours (RFC 7323)"),
    l4("TCP_AUTH_HDR", "the TCP authentication option is broken"),
    l4("TCP_MD5NOTFOUND", "the peer does not sign with TCP-MD5, and should"),
    l4("TCP_MD5UNEXPECTED", "the peer signs with TCP-MD5, and no key is set here"),
    l4("TCP_MD5FAILURE", "the TCP-MD5 signature is wrong: another key"),
    l4("TCP_AONOTFOUND", "the peer does not sign with TCP-AO, and should"),
    l4("TCP_AOUNEXPECTED", "the peer signs with TCP-AO, and no key is set here"),
    l4("TCP_AOKEYNOTFOUND", "the TCP-AO key that the peer names is not known here"),
    l4("TCP_AOFAILURE", "the TCP-AO signature is wrong: another key"),
    l4("TCP_MINTTL", "the TTL is below the least that the program accepts (IP_MINTTL)"),
    l4("TCP_FASTOPEN", "a Fast Open packet that was already answered"),
    l4("TCP_ABORT_ON_DATA", "data came for a connection that the program has closed: it is reset"),
    l4("TCP_OFO_QUEUE_PRUNE", "segments out of order were thrown away to free memory").weighs(Weight::Loss),
    // The reader is too slow
    reason(DropLayer::L7, "TCP_ZEROWINDOW", "data came for a window that is shut: the program does not read").weighs(Weight::Loss),
    reason(DropLayer::L7, "TCP_OVERWINDOW", "data came beyond the window"),
    // The host
    host("NOMEM", "the kernel found no memory for it").weighs(Weight::Loss),
    host("SKB_UCOPY_FAULT", "the program's memory could not be read or written"),
    host("SKB_GSO_SEG", "a large packet could not be cut into segments"),
    reason(DropLayer::Unknown, "NOT_SPECIFIED", "the kernel gives no reason here: the place in the kernel is all there is"),
    // The ordinary life of protocols
    ordinary(DropLayer::L4, "TCP_OLD_DATA", "data that had arrived before"),
    ordinary(DropLayer::L4, "TCP_OLD_ACK", "an acknowledgment that had arrived before"),
    ordinary(DropLayer::L4, "TCP_TOO_OLD_ACK", "an acknowledgment far behind the newest"),
    ordinary(DropLayer::L4, "TCP_OLD_SEQUENCE", "a segment that had arrived before"),
    ordinary(DropLayer::L4, "TCP_OFOMERGE", "a segment that was within another one already"),
    ordinary(DropLayer::L4, "TCP_OFO_DROP", "a segment out of order that had arrived before"),
    ordinary(DropLayer::L4, "TCP_RFC7323_PAWS_ACK", "an old acknowledgment"),
    ordinary(DropLayer::L4, "TCP_CLOSE", "what was left when a connection ended"),
    ordinary(DropLayer::L4, "SOCKET_CLOSE", "what nobody had read when a socket was closed"),
    ordinary(DropLayer::L4, "SOCKET_DESTROYED", "what nobody had read when a socket was closed"),
    ordinary(DropLayer::Host, "QUEUE_PURGE", "what was left when a queue was emptied"),
    ordinary(DropLayer::Host, "PACKET_SOCK_ERROR", "a capture could not keep its copy"),
    ordinary(DropLayer::Host, "UNIX_DISCONNECT", "a local (Unix) socket was disconnected"),
    ordinary(DropLayer::Host, "UNIX_SKIP_OOB", "a local (Unix) socket passed over urgent data"),
    ordinary(DropLayer::Host, "CAN_RX_INVALID_FRAME", "a broken frame of a vehicle bus"),
    ordinary(DropLayer::Host, "CANFD_RX_INVALID_FRAME", "a broken frame of a vehicle bus"),
    ordinary(DropLayer::Host, "CANXL_RX_INVALID_FRAME", "a broken frame of a vehicle bus"),
    ordinary(DropLayer::Host, "CONSUMED", "the packet had reached its end"),
    ordinary(DropLayer::Host, "NOT_DROPPED_YET", "the packet had reached its end"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_stands_once_and_its_cause_is_in_the_registry() {
        let mut seen = BTreeSet::new();
        for reason in REASONS {
            assert!(seen.insert(reason.name), "{} stands twice", reason.name);
            assert!(!reason.meaning.is_empty() && !reason.meaning.ends_with('.'), "{}", reason.name);
            if let Some(cause) = reason.cause {
                assert!(crate::causes::find(cause).is_some(), "{cause} of {} is no cause", reason.name);
                assert_ne!(reason.weight, Weight::Ignored, "{} is ignored, and speaks for {cause}", reason.name);
            }
        }
    }

    #[test]
    fn a_place_may_say_more_than_the_reason() {
        let noise = meaning("NOT_SPECIFIED", Some("ip6_mc_input"));
        assert_eq!((noise.layer, noise.weight), (DropLayer::L3, Weight::Ignored));
        assert_eq!(meaning("NOT_SPECIFIED", Some("ip_error.part.0")).layer, DropLayer::L3);
        assert_eq!(meaning("NOT_SPECIFIED", Some("skb_release_data")).layer, DropLayer::Unknown);
        assert_eq!(meaning("NO_SOCKET", Some("ip6_mc_input")).layer, DropLayer::L4);
    }

    #[test]
    fn a_reason_that_nobody_told_us_of_is_never_blamed() {
        let newer = meaning("BRAND_NEW", None);
        assert_eq!((newer.layer, newer.weight, newer.cause), (DropLayer::Unknown, Weight::Noted, None));
        assert_eq!(meaning("OPENVSWITCH_3", None).layer, DropLayer::Policy);
    }
}
