//! DNS over UDP and TCP (RFC 1035, RFC 7766): questions paired with their answers by id, name and type, and what the answers say. A flow is one 5-tuple, so its
//! own table is enough.
//!
//! Memory: at most [`MOST_OPEN`] open questions and [`MOST_ANSWERED`] answered ones of about 200 bytes each, [`MOST_HELD`] findings held back; over TCP one message of at
//! most 64 KiB.

mod message;
#[cfg(test)]
mod tests;

use super::gather::{Gather, Gathered};
use super::tell::{Mark, SLOW_MS, tell};
use super::{Below, Chunk, Conversation, DnsWord, End, Ends, Exchange, Sink, text};
use crate::finding::{Finding, Weight};
use crate::flow::Side;
use crate::flow::record::PerSide;
use crate::packet::Stamp;
use faultmap_model::Layer;
use message::{A, AAAA, Message, Unread, rcode_name};
use std::collections::VecDeque;

/// Open questions of one flow that are followed.
const MOST_OPEN: usize = 256;
/// Answered questions of one flow that are remembered, to know a second answer.
const MOST_ANSWERED: usize = 16;
/// Findings held back until the name's other questions are answered.
const MOST_HELD: usize = 8;
/// Who has no answer for so long has none, milliseconds: resolver libraries wait 5 s (resolv.conf(5): `timeout`), dig with fewer 3 s, and authoritative servers are
/// given less than 2 s by resolvers.
const PATIENCE_MS: f64 = 3000.0;
/// An answer in less costs nobody anything, cached or not, in milliseconds.
const FREE_MS: f64 = 20.0;
/// The same question again after less than this is a copy of it, not a try, in milliseconds.
const AGAIN_MS: f64 = 100.0;
/// Answers under ids that nobody asked with, from which on they are told.
const MOST_STRAYED: u32 = 3;
/// Answers later than this after the last question are no answers any more, in milliseconds.
const FORGET_MS: f64 = 30_000.0;

/// DNS in one flow.
pub(super) struct Dns {
    ends: Ends,
    over_tcp: bool,
    gathers: PerSide<Gather>,
    lost: PerSide<bool>,
    open: VecDeque<Query>,
    answered: VecDeque<Query>,
    held: Vec<Held>,
    malformed: bool,
    strayed: u32,
}

struct Query {
    id: u16,
    qtype: u16,
    name: String,
    question: String,
    asked: Mark,
    last: Mark,
    tries: u32,
    /// It was sent more than once, so that more than one answer is due.
    doubled: bool,
    edns: bool,
    /// What came as the answer, once it came, and when.
    answered: Stamp,
    content: u64,
    rcode: u16,
}

/// That a name does not exist, or has no address, is told at the end: a sister question may have been answered.
struct Held {
    name: String,
    finding: Finding,
}

/// Whether this may be a DNS message: as a datagram from whoever, or whole in a stream.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    matches!(message::read(bytes), Ok(message) if message.qtype != 0 && message.opcode == 0 && (message.response || (message.answers == 0 && message.rcode == 0)))
}

impl Dns {
    /// A flow between these.
    pub(super) fn new(ends: Ends, over_tcp: bool) -> Self {
        Self {
            ends,
            over_tcp,
            gathers: PerSide::default(),
            lost: PerSide::default(),
            open: VecDeque::new(),
            answered: VecDeque::new(),
            held: Vec::new(),
            malformed: false,
            strayed: 0,
        }
    }

    fn message(&mut self, bytes: &[u8], mark: Mark, sink: &mut Sink) {
        match message::read(bytes) {
            Ok(message) if message.opcode != 0 => {}
            Ok(message) if message.response => self.answer(&message, mark, sink),
            Ok(message) => self.question(message, mark, sink),
            Err(Unread::Malformed(why)) => self.unreadable(bytes, why, mark, sink),
            Err(Unread::Short) => self.cut(bytes, mark, sink),
        }
    }

