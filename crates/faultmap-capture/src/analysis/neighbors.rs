//! Who is who on the medium: ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861). Questions without an answer, addresses with two owners,
//! owners with two addresses, storms, and a gateway whose station changes.

use super::book::{Book, Subject};
use super::hosts::Hosts;
use crate::finding::{Cited, Finding, Party, Weight};
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;
use faultmap_wire::{Arp, Mac, arp, icmpv6::Neighbor};
use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

/// Addresses and open questions remembered.
const MOST: usize = 8192;
/// So many requests within so long, unanswered, are told.
const ASKED: u64 = 3;
const ASKED_WITHIN_NS: u64 = 10_000_000_000;
/// A question is over when nothing more is asked for so long.
const ANSWER_NS: u64 = 2_000_000_000;
/// After the last of three an answer is overdue; each of them waited a second already (neigh/.../retrans_time_ms).
const OVERDUE_NS: u64 = 500_000_000;
/// Two owners within this time contradict each other; later, the address has changed hands.
const CONFLICT_NS: u64 = 60_000_000_000;
/// Who is told of an address has taken it in after this time.
const HEEDED_NS: u64 = 500_000_000;
/// Messages that cannot be read, from which on silence is doubted.
const DOUBT_FROM: u64 = 3;
/// More requests than this by one station in this time are a storm (as Wireshark counts).
const STORM: u32 = 30;
const STORM_NS: u64 = 100_000_000;

#[derive(Debug, Clone, Copy)]
struct Owner {
    mac: Mac,
    at: Stamp,
    /// When this station first claimed the address, and to whom it said so last.
    since: Stamp,
    told: Option<Mac>,
    packet: PacketNo,
    before: Option<(Mac, Stamp)>,
}

#[derive(Debug)]
struct Ask {
    asker: IpAddr,
    cited: Cited,
    first: Stamp,
    last: Stamp,
}

impl Ask {
    /// Three requests within ten seconds, on average: somebody wants an answer now.
    fn is_urgent(&self) -> bool {
        self.last.since(self.first) <= ASKED_WITHIN_NS.saturating_mul(self.cited.count / ASKED)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Burst {
    since: Stamp,
    count: u32,
}

/// A message of ARP or neighbour discovery, in the words of both.
struct Word {
    rule_prefix: Family,
    sender: Option<(IpAddr, Mac)>,
    /// The address asked for.
    asks: Option<IpAddr>,
    announces: bool,
    /// The station that the frame went to.
    to: Option<Mac>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Arp,
    Nd,
}

impl Family {
    const fn pick(self, arp: &'static str, nd: &'static str) -> &'static str {
        match self {
            Self::Arp => arp,
            Self::Nd => nd,
        }
    }
}

/// What is known of the medium.
#[derive(Default)]
pub(super) struct Neighbors {
    owners: HashMap<IpAddr, Owner, RandomState>,
    claims: HashMap<Mac, IpAddr, RandomState>,
    asks: HashMap<IpAddr, Ask, RandomState>,
    order: VecDeque<(Stamp, IpAddr)>,
    bursts: HashMap<Mac, Burst, RandomState>,
    /// The station that became the gateway during the capture.
    new_gateway: Option<Mac>,
    unreadable: u64,
    /// Stations that claim two addresses.
    double: HashSet<Mac, RandomState>,
}

/// Addresses shared on purpose: VRRP (RFC 9568 §7.3), HSRP.
fn is_shared(mac: Mac) -> bool {
    let [a, b, c, d, e, _] = mac.0;
    matches!([a, b, c, d, e], [0, 0, 0x5e, 0, 1 | 2] | [0, 0, 0x0c, 7, 0xac] | [0, 0, 0x0c, 0x9f, 0xf0..=0xff])
}

impl Neighbors {
    /// An ARP message.
    pub(super) fn arp(&mut self, message: &Arp, stations: Option<(Mac, Mac)>, number: PacketNo, at: Stamp, book: &mut Book) {
        // Who speaks for another station (or whose frame is damaged) claims nothing.
        let own = stations.is_none_or(|(station, _)| station == message.sender_mac);
        let sender = (!message.sender_ip.is_unspecified() && own).then_some((IpAddr::V4(message.sender_ip), message.sender_mac));
        let announces = message.is_announcement() && sender.is_some();
        // A probe has no sender address yet (RFC 5227 §2.1.1): silence is what it hopes for.
        let asks = (message.operation == arp::REQUEST && sender.is_some() && !announces).then_some(IpAddr::V4(message.target_ip));
        if announces {
            self.gratuitous(message, number, at, book);
        }
        if asks.is_some() {
            self.storm(message.sender_mac, number, at, book);
        }
        let to = stations.map(|(_, to)| to);
        self.word(&Word { rule_prefix: Family::Arp, sender, asks, announces, to }, number, at, book);
    }

