//! No path from the certificate to a root that this host trusts: it signs itself, its issuer is unknown, or the intermediate is missing.

use super::certificate::{Defect, Presented, presented};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::Trust;
use crate::verdict::Where;
use crate::{Evidence, Layer};

const CHAIN: Tool = Tool {
    run: "openssl s_client -connect {host}:{port} -servername {host} -showcerts </dev/null 2>/dev/null | grep -E ' (s|i):|Verify'",
    on: "here",
    why: "subject and issuer of every certificate that the server sends",
};

/// `l6.cert-self-signed`
pub(super) static SELF_SIGNED: Cause = Cause {
    id: "l6.cert-self-signed",
    layer: Layer::L6,
    title: "the certificate signs itself",
    what: "The server presents a certificate that nobody vouches for but itself: a default certificate of an appliance or of a fresh installation, an \
           ingress without its secret, or one made for a test.",
    shows: "Subject and issuer are the same, the signature is its own, and the certificate is not in this host's trust store.",
    confirm: &[
        CHAIN,
        Tool {
            run: "grep -ri ssl_certificate /etc/nginx; kubectl describe ingress",
            on: "{ip}",
            why: "which certificate the server is told to use",
        },
    ],
    fix: &[
        "Install a certificate of a CA that the clients trust (certbot, or the company's CA).",
        "If a self-signed one is meant (staging, an appliance), give it to the clients as a CA: faultmap check {url} --ca FILE, curl --cacert FILE.",
        "Do not switch certificate checks off instead (curl -k, verify=False, NODE_TLS_REJECT_UNAUTHORIZED=0): then anybody may answer.",
        "An ingress that serves its default certificate lacks the secret named in its tls section.",
    ],
    claim: self_signed,
};

/// `l6.cert-untrusted-ca`
pub(super) static UNTRUSTED_CA: Cause = Cause {
    id: "l6.cert-untrusted-ca",
    layer: Layer::L6,
    title: "the certificate's issuer is not trusted here",
    what: "The chain ends at a root that is not in this host's trust store: a private CA whose root was not distributed, a root that was removed, a minimal \
           container image without roots, or a proxy that signs anew what passes through it.",
    shows: "A chain that is complete, but ends at an unknown issuer. A missing intermediate looks alike: there the issuer is a well-known CA, and the \
            certificate names where to fetch it.",
    confirm: &[
        CHAIN,
        Tool {
            run: "ls -l /etc/ssl/certs/ca-certificates.crt; curl -sI https://www.google.com | head -1",
            on: "here",
            why: "a host whose public sites fail too lacks the roots, or is behind an inspecting proxy",
        },
    ],
    fix: &[
        "Put the CA's root into the trust store: copy it to /usr/local/share/ca-certificates/ and run update-ca-certificates; or pass --ca FILE.",
        "In a container install the package ca-certificates.",
        "Do not switch certificate checks off instead (curl -k, verify=False, NODE_TLS_REJECT_UNAUTHORIZED=0): then anybody may answer.",
        "If a public CA is meant, install its certificate on the server.",
    ],
    claim: untrusted_ca,
};

/// `l6.cert-chain-incomplete`
pub(super) static CHAIN_INCOMPLETE: Cause = Cause {
    id: "l6.cert-chain-incomplete",
    layer: Layer::L6,
    title: "the server does not send its intermediate certificate",
    what: "The server sends its own certificate without the intermediate that joins it to the root. Browsers often fetch or remember the missing one, so the \
           page works there, while curl, Java, Go and mobile apps refuse it.",
    shows: "The certificate's issuer was neither sent nor is it in the trust store, and the certificate names a URL where it lies (AIA). A private CA that \
            signs directly looks alike.",
    confirm: &[
        CHAIN,
        Tool {
            run: "openssl s_client -connect {host}:{port} -servername {host} </dev/null 2>&1 | grep -i 'verify'",
            on: "here",
            why: "\"unable to get local issuer certificate\", \"unable to verify the first certificate\"",
        },
    ],
    fix: &[
        "Serve the full chain: nginx ssl_certificate fullchain.pem (not cert.pem), Apache SSLCertificateFile with the intermediate appended.",
        "Reload the server after that.",
    ],
    claim: chain_incomplete,
};

fn self_signed(ev: &Evidence<'_>) -> Option<Claim> {
    let shown = presented(ev)?;
    let also = shown.led_by(ev, Defect::SelfSigned)?;
    let summary =
        format!("The certificate of {} signs itself ({}), and this host does not trust it.{also}", shown.chain.name, shown.leaf.subject);
    Some(proven(&shown, 0.97, summary))
}

