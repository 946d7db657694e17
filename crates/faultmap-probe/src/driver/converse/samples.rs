//! Equal requests, or conversations in a service's own protocol, to see whether it is one backend of several.

use super::{AGAIN, BESIDE, Stage};
use crate::driver::Check;
use crate::http::Connection;
use crate::recorder::ms;
use faultmap_model::Seen;
use faultmap_model::observation::{Dialogue, DialogueOutcome, HttpExchange, HttpOutcome, HttpSamples, SampleRow};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A sample that is silent for so long, where the first request was answered sooner, counts as failed.
const SAMPLE_PATIENCE: Duration = Duration::from_millis(2_500);
/// Time to note the samples in.
const KEPT_FOR_ROWS: Duration = Duration::from_millis(150);
/// Extra equal requests after a server error, to see whether it is one backend of several.
const AFTER_ERROR: u32 = 5;

impl Check<'_> {
    /// One of several equal requests. It is given far longer than the first one took, but not so long that it uses up the time of the others.
    async fn sample_request(&self, connection: Connection, to: SocketAddr, first_ms: f64) -> HttpExchange {
        let patience = SAMPLE_PATIENCE.max(Duration::from_secs_f64((first_ms * 3.0 / 1_000.0).clamp(0.0, 60.0)));
        // The rows are noted at the end: the last request must not meet the end of the budget.
        let wait = self.within(patience.saturating_add(KEPT_FOR_ROWS)).saturating_sub(KEPT_FOR_ROWS);
        self.request_path(connection, to, "sample", &self.options.request_path, &self.target.input, wait).await
    }

    fn second_try_answered(&self) -> bool {
        self.rec.look(|seen| {
            seen.iter().any(|o| match &o.seen {
                Seen::HttpExchange(http) => http.purpose == "second-try" && matches!(http.outcome, HttpOutcome::Response(_)),
                _ => false,
            })
        })
    }

    /// Equal requests: as many as the user wants, or a few after a server error.
    pub(super) async fn sample(&self, first: HttpExchange) {
        // Silence on one connection and an answer on the next: some of the answers may be missing for good.
        let silent_once = matches!(first.outcome, HttpOutcome::Silent { .. }) && self.second_try_answered();
        let failed = server_error(&first) || silent_once;
        let idempotent = ["GET", "HEAD"].iter().any(|method| self.options.method.eq_ignore_ascii_case(method));
        let extra = match self.options.samples {
            0 | 1 if failed && idempotent => AFTER_ERROR,
            0 | 1 => return,
            wanted => wanted.saturating_sub(1).min(999),
        };
        let started = Instant::now();
        let mut rows: Vec<(SampleRow, Vec<f64>)> = Vec::new();
        let first_ms = match &first.outcome {
            HttpOutcome::Response(response) => response.ttfb_ms,
            _ => 0.0,
        };
        count(&mut rows, &first, first_ms);
        for _ in 0..extra {
            if self.within(Duration::from_secs(1)) < Duration::from_secs(1) {
                break;
            }
            let asked = Instant::now();
            let answer = match self.connection(first.to).await {
                Some(connection) => self.sample_request(connection, first.to, first_ms).await,
                None => HttpExchange { outcome: HttpOutcome::NoConnection { why: "no connection".to_owned() }, ..first.clone() },
            };
            count(&mut rows, &answer, ms(asked.elapsed()));
        }
        self.note_rows(started, rows);
    }

    fn note_rows(&self, started: Instant, rows: Vec<(SampleRow, Vec<f64>)>) {
        let rows: Vec<SampleRow> = rows.into_iter().map(|(row, times)| SampleRow { median_ms: median(times), ..row }).collect();
        let tried = rows.iter().map(|row| row.count).sum();
        self.rec.note(started, HttpSamples { tried, rows });
    }

    /// Equal conversations in a service's own protocol: as many as the user wants, or, where the first one broke off and a second one was
    /// answered, a few.
    pub(super) async fn sample_dialogue(&self, to: SocketAddr) {
        let Some(first) = self.told("default") else { return };
        let extra = match self.options.samples {
            0 | 1 if broke_off(&first) && self.answered_again(to).await => AFTER_ERROR,
            0 | 1 => return,
            wanted => wanted.saturating_sub(1).min(999),
        };
        let started = Instant::now();
        let mut rows: Vec<(SampleRow, Vec<f64>)> = Vec::new();
        count_dialogue(&mut rows, to, Some(&first), first.first_byte_ms.unwrap_or(0.0));
        for _ in 0..extra {
            if self.within(Duration::from_secs(1)) < Duration::from_secs(1) {
                break;
            }
            let asked = Instant::now();
            let wait = self.within(SAMPLE_PATIENCE.saturating_add(KEPT_FOR_ROWS)).saturating_sub(KEPT_FOR_ROWS);
            let next = self.dialogue_again(to, first.protocol, wait).await;
            count_dialogue(&mut rows, to, next.as_ref(), ms(asked.elapsed()));
        }
        self.note_rows(started, rows);
    }

    /// The last conversation of this purpose.
    fn told(&self, purpose: &str) -> Option<Dialogue> {
        self.rec.look(|seen| {
            seen.iter().rev().find_map(|o| match &o.seen {
                Seen::Dialogue(dialogue) if dialogue.purpose == purpose => Some(dialogue.clone()),
                _ => None,
            })
        })
    }

    /// A second conversation is answered. One that was closed has not been asked for yet.
    async fn answered_again(&self, to: SocketAddr) -> bool {
        if self.told(AGAIN.purpose).is_none() && !self.rec.look(|seen| seen.iter().any(super::mute)) {
            let stage = Cell::new(Stage::Tls);
            let _ = tokio::time::timeout(BESIDE, Box::pin(self.turn(to, AGAIN, &stage))).await;
        }
        self.told(AGAIN.purpose).is_some_and(|again| again.answered())
    }
}

