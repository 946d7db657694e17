//! Every finding from a pair of samples, and the healthy busy host beside it.

use super::tests_support::{found, listener, raise, report, sample, second_later};
use super::{HostReport, HostSample};
use crate::Layer;
use crate::verdict::Status;

/// `change` befalls the sample at the end (`true`) or the begin (`false`) of one second.
fn check(change: impl Fn(&mut HostSample, bool), expected: &[&str], exit_code: u8) {
    let report = report(change);
    assert_eq!(found(&report), expected);
    assert_eq!(report.exit_code(), exit_code);
}

fn rises(counters: &'static [(&'static str, u64)]) -> impl Fn(&mut HostSample, bool) {
    move |sample, end| counters.iter().filter(|_| end).for_each(|(name, rise)| raise(sample, name, *rise))
}

#[test]
fn a_busy_host_with_terrible_totals_since_boot_is_healthy() {
    let report = report(|_, _| ());
    assert_eq!(found(&report), Vec::<String>::new());
    assert_eq!((report.status, report.bottleneck.clone(), report.exit_code()), (Status::Healthy, None, 0));
    assert_eq!(report.layers.iter().map(|layer| layer.layer).collect::<Vec<_>>(), Layer::ALL);
}

#[test]
fn one_sample_alone_proves_no_loss() {
    let mut sample = sample();
    raise(&mut sample, "TcpExt.ListenOverflows", 1_000_000);
    let report = HostReport::new(&sample, &sample, &[]);
    assert_eq!((found(&report), report.interval_ms), (Vec::new(), None));
}

#[test]
fn a_full_conntrack_table_that_drops_is_at_fault_and_one_that_is_merely_fuller_is_at_risk() {
    let fill = |count: u64, drops: u64| {
        move |sample: &mut HostSample, end: bool| {
            let conntrack = sample.conntrack.as_mut().expect("conntrack");
            conntrack.count = Some(count);
            *conntrack.stats.get_mut("drop").expect("drop") += if end { drops } else { 0 };
        }
    };
    check(fill(10_000, 30), &["crit l4.conntrack-full"], 14);
    check(fill(8000, 0), &["warn l4.conntrack-full"], 3);
    check(fill(7000, 0), &[], 0);
    check(fill(1000, 3), &[], 0);
}

#[test]
fn an_accept_queue_is_full_when_it_was_so_twice_or_turned_somebody_away() {
    let waiting = |then: u64, now: u64, overflows: u64| {
        move |sample: &mut HostSample, end: bool| {
            sample.listeners = vec![listener("0.0.0.0:443", if end { now } else { then }, 128)];
            raise(sample, "TcpExt.ListenOverflows", if end { overflows } else { 0 });
        }
    };
    check(waiting(129, 129, 40), &["crit l4.accept-queue-full 0.0.0.0:443"], 14);
    check(waiting(129, 129, 0), &["crit l4.accept-queue-full 0.0.0.0:443"], 14);
    check(waiting(0, 129, 9), &["crit l4.accept-queue-full 0.0.0.0:443"], 14);
    check(waiting(70, 80, 0), &["warn l4.accept-queue-full 0.0.0.0:443"], 3);
    check(waiting(0, 100, 0), &[], 0);
    check(waiting(0, 0, 9), &["crit l4.accept-queue-full"], 14);
}

#[test]
fn listen_drops_alone_are_too_generic_to_mean_anything() {
    check(rises(&[("TcpExt.ListenDrops", 500)]), &[], 0);
}
