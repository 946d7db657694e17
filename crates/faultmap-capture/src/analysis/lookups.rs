//! Questions of DNS across flows: a resolver library asks again from another port and under another id, so that a question and its further tries are several flows. What
//! they come to is told once: answered at which try, or not at all. And what only several questions show: names of a search list that cost time, a
//! resolver that answers for names that do not exist, two resolvers that contradict each other.
//!
//! Memory: [`MOST`] questions of about 300 bytes, [`MOST_MISSING`] names that did not exist.

use super::book::Book;
use super::names::Names;
use crate::app::{DnsWord, Ends, Exchange, text};
use crate::finding::{Cited, Finding, Party, Weight};
use crate::flow::FlowId;
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;
use foldhash::fast::{FixedState, RandomState};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

/// Questions followed at once.
const MOST: usize = 4096;
/// Names that did not exist, remembered until another name is found.
const MOST_MISSING: usize = 256;
/// Tries of one question are not further apart (resolv.conf(5): `timeout` is 30 s at most).
const SAME_NS: u64 = 31_000_000_000;
/// What comes sooner is another program with the same question, nanoseconds.
const PARALLEL_NS: u64 = 200_000_000;
/// A question is remembered until its flows are closed.
const FORGET_NS: u64 = 120_000_000_000;
/// Names of one search are asked within this.
const SEARCH_NS: u64 = 10_000_000_000;
/// A search list that costs less is nobody's concern, milliseconds. (A check says so earlier: it was asked why something is slow.)
const WASTE_MS: f64 = 500.0;
/// Flows of one question that are remembered.
const MOST_TRIES: usize = 16;
/// Two resolvers are asked by one client for one name within this, nanoseconds.
const TOGETHER_NS: u64 = 5_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    client: IpAddr,
    server: SocketAddr,
    question: u64,
}

#[derive(Debug)]
struct Open {
    /// The id of its last try.
    id: u16,
    /// All tries had it.
    same_id: bool,
    /// When the last answer came.
    answered_at: Stamp,
    first: Stamp,
    last: Stamp,
    cited: Cited,
    flows: Vec<FlowId>,
    answered: bool,
    /// An answer to it was truncated: it is a large one.
    large: bool,
}

#[derive(Debug)]
struct Missing {
    client: IpAddr,
    server: SocketAddr,
    name: String,
    asked: Stamp,
    packet: PacketNo,
}

/// All questions.
#[derive(Default)]
pub(super) struct Lookups {
    /// What names have been found to have.
    pub(super) names: Names,
    open: HashMap<Key, Open, RandomState>,
    order: VecDeque<(Stamp, Key)>,
    missing: VecDeque<Missing>,
    /// The last name without a dot that got a public address, by client and server.
    dotless: HashMap<(IpAddr, SocketAddr), (String, u64), RandomState>,
    /// Pairs of resolvers told of.
    contradictions: HashSet<(SocketAddr, SocketAddr), RandomState>,
}

/// What becomes of a question that was told as unanswered by its flow.
pub(super) enum Silence {
    /// As it was told.
    AsTold,
    /// Another flow tells it.
    ToldElsewhere,
    /// All tries together.
    Instead(Box<Finding>),
}

fn question_of(question: &str) -> u64 {
    FixedState::default().hash_one(question)
}

fn tell(
    rule: &'static str,
    weight: Weight,
    cause: Option<&'static str>,
    server: SocketAddr,
    cited: Cited,
    times: (Stamp, Stamp),
) -> Finding {
    let (layer, blames) = (Some(Layer::L7), Some(Party::Service(server)));
    Finding { layer, cause, blames, ..Finding::of(rule, weight, times, cited, String::new()) }
}

fn unheard(question: &str, after_ms: f64) -> String {
    format!("{question}: asked again {} after it was answered: the client did not get the answer", text::time(after_ms))
}

