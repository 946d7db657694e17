//! DNS messages: a question to bytes, bytes to the parts of an answer that evidence needs. Pure; no clock, no socket.
//!
//! The reader takes names and integers with hickory's bounded decoder, but walks the sections itself. A whole-message parser refuses an
//! answer for a malformed record in a section that nobody asked about, and then a sick authority section would look like a silent
//! resolver. Compression pointers only ever lead backwards (hickory's `Name` refuses others), so no name is endless.

use crate::recorder::printable;
use faultmap_model::observation::DnsAnswer;
use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const TYPE_A: u16 = 1;
pub(super) const TYPE_AAAA: u16 = 28;
const TYPE_NS: u16 = 2;
const TYPE_CNAME: u16 = 5;
const TYPE_OPT: u16 = 41;
const CLASS_IN: u16 = 1;
/// RFC 1035 4.1.1.
pub(super) const FORMERR: u16 = 1;
/// RFC 1035 4.1.1.
pub(super) const NOTIMP: u16 = 4;
/// RFC 6891 section 9.
pub(super) const BADVERS: u16 = 16;
/// RFC 8914 section 2.
const OPTION_EDE: u16 = 15;
/// RFC 1035 2.3.4: octets of a name on the wire, and of a label.
const MOST_NAME: usize = 255;
const MOST_LABEL: usize = 63;
/// Extended errors kept of one answer, and characters of each text.
const MOST_EDE: usize = 8;
const MOST_EDE_TEXT: usize = 256;
/// Addresses and CNAMEs kept of one answer; TCP could carry thousands.
const MOST_ADDRESSES: usize = 64;
const MOST_CNAMES: usize = 32;

/// A question as it goes on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name; absolute.
    pub name: Name,
    /// The type's number.
    pub type_number: u16,
    /// CD.
    pub checking_disabled: bool,
    /// RD.
    pub recursion: bool,
    /// EDNS payload size; 0 leaves EDNS out.
    pub max_payload: u16,
    /// DO: signatures are wanted (RFC 3225). Needs EDNS.
    pub dnssec: bool,
}

impl Question {
    /// A recursive question without EDNS; `None` when `name` is no name: empty, not printable ASCII, or too long (RFC 1035 2.3.4).
    #[must_use]
    pub fn new(name: &str, type_number: u16) -> Option<Self> {
        let name = wire_name(name)?;
        Some(Self { name, type_number, checking_disabled: false, recursion: true, max_payload: 0, dnssec: false })
    }

    /// The bytes of the question; `None` if they cannot be made, which no name that fits the wire causes.
    ///
    /// AD is set: it asks the resolver to say whether it validated (RFC 6840 5.7).
    #[must_use]
    pub fn encode(&self, id: u16) -> Option<Vec<u8>> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authentic_data = true;
        message.add_query(Query::query(self.name.clone(), RecordType::from(self.type_number)));
        if self.max_payload > 0 {
            let mut edns = Edns::new();
            edns.set_max_payload(self.max_payload).set_dnssec_ok(self.dnssec);
            message.set_edns(edns);
        }
        message.to_vec().ok()
    }

    /// The answer in `bytes` if they are one to this question asked with `id`; `None` when they are anything else.
    #[must_use]
    pub fn answer_in(&self, id: u16, bytes: &[u8]) -> Option<DnsAnswer> {
        // First what costs nothing: a flood of forged answers should not be read at length.
        let reading = if bytes.starts_with(&id.to_be_bytes()) { read_answer(bytes)? } else { return None };
        let same_question = match &reading.question {
            Some((name, type_number, class)) => *class == CLASS_IN && *type_number == self.type_number && name.eq_ignore_root(&self.name),
            // Servers that could not read the question, or do not want to, may leave it out of their error.
            None => reading.answer.rcode != 0 && reading.answer.records == 0,
        };
        same_question.then_some(reading.answer)
    }
}

/// A random message id.
pub(super) fn random_id() -> u16 {
    Message::query().metadata.id
}

pub(super) fn wire_name(name: &str) -> Option<Name> {
    if name == "." {
        return Some(Name::root());
    }
    let labels: Vec<&[u8]> = name.strip_suffix('.').unwrap_or(name).split('.').map(str::as_bytes).collect();
    let fits = labels.iter().all(|label| (1..=MOST_LABEL).contains(&label.len()) && label.iter().all(u8::is_ascii_graphic));
    let octets = labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
    (fits && octets <= MOST_NAME).then(|| Name::from_labels(labels).ok()).flatten()
}

