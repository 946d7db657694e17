//! The certificate is good, but for another name.

use super::certificate::{Defect, presented};
use crate::causes::{Cause, Claim, Tool, l7};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l6.cert-wrong-host`
pub(super) static CAUSE: Cause = Cause {
    id: "l6.cert-wrong-host",
    layer: Layer::L6,
    title: "the certificate is for another name",
    what: "The name that was asked for is not among the certificate's names: the server's default site answers, the name was not added when the certificate \
           was renewed, a wildcard covers one label only, or the address belongs to another service.",
    shows: "The name is not in the subject alternative names; the common name does not count (RFC 9525). An address in place of a name needs an IP entry.",
    confirm: &[
        Tool {
            run: "openssl s_client -connect {host}:{port} -servername {host} </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName",
            on: "here",
            why: "the names that the certificate is for",
        },
        Tool { run: "dig +short {host}", on: "here", why: "whether the address is the service's at all" },
    ],
    fix: &[
        "Issue the certificate for this name too (certbot --expand -d {host}).",
        "Give the server a virtual host for {host}, so that it does not answer with its default certificate.",
        "Use a name that the certificate has; if the address is wrong, correct DNS.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let shown = presented(ev)?;
    shown.led_by(ev, Defect::WrongHost)?;
    let names = &shown.leaf.names;
    let listed: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
    let more = if names.len() > listed.len() { format!(" and {} more", names.len() - listed.len()) } else { String::new() };
    let for_whom = if listed.is_empty() { "no name at all".to_owned() } else { format!("{}{more}", listed.join(", ")) };
    let summary = format!("{} presents a certificate for {for_whom}, not for {}.", shown.chain.to, shown.chain.name);
    let place = shown.chain.to.to_string();
    // Who was led to another server by a wrong address meets another certificate there.
    let claim = match l7::misled_by_names(ev) {
        true => Claim::likely(0.3, Where::Remote, place, summary),
        false => Claim::proven(0.97, Where::Remote, place, summary),
    };
    let claim = claim.citing([shown.id]).despite_answers();
    Some(match wildcard(&shown.chain.name, names) {
        Some(wildcard) => claim.advising(format!("{wildcard} covers one label only: {} needs an entry of its own.", shown.chain.name)),
        None => claim,
    })
}

/// A wildcard that covers the name's end, but not its depth.
fn wildcard<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    names.iter().map(String::as_str).find(|entry| {
        entry.strip_prefix('*').is_some_and(|suffix| {
            let suffix = suffix.to_ascii_lowercase();
            name.ends_with(&suffix) || suffix.strip_prefix('.') == Some(name.as_str())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{HostsFile, TlsChain, Trust};
    use crate::testkit::{SERVER, but, claims, healthy_https};

    fn wrong(names: &[&str]) -> crate::Recording {
        but::<TlsChain>(healthy_https(), |chain| {
            chain.name_matches = false;
            chain.certificates[0].names = names.iter().map(|name| (*name).to_owned()).collect();
        })
    }

    #[test]
    fn a_name_that_is_not_in_the_certificate_is_wrong() {
        assert_eq!(claims(&CAUSE, &wrong(&["other.test"])), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &wrong(&[])), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &healthy_https()), None);
    }

    #[test]
    fn a_distrusted_certificate_is_told_as_such() {
        assert_eq!(claims(&CAUSE, &but::<TlsChain>(wrong(&["other.test"]), |chain| chain.trust = Trust::UnknownIssuer)), None);
    }

    #[test]
    fn a_wrong_address_from_the_hosts_file_explains_a_wrong_certificate() {
        // The hosts file sends us to SERVER, while DNS says another address.
        let misled = but::<HostsFile>(wrong(&["other.test"]), |hosts| {
            hosts.addresses = vec![SERVER.parse::<std::net::SocketAddr>().expect("addr").ip()]
        });
        let misled = but::<crate::observation::DnsQuery>(misled, |query| query.outcome = crate::testkit::found(&["10.3.0.10"]));
        assert_eq!(claims(&CAUSE, &misled), Some((0.3, true)));
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let names = ["*.shop.test".to_owned()];
        assert_eq!(wildcard("a.b.shop.test", &names), Some("*.shop.test"));
        assert_eq!(wildcard("shop.test", &names), Some("*.shop.test"));
        assert_eq!(wildcard("other.test", &names), None);
    }
}
