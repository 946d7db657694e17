//! DHCP as a conversation (RFC 2131, RFC 8415): each client's way to its address, across the flows of broadcast, unicast and relays. What a client asked, who
//! answered, how long it took, and where it did not come any further. Silence counts only where the client asks again: who stands beside may not see answers that go
//! to the client alone, but sees that it is not satisfied.
//!
//! Memory: [`MOST`] clients of about 1 KiB each; beyond, the one silent for longest is told and let go.

mod said;
mod tell;

use super::book::Book;
use super::hosts::Hosts;
use crate::app::{Exchange, Mark};
use crate::finding::{Cited, Party};
use crate::flow::FlowId;
use crate::packet::{PacketNo, Stamp};
use faultmap_wire::dissect::{Packet, Transport};
use foldhash::fast::RandomState;
use said::{Kind, Said, Stage};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Clients followed at once.
const MOST: usize = 1024;
/// A client silent for so long is done with (RFC 2131 §4.1: pauses reach 64 s; RFC 8415 §7.6: SOL_MAX_RT is an hour, but the first tries come within two minutes).
const PATIENCE_NS: u64 = 130_000_000_000;
/// Offered addresses that are remembered.
const MOST_OFFERED: usize = 4096;
/// A server tries for a moment whether an address is free before it offers it (RFC 2131 §2.2): its question and its offer are not further apart.
const TRIAL_NS: u64 = 10_000_000_000;
/// Offers, refusals kept of one client.
const MOST_KEPT: usize = 8;

/// Where a message was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) flow: FlowId,
    pub(super) realm: u32,
    pub(super) at: Stamp,
    pub(super) packet: PacketNo,
}

/// A question that waits.
#[derive(Debug, Clone)]
struct Asked {
    said: Said,
    first: Mark,
    last: Mark,
    tries: u32,
    /// Tries since an offer came.
    since_offer: u32,
    cited: Cited,
    flow: FlowId,
    /// A relay passed it on to this server.
    passed_on: Option<(IpAddr, IpAddr)>,
}

#[derive(Debug, Clone)]
struct Answered {
    said: Said,
    mark: Mark,
    /// The server that had been asked, if it was one.
    asked_of: Option<IpAddr>,
}

/// One client.
#[derive(Debug, Default)]
struct Client {
    asked: Option<Asked>,
    offers: Vec<Answered>,
    refusals: Vec<Answered>,
    declined: Vec<Answered>,
    /// A renewal that its own server left without an answer.
    renewal: Option<Asked>,
    /// The discovery behind the request that waits.
    discovery: Option<Asked>,
    last: Stamp,
}

/// All clients.
#[derive(Default)]
pub(super) struct Leases {
    clients: HashMap<(u32, String), Client, RandomState>,
    /// Clients that were given an address, and the servers that gave one.
    served: u64,
    servers: Vec<IpAddr>,
    /// Servers told of as a pair that disagrees.
    disagreed: Vec<(IpAddr, IpAddr)>,
    /// Addresses offered, and when that was for the first and the last time.
    offered: HashMap<IpAddr, (Stamp, Stamp), RandomState>,
    /// A router says that addresses are to be had by DHCPv6 (RFC 4861 §4.2: M).
    managed: bool,
}

/// Whether these ports are DHCP's.
pub(super) const fn is_dhcp(client: SocketAddr, server: SocketAddr) -> bool {
    matches!((client.port(), server.port()), (67 | 68, 67 | 68) | (546 | 547, 546 | 547))
}

impl Leases {
    /// A router advertisement.
    pub(super) fn router_says(&mut self, packet: &Packet<'_>) {
        self.managed |= packet.ip.payload.get(5).is_some_and(|flags| flags & 0x80 != 0);
    }

    /// A datagram of DHCP. The exchange that it ends, if it is an answer.
    pub(super) fn message(&mut self, packet: &Packet<'_>, seen: Seen, book: &mut Book) -> Option<Exchange> {
        let Transport::Udp(_, payload) = packet.transport else { return None };
        let said = said::read(packet.ip.src, packet.ip.dst, payload)?;
        let key = (seen.realm, said.client.clone());
        if !self.clients.contains_key(&key) && self.clients.len() >= MOST {
            self.let_go(book);
        }
        let mut client = self.clients.remove(&key).unwrap_or_default();
        client.last = seen.at;
        let exchange = match said.kind {
            Kind::Discover | Kind::Request(_) | Kind::Inform => {
                self.asks(&mut client, said, seen, book);
                None
            }
            Kind::Offer => self.offers(&mut client, said, seen, book),
            Kind::Ack => self.gives(&mut client, said, seen, book),
            Kind::Nak => Self::refuses(&mut client, said, seen),
            Kind::Decline => {
                Self::declines(&mut client, said, seen);
                None
            }
        };
        self.clients.insert(key, client);
        exchange
    }

