//! Two MACs answer ARP for one IPv4 address: are they two interfaces of one host, or two hosts? (Needs CAP_NET_RAW.) Sends a few echo requests,
//! each to one of the MACs in turn.
//!
//! A host numbers the packets that it sends to us one after the other (the IP identification; `__ip_select_ident`, net/ipv4/route.c), whatever
//! interface the question came in by: Linux with two interfaces on one segment answers ARP for each address on both (`arp_ignore` 0). Two hosts
//! count each for itself. It never judges: where numbers are random, or all zero, it does not know.

use crate::sock::link_layer::{self, Station};
use crate::sock::packet;
use crate::sock::watched::watch;
use faultmap_wire::{Icmp, Ipv4, icmp, proto};
use socket2::Socket;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

/// Echo requests in all.
const REQUESTS: u16 = 8;
/// On our own segment, beside an answer to ARP.
const WAIT: Duration = Duration::from_millis(30);
/// `ETH_P_IP` of linux/if_ether.h.
const IPV4: u16 = 0x0800;
/// What a host sends to us between two answers, and what the kernel adds at random for the time in between, in thousandths of a second.
const NEAR: u16 = 200;
const MOST_AT_ONCE: usize = 256;

/// Whether the stations behind `macs` are one host; `None` where it does not show.
pub(super) async fn one_host(address: Ipv4Addr, station: &Station, macs: &[[u8; 6]]) -> Option<bool> {
    let from = station.address?;
    let asker = Asker::open(address, from, station.index).ok()?;
    let mut heard = Vec::new();
    for (number, (place, mac)) in (0..REQUESTS).zip(macs.iter().enumerate().cycle()) {
        if let Some(id) = asker.ask(number, *mac).await {
            heard.push((place, id));
        }
    }
    one_counter(&heard)
}

struct Asker {
    fd: AsyncFd<Socket>,
    index: u32,
    from: Ipv4Addr,
    to: Ipv4Addr,
    echo_id: u16,
}

impl Asker {
    fn open(to: Ipv4Addr, from: Ipv4Addr, index: u32) -> io::Result<Self> {
        let socket = link_layer::open()?;
        socket.bind(&link_layer::address(IPV4, index, None)?)?;
        let echo_id = u16::try_from(packet::unpredictable() & 0xffff).unwrap_or(1);
        Ok(Self { fd: watch(socket, Interest::READABLE)?, index, from, to, echo_id })
    }

    /// The identification of the answer to one echo request that is sent to `mac`.
    async fn ask(&self, number: u16, mac: [u8; 6]) -> Option<u16> {
        let echo = Icmp::echo(icmp::ECHO_REQUEST, self.echo_id, number).emit(b"faultmap");
        let packet = Ipv4::new(self.from, self.to, proto::ICMP).emit(&echo);
        let to = link_layer::address(IPV4, self.index, Some(mac)).ok()?;
        self.fd.get_ref().send_to(&packet, &to).ok()?;
        let deadline = Instant::now() + WAIT;
        loop {
            if let Some(id) = self.take_in(number) {
                return Some(id);
            }
            match timeout_at(deadline, self.fd.ready(Interest::READABLE)).await {
                Ok(Ok(mut guard)) => guard.clear_ready(),
                _ => return None,
            }
        }
    }

    fn take_in(&self, number: u16) -> Option<u16> {
        let mut socket = self.fd.get_ref();
        let mut bytes = [0_u8; 256];
        for _ in 0..MOST_AT_ONCE {
            let length = socket.read(&mut bytes).ok()?;
            if let Some(id) = self.identification(bytes.get(..length)?, number) {
                return Some(id);
            }
        }
        None
    }

    fn identification(&self, bytes: &[u8], number: u16) -> Option<u16> {
        let (header, payload) = Ipv4::parse(bytes).ok()?;
        let (echo, _) = Icmp::parse(payload).ok()?;
        let ours = header.src == self.to && header.protocol == proto::ICMP && echo.kind == icmp::ECHO_REPLY;
        (ours && echo.echo_id() == Some((self.echo_id, number))).then_some(header.id)
    }
}

/// Answers in order, each with the place of the MAC that was asked: do they come from one counter, or from one for each?
fn one_counter(heard: &[(usize, u16)]) -> Option<bool> {
    let rises = |ids: &[u16]| ids.windows(2).all(|pair| (1..=NEAR).contains(&pair[1].wrapping_sub(pair[0])));
    let of = |place: usize| heard.iter().filter(|(at, _)| *at == place).map(|(_, id)| *id).collect::<Vec<u16>>();
    let all: Vec<u16> = heard.iter().map(|(_, id)| *id).collect();
    let (first, second) = (of(0), of(1));
    if first.len() < 2 || second.len() < 2 {
        return None;
    }
    if rises(&all) {
        return Some(true);
    }
    (first.len() >= 3 && second.len() >= 3 && rises(&first) && rises(&second)).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_counter_and_two_hosts_have_two() {
        let check = |ids: [u16; 8], expect| {
            let heard: Vec<(usize, u16)> = ids.iter().enumerate().map(|(number, id)| (number % 2, *id)).collect();
            assert_eq!(one_counter(&heard), expect, "{ids:?}");
        };
        check([1476, 1478, 1479, 1482, 1484, 1486, 1487, 1489], Some(true));
        check([65_530, 65_533, 65_535, 2, 4, 5, 9, 12], Some(true));
        check([18_843, 63_324, 18_848, 63_327, 18_852, 63_328, 18_855, 63_332], Some(false));
        // Random numbers, and none at all, tell nothing.
        check([40_111, 203, 9_002, 61_000, 17, 33_333, 52_100, 7_777], None);
        check([0; 8], None);
    }

    #[test]
    fn too_few_answers_tell_nothing() {
        assert_eq!(one_counter(&[]), None);
        assert_eq!(one_counter(&[(0, 5), (0, 6), (0, 7), (1, 9)]), None);
    }
}
