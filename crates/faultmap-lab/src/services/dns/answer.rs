//! Composes the answer to one DNS query. Pure: query, plan and number in; bytes, or silence, out.

use std::time::Duration;

use hickory_proto::{
    op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{
            A, AAAA, SOA, TXT,
            opt::{EdnsCode, EdnsOption},
        },
    },
};

use super::recurse::Found;
use super::sign;
use super::{Behaviour, DnsAnswer, DnsBehaviour, DnsPlan, Transport};

/// Longest chain of aliases followed.
const MAX_CNAMES: usize = 8;
/// OPTION-CODE of an Extended DNS Error (RFC 8914 section 2).
const EDE: u16 = 15;
const EDNS_UDP_PAYLOAD: u16 = 1232;

/// What is to be sent.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// The bytes; absent: nothing is sent.
    pub(crate) bytes: Option<Vec<u8>>,
    pub(crate) delay: Duration,
    /// `name TYPE outcome`, for the counters.
    pub(crate) label: String,
    /// Misbehaviours acted out.
    pub(crate) bites: Vec<&'static str>,
}

/// Composes the answer to `bytes`, the `number`-th query; `found`: what a recursive resolver found out elsewhere.
pub(crate) fn answer(plan: &DnsPlan, bytes: &[u8], over: Transport, number: u64, found: Option<Found>) -> Reply {
    let Ok(query) = Message::from_vec(bytes) else {
        return malformed(bytes);
    };
    if query.metadata.message_type != MessageType::Query {
        return Reply { label: "(not a query)".to_owned(), ..Reply::default() };
    }
    let Some(question) = query.queries.first().cloned() else {
        return malformed(bytes);
    };
    let behaviour = plan.behaviour(question.name());
    let sound = DnsBehaviour::default();
    let behaviour = if behaviour.concerns(&question, over, number) { &behaviour.spec } else { &sound };
    let asked = format!("{} {}", question.name().to_lowercase().to_ascii(), question.query_type());
    let mut reply = Reply { delay: Duration::from_millis(behaviour.delay_ms), bites: bites(behaviour, over), ..Reply::default() };
    if behaviour.silent || (behaviour.drop_edns && query.edns.is_some()) {
        reply.label = format!("{asked} silent");
        return reply;
    }
    if behaviour.garbage {
        reply.label = format!("{asked} garbage");
        reply.bytes = Some(vec![0xff; 7]);
        return reply;
    }
    if behaviour.compression_loop {
        reply.label = format!("{asked} compression loop");
        reply.bytes = compression_loop(&query, &question);
        return reply;
    }
    let mut message = compose(plan, behaviour, &query, &question, found);
    if behaviour.truncate && over == Transport::Udp {
        message = message.truncate();
    }
    reply.label = format!("{asked} {:?}", message.metadata.response_code);
    reply.bytes = encode(&message, limit(plan, &query, over));
    reply
}

/// The question echoed, and one A record whose name points at itself.
fn compression_loop(query: &Message, question: &Query) -> Option<Vec<u8>> {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata = Metadata::response_from_request(&query.metadata);
    message.add_query(question.clone());
    let mut bytes = message.to_vec().ok()?;
    let at = u16::try_from(bytes.len()).ok().filter(|at| *at < 0x4000)?;
    // ANCOUNT is 1.
    *bytes.get_mut(7)? = 1;
    bytes.extend((0xc000 | at).to_be_bytes());
    bytes.extend([0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 10, 0, 2, 20]);
    Some(bytes)
}

impl Behaviour {
    fn concerns(&self, question: &Query, over: Transport, number: u64) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&question.query_type()))
            && self.spec.transport.is_none_or(|t| t == over)
            && self.spec.every.is_none_or(|every| number.is_multiple_of(every.max(1)))
    }
}

