//! Chains as servers send them, and what each is called.

use super::chain::{ChainAsk, judge};
use super::store::TrustStore;
use super::testkit::{Authority, Identity, NOW, params, store_of};
use faultmap_model::observation::{TlsChain, Trust};
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use std::sync::OnceLock;

const YEARS: (i32, i32) = (2020, 2050);
const NAMES: &[&str] = &["server.test", "*.wild.test", "192.0.2.1", "2001:db8::1"];

fn held(sent: &[CertificateDer<'static>], name: &str, store: &TrustStore) -> TlsChain {
    judge(sent, &ChainAsk { to: ([127, 0, 0, 1], 443).into(), name, store, now_unix: NOW })
}

/// AIA caIssuers with one URL, as public authorities write it.
fn with_issuer_url(mut params: CertificateParams, url: &str) -> CertificateParams {
    let oid = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
    let length = u8::try_from(url.len()).unwrap();
    let entry = [&oid[..], &[0x86, length], url.as_bytes()].concat();
    let inner = [&[0x30, u8::try_from(entry.len()).unwrap()][..], &entry].concat();
    let content = [&[0x30, u8::try_from(inner.len()).unwrap()][..], &inner].concat();
    params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content));
    params
}

fn self_signed(ca: bool) -> rcgen::Certificate {
    let mut own = params("own", "server.test", YEARS);
    own.is_ca = if ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
    own.subject_alt_names = CertificateParams::new(vec!["server.test".to_owned()]).unwrap().subject_alt_names;
    own.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

/// A leaf and its intermediate, whose own issuer, of this organisation and name, is not sent.
fn below_unsent(organization: &str, name: &str) -> Vec<CertificateDer<'static>> {
    let authority = |organization: &str, name: &str| {
        let mut params = params(organization, name, YEARS);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().unwrap())
    };
    let (above, key) = authority(organization, name);
    let above = rcgen::Issuer::new(above, key);
    let (middle, key) = authority(organization, "ca 7");
    let sent = middle.signed_by(&key, &above).unwrap().der().clone();
    let leaf = params("server", "server.test", YEARS).signed_by(&KeyPair::generate().unwrap(), &rcgen::Issuer::new(middle, key)).unwrap();
    vec![leaf.der().clone(), sent]
}

#[test]
fn a_chain_as_sent_leads_to_its_trust() {
    use Trust::*;
    let ours = Authority::new("ours", (2000, 2100));
    let twin = Authority::new("ours", (2000, 2100));
    let theirs = Authority::new("theirs", (2000, 2100));
    let store = ours.store();
    let leaf = || params("server", "server.test", YEARS);
    let chain = |identity: Identity| identity.chain;
    let sound = chain(ours.issue(leaf(), NAMES, false));
    let direct = chain(ours.issue(leaf(), NAMES, true));
    let foreign = chain(theirs.issue(leaf(), NAMES, false));
    let foreign_direct = chain(theirs.issue(leaf(), NAMES, true));
    let linked = chain(theirs.issue(with_issuer_url(leaf(), "http://ca.test/intermediate.der"), NAMES, false));
    let named = chain(Authority::with_middle("theirs", "Issuing CA 2", (2000, 2100)).issue(leaf(), NAMES, false));
    let (second_missing, new_root) = (below_unsent("ours", "policy ca"), below_unsent("ours", "root g2"));
    let mut client_only = leaf();
    client_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let mut ca_leaf = leaf();
    ca_leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut broken = sound.clone();
    let mut bytes = broken[0].to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    broken[0] = bytes.into();
    let cases: Vec<(&str, Vec<CertificateDer<'static>>, Trust)> = vec![
        ("leaf and intermediate", sound.clone(), Trusted),
        ("with the root, too", [sound.clone(), vec![ours.root.clone()]].concat(), Trusted),
        ("wrong order and a stranger between", vec![sound[0].clone(), theirs.intermediate.clone(), sound[1].clone()], Trusted),
        ("issued by the root itself", direct, Trusted),
        ("a leaf that is a CA, which OpenSSL takes", chain(ours.issue(ca_leaf, NAMES, true)), Trusted),
        ("leaf alone, of a trusted organisation", sound[..1].to_vec(), Incomplete),
        ("leaf and root without what is between", vec![sound[0].clone(), ours.root.clone()], Incomplete),
        ("leaf alone that tells where its issuer is", linked[..1].to_vec(), Incomplete),
        ("leaf alone, of an issuer that is no root by its name", named[..1].to_vec(), Incomplete),
        ("the same with its issuer, whose root is unknown", named.clone(), UnknownIssuer),
        ("leaf twice, of an unknown issuer", vec![foreign[0].clone(), foreign[0].clone()], UnknownIssuer),
        ("the second of two intermediates missing, of a trusted organisation", second_missing, Incomplete),
        ("complete, of a root of that organisation that is too new for the store", new_root, UnknownIssuer),
        ("complete, but of an unknown root", foreign.clone(), UnknownIssuer),
        ("with its unknown root", [foreign.clone(), vec![theirs.root.clone()]].concat(), UnknownIssuer),
        ("unknown root that signs leaves itself", foreign_direct, UnknownIssuer),
        ("leaf alone with no sign of an intermediate", foreign[..1].to_vec(), UnknownIssuer),
        ("a root of the same name with another key", chain(twin.issue(leaf(), NAMES, true)), UnknownIssuer),
        ("signs itself", vec![self_signed(false).der().clone()], SelfSigned),
        ("signs itself and is a CA", vec![self_signed(true).der().clone()], SelfSigned),
        ("for clients only", chain(ours.issue(client_only, NAMES, false)), Invalid),
        ("a signature that does not fit", broken, Invalid),
        ("no certificate at all", vec![CertificateDer::from(vec![1, 2, 3])], Invalid),
    ];
    for (what, sent, expected) in cases {
        let chain = held(&sent, "server.test", &store);
        assert_eq!(chain.trust, expected, "{what}: {:?}", chain.trust_error);
        assert_eq!(chain.trust_error.is_none(), expected == Trusted, "{what}");
        assert_eq!(chain.certificates.len(), sent.len(), "{what}");
    }
}

