//! Layer 1: links that are down, flap, damage frames, are full, or drop what their queues cannot hold.

use super::super::advice;
use super::super::reading::{Reading, State};
use super::super::readings::l1::{RX_DAMAGED, capacity_bps, is_used};
use super::super::sample::LinkSample;
use super::super::window::{Window, float};
use super::{Finding, Read, Severity};

/// Damaged packets that it takes.
const DAMAGED_MIN: u64 = 10;
/// Percent of all frames.
const DAMAGED_SHARE: f64 = 0.5;
/// Percent of all packets whose checksum is wrong: one hostile sender reaches no such share of a host's traffic.
const CHECKSUM_SHARE: f64 = 1.0;

/// Changes of the carrier: gone and back.
const LOST_ONCE: f64 = 2.0;
/// Gone, back, and gone again.
const LOST_AGAIN: f64 = 3.0;

pub(super) fn look(read: &Read<'_>, found: &mut Vec<Finding>) {
    let links: Vec<&LinkSample> = read.window.after.links.iter().filter(|link| !link.link.loopback).collect();
    for link in &links {
        let gone = gone(read, link, &links);
        // Gone at this moment, and yet it went and came meanwhile: the loose plug is what is wrong.
        let flapping = flapping(read, link, if gone.is_some() { LOST_AGAIN } else { LOST_ONCE });
        found.extend(if flapping.is_some() { flapping } else { gone });
        if link.link.up && link.link.carrier != Some(false) {
            found.extend(damaged(read, link));
            found.extend(half_duplex(read, link));
            found.extend(saturated(read, link));
            found.extend(dropping(read, link));
        }
    }
    found.extend(checksums(read));
    found.extend(softnet(read));
}

fn carries(link: &LinkSample) -> bool {
    link.link.up && link.link.carrier != Some(false)
}

/// Switched off or without carrier, although it is the way out.
fn gone(read: &Read<'_>, link: &LinkSample, links: &[&LinkSample]) -> Option<Finding> {
    if carries(link) {
        return None;
    }
    let then = read.window.link_before(link);
    // The kernel takes the routes away with an interface that is switched off: what it was counts.
    let was_road = then.is_some_and(|then| then.gateway_routes > 0);
    let road = link.gateway_routes > 0 || was_road;
    let other_road = links.iter().any(|other| carries(other) && other.gateway_routes > 0);
    let other_link = links.iter().any(|other| carries(other) && is_used(other));
    let addressed = link.link.addresses.iter().any(|address| !address.starts_with("fe80:"));
    // A spare port, or a bridge without members, is no fault; the only link that has an address is.
    let only = addressed && !other_link && link.kind.as_deref() != Some("bridge");
    if !road && !only {
        return None;
    }
    let name = &link.link.iface;
    let severity = if other_road { Severity::Warn } else { Severity::Crit };
    let (cause, words) = match link.link.up {
        false => ("l1.interface-down", "is switched off"),
        true => ("l1.no-carrier", "has no carrier: the cable is out, or the other end is down"),
    };
    let role = match (road, other_road) {
        (true, false) => ", and the way out of this host leads over it",
        (true, true) => ", and a route leads over it; another link still has one",
        (false, _) => ", and no other link of this host has an address",
    };
    let finding = Finding::new(cause, severity, name, format!("{name} {words}{role}.")).losing();
    Some(finding.citing(read.of("link.carrier", name)))
}

/// Lost and found within the interval. One change is a link that came up, as they do when a container starts.
fn flapping(read: &Read<'_>, link: &LinkSample, least: f64) -> Option<Finding> {
    let reading = read.of("link.carrier", &link.link.iface)?;
    let changes = reading.value.filter(|changes| *changes >= least)?;
    let matters = link.gateway_routes > 0 || (link.kind.is_none() && is_used(link));
    if !matters {
        return None;
    }
    let name = &link.link.iface;
    let severity = if changes >= 6.0 { Severity::Crit } else { Severity::Warn };
    let words = format!("The carrier of {name} changed {changes} times within the interval.");
    Some(Finding::new("l1.link-flapping", severity, name, words).losing().citing([reading]))
}

