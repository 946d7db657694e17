//! A DNS server over UDP and TCP: what the specification may say. Looks like a resolver (RA set) that knows the lab's
//! zones. Answers are composed in `answer`, moved over the network in `serve`.

mod answer;
mod recurse;
mod serve;
mod sign;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, CNAME, MX, NS, PTR, SRV, TXT},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::serve::{serve_tcp, serve_udp};
pub use self::sign::{Digest, Signatures};
use super::{error::ServiceError, tcp::yes};

/// Records per server; a lab zone has a few dozen.
const MAX_RECORDS: usize = 100_000;

/// A DNS server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DnsSpec {
    /// Port; 0 lets the kernel choose.
    #[serde(default = "domain")]
    pub port: u16,
    /// False: nothing listens.
    #[serde(default = "yes")]
    pub listening: bool,
    /// Whether it listens on UDP.
    #[serde(default = "yes")]
    pub udp: bool,
    /// Whether it listens on TCP.
    #[serde(default = "yes")]
    pub tcp: bool,
    /// Apexes of the zones it knows; negative answers carry their SOA.
    #[serde(default)]
    pub zones: Vec<String>,
    /// An authoritative server: AA for what is in its zones, REFUSED for what is not, no recursion, referrals with glue.
    #[serde(default)]
    pub authority: bool,
    /// Its zones are signed (DNSSEC), each with the key that its name gives.
    #[serde(default)]
    pub signed: bool,
    /// Serial number of its zones.
    #[serde(default = "one")]
    pub serial: u32,
    /// A recursive resolver: addresses of the root servers from which it looks up what is outside of its zones.
    #[serde(default)]
    pub recurse: Vec<IpAddr>,
    /// The records.
    #[serde(default)]
    pub records: Vec<RecordSpec>,
    /// Seconds to live of records that say nothing else, and of negative answers.
    #[serde(default = "five_minutes")]
    pub ttl: u32,
    /// What is answered for names outside all zones.
    #[serde(default = "nxdomain")]
    pub outside: DnsAnswer,
    /// Largest UDP answer; a longer one is truncated, as is one longer than the client allows.
    #[serde(default = "flag_day")]
    pub max_udp: u16,
    /// The behaviour for every name that `names` does not have.
    #[serde(default)]
    pub behaviour: DnsBehaviour,
    /// Behaviours by name; `*.lab` holds for every name below `lab`. An exact name, then the longest suffix, wins.
    #[serde(default)]
    pub names: BTreeMap<String, DnsBehaviour>,
}

fn one() -> u32 {
    1
}

fn domain() -> u16 {
    53
}

fn five_minutes() -> u32 {
    300
}

/// Largest UDP answer that is never fragmented (DNS flag day 2020, RFC 9715).
fn flag_day() -> u16 {
    1232
}

fn nxdomain() -> DnsAnswer {
    DnsAnswer::Nxdomain
}

/// All records of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct RecordSpec {
    /// Owner name.
    pub name: String,
    /// Seconds to live, if not the server's usual.
    pub ttl: Option<u32>,
    /// IPv4 addresses.
    pub a: Vec<Ipv4Addr>,
    /// IPv6 addresses.
    pub aaaa: Vec<Ipv6Addr>,
    /// Canonical name.
    pub cname: Option<String>,
    /// Texts, a record each.
    pub txt: Vec<String>,
    /// Name servers; below a zone's apex they delegate.
    pub ns: Vec<String>,
    /// The DS record beside name servers that delegate: the child is signed.
    pub ds: Option<Digest>,
    /// Pointers.
    pub ptr: Vec<String>,
    /// Mail exchangers.
    pub mx: Vec<Mx>,
    /// Services.
    pub srv: Vec<Srv>,
}

/// A mail exchanger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mx {
    /// Lower is tried first.
    #[serde(default)]
    pub preference: u16,
    /// Its name.
    pub exchange: String,
}

/// A service (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Srv {
    /// Lower is tried first.
    #[serde(default)]
    pub priority: u16,
    /// Share among equals.
    #[serde(default)]
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Host.
    pub target: String,
}

/// How queries are answered, and what is wrong with the answer. The default answers from the records, soundly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct DnsBehaviour {
    /// Only for these query types (`A`, `AAAA`, …); others are answered soundly.
    pub types: Option<Vec<String>>,
    /// Only over this transport; over the other queries are answered soundly.
    pub transport: Option<Transport>,
    /// Only for every `every`-th query; 1 or absent: for all.
    pub every: Option<u64>,
    /// What is answered.
    pub answer: DnsAnswer,
    /// Addresses answered in place of those in the records.
    pub addresses: Option<Vec<IpAddr>>,
    /// Answer nothing.
    pub silent: bool,
    /// Answer nothing to queries that carry EDNS.
    pub drop_edns: bool,
    /// Milliseconds before the answer.
    pub delay_ms: u64,
    /// Seconds to live of all records answered.
    pub ttl: Option<u32>,
    /// Over UDP: set TC and send no records.
    pub truncate: bool,
    /// Answer with an id that was not asked.
    pub wrong_id: bool,
    /// Answer with bytes that are not DNS.
    pub garbage: bool,
    /// Answer with a record whose name is a compression pointer to itself (RFC 1035 4.1.4 forbids it by asking for a prior occurrence).
    pub compression_loop: bool,
    /// Further records of 200 bytes each (TXT, additional section) to make the answer large.
    pub padding_records: u16,
    /// How the signatures of signed zones are.
    pub signatures: Signatures,
    /// The AA flag; absent: clear.
    pub authoritative: Option<bool>,
    /// The RA flag; absent: set.
    pub recursion_available: Option<bool>,
    /// The AD flag; absent: clear.
    pub authentic: Option<bool>,
    /// Extended DNS Error (RFC 8914), if the client speaks EDNS.
    pub ede: Option<Ede>,
}

