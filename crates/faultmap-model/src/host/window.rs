//! Two samples as one interval: what rose, how fast, and which objects are in both. Never judges.

use super::sample::{HostSample, LinkSample, ListenerSample};
use std::collections::BTreeMap;

/// A shorter interval says more of one burst than of the host.
const SHORTEST_S: f64 = 0.05;

/// The interval between two samples.
pub(super) struct Window<'a> {
    /// Its begin.
    pub(super) before: &'a HostSample,
    /// Its end.
    pub(super) after: &'a HostSample,
    /// Its length; `None` where the samples cannot be compared.
    pub(super) seconds: Option<f64>,
}

impl<'a> Window<'a> {
    /// Samples of two namespaces, or in the wrong order, make no interval.
    pub(super) fn new(before: &'a HostSample, after: &'a HostSample) -> Self {
        let length = (after.monotonic_ms - before.monotonic_ms) / 1000.0;
        let comparable = before.namespace == after.namespace && before.hostname == after.hostname;
        let seconds = (comparable && length.is_finite() && length >= SHORTEST_S).then_some(length);
        Self { before, after, seconds }
    }

    /// How much a counter of `snmp`, `netstat` or `snmp6` rose.
    pub(super) fn rise(&self, name: &str) -> Option<u64> {
        self.rise_in(&self.before.counters, &self.after.counters, name)
    }

    /// The sum of the rises of several; `None` when none of them can be told.
    pub(super) fn rises(&self, names: &[&str]) -> Option<u64> {
        sum(names.iter().map(|name| self.rise(name)))
    }

    /// The sum of several counters as they stand.
    pub(super) fn totals(&self, names: &[&str]) -> Option<u64> {
        sum(names.iter().map(|name| self.after.counters.get(*name).copied()))
    }

    /// How much an entry of two maps rose; a counter that fell was reset and says nothing.
    pub(super) fn rise_in(&self, before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>, name: &str) -> Option<u64> {
        self.seconds?;
        after.get(name)?.checked_sub(*before.get(name)?)
    }

    /// How much a single value rose.
    pub(super) fn rise_of(&self, before: Option<u64>, after: Option<u64>) -> Option<u64> {
        self.seconds?;
        after?.checked_sub(before?)
    }

    /// A rise as a rate.
    pub(super) fn per_second(&self, rise: Option<u64>) -> Option<f64> {
        Some(float(rise?) / self.seconds?)
    }

    /// The link as it was before.
    pub(super) fn link_before(&self, link: &LinkSample) -> Option<&'a LinkSample> {
        self.before.links.iter().find(|then| then.link.index == link.link.index && then.link.iface == link.link.iface)
    }

    /// The sum of the rises of a link's counters.
    pub(super) fn link_rise(&self, link: &LinkSample, names: &[&str]) -> Option<u64> {
        let then = self.link_before(link)?;
        sum(names.iter().map(|name| self.rise_in(&then.stats, &link.stats, name)))
    }

    /// The listener as it was before.
    pub(super) fn listener_before(&self, listener: &ListenerSample) -> Option<&'a ListenerSample> {
        self.before.listeners.iter().find(|then| then.inode == listener.inode && then.bound == listener.bound)
    }

    /// A setting, as a number.
    pub(super) fn sysctl(&self, name: &str) -> Option<u64> {
        self.after.sysctls.get(name)?.trim().parse().ok()
    }

    /// The last of the numbers of a setting that holds several (`tcp_mem`).
    pub(super) fn sysctl_numbers(&self, name: &str) -> Vec<u64> {
        let text = self.after.sysctls.get(name).map(String::as_str).unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    }
}

fn sum(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    values.flatten().fold(None, |sum: Option<u64>, value| Some(sum.unwrap_or(0).saturating_add(value)))
}

/// A count as a number to compute with.
#[allow(clippy::cast_precision_loss, reason = "shares and rates need no 53 bits")]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}
