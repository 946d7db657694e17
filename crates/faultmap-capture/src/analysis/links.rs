//! Links that go and come back: all is silent for a second and more in the middle of a conversation, and then a station that was there before introduces
//! itself to the medium again, and asks everybody for a neighbour that it knew: hosts forget their neighbours with the link. While it was gone not even what
//! the host sends again was on the wire, as it would be where the path beyond is dead.

use super::book::Book;
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::tcp::report::hops;
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;
use faultmap_wire::dissect::{Frame, Network, Packet, Transport};
use faultmap_wire::icmpv6::{self, Neighbor};
use faultmap_wire::{Mac, arp};
use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// Silence of the whole medium: shorter ones are everyday's, after longer ones somebody has simply come to work.
const SHORTEST_NS: u64 = 1_000_000_000;
const LONGEST_NS: u64 = 60_000_000_000;
/// So many frames in the second before show that somebody was in the middle of something.
const BUSY: u32 = 8;
/// A link that comes up is announced within this time.
const SOON_NS: u64 = 1_500_000_000;
/// So many frames within that time show that what was going on goes on.
const GOES_ON: u32 = 8;
/// Once is a cable that somebody moved.
const FLAPS: u64 = 2;
/// Stations remembered.
const MOST: usize = 256;
/// Words after one silence.
const MOST_BACK: usize = 16;
/// Multicast listener messages (RFC 2710, RFC 3810).
const LISTENER_QUERY: u8 = 130;
const LISTENER_REPORT: u8 = 131;
const LISTENER_REPORT_2: u8 = 143;

/// A silence that is over, and what followed it.
#[derive(Debug, Clone)]
struct Silence {
    since: Stamp,
    until: Stamp,
    packet: PacketNo,
    frames: u32,
    /// Who introduced itself, and who asked for a neighbour that was known, and in which packet.
    introduced: Vec<Mac>,
    asked_anew: Vec<(Mac, PacketNo)>,
    /// A router asked who is there: then everybody answers.
    asked: bool,
}

impl Silence {
    /// A station that was there before says something soon after it.
    fn said(&mut self, from: Mac, said: Word, neighbors: &HashSet<IpAddr, RandomState>, number: PacketNo) {
        match said {
            Word::Introduces if self.introduced.len() < MOST_BACK => self.introduced.push(from),
            Word::AsksFor(neighbor) if neighbors.contains(&neighbor) && self.asked_anew.len() < MOST_BACK => {
                self.asked_anew.push((from, number))
            }
            _ => {}
        }
    }
}

/// What is known of the link.
#[derive(Default)]
pub(super) struct Links {
    last: Option<(Stamp, PacketNo)>,
    /// Frames of this second of the capture and of the one before.
    second: i64,
    frames: (u32, u32),
    silence: Option<Silence>,
    /// Addresses that said which station they are.
    neighbors: HashSet<IpAddr, RandomState>,
    /// Stations that sent something for themselves, with the address that they sent it from.
    known: HashMap<Mac, IpAddr, RandomState>,
    /// The last two stations that were looked at.
    latest: [Option<Mac>; 2],
    /// How often a station came back, when, and how long the medium was silent in all.
    returns: HashMap<Mac, (Cited, Stamp, Stamp, f64), RandomState>,
}

impl Links {
    /// A frame goes by.
    pub(super) fn frame(&mut self, frame: &Frame<'_>, number: PacketNo, at: Stamp) {
        let before = self.last.replace((at, number));
        let silent_ns = before.map_or(0, |(last, _)| at.since(last));
        if let Some((last, packet)) = before.filter(|_| (SHORTEST_NS..=LONGEST_NS).contains(&silent_ns) && self.was_busy()) {
            self.settle();
            self.silence =
                Some(Silence { since: last, until: at, packet, frames: 0, introduced: Vec::new(), asked_anew: Vec::new(), asked: false });
        }
        self.count(at);
        let from = frame.own_macs().map(|(from, _)| from);
        let said = word(frame);
        if let Some(silence) = self.silence.as_mut() {
            silence.frames = silence.frames.saturating_add(1);
            silence.asked |= said == Word::AsksWhoIsThere;
            if let Some(from) = from.filter(|from| self.known.contains_key(from)) {
                silence.said(from, said, &self.neighbors, number);
            }
            if at.since(silence.until) > SOON_NS {
                self.settle();
            }
        }
        self.learn(from, said, frame);
    }