/// UDP or TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// UDP
    Udp,
    /// TCP
    Tcp,
}

/// What is answered to a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsAnswer {
    /// What the records say.
    #[default]
    Zone,
    /// RCODE 3 with the zone's SOA.
    Nxdomain,
    /// NOERROR without answers, with the zone's SOA.
    Nodata,
    /// RCODE 2
    Servfail,
    /// RCODE 2, unless the query has CD set: the sign of a validating resolver whose validation fails.
    Bogus,
    /// RCODE 5
    Refused,
    /// RCODE 1
    Formerr,
    /// RCODE 4
    Notimp,
    /// NOERROR without answers, without SOA, RA and AA clear: a server that does not serve the zone delegated to it.
    Lame,
}

/// An Extended DNS Error (RFC 8914).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ede {
    /// INFO-CODE: 6 DNSSEC Bogus, 7 Signature Expired, 22 No Reachable Authority, 23 Network Error, …
    pub code: u16,
    /// EXTRA-TEXT
    #[serde(default)]
    pub text: String,
}

/// A [`DnsSpec`] made ready to serve.
#[derive(Debug)]
pub(crate) struct DnsPlan {
    zones: Vec<Name>,
    records: BTreeMap<Name, Vec<Record>>,
    digests: BTreeMap<Name, Digest>,
    authority: bool,
    signed: bool,
    serial: u32,
    recurse: Vec<IpAddr>,
    ttl: u32,
    outside: DnsAnswer,
    max_udp: u16,
    behaviour: Behaviour,
    names: BTreeMap<String, Behaviour>,
}

#[derive(Debug)]
struct Behaviour {
    spec: DnsBehaviour,
    types: Option<Vec<RecordType>>,
}

impl DnsPlan {
    pub(crate) fn new(spec: &DnsSpec) -> Result<Self, ServiceError> {
        let mut records: BTreeMap<Name, Vec<Record>> = BTreeMap::new();
        let mut digests = BTreeMap::new();
        for (i, record) in spec.records.iter().enumerate() {
            let owner = name(&record.name)?;
            digests.extend(record.ds.map(|ds| (owner.clone(), ds)));
            let ttl = record.ttl.unwrap_or(spec.ttl);
            let made = rdata(record)?.into_iter().map(|data| Record::from_rdata(owner.clone(), ttl, data));
            records.entry(owner.clone()).or_default().extend(made);
            if i >= MAX_RECORDS {
                return Err(ServiceError::spec("records", format!("more than {MAX_RECORDS}")));
            }
        }
        let names = spec.names.iter().map(|(key, b)| Ok((absolute(key), Behaviour::new(b)?)));
        Ok(Self {
            zones: spec.zones.iter().map(|z| name(z)).collect::<Result<_, _>>()?,
            records,
            digests,
            authority: spec.authority,
            signed: spec.signed,
            serial: spec.serial,
            recurse: spec.recurse.clone(),
            ttl: spec.ttl,
            outside: if spec.authority { DnsAnswer::Refused } else { spec.outside },
            max_udp: spec.max_udp.max(512),
            behaviour: Behaviour::new(&spec.behaviour)?,
            names: names.collect::<Result<_, ServiceError>>()?,
        })
    }

    fn behaviour(&self, asked: &Name) -> &Behaviour {
        let asked = asked.to_lowercase().to_ascii();
        if let Some(exact) = self.names.get(&absolute(&asked)) {
            return exact;
        }
        let below = |key: &str| key.strip_prefix('*').is_some_and(|suffix| absolute(&asked).ends_with(suffix));
        let best = self.names.iter().filter(|(key, _)| below(key)).max_by_key(|(key, _)| key.len());
        best.map_or(&self.behaviour, |(_, behaviour)| behaviour)
    }
}

impl Behaviour {
    fn new(spec: &DnsBehaviour) -> Result<Self, ServiceError> {
        let parse = |t: &String| RecordType::from_str(&t.to_ascii_uppercase()).map_err(|e| ServiceError::spec("types", e));
        let types = spec.types.as_ref().map(|types| types.iter().map(parse).collect::<Result<Vec<_>, _>>());
        Ok(Self { spec: spec.clone(), types: types.transpose()? })
    }
}

/// Lower case, with the root's dot.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

fn name(text: &str) -> Result<Name, ServiceError> {
    Name::from_ascii(absolute(text)).map_err(|e| ServiceError::spec(format!("name {text:?}"), e))
}

fn rdata(spec: &RecordSpec) -> Result<Vec<RData>, ServiceError> {
    let mut all: Vec<RData> = spec.a.iter().map(|a| RData::A(A(*a))).collect();
    all.extend(spec.aaaa.iter().map(|a| RData::AAAA(AAAA(*a))));
    if let Some(target) = &spec.cname {
        all.push(RData::CNAME(CNAME(name(target)?)));
    }
    for text in &spec.txt {
        // A character-string holds 255 bytes (RFC 1035 section 3.3).
        all.push(RData::TXT(TXT::from_bytes(text.as_bytes().chunks(255).collect())));
    }
    for target in &spec.ns {
        all.push(RData::NS(NS(name(target)?)));
    }
    for target in &spec.ptr {
        all.push(RData::PTR(PTR(name(target)?)));
    }
    for mx in &spec.mx {
        all.push(RData::MX(MX::new(mx.preference, name(&mx.exchange)?)));
    }
    for srv in &spec.srv {
        all.push(RData::SRV(SRV::new(srv.priority, srv.weight, srv.port, name(&srv.target)?)));
    }
    Ok(all)
}
