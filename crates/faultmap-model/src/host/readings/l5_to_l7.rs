//! Layers 5 to 7 of this host: how long conversations live, certificates of our own, and the programs that listen.

use super::super::reading::{Kind, NOT_KNOWN, Reading, State, Threshold, Unit};
use super::super::sample::ProcessSample;
use super::super::window::{Window, float};
use super::{OBJECTS_MAX, percent_text};
use crate::Layer::{L5, L6, L7};

/// What `l6.cert-expiring-soon` says.
pub(in crate::host) const EXPIRES_SOON_DAYS: f64 = 14.0;

pub(super) fn read(window: &Window<'_>, found: &mut Vec<Reading>) {
    sessions(window, found);
    certificates(window, found);
    for process in window.after.processes.iter().take(OBJECTS_MAX) {
        found.push(state(process));
        found.extend(cpu(window, process));
        found.extend(waits(window, process));
    }
    host_cpu(window, found);
}

fn sessions(window: &Window<'_>, found: &mut Vec<Reading>) {
    let Some(tcp) = &window.after.tcp else { return };
    let established = tcp.states.get("ESTABLISHED").copied().unwrap_or(0);
    let open = Reading::new(L5, "session.established", "", Kind::Info, Unit::Count).filled(Some(float(established)), None);
    found.push(open.saying(format!("{established} connections are open, {} of them silent for an hour", tcp.idle_hour)));

    let new = window.rises(&["Tcp.ActiveOpens", "Tcp.PassiveOpens"]);
    let rate = window.per_second(new);
    let words =
        rate.map_or_else(|| NOT_KNOWN.to_owned(), |rate| format!("{rate:.1} new connections a second beside {established} open ones"));
    found.push(
        Reading::new(L5, "session.new", "", Kind::Info, Unit::Count)
            .rising(new.map(float), rate, window.totals(&["Tcp.ActiveOpens", "Tcp.PassiveOpens"]).map(float))
            .saying(words),
    );

    for (place, count) in &tcp.close_wait {
        let before = window.before.tcp.as_ref().and_then(|then| then.close_wait.get(place)).copied().unwrap_or(0);
        let lasting = (*count).min(before);
        let reading = Reading::new(L5, "session.close-wait", place, Kind::Saturation, Unit::Count)
            .filled(Some(float(lasting)), None)
            .against(Threshold::value(Some(100.0), None, "faultmap"));
        found.push(reading.saying(format!("{place}: {count} connections that the peer closed and the program here did not")));
    }
}

fn certificates(window: &Window<'_>, found: &mut Vec<Reading>) {
    let Some(certificates) = &window.after.certificates else {
        found.push(
            Reading::new(L6, "certificate.validity", "", Kind::Info, Unit::Seconds).saying("not looked at: that takes a TLS handshake"),
        );
        return;
    };
    for certificate in certificates.iter().take(OBJECTS_MAX) {
        let left = seconds_left(window, certificate.not_after_unix_s);
        let mut reading = Reading::new(L6, "certificate.validity", certificate.listener.to_string(), Kind::Errors, Unit::Seconds);
        reading.value = Some(left);
        reading.state = match left {
            left if left <= 0.0 => State::Crit,
            left if left < EXPIRES_SOON_DAYS * 86_400.0 => State::Warn,
            _ => State::Ok,
        };
        let days = left / 86_400.0;
        found.push(
            reading
                .saying(format!("{}: the certificate of {} is valid for {days:.0} days more", certificate.listener, certificate.subject)),
        );
    }
}

/// Seconds until a certificate ends; negative when it has.
#[allow(clippy::cast_precision_loss, reason = "seconds of this millennium fit")]
pub(in crate::host) fn seconds_left(window: &Window<'_>, not_after_unix_s: i64) -> f64 {
    not_after_unix_s as f64 - float(window.after.unix_ms) / 1000.0
}

/// The name by which readings and findings call a process.
pub(in crate::host) fn called(process: &ProcessSample) -> String {
    format!("{}[{}]", process.program, process.pid)
}

/// Stopped by a signal or a debugger.
pub(in crate::host) fn is_stopped(process: &ProcessSample) -> bool {
    matches!(process.state, 'T' | 't')
}

