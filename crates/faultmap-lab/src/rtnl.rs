//! The few rtnetlink requests the lab needs: links, addresses, routes, neighbours, a shaper. Synchronous, one request at a time.
//!
//! The messages are built by hand: eight requests do not earn a dependency whose types change every quarter.
//! Layouts: linux/rtnetlink.h, linux/if_link.h, linux/veth.h, linux/pkt_sched.h.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use crate::error::LabError;
use crate::netns::NetNs;
use crate::topology::Prefix;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWQDISC: u16 = 36;
const TC_H_ROOT: u32 = 0xffff_ffff;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_BURST: u16 = 6;
const LINKLAYER_ETHERNET: u8 = 1;
/// Bytes that may leave at once: one full frame.
const SHAPER_BURST: u32 = 1_600;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x02;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTAX_MTU: u16 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_UNSPEC: u8 = 0;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_SCOPE_NOWHERE: u8 = 255;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const NUD_REACHABLE: u16 = 0x02;
const IFINFOMSG_LEN: usize = 16;
const OPERSTATE_UP: u8 = 6;
const UP_DEADLINE: Duration = Duration::from_secs(10);
const REPLY_LIMIT: usize = 32 * 1024;

/// An rtnetlink socket; it acts on the namespace it was opened in, whichever thread uses it.
#[derive(Debug)]
pub struct Rtnl {
    socket: OwnedFd,
}

/// One end of a veth pair to be made.
#[derive(Debug, Clone)]
pub struct VethEnd<'a> {
    /// Interface name, at most 15 bytes.
    pub name: &'a str,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The namespace it will be born in.
    pub netns: &'a NetNs,
}

/// What a route does with a packet (RTN_*, linux/rtnetlink.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// Deliver it.
    Unicast,
    /// Discard it silently.
    Blackhole,
    /// Discard it, answer ICMP host unreachable.
    Unreachable,
    /// Discard it, answer ICMP administratively prohibited.
    Prohibit,
    /// Go on as if this table had no route.
    Throw,
}

impl RouteKind {
    fn code(self) -> u8 {
        match self {
            RouteKind::Unicast => 1,
            RouteKind::Blackhole => 6,
            RouteKind::Unreachable => 7,
            RouteKind::Prohibit => 8,
            RouteKind::Throw => 9,
        }
    }
}

/// A route of the main table.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// The destinations it covers; `0.0.0.0/0` or `::/0` is the default route.
    pub to: Prefix,
    /// What it does.
    pub kind: RouteKind,
    /// The next router.
    pub via: Option<IpAddr>,
    /// The interface, where no gateway implies it.
    pub dev: Option<&'a str>,
    /// Lower wins among equal prefixes.
    pub metric: Option<u32>,
    /// The source address to prefer.
    pub source: Option<IpAddr>,
    /// A path MTU known beforehand, in bytes.
    pub mtu: Option<u32>,
}

impl Route<'_> {
    /// A plain route through a gateway.
    pub fn via(to: Prefix, gateway: IpAddr) -> Route<'static> {
        Route { to, kind: RouteKind::Unicast, via: Some(gateway), dev: None, metric: None, source: None, mtu: None }
    }

    /// A route that rejects or swallows.
    pub fn of_kind(to: Prefix, kind: RouteKind) -> Route<'static> {
        Route { to, kind, via: None, dev: None, metric: None, source: None, mtu: None }
    }
}

