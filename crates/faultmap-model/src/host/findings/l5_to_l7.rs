//! Layers 5 to 7: sessions that are never closed, certificates that end, programs that are stopped or starved.

use super::super::reading::State;
use super::super::readings::l5_to_l7::{called, is_stopped};
use super::super::sample::{ListenerSample, ProcessSample};
use super::{Finding, Read, Severity};
use std::net::SocketAddr;

/// Percent of its CPU time from which a program has none left.
const BUSY: f64 = 95.0;

pub(super) fn look(read: &Read<'_>, found: &mut Vec<Finding>) {
    for reading in read.each("session.close-wait").filter(|reading| reading.state >= State::Warn) {
        let words = format!("A program here leaves sessions open that its peers closed: {}.", reading.text);
        found.push(Finding::new("l5.close-wait-leak", Severity::Warn, &reading.object, words).citing([reading]));
    }
    for reading in read.each("certificate.validity").filter(|reading| reading.state >= State::Warn) {
        let (cause, severity) = match reading.state {
            State::Crit => ("l6.cert-expired", Severity::Crit),
            _ => ("l6.cert-expiring-soon", Severity::Warn),
        };
        found.push(Finding::new(cause, severity, &reading.object, format!("{}.", reading.text)).citing([reading]));
    }
    stopped(read, found);
    starved(read, found);
}

/// Every process that holds the listener is stopped: nobody is left to accept.
fn stopped(read: &Read<'_>, found: &mut Vec<Finding>) {
    let mut told: Vec<u32> = Vec::new();
    for process in read.window.after.processes.iter().filter(|process| is_stopped(process)) {
        let then = read.window.before.processes.iter().find(|then| then.pid == process.pid);
        let mute: Vec<&SocketAddr> = process.listens.iter().filter(|bound| all_stopped(read, bound)).collect();
        let Some(bound) = mute.first().filter(|_| then.is_some_and(is_stopped)) else { continue };
        // Workers share their listeners: the first stands for all.
        let mates = |other: &&ProcessSample| told.contains(&other.pid) && other.listens.iter().any(|theirs| mute.contains(&theirs));
        if read.window.after.processes.iter().any(|other| mates(&other)) {
            continue;
        }
        told.push(process.pid);
        let name = called(process);
        let waiting: u64 = listeners(read, &mute).map(|listener| listener.waiting).fold(0, u64::saturating_add);
        let why = if process.state == 't' { "a debugger" } else { "a signal" };
        let crowd = if waiting > 0 { format!(", and {waiting} connections wait") } else { String::new() };
        let words = format!("{name}, which serves {bound}, is stopped by {why}: it answers nobody{crowd}.");
        let mut finding = Finding::new("l7.service-mute", Severity::Crit, &name, words);
        finding = finding.citing(read.of("process.state", &name));
        finding.fix.insert(0, format!("Let it go on: kill -CONT {} (or detach the debugger).", process.pid));
        found.push(finding);
    }
}

fn all_stopped(read: &Read<'_>, bound: &SocketAddr) -> bool {
    let mut holders = read.window.after.processes.iter().filter(|process| process.listens.contains(bound));
    holders.all(is_stopped)
}

fn listeners<'a>(read: &'a Read<'_>, bound: &'a [&SocketAddr]) -> impl Iterator<Item = &'a ListenerSample> {
    read.window.after.listeners.iter().filter(move |listener| bound.contains(&&listener.bound))
}

/// No CPU left, and connections wait for it: alone neither says anything.
fn starved(read: &Read<'_>, found: &mut Vec<Finding>) {
    for process in read.window.after.processes.iter().filter(|process| !is_stopped(process)) {
        let name = called(process);
        let busy = read.of("process.cpu", &name).filter(|reading| reading.percent.is_some_and(|percent| percent >= BUSY));
        let waits = read.of("process.cpu-wait", &name).filter(|reading| reading.state >= State::Warn);
        let bound: Vec<&SocketAddr> = process.listens.iter().collect();
        let crowded = listeners(read, &bound).any(|listener| {
            let then = read.window.listener_before(listener);
            listener.waiting >= 2 && then.is_some_and(|then| then.waiting >= 2)
        });
        let Some(reading) = waits.or(busy).filter(|_| crowded) else { continue };
        let words = format!("{}, while connections wait to be accepted.", reading.text);
        let finding = Finding::new("l7.service-slow", Severity::Warn, &name, words);
        found.push(finding.citing(waits).citing(busy));
    }
}
