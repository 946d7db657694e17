//! This namespace's interfaces as rtnetlink describes them: state, counters, addresses, queue drops.
//! Never asks a driver (see `ethtool`) and never says whether a state is bad.

use crate::HostError;
use crate::neighbor::mac_text;
use crate::netlink::{Attributes, Body, Extent, Message, Netlink, Request, text, u8_at, u32_at, u64_at};
use crate::route::address;
use faultmap_model::observation::{Link, LinkDelta};
use std::net::IpAddr;
use std::ops::ControlFlow;

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/pkt_sched.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const IFINFOMSG_LEN: usize = 16;
const IFADDRMSG_LEN: usize = 8;
const TCMSG_LEN: usize = 20;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_CARRIER: u16 = 33;
const IFLA_CARRIER_CHANGES: u16 = 35;
const IFLA_EXT_MASK: u16 = 29;
/// Without the IPv4 and IPv6 statistics of each interface, which are half of the answer and unread.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFLA_CARRIER_DOWN_COUNT: u16 = 48;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_CAKE_BASE_RATE64: u16 = 2;
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;
const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_H_INGRESS: u32 = 0xffff_fff1;

/// Interfaces, addresses and queues read at most; hosts of many containers have some thousands.
const LINKS_MAX: usize = 8192;
const ADDRESSES_MAX: usize = 16_384;
const QUEUES_MAX: usize = 65_536;

/// `struct rtnl_link_stats64`, in its order; a kernel of another age has fewer or more at the end.
const STATS: [&str; 25] = [
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_errors",
    "tx_errors",
    "rx_dropped",
    "tx_dropped",
    "multicast",
    "collisions",
    "rx_length_errors",
    "rx_over_errors",
    "rx_crc_errors",
    "rx_frame_errors",
    "rx_fifo_errors",
    "rx_missed_errors",
    "tx_aborted_errors",
    "tx_carrier_errors",
    "tx_fifo_errors",
    "tx_heartbeat_errors",
    "tx_window_errors",
    "rx_compressed",
    "tx_compressed",
    "rx_nohandler",
    "rx_otherhost_dropped",
];

/// An interface with its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkReading {
    pub(crate) link: Link,
    pub(crate) own_addresses: Vec<IpAddr>,
    pub(crate) tx_queue_len: Option<u32>,
    carrier_changes: Option<u32>,
    /// In the order of [`STATS`], as many as this kernel has.
    stats: Vec<u64>,
    /// Of the root and the ingress queue together.
    pub(crate) qdisc_drops: Option<u64>,
    /// The root queue.
    pub(crate) root_queue: Option<Queue>,
}

/// The root queue of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Such as `fq_codel`.
    pub(crate) kind: String,
    /// Packets that wait.
    pub(crate) queued: u32,
    /// Rate to which it shapes, bytes a second.
    pub(crate) shaped: Option<u64>,
}

impl LinkReading {
    /// The counters by name.
    pub(crate) fn named_stats(&self) -> impl Iterator<Item = (&'static str, u64)> {
        STATS.iter().copied().zip(self.stats.iter().copied())
    }

    /// Carrier changes since the interface was made.
    pub(crate) fn carrier_changes(&self) -> Option<u32> {
        self.carrier_changes
    }
}

/// Reads all interfaces; the second part names what could not be read, the rest goes on.
pub(crate) fn read(netlink: &mut Netlink) -> (Vec<LinkReading>, Vec<HostError>) {
    let mut failed = Vec::new();
    let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    let all_links = Body::new(&[0; IFINFOMSG_LEN]).with(IFLA_EXT_MASK, &mask);
    let mut links = dump(netlink, ("RTM_GETLINK", RTM_GETLINK), all_links.bytes(), LINKS_MAX, read_link)
        .unwrap_or_else(|error| failed_with(&mut failed, error));
    links.sort_by_key(|reading| reading.link.index);
    // A dump during which an interface came or went may list another one twice (NLM_F_DUMP_INTR).
    links.dedup_by_key(|reading| reading.link.index);
    let addresses = dump(netlink, ("RTM_GETADDR", RTM_GETADDR), &[0; IFADDRMSG_LEN], ADDRESSES_MAX, read_address)
        .unwrap_or_else(|error| failed_with(&mut failed, error));
    let queues = dump(netlink, ("RTM_GETQDISC", RTM_GETQDISC), &[0; TCMSG_LEN], QUEUES_MAX, read_queue)
        .unwrap_or_else(|error| failed_with(&mut failed, error));

    for reading in addresses {
        if let Some(link) = by_index(&mut links, reading.index) {
            link.link.addresses.push(reading.shown);
            link.own_addresses.push(reading.address);
        }
    }
    for reading in queues {
        if let Some(link) = by_index(&mut links, reading.index) {
            let sum = link.qdisc_drops.unwrap_or(0);
            link.qdisc_drops = Some(sum.saturating_add(u64::from(reading.drops)));
            if reading.root {
                link.root_queue = Some(reading.queue);
            }
        }
    }
    (links, failed)
}

