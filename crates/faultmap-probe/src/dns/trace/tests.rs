//! Chains of signatures made here, and held against their keys; messages that lead on, or nowhere.

use super::security::{self, Keys, Trust};
use super::zone::{self, Zone, absolute};
use faultmap_model::observation::{Broken, ServerSaid};
use hickory_proto::dnssec::crypto::Ed25519SigningKey;
use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_proto::dnssec::{Algorithm, DigestType, DnssecSigner, SigningKey, TBS};
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NS, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};
use proptest::prelude::*;
use std::net::Ipv4Addr;

const CLOCK: i64 = 1_795_000_000;
const DAY: i64 = 86_400;

fn name(text: &str) -> Name {
    absolute(&Name::from_ascii(text).unwrap())
}

fn signer(zone: &str) -> DnssecSigner {
    let pkcs8 = Ed25519SigningKey::generate_pkcs8().unwrap();
    let key = Ed25519SigningKey::from_pkcs8(&pkcs8).unwrap();
    let public = key.to_public_key().unwrap();
    DnssecSigner::new(DNSKEY::with_flags(257, public), Box::new(key), name(zone), std::time::Duration::ZERO)
}

fn key_record(zone: &str, signer: &DnssecSigner) -> Record {
    Record::from_rdata(name(zone), 300, RData::DNSSEC(DNSSECRData::DNSKEY(signer.to_dnskey())))
}

fn ds(zone: &str, signer: &DnssecSigner) -> DS {
    let digest = signer.dnskey().to_digest(&name(zone), DigestType::SHA256).unwrap();
    DS::new(signer.calculate_key_tag().unwrap(), Algorithm::ED25519, DigestType::SHA256, digest.as_ref().to_vec())
}

fn stamp(unix: i64) -> SerialNumber {
    SerialNumber::new(u32::try_from(unix & 0xffff_ffff).unwrap())
}

/// The records with a signature over them, valid from and until these days from now.
fn signed(records: &[Record], signer: &DnssecSigner, days: (i64, i64)) -> Vec<Record> {
    let first = &records[0];
    let input = SigInput {
        type_covered: first.record_type(),
        algorithm: Algorithm::ED25519,
        num_labels: first.name.num_labels(),
        original_ttl: first.ttl,
        sig_expiration: stamp(CLOCK + days.1 * DAY),
        sig_inception: stamp(CLOCK + days.0 * DAY),
        key_tag: signer.calculate_key_tag().unwrap(),
        signer_name: signer.signer_name().clone(),
    };
    let tbs = TBS::from_input(&first.name, DNSClass::IN, &input, records.iter()).unwrap();
    let rrsig = RRSIG::from_sig(input, signer.sign(&tbs).unwrap());
    let rrsig = Record::from_rdata(first.name.clone(), first.ttl, RData::DNSSEC(DNSSECRData::RRSIG(rrsig)));
    [records, &[rrsig]].concat()
}

fn address(owner: &str) -> Record {
    Record::from_rdata(name(owner), 300, RData::A(A(Ipv4Addr::new(10, 2, 0, 10))))
}

fn check_answer(records: &[Record], keys: &[&DnssecSigner]) -> Result<(), Broken> {
    let keys: Vec<DNSKEY> = keys.iter().map(|signer| signer.to_dnskey()).collect();
    security::check(records, &name("www.shop.test"), RecordType::A, &name("shop.test"), &keys, CLOCK)
}

#[test]
fn a_signature_holds_within_its_time_and_by_a_published_key() {
    let (good, other) = (signer("shop.test"), signer("shop.test"));
    let set = [address("www.shop.test")];
    assert_eq!(check_answer(&signed(&set, &good, (-1, 14)), &[&other, &good]), Ok(()));
    assert_eq!(check_answer(&signed(&set, &good, (-30, -2)), &[&good]), Err(Broken::Expired { at_unix: CLOCK - 2 * DAY }));
    assert_eq!(check_answer(&signed(&set, &good, (2, 30)), &[&good]), Err(Broken::NotYetValid { at_unix: CLOCK + 2 * DAY }));
    assert_eq!(check_answer(&set, &[&good]), Err(Broken::NoSignature));
    let key_tag = good.calculate_key_tag().unwrap();
    assert_eq!(check_answer(&signed(&set, &good, (-1, 14)), &[&other]), Err(Broken::UnknownKey { key_tag }));
}

#[test]
fn one_good_signature_of_several_is_enough() {
    let key = signer("shop.test");
    let set = [address("www.shop.test")];
    let both = [signed(&set, &key, (-30, -2)), signed(&set, &key, (-1, 14))[1..].to_vec()].concat();
    assert_eq!(check_answer(&both, &[&key]), Ok(()));
}

#[test]
fn records_changed_after_signing_do_not_fit() {
    let key = signer("shop.test");
    let mut records = signed(&[address("www.shop.test")], &key, (-1, 14));
    records[0].data = RData::A(A(Ipv4Addr::new(10, 66, 66, 66)));
    assert_eq!(check_answer(&records, &[&key]), Err(Broken::BadSignature { key_tag: key.calculate_key_tag().unwrap() }));
}

