//! Layer 4, what flows: segments sent again, peers that do not read, UDP buffers that overflow.

use super::super::advice;
use super::super::reading::State;
use super::super::readings::l4::udp_drops;
use super::super::window::{Window, float};
use super::{Finding, Read, Severity};

pub(super) fn look(read: &Read<'_>, found: &mut Vec<Finding>) {
    found.extend(retransmissions(read));
    found.extend(zero_window(read));
    found.extend(udp(read));
}

fn retransmissions(read: &Read<'_>) -> Option<Finding> {
    let reading = read.one("tcp.retransmits")?;
    let backing_off = read.one("tcp.backing-off");
    if reading.state >= State::Warn {
        let severity = if reading.state == State::Crit { Severity::Crit } else { Severity::Warn };
        let words = format!("TCP repairs heavy loss: {}.", reading.text);
        let mut finding = Finding::new("l4.retransmissions", severity, "", words).losing().citing([reading]);
        finding.percent = None;
        return Some(finding);
    }
    // Too few segments for a share, because nothing gets through at all.
    let stuck = |window: &Window<'_>, sample: fn(&Window<'_>) -> Option<(u64, u64)>| sample(window);
    let now = stuck(read.window, |window| window.after.tcp.as_ref().map(|tcp| (tcp.backing_off, tcp.established_remote)))?;
    let then = stuck(read.window, |window| window.before.tcp.as_ref().map(|tcp| (tcp.backing_off, tcp.established_remote)))?;
    let heavy = |(stuck, all): (u64, u64)| stuck >= 3 && stuck.saturating_mul(2) >= all;
    if !heavy(now) || !heavy(then) {
        return None;
    }
    let words = format!("{} of {} connections to other hosts get no acknowledgement and wait ever longer to send again.", now.0, now.1);
    let mut finding = Finding::new("l4.retransmissions", Severity::Warn, "", words).losing().citing(backing_off);
    finding.percent = None;
    Some(finding)
}

/// Peers that read nothing over the whole interval; one paused download is no fault of this host.
fn zero_window(read: &Read<'_>) -> Option<Finding> {
    let (then, now) = (read.window.before.tcp.as_ref()?, read.window.after.tcp.as_ref()?);
    let established = now.states.get("ESTABLISHED").copied().unwrap_or(0);
    let closed = now.zero_window.min(then.zero_window);
    let many = closed >= 3 && closed.saturating_mul(10) >= established;
    let most = closed >= 1 && closed.saturating_mul(2) >= established;
    if !many && !most {
        return None;
    }
    let example = now.stuck.iter().find(|socket| socket.zero_window);
    let to = example.map(|socket| format!(", such as {}", socket.remote)).unwrap_or_default();
    let words = format!("{closed} of {established} connections may not send: their peers read nothing{to}.");
    let mut finding = Finding::new("l4.zero-window", Severity::Warn, "", words).citing(read.one("tcp.zero-window"));
    finding.percent = None;
    Some(finding)
}

fn udp(read: &Read<'_>) -> Option<Finding> {
    let received = read.one("udp.receive-buffer-errors").filter(|reading| reading.state >= State::Warn);
    if let Some(reading) = received {
        let sockets = read.window.after.udp.as_ref().map(|udp| udp.worst.as_slice()).unwrap_or_default();
        let worst = sockets.iter().max_by_key(|socket| udp_drops(read.window, socket).unwrap_or(0));
        let worst = worst.filter(|socket| udp_drops(read.window, socket).unwrap_or(0) > 0);
        let object = worst.map(|socket| socket.bound.to_string()).unwrap_or_default();
        let lost = reading.value.unwrap_or_default();
        let all = read.window.rises(&["Udp.InDatagrams", "Udp6.InDatagrams"]).map(float).unwrap_or_default() + lost;
        let severity = if lost >= all / 10.0 { Severity::Crit } else { Severity::Warn };
        let who = worst.map(|socket| {
            format!(" at {}{}", socket.bound, socket.program.as_deref().map(|name| format!(" ({name})")).unwrap_or_default())
        });
        let words = format!("A UDP socket{} is read too slowly: {}.", who.unwrap_or_default(), reading.text);
        let buffer = read.of("udp.receive-buffer", &object);
        let finding = Finding::new("l4.udp-buffer-full", severity, object, words).losing().citing([reading]).citing(buffer);
        return Some(finding.advised(advice::rmem(read.window)));
    }
    let sent = read.one("udp.send-buffer-errors").filter(|reading| reading.state >= State::Warn)?;
    let words = format!("{}.", sent.text);
    Some(Finding::new("l4.udp-buffer-full", Severity::Warn, "", words).losing().citing([sent]))
}