/// A message that says it is an answer, before it is held against a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Its id.
    pub id: u16,
    /// Its question, if it repeats one: name, type, class.
    pub question: Option<(Name, u16, u16)>,
    /// What it answers.
    pub answer: DnsAnswer,
}

/// Reads a message. `None` when it is no answer to a query, has more than one question, or its answer section cannot be read to the end;
/// only a truncated message (TC) may break off there.
#[must_use]
pub fn read_answer(bytes: &[u8]) -> Option<Reading> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    let head = header.metadata;
    if head.message_type != MessageType::Response || head.op_code != OpCode::Query || header.counts.queries > 1 {
        return None;
    }
    let question = if header.counts.queries == 1 { Some(read_question(&mut decoder)?) } else { None };
    let (records, whole) = read_section(&mut decoder, header.counts.answers, |record| record);
    if !whole && !head.truncation {
        return None;
    }
    let mut extended = Extended::default();
    let mut below = None;
    // Only referrals and the OPT record are wanted of the rest; what cannot be read there says nothing about the answer.
    if whole {
        let (authorities, whole) = read_section(&mut decoder, header.counts.authorities, |record| record);
        below = question.as_ref().and_then(|(name, ..)| referred_to(name, &authorities));
        if whole {
            read_section(&mut decoder, header.counts.additionals, |record| extended.take(&record));
        }
    }
    let chain = follow(question.as_ref().map(|(name, ..)| name), &records);
    let answer = DnsAnswer {
        rcode: u16::from(head.response_code.low()) | (extended.rcode_high << 4),
        authoritative: head.authoritative,
        truncated: head.truncation,
        recursion_available: head.recursion_available,
        authentic: head.authentic_data,
        addresses: addresses(&chain, &records),
        cnames: chain.iter().skip(1).map(|name| shown(name)).collect(),
        min_ttl_s: records.iter().map(|record| record.ttl).min(),
        ede: extended.errors,
        referral: below.filter(|_| !head.authoritative && records.is_empty()),
        records: u32::try_from(records.len()).unwrap_or(u32::MAX),
        bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
    };
    Some(Reading { id: head.id, question, answer })
}

fn read_question(decoder: &mut BinDecoder<'_>) -> Option<(Name, u16, u16)> {
    Some((Name::read(decoder).ok()?, read_u16(decoder)?, read_u16(decoder)?))
}

/// A resource record (RFC 1035 3.2.1), its data read only as far as evidence needs it.
struct Record<'a> {
    owner: Name,
    type_number: u16,
    class: u16,
    ttl: u32,
    data: &'a [u8],
    /// Target of a CNAME; read here because it may be compressed against the whole message.
    target: Option<Name>,
}

/// Reads up to `count` records; says whether all were there.
fn read_section<'a, T>(decoder: &mut BinDecoder<'a>, count: u16, mut keep: impl FnMut(Record<'a>) -> T) -> (Vec<T>, bool) {
    let mut records = Vec::new();
    for _ in 0..count {
        match read_record(decoder) {
            Some(record) => records.push(keep(record)),
            None => return (records, false),
        }
    }
    (records, true)
}

fn read_record<'a>(decoder: &mut BinDecoder<'a>) -> Option<Record<'a>> {
    let owner = Name::read(decoder).ok()?;
    let (type_number, class) = (read_u16(decoder)?, read_u16(decoder)?);
    let ttl = decoder.read_u32().ok()?.unverified(/* any value is a TTL */);
    let length = read_u16(decoder)?;
    let start = u16::try_from(decoder.index()).ok()?;
    let data = decoder.read_slice(usize::from(length)).ok()?.unverified(/* length checked against the buffer */);
    // `clone` starts anew at an index that was just read past, so it lies within the buffer.
    let target = if type_number == TYPE_CNAME { Some(Name::read(&mut decoder.clone(start)).ok()?) } else { None };
    Some(Record { owner, type_number, class, ttl, data, target })
}

fn read_u16(decoder: &mut BinDecoder<'_>) -> Option<u16> {
    decoder.read_u16().ok().map(|value| value.unverified(/* every caller checks or tolerates any value */))
}