fn damaged(read: &Read<'_>, link: &LinkSample) -> Option<Finding> {
    let frames = read.window.link_rise(link, &["rx_packets"])?;
    let damaged = read.window.link_rise(link, &RX_DAMAGED).filter(|damaged| *damaged >= DAMAGED_MIN)?;
    let share = float(damaged) / float(damaged.saturating_add(frames)) * 100.0;
    if share < DAMAGED_SHARE {
        return None;
    }
    let name = &link.link.iface;
    let severity = if share >= 10.0 { Severity::Crit } else { Severity::Warn };
    let words = format!("{name} received {damaged} damaged frames, {share:.1} % of all.");
    Some(Finding::new("l1.bit-errors", severity, name, words).losing().citing(read.of("link.errors", name)))
}

/// Damage that the card did not see: packets whose IP, TCP or UDP checksum is wrong.
fn checksums(read: &Read<'_>) -> Option<Finding> {
    let reading = read.one("tcp.checksum-errors")?;
    let wrong = reading.value.filter(|wrong| *wrong >= float(DAMAGED_MIN))?;
    let received = read.window.rises(&["Ip.InReceives", "Ip6.InReceives"]).map(float)?;
    let share = wrong / received.max(wrong) * 100.0;
    if share < CHECKSUM_SHARE {
        return None;
    }
    let severity = if share >= 10.0 { Severity::Crit } else { Severity::Warn };
    let words = format!("{wrong} packets arrived with a wrong checksum, {share:.1} % of all: they are damaged on the way.");
    Some(Finding::new("l1.bit-errors", severity, "", words).losing().citing([reading]))
}

fn half_duplex(read: &Read<'_>, link: &LinkSample) -> Option<Finding> {
    let named = link.link.speed_mbps.is_some() && link.link.full_duplex == Some(false);
    // A tunnel device names a duplex and has none.
    let real = link.kind.is_none() || capacity_bps(link).0.is_some();
    if !named || !real || !is_used(link) {
        return None;
    }
    let name = &link.link.iface;
    let collisions = read.window.link_rise(link, &["collisions"]).unwrap_or(0);
    let hit = if collisions > 0 { format!(" It counted {collisions} collisions.") } else { String::new() };
    let words = format!("{name} runs at half duplex: it cannot send while it receives.{hit}");
    Some(Finding::new("l1.half-duplex", Severity::Warn, name, words).citing(read.of("link.utilisation", name)))
}

/// The readings of one link that say that something did not fit.
fn losses<'a>(read: &Read<'a>, name: &str) -> Vec<&'a Reading> {
    let ids = ["link.tx-drops", "link.rx-overruns", "qdisc.drops"];
    ids.into_iter().filter_map(|id| read.of(id, name)).filter(|reading| reading.value.is_some_and(|lost| lost >= 1.0)).collect()
}

fn saturated(read: &Read<'_>, link: &LinkSample) -> Option<Finding> {
    let name = &link.link.iface;
    let reading = read.of("link.utilisation", name).filter(|reading| reading.state >= State::Warn)?;
    let losses = losses(read, name);
    if sheds_by_its_shaper(link, reading, &losses) {
        return None;
    }
    // At its rate, and at both looks a queue stood before it.
    let queued = |link: &LinkSample| link.qdisc_queued.is_some_and(|packets| packets > 0);
    let standing = queued(link) && read.window.link_before(link).is_some_and(queued);
    let full = reading.state == State::Crit || standing || !losses.is_empty();
    let severity = if full { Severity::Crit } else { Severity::Warn };
    let percent = reading.percent.unwrap_or_default();
    let tail = match (losses.is_empty(), standing) {
        (false, _) => ", and what does not fit is dropped",
        (true, true) => ", and a queue stands before it",
        (true, false) => "",
    };
    let words = format!("The link {name} is full: {percent:.0} % of its {} Mbit/s{tail}.", reading.limit.unwrap_or_default() / 1e6);
    let finding = Finding::new("l1.link-saturated", severity, name, words).citing([reading]).citing(losses.iter().copied());
    let mut finding = if losses.is_empty() { finding } else { finding.losing() };
    // Shares of what was lost are in the evidence too; how full the link is, is this one.
    finding.percent = reading.percent;
    Some(finding)
}