    /// The beginning of an answer, the rest of which was not captured or is in other fragments: what it says is not known, but it is no silence.
    fn cut(&mut self, bytes: &[u8], mark: Mark, sink: &mut Sink) {
        let &[a, b, flags, code, ..] = bytes else { return };
        let (id, response) = (u16::from_be_bytes([a, b]), flags & 0x80 != 0);
        let index = self.open.iter().position(|query| response && !self.over_tcp && query.id == id);
        if let Some(mut query) = index.and_then(|index| self.open.remove(index)) {
            let ok = code & 15 == 0;
            sink.exchanges.push(query.exchange(Some((mark, rcode_name(u16::from(code & 15)), ok))));
            // What its content is cannot be compared with another answer.
            (query.answered, query.doubled) = (mark.at, true);
            self.remember(query);
        }
    }

    /// A message that breaks the rules. As an answer it is none, but not silence either.
    fn unreadable(&mut self, bytes: &[u8], why: &str, mark: Mark, sink: &mut Sink) {
        let &[a, b, flags, ..] = bytes else { return };
        let (id, response) = (u16::from_be_bytes([a, b]), flags & 0x80 != 0);
        let index = self.open.iter().position(|query| response && query.id == id);
        if let Some(query) = index.and_then(|index| self.open.remove(index)) {
            sink.exchanges.push(query.exchange(Some((mark, "malformed".to_owned(), false))));
        }
        if !std::mem::replace(&mut self.malformed, true) {
            let weight = if response { Weight::Warning } else { Weight::Note };
            let party = if response { self.ends.service() } else { self.ends.asker() };
            sink.findings.push(tell("dns.malformed", weight, Layer::L7, mark, format!("not a valid DNS message: {why}")).on(party));
        }
    }

    fn question(&mut self, message: Message, mark: Mark, sink: &mut Sink) {
        if let Some(query) = self.open.iter_mut().find(|query| query.is(&message)) {
            query.doubled = true;
            // What waited in a queue leaves it twice at once; who asks again has waited for an answer.
            if mark.at.ms_since(query.last.at) >= AGAIN_MS {
                query.tries = query.tries.saturating_add(1);
                query.last = mark;
                self.asked((message.question(), message.id), mark, sink);
            }
            return;
        }
        if self.not_taken(&message, mark, sink) {
            return;
        }
        self.asked((message.question(), message.id), mark, sink);
        while self.open.len() >= MOST_OPEN || self.open.front().is_some_and(|query| mark.at.ms_since(query.last.at) > FORGET_MS) {
            if let Some(query) = self.open.pop_front() {
                self.unanswered(&query, mark.at, sink);
            }
        }
        self.open.push_back(Query {
            id: message.id,
            qtype: message.qtype,
            question: message.question(),
            name: message.name,
            asked: mark,
            last: mark,
            tries: 1,
            doubled: false,
            edns: message.edns,
            answered: mark.at,
            content: 0,
            rcode: 0,
        });
    }

    fn answer(&mut self, message: &Message, mark: Mark, sink: &mut Sink) {
        let Some(index) = self.open.iter().position(|query| query.is(message)) else { return self.again(message, mark, sink) };
        let Some(mut query) = self.open.remove(index) else { return };
        let wait = mark.at.ms_since(query.asked.at);
        (query.answered, query.content, query.rcode) = (mark.at, message.content, message.rcode);
        self.settle(&query, message);
        if !message.addresses.is_empty() {
            sink.lookups.push(DnsWord::Has { name: query.name.clone(), addresses: message.addresses.clone() });
        }
        self.judge(&query, message, mark, wait, sink);
        sink.exchanges.push(query.exchange(Some((mark, answer_text(message), message.rcode == 0))));
        self.remember(query);
    }

    fn remember(&mut self, query: Query) {
        if self.answered.len() >= MOST_ANSWERED {
            self.answered.pop_front();
        }
        self.answered.push_back(query);
    }

    /// A second answer to one question.
    fn again(&mut self, message: &Message, mark: Mark, sink: &mut Sink) {
        let Some(query) = self.answered.iter().rev().find(|query| query.is(message)) else { return self.not_asked(message, mark, sink) };
        // Who asked twice is answered twice.
        if query.doubled {
            return;
        }
        let service = self.ends.service();
        let same = query.rcode == message.rcode && query.content == message.content;
        let finding = if same {
            let text = format!("{}: answered twice, alike", query.question);
            tell("dns.duplicate-response", Weight::Note, Layer::L7, mark, text)
        } else {
            let text =
                format!("{}: two different answers to one question: somebody else may be answering in the server's name", query.question);
            tell("dns.conflicting-answers", Weight::Warning, Layer::L7, mark, text).for_cause("l7.dns-disagreement")
        };
        sink.findings.push(finding.and(query.asked).on(service));
    }