/// The zone that the name lies in and whose servers these records name. The root does not count: a server that knows nothing refers there.
fn referred_to(name: &Name, authorities: &[Record<'_>]) -> Option<String> {
    let cut = authorities.iter().find(|record| record.type_number == TYPE_NS && !record.owner.is_root())?;
    let (mut zone, mut name) = (cut.owner.to_lowercase(), name.to_lowercase());
    zone.set_fqdn(true);
    name.set_fqdn(true);
    zone.zone_of(&name).then(|| shown(&zone))
}

/// The name asked for and the targets of the CNAMEs that lead on from it, in order, whatever order the records have.
fn follow<'r>(asked: Option<&'r Name>, records: &'r [Record<'_>]) -> Vec<&'r Name> {
    let mut chain: Vec<&Name> = asked.into_iter().collect();
    while let Some(last) = chain.last().copied() {
        let next = records.iter().filter(|record| record.owner.eq_ignore_root(last)).find_map(|record| record.target.as_ref());
        match next {
            // A chain that bites its tail ends here.
            Some(next) if chain.len() <= MOST_CNAMES && !chain.iter().any(|seen| seen.eq_ignore_root(next)) => chain.push(next),
            _ => break,
        }
    }
    chain
}

fn addresses(chain: &[&Name], records: &[Record<'_>]) -> Vec<IpAddr> {
    let of_chain = |record: &Record<'_>| chain.iter().any(|name| name.eq_ignore_root(&record.owner));
    records.iter().filter_map(|record| address(record).filter(|_| of_chain(record))).take(MOST_ADDRESSES).collect()
}

fn address(record: &Record<'_>) -> Option<IpAddr> {
    if record.class != CLASS_IN {
        return None;
    }
    match record.type_number {
        TYPE_A => <[u8; 4]>::try_from(record.data).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets))),
        TYPE_AAAA => <[u8; 16]>::try_from(record.data).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets))),
        _ => None,
    }
}

/// A name as text without the final dot. A dot or backslash within a label is escaped (RFC 4343 2.1), and so is all that is not printable.
pub(super) fn shown(name: &Name) -> String {
    let labels: Vec<String> = name.iter().map(shown_label).collect();
    if labels.is_empty() { ".".to_owned() } else { labels.join(".") }
}

fn shown_label(label: &[u8]) -> String {
    let mut text = String::new();
    for byte in label {
        match byte {
            b'.' | b'\\' => text.extend(['\\', char::from(*byte)]),
            _ if byte.is_ascii_graphic() => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\{byte:03}")),
        }
    }
    text
}

/// What the OPT record adds (RFC 6891 6.1.3, RFC 8914).
#[derive(Default)]
struct Extended {
    seen: bool,
    rcode_high: u16,
    errors: Vec<(u16, String)>,
}

impl Extended {
    /// Takes the first OPT record; there may be only one.
    fn take(&mut self, record: &Record<'_>) {
        if record.type_number != TYPE_OPT || self.seen {
            return;
        }
        self.seen = true;
        let [high, ..] = record.ttl.to_be_bytes();
        self.rcode_high = u16::from(high);
        let mut rest = record.data;
        while let Some((code, value, after)) = split_option(rest) {
            rest = after;
            if let (OPTION_EDE, [high, low, text @ ..], true) = (code, value, self.errors.len() < MOST_EDE) {
                // RFC 8914 section 2: the text may end with a NUL, which is no part of it.
                let text = text.strip_suffix(&[0]).unwrap_or(text);
                self.errors.push((u16::from_be_bytes([*high, *low]), printable(text, MOST_EDE_TEXT)));
            }
        }
    }
}

