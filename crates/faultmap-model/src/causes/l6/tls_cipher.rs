//! No cipher suite (or other parameter) that both ends take.

use super::offers::{Taken, accepted, client_certificate_requested, compared, failed};
use super::plaintext_on_tls::echoed;
use super::{sni, tls_version};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{Spoken, TlsOutcome};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l6.tls-cipher-mismatch`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.tls-cipher-mismatch",
    layer: Layer::L6,
    title: "no common cipher suite",
    what: "The server takes none of the cipher suites, groups or signature algorithms that a modern client offers: it has only old ones (CBC, RC4, static \
           RSA), or its list fits no certificate that it has (RSA suites with an ECDSA key).",
    shows: "The alert handshake_failure (40) or insufficient_security (71), where no version, name or client certificate explains it; proven when a wider \
            list of suites is taken. In SSH: a list of the server's KEXINIT without any name that clients of today take.",
    confirm: &[
        Tool {
            run: "openssl s_client -connect {host}:{port} -servername {host} -cipher ALL:@SECLEVEL=0 </dev/null 2>&1 | grep -E 'Cipher *(is|:)|alert'",
            on: "here",
            why: "taken with a wide list: names the suite that the server wants",
        },
        Tool { run: "nmap --script ssl-enum-ciphers -p {port} {ip}", on: "here", why: "all suites that the server takes" },
    ],
    fix: &[
        "Let the server offer ECDHE with AES-GCM or ChaCha20 (nginx: ssl_ciphers of the Mozilla intermediate profile), and TLS 1.3.",
        "See that the suites fit the certificate's key: ECDHE-ECDSA for an ECDSA key, ECDHE-RSA for RSA.",
    ],
    claim,
};

/// What the failure says.
enum Said {
    /// In so many words: nothing in common.
    Nothing(String),
    /// A parameter is refused, whichever.
    Parameter(String),
}

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    in_tls(ev).or_else(|| in_ssh(ev))
}

/// An SSH server whose lists hold nothing that a client of today takes by default. Old clients, and such as are told to, still come in.
fn in_ssh(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue().filter(|(_, dialogue)| dialogue.protocol == Spoken::Ssh)?;
    let about = dialogue.fact("outdated")?;
    let kind = match about {
        "kex" => "key exchange methods",
        "host-keys" => "types of host keys",
        _ => "ciphers",
    };
    let has = dialogue.fact(about).unwrap_or_default();
    let summary = format!(
        "{} offers only {kind} that clients of today no longer take ({has}): ssh ends with \"no matching ... found\".",
        dialogue.to
    );
    let claim = Claim::degrades(0.85, Where::Remote, dialogue.to.to_string(), summary).citing([id]);
    Some(claim.advising("For one connection, ssh takes them when told: -o KexAlgorithms=+..., -o HostKeyAlgorithms=+ssh-rsa, -o Ciphers=+...; update the server."))
}

fn in_tls(ev: &Evidence<'_>) -> Option<Claim> {
    let failed = failed(ev)?;
    let said = said(failed.outcome)?;
    if client_certificate_requested(ev) || sni::refused(ev).is_some() || tls_version::limit(ev).is_some() {
        return None;
    }
    let taken = accepted(ev, "all-ciphers").or_else(|| accepted(ev, "only-tls1.2"));
    let words = match &said {
        Said::Nothing(words) | Said::Parameter(words) => words,
    };
    let only = match &taken {
        Some(Taken { version, cipher: Some(cipher), .. }) => {
            format!("; it takes {} ({version}), which modern clients do not offer", suite(*cipher))
        }
        _ => String::new(),
    };
    let summary = format!("{} refuses every cipher suite of our offer: {words}{only}.", failed.to);
    let place = failed.to.to_string();
    let claim = match (&said, taken.is_some(), compared(ev)) {
        (Said::Nothing(_) | Said::Parameter(_), true, _) => Claim::proven(0.96, Where::Remote, place, summary),
        // Other versions and names were refused in the same way: they are not the reason.
        (Said::Nothing(_), false, true) => Claim::proven(0.9, Where::Remote, place, summary),
        (Said::Nothing(_), false, false) => Claim::likely(0.7, Where::Remote, place, summary),
        (Said::Parameter(_), false, _) => Claim::likely(0.5, Where::Remote, place, summary),
    };
    Some(claim.citing([failed.id]).citing(taken.map(|taken| taken.id)).decided_by(
        "the server's own TLS log (nginx: error_log ... info; openssl s_server; JSSE: -Djavax.net.debug=ssl)",
        failed.to.ip().to_string(),
        "names what it missed in the ClientHello",
    ))
}

/// Alerts of RFC 8446 6.2 that a server sends when negotiation fails, and our own library's words for the same.
fn said(outcome: &TlsOutcome) -> Option<Said> {
    match outcome {
        TlsOutcome::Alert { after_handshake: true, .. } => None,
        TlsOutcome::Alert { code, name, .. } => {
            let words = format!("the alert {name} ({code})");
            match code {
                40 | 71 => Some(Said::Nothing(words)),
                47 | 109 | 110 => Some(Said::Parameter(words)),
                _ => None,
            }
        }
        outcome if echoed(outcome) => None,
        TlsOutcome::Rejected { why } => {
            let lower = why.to_lowercase();
            let ours = ["ciphersuite", "cipher suite", "kxgroup", "group", "signaturescheme", "extendedmastersecret"]
                .iter()
                .any(|word| lower.contains(word));
            ours.then(|| Said::Nothing(why.clone()))
        }
        _ => None,
    }
}

/// The registered name of suites that old servers choose; the number for others.
fn suite(code: u16) -> String {
    let name = match code {
        0x0004 => "TLS_RSA_WITH_RC4_128_MD5",
        0x0005 => "TLS_RSA_WITH_RC4_128_SHA",
        0x000a => "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        0x002f => "TLS_RSA_WITH_AES_128_CBC_SHA",
        0x0033 => "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
        0x0035 => "TLS_RSA_WITH_AES_256_CBC_SHA",
        0x0039 => "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
        0x003c => "TLS_RSA_WITH_AES_128_CBC_SHA256",
        0x003d => "TLS_RSA_WITH_AES_256_CBC_SHA256",
        0x009c => "TLS_RSA_WITH_AES_128_GCM_SHA256",
        0x009d => "TLS_RSA_WITH_AES_256_GCM_SHA384",
        0x009e => "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
        0x009f => "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
        0xc009 => "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        0xc013 => "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        0xc014 => "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        _ => return format!("suite 0x{code:04x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{accepted, alert, claims, done, recording, tls};

    fn check(seen: Vec<(&str, TlsOutcome)>, expect: Option<(f64, bool)>) {
        let seen = seen.into_iter().map(|(offer, outcome)| tls(offer, outcome).into()).collect();
        assert_eq!(claims(&CAUSE, &recording("https://shop.test/", seen)), expect);
    }

    #[test]
    fn handshake_failure_is_about_ciphers_when_nothing_else_explains_it() {
        check(vec![("default", alert(40)), ("only-tls1.2", accepted("TLS 1.2", 0xc013))], Some((0.96, true)));
        check(vec![("default", alert(71)), ("all-ciphers", accepted("TLS 1.2", 0x002f))], Some((0.96, true)));
        check(vec![("default", alert(40)), ("only-tls1.2", alert(40)), ("other-sni", alert(40))], Some((0.9, true)));
        check(vec![("default", alert(40))], Some((0.7, true)));
    }

    #[test]
    fn an_ssh_server_with_outdated_lists_only_shuts_out_new_clients() {
        use crate::observation::{Dialogue, DialogueOutcome};
        use crate::testkit::{but, spoken};
        let done = || spoken("ssh://bastion.test", "key-exchange", DialogueOutcome::Done { what: "offers a key exchange".to_owned() });
        assert_eq!(claims(&CAUSE, &done()), None);
        let old = but::<Dialogue>(done(), |dialogue| {
            dialogue.facts = vec![("kex".to_owned(), "diffie-hellman-group1-sha1".to_owned()), ("outdated".to_owned(), "kex".to_owned())];
        });
        assert_eq!(claims(&CAUSE, &old), Some((0.85, false)));
    }

    #[test]
    fn a_refused_parameter_is_a_hint_only() {
        check(vec![("default", alert(80))], None);
        check(vec![("default", alert(47))], Some((0.5, true)));
        check(
            vec![("default", TlsOutcome::Rejected { why: "peer is incompatible: NoCipherSuitesInCommon".to_owned() })],
            Some((0.7, true)),
        );
    }

    #[test]
    fn version_name_and_client_certificate_come_first() {
        check(vec![("default", alert(40)), ("only-tls1.0", accepted("TLS 1.0", 0x2f)), ("only-tls1.2", alert(70))], None);
        check(vec![("default", alert(40)), ("other-sni", accepted("TLS 1.3", 0x1301))], None);
        let asked =
            TlsOutcome::Alert { code: 40, name: "handshake_failure".to_owned(), after_handshake: false, client_cert_requested: true };
        check(vec![("default", asked)], None);
        check(vec![("default", alert(70))], None);
        check(vec![("default", alert(120))], None);
        check(vec![("default", done())], None);
    }
}
