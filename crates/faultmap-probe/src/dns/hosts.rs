//! What the hosts file says of a name. Reads the file; never asks the network, never follows nsswitch.

use faultmap_model::observation::HostsFile;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;

const HOSTS: &str = "/etc/hosts";
/// Block lists of several megabytes are common in hosts files; beyond this we stop reading.
const MOST_BYTES: u64 = 16 << 20;
/// More addresses of one name than anybody tries.
const MOST_ADDRESSES: usize = 64;

/// Reads `/etc/hosts` for `name`. A missing or unreadable file names nothing.
#[must_use]
pub fn hosts(name: &str) -> HostsFile {
    HostsFile { name: name.to_owned(), addresses: parse_hosts(&read_bounded(HOSTS, MOST_BYTES).unwrap_or_default(), name) }
}

/// The start of a file as text; bytes that are not UTF-8 are replaced.
pub(super) fn read_bounded(path: &str, most: u64) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The addresses that the text of a hosts file gives to `name`, in order of appearance (hosts(5)): address, canonical name, aliases;
/// `#` begins a comment; names compare without regard to case. Scope ids are dropped.
#[must_use]
pub fn parse_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let wanted = name.strip_suffix('.').unwrap_or(name);
    let mut addresses = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next() else { continue };
        if !words.any(|word| word.strip_suffix('.').unwrap_or(word).eq_ignore_ascii_case(wanted)) {
            continue;
        }
        let Ok(address) = address.split('%').next().unwrap_or_default().parse::<IpAddr>() else { continue };
        if !addresses.contains(&address) && addresses.len() < MOST_ADDRESSES {
            addresses.push(address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "# static\n127.0.0.1\tlocalhost\n::1 localhost ip6-localhost\n10.1.0.7  shop.test shop # old\n\
                        fe80::1%eth0 router\nnonsense shop.test\n10.1.0.8 SHOP.test\n10.1.0.7 shop.test\n";

    fn check(name: &str, expect: &[&str]) {
        let expect: Vec<IpAddr> = expect.iter().map(|one| one.parse().unwrap()).collect();
        assert_eq!(parse_hosts(FILE, name), expect, "{name}");
    }

    #[test]
    fn canonical_names_and_aliases_match_without_regard_to_case() {
        check("localhost", &["127.0.0.1", "::1"]);
        check("shop.test", &["10.1.0.7", "10.1.0.8"]);
        check("Shop.TEST.", &["10.1.0.7", "10.1.0.8"]);
        check("shop", &["10.1.0.7"]);
        check("router", &["fe80::1"]);
    }

    #[test]
    fn comments_addresses_and_unknown_names_match_nothing() {
        check("old", &[]);
        check("10.1.0.7", &[]);
        check("other.test", &[]);
        check("", &[]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*|([0-9a-f.:%#\t ]{0,20}[a-z.]{0,9}\n){0,9}", name in "\\PC{0,20}") {
            let _ = parse_hosts(&text, &name);
        }

        #[test]
        fn what_is_written_is_read(entries in proptest::collection::vec((any::<IpAddr>(), "[a-z]{1,12}(\\.[a-z]{1,5})?"), 1..9)) {
            let text: String = entries.iter().map(|(address, name)| format!("{address} {name}\n")).collect();
            for (address, name) in &entries {
                prop_assert!(parse_hosts(&text, name).contains(address));
            }
        }
    }
}
