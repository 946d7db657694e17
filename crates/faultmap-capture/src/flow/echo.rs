//! Echo requests and replies in one flow (RFC 792, RFC 4443 §4): which were answered, how long it took, and in which pattern others were not. What it proves is little: hosts and
//! routers may answer as seldom as they like. So requests are counted as lost only where they come slowly, some are answered, and enough were sent.
//!
//! Memory: [`MOST_WAITING`] requests that wait.

use crate::app::Mark;
use crate::flow::record::PerSide;
use crate::packet::{PacketNo, Stamp};
use std::collections::VecDeque;

/// Requests that wait at once.
const MOST_WAITING: usize = 64;
/// So long is waited for a reply, nanoseconds (ping(8) waits for 10 s, and shows what comes after 1 s as late).
const PATIENCE_NS: u64 = 3_000_000_000;
/// Whoever is asked faster may answer as often as its limit permits, milliseconds between requests.
const SLOW_MS: f64 = 150.0;
/// Fewer requests say nothing of a share.
const ENOUGH: u64 = 10;
/// So many in a row are an outage, not loss here and there.
const OUTAGE: u64 = 3;

#[derive(Debug, Clone, Copy)]
struct Request {
    sequence: u16,
    asked: Mark,
}

/// The echoes of one flow.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    waiting: VecDeque<Request>,
    asked: u64,
    answered: u64,
    lost: u64,
    first: Option<Stamp>,
    last: Stamp,
    /// The first few that were lost.
    pub(crate) packets: Vec<PacketNo>,
    run: u64,
    longest_run: u64,
    runs: u64,
    rtt: Option<(f64, f64, f64)>,
}

/// What the echoes come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Loss {
    pub(crate) asked: u64,
    pub(crate) lost: u64,
    /// The most in a row, and how many such rows there were.
    pub(crate) longest_run: u64,
    pub(crate) runs: u64,
    /// Shortest, mean and longest round trip, milliseconds.
    pub(crate) rtt: Option<(f64, f64, f64)>,
}

impl Loss {
    /// All of it was lost at once: an outage.
    pub(crate) const fn is_outage(&self) -> bool {
        self.runs == 1 && self.longest_run >= OUTAGE
    }
}

impl Echo {
    /// An echo request.
    pub(crate) fn request(&mut self, sequence: u16, asked: Mark) {
        self.settle(asked.at);
        if self.waiting.back().is_some_and(|request| request.sequence == sequence) {
            return;
        }
        if self.waiting.len() >= MOST_WAITING {
            self.lose();
        }
        self.asked = self.asked.saturating_add(1);
        self.first.get_or_insert(asked.at);
        self.last = asked.at;
        self.waiting.push_back(Request { sequence, asked });
    }

    /// An echo reply: the request that it answers, if one waits.
    pub(crate) fn reply(&mut self, sequence: u16, at: Stamp) -> Option<Mark> {
        self.settle(at);
        let place = self.waiting.iter().rposition(|request| request.sequence == sequence)?;
        // Those before it that wait may still be answered: their time decides.
        let request = self.waiting.remove(place)?;
        self.answered = self.answered.saturating_add(1);
        let wait = at.ms_since(request.asked.at);
        let (least, sum, most) = self.rtt.unwrap_or((wait, 0.0, wait));
        self.rtt = Some((least.min(wait), sum + wait, most.max(wait)));
        if self.waiting.iter().all(|earlier| earlier.asked.at > request.asked.at) {
            self.run = 0;
        }
        Some(request.asked)
    }

    fn settle(&mut self, now: Stamp) {
        while self.waiting.front().is_some_and(|request| now.since(request.asked.at) > PATIENCE_NS) {
            self.lose();
        }
    }

    fn lose(&mut self) {
        let Some(request) = self.waiting.pop_front() else { return };
        self.lost = self.lost.saturating_add(1);
        if self.run == 0 {
            self.runs = self.runs.saturating_add(1);
        }
        self.run = self.run.saturating_add(1);
        self.longest_run = self.longest_run.max(self.run);
        if self.packets.len() < crate::finding::MOST_CITED {
            self.packets.push(request.asked.packet);
        }
    }

    /// The share that was lost, where it says something: `None` where nothing was, where nothing was answered, or where too few or too many were asked.
    pub(crate) fn loss(&mut self, now: Stamp, packets: &PerSide<u64>) -> Option<Loss> {
        self.settle(now);
        let first = self.first?;
        // What still waits when the capture ends is not lost.
        let asked = self.answered.saturating_add(self.lost);
        let pause = self.last.ms_since(first) / (self.asked.max(2) - 1) as f64;
        let telling = asked >= ENOUGH && self.answered > 0 && packets.server > 0 && pause >= SLOW_MS;
        let rtt = self.rtt.map(|(least, sum, most)| (least, sum / self.answered.max(1) as f64, most));
        let Self { lost, longest_run, runs, .. } = *self;
        (telling && lost >= 2).then_some(Loss { asked, lost, longest_run, runs, rtt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pings each `pause` milliseconds, answered after 20 ms unless lost.
    fn loss(count: u16, pause: i64, lost: impl Fn(u16) -> bool) -> Option<Loss> {
        let mut echo = Echo::default();
        let at = |ms: i64| Stamp(1_700_000_000_000_000_000 + ms * 1_000_000);
        for sequence in 0..count {
            let ms = i64::from(sequence) * pause;
            let asked = Mark { at: at(ms), packet: PacketNo(1) };
            echo.request(sequence, asked);
            if !lost(sequence) {
                assert_eq!(echo.reply(sequence, at(ms + 20)), Some(asked));
            }
        }
        echo.loss(at(i64::from(count) * pause + 4000), &PerSide { client: 1, server: 1 })
    }

    fn check(found: Option<Loss>, expect: Option<(u64, u64, bool)>) {
        assert_eq!(found.map(|loss| (loss.asked, loss.lost, loss.is_outage())), expect);
    }

    #[test]
    fn loss_here_and_there_and_an_outage_are_told_apart() {
        check(loss(20, 1000, |number| number % 5 == 4), Some((20, 4, false)));
        check(loss(20, 1000, |number| (5..10).contains(&number)), Some((20, 5, true)));
        check(loss(20, 1000, |_| false), None);
    }

    #[test]
    fn nothing_is_told_of_floods_of_few_and_of_silence() {
        check(loss(20, 10, |number| number % 5 == 4), None);
        check(loss(8, 1000, |number| number % 2 == 0), None);
        check(loss(20, 1000, |_| true), None);
        check(loss(20, 1000, |number| number == 7), None);
    }
}
