//! Layer 4, what has a limit: conntrack, ports, listen queues, TIME_WAIT, memory, descriptors.

use super::super::advice;
use super::super::reading::{Reading, State};
use super::super::readings::l4_tables::fullest_listeners;
use super::{Finding, Read, Severity};

/// Failed insertions a second that are more than the clashes of simultaneous DNS questions.
const INSERT_FAILED_MIN: f64 = 10.0;
/// How full conntrack is when it can be what drops.
const CONNTRACK_FULL: f64 = 90.0;

pub(super) fn look(read: &Read<'_>, found: &mut Vec<Finding>) {
    found.extend(conntrack(read));
    ports(read, found);
    accept_queues(read, found);
    syn_backlog(read, found);
    found.extend(time_wait(read));
    found.extend(memory(read));
    descriptors(read, found);
}

fn severity(state: State) -> Severity {
    if state == State::Crit { Severity::Crit } else { Severity::Warn }
}

fn conntrack(read: &Read<'_>) -> Option<Finding> {
    let fill = read.one("conntrack.entries")?;
    let drops = read.one("conntrack.drops");
    let lost = drops.and_then(|drops| drops.value).unwrap_or(0.0);
    let percent = fill.percent.unwrap_or(0.0);
    if lost >= 1.0 && percent >= CONNTRACK_FULL {
        let words = format!("Conntrack is full: {}, and {lost} packets were dropped.", fill.text.trim_start_matches("conntrack "));
        let finding = Finding::new("l4.conntrack-full", Severity::Crit, "", words).losing().citing([fill]).citing(drops);
        return Some(finding.advised(advice::conntrack(read.window)));
    }
    let failed = read.one("conntrack.insert-failed");
    if let Some(failed) = failed.filter(|failed| failed.per_second.is_some_and(|rate| rate >= INSERT_FAILED_MIN) && lost >= 1.0) {
        let words = format!("{}: most likely its NAT has no free port left.", failed.text);
        return Some(Finding::new("l4.snat-ports-exhausted", Severity::Warn, "", words).losing().citing([failed]).citing(drops));
    }
    if fill.state < State::Warn {
        return None;
    }
    let words = format!("Conntrack is filling up: {}.", fill.text.trim_start_matches("conntrack "));
    // At its limit the next new connection is dropped; below it nothing is broken yet.
    let severity = if percent >= 99.5 { Severity::Crit } else { Severity::Warn };
    Some(Finding::new("l4.conntrack-full", severity, "", words).citing([fill]).advised(advice::conntrack(read.window)))
}

fn ports(read: &Read<'_>, found: &mut Vec<Finding>) {
    for reading in read.each("ports.used").filter(|reading| reading.state >= State::Warn) {
        let left = reading.limit.unwrap_or_default() - reading.value.unwrap_or_default();
        let gone = left < 1.0 || reading.percent.is_some_and(|percent| percent >= 98.0);
        let severity = if gone { Severity::Crit } else { Severity::Warn };
        let words = match gone {
            true => format!("No local port is left toward this destination: {}.", reading.text),
            false => format!("Local ports run out toward one destination: {}.", reading.text),
        };
        let finding = Finding::new("l4.ephemeral-ports-exhausted", severity, &reading.object, words).citing([reading]);
        found.push(finding.advised(advice::ports(read.window)));
    }
}

/// A queue is full when it was so at both ends of the interval, or when it turned somebody away.
fn accept_queues(read: &Read<'_>, found: &mut Vec<Finding>) {
    let overflows = read.one("tcp.listen-overflows");
    let overflowed = overflows.filter(|reading| reading.value.is_some_and(|n| n >= 1.0));
    let mut named = 0_usize;
    for listener in fullest_listeners(read.window) {
        let Some(reading) = read.of("listener.accept-queue", &listener.bound.to_string()) else { continue };
        let Some(percent) = reading.percent.filter(|_| reading.state >= State::Warn) else { continue };
        let then = read.window.listener_before(listener);
        let lasting = then.is_some_and(|then| then.waiting.saturating_mul(2) > then.limit && then.waiting >= 2);
        let full = percent >= 100.0;
        let turned_away = full && overflowed.is_some();
        if !(lasting || turned_away) {
            continue;
        }
        named += 1;
        let who = listener.program.as_deref().unwrap_or("the program");
        let severity = if full { Severity::Crit } else { Severity::Warn };
        let words = match full {
            true => format!(
                "The accept queue of {} is full: {who} does not accept the {} connections that wait.",
                listener.bound, listener.waiting
            ),
            false => {
                format!("The accept queue of {} fills: {} connections wait for {who} to accept them.", listener.bound, listener.waiting)
            }
        };
        let finding = Finding::new("l4.accept-queue-full", severity, listener.bound.to_string(), words).citing([reading]);
        let finding = if full { finding.citing(overflowed) } else { finding };
        let finding = if turned_away { finding.losing() } else { finding };
        found.push(finding.advised(advice::somaxconn(read.window, listener)));
    }
    // Emptied again by the time of the second look, and yet somebody was turned away.
    if let Some(reading) = overflows.filter(|reading| named == 0 && reading.state >= State::Warn) {
        let words = format!("{}, though none is full at this moment.", reading.text);
        found.push(Finding::new("l4.accept-queue-full", severity(reading.state), "", words).losing().citing([reading]));
    }
}

