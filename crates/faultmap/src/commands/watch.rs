//! `faultmap check --watch`: again and again, and what changes. The asking is the crew's, the history is kept in [`Track`].
//!
//! Rounds begin on a grid of intervals and never overlap: one that takes longer than the interval skips a place.

use super::check::Plan;
use super::crew::{self, Done};
use super::{clock, file, many};
use crate::cli::{CheckArgs, EXIT_FAILED, Every, Until};
use crate::render::{self, Progress, Track};
use crate::terminal::{self, Choice, Terminal};
use anyhow::Context as _;
use faultmap_model::many::Tally;
use faultmap_model::{Report, Status};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

/// Recordings kept at the most: those of the first round, and of every change.
const MOST_RECORDINGS: usize = 1000;
/// `--watch` alone.
const USUAL: Duration = Duration::from_secs(5);

pub(super) fn run(args: &CheckArgs, plans: &[Plan], choice: Choice) -> anyhow::Result<i32> {
    let interval = match args.many.watch {
        Some(Every::Interval(interval)) => interval,
        _ => USUAL,
    };
    let wanted = usize::from(args.many.jobs).min(plans.len());
    let (jobs, limit) = crew::room_for(wanted);
    crew::tell_room(jobs, wanted, limit);
    let mut watch = Watch {
        args,
        plans,
        choice,
        tracks: plans.iter().map(|plan| Track::new(&plan.target.input)).collect(),
        folder: args.record.as_deref().map(many::folder).transpose()?,
        recorded: 0,
        failed: false,
        drawn: None,
        began: Instant::now(),
    };
    watch.rounds(interval, jobs)
}

struct Watch<'a> {
    args: &'a CheckArgs,
    plans: &'a [Plan],
    choice: Choice,
    tracks: Vec<Track>,
    folder: Option<PathBuf>,
    recorded: usize,
    failed: bool,
    /// Lines of the table that stands on the terminal.
    drawn: Option<usize>,
    began: Instant,
}

/// One report of `--watch --json`: that of a check, and which one it is.
#[derive(Serialize)]
struct Line<'a> {
    round: u32,
    at_unix_ms: i64,
    changed: bool,
    #[serde(flatten)]
    report: &'a Report,
}

