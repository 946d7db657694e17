//! Captive portals (RFC 8952): who asks for a page whose content everybody knows, as operating systems and browsers do to find out whether they are on the
//! Internet, and is sent elsewhere, has a portal before it. It looks at names and paths only.

use crate::app::text;

/// Hosts and paths that systems ask for to find a portal: Android and Chrome, Apple, Windows, Firefox, NetworkManager of the distributions.
const PROBES: [(&str, &str); 13] = [
    ("connectivitycheck.gstatic.com", "/generate_204"),
    ("connectivitycheck.android.com", "/generate_204"),
    ("clients1.google.com", "/generate_204"),
    ("clients3.google.com", "/generate_204"),
    ("www.google.com", "/gen_204"),
    ("captive.apple.com", "/"),
    ("www.apple.com", "/library/test/success.html"),
    ("www.msftconnecttest.com", "/connecttest.txt"),
    ("www.msftncsi.com", "/ncsi.txt"),
    ("detectportal.firefox.com", "/"),
    ("connectivity-check.ubuntu.com", "/"),
    ("nmcheck.gnome.org", "/check_network_status.txt"),
    ("network-test.debian.org", "/nm"),
];

/// Whether a request is such a question.
pub(super) fn is_probe(host: Option<&str>, target: &str) -> bool {
    let path = || target.split_once("://").map_or(target, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    // No service has an address of documents (RFC 5737): who asks there for a page wants to see who else answers.
    host.is_some_and(|host| {
        let literal = host.starts_with(|first: char| first.is_ascii_digit());
        let nobody = literal && host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_documentation());
        nobody || PROBES.iter().any(|(name, prefix)| host.eq_ignore_ascii_case(name) && path().starts_with(prefix))
    })
}

/// Whether a redirect leads to the server that was asked, by the same scheme. Here that is never https.
pub(super) fn stays(elsewhere: Option<&(bool, String)>, host: Option<&str>) -> bool {
    elsewhere.is_none_or(|(https, to)| !https && host.is_some_and(|host| host.eq_ignore_ascii_case(to)))
}

/// The host of an absolute URL as a redirect has it, and whether it is asked by https.
pub(super) fn host_of(location: &[u8]) -> Option<(bool, String)> {
    let location = std::str::from_utf8(location).ok()?.trim();
    let (scheme, rest) = location.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some((scheme.eq_ignore_ascii_case("https"), text::host(host))).filter(|(_, host)| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::End;
    use crate::app::testkit::{C, S, rules, told};

    #[test]
    fn a_known_page_that_is_elsewhere_is_a_portals_work() {
        let check = |host: &str, path: &str, answer: &str, expect: &[&str]| {
            let ask = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
            let sink = told(80, &[(C, 1, ask.as_bytes()), (S, 20, answer.as_bytes())], End::Closed, 30);
            assert_eq!(rules(&sink), expect, "{host}{path} {answer}");
        };
        let portal = ["http.captive-portal fault l7.captive-portal"];
        check("connectivitycheck.gstatic.com", "/generate_204", "302 Found\r\nLocation: http://login.hotel/", &portal);
        check("192.0.2.1", "/", "302 Found\r\nLocation: http://login.hotel/", &portal);
        check("shop.test", "/", "511 Network Authentication Required", &portal);
        check("connectivitycheck.gstatic.com", "/generate_204", "204 No Content", &[]);
        check("detectportal.firefox.com", "/", "302 Found\r\nLocation: https://detectportal.firefox.com/", &[]);
        check("shop.test", "/", "302 Found\r\nLocation: http://login.shop.test/", &[]);
    }

    #[test]
    fn the_host_of_a_redirect_is_read_without_its_user() {
        assert_eq!(host_of(b"http://joe:secret@login.hotel:8080/x"), Some((false, "login.hotel".to_owned())));
        assert_eq!(host_of(b"/welcome"), None);
    }
}