fn untrusted_ca(ev: &Evidence<'_>) -> Option<Claim> {
    let shown = presented(ev)?;
    let also = shown.led_by(ev, Defect::UntrustedIssuer)?;
    let chain = shown.chain;
    if chain.roots == 0 {
        let summary = format!(
            "This host's trust store ({}) is empty, so that no certificate can be trusted, that of {} neither.{also}",
            chain.store, chain.name
        );
        return Some(
            Claim::proven(0.95, Where::Local, format!("the trust store ({})", chain.store), summary).citing([shown.id]).despite_answers(),
        );
    }
    if chain.trust == Trust::Invalid {
        let why = chain.trust_error.as_deref().unwrap_or("no reason given");
        let summary = format!("The certificate chain of {} is not valid: {why}.{also}", chain.name);
        return Some(proven(&shown, 0.85, summary));
    }
    let issuer = chain.certificates.last().map_or(shown.leaf.issuer.as_str(), |top| top.issuer.as_str());
    let summary = format!(
        "The certificate of {} comes from {issuer}, which is not among the {} roots trusted here ({}).{also}",
        chain.name, chain.roots, chain.store
    );
    Some(proven(&shown, 0.95, summary))
}

fn chain_incomplete(ev: &Evidence<'_>) -> Option<Claim> {
    let shown = presented(ev)?;
    let also = shown.led_by(ev, Defect::Incomplete)?;
    let sent = shown.chain.certificates.len();
    let top = shown.chain.certificates.last().unwrap_or(shown.leaf);
    let summary = format!(
        "{} sends {sent} certificate{} and not the intermediate {} that joins {} to a trusted root.{also}",
        shown.chain.to,
        if sent == 1 { "" } else { "s" },
        top.issuer,
        shown.chain.name
    );
    let claim = proven(&shown, 0.95, summary);
    Some(match &top.issuer_url {
        Some(url) => claim.advising(format!("The missing certificate lies at {url}: append it (as PEM) to the server's certificate file.")),
        None => claim,
    })
}

fn proven(shown: &Presented<'_>, confidence: f64, summary: String) -> Claim {
    Claim::proven(confidence, Where::Remote, shown.chain.to.to_string(), summary).citing([shown.id]).despite_answers()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recording;
    use crate::observation::TlsChain;
    use crate::testkit::{but, claims, healthy_http, healthy_https, plus, trusted_chain};

    fn with(trust: Trust) -> Recording {
        but::<TlsChain>(healthy_https(), |chain| chain.trust = trust)
    }

    fn check(recording: &Recording, expect: [Option<(f64, bool)>; 3]) {
        assert_eq!([&SELF_SIGNED, &UNTRUSTED_CA, &CHAIN_INCOMPLETE].map(|cause| claims(cause, recording)), expect);
    }

    #[test]
    fn each_way_of_not_being_trusted_has_one_cause() {
        check(&with(Trust::SelfSigned), [Some((0.97, true)), None, None]);
        check(&with(Trust::UnknownIssuer), [None, Some((0.95, true)), None]);
        check(&with(Trust::Invalid), [None, Some((0.85, true)), None]);
        check(&with(Trust::Incomplete), [None, None, Some((0.95, true))]);
        check(&with(Trust::Trusted), [None; 3]);
    }

    #[test]
    fn an_empty_trust_store_is_this_hosts_own_fault() {
        let empty = but::<TlsChain>(with(Trust::UnknownIssuer), |chain| chain.roots = 0);
        let claim = (UNTRUSTED_CA.claim)(&Evidence::new(&empty)).expect("claim");
        assert_eq!(claim.locus.side, Where::Local);
    }

    #[test]
    fn a_target_without_tls_has_no_certificate_to_blame() {
        check(&plus(healthy_http(), TlsChain { trust: Trust::SelfSigned, ..trusted_chain() }), [None; 3]);
        // PostgreSQL's sslmode=require takes any certificate, verify-full does not.
        let within = |demanded| {
            let postgres = crate::testkit::recording("postgres://db.test/shop", Vec::new());
            plus(postgres, TlsChain { trust: Trust::SelfSigned, demanded, ..trusted_chain() })
        };
        check(&within(None), [None; 3]);
        check(&within(Some(crate::observation::Demand::Full)), [Some((0.97, true)), None, None]);
    }

    #[test]
    fn the_most_fundamental_defect_is_named_alone() {
        let wrong_too = but::<TlsChain>(with(Trust::SelfSigned), |chain| chain.name_matches = false);
        check(&wrong_too, [Some((0.97, true)), None, None]);
        let claim = (SELF_SIGNED.claim)(&Evidence::new(&wrong_too)).expect("claim");
        assert!(claim.summary.ends_with("It also is for another name."), "{}", claim.summary);
    }
}