/// What the counters of `before` did until `after`. `None` when the interface went away or is another one by now.
pub(crate) fn delta(before: &LinkReading, after: &[LinkReading], window_ms: f64) -> Option<LinkDelta> {
    let same = |now: &&LinkReading| now.link.index == before.link.index && now.link.iface == before.link.iface;
    let now = after.iter().find(same)?;
    let counted = STATS.iter().zip(before.stats.iter().zip(&now.stats));
    // A counter that fell was reset with its device.
    let stats = counted.map(|(name, (then, now))| (*name, now.saturating_sub(*then)));
    // A queue that had dropped nothing before need not have been listed.
    let drops = now.qdisc_drops.map(|now| queue_rise(before.qdisc_drops.unwrap_or(0), now));
    let rises = stats.chain(drops.map(|rise| ("qdisc_drops", rise)));
    Some(LinkDelta {
        iface: before.link.iface.clone(),
        window_ms,
        carrier_changes: now.carrier_changes.unwrap_or(0).saturating_sub(before.carrier_changes.unwrap_or(0)),
        rose: rises.filter(|(_, rise)| *rise > 0).map(|(name, rise)| (name.to_owned(), rise)).collect(),
    })
}

/// Queue drops are 32 bits wide in the kernel (`struct gnet_stats_queue`); a replaced queue also starts at 0 again,
/// and only a fall from near the top is a wrap.
fn queue_rise(then: u64, now: u64) -> u64 {
    let range = 1_u64 << 32;
    if now < then && then < range && then > range - (range >> 4) {
        return range - then + now;
    }
    now.saturating_sub(then)
}