/// The names of what is wrong with answers of this behaviour.
fn bites(b: &DnsBehaviour, over: Transport) -> Vec<&'static str> {
    let answer = match b.answer {
        DnsAnswer::Zone => "",
        DnsAnswer::Nxdomain => "nxdomain",
        DnsAnswer::Nodata => "nodata",
        DnsAnswer::Servfail => "servfail",
        DnsAnswer::Bogus => "bogus",
        DnsAnswer::Refused => "refused",
        DnsAnswer::Formerr => "formerr",
        DnsAnswer::Notimp => "notimp",
        DnsAnswer::Lame => "lame",
    };
    let all = [
        (!answer.is_empty(), answer),
        (b.addresses.is_some(), "addresses"),
        (b.silent, "silent"),
        (b.drop_edns, "drop-edns"),
        (b.delay_ms > 0, "delay"),
        (b.ttl.is_some(), "ttl"),
        (b.truncate && over == Transport::Udp, "truncate"),
        (b.wrong_id, "wrong-id"),
        (b.garbage, "garbage"),
        (b.compression_loop, "compression-loop"),
        (b.padding_records > 0, "padding"),
    ];
    all.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect()
}

fn compose(plan: &DnsPlan, behaviour: &DnsBehaviour, query: &Message, question: &Query, found: Option<Found>) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata = Metadata::response_from_request(&query.metadata);
    message.add_query(question.clone());
    message.metadata.recursion_available = behaviour.recursion_available.unwrap_or(behaviour.answer != DnsAnswer::Lame && !plan.authority);
    message.metadata.authoritative = behaviour.authoritative.unwrap_or(plan.authority && behaviour.answer != DnsAnswer::Lame);
    message.metadata.authentic_data = behaviour.authentic.unwrap_or(false);
    if query.metadata.op_code == OpCode::Query {
        fill(&mut message, plan, behaviour, question, found);
        let wants_signatures = query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        if plan.signed && wants_signatures {
            sign::sign(&mut message, plan, behaviour.signatures);
        }
    } else {
        message.metadata.response_code = ResponseCode::NotImp;
    }
    let failed = message.metadata.response_code != ResponseCode::NoError;
    if let Some(asked) = &query.edns {
        message.set_edns(edns(asked, behaviour, failed));
    }
    if behaviour.wrong_id {
        message.metadata.id = !query.metadata.id;
    }
    if let Some(ttl) = behaviour.ttl {
        let sections = [&mut message.answers, &mut message.authorities, &mut message.additionals];
        sections.into_iter().flatten().for_each(|record| record.ttl = ttl);
    }
    message
}

fn fill(message: &mut Message, plan: &DnsPlan, behaviour: &DnsBehaviour, question: &Query, found: Option<Found>) {
    let zone = plan.zones.iter().filter(|z| z.zone_of(question.name())).max_by_key(|z| z.num_labels());
    let mut answer = match behaviour.answer {
        DnsAnswer::Bogus if message.metadata.checking_disabled => DnsAnswer::Zone,
        DnsAnswer::Bogus => DnsAnswer::Servfail,
        other => other,
    };
    let found = found.filter(|_| behaviour.addresses.is_none());
    let known = found.is_some() || zone.is_some() || plan.records.contains_key(&question.name().to_lowercase());
    if answer == DnsAnswer::Zone && !known && behaviour.addresses.is_none() {
        answer = plan.outside;
    }
    if answer == DnsAnswer::Refused {
        message.metadata.authoritative = false;
    }
    message.metadata.response_code = match answer {
        DnsAnswer::Zone | DnsAnswer::Nodata | DnsAnswer::Lame => ResponseCode::NoError,
        DnsAnswer::Nxdomain => ResponseCode::NXDomain,
        DnsAnswer::Servfail | DnsAnswer::Bogus => ResponseCode::ServFail,
        DnsAnswer::Refused => ResponseCode::Refused,
        DnsAnswer::Formerr => ResponseCode::FormErr,
        DnsAnswer::Notimp => ResponseCode::NotImp,
    };
    match (answer, found) {
        (DnsAnswer::Zone, Some(found)) => {
            message.metadata.response_code = found.code;
            message.add_answers(found.answers);
        }
        (DnsAnswer::Zone, None) => {
            message.metadata.response_code = from_records(message, plan, behaviour, question);
            if message.answers.is_empty() && message.authorities.is_empty() {
                message.add_authority(soa(zone, plan));
            }
        }
        (DnsAnswer::Nxdomain | DnsAnswer::Nodata, _) => {
            message.add_authority(soa(zone, plan));
        }
        _ => {}
    }
    for i in 0..behaviour.padding_records {
        let text = format!("{i:0>190}");
        let data = RData::TXT(TXT::from_bytes(vec![text.as_bytes()]));
        message.add_additional(Record::from_rdata(question.name().clone(), plan.ttl, data));
    }
}

