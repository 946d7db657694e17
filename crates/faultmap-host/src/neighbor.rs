//! What the kernel knows of a neighbour's link-layer address (ARP, RFC 826; ND, RFC 4861): one entry, or its changes
//! while we watch. Never sends a request itself and never writes an entry.

use crate::HostError;
use crate::netlink::{Body, Extent, Message, Netlink, Request, u8_at, u16_at, u32_at};
use crate::route::address as parse_address;
use faultmap_model::observation::NeighborState;
use nix::errno::Errno;
use std::net::IpAddr;
use std::ops::ControlFlow;

// linux/rtnetlink.h, linux/neighbour.h
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const RTMGRP_NEIGH: u32 = 4;
const NDMSG_LEN: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_CACHEINFO: u16 = 3;
/// `USER_HZ`: ticks of the ages in `struct nda_cacheinfo`, a hundred a second.
const TICK_MS: u64 = 10;

/// Entries of a dump that we look through, where the kernel cannot give just one (Linux before 5.0).
const DUMP_MAX: usize = 65_536;
/// Multicast datagrams read at one poll.
const POLL_MAX: u32 = 1024;
/// Distinct MACs and state changes kept of one entry.
const KEPT_MAX: usize = 64;

/// The state of the entry for `address` on `iface`, and its MAC. [`NeighborState::None`] when there is no entry, and
/// when it could not be read ([`read_neighbor`] tells which).
#[must_use]
pub fn neighbor(address: IpAddr, iface: &str) -> (NeighborState, Option<String>) {
    read_neighbor(address, iface).unwrap_or((NeighborState::None, None))
}

/// The same, with the reason when the entry could not be read.
///
/// # Errors
/// No such interface, or netlink refused.
pub fn read_neighbor(address: IpAddr, iface: &str) -> Result<(NeighborState, Option<String>), HostError> {
    let index = interface_index(iface)?;
    let mut netlink = Netlink::route()?;
    let header = entry_header(address, index);
    let body = Body::new(&header).with_address(NDA_DST, address);
    let request = Request { operation: "RTM_GETNEIGH", kind: RTM_GETNEIGH, body: body.bytes() };
    match netlink.ask(&request, read_entry) {
        Ok(entry) => Ok((entry.state, entry.mac)),
        Err(HostError::Refused { errno: Errno::ENOENT, .. }) => Ok((NeighborState::None, None)),
        Err(HostError::Refused { errno: Errno::EOPNOTSUPP | Errno::EINVAL, .. }) => find_in_dump(&mut netlink, address, index),
        Err(error) => Err(error),
    }
}

