//! The wiring as pure logic: frames and times go in (`handle_*`), deliveries come out (`poll_*`).
//! No clock, no socket, no thread: those are the engine's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::impairment::Impairment;
use super::link::{Direction, LinkStats, WayStats};
use super::middlebox::{Emit, Middlebox, Pass};
use super::queue::Queue;
use super::rng::Rng;
use super::switch::SwitchState;

/// Frames of one direction under way at once before the lab gives up and counts an overrun.
const IN_FLIGHT_LIMIT: usize = 50_000;
/// Frames that boxes may make of one frame.
const EMIT_LIMIT: usize = 64;
const ETHERNET_HEADER: usize = 14;

/// What a cable is plugged into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A host's interface, by the number of its port.
    Port(usize),
    /// A switch, by its number.
    Switch(usize),
}

/// A frame that has arrived at a host's interface.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) port: usize,
    pub(super) frame: Vec<u8>,
    pub(super) link: usize,
    pub(super) direction: Direction,
}

#[derive(Debug)]
struct Way {
    impairment: Impairment,
    stats: WayStats,
    in_flight: usize,
    /// When the last frame in order is due; jitter must not overtake it.
    last_due: Option<Instant>,
    /// When each frame waiting for a rate-limited line will have left it.
    departures: VecDeque<Instant>,
    rng: Rng,
}

#[derive(Debug)]
struct Wire {
    ends: [End; 2],
    ways: [Way; 2],
    boxes: Vec<Box<dyn Middlebox>>,
    carrier: bool,
}

#[derive(Debug, Default)]
pub(super) struct Core {
    wires: Vec<Wire>,
    switches: Vec<SwitchState>,
    /// Per port, its cable and the direction in which its frames leave.
    ports: Vec<Option<(usize, Direction)>>,
    queue: Queue,
}

impl Core {
    pub(super) fn add_switch(&mut self) -> usize {
        self.switches.push(SwitchState::default());
        self.switches.len() - 1
    }

    pub(super) fn add_link(&mut self, ends: [End; 2], impairment: &Impairment) -> usize {
        let id = self.wires.len();
        for (direction, end) in Direction::BOTH.into_iter().zip(ends) {
            match end {
                End::Port(port) => {
                    self.ports.resize((port + 1).max(self.ports.len()), None);
                    if let Some(slot) = self.ports.get_mut(port) {
                        *slot = Some((id, direction));
                    }
                }
                End::Switch(switch) => {
                    if let Some(switch) = self.switches.get_mut(switch) {
                        switch.ports.push(id);
                    }
                }
            }
        }
        let way = |salt: u64| Way {
            impairment: impairment.clone(),
            stats: WayStats::default(),
            in_flight: 0,
            last_due: None,
            departures: VecDeque::new(),
            rng: Rng::seeded(id as u64 * 2 + salt + 1),
        };
        self.wires.push(Wire { ends, ways: [way(0), way(1)], boxes: Vec::new(), carrier: true });
        id
    }

    /// A frame that a host put on its end of a cable.
    pub(super) fn handle_frame(&mut self, port: usize, frame: Vec<u8>, now: Instant) {
        if let Some((link, direction)) = self.ports.get(port).copied().flatten() {
            self.enter(link, direction, frame, now);
        }
    }

    /// A frame made up by the lab, put on a cable behind its middleboxes.
    pub(super) fn inject(&mut self, link: usize, direction: Direction, frame: Vec<u8>, now: Instant) {
        self.travel(link, direction, frame, now);
    }

    /// The next frame that has arrived at a host, or `None` until [`Core::next_due`].
    pub(super) fn poll_delivery(&mut self, now: Instant) -> Option<Delivery> {
        while let Some(item) = self.queue.pop_due(now) {
            let wire = self.wires.get_mut(item.link)?;
            let way = &mut wire.ways[item.direction.index()];
            way.in_flight = way.in_flight.saturating_sub(1);
            if !wire.carrier {
                way.stats.no_carrier += 1;
                continue;
            }
            way.stats.delivered += 1;
            way.stats.delivered_bytes += item.frame.len() as u64;
            match wire.ends[1 - item.direction.index()] {
                End::Port(port) => {
                    let (link, direction) = (item.link, item.direction);
                    return Some(Delivery { port, frame: item.frame, link, direction });
                }
                End::Switch(switch) => self.switch(switch, item.link, &item.frame, now),
            }
        }
        None
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.next_due()
    }