    fn asks(&mut self, client: &mut Client, said: Said, seen: Seen, book: &mut Book) {
        let mark = Mark { at: seen.at, packet: seen.packet };
        if let Some(asked) = &mut client.asked
            && asked.said.kind == said.kind
        {
            // The same message behind its relay is no further try.
            if asked.said.relay != said.relay {
                asked.passed_on = said.relay.zip(said.server);
                return;
            }
            asked.tries = asked.tries.saturating_add(1);
            asked.since_offer = asked.since_offer.saturating_add(1);
            asked.last = mark;
            asked.cited.add(seen.packet);
            asked.said.transaction = said.transaction;
            return;
        }
        let before = client.asked.take();
        match (said.kind, before) {
            (Kind::Request(Stage::Select), Some(asked)) if asked.said.kind == Kind::Discover => client.discovery = Some(asked),
            (Kind::Request(Stage::Rebind), Some(asked)) if asked.said.kind == Kind::Request(Stage::Renew) => client.renewal = Some(asked),
            (_, Some(asked)) => {
                tell::unanswered(self, client, &asked, seen.at, book);
                client.offers.clear();
            }
            (_, None) => {}
        }
        client.asked = Some(Asked {
            said,
            first: mark,
            last: mark,
            tries: 1,
            since_offer: 0,
            cited: Cited::one(seen.packet),
            flow: seen.flow,
            passed_on: None,
        });
    }

    fn offers(&mut self, client: &mut Client, said: Said, seen: Seen, book: &mut Book) -> Option<Exchange> {
        let mark = Mark { at: seen.at, packet: seen.packet };
        self.remember(&said, seen.at);
        let known = client.offers.iter().any(|offer| offer.said.server == said.server);
        for other in &client.offers {
            self.disagree(other, &said, mark, seen.flow, book);
        }
        let question =
            client.asked.as_mut().filter(|asked| asked.said.kind == Kind::Discover && asked.said.transaction == said.transaction);
        let exchange = question.filter(|_| !known).map(|asked| {
            asked.since_offer = 0;
            exchange(asked, &said, mark, if said.six { "ADVERTISE" } else { "OFFER" }, true)
        });
        if !known && client.offers.len() < MOST_KEPT {
            client.offers.push(Answered { said, mark, asked_of: None });
        }
        exchange
    }

    fn remember(&mut self, said: &Said, at: Stamp) {
        let Some(address) = said.address else { return };
        if let Some((_, last)) = self.offered.get_mut(&address) {
            *last = at;
        } else if self.offered.len() < MOST_OFFERED {
            self.offered.insert(address, (at, at));
        }
    }

    /// Nobody answers for an address that is only offered: the server asks for it to see whether it is free, or has noted it for a client that did not take it.
    pub(super) fn explain_silence(&self, hosts: &Hosts, book: &mut Book) {
        if self.offered.is_empty() {
            return;
        }
        book.soften_where("; a DHCP server offered the address, and nobody had it then", |finding| {
            let Some(Party::Host(target)) = finding.blames.filter(|_| finding.rule == "arp.unanswered") else { return false };
            let Some((first, last)) = self.offered.get(&target) else { return false };
            let tried = |offer: &Stamp| offer.since(finding.first) <= TRIAL_NS && finding.first <= *offer;
            !hosts.knows(target) || tried(first) || tried(last)
        });
    }

    /// Two servers are not wrong: two that name different ways out are.
    fn disagree(&mut self, other: &Answered, said: &Said, mark: Mark, flow: FlowId, book: &mut Book) {
        let (Some(one), Some(two)) = (other.said.server, said.server) else { return };
        let pair = (one.min(two), one.max(two));
        let differ = other.said.network.zip(said.network).is_some_and(|(one, two)| one != two);
        if one == two || !differ || self.disagreed.contains(&pair) || self.disagreed.len() >= MOST_KEPT {
            return;
        }
        self.disagreed.push(pair);
        tell::disagreement(other, said, mark, flow, book);
    }

