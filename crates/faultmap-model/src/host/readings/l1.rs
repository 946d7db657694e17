//! Layer 1 of this host: how full each link is, what it lost, its rings and queues, and the CPUs that take frames in.

use super::super::reading::{Kind, NOT_KNOWN, Reading, State, Threshold, Unit};
use super::super::sample::LinkSample;
use super::super::window::{Window, float};
use super::{OBJECTS_MAX, percent_text};
use crate::Layer::L1;

/// What a driver counts when a frame came and found no room: ring full, FIFO overrun.
pub(in crate::host) const RX_OVERRUNS: [&str; 3] = ["rx_fifo_errors", "rx_over_errors", "rx_missed_errors"];
/// Frames that arrived damaged.
pub(in crate::host) const RX_DAMAGED: [&str; 2] = ["rx_crc_errors", "rx_frame_errors"];
/// Above this share of its "line rate" the rate is not the link's real bound: some emulated cards name one at random.
const BEYOND: f64 = 105.0;
/// Frames below which a share of them says nothing.
const FRAMES_MIN: u64 = 100;

pub(super) fn read(window: &Window<'_>, found: &mut Vec<Reading>) {
    for link in shown(window) {
        found.push(utilisation(window, link));
        found.push(carrier(window, link));
        if link.link.up {
            found.push(errors(window, link));
            found.push(drops(window, link));
            found.push(overruns(window, link));
            found.extend(queue(window, link));
            found.extend(ring(link));
        }
    }
    softnet(window, found);
}

/// Links that somebody could miss: with a road or an address, or hardware. Ends of containers' pairs come after them.
fn shown<'a>(window: &Window<'a>) -> Vec<&'a LinkSample> {
    let mut links: Vec<&LinkSample> = window.after.links.iter().filter(|link| !link.link.loopback).collect();
    links.sort_by_key(|link| (!is_used(link), link.kind.is_some(), link.link.index));
    links.truncate(OBJECTS_MAX);
    links
}

/// A route or an address of ours is on it.
pub(in crate::host) fn is_used(link: &LinkSample) -> bool {
    link.gateway_routes > 0 || link.link.on_path || !link.link.addresses.is_empty()
}

/// The rate that bounds the link, bits a second, for what is received and for what is sent.
///
/// Virtual links name a speed that bounds nothing (`veth` always 10 Gbit/s; `tun` 10 Mbit/s or 10 Gbit/s unless somebody
/// set another), but a shaper on any link does.
pub(in crate::host) fn capacity_bps(link: &LinkSample) -> (Option<f64>, Option<f64>) {
    let named = link.link.speed_mbps.filter(|mbps| *mbps > 0);
    let real = match link.kind.as_deref() {
        None | Some("bond" | "team") => true,
        Some("tun") => named.is_some_and(|mbps| mbps != 10 && mbps != 10_000),
        Some(_) => false,
    };
    let line = named.filter(|_| real).map(|mbps| f64::from(mbps) * 1e6);
    let shaped = link.shaped_bps.filter(|bps| *bps > 0).map(float);
    let sent = match (line, shaped) {
        (Some(line), Some(shaped)) => Some(line.min(shaped)),
        (line, shaped) => line.or(shaped),
    };
    (line, sent)
}

fn utilisation(window: &Window<'_>, link: &LinkSample) -> Reading {
    let name = &link.link.iface;
    let reading = Reading::new(L1, "link.utilisation", name, Kind::Utilisation, Unit::BitsPerSecond);
    let bps = |counter: &str| window.per_second(window.link_rise(link, &[counter])).map(|bytes| bytes * 8.0);
    let (received, sent) = (bps("rx_bytes"), bps("tx_bytes"));
    let (in_capacity, out_capacity) = capacity_bps(link);
    let ways = [(received, in_capacity, "receives"), (sent, out_capacity, "sends")];
    let share = |rate: f64, capacity: f64| rate / capacity * 100.0;
    let fullest = ways
        .into_iter()
        .filter_map(|(rate, capacity, way)| Some((rate?, capacity?, way)))
        .max_by(|one, other| share(one.0, one.1).total_cmp(&share(other.0, other.1)));
    let Some((rate, capacity, way)) = fullest else {
        let rate = received.zip(sent).map(|(one, other)| one.max(other)).or(received).or(sent);
        let why = if rate.is_none() { "two samples are needed" } else { "no speed is known for it" };
        let mut reading = reading.saying(format!("{name}: how full it is cannot be told, {why}"));
        reading.value = rate;
        return reading;
    };
    let mut reading = reading.filled(Some(rate), Some(capacity));
    if reading.percent.is_none_or(|percent| percent > BEYOND) {
        (reading.percent, reading.limit, reading.state) = (None, None, State::Unknown);
        return reading.saying(format!("{name} moves more than its named {} Mbit/s: that speed is not its bound", capacity / 1e6));
    }
    let share = percent_text(reading.percent.unwrap_or_default());
    reading.against(Threshold::percent(90.0, 98.0, "Netdata (90), faultmap (98)")).saying(format!(
        "{name} {way} {:.1} of {} Mbit/s: {share}",
        rate / 1e6,
        capacity / 1e6
    ))
}

