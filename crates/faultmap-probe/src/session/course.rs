//! The course of holding: what is opened first, what a death makes us open next, and when enough is known. Pure: no clock, no socket.

use super::schedule::{beyond, finer, interval, ladder, proof};
use crate::sock::keep_alive::SHORTEST;
use faultmap_model::observation::{HeldFor, Means, SessionIdle, WhileIdle};
use std::time::Duration;

/// A connection to hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wish {
    /// Left alone for so long, then used.
    Idle(Duration),
    /// Used again and again until the rest is over; opened after a while, so that its age is not that of the others.
    Active(Duration),
    /// Kept alive for so long, then used.
    Kept {
        /// How.
        by: Means,
        /// The interval.
        every: Duration,
        /// For how long.
        hold: Duration,
    },
    /// Used at once.
    Fresh,
}

/// What has been heard so far.
#[derive(Debug)]
pub(crate) struct Course {
    /// Rungs of the first ladder that have not reported.
    first: usize,
    /// Connections of the second round that have not reported; `None` before it.
    second: Option<usize>,
    survived: Duration,
    /// The protocol has a ping of its own.
    pings: bool,
}

/// An end while idle comes to every idle connection at one idle time: there is nothing to bracket.
fn seen_coming(line: &SessionIdle) -> bool {
    line.while_idle != WhileIdle::Quiet
}

impl Course {
    /// Begins; gives what to open first. `active`: the protocol has something that can be asked again and again.
    pub(crate) fn begin(asked: Duration, active: bool, pings: bool) -> (Self, Vec<Wish>) {
        let rungs = ladder(asked);
        let course = Self { first: rungs.len(), second: None, survived: Duration::ZERO, pings };
        let later = asked / 8;
        let beside = [Duration::ZERO, later].into_iter().filter(|_| active).map(Wish::Active);
        (course, beside.chain(rungs.into_iter().map(Wish::Idle)).collect())
    }

    /// A connection of the first ladder could not be had.
    pub(crate) fn unopened(&mut self, wish: Wish) {
        match (&mut self.second, wish) {
            (_, Wish::Active(_)) => {}
            (Some(left), _) => *left = left.saturating_sub(1),
            (None, _) => self.first = self.first.saturating_sub(1),
        }
    }

    /// A connection has reported; gives what to open next. `round`: 1 or 2, that of the connection.
    pub(crate) fn heard(&mut self, round: u8, line: &SessionIdle) -> Vec<Wish> {
        if line.purpose == HeldFor::Active {
            return Vec::new();
        }
        if round == 2 {
            self.second = self.second.map(|left| left.saturating_sub(1));
            return Vec::new();
        }
        self.first = self.first.saturating_sub(1);
        let idle = Duration::from_secs_f64(line.idle_ms.max(0.0) / 1e3);
        if line.survived() {
            self.survived = self.survived.max(idle);
            return Vec::new();
        }
        if self.second.is_some() {
            return Vec::new();
        }
        let wishes = self.second_round(idle, seen_coming(line));
        self.second = Some(wishes.len());
        wishes
    }

    fn second_round(&self, died: Duration, seen_coming: bool) -> Vec<Wish> {
        let survived = if seen_coming { died } else { self.survived.min(died) };
        let mut wishes = vec![Wish::Fresh, Wish::Idle(beyond(died))];
        wishes.extend(finer(survived, died).into_iter().map(Wish::Idle));
        let every = interval(if survived.is_zero() { died / 2 } else { survived });
        let hold = proof(died);
        if self.pings {
            wishes.push(Wish::Kept { by: Means::Ping, every, hold });
        }
        let every = every.max(SHORTEST);
        if every.mul_f64(1.25) < survived {
            wishes.push(Wish::Kept { by: Means::TcpKeepAlive, every, hold: hold.max(every * 2) });
        }
        wishes
    }

    /// More waiting teaches nothing.
    pub(crate) const fn over(&self) -> bool {
        match self.second {
            Some(left) => left == 0,
            None => self.first == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultmap_model::observation::OnUse;

    fn line(purpose: HeldFor, idle_ms: f64, while_idle: WhileIdle, on_use: Option<OnUse>) -> SessionIdle {
        SessionIdle {
            to: "10.2.0.10:80".parse().unwrap(),
            protocol: "http/1.1".to_owned(),
            purpose,
            kept_by: None,
            asked_ms: 60_000.0,
            idle_ms,
            age_ms: idle_ms,
            while_idle,
            on_use,
            last_words: None,
            announced_close: false,
            answer_ttl: None,
            reset_ttl: None,
            tcp: None,
        }
    }

    fn lived(idle_ms: f64) -> SessionIdle {
        line(HeldFor::Idle, idle_ms, WhileIdle::Quiet, Some(OnUse::Answered { status: Some(200), took_ms: 1.0 }))
    }

    fn forgotten(idle_ms: f64) -> SessionIdle {
        line(HeldFor::Idle, idle_ms, WhileIdle::Quiet, Some(OnUse::Silent { waited_ms: 3e3, retransmits: 3, acknowledged: false }))
    }

    #[test]
    fn a_ladder_that_lives_needs_no_second_round() {
        let (mut course, wishes) = Course::begin(Duration::from_secs(60), true, false);
        assert_eq!(wishes.len(), 10);
        for _ in 0..8 {
            assert!(!course.over());
            assert!(course.heard(1, &lived(1_000.0)).is_empty());
        }
        assert!(course.over());
    }

    #[test]
    fn silence_is_bracketed_and_its_cure_proven() {
        let (mut course, _) = Course::begin(Duration::from_secs(60), true, true);
        course.heard(1, &lived(22_500.0));
        let wishes = course.heard(1, &forgotten(30_000.0));
        let idle = |wish: &&Wish| matches!(wish, Wish::Idle(_));
        assert_eq!(wishes.iter().filter(idle).count(), 5);
        let every = Duration::from_secs(11);
        for by in [Means::Ping, Means::TcpKeepAlive] {
            assert!(wishes.contains(&Wish::Kept { by, every, hold: Duration::from_millis(48_250) }), "{wishes:?}");
        }
        // Later deaths of the first ladder change nothing; the second round decides when it is over.
        assert!(course.heard(1, &forgotten(45_000.0)).is_empty());
        for left in (0..wishes.len()).rev() {
            assert!(!course.over());
            course.heard(2, &lived(24_000.0));
            assert_eq!(course.over(), left == 0);
        }
    }

    #[test]
    fn a_close_that_comes_by_itself_needs_no_bracket() {
        let (mut course, _) = Course::begin(Duration::from_secs(60), true, false);
        let wishes = course.heard(1, &line(HeldFor::Idle, 15_000.0, WhileIdle::Closed, None));
        assert_eq!(wishes.iter().filter(|wish| matches!(wish, Wish::Idle(_))).count(), 1);
        assert!(wishes.iter().any(|wish| matches!(wish, Wish::Kept { by: Means::TcpKeepAlive, .. })));
    }

    #[test]
    fn connections_that_cannot_be_had_are_not_waited_for() {
        let (mut course, _) = Course::begin(Duration::from_secs(10), false, false);
        for _ in 0..8 {
            course.unopened(Wish::Idle(Duration::from_secs(1)));
        }
        assert!(course.over());
    }
}