fn find_in_dump(netlink: &mut Netlink, address: IpAddr, index: u32) -> Result<(NeighborState, Option<String>), HostError> {
    let header = entry_header(address, 0);
    let request = Request { operation: "RTM_GETNEIGH", kind: RTM_GETNEIGH, body: &header };
    let (mut found, mut seen) = ((NeighborState::None, None), 0_usize);
    netlink.dump(&request, |message| {
        seen += 1;
        match read_entry(message) {
            Some(entry) if entry.address == address && entry.index == index => {
                found = (entry.state, entry.mac);
                ControlFlow::Break(())
            }
            _ if seen >= DUMP_MAX => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })?;
    Ok(found)
}

/// Hears every change of the entries that it was told of, from its start on.
///
/// The kernel ignores a second ARP answer within a second of the first (`locktime`), so an address that two stations
/// claim shows here only when their answers are further apart.
#[derive(Debug)]
pub struct NeighborWatch {
    netlink: Option<Netlink>,
    why_not: Option<String>,
    entries: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    address: IpAddr,
    iface: String,
    index: Option<u32>,
    macs: Vec<String>,
    states: Vec<NeighborState>,
}

impl NeighborWatch {
    /// Starts to listen (`RTNLGRP_NEIGH`), then reads how the entries stand, so that no change is missed in between.
    #[must_use]
    pub fn start(entries: &[(IpAddr, String)]) -> Self {
        let (netlink, why_not) = match Netlink::listener(RTMGRP_NEIGH) {
            Ok(netlink) => (Some(netlink), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let entries = entries.iter().map(|(address, iface)| Watched::new(*address, iface)).collect();
        let mut watch = Self { netlink, why_not, entries };
        watch.reread();
        watch
    }

    /// Takes in what changed since the last call, without waiting.
    pub fn poll(&mut self) {
        let entries = &mut self.entries;
        let Some(netlink) = &mut self.netlink else {
            // Without the multicast group a look at each call still sees the slower changes.
            self.reread();
            return;
        };
        let drained = netlink.drain(POLL_MAX, |message| {
            if let Some(change) = read_entry(message) {
                entries.iter_mut().filter(|entry| entry.is(&change)).for_each(|entry| entry.note(&change));
            }
        });
        if drained.is_err() {
            // ENOBUFS: changes were lost. How the entries stand now is all that can still be had.
            self.reread();
        }
    }

    /// The distinct MACs that the entry of `address` showed, in order.
    #[must_use]
    pub fn macs_seen(&self, address: IpAddr) -> Vec<String> {
        self.entries.iter().find(|entry| entry.address == address).map_or_else(Vec::new, |entry| entry.macs.clone())
    }

    /// The states that the entry of `address` went through, in order; repetitions in a row are left out.
    #[must_use]
    pub fn states_seen(&self, address: IpAddr) -> Vec<NeighborState> {
        self.entries.iter().find(|entry| entry.address == address).map_or_else(Vec::new, |entry| entry.states.clone())
    }

    /// Why changes cannot be heard, if they cannot. Entries are then only looked at when polled.
    #[must_use]
    pub fn unavailable(&self) -> Option<&str> {
        self.why_not.as_deref()
    }

    fn reread(&mut self) {
        for entry in &mut self.entries {
            if let Ok((state, mac)) = read_neighbor(entry.address, &entry.iface) {
                entry.note_state(state);
                entry.note_mac(mac);
            }
        }
    }
}

impl Watched {
    fn new(address: IpAddr, iface: &str) -> Self {
        let index = interface_index(iface).ok();
        Self { address, iface: iface.to_owned(), index, macs: Vec::new(), states: Vec::new() }
    }

    fn is(&self, change: &Entry) -> bool {
        self.address == change.address && self.index == Some(change.index)
    }

    fn note(&mut self, change: &Entry) {
        self.note_state(change.state);
        self.note_mac(change.mac.clone());
    }

    fn note_state(&mut self, state: NeighborState) {
        if self.states.last() != Some(&state) && self.states.len() < KEPT_MAX {
            self.states.push(state);
        }
    }

    fn note_mac(&mut self, mac: Option<String>) {
        if let Some(mac) = mac
            && !self.macs.contains(&mac)
            && self.macs.len() < KEPT_MAX
        {
            self.macs.push(mac);
        }
    }
}

/// One entry as a message describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) address: IpAddr,
    pub(crate) index: u32,
    pub(crate) state: NeighborState,
    pub(crate) mac: Option<String>,
    /// Since its state changed.
    pub(crate) updated_ms: Option<u64>,
}

/// Every entry of this namespace, of both families; `each` sees at most `limit` of them.
pub(crate) fn all(netlink: &mut Netlink, limit: usize, mut each: impl FnMut(Entry)) -> Result<(), HostError> {
    let request = Request { operation: "RTM_GETNEIGH", kind: RTM_GETNEIGH, body: &[0; NDMSG_LEN] };
    let mut seen = 0_usize;
    let extent = netlink.dump(&request, |message| {
        if let Some(entry) = read_entry(message) {
            each(entry);
        }
        seen += 1;
        if seen >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if extent == Extent::Cut {
        // The rest waits in the old socket; nothing else could be asked there.
        *netlink = Netlink::route()?;
    }
    Ok(())
}

/// `struct ndmsg`: family, padding, ifindex, state, flags, type.
fn read_entry(message: &Message<'_>) -> Option<Entry> {
    if message.kind != RTM_NEWNEIGH && message.kind != RTM_DELNEIGH {
        return None;
    }
    // Bridges announce their forwarding tables in the same group.
    let family = i32::from(u8_at(message.body, 0)?);
    if family != libc::AF_INET && family != libc::AF_INET6 {
        return None;
    }
    let index = u32_at(message.body, 4)?;
    let bits = u16_at(message.body, 8)?;
    let (mut address, mut mac, mut updated_ms) = (None, None, None);
    for (kind, value) in message.attributes(NDMSG_LEN) {
        match kind {
            NDA_DST => address = parse_address(value),
            NDA_LLADDR => mac = mac_text(value),
            // struct nda_cacheinfo: confirmed, used, updated, refcnt.
            NDA_CACHEINFO => updated_ms = u32_at(value, 8).map(|ticks| u64::from(ticks) * TICK_MS),
            _ => {}
        }
    }
    let deleted = message.kind == RTM_DELNEIGH;
    let state = if deleted { NeighborState::None } else { state_of(bits) };
    Some(Entry { address: address?, index, state, mac: mac.filter(|_| has_valid_mac(state)), updated_ms })
}

/// `NUD_*` of linux/neighbour.h; one bit is set at a time.
fn state_of(bits: u16) -> NeighborState {
    match bits {
        0x01 => NeighborState::Incomplete,
        0x02 => NeighborState::Reachable,
        0x04 => NeighborState::Stale,
        0x08 => NeighborState::Delay,
        0x10 => NeighborState::Probe,
        0x20 => NeighborState::Failed,
        0x40 => NeighborState::Noarp,
        0x80 => NeighborState::Permanent,
        _ => NeighborState::None,
    }
}

/// The kernel leaves the address out unless it is valid (`NUD_VALID`), except in messages of deletion.
fn has_valid_mac(state: NeighborState) -> bool {
    !matches!(state, NeighborState::None | NeighborState::Incomplete | NeighborState::Failed)
}

/// `aa:bb:cc:dd:ee:ff`; `None` for links without such addresses (an empty or all-zero one).
pub(crate) fn mac_text(value: &[u8]) -> Option<String> {
    if value.iter().all(|byte| *byte == 0) || value.len() > 32 {
        return None;
    }
    Some(value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

fn entry_header(address: IpAddr, index: u32) -> [u8; NDMSG_LEN] {
    let mut header = [0; NDMSG_LEN];
    header[0] = if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 };
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

fn interface_index(iface: &str) -> Result<u32, HostError> {
    nix::net::if_::if_nametoindex(iface).map_err(|_| HostError::NoInterface(iface.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(kind: u16, bits: u16) -> Option<Entry> {
        let address: IpAddr = "10.0.0.1".parse().expect("an address");
        let mut header = entry_header(address, 7);
        header[8..10].copy_from_slice(&bits.to_ne_bytes());
        let body = Body::new(&header).with_address(NDA_DST, address).with(NDA_LLADDR, &[2, 0, 0, 0, 0, 9]);
        read_entry(&Message { kind, flags: 0, sequence: 0, body: body.bytes() })
    }

    #[test]
    fn a_reachable_entry_has_its_mac() {
        let read = entry(RTM_NEWNEIGH, 0x02).expect("an entry");
        assert_eq!((read.state, read.mac.as_deref(), read.index), (NeighborState::Reachable, Some("02:00:00:00:00:09"), 7));
    }

    #[test]
    fn a_failed_or_deleted_entry_has_no_mac() {
        for (kind, bits, state) in [(RTM_NEWNEIGH, 0x20, NeighborState::Failed), (RTM_DELNEIGH, 0x02, NeighborState::None)] {
            let read = entry(kind, bits).expect("an entry");
            assert_eq!((read.state, read.mac), (state, None));
        }
    }

    #[test]
    fn a_mac_of_zeroes_is_no_mac() {
        assert_eq!(mac_text(&[0; 6]), None);
        assert_eq!(mac_text(&[]), None);
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_a_panic(kind in 27_u16..31, bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = read_entry(&Message { kind, flags: 0, sequence: 0, body: &bytes });
        }
    }
}