/// Carrier: 1 there, 0 gone; changes within the interval as the rate.
fn carrier(window: &Window<'_>, link: &LinkSample) -> Reading {
    let name = &link.link.iface;
    let changes = window.link_before(link).and_then(|then| window.rise_of(then.carrier_changes, link.carrier_changes));
    let mut reading = Reading::new(L1, "link.carrier", name, Kind::Errors, Unit::Count).rising(
        changes.map(float),
        window.per_second(changes),
        link.carrier_changes.map(float),
    );
    // An unused port without a cable, or a bridge without members, is no fault.
    let gone = link.link.carrier == Some(false) || !link.link.up;
    reading.state = match () {
        () if gone && link.gateway_routes > 0 => State::Crit,
        () if gone || link.link.carrier == Some(true) => State::Ok,
        () => State::Unknown,
    };
    let word = match (link.link.up, link.link.carrier) {
        (false, _) => "switched off",
        (true, Some(false)) => "without carrier",
        (true, Some(true)) => "carrier present",
        (true, None) => "carrier not known",
    };
    let flaps = changes.filter(|changes| *changes > 0).map(|changes| format!(", {changes} changes")).unwrap_or_default();
    reading.saying(format!("{name}: {word}{flaps}"))
}

fn frames(window: &Window<'_>, link: &LinkSample, way: &str) -> u64 {
    window.link_rise(link, &[way]).unwrap_or(0)
}

/// Errors as a share of all frames; damaged ones are told apart.
fn errors(window: &Window<'_>, link: &LinkSample) -> Reading {
    let name = &link.link.iface;
    let rise = window.link_rise(link, &["rx_errors", "tx_errors"]);
    let total = link.stats.get("rx_errors").zip(link.stats.get("tx_errors")).map(|(rx, tx)| rx.saturating_add(*tx));
    let all = frames(window, link, "rx_packets").saturating_add(frames(window, link, "tx_packets"));
    let mut reading =
        Reading::new(L1, "link.errors", name, Kind::Errors, Unit::Count).rising(rise.map(float), window.per_second(rise), total.map(float));
    reading.percent = rise.and_then(|rise| super::super::reading::share(float(rise), float(rise.saturating_add(all))));
    let damaged = window.link_rise(link, &RX_DAMAGED).unwrap_or(0);
    let text = match rise {
        Some(rise) if damaged > 0 => format!("{name}: {rise} errors, {damaged} of them damaged frames"),
        Some(rise) => format!("{name}: {rise} errors"),
        None => format!("{name}: not known"),
    };
    judged_by_share(reading, Threshold::percent(1.0, 10.0, "node_exporter mixin (1)"), rise).saying(text)
}

/// Frames dropped on sending, by the driver or by its queue. What is dropped on receiving is told too, and never judged:
/// the kernel counts frames of unknown protocols there.
fn drops(window: &Window<'_>, link: &LinkSample) -> Reading {
    let name = &link.link.iface;
    let dropped = window.link_rise(link, &["tx_dropped"]);
    let sent = frames(window, link, "tx_packets");
    let mut reading = Reading::new(L1, "link.tx-drops", name, Kind::Saturation, Unit::Count).rising(
        dropped.map(float),
        window.per_second(dropped),
        link.stats.get("tx_dropped").copied().map(float),
    );
    reading.percent = dropped.and_then(|lost| super::super::reading::share(float(lost), float(lost.saturating_add(sent))));
    let ignored = window.link_rise(link, &["rx_dropped"]).unwrap_or(0);
    let text = dropped.map_or_else(
        || format!("{name}: not known"),
        |lost| format!("{name}: {lost} frames dropped on sending, {ignored} ignored or dropped on receiving"),
    );
    judged_by_share(reading, Threshold::percent(2.0, 10.0, "Netdata (2)"), dropped).saying(text)
}

/// Frames that found the ring full.
fn overruns(window: &Window<'_>, link: &LinkSample) -> Reading {
    let name = &link.link.iface;
    let lost = window.link_rise(link, &RX_OVERRUNS);
    let total = RX_OVERRUNS.iter().filter_map(|counter| link.stats.get(*counter)).fold(0_u64, |sum, value| sum.saturating_add(*value));
    let received = frames(window, link, "rx_packets");
    let mut reading = Reading::new(L1, "link.rx-overruns", name, Kind::Saturation, Unit::Count).rising(
        lost.map(float),
        window.per_second(lost),
        Some(float(total)),
    );
    reading.percent = lost.and_then(|lost| super::super::reading::share(float(lost), float(lost.saturating_add(received))));
    let text = lost.map_or_else(|| format!("{name}: not known"), |lost| format!("{name}: {lost} frames found the receive ring full"));
    judged_by_share(reading, Threshold::percent(0.1, 2.0, "faultmap"), lost).saying(text)
}