/// The first option: code, value, what follows.
fn split_option(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let [code_high, code_low, length_high, length_low] = *head;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([length_high, length_low])))?;
    Some((u16::from_be_bytes([code_high, code_low]), value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::rdata::{A, AAAA};
    use hickory_proto::rr::{RData, Record as Whole};
    use proptest::prelude::*;

    const NAME: &str = "([a-zA-Z0-9_*-]{1,12}\\.){0,6}[a-z]{1,12}\\.?";

    fn answer_to(question: &Question, id: u16, addresses: &[IpAddr], ttl: u32) -> Message {
        let mut message = Message::response(id, OpCode::Query);
        message.add_query(Query::query(question.name.clone(), RecordType::from(question.type_number)));
        message.metadata.response_code = ResponseCode::NoError;
        message.add_answers(addresses.iter().map(|address| {
            let data = match address {
                IpAddr::V4(v4) => RData::A(A(*v4)),
                IpAddr::V6(v6) => RData::AAAA(AAAA(*v6)),
            };
            Whole::from_rdata(question.name.clone(), ttl, data)
        }));
        message.set_edns(Edns::new());
        message
    }

    /// An answer with one record whose owner is `owner`, as bytes.
    fn with_owner(owner: &[u8]) -> Vec<u8> {
        let header = [0, 7, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        [&header, owner, &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 0, 7]].concat()
    }

    #[test]
    fn a_name_that_points_at_itself_or_ahead_is_refused() {
        assert!(read_answer(&with_owner(&[0])).is_some());
        for owner in [[0xc0, 12], [0xc0, 14], [0xc0, 200], [0xff, 0xff]] {
            assert_eq!(read_answer(&with_owner(&owner)), None);
        }
        assert_eq!(read_answer(&with_owner(&[1, b'a', 0xc0, 12])), None);
    }

    #[test]
    fn an_answer_is_read_although_a_later_section_is_malformed() {
        let question = Question::new("shop.test", TYPE_A).unwrap();
        let mut bytes = answer_to(&question, 7, &["10.1.0.7".parse().unwrap()], 60).to_vec().unwrap();
        let last = bytes.len() - 1;
        bytes.truncate(last);
        assert_eq!(question.answer_in(7, &bytes).unwrap().addresses.len(), 1);
    }

    #[test]
    fn queries_and_other_opcodes_are_no_answers() {
        let question = Question::new("shop.test", TYPE_A).unwrap();
        assert_eq!(read_answer(&question.encode(7).unwrap()), None);
        let mut notify = answer_to(&question, 7, &[], 0);
        notify.metadata.op_code = OpCode::Notify;
        assert_eq!(read_answer(&notify.to_vec().unwrap()), None);
    }

    #[test]
    fn names_are_shown_so_that_a_dot_within_a_label_is_not_one_between_labels() {
        let name = Name::from_labels(["a.b".as_bytes(), b"\x1bc\\", b"test"]).unwrap();
        assert_eq!(shown(&name), "a\\.b.\\027c\\\\.test");
        assert_eq!(shown(&Name::root()), ".");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read_answer(&bytes);
        }

        #[test]
        fn a_damaged_answer_is_read_without_panic(
            name in NAME,
            addresses in proptest::collection::vec(any::<IpAddr>(), 0..6),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let question = Question::new(&name, TYPE_A).unwrap();
            let mut bytes = answer_to(&question, 7, &addresses, 60).to_vec().unwrap();
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Some(reading) = read_answer(&bytes) {
                prop_assert!(reading.answer.addresses.len() <= addresses.len());
            }
        }

        #[test]
        fn a_question_is_read_as_it_was_written(name in NAME, type_number in 1..=300_u16, id in any::<u16>(), max_payload in prop_oneof![Just(0_u16), 512..4096_u16]) {
            let question = Question { max_payload, ..Question::new(&name, type_number).unwrap() };
            let mut bytes = question.encode(id).unwrap();
            bytes[2] |= 0x80;
            let reading = read_answer(&bytes).unwrap();
            prop_assert_eq!(reading.id, id);
            let (read, read_type, class) = reading.question.unwrap();
            prop_assert_eq!((read_type, class), (type_number, CLASS_IN));
            prop_assert!(shown(&read).eq_ignore_ascii_case(name.trim_end_matches('.')));
        }

        #[test]
        fn an_answer_is_read_as_it_was_written(name in NAME, addresses in proptest::collection::vec(any::<IpAddr>(), 1..20), ttl in any::<u32>(), id in any::<u16>()) {
            let question = Question::new(&name, TYPE_A).unwrap();
            let bytes = answer_to(&question, id, &addresses, ttl).to_vec().unwrap();
            let answer = question.answer_in(id, &bytes).unwrap();
            prop_assert_eq!(answer.addresses, addresses);
            prop_assert_eq!(answer.min_ttl_s, Some(ttl));
            prop_assert_eq!(question.answer_in(id ^ 1, &bytes), None);
        }
    }
}