fn state(process: &ProcessSample) -> Reading {
    let name = called(process);
    let mut reading = Reading::new(L7, "process.state", &name, Kind::Errors, Unit::Count);
    reading.value = Some(if is_stopped(process) { 1.0 } else { 0.0 });
    reading.state = if is_stopped(process) { State::Crit } else { State::Ok };
    let word = match process.state {
        'T' => "stopped by a signal",
        't' => "stopped by a debugger",
        'D' => "waiting for a disk",
        'Z' => "dead, not yet buried",
        'R' => "running",
        _ => "waiting for work",
    };
    reading.saying(format!("{name} is {word}"))
}

fn before<'a>(window: &Window<'a>, process: &ProcessSample) -> Option<&'a ProcessSample> {
    window.before.processes.iter().find(|then| then.pid == process.pid && then.program == process.program)
}

/// CPU time against what its threads could have had.
fn cpu(window: &Window<'_>, process: &ProcessSample) -> Option<Reading> {
    let cpus = window.after.cpu.map_or(1, |cpu| u64::from(cpu.cpus.max(1)));
    let most = process.threads.clamp(1, cpus);
    let rise = window.rise_of(before(window, process)?.cpu_ms, process.cpu_ms)?;
    let seconds = window.seconds?;
    let name = called(process);
    // Ticks are coarse: a rise may belong to the tick before the interval.
    let ran = float(rise).min(seconds * 1000.0 * float(most));
    let reading =
        Reading::new(L7, "process.cpu", &name, Kind::Utilisation, Unit::Ms).filled(Some(ran), Some(seconds * 1000.0 * float(most)));
    let share = percent_text(reading.percent.unwrap_or_default());
    Some(reading.saying(format!("{name} used {share} of the CPU time that its {} threads could have", process.threads)))
}

/// Time that its main thread was ready and had no CPU.
fn waits(window: &Window<'_>, process: &ProcessSample) -> Option<Reading> {
    let rise = window.rise_of(before(window, process)?.waited_ns, process.waited_ns)?;
    let share = float(rise) / 1e9 / window.seconds? * 100.0;
    let name = called(process);
    let mut reading = Reading::new(L7, "process.cpu-wait", &name, Kind::Saturation, Unit::Percent);
    (reading.value, reading.percent) = (Some(share.min(100.0)), Some(share.min(100.0)));
    let reading = reading.against(Threshold::percent(50.0, 90.0, "faultmap")).at_most_warn();
    Some(reading.saying(format!("{name} was ready and waited for a CPU {} of the time", percent_text(share.min(100.0)))))
}

/// CPU, steal and pressure, of the whole host.
fn host_cpu(window: &Window<'_>, found: &mut Vec<Reading>) {
    if let (Some(then), Some(now)) = (window.before.cpu, window.after.cpu) {
        let all = window.rise_of(Some(then.total), Some(now.total)).filter(|all| *all > 0).map(float);
        let share = |then: u64, now: u64| Some(float(now.checked_sub(then)?) / all? * 100.0);
        let busy = share(then.idle, now.idle).map(|idle| (100.0 - idle).clamp(0.0, 100.0));
        for (id, kind, value, words) in [
            ("cpu.busy", Kind::Utilisation, busy, "of the host's CPU time is used"),
            ("cpu.steal", Kind::Saturation, share(then.steal, now.steal), "of the host's CPU time was taken by the hypervisor"),
            ("cpu.softirq", Kind::Info, share(then.softirq, now.softirq), "of the host's CPU time went into soft interrupts"),
        ] {
            let mut reading = Reading::new(L7, id, "", kind, Unit::Percent).filled(value, Some(100.0));
            reading.percent = value;
            let words = value.map_or_else(|| NOT_KNOWN.to_owned(), |value| format!("{} {words}", percent_text(value)));
            found.push(reading.saying(words));
        }
    }
    for (resource, now) in &window.after.pressure {
        let rise = window.before.pressure.get(resource).and_then(|then| window.rise_of(Some(then.some_us), Some(now.some_us)));
        let share = window.per_second(rise).map(|us| (us / 1e4).min(100.0));
        let mut reading = Reading::new(L7, "pressure", resource, Kind::Saturation, Unit::Percent);
        (reading.value, reading.percent) = (share, share);
        reading.state = if share.is_some() { State::Ok } else { State::Unknown };
        let words = share
            .map_or_else(|| NOT_KNOWN.to_owned(), |share| format!("some task waited for {resource} {} of the time", percent_text(share)));
        found.push(reading.saying(words));
    }
}