    fn gives(&mut self, client: &mut Client, said: Said, seen: Seen, book: &mut Book) -> Option<Exchange> {
        let mark = Mark { at: seen.at, packet: seen.packet };
        let asked = client.asked.take()?;
        // An ACK of a relay's copy, or of a question before the last one.
        if asked.said.transaction != said.transaction {
            client.asked = Some(asked);
            return None;
        }
        let exchange = exchange(&asked, &said, mark, if said.six { "REPLY" } else { "ACK" }, true);
        if asked.said.kind == Kind::Inform {
            return Some(exchange);
        }
        self.served = self.served.saturating_add(1);
        if let Some(server) = said.server.filter(|server| !self.servers.contains(server) && self.servers.len() < MOST_KEPT) {
            self.servers.push(server);
        }
        tell::success(client, &asked, &said, mark, book);
        *client = Client { last: seen.at, ..Client::default() };
        Some(exchange)
    }

    fn refuses(client: &mut Client, said: Said, seen: Seen) -> Option<Exchange> {
        let mark = Mark { at: seen.at, packet: seen.packet };
        let asked = client.asked.as_ref().filter(|asked| asked.said.transaction == said.transaction)?;
        let exchange = exchange(asked, &said, mark, if said.six { "refused" } else { "NAK" }, false);
        let again =
            client.refusals.last().is_some_and(|known| known.said.transaction == said.transaction && known.said.server == said.server);
        // The refusal of one server does not keep another one from giving: in IPv4 a NAK ends it (RFC 2131 §3.1), in IPv6 the client waits on.
        let asked_of = asked.said.server;
        if !said.six {
            client.asked = None;
        }
        if !again && client.refusals.len() < MOST_KEPT {
            client.refusals.push(Answered { said, mark, asked_of });
        }
        Some(exchange)
    }

    fn declines(client: &mut Client, said: Said, seen: Seen) {
        client.asked = None;
        if client.declined.len() < MOST_KEPT {
            client.declined.push(Answered { said, mark: Mark { at: seen.at, packet: seen.packet }, asked_of: None });
        }
    }

    /// Tells of clients that have been silent for long.
    pub(super) fn expire(&mut self, now: Stamp, book: &mut Book) {
        if self.clients.is_empty() {
            return;
        }
        let over: Vec<(u32, String)> =
            self.clients.iter().filter(|(_, client)| now.since(client.last) > PATIENCE_NS).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.close(&key, now, book);
        }
    }

    /// The capture is over.
    pub(super) fn finish(&mut self, now: Stamp, book: &mut Book) {
        let mut keys: Vec<(Stamp, (u32, String))> = self.clients.iter().map(|(key, client)| (client.last, key.clone())).collect();
        keys.sort_unstable();
        for (_, key) in keys {
            self.close(&key, now, book);
        }
    }

    fn let_go(&mut self, book: &mut Book) {
        let oldest = self.clients.iter().min_by_key(|(_, client)| client.last).map(|(key, client)| (key.clone(), client.last));
        if let Some((key, at)) = oldest {
            self.close(&key, at, book);
        }
    }

    fn close(&mut self, key: &(u32, String), now: Stamp, book: &mut Book) {
        let Some(mut client) = self.clients.remove(key) else { return };
        if let Some(asked) = client.asked.take() {
            tell::unanswered(self, &client, &asked, now, book);
        }
        tell::failure(&client, book);
    }
}

/// A question and its answer. The wait is that since the last try, for an answer belongs to one of them, and most likely to that one.
fn exchange(asked: &Asked, said: &Said, mark: Mark, answer: &str, ok: bool) -> Exchange {
    let wait = mark.at.ms_since(asked.last.at);
    let question = format!("{} of {}", tell::name(&asked.said), said.client);
    Exchange {
        answer: said.address.map_or_else(|| answer.to_owned(), |address| format!("{answer} {address}")),
        wait_ms: Some(wait),
        total_ms: Some(mark.at.ms_since(asked.first.at)),
        answered_in: Some(mark.packet.0),
        ok,
        ..Exchange::unanswered("dhcp", question, asked.first)
    }
}
