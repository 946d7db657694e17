//! What a server's certificates say, as far as they can be read (in the open up to TLS 1.2, later with the user's keys): validity at the time of the packet, names, and whether the chain can be complete.
//! Nobody here knows whom the client trusts.

use crate::app::text;
use crate::packet::Stamp;
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// id-ad-caIssuers, RFC 5280 §4.2.2.1: where the issuer's certificate lies.
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
/// Seconds before its end at which a certificate is told to expire soon: 14 days.
const SOON_S: i64 = 14 * 24 * 3600;
/// Certificates that are valid for less, 80 days in seconds, are renewed in their last weeks by design; others were forgotten.
const LONG_S: i64 = 80 * 24 * 3600;

/// What is wrong with a chain, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Defect {
    Expired,
    NotYetValid,
    WrongHost,
    SelfSigned,
    /// The leaf alone, and it names where its issuer's certificate lies.
    ChainIncomplete,
    ExpiresSoon,
}

/// A chain, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shown {
    pub(super) defects: Vec<(Defect, String)>,
}

/// Reads a chain, leaf first, as it was sent at `at` to a client that wanted `name`.
pub(super) fn read(chain: &[&[u8]], name: Option<&str>, at: Stamp) -> Shown {
    let Some(Ok((_, leaf))) = chain.first().map(|der| X509Certificate::from_der(der)) else { return Shown::default() };
    let mut shown = Shown::default();
    let now = at.0.div_euclid(1_000_000_000);
    for (place, der) in chain.iter().enumerate().take(8) {
        if let Ok((_, certificate)) = X509Certificate::from_der(der) {
            let whose = if place == 0 { "the certificate" } else { "a certificate of the chain" };
            validity(&certificate, whose, now, &mut shown);
        }
    }
    let subject = text::printable(leaf.subject().to_string().as_bytes(), 80);
    let own = leaf.subject().as_raw() == leaf.issuer().as_raw();
    if own && chain.len() == 1 {
        shown.defects.push((Defect::SelfSigned, format!("the certificate signs itself ({subject})")));
    } else if chain.len() == 1 && names_its_issuer(&leaf) {
        let issuer = text::printable(leaf.issuer().to_string().as_bytes(), 80);
        shown.defects.push((Defect::ChainIncomplete, format!("the server sent its own certificate without that of its issuer ({issuer})")));
    }
    // No certificate is for a name that cannot exist (RFC 6761 §6.4): who asks for one wants to see what the server says to it.
    let exists = |name: &&str| !name.trim_end_matches('.').ends_with(".invalid");
    if let Some(name) = name.filter(exists).filter(|name| !covers(&leaf, name)) {
        shown.defects.push((Defect::WrongHost, format!("the certificate ({subject}) is not for {name}")));
    }
    shown.defects.sort_by_key(|(defect, _)| *defect);
    shown
}

fn validity(certificate: &X509Certificate<'_>, whose: &str, now: i64, shown: &mut Shown) {
    let (from, until) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let day = |seconds: i64| seconds / (24 * 3600);
    if now > until {
        shown.defects.push((Defect::Expired, format!("{whose} had expired {} days before", day(now.saturating_sub(until)))));
    } else if now < from {
        shown.defects.push((Defect::NotYetValid, format!("{whose} becomes valid {} days later", day(from.saturating_sub(now)))));
    } else if until.saturating_sub(now) < SOON_S && until.saturating_sub(from) > LONG_S {
        shown.defects.push((Defect::ExpiresSoon, format!("{whose} expires {} days later", day(until.saturating_sub(now)))));
    }
}

fn names_its_issuer(leaf: &X509Certificate<'_>) -> bool {
    leaf.iter_extensions().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => access.iter().any(|entry| entry.access_method.to_id_string() == CA_ISSUERS),
        _ => false,
    })
}

/// Whether a certificate is for this name (RFC 6125 §6.4). One without alternative names is read by its common name, as old clients do.
fn covers(leaf: &X509Certificate<'_>, name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let address: Option<IpAddr> = name.parse().ok();
    let Ok(Some(alternatives)) = leaf.subject_alternative_name() else {
        return leaf.subject().iter_common_name().filter_map(|common| common.as_str().ok()).any(|common| matches(common, name));
    };
    alternatives.value.general_names.iter().any(|alternative| match (alternative, address) {
        (GeneralName::DNSName(pattern), _) => matches(pattern, name),
        (GeneralName::IPAddress(bytes), Some(IpAddr::V4(ip))) => ip.octets() == *bytes,
        (GeneralName::IPAddress(bytes), Some(IpAddr::V6(ip))) => ip.octets() == *bytes,
        _ => false,
    })
}

fn matches(pattern: &str, name: &str) -> bool {
    let pattern = pattern.trim_end_matches('.');
    match pattern.strip_prefix("*.") {
        Some(rest) => name.split_once('.').is_some_and(|(label, tail)| !label.is_empty() && tail.eq_ignore_ascii_case(rest)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(matches("*.shop.test", "www.shop.test"));
        assert!(!matches("*.shop.test", "a.www.shop.test"));
        assert!(!matches("*.shop.test", "shop.test"));
        assert!(matches("Shop.test.", "shop.test"));
    }

    #[test]
    fn bytes_that_are_no_certificate_say_nothing() {
        assert_eq!(read(&[b"no certificate"], Some("shop.test"), Stamp(0)), Shown::default());
        assert_eq!(read(&[], None, Stamp(0)), Shown::default());
    }
}