    /// A neighbour solicitation or advertisement from `src`.
    pub(super) fn nd(&mut self, message: &Neighbor, (src, to): (IpAddr, Option<Mac>), number: PacketNo, at: Stamp, book: &mut Book) {
        let target = IpAddr::V6(message.target);
        let word = if message.advertisement {
            Word { rule_prefix: Family::Nd, sender: message.mac.map(|mac| (target, mac)), asks: None, announces: !message.solicited, to }
        } else {
            // From the unspecified address: duplicate address detection (RFC 4862 §5.4), which hopes for silence.
            let asks = (!src.is_unspecified()).then_some(target);
            let sender = message.mac.filter(|_| !src.is_unspecified()).map(|mac| (src, mac));
            Word { rule_prefix: Family::Nd, sender, asks, announces: false, to }
        };
        if message.advertisement {
            self.answered(target);
        }
        self.word(&word, number, at, book);
    }

    fn word(&mut self, word: &Word, number: PacketNo, at: Stamp, book: &mut Book) {
        if let Some((address, mac)) = word.sender {
            self.answered(address);
            self.own(address, mac, word, (number, at), book);
        }
        let Some((target, (asker, _))) = word.asks.zip(word.sender) else { return };
        if !self.asks.contains_key(&target) {
            if self.order.len() >= MOST {
                return;
            }
            self.order.push_back((at, target));
        }
        let ask = self.asks.entry(target).or_insert_with(|| Ask { asker, cited: Cited::default(), first: at, last: at });
        ask.cited.add(number);
        ask.last = ask.last.max(at);
    }

    /// A message that cannot be read: it may have been an answer.
    pub(super) fn unreadable(&mut self) {
        self.unreadable = self.unreadable.saturating_add(1);
    }

    /// Where many messages cannot be read, silence is no finding.
    pub(super) fn doubt(&self, book: &mut Book) {
        if self.unreadable >= DOUBT_FROM {
            for rule in ["arp.unanswered", "arp.conflict"] {
                book.soften(rule, "; but some ARP messages are damaged, and this may be of them");
            }
        }
    }

    /// Somebody waits for an answer.
    pub(super) fn has_questions(&self) -> bool {
        !self.asks.is_empty()
    }

    /// The address is there: it spoke.
    pub(super) fn answered(&mut self, address: IpAddr) {
        self.asks.remove(&address);
    }

    fn own(&mut self, address: IpAddr, mac: Mac, word: &Word, (packet, at): (PacketNo, Stamp), book: &mut Book) {
        self.claim(address, mac, (packet, at), book);
        let Some(owner) = self.owners.get_mut(&address) else {
            if self.owners.len() < MOST {
                self.owners.insert(address, Owner { mac, at, since: at, told: word.to, packet, before: None });
            }
            return;
        };
        if owner.mac == mac || is_shared(mac) || is_shared(owner.mac) {
            (owner.at, owner.packet, owner.told) = (at, packet, word.to);
            return;
        }
        let old = *owner;
        let flipped = old.before.is_some_and(|(before, seen)| before == mac && at.since(seen) <= CONFLICT_NS);
        *owner = Owner { mac, at, since: at, told: word.to, packet, before: Some((old.mac, old.at)) };
        if at.since(old.at) > CONFLICT_NS && !flipped {
            return;
        }
        let rule = word.rule_prefix.pick("arp.conflict", "nd.conflict");
        let (weight, cause, text) = if flipped {
            let text = format!("{} and {mac} both claim {address}", old.mac);
            (Weight::Fault, Some("l2.duplicate-address"), text)
        } else if word.announces {
            (Weight::Note, None, format!("{address} moved from {} to {mac}, which announced it", old.mac))
        } else {
            (Weight::Warning, None, format!("{address} was {}, and is {mac} {:.1} s later", old.mac, at.ms_since(old.at) / 1e3))
        };
        let party = Some(Party::Host(address));
        let subject = Subject { rule, flow: None, party };
        let worse = |finding: &mut Finding| {
            if weight > finding.weight {
                (finding.weight, finding.cause, finding.text) = (weight, cause, text.clone());
            }
        };
        let cited = || {
            let mut cited = Cited::one(old.packet);
            cited.add(packet);
            cited
        };
        book.sight(subject, packet, at, || l2(rule, weight, cause, party, cited(), (old.at, at), text.clone()));
        book.change(&subject, worse);
    }