fn dump<T>(
    netlink: &mut Netlink,
    (operation, kind): (&'static str, u16),
    body: &[u8],
    limit: usize,
    read: impl Fn(&Message<'_>) -> Option<T>,
) -> Result<Vec<T>, HostError> {
    let mut found = Vec::new();
    let extent = netlink.dump(&Request { operation, kind, body }, |message| {
        found.extend(read(message));
        if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if !matches!(extent, Ok(Extent::Whole))
        && let Ok(fresh) = Netlink::route()
    {
        // The rest of the table waits in the old socket; nothing else could be asked there.
        *netlink = fresh;
    }
    extent.map(|_| found)
}

fn failed_with<T>(failed: &mut Vec<HostError>, error: HostError) -> Vec<T> {
    failed.push(error);
    Vec::new()
}

fn by_index(links: &mut [LinkReading], index: u32) -> Option<&mut LinkReading> {
    let at = links.binary_search_by_key(&index, |reading| reading.link.index).ok()?;
    links.get_mut(at)
}

/// `struct ifinfomsg`: family, padding, type, index, flags, change.
fn read_link(message: &Message<'_>) -> Option<LinkReading> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    let flags = u32_at(message.body, 8)?;
    let mut reading = LinkReading {
        link: Link {
            iface: String::new(),
            index: u32_at(message.body, 4)?,
            loopback: flags & libc::IFF_LOOPBACK.cast_unsigned() != 0,
            up: flags & libc::IFF_UP.cast_unsigned() != 0,
            carrier: None,
            operstate: "unknown".to_owned(),
            speed_mbps: None,
            max_speed_mbps: None,
            full_duplex: None,
            mtu: 0,
            mac: None,
            addresses: Vec::new(),
            carrier_down_count: None,
            driver: None,
            on_path: false,
        },
        own_addresses: Vec::new(),
        tx_queue_len: None,
        carrier_changes: None,
        stats: Vec::new(),
        qdisc_drops: None,
        root_queue: None,
    };
    let link = &mut reading.link;
    for (kind, value) in message.attributes(IFINFOMSG_LEN) {
        match kind {
            IFLA_IFNAME => link.iface = text(value),
            IFLA_ADDRESS => link.mac = mac_text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0).unwrap_or_default(),
            IFLA_OPERSTATE => link.operstate = operstate(u8_at(value, 0)).to_owned(),
            // An interface that is down does not listen to its medium: the bit then means nothing.
            IFLA_CARRIER => link.carrier = u8_at(value, 0).filter(|_| link.up).map(|carrier| carrier != 0),
            IFLA_CARRIER_DOWN_COUNT => link.carrier_down_count = u32_at(value, 0),
            IFLA_CARRIER_CHANGES => reading.carrier_changes = u32_at(value, 0),
            IFLA_TXQLEN => reading.tx_queue_len = u32_at(value, 0),
            IFLA_LINKINFO => link.driver = info_kind(value),
            IFLA_STATS64 => reading.stats = read_stats(value),
            _ => {}
        }
    }
    (!reading.link.iface.is_empty()).then_some(reading)
}

fn info_kind(value: &[u8]) -> Option<String> {
    Attributes::new(value).find(|(kind, _)| *kind == IFLA_INFO_KIND).map(|(_, value)| text(value))
}

fn read_stats(value: &[u8]) -> Vec<u64> {
    (0..STATS.len()).map_while(|place| u64_at(value, place * 8)).collect()
}

/// `IF_OPER_*` of linux/if.h, RFC 2863.
fn operstate(value: Option<u8>) -> &'static str {
    match value {
        Some(1) => "notpresent",
        Some(2) => "down",
        Some(3) => "lowerlayerdown",
        Some(4) => "testing",
        Some(5) => "dormant",
        Some(6) => "up",
        _ => "unknown",
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct AddressReading {
    index: u32,
    address: IpAddr,
    shown: String,
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope, index.
fn read_address(message: &Message<'_>) -> Option<AddressReading> {
    if message.kind != RTM_NEWADDR {
        return None;
    }
    let prefix = u8_at(message.body, 1)?;
    let mut flags = u32::from(u8_at(message.body, 2)?);
    let index = u32_at(message.body, 4)?;
    let (mut own, mut peer) = (None, None);
    for (kind, value) in message.attributes(IFADDRMSG_LEN) {
        match kind {
            IFA_LOCAL => own = address(value),
            IFA_ADDRESS => peer = address(value),
            IFA_FLAGS => flags = u32_at(value, 0).unwrap_or(flags),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end; elsewhere IPv6 has only that one.
    let address = own.or(peer)?;
    let state = match flags {
        flags if flags & IFA_F_DADFAILED != 0 => " dadfailed",
        flags if flags & IFA_F_TENTATIVE != 0 => " tentative",
        _ => "",
    };
    Some(AddressReading { index, address, shown: format!("{address}/{prefix}{state}") })
}

/// One queue of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct QueueReading {
    index: u32,
    root: bool,
    drops: u32,
    queue: Queue,
}

/// A root or ingress queue; `struct tcmsg`: family, padding, ifindex, handle, parent, info.
/// Inner queues are left out: their drops are counted by the root too (`qdisc_tree_reduce_backlog`, `mq_dump`).
fn read_queue(message: &Message<'_>) -> Option<QueueReading> {
    let parent = u32_at(message.body, 12)?;
    if message.kind != RTM_NEWQDISC || (parent != TC_H_ROOT && parent != TC_H_INGRESS) {
        return None;
    }
    let (mut kind, mut stats, mut options) = (String::new(), None, None);
    for (attribute, value) in message.attributes(TCMSG_LEN) {
        match attribute {
            TCA_KIND => kind = text(value),
            TCA_OPTIONS => options = Some(value),
            TCA_STATS2 => stats = Some(value),
            _ => {}
        }
    }
    let (_, queue) = Attributes::new(stats?).find(|(kind, _)| *kind == TCA_STATS_QUEUE)?;
    let shaped = options.and_then(|options| shaped_rate(&kind, options)).filter(|rate| *rate > 0);
    // struct gnet_stats_queue: qlen, backlog, drops, requeues, overlimits.
    let (queued, drops) = (u32_at(queue, 0)?, u32_at(queue, 8)?);
    Some(QueueReading { index: u32_at(message.body, 4)?, root: parent == TC_H_ROOT, drops, queue: Queue { kind, queued, shaped } })
}

/// Bytes a second that a shaper lets pass: of `tbf` the rate of `struct tc_tbf_qopt`, unless the wider attribute is there.
fn shaped_rate(kind: &str, options: &[u8]) -> Option<u64> {
    let attribute = |wanted: u16| Attributes::new(options).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    match kind {
        "tbf" => {
            let wide = attribute(TCA_TBF_RATE64).and_then(|value| u64_at(value, 0));
            wide.or_else(|| attribute(TCA_TBF_PARMS).and_then(|value| u32_at(value, 8)).map(u64::from))
        }
        "cake" => attribute(TCA_CAKE_BASE_RATE64).and_then(|value| u64_at(value, 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link_body(flags: i32, carrier: u8, rx_crc_errors: u64) -> Vec<u8> {
        let mut header = vec![0; IFINFOMSG_LEN];
        header[4..8].copy_from_slice(&3_u32.to_ne_bytes());
        header[8..12].copy_from_slice(&flags.to_ne_bytes());
        let mut stats = vec![0; 200];
        stats[96..104].copy_from_slice(&rx_crc_errors.to_ne_bytes());
        let kind = Body::new(&[]).with(IFLA_INFO_KIND, b"veth\0");
        Body::new(&header)
            .with(IFLA_IFNAME, b"eth0\0")
            .with(IFLA_CARRIER, &[carrier])
            .with(IFLA_OPERSTATE, &[3])
            .with(IFLA_LINKINFO, kind.bytes())
            .with(IFLA_STATS64, &stats)
            .bytes()
            .to_vec()
    }

    fn link(body: &[u8]) -> LinkReading {
        read_link(&Message { kind: RTM_NEWLINK, flags: 0, sequence: 0, body }).expect("a link")
    }

    #[test]
    fn a_pulled_cable_is_an_up_interface_without_carrier() {
        let read = link(&link_body(libc::IFF_UP, 0, 0)).link;
        assert_eq!((read.up, read.carrier, read.operstate.as_str()), (true, Some(false), "lowerlayerdown"));
        assert_eq!(read.driver.as_deref(), Some("veth"));
    }

    #[test]
    fn the_carrier_of_an_interface_that_is_down_is_unknown() {
        assert_eq!(link(&link_body(0, 1, 0)).link.carrier, None);
    }

    #[test]
    fn crc_errors_that_rose_are_named_and_nothing_else_is() {
        let (before, after) = (link(&link_body(1, 1, 5)), link(&link_body(1, 1, 9)));
        let delta = delta(&before, &[after], 1.0).expect("the same link");
        assert_eq!(delta.rose, std::collections::BTreeMap::from([("rx_crc_errors".to_owned(), 4)]));
    }

    #[test]
    fn an_interface_made_anew_under_the_old_name_has_no_difference() {
        let before = link(&link_body(1, 1, 5));
        let mut after = before.clone();
        after.link.index = 9;
        assert_eq!(delta(&before, &[after], 1.0), None);
    }

    #[test]
    fn queue_drops_wrap_at_32_bits_but_a_new_queue_starts_at_zero() {
        assert_eq!(queue_rise((1 << 32) - 2, 3), 5);
        assert_eq!(queue_rise(1000, 3), 0);
    }

    #[test]
    fn an_address_that_another_host_holds_too_is_marked() {
        let header = [libc::AF_INET6 as u8, 64, 0, 0, 3, 0, 0, 0];
        let own: IpAddr = "fd00::2".parse().expect("an address");
        let body = Body::new(&header).with_address(IFA_ADDRESS, own).with(IFA_FLAGS, &(IFA_F_DADFAILED | IFA_F_TENTATIVE).to_ne_bytes());
        let read = read_address(&Message { kind: RTM_NEWADDR, flags: 0, sequence: 0, body: body.bytes() });
        assert_eq!(read.map(|read| read.shown).as_deref(), Some("fd00::2/64 dadfailed"));
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_a_panic(kind in 16_u16..40, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let message = Message { kind, flags: 0, sequence: 0, body: &bytes };
            let _ = (read_link(&message), read_address(&message), read_queue(&message));
        }
    }
}
