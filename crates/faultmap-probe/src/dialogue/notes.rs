//! The notes of a conversation whose stream a library takes for itself: the steps with their times, what the server told, and how the stream
//! ended, seen from a tap below the library.

use super::DialogueAsk;
use super::talk::Broken;
use crate::recorder::{ms, printable};
use crate::tls::{End, FIRST_BYTES, Seen, Tap, looks_like};
use faultmap_model::observation::{Dialogue, DialogueOutcome, DialogueStep};
use std::time::Instant;

/// The notes.
pub(super) struct Notes {
    seen: Seen,
    step_started: Instant,
    step_open: bool,
    steps: Vec<DialogueStep>,
    /// The server's name and version.
    pub(super) server: Option<String>,
    /// See `Dialogue::facts`.
    facts: Vec<(String, String)>,
    /// See `Dialogue::first_byte_ms`.
    pub(super) first_byte_ms: Option<f64>,
}

impl Notes {
    /// Taps the stream for the library. The server is heard only after we have spoken.
    pub(super) fn of<S>(stream: S) -> (Self, Tap<S>, Seen) {
        let (tap, seen) = Tap::speaking_first(stream);
        let notes = Self {
            seen: Seen::clone(&seen),
            step_started: Instant::now(),
            step_open: false,
            steps: Vec::new(),
            server: None,
            facts: Vec::new(),
            first_byte_ms: None,
        };
        (notes, tap, seen)
    }

    /// Begins an exchange; the one before it is over.
    pub(super) fn step(&mut self, name: &str) {
        self.end_step();
        self.step_started = Instant::now();
        self.step_open = true;
        self.steps.push(DialogueStep { name: name.to_owned(), took_ms: 0.0 });
    }

    /// The exchange is over; what follows is ours.
    pub(super) fn end_step(&mut self) {
        if let Some(step) = self.steps.last_mut().filter(|_| self.step_open) {
            step.took_ms = ms(self.step_started.elapsed());
        }
        self.step_open = false;
    }

    /// Keeps a fact that the server told.
    pub(super) fn fact(&mut self, name: &str, value: impl AsRef<str>) {
        self.facts.push((name.to_owned(), printable(value.as_ref().as_bytes(), 128)));
    }

    /// The record of a conversation that ended so.
    pub(super) fn finish(mut self, ask: &DialogueAsk<'_>, ended: Result<DialogueOutcome, Broken>) -> Dialogue {
        self.end_step();
        let outcome = ended.unwrap_or_else(|broken| self.outcome_of(broken));
        Dialogue {
            to: ask.to,
            protocol: ask.protocol,
            purpose: ask.purpose.to_owned(),
            steps: self.steps,
            server: self.server,
            facts: self.facts,
            first_byte_ms: self.first_byte_ms,
            outcome,
            tcp: None,
        }
    }

    fn outcome_of(&self, broken: Broken) -> DialogueOutcome {
        let seen = self.seen.borrow();
        let received_bytes = seen.received;
        match (broken, seen.end) {
            (Broken::Malformed(why), _) if looks_like(&seen.first).is_none() && self.first_byte_ms.is_some() => {
                DialogueOutcome::Malformed { why }
            }
            (Broken::Malformed(_), _) => DialogueOutcome::Foreign {
                looks_like: looks_like(&seen.first).map(str::to_owned),
                first_bytes: printable(&seen.first, FIRST_BYTES),
            },
            (Broken::Silent, _) => DialogueOutcome::Silent { waited_ms: ms(self.step_started.elapsed()), received_bytes },
            (_, Some(End::Reset)) => DialogueOutcome::Reset { received_bytes },
            (_, _) => DialogueOutcome::Closed { received_bytes },
        }
    }
}