    /// An answer under an id that nobody used, to a question that was asked under another: who answers so does not see the question.
    fn not_asked(&mut self, message: &Message, mark: Mark, sink: &mut Sink) {
        let known = |query: &Query| message.qtype != 0 && query.qtype == message.qtype && query.name == message.name;
        if self.over_tcp || self.strayed >= MOST_STRAYED || !(self.open.iter().chain(&self.answered).any(known)) {
            return;
        }
        self.strayed += 1;
        // One may be late from an earlier use of the port; several are guesses (RFC 5452 §4).
        if self.strayed == MOST_STRAYED {
            let text = format!(
                "{}: {MOST_STRAYED} answers under ids that were not asked: somebody guesses, to answer in the server's name",
                message.question()
            );
            let finding = tell("dns.wrong-id", Weight::Warning, Layer::L7, mark, text).for_cause("l7.dns-disagreement");
            sink.findings.push(finding.on(self.ends.service()));
        }
    }

    /// A question that was answered is asked again under its id, though nothing else waits: its client did not take the answer.
    fn not_taken(&mut self, message: &Message, mark: Mark, sink: &mut Sink) -> bool {
        let again = |query: &&Query| query.is(message) && (AGAIN_MS * 2.0..FORGET_MS).contains(&mark.at.ms_since(query.answered));
        let Some(query) = self.answered.iter().rev().find(again).filter(|_| self.open.is_empty() && !self.over_tcp) else { return false };
        let waited = mark.at.ms_since(query.asked.at);
        let text = format!(
            "{}: asked again {} after it was answered: the client did not take the answer",
            query.question,
            text::time(mark.at.ms_since(query.answered))
        );
        let finding = tell("dns.answer-not-taken", Weight::Fault, Layer::L7, mark, text).and(query.asked);
        sink.findings.push(finding.on(self.ends.service()).worth(waited));
        true
    }

    fn asked(&self, (question, id): (String, u16), mark: Mark, sink: &mut Sink) {
        if !self.over_tcp {
            sink.lookups.push(DnsWord::Asked { question, id, at: mark.at, packet: mark.packet });
        }
    }