    /// One station for two addresses: routers and hosts with several addresses do that, and so does who pretends to be the gateway.
    fn claim(&mut self, address: IpAddr, mac: Mac, (packet, at): (PacketNo, Stamp), book: &mut Book) {
        if is_shared(mac) || !address.is_ipv4() {
            return;
        }
        let Some(other) = self.claims.get(&mac).copied() else {
            if self.claims.len() < MOST {
                self.claims.insert(mac, address);
            }
            return;
        };
        if other == address {
            return;
        }
        if self.double.len() < MOST {
            self.double.insert(mac);
        }
        if self.new_gateway == Some(mac) {
            let gateway = Subject { rule: "arp.gateway-mac-change", flow: None, party: None };
            book.change(&gateway, |finding| finding.weight = Weight::Warning);
        }
        let party = Some(Party::Host(address));
        let rule = "arp.mac-claims-two-ips";
        let text = format!("{mac} claims both {other} and {address}");
        book.sight(Subject { rule, flow: None, party }, packet, at, || {
            l2(rule, Weight::Note, None, party, Cited::one(packet), (at, at), text)
        });
    }

    fn gratuitous(&self, message: &Arp, packet: PacketNo, at: Stamp, book: &mut Book) {
        let party = Some(Party::Host(IpAddr::V4(message.sender_ip)));
        let rule = "arp.gratuitous";
        let text = format!("{} announced that it has {}", message.sender_mac, message.sender_ip);
        book.sight(Subject { rule, flow: None, party }, packet, at, || {
            l2(rule, Weight::Note, None, party, Cited::one(packet), (at, at), text)
        });
    }

    fn storm(&mut self, mac: Mac, packet: PacketNo, at: Stamp, book: &mut Book) {
        if self.bursts.len() >= MOST && !self.bursts.contains_key(&mac) {
            return;
        }
        let burst = self.bursts.entry(mac).or_default();
        if at.since(burst.since) > STORM_NS || at < burst.since {
            *burst = Burst { since: at, count: 0 };
        }
        burst.count = burst.count.saturating_add(1);
        if burst.count > STORM {
            let rule = "arp.storm";
            let text = format!("{mac} sent more than {STORM} ARP requests within 100 ms");
            // One storm per station: two of them are told as one, by the rule alone.
            book.sight(Subject { rule, flow: None, party: None }, packet, at, || {
                l2(rule, Weight::Warning, None, None, Cited::one(packet), (at, at), text)
            });
        }
    }

    /// The packets of a remote address come from another station than before: `new` is the gateway now.
    pub(super) fn gateway_changed(&mut self, old: Mac, new: Mac, (packet, at): (PacketNo, Stamp), book: &mut Book) {
        if is_shared(old) || is_shared(new) || old.is_group() || new.is_group() {
            return;
        }
        let rule = "arp.gateway-mac-change";
        self.new_gateway = Some(new);
        let two = self.double.contains(&new);
        let (weight, more) = if two { (Weight::Warning, ", which claims another address on this medium, too") } else { (Weight::Note, "") };
        let text = format!("traffic from beyond the gateway came from {old}, and now comes from {new}{more}");
        let subject = Subject { rule, flow: None, party: None };
        book.sight(subject, packet, at, || l2(rule, weight, None, None, Cited::one(packet), (at, at), text));
        if two {
            book.change(&subject, |finding| finding.weight = finding.weight.max(Weight::Warning));
        }
    }