fn syn_backlog(read: &Read<'_>, found: &mut Vec<Finding>) {
    let fullest = read
        .each("listener.syn-backlog")
        .max_by(|one, other| one.percent.unwrap_or_default().total_cmp(&other.percent.unwrap_or_default()));
    let object = fullest.map(|reading| reading.object.clone()).unwrap_or_default();
    let drops = read.one("tcp.syn-drops").filter(|reading| reading.state >= State::Warn);
    let cookies = read.one("tcp.syn-cookies").filter(|reading| reading.state >= State::Warn);
    let (reading, level, words) = if let Some(reading) = drops {
        (reading, severity(reading.state), format!("{}.", reading.text))
    } else if let Some((full, drops)) = quiet_drops(read, fullest) {
        let words = format!(
            "The SYN backlog of {} is full: {} half-open connections, and {} were turned away.",
            full.object,
            full.value.unwrap_or_default(),
            drops.value.unwrap_or_default()
        );
        (full, Severity::Crit, words)
    } else if let Some(reading) = cookies {
        // Clients get in; their connections lose window scaling and the like.
        (reading, Severity::Warn, format!("{}: a SYN flood, or more clients than the backlog holds.", reading.text))
    } else {
        return;
    };
    let finding = Finding::new("l4.syn-backlog-full", level, object, words).citing([reading]).citing(fullest);
    let finding = if level == Severity::Crit { finding.losing() } else { finding };
    found.push(finding.advised(advice::syn_backlog(read.window)));
}

/// Without cookies the kernel drops SYNs of strangers before the backlog is full, and counts them as listen drops alone.
fn quiet_drops<'a>(read: &Read<'a>, fullest: Option<&'a Reading>) -> Option<(&'a Reading, &'a Reading)> {
    let full = fullest.filter(|reading| reading.state >= State::Warn)?;
    let overflowed = read.one("tcp.listen-overflows").and_then(|reading| reading.value).unwrap_or(0.0);
    let drops = read.one("tcp.listen-drops").filter(|drops| drops.value.is_some_and(|n| n - overflowed >= 5.0))?;
    Some((full, drops))
}

fn time_wait(read: &Read<'_>) -> Option<Finding> {
    let reading = read.one("tcp.time-wait-overflows").filter(|reading| reading.state >= State::Warn)?;
    let fill = read.one("tcp.time-wait");
    let words = format!("{}: delayed segments of one connection may reach the next.", reading.text);
    let finding = Finding::new("l4.time-wait-full", Severity::Warn, "", words).losing().citing([reading]).citing(fill);
    Some(finding.advised(advice::time_wait(read.window)))
}

fn memory(read: &Read<'_>) -> Option<Finding> {
    let aborts = read.one("tcp.aborts-on-memory").filter(|reading| reading.state >= State::Warn);
    let memory = read.one("tcp.memory").filter(|reading| reading.state >= State::Warn);
    let orphans = read.one("tcp.orphans").filter(|reading| reading.state >= State::Warn);
    let worst = aborts.or(memory).or(orphans)?;
    let severity =
        if aborts.is_some() || memory.is_some_and(|reading| reading.state == State::Crit) { Severity::Crit } else { Severity::Warn };
    let words = format!("TCP runs out of memory or of room for orphans: {}.", worst.text);
    let finding = Finding::new("l4.tcp-memory", severity, "", words).citing(aborts).citing(memory).citing(orphans);
    let finding = if aborts.is_some() { finding.losing() } else { finding };
    Some(finding.advised(if memory.is_some() { advice::tcp_memory(read.window) } else { advice::orphans(read.window) }))
}

fn descriptors(read: &Read<'_>, found: &mut Vec<Finding>) {
    let full = |reading: &Reading| reading.percent.is_some_and(|percent| percent >= 99.5);
    if let Some(reading) = read.one("fds.host").filter(|reading| reading.state >= State::Warn) {
        let severity = if full(reading) { Severity::Crit } else { Severity::Warn };
        let words = format!("The host runs out of file descriptors: {}.", reading.text);
        found.push(Finding::new("l4.fd-exhausted", severity, "", words).citing([reading]).advised(advice::file_max(read.window)));
    }
    for reading in read.each("fds.process").filter(|reading| reading.state >= State::Warn) {
        let severity = if full(reading) { Severity::Crit } else { Severity::Warn };
        let words = match severity {
            Severity::Crit => format!("{} has no file descriptor left: it cannot accept or open a connection.", reading.object),
            Severity::Warn => format!("{} runs out of file descriptors: {}.", reading.object, reading.text),
        };
        found.push(
            Finding::new("l4.fd-exhausted", severity, &reading.object, words).citing([reading]).advised(advice::descriptors(reading)),
        );
    }
}
