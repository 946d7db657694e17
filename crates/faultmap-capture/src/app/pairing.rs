//! Questions in order, answers in the same order: what most protocols on one connection do. It times them, and makes exchanges of them.

use super::tell::{Mark, Open, Rules};
use super::{Below, End, Ends, Exchange, Sink};
use crate::packet::Stamp;
use std::collections::VecDeque;

/// Questions in flight that are followed.
const MOST_OPEN: usize = 128;

/// One question.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// In short; never a credential.
    pub(super) question: String,
    /// Its first byte.
    pub(super) asked: Mark,
    /// Its last byte.
    pub(super) done: Option<Stamp>,
    /// Its answer is one that takes its time by design.
    pub(super) patient: bool,
    began: Option<Mark>,
    wait_ms: Option<f64>,
    think_ms: Option<f64>,
}

/// The questions of one connection. Memory: at most [`MOST_OPEN`] of about 200 bytes.
pub(super) struct Pairing {
    protocol: &'static str,
    rules: &'static Rules,
    ends: Ends,
    open: VecDeque<Entry>,
    answered: u64,
    last_answer: Option<Stamp>,
    lost: bool,
}

impl Pairing {
    pub(super) const fn new(protocol: &'static str, rules: &'static Rules, ends: Ends) -> Self {
        Self { protocol, rules, ends, open: VecDeque::new(), answered: 0, last_answer: None, lost: false }
    }

    /// A question that is whole at `done`.
    pub(super) fn ask(&mut self, question: String, asked: Mark, done: Option<Stamp>, patient: bool) {
        if self.lost {
            return;
        }
        if self.open.len() >= MOST_OPEN {
            return self.lose();
        }
        self.open.push_back(Entry { question, asked, done, patient, began: None, wait_ms: None, think_ms: None });
    }

    /// The question that waits for its answer.
    pub(super) fn front(&self) -> Option<&Entry> {
        self.open.front()
    }

    /// The question that was asked last.
    pub(super) fn last_mut(&mut self) -> Option<&mut Entry> {
        self.open.back_mut()
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Answers so far.
    pub(super) const fn answered(&self) -> u64 {
        self.answered
    }

    /// The first byte of an answer.
    pub(super) fn began(&mut self, mark: Mark, below: &Below, sink: &mut Sink) {
        let last = self.last_answer;
        let Some(entry) = self.open.front_mut().filter(|entry| entry.began.is_none()) else { return };
        entry.began = Some(mark);
        let since = entry.done.map(|done| last.map_or(done, |last| done.max(last))).filter(|since| *since <= mark.at);
        entry.wait_ms = since.map(|since| mark.at.ms_since(since));
        entry.think_ms = entry.wait_ms.map(|wait| below.think_ms(wait));
        if let Some(think) = entry.think_ms.filter(|_| !entry.patient) {
            self.rules.thought(&self.ends, &entry.question, think, entry.asked, mark, sink);
        }
    }

    /// The last byte of an answer.
    pub(super) fn finish(&mut self, answer: String, ok: bool, at: Stamp, sink: &mut Sink) {
        let Some(entry) = self.open.pop_front() else { return };
        self.answered += 1;
        self.last_answer = Some(at);
        sink.exchanges.push(self.exchange(entry, answer, ok, Some(at)));
    }

    /// Which answer belongs to which question can no longer be said.
    pub(super) fn lose(&mut self) {
        self.open.clear();
        self.lost = true;
    }

    /// What waits is let go: it was answered, as far as can be told, and how is not known.
    pub(super) fn forget(&mut self) {
        self.answered += self.open.len() as u64;
        self.open.clear();
    }

    /// The end: what waits was not answered.
    pub(super) fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        let mut told = false;
        for entry in std::mem::take(&mut self.open) {
            if entry.began.is_none() && !entry.patient && !std::mem::replace(&mut told, true) {
                let open = Open { question: &entry.question, asked: entry.asked, done: entry.done, reused: self.answered > 0 };
                self.rules.unanswered(&self.ends, &open, how, at, below, sink);
            }
            sink.exchanges.push(self.exchange(entry, String::new(), false, None));
        }
    }

    /// The same for protocols of lines: who says QUIT does not wait.
    pub(super) fn end_of_lines(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        if self.front().is_none_or(|entry| entry.question != "QUIT") {
            self.end(how, at, below, sink);
        }
    }

    fn exchange(&self, entry: Entry, answer: String, ok: bool, until: Option<Stamp>) -> Exchange {
        Exchange {
            answer,
            wait_ms: entry.wait_ms,
            think_ms: entry.think_ms,
            total_ms: until.map(|until| until.ms_since(entry.asked.at)),
            answered_in: entry.began.map(|mark| mark.packet.0),
            ok,
            ..Exchange::unanswered(self.protocol, entry.question, entry.asked)
        }
    }
}