#[test]
fn the_validity_window_is_apart_from_the_path() {
    let ours = Authority::new("ours", (2000, 2100));
    let stale = Authority::new("stale", (2000, 2010));
    for (what, authority, years) in [
        ("expired", &ours, (2010, 2020)),
        ("not yet valid", &ours, (2040, 2050)),
        ("intermediate expired", &stale, YEARS),
        ("windows that never overlap", &stale, (2015, 2050)),
        ("valid", &ours, YEARS),
    ] {
        let sent = authority.issue(params("server", "server.test", years), NAMES, false).chain;
        let chain = held(&sent, "server.test", &authority.store());
        assert_eq!((chain.trust, chain.path.as_slice()), (Trust::Trusted, &[0, 1][..]), "{what}: {:?}", chain.trust_error);
    }
}

#[test]
fn an_expired_certificate_beside_the_path_is_not_on_it() {
    let ours = Authority::new("ours", (2000, 2100));
    let old = Authority::new("old", (2000, 2010));
    let mut sent = ours.issue(params("server", "server.test", YEARS), NAMES, false).chain;
    sent.insert(1, old.intermediate.clone());
    assert_eq!(held(&sent, "server.test", &ours.store()).path, [0, 2]);
}

#[test]
fn a_self_signed_certificate_given_by_the_user_is_trusted() {
    let authority = Authority::new("ours", (2000, 2100));
    for ca in [false, true] {
        let own = self_signed(ca);
        let sent = [own.der().clone()];
        assert_eq!(held(&sent, "server.test", &store_of(&own.pem())).trust, Trust::Trusted);
        assert_eq!(held(&sent, "server.test", &authority.store()).trust, Trust::SelfSigned);
    }
}

#[test]
fn a_name_is_in_the_certificate_or_not() {
    let ours = Authority::new("ours", (2000, 2100));
    let store = ours.store();
    let sent = ours.issue(params("server", "cn-only.test", YEARS), NAMES, false).chain;
    let cases = [
        ("server.test", true),
        ("SERVER.test", true),
        ("server.test.", true),
        ("a.wild.test", true),
        ("a.b.wild.test", false),
        ("wild.test", false),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("2001:db8::1", true),
        ("[2001:db8::1]", true),
        ("other.test", false),
        // RFC 9525: the common name is no name of a server.
        ("cn-only.test", false),
        ("not a name", false),
    ];
    for (name, expected) in cases {
        assert_eq!(held(&sent, name, &store).name_matches, expected, "{name}");
    }
}

proptest! {
    #[test]
    fn no_certificate_makes_it_panic(place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        static SOUND: OnceLock<(Vec<CertificateDer<'static>>, TrustStore)> = OnceLock::new();
        let (sound, store) = SOUND.get_or_init(|| {
            let ours = Authority::new("ours", (2000, 2100));
            (ours.sound().chain, ours.store())
        });
        let mut bytes = sound[0].to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let cut = cut.index(bytes.len());
        let _ = held(&[bytes.clone().into(), sound[1].clone()], "server.test", store);
        let _ = held(&[bytes[..cut].to_vec().into()], "server.test", store);
    }
}

#[test]
fn a_certificate_is_written_down_as_it_is() {
    let ours = Authority::new("ours", (2000, 2100));
    let sent = ours.issue(with_issuer_url(params("evil\u{1b}[2J", "server.test", YEARS), "http://ca.test/i.der"), NAMES, false).chain;
    let chain = held(&sent, "server.test", &ours.store());
    let leaf = &chain.certificates[0];
    assert_eq!(leaf.names, ["server.test", "*.wild.test", "192.0.2.1", "2001:db8::1"]);
    assert_eq!((leaf.not_before_unix, leaf.not_after_unix), (1_577_836_800, 2_524_608_000));
    assert_eq!((leaf.self_signed, leaf.is_ca, leaf.sha256.len()), (false, false, 64));
    assert_eq!(leaf.issuer_url.as_deref(), Some("http://ca.test/i.der"));
    assert!(!leaf.subject.contains('\u{1b}') && leaf.subject.contains("server.test"), "{}", leaf.subject);
    assert!(chain.certificates[1].is_ca && leaf.issuer == chain.certificates[1].subject);
}