    /// A name that has something is not missing, whatever its other types, and the names of a search list that were tried before it, say.
    fn settle(&mut self, query: &Query, message: &Message) {
        if message.rcode != 0 || message.wanted == 0 {
            return;
        }
        for held in &mut self.held {
            let rest = held.name.strip_prefix(&query.name);
            if !query.name.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                held.finding.weight = Weight::Note;
            }
        }
    }

    fn judge(&mut self, query: &Query, message: &Message, mark: Mark, wait: f64, sink: &mut Sink) {
        let service = self.ends.service();
        let finding = |rule, weight, cause: &'static str, text: String| {
            tell(rule, weight, Layer::L7, mark, text).for_cause(cause).and(query.asked).on(service)
        };
        let question = &query.question;
        if query.tries > 1 {
            let text = format!("{question}: answered at try {}, after {}", query.tries, text::time(wait));
            sink.findings.push(finding("dns.retry", Weight::Warning, "l7.dns-slow", text).worth(wait));
        } else if wait >= SLOW_MS {
            let text = format!("{question}: answered after {}", text::time(wait));
            sink.findings.push(finding("dns.slow", Weight::Warning, "l7.dns-slow", text).worth(wait));
        }
        if message.truncated {
            let text = format!("{question}: the answer does not fit, the client is to ask over TCP");
            sink.findings.push(tell("dns.truncated", Weight::Note, Layer::L7, mark, text).on(service));
        }
        let code = f64::from(message.rcode);
        match message.rcode {
            0 => self.judge_content(query, message, mark, wait, sink),
            2 => {
                let bogus = matches!(message.extended_error, Some(5..=12));
                let cause = if bogus { "l7.dns-dnssec-bogus" } else { "l7.dns-servfail" };
                let why = message.extended_error.map(|code| format!(" (extended error {code})")).unwrap_or_default();
                sink.findings
                    .push(finding("dns.servfail", weight_of_failure(query), cause, format!("{question}: SERVFAIL{why}")).worth(code));
            }
            3 => {
                let found =
                    finding("dns.nxdomain", weight_of_missing(query), "l7.dns-nxdomain", format!("{question}: the name does not exist"));
                self.hold(query, found.worth(code), sink);
            }
            5 => {
                let found = finding("dns.refused", weight_of_failure(query), "l7.dns-refused", format!("{question}: REFUSED"));
                sink.findings.push(found.worth(code));
            }
            // A server that knows no EDNS says so by these, and is asked again without (RFC 6891 §7).
            1 | 4 | 16 if query.edns => {
                let text = format!("{question}: {} to a question with EDNS", rcode_name(message.rcode));
                sink.findings.push(tell("dns.rcode", Weight::Note, Layer::L7, mark, text).on(service).worth(code));
            }
            23 => {}
            other => {
                let text = format!("{question}: {}", rcode_name(other));
                sink.findings.push(tell("dns.rcode", Weight::Warning, Layer::L7, mark, text).on(service).worth(code));
            }
        }
    }

    fn judge_content(&mut self, query: &Query, message: &Message, mark: Mark, wait: f64, sink: &mut Sink) {
        let service = self.ends.service();
        let question = &query.question;
        if message.wanted == 0 && !message.truncated && !message.cut && !message.referral {
            let chain = if message.answers > 0 { ", only aliases" } else { "" };
            let soa = if message.start_of_authority { "" } else { ", and no SOA record says so" };
            let text = format!("{question}: no such record{chain}{soa}");
            let weight = if query.qtype == A { Weight::Warning } else { Weight::Note };
            let finding = tell("dns.nodata", weight, Layer::L7, mark, text).for_cause("l7.dns-no-address").and(query.asked).on(service);
            return self.hold(query, finding, sink);
        }
        self.beyond_doubt(query, message, mark, sink);
        // What a local table serves cannot be cached and need not be; a cache that counts down passes 0, too.
        let local = message.authoritative && message.recursion_available;
        if message.least_ttl == Some(0) && matches!(query.qtype, A | AAAA) {
            let weight = if wait < FREE_MS || local { Weight::Note } else { Weight::Warning };
            let text = format!("{question}: the answer may not be cached (TTL 0)");
            let finding = tell("dns.ttl0", weight, Layer::L7, mark, text).for_cause((!local).then_some("l7.dns-ttl-zero")).on(service);
            sink.findings.push(finding.worth(0.0));
        }
    }

    /// Answers that no name should have.
    fn beyond_doubt(&self, query: &Query, message: &Message, mark: Mark, sink: &mut Sink) {
        if query.qtype != A || message.wanted == 0 {
            return;
        }
        if query.name.ends_with(".invalid") {
            let text = format!(
                "{}: has an address, and no such name can exist (RFC 6761): this resolver answers for what does not exist",
                query.question
            );
            let finding = tell("dns.nxdomain-rewritten", Weight::Warning, Layer::L7, mark, text).for_cause("l7.dns-disagreement");
            return sink.findings.push(finding.and(query.asked).on(self.ends.service()));
        }
        let letters = query.name.len() >= 7 && query.name.bytes().all(|byte| byte.is_ascii_lowercase());
        if letters && message.public && !self.over_tcp {
            let name = query.name.clone();
            sink.lookups.push(DnsWord::Dotless { name, content: message.content, at: mark.at, packet: mark.packet });
        }
    }

    fn hold(&mut self, query: &Query, finding: Finding, sink: &mut Sink) {
        if finding.weight == Weight::Note || self.held.len() >= MOST_HELD {
            return sink.findings.push(finding);
        }
        let known = self.answered.iter().any(|other| other.name == query.name && other.rcode == 0 && other.content != 0);
        if known {
            return sink.findings.push(Finding { weight: Weight::Note, ..finding });
        }
        self.held.push(Held { name: query.name.clone(), finding });
    }

    fn unanswered(&self, query: &Query, at: Stamp, sink: &mut Sink) {
        let waited = at.ms_since(query.asked.at);
        let given_up = query.tries > 1 || waited >= PATIENCE_MS;
        let (rule, weight) = if given_up { ("dns.timeout", Weight::Fault) } else { ("dns.unanswered", Weight::Note) };
        let tries = if query.tries > 1 { format!("{} tries", query.tries) } else { "1 try".to_owned() };
        let text = format!("{}: no answer to {tries} in {}", query.question, text::time(waited));
        let finding = tell(rule, weight, Layer::L7, query.asked, text).on(self.ends.service()).worth(waited);
        let finding = if query.tries > 1 { finding.and(query.last) } else { finding };
        sink.findings.push(finding.for_cause(given_up.then_some("l7.dns-timeout")));
        sink.exchanges.push(query.exchange(None));
    }

    /// Messages in a stream have their length before them (RFC 7766 §8).
    fn stream(&mut self, chunk: Chunk<'_>, sink: &mut Sink) {
        let mut rest = chunk.bytes;
        while !rest.is_empty() {
            let mut gather = std::mem::take(self.gathers.of_mut(chunk.from));
            match gather.offer(rest, 65_537, framed) {
                Gathered::Whole(len, taken) => {
                    let whole = gather.whole(rest, len);
                    self.message(whole.get(2..).unwrap_or_default(), Mark::from(&chunk), sink);
                    rest = rest.get(taken..).unwrap_or_default();
                }
                Gathered::More => {
                    *self.gathers.of_mut(chunk.from) = gather;
                    return;
                }
                Gathered::TooLong => return,
            }
        }
    }
}