#[test]
fn the_parent_vouches_for_the_key_that_signs_the_keys() {
    let (key, old) = (signer("shop.test"), signer("shop.test"));
    let zone = name("shop.test");
    let set = signed(&[key_record("shop.test", &key)], &key, (-1, 14));
    let keys = |trust: Trust, records: &[Record]| security::keys_of(&zone, &trust, records, CLOCK);
    assert!(matches!(keys(Trust::Parent(vec![ds("shop.test", &key)]), &set), Keys::Good(_)));
    assert!(matches!(keys(Trust::Parent(vec![ds("shop.test", &old), ds("shop.test", &key)]), &set), Keys::Good(_)));
    let key_tag = old.calculate_key_tag().unwrap();
    assert_eq!(keys(Trust::Parent(vec![ds("shop.test", &old)]), &set), Keys::Bogus(Broken::NoKeyForDs { key_tag }));
    assert_eq!(keys(Trust::Parent(vec![ds("shop.test", &key)]), &[]), Keys::Bogus(Broken::NoKeys));
    assert_eq!(keys(Trust::Nobody, &set), Keys::Unsigned);
    assert!(matches!(keys(Trust::AsFound, &set), Keys::Good(_)));
    assert_eq!(keys(Trust::AsFound, &[]), Keys::Unsigned);
    assert!(matches!(keys(Trust::Anchors, &set), Keys::Unknown(_)));
}

#[test]
fn a_digest_that_cannot_be_computed_makes_the_zone_unsigned() {
    let key = signer("shop.test");
    let unknown = DS::new(1, Algorithm::Unknown(200), DigestType::SHA256, vec![0; 32]);
    assert_eq!(
        security::keys_of(&name("shop.test"), &Trust::Parent(vec![unknown]), &[key_record("shop.test", &key)], CLOCK),
        Keys::Unsigned
    );
}

fn answer(authoritative: bool, code: ResponseCode) -> Message {
    let mut message = Message::response(7, OpCode::Query);
    message.add_query(Query::query(name("www.shop.test"), RecordType::A));
    message.metadata.authoritative = authoritative;
    message.metadata.response_code = code;
    message
}

fn said(message: &Message) -> ServerSaid {
    zone::said(message, &name("test"), &name("www.shop.test"))
}

fn delegation(child: &str, server: &str, glue: &str) -> Message {
    let mut message = answer(false, ResponseCode::NoError);
    message.add_authority(Record::from_rdata(name(child), 3600, RData::NS(NS(name(server)))));
    message.add_additional(address(glue));
    message
}

#[test]
fn a_referral_leads_further_down_and_towards_the_name() {
    let down = |message: &Message| zone::referral(message, &name("test"), &name("www.shop.test"));
    let child: Zone = down(&delegation("shop.test", "ns1.shop.test", "ns1.shop.test")).unwrap();
    assert_eq!((child.name, child.servers.len(), child.ttl_s), (name("shop.test"), 1, Some(3600)));
    assert!(down(&delegation("other.test", "ns1.shop.test", "ns1.shop.test")).is_none());
    assert!(down(&delegation("test", "ns.test", "ns.test")).is_none());
    assert!(down(&delegation(".", "a.root", "a.root")).is_none());
}

#[test]
fn glue_from_outside_of_the_zone_is_not_believed() {
    let message = delegation("shop.test", "ns1.other.example", "ns1.other.example");
    let child = zone::referral(&message, &name("test"), &name("www.shop.test")).unwrap();
    assert_eq!((child.servers.len(), child.nameless), (0, vec![name("ns1.other.example")]));
}

#[test]
fn what_a_server_says_is_told_by_authority_and_code() {
    assert_eq!(said(&answer(false, ResponseCode::Refused)), ServerSaid::Refused { rcode: 5 });
    assert_eq!(said(&answer(false, ResponseCode::NoError)), ServerSaid::NotAuthoritative { recursion_available: false });
    assert_eq!(said(&answer(true, ResponseCode::NXDomain)), ServerSaid::NoName);
    assert_eq!(said(&answer(true, ResponseCode::NoError)), ServerSaid::NoAddress);
    assert!(matches!(said(&delegation("shop.test", "ns1.shop.test", "ns1.shop.test")), ServerSaid::Referral { .. }));
    let mut found = answer(true, ResponseCode::NoError);
    found.add_answer(address("WWW.shop.test"));
    assert!(matches!(said(&found), ServerSaid::Answer { ttl_s: Some(300), .. }));
    let mut alias = answer(true, ResponseCode::NoError);
    alias.add_answer(Record::from_rdata(name("www.shop.test"), 60, RData::CNAME(CNAME(name("cdn.example")))));
    assert_eq!(said(&alias), ServerSaid::Alias { to: "cdn.example".to_owned() });
}

#[test]
fn aliases_that_bite_their_tail_end() {
    let mut message = answer(true, ResponseCode::NoError);
    for (from, to) in [("www.shop.test", "a.test"), ("a.test", "b.test"), ("b.test", "a.test")] {
        message.add_answer(Record::from_rdata(name(from), 60, RData::CNAME(CNAME(name(to)))));
    }
    assert_eq!(said(&message), ServerSaid::Alias { to: "b.test".to_owned() });
}

#[test]
fn a_serial_number_counts_only_from_the_zones_own_soa() {
    let mut message = answer(true, ResponseCode::NoError);
    let soa = SOA::new(name("ns.test"), name("h.test"), 42, 1, 1, 1, 1);
    message.add_answer(Record::from_rdata(name("test"), 60, RData::SOA(soa)));
    assert_eq!((zone::serial(&message, &name("test")), zone::serial(&message, &name("shop.test"))), (Some(42), None));
}

proptest! {
    #[test]
    fn any_message_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = super::read_any(&bytes);
    }

    #[test]
    fn a_damaged_referral_is_read_without_panic(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)) {
        let key = signer("shop.test");
        let mut message = delegation("shop.test", "ns1.shop.test", "ns1.shop.test");
        let set = [Record::from_rdata(name("shop.test"), 300, RData::DNSSEC(DNSSECRData::DS(ds("shop.test", &key))))];
        message.add_authorities(signed(&set, &key, (-1, 14)));
        let mut bytes = message.to_vec().unwrap();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = super::read_any(&bytes);
    }
}
