//! Which addresses a name has, as the DNS answers of the capture tell. Bounded; what is beyond the bound is not remembered, and nothing is concluded from its
//! absence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Names remembered, and addresses of each.
const MOST_NAMES: usize = 4096;
const MOST_ADDRESSES: usize = 16;

/// Names and what they have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<String, BTreeSet<IpAddr>>);

impl Names {
    /// A name has these addresses, among others.
    pub fn learn(&mut self, name: String, addresses: &[IpAddr]) {
        if self.0.len() >= MOST_NAMES && !self.0.contains_key(&name) {
            return;
        }
        let known = self.0.entry(name).or_default();
        let room = MOST_ADDRESSES.saturating_sub(known.len());
        known.extend(addresses.iter().take(room));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeSet<IpAddr>)> {
        self.0.iter().map(|(name, addresses)| (name.as_str(), addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_addresses_stay_bounded() {
        let mut names = Names::default();
        for number in 0..10_000_u32 {
            names.learn(format!("{number}.test"), &[IpAddr::from(number.to_be_bytes())]);
            names.learn("many.test".to_owned(), &[IpAddr::from(number.to_be_bytes())]);
        }
        assert!(names.iter().count() <= MOST_NAMES);
        assert_eq!(names.iter().map(|(_, addresses)| addresses.len()).max(), Some(MOST_ADDRESSES));
    }
}