impl Rtnl {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Rtnl, LabError> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
            .map_err(|e| LabError::system("open", "rtnetlink socket", e))?;
        Ok(Rtnl { socket })
    }

    /// The interface index of `name`.
    pub fn index(&self, name: &str) -> Result<u32, LabError> {
        let mut msg = Message::new(RTM_GETLINK, NLM_F_REQUEST);
        msg.ifinfo(0, 0, 0);
        msg.text(IFLA_IFNAME, name);
        let reply = self.exchange(msg, "look up interface", name)?;
        let index = reply.get(4..8).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
        index.ok_or_else(|| netlink("look up interface", name, io::Error::other("short reply")))
    }

    /// Whether frames can pass: up, with carrier, and its queue attached (RFC 2863 operational state "up").
    ///
    /// The kernel gets there some time after the interface was set up; until then it drops what is sent.
    pub fn is_operational(&self, name: &str) -> Result<bool, LabError> {
        let mut msg = Message::new(RTM_GETLINK, NLM_F_REQUEST);
        msg.ifinfo(0, 0, 0);
        msg.text(IFLA_IFNAME, name);
        let reply = self.exchange(msg, "look up interface", name)?;
        let attributes = reply.get(IFINFOMSG_LEN..).unwrap_or_default();
        Ok(attribute(attributes, IFLA_OPERSTATE).and_then(<[u8]>::first) == Some(&OPERSTATE_UP))
    }

    /// Waits until [`Rtnl::is_operational`]: about a millisecond, more on a loaded machine.
    pub fn await_operational(&self, name: &str) -> Result<(), LabError> {
        let deadline = Instant::now() + UP_DEADLINE;
        while !self.is_operational(name)? {
            if Instant::now() > deadline {
                let late = io::Error::from(io::ErrorKind::TimedOut);
                return Err(netlink("wait for", name, late));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Makes a veth pair, both ends down, each in its namespace.
    pub fn create_veth(&self, near: &VethEnd<'_>, far: &VethEnd<'_>) -> Result<(), LabError> {
        let mut msg = Message::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        msg.ifinfo(0, 0, 0);
        msg.veth_end(near);
        msg.nest(IFLA_LINKINFO, |msg| {
            msg.text(IFLA_INFO_KIND, "veth");
            msg.nest(IFLA_INFO_DATA, |msg| {
                msg.nest(VETH_INFO_PEER, |msg| {
                    msg.ifinfo(0, 0, 0);
                    msg.veth_end(far);
                });
            });
        });
        self.acknowledged(msg, "create veth", near.name)
    }

    /// Sets an interface administratively up or down.
    pub fn set_up(&self, name: &str, up: bool) -> Result<(), LabError> {
        let iff_up = libc::IFF_UP as u32;
        let mut msg = Message::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK);
        msg.ifinfo(self.index(name)?, if up { iff_up } else { 0 }, iff_up);
        self.acknowledged(msg, if up { "set up" } else { "set down" }, name)
    }

    /// Sets an interface's MTU in bytes.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), LabError> {
        let mut msg = Message::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK);
        msg.ifinfo(self.index(name)?, 0, 0);
        msg.attr(IFLA_MTU, &mtu.to_ne_bytes());
        self.acknowledged(msg, "set MTU of", name)
    }

    /// Sets how many packets an interface's transmit queue holds; for a TAP device, its ring.
    pub fn set_queue_length(&self, name: &str, packets: u32) -> Result<(), LabError> {
        let mut msg = Message::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK);
        msg.ifinfo(self.index(name)?, 0, 0);
        msg.attr(IFLA_TXQLEN, &packets.to_ne_bytes());
        self.acknowledged(msg, "set queue length of", name)
    }

    /// Frames that an interface dropped on their way out, ever (struct rtnl_link_stats64, tx_dropped).
    pub fn transmit_drops(&self, name: &str) -> Result<u64, LabError> {
        const TX_DROPPED: usize = 7 * 8;
        let mut msg = Message::new(RTM_GETLINK, NLM_F_REQUEST);
        msg.ifinfo(0, 0, 0);
        msg.text(IFLA_IFNAME, name);
        let reply = self.exchange(msg, "look up interface", name)?;
        let stats = attribute(reply.get(IFINFOMSG_LEN..).unwrap_or_default(), IFLA_STATS64);
        let drops = stats.and_then(|stats| stats.get(TX_DROPPED..TX_DROPPED + 8)?.try_into().ok());
        drops.map(u64::from_ne_bytes).ok_or_else(|| netlink("read statistics of", name, io::Error::other("none in the answer")))
    }

    /// Sets an interface's MAC address.
    pub fn set_mac(&self, name: &str, mac: [u8; 6]) -> Result<(), LabError> {
        let mut msg = Message::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK);
        msg.ifinfo(self.index(name)?, 0, 0);
        msg.attr(IFLA_ADDRESS, &mac);
        self.acknowledged(msg, "set MAC address of", name)
    }

    /// Removes an interface.
    pub fn delete_link(&self, name: &str) -> Result<(), LabError> {
        let mut msg = Message::new(RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK);
        msg.ifinfo(self.index(name)?, 0, 0);
        self.acknowledged(msg, "delete", name)
    }

    /// Adds an address; IPv6 addresses skip duplicate detection and are usable at once.
    pub fn add_addr(&self, dev: &str, addr: Prefix) -> Result<(), LabError> {
        self.addr(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "add address", dev, addr, IFA_F_NODAD)
    }

    /// Adds an address; for an IPv6 one the kernel asks the network first whether somebody has it.
    pub fn add_addr_asking(&self, dev: &str, addr: Prefix) -> Result<(), LabError> {
        self.addr(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "add address", dev, addr, 0)
    }

    /// Removes an address.
    pub fn delete_addr(&self, dev: &str, addr: Prefix) -> Result<(), LabError> {
        self.addr(RTM_DELADDR, 0, "delete address", dev, addr, IFA_F_NODAD)
    }

    fn addr(&self, kind: u16, flags: u16, doing: &'static str, dev: &str, addr: Prefix, address_flags: u8) -> Result<(), LabError> {
        let mut msg = Message::new(kind, NLM_F_REQUEST | NLM_F_ACK | flags);
        let index = self.index(dev)?;
        // struct ifaddrmsg: family, prefixlen, flags, scope, index.
        msg.raw(&[family(addr.addr), addr.len, address_flags, 0]);
        msg.raw(&index.to_ne_bytes());
        msg.ip(IFA_LOCAL, addr.addr);
        msg.ip(IFA_ADDRESS, addr.addr);
        self.acknowledged(msg, doing, &format!("{addr} on {dev}"))
    }

    /// Adds a route; fails where an equal one exists.
    pub fn add_route(&self, route: &Route<'_>) -> Result<(), LabError> {
        self.route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, "add route", route)
    }

    /// Adds a route or puts it in the place of an equal one.
    pub fn replace_route(&self, route: &Route<'_>) -> Result<(), LabError> {
        self.route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, "replace route", route)
    }

    /// Removes the route that matches.
    pub fn delete_route(&self, route: &Route<'_>) -> Result<(), LabError> {
        self.route(RTM_DELROUTE, 0, "delete route", route)
    }

    fn route(&self, kind: u16, flags: u16, doing: &'static str, route: &Route<'_>) -> Result<(), LabError> {
        let mut msg = Message::new(kind, NLM_F_REQUEST | NLM_F_ACK | flags);
        // A deletion matches whoever made the route and whatever its scope, as ip(8) does it.
        let (protocol, scope) = match kind {
            RTM_DELROUTE => (RTPROT_UNSPEC, RT_SCOPE_NOWHERE),
            _ if route.via.is_none() && route.dev.is_some() => (RTPROT_STATIC, RT_SCOPE_LINK),
            _ => (RTPROT_STATIC, RT_SCOPE_UNIVERSE),
        };
        // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
        msg.raw(&[family(route.to.addr), route.to.len, 0, 0, RT_TABLE_MAIN, protocol, scope, route.kind.code()]);
        msg.raw(&0_u32.to_ne_bytes());
        if route.to.len > 0 {
            msg.ip(RTA_DST, route.to.network());
        }
        if let Some(via) = route.via {
            msg.ip(RTA_GATEWAY, via);
        }
        if let Some(dev) = route.dev {
            msg.attr(RTA_OIF, &self.index(dev)?.to_ne_bytes());
        }
        if let Some(metric) = route.metric {
            msg.attr(RTA_PRIORITY, &metric.to_ne_bytes());
        }
        if let Some(source) = route.source {
            msg.ip(RTA_PREFSRC, source);
        }
        if let Some(mtu) = route.mtu {
            msg.nest(RTA_METRICS, |msg| msg.attr(RTAX_MTU, &mtu.to_ne_bytes()));
        }
        self.acknowledged(msg, doing, &route.to.to_string())
    }

    /// Writes a neighbour entry. A permanent one is never verified again, a reachable one ages as usual.
    pub fn set_neighbour(&self, dev: &str, addr: IpAddr, mac: [u8; 6], permanent: bool) -> Result<(), LabError> {
        let state = if permanent { NUD_PERMANENT } else { NUD_REACHABLE };
        let mut msg = Message::new(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
        msg.neighbour(self.index(dev)?, addr, state);
        msg.attr(NDA_LLADDR, &mac);
        self.acknowledged(msg, "set neighbour", &format!("{addr} on {dev}"))
    }

    /// Removes a neighbour entry.
    pub fn delete_neighbour(&self, dev: &str, addr: IpAddr) -> Result<(), LabError> {
        let mut msg = Message::new(RTM_DELNEIGH, NLM_F_REQUEST | NLM_F_ACK);
        msg.neighbour(self.index(dev)?, addr, 0);
        self.acknowledged(msg, "delete neighbour", &format!("{addr} on {dev}"))
    }

    /// Puts a token bucket before an interface's transmit queue: so many kilobits a second, and so many bytes that may wait.
    pub fn set_shaper(&self, dev: &str, rate_kbit: u32, limit_bytes: u32) -> Result<(), LabError> {
        let mut msg = Message::new(RTM_NEWQDISC, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
        // struct tcmsg: family, pad, ifindex, handle, parent, info.
        msg.raw(&[0; 4]);
        msg.raw(&self.index(dev)?.to_ne_bytes());
        msg.raw(&0_u32.to_ne_bytes());
        msg.raw(&TC_H_ROOT.to_ne_bytes());
        msg.raw(&0_u32.to_ne_bytes());
        msg.text(TCA_KIND, "tbf");
        msg.nest(TCA_OPTIONS, |msg| {
            let bytes_per_second = rate_kbit.saturating_mul(125);
            // struct tc_tbf_qopt: two tc_ratespec (cell_log, linklayer, overhead, cell_align, mpu, rate), limit, buffer, mtu.
            let mut parameters = vec![0, LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
            parameters.extend(bytes_per_second.to_ne_bytes());
            parameters.extend([0; 12]);
            parameters.extend(limit_bytes.to_ne_bytes());
            parameters.extend([0; 8]);
            msg.attr(TCA_TBF_PARMS, &parameters);
            msg.attr(TCA_TBF_BURST, &SHAPER_BURST.to_ne_bytes());
        });
        self.acknowledged(msg, "shape", dev)
    }

    fn acknowledged(&self, msg: Message, doing: &'static str, what: &str) -> Result<(), LabError> {
        self.exchange(msg, doing, what).map(|_| ())
    }

    /// Sends one request and returns the payload of its one reply (empty for an acknowledgement).
    fn exchange(&self, msg: Message, doing: &'static str, what: &str) -> Result<Vec<u8>, LabError> {
        let fail = |e: io::Error| netlink(doing, what, e);
        send(self.socket.as_raw_fd(), &msg.finish(), MsgFlags::empty()).map_err(|e| fail(e.into()))?;
        let mut reply = vec![0_u8; REPLY_LIMIT];
        let len = recv(self.socket.as_raw_fd(), &mut reply, MsgFlags::empty()).map_err(|e| fail(e.into()))?;
        reply.truncate(len);
        let kind = reply.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
        let payload = reply.get(16..).unwrap_or_default().to_vec();
        if kind != Some(NLMSG_ERROR) {
            return Ok(payload);
        }
        match payload.get(..4).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes) {
            Some(0) => Ok(Vec::new()),
            Some(errno) => Err(fail(io::Error::from_raw_os_error(-errno))),
            None => Err(fail(io::Error::other("short error reply"))),
        }
    }
}

fn netlink(doing: &'static str, what: &str, source: io::Error) -> LabError {
    LabError::Netlink { doing, what: what.to_owned(), source }
}

fn family(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

/// The value of the first attribute of that kind.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let ([l0, l1, k0, k1], _) = attributes.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let value = attributes.get(4..len)?;
        if u16::from_ne_bytes([*k0, *k1]) == wanted {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

/// A netlink message under construction.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Message {
        let mut bytes = vec![0_u8; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0_u8; 8]);
        Message { bytes }
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// struct ifinfomsg: family, pad, type, index, flags, change.
    fn ifinfo(&mut self, index: u32, flags: u32, change: u32) {
        self.raw(&[0; 4]);
        self.raw(&index.to_ne_bytes());
        self.raw(&flags.to_ne_bytes());
        self.raw(&change.to_ne_bytes());
    }

    /// struct ndmsg: family, pad, ifindex, state, flags, type.
    fn neighbour(&mut self, index: u32, addr: IpAddr, state: u16) {
        self.raw(&[family(addr), 0, 0, 0]);
        self.raw(&index.to_ne_bytes());
        self.raw(&state.to_ne_bytes());
        self.raw(&[0, 0]);
        self.ip(NDA_DST, addr);
    }

    fn veth_end(&mut self, end: &VethEnd<'_>) {
        self.text(IFLA_IFNAME, end.name);
        self.attr(IFLA_ADDRESS, &end.mac);
        self.attr(IFLA_MTU, &end.mtu.to_ne_bytes());
        self.attr(IFLA_NET_NS_FD, &end.netns.file().as_raw_fd().to_ne_bytes());
    }

    fn attr(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.raw(&len.to_ne_bytes());
        self.raw(&kind.to_ne_bytes());
        self.raw(value);
        self.pad();
    }

    fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    fn ip(&mut self, kind: u16, addr: IpAddr) {
        match addr {
            IpAddr::V4(v4) => self.attr(kind, &v4.octets()),
            IpAddr::V6(v6) => self.attr(kind, &v6.octets()),
        }
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        let start = self.bytes.len();
        self.raw(&[0, 0]);
        self.raw(&kind.to_ne_bytes());
        fill(self);
        let len = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(slot) = self.bytes.get_mut(start..start + 2) {
            slot.copy_from_slice(&len.to_ne_bytes());
        }
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if let Some(slot) = self.bytes.get_mut(..4) {
            slot.copy_from_slice(&len.to_ne_bytes());
        }
        self.bytes
    }
}