    fn switch(&mut self, switch: usize, from: usize, frame: &[u8], now: Instant) {
        let Some(state) = self.switches.get_mut(switch) else {
            return;
        };
        for link in state.handle_frame(from, frame) {
            let Some(wire) = self.wires.get(link) else {
                continue;
            };
            let direction = if wire.ends[0] == End::Switch(switch) { Direction::Forward } else { Direction::Backward };
            self.enter(link, direction, frame.to_vec(), now);
        }
    }

    /// Runs the boxes of a cable in the order the frame meets them. What a box sends back meets the boxes before it.
    fn enter(&mut self, link: usize, direction: Direction, frame: Vec<u8>, now: Instant) {
        let Some(wire) = self.wires.get_mut(link) else {
            return;
        };
        if !wire.carrier {
            wire.ways[direction.index()].stats.no_carrier += 1;
            return;
        }
        let boxes = wire.boxes.len();
        // A frame with `left` boxes before it; those going forward meet box `boxes - left`, others box `left - 1`.
        let mut work = vec![(direction, boxes, frame)];
        let mut done = Vec::new();
        let mut budget = EMIT_LIMIT;
        while let Some((direction, left, mut frame)) = work.pop() {
            if left == 0 {
                done.push((direction, frame));
                continue;
            }
            let at = if direction == Direction::Forward { boxes - left } else { left - 1 };
            let Some(middlebox) = wire.boxes.get_mut(at) else {
                continue;
            };
            let mut out = Emit::default();
            let pass = middlebox.handle(direction, &mut frame, now, &mut out);
            let made = out.back.len() + out.onward.len();
            budget = budget.saturating_sub(made);
            if budget > 0 {
                work.extend(out.back.into_iter().map(|f| (direction.reverse(), boxes - left, f)));
                work.extend(out.onward.into_iter().map(|f| (direction, left - 1, f)));
            }
            match pass {
                Pass::Forward => work.push((direction, left - 1, frame)),
                Pass::Drop => wire.ways[direction.index()].stats.by_middlebox += 1,
            }
        }
        for (direction, frame) in done {
            self.travel(link, direction, frame, now);
        }
    }

    /// The wire itself: what is lost, altered, doubled, and when the rest arrives.
    fn travel(&mut self, link: usize, direction: Direction, mut frame: Vec<u8>, now: Instant) {
        let Some(wire) = self.wires.get_mut(link) else {
            return;
        };
        let way = &mut wire.ways[direction.index()];
        if !way.admits(&frame) {
            return;
        }
        if way.rng.happens(way.impairment.corrupt) && flip_bit(&mut frame, &mut way.rng) {
            way.stats.corrupted += 1;
        }
        let copies = if way.rng.happens(way.impairment.duplicate) { 2 } else { 1 };
        way.stats.duplicated += copies - 1;
        for _ in 0..copies {
            if let Some(due) = way.schedule(frame.len(), now) {
                self.queue.push(due, link, direction, frame.clone());
            }
        }
    }

    pub(super) fn change(&mut self, link: usize, direction: Direction, change: impl FnOnce(&mut Impairment)) {
        if let Some(wire) = self.wires.get_mut(link) {
            change(&mut wire.ways[direction.index()].impairment);
        }
    }

    pub(super) fn impairment(&self, link: usize, direction: Direction) -> Impairment {
        let wire = self.wires.get(link);
        wire.map(|wire| wire.ways[direction.index()].impairment.clone()).unwrap_or_default()
    }

    pub(super) fn set_carrier(&mut self, link: usize, up: bool) {
        if let Some(wire) = self.wires.get_mut(link) {
            wire.carrier = up;
        }
    }

    pub(super) fn ends(&self, link: usize) -> Option<[End; 2]> {
        self.wires.get(link).map(|wire| wire.ends)
    }

    pub(super) fn add_middlebox(&mut self, link: usize, middlebox: Box<dyn Middlebox>) {
        if let Some(wire) = self.wires.get_mut(link) {
            wire.boxes.push(middlebox);
        }
    }

    pub(super) fn remove_middlebox(&mut self, link: usize, name: &str) -> bool {
        let Some(wire) = self.wires.get_mut(link) else {
            return false;
        };
        let before = wire.boxes.len();
        wire.boxes.retain(|middlebox| middlebox.name() != name);
        wire.boxes.len() < before
    }

    /// Frames that the lab itself could not take off a port in time or put onto one.
    pub(super) fn count_overrun(&mut self, link: usize, direction: Direction, frames: u64) {
        if let Some(wire) = self.wires.get_mut(link) {
            wire.ways[direction.index()].stats.overrun += frames;
        }
    }