    /// Stations that send for themselves, and neighbours that answered.
    fn learn(&mut self, from: Option<Mac>, said: Word, frame: &Frame<'_>) {
        if let Word::Is(address) = said
            && self.neighbors.len() < MOST
        {
            self.neighbors.insert(address);
        }
        // Most frames are of the two stations that talk: those are looked up once.
        let Some(from) = from.filter(|from| !self.latest.contains(&Some(*from))) else { return };
        let Network::Ip(packet) = &frame.network else { return };
        if !matches!(packet.transport, Transport::Tcp(..) | Transport::Udp(..)) {
            return;
        }
        self.latest = [Some(from), self.latest[0]];
        if hops(packet.ip.hop_limit) == 0 && self.known.len() < MOST {
            self.known.entry(from).or_insert(packet.ip.src);
        }
    }

    /// There were enough frames in this second of the capture and the one before.
    const fn was_busy(&self) -> bool {
        self.frames.0.saturating_add(self.frames.1) >= BUSY
    }

    fn count(&mut self, at: Stamp) {
        let second = at.0.div_euclid(1_000_000_000);
        match second.saturating_sub(self.second) {
            0 => {}
            1 => self.frames = (0, self.frames.0),
            _ => self.frames = (0, 0),
        }
        self.second = second;
        self.frames.0 = self.frames.0.saturating_add(1);
    }

    /// What a silence was is known.
    fn settle(&mut self) {
        let Some(silence) = self.silence.take().filter(|silence| silence.frames >= GOES_ON && !silence.asked) else { return };
        let returned = silence.asked_anew.iter().find(|(station, _)| silence.introduced.contains(station));
        let Some((station, packet)) = returned.copied() else { return };
        let (cited, _, last, silent_ms) =
            self.returns.entry(station).or_insert_with(|| (Cited::default(), silence.since, silence.until, 0.0));
        cited.add(silence.packet);
        cited.add(packet);
        *last = silence.until;
        *silent_ms += silence.until.ms_since(silence.since);
    }

    /// Links that went and came back.
    pub(super) fn finish(&mut self, book: &mut Book) {
        self.settle();
        let mut returns: Vec<_> = self.returns.drain().collect();
        returns.sort_by_key(|(station, _)| station.0);
        for (station, (cited, first, last, silent_ms)) in returns {
            let times = cited.count / 2;
            let Some(address) = self.known.get(&station) else { continue };
            let flaps = times >= FLAPS;
            let often = if times == 1 { "once".to_owned() } else { format!("{times} times") };
            let weight = if flaps { Weight::Warning } else { Weight::Note };
            let text = format!(
                "{often} all was silent in the middle of conversations ({:.1} s in all), and then {address} ({station}) introduced itself to the \
                 medium again: its link had gone",
                silent_ms / 1e3
            );
            let (cause, blames) = (flaps.then_some("l1.link-flapping"), Some(Party::Host(*address)));
            let finding = Finding::of("link.came-back", weight, (first, last), cited, text);
            book.add(Finding { layer: Some(Layer::L1), cause, blames, value: Some(times as f64), ..finding });
        }
    }
}

/// What a frame says of who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// What a host says when its link comes up: that it listens (RFC 3810 §6.1), that it is about to take an address (RFC 4862 §5.4.2, RFC 5227 §2.1).
    Introduces,
    /// A router asks who listens.
    AsksWhoIsThere,
    /// Asks everybody for a neighbour: a host that still knows it asks it alone (RFC 4861 §7.3.3; Linux does so for ARP, too).
    AsksFor(IpAddr),
    /// An address says which station it is.
    Is(IpAddr),
    Other,
}

fn word(frame: &Frame<'_>) -> Word {
    let to_all = frame.macs.is_some_and(|(_, to)| to.is_group());
    match &frame.network {
        Network::Arp(message) if message.sender_ip.is_unspecified() => Word::Introduces,
        Network::Arp(message) if message.operation == arp::REPLY => Word::Is(message.sender_ip.into()),
        Network::Arp(message) if to_all && !message.is_announcement() => Word::AsksFor(message.target_ip.into()),
        Network::Ip(packet) => match packet.transport {
            Transport::Icmpv6(header, _) => of_icmpv6(header.kind, packet, to_all),
            _ => Word::Other,
        },
        _ => Word::Other,
    }
}