/// A question whose answer went by, and that was asked again so many milliseconds after.
pub(super) fn not_taken(ends: &Ends, exchange: &Exchange, after_ms: f64) -> Finding {
    let cited = Cited::one(PacketNo(exchange.asked_in));
    let mut found = tell("dns.answer-not-taken", Weight::Fault, None, ends.server, cited, (exchange.asked, exchange.asked));
    (found.text, found.value) = (unheard(&exchange.question, after_ms), Some(after_ms));
    found
}

impl Lookups {
    /// Something was asked or answered in a flow of datagrams. Whether it is a question asked again under its id: nobody does that who has heard an answer.
    pub(super) fn word(&mut self, ends: &Ends, flow: FlowId, word: DnsWord, book: &mut Book) -> bool {
        match word {
            DnsWord::Asked { question, id, at, packet } => {
                let key = Key { client: ends.client.ip(), server: ends.server, question: question_of(&question) };
                let again = self.open.get(&key).is_some_and(|open| open.id == id && at.since(open.last) <= SAME_NS);
                self.not_taken(key, flow, (&question, id), (at, packet), book);
                self.asked(key, flow, id, at, packet);
                return again;
            }
            DnsWord::Has { name, addresses } => self.names.learn(name, &addresses),
            DnsWord::Dotless { name, content, at, packet } => self.rewritten(ends, (name, content), (at, packet), book),
        }
        false
    }

    /// A question that was answered is asked again from another port, under the very id: a further try of a client that did not get the answer.
    fn not_taken(&self, key: Key, flow: FlowId, (question, id): (&str, u16), (at, packet): (Stamp, PacketNo), book: &mut Book) {
        let Some(open) = self.open.get(&key).filter(|open| open.answered && open.id == id && open.flows.last() != Some(&flow)) else {
            return;
        };
        let after = at.since(open.answered_at);
        if !(PARALLEL_NS..=SAME_NS).contains(&after) {
            return;
        }
        let mut cited = open.cited.clone();
        cited.add(packet);
        let mut found = tell("dns.answer-not-taken", Weight::Fault, None, key.server, cited, (open.first, at));
        found.text = unheard(question, after as f64 / 1e6);
        (found.flow, found.value) = (open.flows.last().copied(), Some(at.ms_since(open.first)));
        book.add(found);
    }

    fn asked(&mut self, key: Key, flow: FlowId, id: u16, at: Stamp, packet: PacketNo) {
        let fresh = |large| Open {
            id,
            same_id: true,
            answered_at: at,
            first: at,
            last: at,
            cited: Cited::one(packet),
            flows: vec![flow],
            answered: false,
            large,
        };
        if let Some(open) = self.open.get_mut(&key) {
            let again = open.flows.last() == Some(&flow);
            if !again && (open.answered || at.since(open.last) > SAME_NS) {
                *open = fresh(open.large && at.since(open.last) <= FORGET_NS);
            } else if again || (at.since(open.last) >= PARALLEL_NS && open.flows.len() < MOST_TRIES) {
                open.same_id &= open.id == id;
                (open.last, open.id) = (at, id);
                open.cited.add(packet);
                if !again {
                    open.flows.push(flow);
                }
            }
            return;
        }
        if self.open.len() < MOST {
            self.open.insert(key, fresh(false));
            self.order.push_back((at, key));
        }
    }

    /// An exchange over datagrams came to its end. Whether it is one of its own, and not a try of one that another flow ends.
    pub(super) fn ended(&mut self, ends: &Ends, flow: FlowId, exchange: &Exchange, truncated: bool, book: &mut Book) -> bool {
        let key = Key { client: ends.client.ip(), server: ends.server, question: question_of(&exchange.question) };
        let Some(open) = self.open.get_mut(&key) else { return true };
        let Some(place) = open.flows.iter().position(|known| *known == flow) else { return true };
        if exchange.answer.is_empty() {
            return !open.answered && open.flows.last() == Some(&flow);
        }
        if place > 0 && !open.answered {
            let (tries, waited) = (open.cited.count, exchange.asked.ms_since(open.first) + exchange.wait_ms.unwrap_or_default());
            let mut found =
                tell("dns.retry", Weight::Warning, Some("l7.dns-slow"), ends.server, open.cited.clone(), (open.first, open.last));
            found.text = format!("{}: answered at try {tries}, after {}", exchange.question, text::time(waited));
            found.flow = Some(flow);
            found.value = Some(waited);
            book.add(found);
        }
        open.answered_at = exchange.answered_at();
        (open.answered, open.large) = (true, open.large || truncated);
        true
    }

