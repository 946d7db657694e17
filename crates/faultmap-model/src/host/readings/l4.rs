//! Layer 4 of this host, what flows: listen overflows, half-open connections, retransmits, resets, windows, UDP buffers.

use super::super::reading::{Kind, NOT_KNOWN, Reading, State, Threshold, Unit};
use super::super::sample::UdpSocketSample;
use super::super::window::{Window, float};
use super::{Counted, percent_text};
use crate::Layer::L4;

/// Segments a second below which a share of retransmits says nothing.
pub(in crate::host) const SEGMENTS_MIN: f64 = 100.0;
/// Retransmits that it takes.
pub(in crate::host) const RETRANSMITS_MIN: u64 = 20;

pub(super) fn read(window: &Window<'_>, found: &mut Vec<Reading>) {
    for counted in counters() {
        found.push(counted.read(window));
    }
    found.push(retransmits(window));
    sockets(window, found);
    udp_sockets(window, found);
}

/// Name of the reading, its counters, its sentence.
type Row = (&'static str, &'static [&'static str], &'static str);

/// Told, and never judged by themselves: resets come with every port scan, and listen drops have many causes.
const TOLD: [Row; 5] = [
    ("tcp.listen-drops", &["TcpExt.ListenDrops"], "{n} connections turned away by listeners, for any reason"),
    ("tcp.resets-sent", &["Tcp.OutRsts"], "{n} resets sent"),
    ("tcp.resets-received", &["Tcp.EstabResets"], "{n} established connections reset"),
    ("tcp.connects-failed", &["Tcp.AttemptFails"], "{n} connects failed"),
    ("tcp.window-closed", &["TcpExt.TCPToZeroWindowAdv"], "{n} times we told a peer to stop sending: a program here does not read"),
];

/// Damage that only the checksum shows.
const CHECKSUMS: Row = (
    "tcp.checksum-errors",
    &["Tcp.InCsumErrors", "Udp.InCsumErrors", "Icmp.InCsumErrors", "IpExt.InCsumErrors", "Udp6.InCsumErrors", "Icmp6.InCsumErrors"],
    "{n} packets with a wrong checksum",
);

/// Somebody was turned away: from so many a second at risk, from so many at fault.
const TURNED_AWAY: [(Row, f64, Option<f64>); 7] = [
    (("tcp.listen-overflows", &["TcpExt.ListenOverflows"], "{n} connections found an accept queue full"), 1.0, Some(5.0)),
    (("tcp.syn-drops", &["TcpExt.TCPReqQFullDrop"], "{n} SYNs dropped because a SYN backlog was full"), 1.0, Some(5.0)),
    (("tcp.syn-cookies", &["TcpExt.TCPReqQFullDoCookies"], "{n} SYNs answered by cookie because a SYN backlog was full"), 1.0, Some(5.0)),
    (("tcp.time-wait-overflows", &["TcpExt.TCPTimeWaitOverflow"], "{n} connections closed without TIME_WAIT for want of room"), 5.0, None),
    (("tcp.aborts-on-memory", &["TcpExt.TCPAbortOnMemory"], "{n} connections reset for want of memory or orphans"), 1.0, Some(10.0)),
    (
        (
            "udp.receive-buffer-errors",
            &["Udp.RcvbufErrors", "Udp6.RcvbufErrors"],
            "{n} datagrams dropped because a socket's buffer was full",
        ),
        10.0,
        None,
    ),
    (("udp.send-buffer-errors", &["Udp.SndbufErrors", "Udp6.SndbufErrors"], "{n} datagrams not sent for want of buffer"), 10.0, None),
];

fn counters() -> impl Iterator<Item = Counted> {
    let row = |(id, names, text): Row, kind, threshold| Counted { layer: L4, id, names, kind, text, threshold };
    let turned_away = TURNED_AWAY
        .into_iter()
        .map(move |(own, warn, crit)| row(own, Kind::Saturation, Some(Threshold::per_second(Some(warn), crit, "Netdata"))));
    let told = TOLD.into_iter().map(move |own| row(own, Kind::Info, None));
    turned_away.chain(told).chain([row(CHECKSUMS, Kind::Errors, None)])
}

/// Retransmits of data as a share of what was sent; repeated SYNs (to hosts that are gone) are left out.
fn retransmits(window: &Window<'_>) -> Reading {
    let again = window.rise("Tcp.RetransSegs").map(|all| all.saturating_sub(window.rise("TcpExt.TCPSynRetrans").unwrap_or(0)));
    let sent = window.rise("Tcp.OutSegs");
    let mut reading = Reading::new(L4, "tcp.retransmits", "", Kind::Errors, Unit::Count).rising(
        again.map(float),
        window.per_second(again),
        window.after.counters.get("Tcp.RetransSegs").copied().map(float),
    );
    reading.percent = again.zip(sent).and_then(|(again, sent)| super::super::reading::share(float(again), float(sent.max(again))));
    let few = window.per_second(sent).unwrap_or(0.0) < SEGMENTS_MIN || again.unwrap_or(0) < RETRANSMITS_MIN;
    let known = again.is_some();
    let share = reading.percent.map(|percent| format!(", {} of what was sent", percent_text(percent))).unwrap_or_default();
    let words = again.map_or_else(|| NOT_KNOWN.to_owned(), |again| format!("{again} segments sent again{share}"));
    let judged = reading.against(Threshold::percent(3.0, 10.0, "faultmap, after Tivoli (3)")).unless(few).saying(words);
    // Nothing sent, nothing sent again.
    if known && judged.state == State::Unknown { Reading { state: State::Ok, ..judged } } else { judged }
}

fn sockets(window: &Window<'_>, found: &mut Vec<Reading>) {
    let Some(tcp) = &window.after.tcp else { return };
    let established = tcp.states.get("ESTABLISHED").copied().unwrap_or(0);
    for (id, count, words) in [
        ("tcp.backing-off", tcp.backing_off, "wait with growing pauses for an acknowledgement"),
        ("tcp.zero-window", tcp.zero_window, "may not send: their peer reads nothing"),
        ("tcp.unread", tcp.unread, "hold bytes that no program has read"),
    ] {
        let mut reading = Reading::new(L4, id, "", Kind::Info, Unit::Count).filled(Some(float(count)), None);
        reading.percent = super::super::reading::share(float(count), float(established));
        found.push(reading.saying(format!("{count} of {established} connections {words}")));
    }
}

fn udp_sockets(window: &Window<'_>, found: &mut Vec<Reading>) {
    let Some(udp) = &window.after.udp else { return };
    for socket in udp.worst.iter().take(16) {
        let rise = udp_drops(window, socket);
        let who = socket.program.as_deref().map(|program| format!(" ({program})")).unwrap_or_default();
        let words = format!(
            "{}{who}: {} of {} bytes of buffer in use, {} datagrams dropped",
            socket.bound,
            socket.receive_used,
            socket.receive_limit,
            rise.map_or_else(|| "unknown".to_owned(), |rise| rise.to_string())
        );
        let mut reading = Reading::new(L4, "udp.receive-buffer", socket.bound.to_string(), Kind::Utilisation, Unit::Bytes)
            .filled(Some(float(socket.receive_used)), Some(float(socket.receive_limit)))
            .saying(words);
        (reading.per_second, reading.total) = (window.per_second(rise), Some(float(socket.drops)));
        found.push(reading);
    }
}

/// Datagrams that one socket dropped within the interval.
pub(in crate::host) fn udp_drops(window: &Window<'_>, socket: &UdpSocketSample) -> Option<u64> {
    let before = window.before.udp.as_ref()?;
    let then = before.worst.iter().find(|then| then.inode == socket.inode && then.bound == socket.bound);
    // Only sockets that dropped or fill are kept: one that was not among them had dropped nothing.
    let then = then.map(|then| then.drops).or((before.worst.len() < WORST_KEPT).then_some(0).filter(|_| before.sockets > 0))?;
    window.rise_of(Some(then), Some(socket.drops))
}

/// UDP sockets that a sample keeps; with fewer, the others had nothing to tell.
const WORST_KEPT: usize = 64;
