//! Every reading of a host, lowest layer first, made of two samples. Says how a number stands against its threshold;
//! whether that means a fault is for `findings`.

pub(super) mod l1;
pub(super) mod l2;
mod l3;
pub(super) mod l4;
pub(super) mod l4_tables;
pub(super) mod l5_to_l7;

use super::reading::{Kind, NOT_KNOWN, Reading, Threshold, Unit};
use super::window::{Window, float};
use crate::Layer;
use std::collections::BTreeSet;

/// Objects shown of one kind: a host of containers has thousands of links and listeners. The fullest come first.
pub(super) const OBJECTS_MAX: usize = 256;

/// All of them.
pub(super) fn all(window: &Window<'_>) -> Vec<Reading> {
    let mut found = Vec::new();
    for read in [l1::read, l2::read, l3::read, l4::read, l4_tables::read, l5_to_l7::read] {
        read(window, &mut found);
    }
    // Sockets may share an address (SO_REUSEPORT, multicast): the first, which is the fullest, speaks for all.
    let mut told = BTreeSet::new();
    found.retain(|reading| told.insert((reading.id.clone(), reading.object.clone())));
    found.sort_by_key(|reading| reading.layer);
    found
}

/// How much counters of `snmp` and its kin rose.
struct Counted {
    layer: Layer,
    id: &'static str,
    names: &'static [&'static str],
    kind: Kind,
    /// In words: `{n}` is the rise.
    text: &'static str,
    threshold: Option<Threshold>,
}

impl Counted {
    fn read(&self, window: &Window<'_>) -> Reading {
        let rise = window.rises(self.names);
        let reading = Reading::new(self.layer, self.id, "", self.kind, Unit::Count)
            .rising(rise.map(float), window.per_second(rise), window.totals(self.names).map(float))
            .saying(rise.map_or_else(|| NOT_KNOWN.to_owned(), |rise| self.text.replace("{n}", &rise.to_string())));
        match &self.threshold {
            Some(threshold) => reading.against(threshold.clone()),
            None => reading,
        }
    }
}

/// Percent in words.
pub(super) fn percent_text(percent: f64) -> String {
    if percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}