impl Watch<'_> {
    fn rounds(&mut self, interval: Duration, jobs: usize) -> anyhow::Result<i32> {
        self.head(interval)?;
        let mut code = None;
        let origin = Instant::now();
        for number in 1.. {
            let at = SystemTime::now();
            let silent = Progress::begin(false, Terminal::of_environment(), "");
            let round = many::check(self.plans, jobs, &silent, &mut |_, _| {})?;
            for error in &round.failures {
                terminal::complain(error);
                self.failed = true;
            }
            if round.interrupted {
                break;
            }
            let reports: Vec<&Report> = round.slots.iter().flatten().map(|done| &done.report).collect();
            let verdicts: Vec<_> = reports.iter().map(|report| &report.verdict).collect();
            code = Some(i32::from(Tally::of(&verdicts, self.plans.len()).exit_code));
            if !self.take(number, at, &round.slots)? || self.is_over(number, &reports) {
                break;
            }
            if interrupted_before(next_on_grid(origin, interval, Instant::now())) {
                break;
            }
        }
        self.summary()?;
        // Interrupted before the first round was over: nothing can be said.
        let code = code.unwrap_or(super::check::EXIT_INTERRUPTED);
        Ok(if self.failed { EXIT_FAILED } else { code })
    }

    fn is_over(&self, number: u32, reports: &[&Report]) -> bool {
        let wanted = self.args.many.until.map(|until| match until {
            Until::Healthy => Status::Healthy,
            Until::Degraded => Status::Degraded,
            Until::Fault => Status::Fault,
            Until::Inconclusive => Status::Inconclusive,
        });
        let reached = wanted.is_some_and(|status| reports.iter().all(|report| report.verdict.status == status));
        reached || self.args.many.count.is_some_and(|count| number >= count)
    }

    /// Takes in what a round brought, and shows it. False when nobody reads any more.
    fn take(&mut self, number: u32, at: SystemTime, slots: &[many::Slot]) -> anyhow::Result<bool> {
        let now = Instant::now();
        let mut text = String::new();
        let mut lines = Vec::new();
        let one = self.plans.len() == 1;
        for place in 0..slots.len() {
            let (Some(done), Some(track)) = (slots.get(place).and_then(Option::as_ref), self.tracks.get_mut(place)) else { continue };
            let change = track.take(&done.report, now);
            let changed = change.is_some();
            if self.args.shown.json {
                let line = Line { round: number, at_unix_ms: clock::unix_ms(at), changed: changed && number > 1, report: &done.report };
                serde_json::to_writer(&mut lines, &line).context("cannot write the report as JSON")?;
                lines.push(b'\n');
            } else if changed || (one && !self.args.shown.quiet) {
                let terminal = Terminal::of_environment();
                text.push_str(&render::run_line(track, &clock::local_time(at), change.as_ref(), &done.report, one, terminal));
            }
            if changed {
                self.record(place, at, done);
            }
        }
        if self.args.shown.json {
            return terminal::offer_bytes(&lines);
        }
        match terminal::drawable_lines().filter(|_| !one) {
            Some(height) => self.draw(at, height),
            None if one => terminal::offer(&text, self.choice),
            None => {
                if !self.args.shown.quiet {
                    text.push_str(&render::round_line(&self.tracks, &clock::local_time(at), Terminal::of_environment()));
                }
                terminal::offer(&text, self.choice)
            }
        }
    }

    /// Puts the table in the place of the one before.
    fn draw(&mut self, at: SystemTime, height: usize) -> anyhow::Result<bool> {
        if let Some(lines) = self.drawn {
            // ECMA-48 8.3: CPL, ED. Not part of the text: without colours its escapes are taken out.
            terminal::offer_bytes(format!("\x1b[{lines}F\x1b[J").as_bytes())?;
        }
        let text = render::watch_table(&self.tracks, &clock::local_time(at), height, Terminal::of_environment());
        self.drawn = Some(text.lines().count());
        terminal::offer(&text, self.choice)
    }

    fn head(&self, interval: Duration) -> anyhow::Result<()> {
        if self.args.shown.json || self.args.shown.quiet {
            return Ok(());
        }
        let what = match self.plans {
            [plan] => plan.target.input.clone(),
            plans => render::count(plans.len() as u64, "target"),
        };
        let whole = interval.subsec_nanos() == 0;
        let every = if whole { clock::span(interval) } else { render::time(interval.as_secs_f64() * 1e3) };
        terminal::print(&render::watch_head(&what, &every, Terminal::of_environment()), self.choice)
    }

    /// How it went, on stdout; beside JSON on stderr.
    fn summary(&self) -> anyhow::Result<()> {
        let text = render::watch_summary(&self.tracks, &clock::span(self.began.elapsed()), Terminal::of_environment());
        if self.args.shown.json {
            terminal::say_as(&text, self.choice);
            return Ok(());
        }
        terminal::print(&text, self.choice)
    }

    /// The evidence of the first round and of every change.
    fn record(&mut self, place: usize, at: SystemTime, done: &Done) {
        let (Some(folder), Some(plan)) = (&self.folder, self.plans.get(place)) else { return };
        if self.recorded >= MOST_RECORDINGS {
            return;
        }
        let path = folder.join(format!("{}.{}.jsonl", many::file_name(&plan.target.input), clock::stamp(at)));
        self.recorded += 1;
        if self.recorded == MOST_RECORDINGS {
            terminal::say(&format!("faultmap: {MOST_RECORDINGS} recordings are kept; further changes are shown only\n"));
        }
        if let Err(error) = file::replace(&path, &done.bytes)
            && !std::mem::replace(&mut self.failed, true)
        {
            terminal::complain(&error);
        }
    }
}

/// The next place on the grid that began with the first round.
fn next_on_grid(origin: Instant, interval: Duration, now: Instant) -> Instant {
    let passed = now.saturating_duration_since(origin).as_nanos() / interval.as_nanos().max(1);
    let places = u32::try_from(passed).unwrap_or(u32::MAX - 1) + 1;
    origin.checked_add(interval.saturating_mul(places)).unwrap_or(now)
}

/// Waits; true when Ctrl-C came first.
fn interrupted_before(when: Instant) -> bool {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        std::thread::sleep(when.saturating_duration_since(Instant::now()));
        return false;
    };
    runtime.block_on(async { tokio::time::timeout_at(when.into(), tokio::signal::ctrl_c()).await.is_ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_stay_on_the_grid_and_skip_what_they_missed() {
        let origin = Instant::now();
        let check = |took_ms: u64, next_ms: u64| {
            let next = next_on_grid(origin, Duration::from_millis(1000), origin + Duration::from_millis(took_ms));
            assert_eq!(next - origin, Duration::from_millis(next_ms), "{took_ms}");
        };
        check(0, 1000);
        check(200, 1000);
        check(1000, 2000);
        check(3500, 4000);
    }
}
