//! Collects observations in the order in which they complete, with their times. Also the two conversions that every question needs.

pub use faultmap_wire::printable;

use faultmap_model::{Observation, ObservationId, Seen};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// Called with each observation as it comes, for progress.
pub type Listener<'a> = Box<dyn Fn(&Observation) + 'a>;

/// The evidence of one running check. One thread; interior mutability lets questions that run side by side share it.
pub struct Recorder<'a> {
    start: Instant,
    seen: RefCell<Vec<Observation>>,
    /// Where the current place of a journey begins.
    here: Cell<usize>,
    listener: Option<Listener<'a>>,
}

impl<'a> Recorder<'a> {
    /// Starts the clock.
    #[must_use]
    pub fn new(listener: Option<Listener<'a>>) -> Self {
        Self { start: Instant::now(), seen: RefCell::new(Vec::new()), here: Cell::new(0), listener }
    }

    /// When the clock started.
    #[must_use]
    pub const fn start(&self) -> Instant {
        self.start
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Keeps an answer to a question that was asked at `asked` and is complete now.
    pub fn note(&self, asked: Instant, seen: impl Into<Seen>) -> ObservationId {
        let seen = seen.into();
        let mut all = self.seen.borrow_mut();
        let id = u32::try_from(all.len()).unwrap_or(u32::MAX).saturating_add(1);
        let observation = Observation { id, layer: seen.layer(), at_ms: ms(asked - self.start), took_ms: ms(asked.elapsed()), seen };
        if let Some(listener) = &self.listener {
            listener(&observation);
        }
        all.push(observation);
        id
    }

    /// Runs a question and keeps its answer; gives the answer back.
    pub async fn ask<T: Into<Seen> + Clone>(&self, question: impl Future<Output = T>) -> T {
        let asked = Instant::now();
        let answer = question.await;
        self.note(asked, answer.clone());
        answer
    }

    /// From here on another place is asked: what was seen before says nothing of it.
    pub fn move_on(&self) {
        self.here.set(self.seen.borrow().len());
    }

    /// A look at what was seen so far, of the current place.
    pub fn look<R>(&self, read: impl FnOnce(&[Observation]) -> R) -> R {
        read(self.seen.borrow().get(self.here.get()..).unwrap_or_default())
    }

    /// Everything, in order.
    #[must_use]
    pub fn finish(self) -> Vec<Observation> {
        self.seen.into_inner()
    }
}

/// Milliseconds, to the microsecond, so that a recording stays readable.
#[must_use]
pub fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