    /// The question of this flow was asked again, under its id, in a later one: how long after.
    pub(super) fn asked_later(&self, ends: &Ends, flow: FlowId, exchange: &Exchange) -> Option<f64> {
        let key = Key { client: ends.client.ip(), server: ends.server, question: question_of(&exchange.question) };
        let open = self.open.get(&key).filter(|open| open.flows.contains(&flow))?;
        (open.same_id && open.flows.last() != Some(&flow)).then(|| open.last.ms_since(exchange.asked))
    }

    /// How often a question of this flow was asked, in all flows.
    pub(super) fn tries(&self, ends: &Ends, flow: FlowId, question: &str) -> u64 {
        let key = Key { client: ends.client.ip(), server: ends.server, question: question_of(question) };
        self.open.get(&key).filter(|open| open.flows.contains(&flow)).map_or(1, |open| open.cited.count)
    }

    /// What becomes of the silence that a flow tells: `lost` if fragments of an answer came, but not all.
    pub(super) fn silent(&mut self, ends: &Ends, flow: FlowId, exchange: &Exchange, finding: &Finding, lost: bool) -> Silence {
        let key = Key { client: ends.client.ip(), server: ends.server, question: question_of(&exchange.question) };
        let Some(open) = self.open.get(&key).filter(|open| open.flows.contains(&flow)) else { return Silence::AsTold };
        if open.answered || open.flows.last() != Some(&flow) {
            return if open.flows.len() > 1 { Silence::ToldElsewhere } else { Silence::AsTold };
        }
        let tries = open.cited.count;
        if tries < 2 && !lost {
            return Silence::AsTold;
        }
        let waited = finding.value.unwrap_or_default() + exchange.asked.ms_since(open.first);
        let question = &exchange.question;
        let mut found = finding.clone();
        (found.rule, found.weight, found.cause) = ("dns.timeout", Weight::Fault, Some("l7.dns-timeout"));
        (found.first, found.cited, found.value) = (open.first, open.cited.clone(), Some(waited));
        found.text = format!("{question}: no answer to {tries} tries in {}", text::time(waited));
        if lost {
            (found.rule, found.layer, found.cause) = ("dns.answer-fragments-lost", Some(Layer::L3), Some("l3.fragments-dropped"));
            found.text = format!("{question}: of the answers to {tries} tries only some fragments arrived");
        } else if open.large {
            (found.rule, found.layer, found.cause) = ("dns.large-answer-lost", Some(Layer::L3), None);
            found.text = format!(
                "{question}: the answer is a large one (truncated where only a small one was asked for), and {tries} questions for it got none"
            );
        }
        Silence::Instead(Box::new(found))
    }

    /// An answer says that the name does not exist, or what it has.
    pub(super) fn learned(&mut self, ends: &Ends, exchange: &Exchange, book: &mut Book) {
        let Some((kind, name)) = exchange.question.split_once(' ').filter(|(kind, _)| matches!(*kind, "A" | "AAAA")) else { return };
        let (client, server, asked) = (ends.client.ip(), ends.server, exchange.asked);
        if exchange.answer == "NXDOMAIN" {
            if self.missing.len() >= MOST_MISSING {
                self.missing.pop_front();
            }
            self.missing.push_back(Missing { client, server, name: name.to_owned(), asked, packet: PacketNo(exchange.asked_in) });
        } else if exchange.ok && exchange.answer.contains("record") && kind == "A" {
            self.waste(ends, exchange, name, book);
            self.contradict(ends, exchange, name, book);
        }
    }

