//! A sender in bulk over a made-up path, recorded at either end: one that fills the queue before a narrow link until it overflows, and one that loses packets
//! on a wide one. Both send again; one of them is healthy.

use crate::common::{Segment, Wire};
use faultmap_capture::file::Notes;
use faultmap_capture::report::{Report, ShownVerdict};
use faultmap_model::verdict::Status;
use faultmap_wire::{Ipv4, TcpFlags, proto};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

const SENDER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 40_000);
const RECEIVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 2), 9000);
const SIZE: u32 = 1400;
/// From either end to the other, microseconds.
const ONE_WAY_US: u64 = 5_000;

/// The narrowest link: how long a segment takes through it, how many may wait before it, and which ones it loses of itself.
#[derive(Clone, Copy)]
struct Link {
    takes_us: u64,
    room: u64,
    loses_every: Option<u32>,
}

const NARROW: Link = Link { takes_us: 1200, room: 60, loses_every: None };
const LOSSY: Link = Link { takes_us: 10, room: 10_000, loses_every: Some(43) };
/// It is narrow, and loses what it likes long before its queue is full.
const NARROW_AND_LOSSY: Link = Link { takes_us: 120, room: 10_000, loses_every: Some(43) };

/// What comes in at an end.
#[derive(Clone, Copy)]
enum Event {
    Data(u32, u32),
    Ack(u32, Option<(u32, u32)>, u32),
}

/// A sender that grows until something is lost, and a receiver that says what it misses.
struct Path {
    link: Link,
    at_receiver: bool,
    events: BTreeMap<(u64, u64), Event>,
    packets: Vec<(u64, Vec<u8>)>,
    free_at: u64,
    passed: u32,
    order: u64,
    window: f64,
    next: u32,
    acked: u32,
    again: u32,
    recover: u32,
    dups: u32,
    echo: u32,
    received: BTreeSet<u32>,
    expected: u32,
}

impl Path {
    fn new(link: Link, at_receiver: bool) -> Self {
        let (events, packets, received) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        let zero = Self {
            link,
            at_receiver,
            events,
            packets,
            received,
            free_at: 0,
            passed: 0,
            order: 0,
            window: 4.0,
            next: 0,
            acked: 0,
            again: 0,
            recover: 0,
            dups: 0,
            echo: 0,
            expected: 0,
        };
        zero.opened()
    }

    fn opened(mut self) -> Self {
        let syn = TcpFlags::SYN;
        let shown = if self.at_receiver { [ONE_WAY_US, ONE_WAY_US, 3 * ONE_WAY_US] } else { [0, 2 * ONE_WAY_US, 2 * ONE_WAY_US] };
        self.record(shown[0], true, Segment { times: Some((1, 0)), ..Segment::new(syn, (0, 0), 0) });
        self.record(shown[1], false, Segment { times: Some((1, 1)), ..Segment::new(syn.with(TcpFlags::ACK), (0, 1), 0) });
        self.record(shown[2], true, Segment { times: Some((2, 1)), ..Segment::new(TcpFlags::ACK, (1, 1), 0) });
        self
    }

    fn record(&mut self, us: u64, from_sender: bool, segment: Segment) {
        let (from, to) = if from_sender { (SENDER, RECEIVER) } else { (RECEIVER, SENDER) };
        let id = self.packets.len() as u16 + 1;
        self.packets.push((us, Ipv4 { id, ..Ipv4::new(*from.ip(), *to.ip(), proto::TCP) }.emit(&segment.emit(from, to))));
    }

    fn schedule(&mut self, us: u64, event: Event) {
        self.order += 1;
        self.events.insert((us, self.order), event);
    }

