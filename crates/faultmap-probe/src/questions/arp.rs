//! Which stations claim an on-link address? (Needs CAP_NET_RAW.) Sends ARP requests or neighbour solicitations only.

use super::identity::one_host;
use crate::sock::link_layer::{self, Station};
use crate::sock::packet;
use crate::sock::watched::watch;
use faultmap_model::observation::{ArpProbe, NotAsked};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

const MOST_TRIES: u32 = 8;
const MOST_AT_ONCE: usize = 256;

/// Broadcasts `tries` ARP requests (neighbour solicitations for IPv6), 1 to 8, out of `iface`; listens for `wait` after each, for a second
/// station may be slower than the first.
pub async fn arp_probe(address: IpAddr, iface: &str, tries: u32, wait: Duration) -> Result<ArpProbe, NotAsked> {
    let asker = Asker::open(address, iface).map_err(|error| not_asked(&error))?;
    let mut seen = ArpProbe { address, iface: iface.to_owned(), sent: 0, macs: Vec::new(), entry_mac: None, one_host: None };
    let mut macs = Vec::new();
    for _ in 0..tries.clamp(1, MOST_TRIES) {
        seen.sent += u32::from(asker.fd.get_ref().send_to(&asker.request, &asker.to).is_ok());
        asker.listen(Instant::now() + wait, &mut macs).await;
    }
    if let (IpAddr::V4(address), [_, _, ..]) = (address, macs.as_slice()) {
        let station = link_layer::station(iface, address.into()).map_err(|error| not_asked(&error))?;
        seen.one_host = one_host(address, &station, &macs).await;
    }
    seen.macs = macs.into_iter().map(packet::spelled).collect();
    seen.entry_mac = faultmap_host::neighbor(address, iface).1;
    Ok(seen)
}

struct Asker {
    fd: AsyncFd<Socket>,
    request: Vec<u8>,
    to: SockAddr,
    address: IpAddr,
}

impl Asker {
    fn open(address: IpAddr, iface: &str) -> io::Result<Self> {
        let station = link_layer::station(iface, address)?;
        let mac = station.mac.ok_or_else(|| io::Error::other("the interface has no link-layer addresses"))?;
        let (socket, request, to) = match address {
            IpAddr::V4(target) => arp(&station, mac, target)?,
            IpAddr::V6(target) => solicitation(&station, mac, target)?,
        };
        Ok(Self { fd: watch(socket, Interest::READABLE)?, request, to, address })
    }

    async fn listen(&self, deadline: Instant, macs: &mut Vec<[u8; 6]>) {
        loop {
            self.take_in(macs);
            match timeout_at(deadline, self.fd.ready(Interest::READABLE)).await {
                Ok(Ok(mut guard)) => guard.clear_ready(),
                _ => return self.take_in(macs),
            }
        }
    }

    fn take_in(&self, macs: &mut Vec<[u8; 6]>) {
        let mut socket = self.fd.get_ref();
        let mut bytes = [0_u8; 256];
        for _ in 0..MOST_AT_ONCE {
            let Ok(length) = socket.read(&mut bytes) else {
                return;
            };
            let heard = bytes.get(..length).unwrap_or(&bytes);
            let mac = match self.address {
                IpAddr::V4(target) => packet::read_arp_reply(heard, target),
                IpAddr::V6(target) => packet::read_neighbor_advertisement(heard, target),
            };
            if let Some(mac) = mac.filter(|mac| !macs.contains(mac)) {
                macs.push(mac);
            }
        }
    }
}

type Prepared = (Socket, Vec<u8>, SockAddr);

fn arp(station: &Station, mac: [u8; 6], target: Ipv4Addr) -> io::Result<Prepared> {
    let socket = link_layer::open()?;
    socket.bind(&link_layer::address(link_layer::ARP, station.index, None)?)?;
    // Without an address of ours the request is an address probe (RFC 5227 2.1.1), which is answered as well. So is the question who else has an
    // address of ours; in our own name it would be an announcement, which others take over.
    let ours = station.address.filter(|ours| *ours != target).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let to = link_layer::address(link_layer::ARP, station.index, Some(link_layer::BROADCAST))?;
    Ok((socket, packet::arp_request(mac, ours, target), to))
}

fn solicitation(station: &Station, mac: [u8; 6], target: Ipv6Addr) -> io::Result<Prepared> {
    let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking(), Some(Protocol::ICMPV6))?;
    // RFC 4861 7.1.1: a solicitation with any other hop limit is ignored.
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(station.index)?;
    socket.set_multicast_loop_v6(false)?;
    let to = SocketAddrV6::new(packet::solicited_node(target), 0, 0, station.index);
    Ok((socket, packet::neighbor_solicitation(mac, target), to.into()))
}

fn not_asked(error: &io::Error) -> NotAsked {
    super::raw_not_asked("arp.probe", error, "whether two stations claim the address")
}
