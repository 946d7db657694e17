//! Who may come in: so many at a time, so many strangers of one address, and nobody who fails to prove himself again and again.
//! Counts only; knows no secret.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Sessions of those who have proven themselves.
const MOST_SESSIONS: u32 = 16;
/// Strangers who are still proving themselves, and of one address.
const MOST_STRANGERS: u32 = 32;
const MOST_STRANGERS_OF_ONE: u32 = 8;
/// So many failed proofs of one address within the time below, and the address waits.
const MOST_FAILURES: u32 = 5;
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// Addresses remembered; beyond, the oldest failures are forgotten.
const MOST_REMEMBERED: usize = 1024;

/// The door.
#[derive(Debug, Default)]
pub(super) struct Gate {
    sessions: Cell<u32>,
    strangers: RefCell<HashMap<IpAddr, u32>>,
    failures: RefCell<HashMap<IpAddr, (u32, Instant)>>,
    /// Turned away since the last line about it.
    turned_away: Cell<Option<Instant>>,
}

/// Somebody within; leaves when dropped.
#[derive(Debug)]
pub(super) struct Visitor<'g> {
    gate: &'g Gate,
    ip: IpAddr,
    proven: Cell<bool>,
}

impl Gate {
    /// Lets a stranger in, or says why not.
    pub(super) fn enter(&self, ip: IpAddr) -> Result<Visitor<'_>, &'static str> {
        if self.barred(ip) {
            return Err("too many failed proofs from that address; it may try again in a minute");
        }
        let mut strangers = self.strangers.borrow_mut();
        let all: u32 = strangers.values().sum();
        let of_one = strangers.entry(ip).or_insert(0);
        if all >= MOST_STRANGERS || *of_one >= MOST_STRANGERS_OF_ONE {
            if *of_one == 0 {
                strangers.remove(&ip);
            }
            return Err("too many connections that have proven nothing");
        }
        *of_one += 1;
        Ok(Visitor { gate: self, ip, proven: Cell::new(false) })
    }

    fn barred(&self, ip: IpAddr) -> bool {
        let failures = self.failures.borrow();
        failures.get(&ip).is_some_and(|(count, last)| *count >= MOST_FAILURES && last.elapsed() < FORGIVEN_AFTER)
    }

    /// Whether this refusal is worth a line: one a second, so that nobody fills a disk.
    pub(super) fn worth_a_line(&self) -> bool {
        let now = Instant::now();
        let worth = self.turned_away.get().is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1));
        if worth {
            self.turned_away.set(Some(now));
        }
        worth
    }
}

impl Visitor<'_> {
    /// The proof was good. False when as many as can be served are within.
    pub(super) fn prove(&self) -> bool {
        if self.gate.sessions.get() >= MOST_SESSIONS {
            return false;
        }
        self.leave();
        self.gate.sessions.set(self.gate.sessions.get() + 1);
        self.proven.set(true);
        self.gate.failures.borrow_mut().remove(&self.ip);
        true
    }

    /// The proof was bad.
    pub(super) fn fail(&self) {
        let mut failures = self.gate.failures.borrow_mut();
        let now = Instant::now();
        if failures.len() >= MOST_REMEMBERED && !failures.contains_key(&self.ip) {
            failures.retain(|_, (_, last)| last.elapsed() < FORGIVEN_AFTER);
            let oldest = failures.iter().min_by_key(|(_, (_, last))| *last).map(|(ip, _)| *ip);
            if let Some(oldest) = oldest.filter(|_| failures.len() >= MOST_REMEMBERED) {
                failures.remove(&oldest);
            }
        }
        let (count, last) = failures.entry(self.ip).or_insert((0, now));
        *count = if last.elapsed() >= FORGIVEN_AFTER { 1 } else { count.saturating_add(1) };
        *last = now;
    }

    fn leave(&self) {
        let mut strangers = self.gate.strangers.borrow_mut();
        if let Some(count) = strangers.get_mut(&self.ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                strangers.remove(&self.ip);
            }
        }
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        if self.proven.get() {
            self.gate.sessions.set(self.gate.sessions.get().saturating_sub(1));
        } else {
            self.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    #[test]
    fn whoever_fails_again_and_again_waits_and_others_do_not() {
        let gate = Gate::default();
        for _ in 0..MOST_FAILURES {
            gate.enter(ip(1)).unwrap().fail();
        }
        assert!(gate.enter(ip(1)).is_err());
        assert!(gate.enter(ip(2)).is_ok());
    }

    #[test]
    fn strangers_of_one_address_cannot_fill_the_room() {
        let gate = Gate::default();
        let held: Vec<_> = (0..MOST_STRANGERS_OF_ONE).map(|_| gate.enter(ip(1)).unwrap()).collect();
        assert!(gate.enter(ip(1)).is_err());
        assert!(gate.enter(ip(2)).is_ok());
        drop(held);
        assert!(gate.enter(ip(1)).is_ok());
    }

    #[test]
    fn a_seat_is_free_again_when_its_session_ends() {
        let gate = Gate::default();
        let seats: Vec<_> = (0..MOST_SESSIONS).map(|n| gate.enter(ip(u8::try_from(n).unwrap())).unwrap()).collect();
        assert!(seats.iter().all(Visitor::prove));
        let late = gate.enter(ip(99)).unwrap();
        assert!(!late.prove());
        drop(seats);
        assert!(late.prove());
    }
}