    /// The sender sends a segment, new or again.
    fn send(&mut self, now: u64, number: u32) {
        let data =
            Segment { times: Some(((now / 1000) as u32, self.echo)), ..Segment::new(TcpFlags::ACK, (1 + number * SIZE, 1), SIZE as usize) };
        if !self.at_receiver {
            self.record(now, true, data);
        }
        self.passed += 1;
        let waits = self.free_at.saturating_sub(now) / self.link.takes_us;
        if waits > self.link.room || self.link.loses_every.is_some_and(|every| self.passed.is_multiple_of(every)) {
            return;
        }
        self.free_at = self.free_at.max(now) + self.link.takes_us;
        let arrives = self.free_at + ONE_WAY_US;
        if self.at_receiver {
            self.record(arrives, true, data);
        }
        self.schedule(arrives, Event::Data(number, (now / 1000) as u32));
    }

    /// The receiver has a segment: what it says of it.
    fn arrived(&mut self, now: u64, number: u32, clock: u32) {
        self.received.insert(number);
        while self.received.contains(&self.expected) {
            self.expected += 1;
        }
        let beyond = (number > self.expected).then(|| {
            let first = (self.expected..=number).rev().take_while(|at| self.received.contains(at)).last().unwrap_or(number);
            let end = (number..).find(|at| !self.received.contains(at)).unwrap_or(number + 1);
            (1 + first * SIZE, 1 + end * SIZE)
        });
        let says = Segment {
            times: Some(((now / 1000) as u32, clock)),
            sack: beyond,
            ..Segment::new(TcpFlags::ACK, (1, 1 + self.expected * SIZE), 0)
        };
        self.record(if self.at_receiver { now } else { now + ONE_WAY_US }, false, says);
        self.schedule(now + ONE_WAY_US, Event::Ack(self.expected, beyond, (now / 1000) as u32));
    }

    /// The sender hears it.
    fn heard(&mut self, now: u64, acked: u32, beyond: bool, clock: u32) {
        self.echo = clock;
        let repairs = self.acked < self.recover;
        if acked > self.acked {
            (self.acked, self.dups) = (acked, 0);
            if !repairs {
                self.window += 0.2;
            }
        } else if beyond {
            self.dups += 1;
        }
        let asked = self.dups >= 3 || (acked < self.recover && acked > self.again);
        if asked && acked >= self.again && (acked > self.again || self.again == 0 || self.dups == 3) {
            if acked >= self.recover {
                (self.window, self.recover) = ((self.window / 2.0).max(8.0), self.next);
            }
            self.again = acked;
            self.send(now, acked);
        }
    }

    fn run(mut self, segments: u32) -> ShownVerdict {
        let mut now = 2 * ONE_WAY_US;
        loop {
            while self.next < segments && f64::from(self.next - self.acked) < self.window {
                self.next += 1;
                self.send(now, self.next - 1);
            }
            let Some(((at, _), event)) = self.events.pop_first() else { break };
            now = at;
            match event {
                Event::Data(number, clock) => self.arrived(now, number, clock),
                Event::Ack(acked, beyond, clock) => self.heard(now, acked, beyond.is_some(), clock),
            }
        }
        self.packets.sort_by_key(|(us, _)| *us);
        let mut wire = Wire::new();
        self.packets.iter().for_each(|(us, packet)| wire.ip(*us as f64 / 1e3, packet));
        Report::new(&wire.finish(), Vec::new(), &Notes::default(), false).verdict
    }
}

fn check(link: Link, status: Status, remark: bool) {
    for at_receiver in [false, true] {
        let verdict = Path::new(link, at_receiver).run(3000);
        let told = verdict.also.iter().any(|told| told.contains("round trips swell"));
        assert_eq!((verdict.status, told), (status, remark), "at the receiver: {at_receiver}; {} {:?}", verdict.summary, verdict.also);
    }
}

#[test]
fn who_overflows_the_queue_that_it_fills_loses_nothing_to_the_path() {
    check(NARROW, Status::Healthy, true);
}

#[test]
fn a_path_that_loses_packets_of_itself_is_told_of() {
    check(LOSSY, Status::Degraded, false);
    check(NARROW_AND_LOSSY, Status::Degraded, false);
}