    /// Names that begin with the one that was found were tried before it: those of a search list.
    fn waste(&mut self, ends: &Ends, exchange: &Exchange, name: &str, book: &mut Book) {
        let client = ends.client.ip();
        let of_search = |missing: &&Missing| {
            let longer = missing.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            longer && missing.client == client && exchange.asked.since(missing.asked) <= SEARCH_NS && missing.asked <= exchange.asked
        };
        let tried: Vec<&Missing> = self.missing.iter().filter(of_search).collect();
        let names: HashSet<&str> = tried.iter().map(|missing| missing.name.as_str()).collect();
        let Some(first) = tried.iter().min_by_key(|missing| missing.asked) else { return };
        let wasted = exchange.asked.ms_since(first.asked);
        if names.len() < 2 || wasted < WASTE_MS {
            return;
        }
        let mut cited = Cited::default();
        tried.iter().for_each(|missing| cited.add(missing.packet));
        let span = (first.asked, exchange.asked);
        let mut found = tell("dns.search-waste", Weight::Warning, Some("l7.dns-slow"), ends.server, cited, span);
        let count = names.len();
        found.text = format!("{name}: {count} names of the search list were asked for before it, which took {}", text::time(wasted));
        found.value = Some(wasted);
        book.add(found);
        self.missing.retain(|missing| !(missing.client == client && missing.name.starts_with(name)));
    }

    /// One resolver says that the name does not exist, the other one has it. Both may be right (a split DNS): a remark.
    fn contradict(&mut self, ends: &Ends, exchange: &Exchange, name: &str, book: &mut Book) {
        let other = self.missing.iter().find(|missing| {
            let near = exchange.asked.since(missing.asked).max(missing.asked.since(exchange.asked)) <= TOGETHER_NS;
            near && missing.name == name && missing.client == ends.client.ip() && missing.server.ip() != ends.server.ip()
        });
        let Some(missing) = other.filter(|missing| !self.contradictions.contains(&(missing.server, ends.server))) else { return };
        let mut cited = Cited::one(missing.packet);
        cited.add(PacketNo(exchange.asked_in));
        let span = (missing.asked.min(exchange.asked), missing.asked.max(exchange.asked));
        let mut found = tell("dns.resolvers-disagree", Weight::Warning, None, missing.server, cited, span);
        found.text = format!(
            "{} says that {name} does not exist, {} has an address for it: one of the two does not know the zone",
            missing.server, ends.server
        );
        let pair = (missing.server, ends.server);
        if self.contradictions.len() < MOST_MISSING {
            self.contradictions.insert(pair);
        }
        book.add(found);
    }

    /// Names without a dot are none of the public DNS. Browsers ask for such ones at random to learn whether somebody answers all the same.
    fn rewritten(&mut self, ends: &Ends, (name, content): (String, u64), (at, packet): (Stamp, PacketNo), book: &mut Book) {
        let key = (ends.client.ip(), ends.server);
        let before = self.dotless.get(&key).filter(|(other, same)| *same == content && *other != name);
        if let Some((other, _)) = before {
            let mut found =
                tell("dns.nxdomain-rewritten", Weight::Warning, Some("l7.dns-disagreement"), ends.server, Cited::one(packet), (at, at));
            found.text = format!(
                "{other} and {name}, which are no names of the public DNS, got the same public address: this resolver answers for what does not exist"
            );
            book.add(found);
        }
        if self.dotless.len() < MOST || self.dotless.contains_key(&key) {
            self.dotless.insert(key, (name, content));
        }
    }

    /// Forgets questions whose flows are closed.
    pub(super) fn expire(&mut self, now: Stamp) {
        while let Some((since, key)) = self.order.front().copied().filter(|(since, _)| now.since(*since) > FORGET_NS) {
            self.order.pop_front();
            match self.open.get(&key) {
                // It was asked anew meanwhile.
                Some(open) if open.last > since && now.since(open.last) <= FORGET_NS => self.order.push_back((open.last, key)),
                _ => drop(self.open.remove(&key)),
            }
        }
    }
}
