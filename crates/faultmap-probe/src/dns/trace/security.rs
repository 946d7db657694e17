//! Signatures of zones held against the keys that their parents vouch for (RFC 4033 to 4035). Pure: records and a clock in, a judgement out.
//!
//! Proofs that something does not exist (NSEC, NSEC3) are not followed: a zone whose parent shows no DS counts as unsigned, and of a negative
//! answer only the signature of its SOA is checked.

use super::zone::absolute;
use faultmap_model::observation::Broken;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKey as _, TrustAnchors, Verifier as _};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Keys and signatures of one set that are looked at; each costs a computation.
const MOST_KEYS: usize = 16;
const MOST_SIGNATURES: usize = 16;

/// Who vouches for a zone's keys.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    /// The keys that IANA publishes for the root.
    Anchors,
    /// Nobody: the root was given by the user, and its own keys are taken as they are.
    AsFound,
    /// These, signed by the parent.
    Parent(Vec<DS>),
    /// Nobody, and no signature is expected.
    Nobody,
    /// It was not found out, for this reason.
    Unknown(String),
}

/// What the keys of a zone are worth.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Keys {
    /// These are the zone's.
    Good(Vec<DNSKEY>),
    /// The zone does not sign, or not so that anybody could check.
    Unsigned,
    /// The chain breaks here.
    Bogus(Broken),
    /// It cannot be told.
    Unknown(String),
}

/// The zone's keys among `records`, if `trust` vouches for one that signs them all.
pub(super) fn keys_of(zone: &Name, trust: &Trust, records: &[Record], clock: i64) -> Keys {
    let keys = published(zone, records);
    let vouched: Vec<DNSKEY> = match trust {
        Trust::Nobody => return Keys::Unsigned,
        Trust::Unknown(why) => return Keys::Unknown(why.clone()),
        Trust::AsFound if keys.is_empty() => return Keys::Unsigned,
        Trust::AsFound => keys.clone(),
        Trust::Anchors if keys.is_empty() => return Keys::Unknown("the root shows no keys: somebody between may drop DNSSEC".to_owned()),
        Trust::Anchors => {
            let anchors = TrustAnchors::default();
            let known: Vec<DNSKEY> = keys.iter().filter(|key| anchors.contains(key.public_key())).cloned().collect();
            if known.is_empty() {
                return Keys::Unknown("the root's keys are not those that IANA publishes: somebody else answers in its place".to_owned());
            }
            known
        }
        Trust::Parent(digests) => {
            let usable: Vec<&DS> = digests.iter().filter(|ds| usable(ds)).collect();
            let Some(first) = usable.first() else { return Keys::Unsigned };
            if keys.is_empty() {
                return Keys::Bogus(Broken::NoKeys);
            }
            let covered = |key: &&DNSKEY| usable.iter().any(|ds| ds.covers(zone, key).unwrap_or(false));
            let known: Vec<DNSKEY> = keys.iter().filter(covered).cloned().collect();
            if known.is_empty() {
                return Keys::Bogus(Broken::NoKeyForDs { key_tag: first.key_tag() });
            }
            known
        }
    };
    match check(records, zone, RecordType::DNSKEY, zone, &vouched, clock) {
        Ok(()) => Keys::Good(keys),
        Err(broken) => Keys::Bogus(broken),
    }
}

/// An algorithm and a digest that we can compute. A DS of others makes the zone unsigned for us (RFC 4035 5.2).
fn usable(ds: &DS) -> bool {
    verifiable(ds.algorithm()) && matches!(ds.digest_type(), DigestType::SHA256 | DigestType::SHA384)
}

fn verifiable(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::RSASHA256 | Algorithm::RSASHA512 | Algorithm::ECDSAP256SHA256 | Algorithm::ECDSAP384SHA384 | Algorithm::ED25519
    )
}

/// The zone keys in these records, whoever vouches for them.
pub(super) fn published(zone: &Name, records: &[Record]) -> Vec<DNSKEY> {
    let keys = records.iter().filter(|record| absolute(&record.name) == *zone).filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) if key.zone_key() && !key.revoke() => Some(key.clone()),
        _ => None,
    });
    keys.take(MOST_KEYS).collect()
}

/// The DS records of a child in these records.
pub(super) fn digests_of(child: &Name, records: &[Record]) -> Vec<DS> {
    let digests = records.iter().filter(|record| absolute(&record.name) == *child).filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::DS(ds)) => Some(ds.clone()),
        _ => None,
    });
    digests.take(MOST_KEYS).collect()
}

/// Whether one signature of `zone` over the records of this name and type holds.
pub(super) fn check(records: &[Record], owner: &Name, kind: RecordType, zone: &Name, keys: &[DNSKEY], clock: i64) -> Result<(), Broken> {
    // Names as the signer wrote them: in lower case (RFC 4034 6.2).
    let set: Vec<Record> = records
        .iter()
        .filter(|record| record.record_type() == kind && absolute(&record.name) == *owner)
        .map(|record| Record::from_rdata(owner.clone(), record.ttl, record.data.clone()))
        .collect();
    let signatures = records.iter().filter(|record| absolute(&record.name) == *owner).filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig),
        _ => None,
    });
    let mut worst = Broken::NoSignature;
    for rrsig in signatures.filter(|it| it.input().type_covered == kind && absolute(&it.input().signer_name) == *zone).take(MOST_SIGNATURES)
    {
        match holds(rrsig, owner, &set, keys, clock) {
            Ok(()) => return Ok(()),
            Err(broken) if rank(&broken) > rank(&worst) => worst = broken,
            Err(_) => {}
        }
    }
    Err(worst)
}

/// Which of several failures tells most: the nearer to a good signature, the more.
const fn rank(broken: &Broken) -> u8 {
    match broken {
        Broken::NoSignature | Broken::NoKeys | Broken::NoKeyForDs { .. } => 0,
        Broken::UnknownKey { .. } => 1,
        Broken::BadSignature { .. } => 2,
        Broken::NotYetValid { .. } => 3,
        Broken::Expired { .. } => 4,
    }
}

fn holds(rrsig: &RRSIG, owner: &Name, set: &[Record], keys: &[DNSKEY], clock: i64) -> Result<(), Broken> {
    let input = rrsig.input();
    let key_tag = input.key_tag;
    let fits = |key: &&DNSKEY| key.calculate_key_tag().is_ok_and(|tag| tag == key_tag) && key.public_key().algorithm() == input.algorithm;
    let mut named = keys.iter().filter(fits).peekable();
    if named.peek().is_none() {
        return Err(Broken::UnknownKey { key_tag });
    }
    if !named.any(|key| key.verify_rrsig(owner, DNSClass::IN, rrsig, set.iter()).is_ok()) {
        return Err(Broken::BadSignature { key_tag });
    }
    let (begins, ends) = (unix(input.sig_inception.get(), clock), unix(input.sig_expiration.get(), clock));
    match () {
        () if clock > ends => Err(Broken::Expired { at_unix: ends }),
        () if clock < begins => Err(Broken::NotYetValid { at_unix: begins }),
        () => Ok(()),
    }
}

/// Times of signatures are 32 bits that wrap around: the nearest to our clock is meant (RFC 4034 3.1.5).
fn unix(stamp: u32, clock: i64) -> i64 {
    let now = u32::try_from(clock.rem_euclid(1 << 32)).unwrap_or(0);
    let ahead = stamp.wrapping_sub(now).cast_signed();
    clock.saturating_add(i64::from(ahead))
}
