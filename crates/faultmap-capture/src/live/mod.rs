//! Packets as they pass an interface, from the kernel's ring (needs CAP_NET_RAW). What the kernel had no room for is counted. It judges nothing.
//!
//! Frames keep their own link header, on every interface at once too: each is handed out with the link type of its interface. A VLAN tag that
//! the network card took out is put back. On a loopback interface every packet shows twice, leaving and arriving: only the arriving one counts.

mod error;
mod recorder;
mod ring;

pub use error::LiveError;
pub use recorder::{RecordError, Recorder, Rotation, WholeBlocks, settle};

use crate::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::LinkType;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_indextoname, if_nameindex, if_nametoindex};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use ring::{Ring, Slot};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// Blocks read at one call, so that a flood cannot keep it from returning.
const MOST_BLOCKS: usize = 256;
/// Names of interfaces remembered.
const MOST_NAMES: usize = 4096;
const EVERYTHING: u16 = 0x0003;
const PACKET_OUTGOING: u8 = 4;
// linux/if_arp.h
const ETHER: u16 = 1;
const TUNNEL: u16 = 768;
const TUNNEL6: u16 = 769;
const LOOPBACK: u16 = 772;
const SIT: u16 = 776;
const IPGRE: u16 = 778;
const NONE: u16 = 65534;

/// What is captured, and how.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The interface; `any` is every one.
    pub interface: String,
    /// A filter for the kernel, as classic BPF; empty takes everything. It sees frames without the VLAN tag that the card took out.
    pub filter: Vec<libc::sock_filter>,
    /// Frames of other stations too, where the medium shows them.
    pub promiscuous: bool,
    /// Room for packets that wait to be read, bytes.
    pub buffer: usize,
}

impl Wanted {
    /// Everything on an interface, with room for 32 MiB.
    #[must_use]
    pub fn on(interface: &str) -> Self {
        Self { interface: interface.to_owned(), filter: Vec::new(), promiscuous: false, buffer: 32 << 20 }
    }
}

/// What the kernel counted since the capture began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Packets that matched, those dropped included.
    pub received: u64,
    /// Packets that were lost because the buffer was full.
    pub dropped: u64,
}

/// A capture that runs.
#[derive(Debug)]
pub struct Live {
    // Unmapped before the socket is closed.
    ring: Ring,
    socket: OwnedFd,
    interface: String,
    index: u32,
    names: HashMap<u32, String>,
    counts: Counts,
    number: u64,
    unread: u64,
    scratch: Vec<u8>,
}

/// The interfaces of this network namespace.
#[must_use]
pub fn interfaces() -> Vec<String> {
    let listed = if_nameindex().map(|list| list.iter().map(|entry| entry.name().to_string_lossy().into_owned()).collect());
    listed.unwrap_or_default()
}

impl Live {
    /// Begins to capture.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, for an interface that is not there, and those of the kernel.
    pub fn open(wanted: &Wanted) -> Result<Self, LiveError> {
        let name = wanted.interface.as_str();
        let fail = |operation: &'static str, source: io::Error| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => LiveError::NotAllowed { interface: name.to_owned() },
            _ => LiveError::System { operation, interface: name.to_owned(), source },
        };
        let index = index_of(name)?;
        // Bound to no protocol at first: nothing may enter the ring before the filter stands.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None).map_err(|e| fail("open a packet socket", e.into()))?;
        let ring = Ring::map(&socket, wanted.buffer).map_err(|e| fail("map a packet ring", e))?;
        if !wanted.filter.is_empty() {
            attach(&socket, &wanted.filter).map_err(|e| fail("attach the filter", e))?;
        }
        bind(&socket, index).map_err(|e| fail("bind the packet socket", e))?;
        if wanted.promiscuous && index != 0 {
            promiscuous(&socket, index).map_err(|e| fail("set promiscuous mode", e))?;
        }
        let interface = name.to_owned();
        let (names, counts) = (HashMap::new(), Counts::default());
        Ok(Self { ring, socket, interface, index, names, counts, number: 0, unread: 0, scratch: Vec::new() })
    }

    /// Hands the packets that wait to `take`, each with the name of its interface, and waits up to `wait` for the first. Gives how many there
    /// were.
    ///
    /// # Errors
    /// When the interface went away.
    pub fn read(&mut self, wait: Duration, mut take: impl FnMut(&str, &Captured<'_>)) -> Result<usize, LiveError> {
        let before = self.number;
        if !self.take_in(&mut take) {
            self.wait(wait)?;
            self.take_in(&mut take);
        }
        Ok(usize::try_from(self.number - before).unwrap_or(usize::MAX))
    }

    /// What the kernel counted so far.
    #[allow(unsafe_code)]
    pub fn counts(&mut self) -> Counts {
        let mut read = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
        let mut length = size_of::<libc::tpacket_stats_v3>() as libc::socklen_t;
        let (socket, option) = (self.socket.as_raw_fd(), libc::PACKET_STATISTICS);
        // SAFETY: the structure and its length match and live through the call. Reading sets the kernel's counts back to 0.
        let done = unsafe { libc::getsockopt(socket, libc::SOL_PACKET, option, (&raw mut read).cast(), &raw mut length) };
        if done == 0 {
            self.counts.received = self.counts.received.saturating_add(u64::from(read.tp_packets));
            self.counts.dropped = self.counts.dropped.saturating_add(u64::from(read.tp_drops));
        }
        self.counts
    }

    /// The interface is down: nothing passes until somebody brings it up. Looks at every interface of the host: not for each packet.
    #[must_use]
    pub fn is_down(&self) -> bool {
        let mut listed = getifaddrs().into_iter().flatten();
        self.interface != "any"
            && listed.any(|entry| entry.interface_name == self.interface && !entry.flags.contains(InterfaceFlags::IFF_UP))
    }

    /// Packets of interfaces whose frames are of a kind that is not read here.
    #[must_use]
    pub const fn unread(&self) -> u64 {
        self.unread
    }

    /// True if there was a block.
    fn take_in(&mut self, take: &mut impl FnMut(&str, &Captured<'_>)) -> bool {
        let Self { ring, names, number, unread, scratch, .. } = self;
        let mut any = false;
        for _ in 0..MOST_BLOCKS {
            let read = ring.next_block(|slot| {
                let Some(link) = link_type(&slot) else {
                    *unread += 1;
                    return;
                };
                if slot.kind == LOOPBACK && slot.direction == PACKET_OUTGOING {
                    return;
                }
                if names.len() >= MOST_NAMES {
                    names.clear();
                }
                let name = names.entry(slot.interface).or_insert_with(|| name_of(slot.interface));
                *number += 1;
                let (bytes, tag) = with_tag(&slot, scratch);
                let wire_len = slot.wire_len.saturating_add(tag);
                take(name, &Captured { number: PacketNo(*number), at: Stamp(slot.at_ns), link, wire_len, bytes });
            });
            if !read {
                break;
            }
            any = true;
        }
        any
    }

    fn wait(&self, wait: Duration) -> Result<(), LiveError> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            // A signal: the caller looks at what it asked for.
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(self.fail("wait for packets", error.into())),
        }
        let trouble = fds.first().and_then(PollFd::revents).is_some_and(|events| events.contains(PollFlags::POLLERR));
        if !trouble {
            return Ok(());
        }
        // An interface that goes down reports it once, and may come back; one that was removed does not.
        // Another one of that name is another interface.
        if self.interface != "any" && if_nametoindex(self.interface.as_str()) != Ok(self.index) {
            return Err(LiveError::Gone { interface: self.interface.clone() });
        }
        let _ = nix::sys::socket::getsockopt(&self.socket, nix::sys::socket::sockopt::SocketError);
        Ok(())
    }

    fn fail(&self, operation: &'static str, source: io::Error) -> LiveError {
        LiveError::System { operation, interface: self.interface.clone(), source }
    }
}