    pub(super) fn port_way(&self, port: usize) -> Option<(usize, Direction)> {
        self.ports.get(port).copied().flatten()
    }

    pub(super) fn stats(&self, link: usize) -> LinkStats {
        let Some(wire) = self.wires.get(link) else {
            return LinkStats::default();
        };
        LinkStats {
            forward: wire.ways[0].stats.clone(),
            backward: wire.ways[1].stats.clone(),
            middleboxes: wire.boxes.iter().map(|b| (b.name().to_owned(), b.counters())).collect(),
        }
    }

    pub(super) fn switch_mut(&mut self, switch: usize) -> Option<&mut SwitchState> {
        self.switches.get_mut(switch)
    }
}

impl Way {
    fn admits(&mut self, frame: &[u8]) -> bool {
        let (impairment, stats) = (&self.impairment, &mut self.stats);
        let counter = if impairment.blackhole {
            &mut stats.blackholed
        } else if impairment.max_frame > 0 && frame.len() > impairment.max_frame {
            &mut stats.too_big
        } else if self.rng.happens(impairment.loss) {
            &mut stats.lost
        } else {
            return true;
        };
        *counter += 1;
        false
    }

    /// When a frame that enters now arrives; `None` if no room is left for it.
    fn schedule(&mut self, len: usize, now: Instant) -> Option<Instant> {
        if self.in_flight >= IN_FLIGHT_LIMIT {
            self.stats.overrun += 1;
            return None;
        }
        let left_line = self.leave_line(len, now)?;
        let extra = self.impairment.jitter_ms * self.rng.share();
        let mut due = left_line + milliseconds(self.impairment.delay_ms + extra);
        if self.rng.happens(self.impairment.reorder) {
            self.stats.reordered += 1;
            due += milliseconds(self.impairment.reorder_by_ms);
        } else {
            due = self.last_due.map_or(due, |last| due.max(last));
            self.last_due = Some(due);
        }
        self.in_flight += 1;
        Some(due)
    }

    /// When the last bit of the frame is on the line.
    fn leave_line(&mut self, len: usize, now: Instant) -> Option<Instant> {
        while self.departures.front().is_some_and(|departure| *departure <= now) {
            self.departures.pop_front();
        }
        if self.impairment.rate_kbit == 0 {
            return Some(now);
        }
        if self.departures.len() >= self.impairment.queue_packets.max(1) {
            self.stats.queue_full += 1;
            return None;
        }
        let bits = len as f64 * 8.0;
        let start = self.departures.back().map_or(now, |last| (*last).max(now));
        let departure = start + milliseconds(bits / self.impairment.rate_kbit as f64);
        self.departures.push_back(departure);
        Some(departure)
    }
}

/// A sane duration whatever the number: negative and NaN are nothing, and nothing takes longer than an hour.
fn milliseconds(ms: f64) -> Duration {
    const HOUR_MS: f64 = 3_600_000.0;
    let ms = if ms.is_nan() { 0.0 } else { ms.clamp(0.0, HOUR_MS) };
    Duration::from_secs_f64(ms / 1000.0)
}

/// Flips one bit behind the IP header, where only the transport checksum protects it. Frames that are not IP, and
/// fragments and packets without such a checksum, stay whole.
fn flip_bit(frame: &mut [u8], rng: &mut Rng) -> bool {
    let start = match frame.get(12..14) {
        Some([0x08, 0x00]) => {
            let ihl = frame.get(ETHERNET_HEADER).map_or(0, |b| usize::from(b & 0x0f) * 4);
            ETHERNET_HEADER + ihl
        }
        Some([0x86, 0xdd]) => ETHERNET_HEADER + 40,
        _ => return false,
    };
    let end = frame.len().min(ip_end(frame));
    if end <= start {
        return false;
    }
    let at = start + rng.below(end - start);
    if let Some(byte) = frame.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
    true
}

/// Where the IP packet ends and Ethernet's padding begins.
fn ip_end(frame: &[u8]) -> usize {
    let field = |at: usize| {
        let bytes = frame.get(at..at + 2).and_then(|b| b.try_into().ok());
        bytes.map_or(0, |b| usize::from(u16::from_be_bytes(b)))
    };
    match frame.get(12..14) {
        Some([0x08, 0x00]) => ETHERNET_HEADER + field(ETHERNET_HEADER + 2),
        _ => ETHERNET_HEADER + 40 + field(ETHERNET_HEADER + 4),
    }
}