/// Answers from the records, following aliases; a delegation on the way is referred to.
fn from_records(message: &mut Message, plan: &DnsPlan, behaviour: &DnsBehaviour, question: &Query) -> ResponseCode {
    let wanted = question.query_type();
    if let Some(addresses) = &behaviour.addresses {
        let data = addresses.iter().map(|ip| match ip {
            std::net::IpAddr::V4(ip) => RData::A(A(*ip)),
            std::net::IpAddr::V6(ip) => RData::AAAA(AAAA(*ip)),
        });
        let fitting = data.filter(|d| d.record_type() == wanted);
        message.add_answers(fitting.map(|d| Record::from_rdata(question.name().clone(), plan.ttl, d)));
        return ResponseCode::NoError;
    }
    // The owner is written as it was asked, since clients may vary its case to detect forgery.
    let mut owner = question.name().clone();
    for _ in 0..=MAX_CNAMES {
        let key = owner.to_lowercase();
        if let Some(owned) = of_zone(plan, &key, wanted) {
            message.add_answers(owned);
            return ResponseCode::NoError;
        }
        if let Some(referral) =
            delegation(plan, &key).filter(|_| !(wanted == RecordType::DS && plan.authority && !plan.zones.contains(&key)))
        {
            refer(message, plan, referral);
            return ResponseCode::NoError;
        }
        let Some(records) = plan.records.get(&key) else {
            let inner = plan.records.keys().any(|name| key.zone_of(name)) || plan.zones.contains(&key);
            // An alias that leads nowhere keeps the code of its target (RFC 6604).
            return if inner { ResponseCode::NoError } else { ResponseCode::NXDomain };
        };
        let fits = |r: &&Record| r.record_type() == wanted || wanted == RecordType::ANY;
        let found: Vec<Record> = records.iter().filter(fits).map(|r| rename(r, &owner)).collect();
        let alias = records.iter().find_map(|r| match &r.data {
            RData::CNAME(target) => Some((rename(r, &owner), target.0.clone())),
            _ => None,
        });
        match alias {
            Some((record, target)) if found.is_empty() => {
                message.add_answer(record);
                owner = target;
            }
            _ => {
                message.add_answers(found);
                return ResponseCode::NoError;
            }
        }
    }
    // A loop of aliases is the zone's fault; resolvers say so.
    ResponseCode::ServFail
}

/// What belongs to a zone as a whole: its SOA, its key, the digest of a child's key.
fn of_zone(plan: &DnsPlan, name: &Name, wanted: RecordType) -> Option<Vec<Record>> {
    let apex = plan.zones.iter().find(|zone| *zone == name);
    match wanted {
        RecordType::SOA => apex.map(|zone| vec![soa(Some(zone), plan)]),
        RecordType::DNSKEY if plan.signed => apex.and_then(|zone| sign::key_of(zone, plan.ttl)).map(|key| vec![key]),
        RecordType::DS => plan.digests.get(name).and_then(|which| sign::digest_of(name, *which, plan.ttl)).map(|ds| vec![ds]),
        _ => None,
    }
}

/// Refers to the servers of a child, with the digest of its key and the addresses that are known.
fn refer(message: &mut Message, plan: &DnsPlan, referral: &[Record]) {
    message.metadata.authoritative = false;
    message.add_authorities(referral.to_vec());
    let child = referral.first().map(|record| &record.name);
    let digest = child.and_then(|child| Some(sign::digest_of(child, *plan.digests.get(child)?, plan.ttl)));
    message.add_authorities(digest.flatten());
    for record in referral {
        if let RData::NS(server) = &record.data {
            let glue = plan.records.get(&server.0.to_lowercase()).into_iter().flatten();
            let address = |r: &&Record| matches!(r.record_type(), RecordType::A | RecordType::AAAA);
            message.add_additionals(glue.filter(address).cloned());
        }
    }
}