fn of_icmpv6(kind: u8, packet: &Packet<'_>, to_all: bool) -> Word {
    match kind {
        LISTENER_QUERY => Word::AsksWhoIsThere,
        LISTENER_REPORT | LISTENER_REPORT_2 | icmpv6::ROUTER_SOLICITATION => Word::Introduces,
        icmpv6::NEIGHBOR_SOLICITATION if packet.ip.src.is_unspecified() => Word::Introduces,
        icmpv6::NEIGHBOR_SOLICITATION if to_all => target(packet).map_or(Word::Other, Word::AsksFor),
        icmpv6::NEIGHBOR_ADVERTISEMENT => target(packet).map_or(Word::Other, Word::Is),
        _ => Word::Other,
    }
}

fn target(packet: &Packet<'_>) -> Option<IpAddr> {
    Neighbor::parse(packet.ip.payload).ok().map(|message| message.target.into())
}

#[cfg(test)]
mod tests {
    use super::super::{Analysis, Limits};
    use crate::finding::Weight;
    use crate::packet::{Captured, PacketNo, Stamp};
    use faultmap_wire::dissect::LinkType;
    use faultmap_wire::{Arp, Ethernet, Ipv4, Mac, Udp, arp, proto};
    use std::net::Ipv4Addr;

    const HOST: (Ipv4Addr, Mac) = (Ipv4Addr::new(10, 0, 0, 2), Mac([2, 0, 0, 0, 0, 2]));
    const ROUTER: (Ipv4Addr, Mac) = (Ipv4Addr::new(10, 0, 0, 1), Mac([2, 0, 0, 0, 0, 1]));
    const ALL: Mac = Mac([0xff; 6]);

    struct Medium {
        analysis: Analysis,
        number: u64,
        ms: i64,
    }

    impl Medium {
        fn put(&mut self, frame: &[u8]) {
            self.number += 1;
            self.ms += 20;
            let (number, at) = (PacketNo(self.number), Stamp(1_700_000_000_000_000_000 + self.ms * 1_000_000));
            self.analysis.packet(&Captured { number, at, link: LinkType::ETHERNET, wire_len: frame.len() as u32, bytes: frame });
        }

        fn arp(&mut self, operation: u16, to: Mac, sender: (Ipv4Addr, Mac), target: Ipv4Addr) {
            let message = Arp { operation, sender_mac: sender.1, sender_ip: sender.0, target_mac: Mac([0; 6]), target_ip: target };
            self.put(&Ethernet::new(to, sender.1, 0x0806).emit(&message.emit()));
        }

        /// The host asks for its router, and talks for a while.
        fn talks(&mut self, asks: bool) {
            if asks {
                self.arp(arp::REQUEST, ALL, HOST, ROUTER.0);
                self.arp(arp::REPLY, HOST.1, ROUTER, HOST.0);
            }
            for port in 0..20 {
                let datagram = Udp::new(40_000 + port, 9999).emit(HOST.0.into(), ROUTER.0.into(), b"hello");
                let packet = Ipv4 { id: self.number as u16 + 1, ..Ipv4::new(HOST.0, ROUTER.0, proto::UDP) }.emit(&datagram);
                self.put(&Ethernet::new(ROUTER.1, HOST.1, 0x0800).emit(&packet));
            }
        }
    }

    /// The host talks, all is silent for so long, and so on; each time it may introduce itself first, and ask anew.
    fn check(times: u32, silent_ms: i64, introduces: bool, asks: bool, expect: Option<Weight>) {
        let mut medium = Medium { analysis: Analysis::new(Limits::default()), number: 0, ms: 0 };
        medium.talks(true);
        for _ in 0..times {
            medium.ms += silent_ms;
            if introduces {
                medium.arp(arp::REQUEST, ALL, (Ipv4Addr::UNSPECIFIED, HOST.1), HOST.0);
            }
            medium.talks(asks);
        }
        let outcome = medium.analysis.finish();
        let found = outcome.findings.iter().find(|finding| finding.rule == "link.came-back");
        assert_eq!(found.map(|found| found.weight), expect, "{:#?}", outcome.findings);
    }

    #[test]
    fn a_link_that_goes_and_comes_back_twice_flaps() {
        check(2, 3000, true, true, Some(Weight::Warning));
        check(1, 3000, true, true, Some(Weight::Note));
    }

    #[test]
    fn a_host_that_works_in_bursts_has_its_link_all_the_time() {
        check(5, 3000, false, false, None);
        // It joins a group each time, or has forgotten its router: not both.
        check(5, 3000, true, false, None);
        check(5, 3000, false, true, None);
        // Not silent for long enough, and for too long.
        check(5, 500, true, true, None);
        check(5, 90_000, true, true, None);
    }
}