/// No word of refusal: the connection ended, or nothing came.
const fn broke_off(dialogue: &Dialogue) -> bool {
    matches!(dialogue.outcome, DialogueOutcome::Closed { .. } | DialogueOutcome::Reset { .. } | DialogueOutcome::Silent { .. })
}

fn count_dialogue(rows: &mut Vec<(SampleRow, Vec<f64>)>, to: SocketAddr, dialogue: Option<&Dialogue>, took_ms: f64) {
    let (outcome, failed) = match dialogue.map(|dialogue| &dialogue.outcome) {
        None => ("no connection".to_owned(), true),
        Some(DialogueOutcome::Closed { .. }) => ("closed".to_owned(), true),
        Some(DialogueOutcome::Reset { .. }) => ("reset".to_owned(), true),
        Some(DialogueOutcome::Silent { .. }) => ("timeout".to_owned(), true),
        Some(DialogueOutcome::Refused { code, .. }) => (format!("refused {code}"), true),
        Some(DialogueOutcome::Malformed { .. } | DialogueOutcome::Foreign { .. }) => ("malformed".to_owned(), true),
        Some(_) => ("answered".to_owned(), false),
    };
    add(rows, SampleRow { outcome, failed, to, backend: None, count: 1, median_ms: 0.0 }, took_ms);
}

fn server_error(answer: &HttpExchange) -> bool {
    match &answer.outcome {
        HttpOutcome::Response(response) => response.status >= 500,
        HttpOutcome::Closed { .. } | HttpOutcome::Reset { .. } | HttpOutcome::StreamRefused { .. } => true,
        _ => false,
    }
}

/// Headers that name the backend that answered, most specific first.
const BACKEND_MARKERS: [&str; 7] = ["x-backend", "x-served-by", "x-backend-server", "x-instance", "x-pod", "x-upstream", "server"];

fn count(rows: &mut Vec<(SampleRow, Vec<f64>)>, answer: &HttpExchange, took_ms: f64) {
    let (outcome, failed) = match &answer.outcome {
        HttpOutcome::Response(response) => (response.status.to_string(), response.status >= 500),
        HttpOutcome::Malformed { .. } => ("malformed".to_owned(), true),
        HttpOutcome::Closed { .. } => ("closed".to_owned(), true),
        HttpOutcome::Reset { .. } => ("reset".to_owned(), true),
        HttpOutcome::StreamRefused { reason } => (format!("stream {reason}"), true),
        HttpOutcome::Silent { .. } => ("timeout".to_owned(), true),
        HttpOutcome::Alert { name, .. } => (format!("alert {name}"), true),
        HttpOutcome::NoConnection { why } => (why.clone(), true),
    };
    let backend = match &answer.outcome {
        HttpOutcome::Response(response) => {
            BACKEND_MARKERS.iter().find_map(|name| response.header(name).map(|value| format!("{name}: {value}")))
        }
        _ => None,
    };
    add(rows, SampleRow { outcome, failed, to: answer.to, backend, count: 1, median_ms: 0.0 }, took_ms);
}

/// One more of a kind, or the first of it.
fn add(rows: &mut Vec<(SampleRow, Vec<f64>)>, new: SampleRow, took_ms: f64) {
    match rows.iter_mut().find(|(row, _)| row.outcome == new.outcome && row.to == new.to && row.backend == new.backend) {
        Some((row, times)) => {
            row.count += 1;
            times.push(took_ms);
        }
        None => rows.push((new, vec![took_ms])),
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}