    /// The station that claims an address, if it is not shared on purpose, and the packet that says so.
    pub(super) fn owner(&self, address: IpAddr) -> Option<(Mac, PacketNo)> {
        let owner = self.owners.get(&address).filter(|owner| !is_shared(owner.mac) && owner.before.is_none())?;
        Some((owner.mac, owner.packet))
    }

    /// A host sends what is for `server` to the station `to`, without any answer, although another one has told it that the address is its own.
    pub(super) fn stale(&self, client: IpAddr, station: Mac, server: IpAddr, to: Mac, last: Stamp) -> Option<(Mac, PacketNo)> {
        let owner = self.owners.get(&server)?;
        let shared = is_shared(owner.mac) || is_shared(to) || to.is_group() || owner.before.is_some_and(|(before, _)| before != to);
        let knows = match owner.told? {
            told if told.is_group() => self.owners.get(&client).is_some_and(|client| client.mac == station),
            told => told == station,
        };
        (owner.mac != to && !shared && knows && last.since(owner.since) >= HEEDED_NS).then_some((owner.mac, owner.packet))
    }

    /// Whether an address speaks for itself on this medium.
    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        self.owners.contains_key(&address)
    }

    /// Questions that were asked three times and have had no answer for a while, as findings that nobody is told of yet.
    pub(super) fn overdue(&self, now: Stamp, hosts: &Hosts, is_news: impl Fn(&'static str, Party, Stamp) -> bool) -> Vec<Finding> {
        let late = |ask: &Ask| ask.cited.count > ASKED || (ask.cited.count == ASKED && now.since(ask.last) >= OVERDUE_NS);
        let silent = |target: IpAddr, ask: &Ask| !hosts.heard_since(target, ask.first) && ask.is_urgent();
        let open = self.asks.iter().filter(|(target, ask)| late(ask) && silent(**target, ask));
        let open = open.filter(|(target, ask)| is_news(unanswered_rule(**target), Party::Host(**target), ask.last));
        let mut found: Vec<Finding> = open.map(|(target, ask)| asked_in_vain(ask, *target, "nobody answered so far")).collect();
        found.sort_by_key(|finding| (finding.first, finding.blames));
        found
    }

    /// Tells of questions that stayed open; all of them at the end.
    pub(super) fn expire(&mut self, now: Stamp, over: bool, hosts: &Hosts, book: &mut Book) {
        for _ in 0..self.order.len() {
            let Some((since, target)) = self.order.pop_front() else { return };
            let Some(ask) = self.asks.get(&target) else { continue };
            let pause = now.since(ask.last);
            let enough = ask.cited.count >= ASKED;
            if !over && pause < if enough { ANSWER_NS } else { ASKED_WITHIN_NS } {
                self.order.push_back((since, target));
                continue;
            }
            let enough = enough && ask.is_urgent();
            if enough && !hosts.heard_since(target, ask.first) {
                unanswered(ask, target, book);
            }
            self.asks.remove(&target);
        }
    }
}

fn unanswered(ask: &Ask, target: IpAddr, book: &mut Book) {
    let finding = asked_in_vain(ask, target, "nobody answered");
    let number = PacketNo(ask.cited.packets.first().copied().unwrap_or_default());
    book.sight(Subject { rule: finding.rule, flow: None, party: finding.blames }, number, ask.last, || finding);
}

const fn unanswered_rule(target: IpAddr) -> &'static str {
    if target.is_ipv4() { "arp.unanswered" } else { "nd.unanswered" }
}

fn asked_in_vain(ask: &Ask, target: IpAddr, words: &str) -> Finding {
    let rule = unanswered_rule(target);
    let party = Some(Party::Host(target));
    let text = format!("{} asked {} times who has {target}; {words}", ask.asker, ask.cited.count);
    let finding = l2(rule, Weight::Fault, Some("l2.neighbor-unresolved"), party, ask.cited.clone(), (ask.first, ask.last), text);
    Finding { value: Some(ask.cited.count as f64), ..finding }
}

fn l2(
    rule: &'static str,
    weight: Weight,
    cause: Option<&'static str>,
    blames: Option<Party>,
    cited: Cited,
    times: (Stamp, Stamp),
    text: String,
) -> Finding {
    Finding { layer: Some(Layer::L2), cause, blames, ..Finding::of(rule, weight, times, cited, text) }
}