/// What is full is a shaper that somebody set, not the link, and its queue loses packets: that is said of the queue. Without losses there is
/// only one thing to say, that no more fits through.
fn sheds_by_its_shaper(link: &LinkSample, reading: &Reading, losses: &[&Reading]) -> bool {
    let shaped = link.shaped_bps.map(float);
    let bound = shaped.is_some() && shaped == reading.limit && capacity_bps(link).0 != shaped;
    bound && losses.iter().any(|lost| lost.id == "qdisc.drops" && lost.state >= State::Warn)
}

/// The link is not full, and yet its rings or queues lose frames.
fn dropping(read: &Read<'_>, link: &LinkSample) -> Option<Finding> {
    let name = &link.link.iface;
    let bad: Vec<&Reading> = losses(read, name).into_iter().filter(|reading| reading.state >= State::Warn).collect();
    // Without a use for the link nobody misses the frames: the host's end of a stopped container's pair.
    let worst = bad.iter().max_by_key(|reading| reading.state).filter(|_| is_used(link) || link.kind.is_none())?;
    let severity = if worst.state == State::Crit { Severity::Crit } else { Severity::Warn };
    let words = format!("{}, {:.0} % of all.", worst.text, worst.percent.unwrap_or_default());
    let finding = Finding::new("l1.queue-drops", severity, name, words).losing().citing(bad.iter().copied());
    let mut finding = finding.advised(advice::ring(link, worst));
    // A share of lost frames says nothing of how full a link is.
    finding.percent = None;
    Some(finding)
}

/// The CPUs' backlogs, of the whole host.
fn softnet(read: &Read<'_>) -> Option<Finding> {
    let reading = read.one("softnet.dropped").filter(|reading| reading.state >= State::Warn)?;
    let lost = reading.value.unwrap_or_default();
    let taken = processed(read.window).map(float).unwrap_or_default();
    let severity = if lost >= taken / 100.0 { Severity::Crit } else { Severity::Warn };
    let words = format!("The CPUs of this host cannot take packets in fast enough: {lost} were dropped from their backlog.");
    let finding = Finding::new("l1.queue-drops", severity, "", words).losing().citing([reading]);
    Some(finding.advised(advice::backlog(read.window)))
}

fn processed(window: &Window<'_>) -> Option<u64> {
    let sum = |cpus: &[super::super::sample::SoftnetCpu]| cpus.iter().fold(0_u64, |sum, cpu| sum.saturating_add(cpu.processed));
    window.rise_of(Some(sum(&window.before.softnet)), Some(sum(&window.after.softnet)))
}

#[cfg(test)]
mod tests {
    use crate::host::HostSample;
    use crate::host::tests_support::{found, report};

    fn check(change: impl Fn(&mut HostSample, bool), expected: &[&str]) {
        assert_eq!(found(&report(change)), expected);
    }

    #[test]
    fn a_carrier_that_came_and_went_flaps_even_if_it_is_gone_at_the_second_look() {
        let changed = |changes: u64, there: bool| {
            move |sample: &mut HostSample, end: bool| {
                if end {
                    sample.links[0].carrier_changes = sample.links[0].carrier_changes.map(|before| before + changes);
                    sample.links[0].link.carrier = Some(there);
                }
            }
        };
        check(changed(3, false), &["warn l1.link-flapping eth0"]);
        check(changed(2, true), &["warn l1.link-flapping eth0"]);
        check(changed(1, false), &["crit l1.no-carrier eth0"]);
    }

    #[test]
    fn a_shaper_that_drops_is_a_full_queue_and_one_that_only_brakes_a_full_link() {
        let shaped = |drops: u64| {
            move |sample: &mut HostSample, end: bool| {
                let link = &mut sample.links[0];
                link.shaped_bps = Some(48_000_000);
                link.qdisc_drops = link.qdisc_drops.map(|before| if end { before + drops } else { before });
            }
        };
        check(shaped(2000), &["crit l1.queue-drops eth0"]);
        check(shaped(0), &["crit l1.link-saturated eth0"]);
    }
}