/// NS records at or above `name`, but below a zone's apex.
fn delegation<'a>(plan: &'a DnsPlan, name: &Name) -> Option<&'a [Record]> {
    let mut cut = name.clone();
    while !cut.is_root() && !plan.zones.contains(&cut) {
        let records = plan.records.get(&cut);
        if let Some(records) = records.filter(|r| !r.is_empty() && r.iter().all(|r| r.record_type() == RecordType::NS)) {
            return Some(records);
        }
        cut = cut.base_name();
    }
    None
}

fn rename(record: &Record, owner: &Name) -> Record {
    let mut record = record.clone();
    record.name = owner.clone();
    record
}

fn soa(zone: Option<&Name>, plan: &DnsPlan) -> Record {
    let ttl = plan.ttl;
    let apex = zone.cloned().unwrap_or_else(Name::root);
    let of = |label: &str| Name::from_ascii(label).and_then(|n| n.append_domain(&apex)).unwrap_or_else(|_| apex.clone());
    let data = SOA::new(of("ns"), of("hostmaster"), plan.serial, 3600, 600, 86_400, ttl);
    Record::from_rdata(apex.clone(), ttl, RData::SOA(data))
}

fn edns(asked: &Edns, behaviour: &DnsBehaviour, failed: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(EDNS_UDP_PAYLOAD).set_dnssec_ok(asked.flags().dnssec_ok);
    // Under bogus the error goes with the failure, not with the answer that CD obtains.
    if let Some(ede) = behaviour.ede.as_ref().filter(|_| failed || behaviour.answer != DnsAnswer::Bogus) {
        let value = [&ede.code.to_be_bytes()[..], ede.text.as_bytes()].concat();
        edns.options_mut().insert(EdnsOption::Unknown(EDE, value));
    }
    debug_assert!(edns.option(EdnsCode::Unknown(EDE)).is_none() || behaviour.ede.is_some());
    edns
}

/// Bytes that this answer may have.
fn limit(plan: &DnsPlan, query: &Message, over: Transport) -> usize {
    match over {
        Transport::Tcp => usize::from(u16::MAX),
        // 512 without EDNS (RFC 1035 section 4.2.1).
        Transport::Udp => usize::from(query.edns.as_ref().map_or(512, |e| e.max_payload().max(512)).min(plan.max_udp)),
    }
}

fn encode(message: &Message, limit: usize) -> Option<Vec<u8>> {
    let whole = message.to_vec().ok()?;
    if whole.len() <= limit {
        return Some(whole);
    }
    message.truncate().to_vec().ok()
}

/// FORMERR for what cannot be read but has an id; silence for less.
fn malformed(bytes: &[u8]) -> Reply {
    let label = "(malformed) FormErr".to_owned();
    let (Some(&[a, b]), true) = (bytes.first_chunk::<2>(), bytes.len() >= 12) else {
        return Reply { label, ..Reply::default() };
    };
    let message = Message::error_msg(u16::from_be_bytes([a, b]), OpCode::Query, ResponseCode::FormErr);
    Reply { bytes: message.to_vec().ok(), label, ..Reply::default() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::services::dns::{DnsSpec, RecordSpec};

    proptest! {
        #[test]
        fn any_bytes_are_answered_or_ignored_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), number: u64) {
            let spec: DnsSpec = serde_json::from_str(r#"{"zones":["lab"]}"#).unwrap();
            let plan = DnsPlan::new(&DnsSpec { records: vec![RecordSpec { name: "a.lab".into(), ..RecordSpec::default() }], ..spec }).unwrap();
            let _ = answer(&plan, &bytes, Transport::Udp, number, None);
            let _ = answer(&plan, &bytes, Transport::Tcp, number, None);
        }
    }
}
