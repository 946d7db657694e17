//! A box on the way ends the TLS session and signs the server's certificate anew.

use super::certificate::presented;
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{TlsControl, Trust};
use crate::verdict::Where;
use crate::{Evidence, Layer, ObservationId};

/// `l6.tls-intercepted`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.tls-intercepted",
    layer: Layer::L6,
    title: "a box on the way signs the certificates anew",
    what: "A firewall, a proxy or a program on this host inspects TLS: it ends the session itself and shows a certificate of its own making, which only \
           clients that know its root accept. Browsers of the company have the root; containers, tools and languages with stores of their own do not.",
    shows: "The issuer is not trusted here, and the same issuer has a certificate ready for a name that cannot exist, or speaks TLS at an address that nobody \
            has: no server does that. An issuer that names an inspecting product shows it too. A private CA whose server has one certificate is l6.cert-untrusted-ca.",
    confirm: &[
        Tool {
            run: "openssl s_client -connect {host}:{port} -servername {host} </dev/null 2>/dev/null | openssl x509 -noout -issuer -subject",
            on: "here, and on another network",
            why: "another issuer there: this network signs anew",
        },
        Tool { run: "curl -sv https://example.com/ 2>&1 | grep issuer", on: "here", why: "the same issuer for an unrelated site" },
    ],
    fix: &[
        "Add the inspecting CA's root to the trust store of what fails: /usr/local/share/ca-certificates and update-ca-certificates; NODE_EXTRA_CA_CERTS, \
         REQUESTS_CA_BUNDLE, a Java truststore; here: --ca FILE.",
        "Or have the target exempted from inspection.",
        "Never switch certificate checks off: then anybody may read along.",
    ],
    claim,
};

/// Names by which inspecting products sign (compared in lower case).
const PRODUCTS: [&str; 27] = [
    "zscaler",
    "fortinet",
    "fortigate",
    "palo alto",
    "netskope",
    "blue coat",
    "bluecoat",
    "mcafee web gateway",
    "skyhigh",
    "forcepoint",
    "websense",
    "sophos",
    "cisco umbrella",
    "check point",
    "checkpoint",
    "barracuda",
    "sonicwall",
    "watchguard",
    "mitmproxy",
    "charles proxy",
    "fiddler",
    "portswigger",
    "kaspersky",
    "eset ssl filter",
    "avast",
    "untangle",
    "squid",
];
/// Servers that make certificates for any name at need, by a local authority of their own.
const OWN_MINTS: [&str; 2] = ["caddy local authority", "mkcert"];

/// The proof of an interception.
pub(super) struct Interception {
    ids: Vec<ObservationId>,
    issuer: String,
    why: String,
    confidence: f64,
}

/// Who signs anew, if somebody does.
pub(super) fn by(ev: &Evidence<'_>) -> Option<Interception> {
    let shown = presented(ev).filter(|shown| shown.chain.trust != Trust::Trusted)?;
    let issuer = shown.leaf.issuer.clone();
    let lower = issuer.to_lowercase();
    if OWN_MINTS.iter().any(|own| lower.contains(own)) {
        return None;
    }
    let same =
        |control: &TlsControl| control.certificates.first().is_some_and(|leaf| leaf.issuer == issuer && leaf.sha256 != shown.leaf.sha256);
    let minted = ev.first::<TlsControl>(|control| control.purpose == "other-name" && control.name_matches && same(control));
    if let Some((id, control)) = minted {
        let why = format!("it has a certificate ready for {} too, a name that cannot exist", control.name);
        return Some(Interception { ids: vec![shown.id, id], issuer, why, confidence: 0.96 });
    }
    let nobodys =
        |control: &TlsControl| control.purpose == "nobody" && control.certificates.first().is_some_and(|leaf| leaf.issuer == issuer);
    if let Some((id, control)) = ev.first::<TlsControl>(nobodys) {
        let why = format!("it speaks TLS at {} too, an address that nobody has", control.to.ip());
        return Some(Interception { ids: vec![shown.id, id], issuer, why, confidence: 0.96 });
    }
    let top = shown.chain.certificates.last().map(|top| top.issuer.to_lowercase()).unwrap_or_default();
    PRODUCTS.iter().any(|product| lower.contains(product) || top.contains(product)).then(|| Interception {
        ids: vec![shown.id],
        why: "that is the name of a product that inspects TLS".to_owned(),
        issuer,
        confidence: 0.88,
    })
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let found = by(ev)?;
    let host = &ev.target().host;
    let summary = format!("The certificate of {host} was made by {} on the way: {}.", found.issuer, found.why);
    Some(Claim::proven(found.confidence, Where::Path, "a box that inspects TLS on the way", summary).citing(found.ids).despite_answers())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Certificate, TlsChain};
    use crate::testkit::{but, claims, healthy_https, plus, trusted_chain};

    fn leaf(issuer: &str, sha256: &str) -> Certificate {
        Certificate { issuer: issuer.to_owned(), sha256: sha256.to_owned(), ..trusted_chain().certificates[0].clone() }
    }

    fn untrusted() -> crate::Recording {
        but::<TlsChain>(healthy_https(), |chain| chain.trust = Trust::UnknownIssuer)
    }

    fn control(purpose: &str, issuer: &str, name_matches: bool) -> TlsControl {
        TlsControl {
            to: "10.2.0.10:443".parse().expect("addr"),
            purpose: purpose.to_owned(),
            name: "faultmap-1.invalid".to_owned(),
            certificates: vec![leaf(issuer, "other")],
            name_matches,
        }
    }

    fn check(recording: &crate::Recording, expect: Option<(f64, bool)>) {
        assert_eq!(claims(&CAUSE, recording), expect);
    }

    #[test]
    fn who_has_a_certificate_for_every_name_makes_them() {
        check(&plus(untrusted(), control("other-name", "CN=Intermediate", true)), Some((0.96, true)));
        check(&plus(untrusted(), control("nobody", "CN=Intermediate", false)), Some((0.96, true)));
    }

    #[test]
    fn a_private_ca_with_one_certificate_is_no_interception() {
        check(&untrusted(), None);
        check(&plus(untrusted(), control("other-name", "CN=Intermediate", false)), None);
        check(&plus(untrusted(), control("other-name", "CN=Other", true)), None);
        check(&plus(healthy_https(), control("other-name", "CN=Intermediate", true)), None);
    }

    #[test]
    fn a_product_that_signs_under_its_own_name_is_known() {
        let product =
            but::<TlsChain>(untrusted(), |chain| chain.certificates[0].issuer = "O=Zscaler Inc., CN=Zscaler Intermediate".to_owned());
        check(&product, Some((0.88, true)));
        let own =
            but::<TlsChain>(untrusted(), |chain| chain.certificates[0].issuer = "CN=Caddy Local Authority - ECC Intermediate".to_owned());
        check(&plus(own, control("other-name", "CN=Caddy Local Authority - ECC Intermediate", true)), None);
    }
}