fn framed(bytes: &[u8], _seen: usize) -> Option<usize> {
    let [a, b, ..] = *bytes else { return None };
    Some(2 + usize::from(u16::from_be_bytes([a, b])))
}

impl Query {
    /// With its answer, if one came: when, what, and whether it is what was wanted.
    fn exchange(&self, answer: Option<(Mark, String, bool)>) -> Exchange {
        Exchange::of_datagrams("dns", self.question.clone(), self.asked, answer)
    }

    fn is(&self, message: &Message) -> bool {
        // Some servers leave the question out of an error.
        self.id == message.id && (message.qtype == 0 || (self.qtype == message.qtype && self.name == message.name))
    }
}

/// That a name does not exist is what somebody wanted to know, unless it is a host's name: reverse names, services (RFC 2782) and lists of mail senders are asked for
/// on the chance.
fn weight_of_missing(query: &Query) -> Weight {
    let by_chance = !matches!(query.qtype, A | AAAA)
        || !query.name.contains('.')
        || query.name.starts_with('_')
        || query.name.starts_with("wpad.")
        || query.name.ends_with(".arpa")
        || query.name.ends_with(".local")
        // An address within the name: a block list (RFC 5782).
        || query.name.split('.').take(4).filter(|label| label.parse::<u8>().is_ok()).count() == 4;
    if by_chance { Weight::Note } else { Weight::Warning }
}

/// The name of an address is asked for by who writes a log; nothing waits for it, and whose zone it is in has little to do with the service.
fn weight_of_failure(query: &Query) -> Weight {
    if query.name.ends_with(".in-addr.arpa") || query.name.ends_with(".ip6.arpa") { Weight::Note } else { Weight::Fault }
}

fn answer_text(message: &Message) -> String {
    let code = rcode_name(message.rcode);
    match (message.rcode, message.wanted) {
        (0, 0) if message.truncated => "truncated".to_owned(),
        (0, 0) => "NODATA".to_owned(),
        (0, 1) => format!("{code}, 1 record"),
        (0, records) => format!("{code}, {records} records"),
        _ => code,
    }
}

impl Conversation for Dns {
    fn chunk(&mut self, chunk: Chunk<'_>, _below: &Below, sink: &mut Sink) {
        if !self.over_tcp {
            return self.message(chunk.bytes, Mark::from(&chunk), sink);
        }
        if !self.lost.of(chunk.from) {
            self.stream(chunk, sink);
        }
    }

    fn gap(&mut self, from: Side, _missing: u64, _sink: &mut Sink) {
        self.gathers.of_mut(from).clear();
        if self.over_tcp {
            // Where the next message begins is not known; who was answered neither.
            *self.lost.of_mut(from) = true;
            self.open.clear();
        }
    }

    fn end(&mut self, _how: End, at: Stamp, _below: &Below, sink: &mut Sink) {
        for query in std::mem::take(&mut self.open) {
            self.unanswered(&query, at, sink);
        }
        sink.findings.extend(self.held.drain(..).map(|held| held.finding));
    }
}
