//! Signs answers (RFC 4034, RFC 4035): one Ed25519 key per zone, made from the zone's name, so that every server of a zone and its parent know
//! the same key without a word. Signatures can be wrong in ways chosen by data.

use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::{
    ProtoError,
    dnssec::{
        Algorithm, DigestType, DnssecSigner, SigningKey, TBS,
        crypto::Ed25519SigningKey,
        rdata::{DNSKEY, DNSSECRData, DS, RRSIG, sig::SigInput},
    },
    op::Message,
    rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber},
};
use ring::{digest, signature::Ed25519KeyPair};
use serde::{Deserialize, Serialize};

use super::DnsPlan;

const DAY_S: u32 = 86_400;
/// Zone key and secure entry point (RFC 4034 section 2.1.1).
const FLAGS: u16 = 257;

/// How the signatures of a signed zone are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// They hold.
    #[default]
    Sound,
    /// Their time ended two days ago.
    Expired,
    /// Their time begins in two days.
    Early,
    /// There are none.
    Stripped,
    /// They do not fit the records.
    Bad,
    /// They are by a key that the zone does not publish.
    OtherKey,
}

/// What a parent publishes of a child's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Digest {
    /// The digest of its key.
    Sound,
    /// The digest of a key that the child does not have (any more).
    Wrong,
}

/// The key of a zone; `other`: one that it does not publish.
fn signer(zone: &Name, other: bool) -> Option<DnssecSigner> {
    let text = format!("faultmap lab {} {other}", zone.to_lowercase().to_ascii());
    let seed = digest::digest(&digest::SHA256, text.as_bytes());
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).ok()?;
    let key = Ed25519SigningKey::from_ed25519(pair);
    let public = key.to_public_key().ok()?;
    let dnskey = DNSKEY::with_flags(FLAGS, public);
    Some(DnssecSigner::new(dnskey, Box::new(key), zone.to_lowercase(), std::time::Duration::ZERO))
}

/// The DNSKEY record of a zone.
pub(super) fn key_of(zone: &Name, ttl: u32) -> Option<Record> {
    let data = RData::DNSSEC(DNSSECRData::DNSKEY(signer(zone, false)?.to_dnskey()));
    Some(Record::from_rdata(zone.clone(), ttl, data))
}

/// The DS record by which a parent vouches for a child.
pub(super) fn digest_of(child: &Name, which: Digest, ttl: u32) -> Option<Record> {
    let signer = signer(child, which == Digest::Wrong)?;
    let digest = signer.dnskey().to_digest(child, DigestType::SHA256).ok()?;
    let ds = DS::new(signer.calculate_key_tag().ok()?, Algorithm::ED25519, DigestType::SHA256, digest.as_ref().to_vec());
    Some(Record::from_rdata(child.clone(), ttl, RData::DNSSEC(DNSSECRData::DS(ds))))
}

/// Adds the signatures to both sections of an answer.
pub(super) fn sign(message: &mut Message, plan: &DnsPlan, how: Signatures) {
    if how == Signatures::Stripped {
        return;
    }
    let signed = |records: &[Record]| signatures(records, plan, how);
    let (answers, authorities) = (signed(&message.answers), signed(&message.authorities));
    message.add_answers(answers);
    message.add_authorities(authorities);
}

/// A signature for every set of these records that a zone of the plan owns.
fn signatures(records: &[Record], plan: &DnsPlan, how: Signatures) -> Vec<Record> {
    let mut sets: Vec<(&Name, RecordType)> = records.iter().map(|record| (&record.name, record.record_type())).collect();
    sets.sort();
    sets.dedup();
    let sign = |(name, kind): (&Name, RecordType)| {
        // A DS belongs to the parent; NS records above a cut are not signed at all (RFC 4035 section 2.2).
        let above = |zone: &&Name| zone.zone_of(name) && (kind != RecordType::DS || *zone != name);
        let zone = plan.zones.iter().filter(above).max_by_key(|zone| zone.num_labels())?;
        if kind == RecordType::NS && zone != name {
            return None;
        }
        let set: Vec<Record> = records.iter().filter(|r| r.name == *name && r.record_type() == kind).cloned().collect();
        signature(zone, name, kind, &set, how).ok().flatten()
    };
    sets.into_iter().filter_map(sign).collect()
}

fn signature(zone: &Name, name: &Name, kind: RecordType, set: &[Record], how: Signatures) -> Result<Option<Record>, ProtoError> {
    let (Some(signer), Some(first)) = (signer(zone, how == Signatures::OtherKey), set.first()) else { return Ok(None) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() & u64::from(u32::MAX));
    let now = u32::try_from(now).unwrap_or(0);
    let (begins, ends) = match how {
        Signatures::Expired => (now.wrapping_sub(30 * DAY_S), now.wrapping_sub(2 * DAY_S)),
        Signatures::Early => (now.wrapping_add(2 * DAY_S), now.wrapping_add(30 * DAY_S)),
        _ => (now.wrapping_sub(DAY_S), now.wrapping_add(14 * DAY_S)),
    };
    let input = SigInput {
        type_covered: kind,
        algorithm: Algorithm::ED25519,
        num_labels: name.num_labels(),
        original_ttl: first.ttl,
        sig_expiration: SerialNumber::new(ends),
        sig_inception: SerialNumber::new(begins),
        key_tag: signer.calculate_key_tag()?,
        signer_name: zone.to_lowercase(),
    };
    let owner = name.to_lowercase();
    let set: Vec<Record> = set.iter().map(|r| Record::from_rdata(owner.clone(), r.ttl, r.data.clone())).collect();
    let mut bytes = signer.sign(&TBS::from_input(&owner, DNSClass::IN, &input, set.iter())?)?;
    if let (Signatures::Bad, Some(last)) = (how, bytes.last_mut()) {
        *last ^= 1;
    }
    let data = RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, bytes)));
    Ok(Some(Record::from_rdata(name.clone(), first.ttl, data)))
}