fn index_of(name: &str) -> Result<u32, LiveError> {
    if name == "any" {
        return Ok(0);
    }
    let index = if_nametoindex(name).map_err(|_| LiveError::NoInterface { interface: name.to_owned(), known: interfaces() })?;
    let kind = kind_of(name);
    if kind.is_some_and(|kind| !readable(kind)) {
        return Err(LiveError::LinkType { interface: name.to_owned(), kind: kind.unwrap_or_default() });
    }
    Ok(index)
}

/// `ARPHRD_` number of an interface, from /sys; unknown where that is not mounted.
fn kind_of(name: &str) -> Option<u16> {
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    std::fs::read_to_string(format!("/sys/class/net/{name}/type")).ok()?.trim().parse().ok()
}

const fn readable(kind: u16) -> bool {
    matches!(kind, ETHER | LOOPBACK | TUNNEL | TUNNEL6 | SIT | IPGRE | NONE)
}

/// Ethernet, or a bare IP packet: what tunnels hand over.
fn link_type(slot: &Slot<'_>) -> Option<LinkType> {
    match slot.kind {
        ETHER | LOOPBACK => Some(LinkType::ETHERNET),
        kind if readable(kind) && slot.bytes.first().is_some_and(|first| matches!(first >> 4, 4 | 6)) => Some(LinkType::RAW),
        _ => None,
    }
}

fn name_of(index: u32) -> String {
    if_indextoname(index).map_or_else(|_| format!("if{index}"), |name| name.to_string_lossy().into_owned())
}

/// The frame with the VLAN tag that was taken out of it, and the bytes that the tag adds.
fn with_tag<'a>(slot: &Slot<'a>, scratch: &'a mut Vec<u8>) -> (&'a [u8], u32) {
    let Some(((kind, control), (addresses, rest))) = slot.vlan.filter(|_| slot.kind == ETHER).zip(slot.bytes.split_at_checked(12)) else {
        return (slot.bytes, 0);
    };
    scratch.clear();
    scratch.extend_from_slice(addresses);
    scratch.extend(kind.to_be_bytes());
    scratch.extend(control.to_be_bytes());
    scratch.extend_from_slice(rest);
    (scratch, 4)
}

#[allow(unsafe_code)]
fn attach(socket: &OwnedFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).map_err(|_| io::Error::other("the filter is too long"))?;
    // The kernel only reads it.
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let option = libc::SO_ATTACH_FILTER;
    // SAFETY: program and instructions live through the call, with the lengths given; the kernel copies them.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const program).cast(), size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[allow(unsafe_code)]
fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain data for which all zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = EVERYTHING.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(|_| io::Error::other("interface index out of range"))?;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is a sockaddr_ll of the given length that lives through the call.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn promiscuous(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let wanted = libc::packet_mreq {
        mr_ifindex: i32::try_from(index).map_err(|_| io::Error::other("interface index out of range"))?,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    ring::set(socket, libc::PACKET_ADD_MEMBERSHIP, &wanted)
}

#[cfg(test)]
mod tests;
