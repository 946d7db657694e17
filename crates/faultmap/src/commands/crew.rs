//! Several checks at a time, on threads with a runtime each, so that they hold each other up as little as can be. It prints nothing.
//!
//! Reading the kernel's tables blocks for milliseconds, and those are added to the times of every check on the same runtime: so a thread for
//! each check, up to so many threads as memory is worth, and beyond that a few checks to a thread. What a thread had to wait for a processor
//! is known to the kernel, and kept with the verdict.

use super::check::{EXIT_INTERRUPTED, Plan, asked, outcome};
use crate::terminal;
use anyhow::Context as _;
use faultmap_model::{Recording, Report};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};
use tokio::sync::mpsc;

/// Descriptors that a check holds at the most: three walks of 24 hops side by side, and the connects beside them.
const DESCRIPTORS_EACH: u64 = 120;
/// Threads. The stack of a check takes up to 1.4 MB in a build without optimisation.
const MOST_THREADS: usize = 64;
/// Descriptors of our own.
const DESCRIPTORS_OWN: u64 = 64;

/// One target's end.
pub(super) struct Done {
    pub(super) report: Report,
    /// The recording as it would be written.
    pub(super) bytes: Vec<u8>,
    /// How long the check's thread was ready to run and had no processor.
    pub(super) starved_ms: f64,
}

/// What goes on.
pub(super) enum Event {
    Began,
    Ended(usize, anyhow::Result<Box<Done>>),
    /// Ctrl-C: no further target is begun, and those under way end with what they have.
    Interrupted,
}

/// How many checks can go on at the same time, with the limit of open files raised as far as it goes; `(possible, limit)`.
pub(super) fn room_for(wanted: usize) -> (usize, u64) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return (1, 0) };
    let needed = DESCRIPTORS_OWN + DESCRIPTORS_EACH * wanted as u64;
    let raised = needed.clamp(soft, hard.max(soft));
    let limit = if raised > soft && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() { raised } else { soft };
    let room = usize::try_from(limit.saturating_sub(DESCRIPTORS_OWN) / DESCRIPTORS_EACH).unwrap_or(wanted);
    (room.clamp(1, wanted.max(1)), limit)
}

/// As much as a main thread usually has; only what is touched takes memory.
const STACK: usize = 8 * 1024 * 1024;

/// Checks the plans of these numbers, so many at a time; `heard` is called on this thread.
pub(super) fn work(plans: &[Plan], numbers: &[usize], jobs: usize, mut heard: impl FnMut(Event)) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let outcome = std::thread::scope(|scope| {
        let (events, mut hearing) = mpsc::unbounded_channel();
        let jobs = jobs.clamp(1, numbers.len().max(1));
        let threads = jobs.min(MOST_THREADS);
        for started in 0..threads {
            let share = jobs / threads + usize::from(started < jobs % threads);
            let hand = Hand { plans, numbers, next: &next, stop: &stop, events: events.clone() };
            let worker = move || hand.toil(share);
            let thread = std::thread::Builder::new().name("check".to_owned()).stack_size(STACK).spawn_scoped(scope, worker);
            // With one worker the work gets done, if later.
            if started == 0 {
                thread.context("cannot start a thread")?;
            } else if thread.is_err() {
                break;
            }
        }
        drop(events);
        runtime.block_on(async {
            loop {
                tokio::select! {
                    event = hearing.recv() => match event {
                        Some(event) => heard(event),
                        None => break,
                    },
                    pressed = tokio::signal::ctrl_c() => if pressed.is_ok() {
                        if stop.swap(true, Ordering::Relaxed) {
                            std::process::exit(EXIT_INTERRUPTED);
                        }
                        plans.iter().filter_map(|plan| plan.options.interrupt.as_ref()).for_each(|notify| notify.notify_one());
                        heard(Event::Interrupted);
                    },
                }
            }
        });
        anyhow::Ok(())
    });
    runtime.shutdown_background();
    outcome
}

/// One thread's part.
struct Hand<'a> {
    plans: &'a [Plan],
    numbers: &'a [usize],
    next: &'a AtomicUsize,
    stop: &'a AtomicBool,
    events: mpsc::UnboundedSender<Event>,
}

impl Hand<'_> {
    /// Takes one target after the other, `share` at a time.
    fn toil(&self, share: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime.map_err(drop).and_then(|runtime| if share > 1 { Ok(runtime) } else { Err(()) }) else {
            // One at a time, or no descriptors for a runtime, which is then each target's finding.
            while let Some((number, plan)) = self.take() {
                let before = Spent::now();
                self.give(number, plan, asked(plan, None, std::future::pending()), before.starved_ms(share));
            }
            return;
        };
        runtime.block_on(async {
            let mut under_way = FuturesUnordered::new();
            loop {
                while under_way.len() < share
                    && let Some((number, plan)) = self.take()
                {
                    let (before, started, clock) = (Spent::now(), SystemTime::now(), Instant::now());
                    under_way.push(Box::pin(async move {
                        let checked = faultmap_probe::check(&plan.target, &plan.options, None).await;
                        (number, plan, before, outcome(plan, checked, started, clock))
                    }));
                }
                let Some((number, plan, before, recording)) = under_way.next().await else { break };
                self.give(number, plan, recording, before.starved_ms(share));
            }
        });
        // Not dropped: that would wait for a thread that still is in getaddrinfo.
        runtime.shutdown_background();
    }

    fn take(&self) -> Option<(usize, &Plan)> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let number = *self.numbers.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        let plan = self.plans.get(number)?;
        let _ = self.events.send(Event::Began);
        Some((number, plan))
    }

    fn give(&self, number: usize, plan: &Plan, recording: anyhow::Result<Recording>, starved_ms: f64) {
        let done = recording.and_then(|recording| plan.conclude(recording));
        let done = done.map(|(report, bytes)| Box::new(Done { report, bytes, starved_ms }));
        let _ = self.events.send(Event::Ended(number, done));
    }
}

/// What this thread has used and waited for (Documentation/scheduler/sched-stats.rst: nanoseconds on a processor, and ready to run without
/// one). Zero where the kernel does not say.
struct Spent {
    ran_ms: f64,
    waited_ms: f64,
}

impl Spent {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let mut numbers = text.split_ascii_whitespace().map(|ns| ns.parse::<f64>().map_or(0.0, |ns| ns / 1e6));
        Self { ran_ms: numbers.next().unwrap_or_default(), waited_ms: numbers.next().unwrap_or_default() }
    }

    /// How long a check that began then may have been held up: by other processes, and by those on the same thread.
    fn starved_ms(&self, share: usize) -> f64 {
        let now = Self::now();
        let beside = if share > 1 { now.ran_ms - self.ran_ms } else { 0.0 };
        now.waited_ms - self.waited_ms + beside
    }
}

/// Says that fewer checks go on at a time than were asked for.
pub(super) fn tell_room(jobs: usize, wanted: usize, limit: u64) {
    if jobs < wanted {
        terminal::say(&format!(
            "faultmap: {jobs} checks at a time instead of {wanted}: this process may open {limit} files only (raise it with ulimit -n)\n"
        ));
    }
}
