//! In which order to try the addresses of a name. Sends nothing; the order within a family stays as the system gave it (RFC 6724).

use std::net::IpAddr;

/// Interleaves the families, beginning with that of the first address (RFC 8305 section 4, with a First Address Family Count of 1).
/// Repeated addresses are dropped.
#[must_use]
pub fn happy_eyeballs_order(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut distinct: Vec<IpAddr> = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !distinct.contains(address) {
            distinct.push(*address);
        }
    }
    let first_is_v4 = distinct.first().is_some_and(IpAddr::is_ipv4);
    let (first, second): (Vec<IpAddr>, Vec<IpAddr>) = distinct.iter().partition(|address| address.is_ipv4() == first_is_v4);
    let mut ordered = Vec::with_capacity(distinct.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(given: &[&str], expect: &[&str]) {
        let parse = |all: &[&str]| all.iter().map(|one| one.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(happy_eyeballs_order(&parse(given)), parse(expect));
    }

    #[test]
    fn families_take_turns_beginning_with_that_of_the_first_address() {
        check(&[], &[]);
        check(&["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"], &["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"]);
        check(&["10.0.0.1", "10.0.0.2", "::1"], &["10.0.0.1", "::1", "10.0.0.2"]);
        check(&["10.0.0.1", "10.0.0.1"], &["10.0.0.1"]);
    }

    proptest! {
        #[test]
        fn no_address_is_lost_or_invented(given in proptest::collection::vec(any::<IpAddr>(), 0..20)) {
            let mut ordered = happy_eyeballs_order(&given);
            prop_assert_eq!(ordered.first(), given.first());
            let mut distinct = given;
            distinct.sort_unstable();
            distinct.dedup();
            ordered.sort_unstable();
            prop_assert_eq!(ordered, distinct);
        }
    }
}