/// A share of few frames says nothing.
fn judged_by_share(reading: Reading, threshold: Threshold, events: Option<u64>) -> Reading {
    let events = events.unwrap_or(0);
    let all = reading.percent.map_or(0.0, |percent| if percent > 0.0 { float(events) * 100.0 / percent } else { 0.0 });
    let few = events < 10 || all < float(FRAMES_MIN);
    let known = reading.value.is_some();
    let judged = reading.against(threshold).unless(few);
    // No frames at all and no errors: nothing is wrong, though there is no share.
    if known && judged.state == State::Unknown { Reading { state: State::Ok, ..judged } } else { judged }
}

/// The root queue: what waits in it, against its length where that is the whole story, and what it dropped.
fn queue(window: &Window<'_>, link: &LinkSample) -> Vec<Reading> {
    let name = &link.link.iface;
    let kind = link.qdisc.as_deref().unwrap_or("none");
    let dropped = window.link_before(link).and_then(|then| window.rise_of(then.qdisc_drops, link.qdisc_drops));
    let Some(total) = link.qdisc_drops else { return Vec::new() };
    let sent = frames(window, link, "tx_packets");
    let mut lost = Reading::new(L1, "qdisc.drops", name, Kind::Saturation, Unit::Count).rising(
        dropped.map(float),
        window.per_second(dropped),
        Some(float(total)),
    );
    lost.percent = dropped.and_then(|lost| super::super::reading::share(float(lost), float(lost.saturating_add(sent))));
    let text = dropped.map_or_else(|| format!("{name}: not known"), |lost| format!("{name}: its queue ({kind}) dropped {lost} packets"));
    let lost = judged_by_share(lost, Threshold::percent(2.0, 10.0, "Netdata (2)"), dropped).saying(text);

    let plain = matches!(kind, "pfifo_fast" | "pfifo");
    let limit = link.tx_queue_len.filter(|_| plain).map(float);
    let waiting = Reading::new(L1, "qdisc.queued", name, if plain { Kind::Utilisation } else { Kind::Info }, Unit::Count)
        .filled(link.qdisc_queued.map(float), limit)
        .saying(format!("{name}: {} packets wait in its queue ({kind})", link.qdisc_queued.unwrap_or(0)));
    vec![lost, waiting]
}

fn ring(link: &LinkSample) -> Option<Reading> {
    let ring = link.ring.filter(|ring| ring.rx_max > 0)?;
    let (now, most) = (f64::from(ring.rx), f64::from(ring.rx_max));
    let mut reading = Reading::new(L1, "link.ring", &link.link.iface, Kind::Info, Unit::Count).filled(Some(now), Some(most));
    reading.percent = None;
    let words =
        format!("{}: receive ring of {} of at most {}, send ring of {} of {}", link.link.iface, ring.rx, ring.rx_max, ring.tx, ring.tx_max);
    Some(reading.saying(words))
}

/// The CPUs' own queues, of the whole host.
fn softnet(window: &Window<'_>, found: &mut Vec<Reading>) {
    if window.after.softnet.is_empty() {
        return;
    }
    type Pick = fn(&super::super::sample::SoftnetCpu) -> u64;
    let sum = |cpus: &[super::super::sample::SoftnetCpu], pick: Pick| cpus.iter().map(pick).fold(0_u64, u64::saturating_add);
    let same_cpus = window.before.softnet.len() == window.after.softnet.len();
    let rise = |pick: Pick| {
        let (then, now) = (sum(&window.before.softnet, pick), sum(&window.after.softnet, pick));
        window.rise_of(Some(then).filter(|_| same_cpus), Some(now))
    };
    let rows: [(&'static str, Pick, &str, bool); 2] = [
        ("softnet.dropped", |cpu| cpu.dropped, "packets dropped because a CPU's backlog was full", true),
        ("softnet.squeezed", |cpu| cpu.squeezed, "times the time to receive ran out before the packets", false),
    ];
    for (id, pick, words, judged) in rows {
        let rise = rise(pick);
        let total = float(sum(&window.after.softnet, pick));
        let text = rise.map_or_else(|| NOT_KNOWN.to_owned(), |rise| format!("{rise} {words}"));
        let reading = Reading::new(L1, id, "", Kind::Saturation, Unit::Count).rising(rise.map(float), window.per_second(rise), Some(total));
        // Squeezes happen on every busy host; what is lost by them shows as drops.
        let reading = if judged { reading.against(Threshold::per_second(Some(10.0), None, "Netdata")) } else { reading };
        found.push(reading.saying(text));
    }
    let deepest = window.after.softnet.iter().filter_map(|cpu| cpu.queued).max();
    let limit = window.sysctl("net.core.netdev_max_backlog");
    if let Some(deepest) = deepest {
        let reading =
            Reading::new(L1, "softnet.backlog", "", Kind::Utilisation, Unit::Count).filled(Some(float(deepest)), limit.map(float));
        found.push(reading.saying(format!("{deepest} packets wait in the fullest CPU's backlog")));
    }
}
