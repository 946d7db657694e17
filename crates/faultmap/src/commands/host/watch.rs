//! `faultmap host --watch`: again and again, on the full screen or as JSON lines. It works on a sample or a key, and sleeps between.

use super::drops::{Counting, with_drops};
use super::history::History;
use crate::cli::{EXIT_FAILED, HostArgs};
use crate::commands::check::EXIT_INTERRUPTED;
use crate::commands::clock;
use crate::render::{Board, Deed, Looks, draw};
use crate::terminal::{self, Choice, Screen, Terminal};
use anyhow::{Context as _, bail};
use faultmap_host::{Sampler, Wanted};
use faultmap_model::host::{HostReport, HostSample};
use ratatui::crossterm::event::{Event, read};
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The file of a history gets a point no more often.
const SPACING: Duration = Duration::from_secs(10);
/// Keys that wait; a paste of more is cut.
const MOST_KEYS: usize = 64;

pub(super) fn run(args: &HostArgs, history: History, place: Option<String>, choice: Choice) -> anyhow::Result<i32> {
    if !args.json && !Screen::possible() {
        bail!("--watch draws on a terminal, and there is none; for a program, use --watch --json, --prometheus or --listen");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let counting = Counting::begin(args);
    let mut sampler = Sampler::new(Wanted::default());
    let before = sampler.sample();
    let mut watch = Watch { args, history, sampler, counting, before, written: None, taken: 0, code: None, failed: false };
    let done = runtime.block_on(async {
        let signals = Signals::new()?;
        if args.json { watch.lines(signals).await } else { watch.screen(signals, place, choice).await }
    });
    runtime.shutdown_background();
    done?;
    // Interrupted before the second sample: no rate is known.
    let code = watch.code.unwrap_or(EXIT_INTERRUPTED);
    Ok(if watch.failed { EXIT_FAILED } else { code })
}

struct Watch<'a> {
    args: &'a HostArgs,
    history: History,
    sampler: Sampler,
    counting: Option<Counting>,
    before: HostSample,
    /// When the history was last written.
    written: Option<Instant>,
    /// Reports made.
    taken: u64,
    code: Option<i32>,
    failed: bool,
}

impl Watch<'_> {
    /// The next sample against the one before.
    fn next(&mut self) -> (HostReport, anyhow::Result<()>) {
        let after = self.sampler.sample();
        let report = HostReport::new(&self.before, &after, self.history.points(after.hostname.as_deref(), after.namespace));
        let report = with_drops(report, self.counting.as_mut());
        self.before = after;
        self.taken += 1;
        self.code = Some(i32::from(report.exit_code()));
        self.history.remember(&report);
        let due = self.written.is_none_or(|written| written.elapsed() >= SPACING);
        let written = if due { self.history.write(&report) } else { Ok(()) };
        if due {
            self.written = Some(Instant::now());
        }
        self.failed |= written.is_err();
        (report, written)
    }

    fn is_over(&self) -> bool {
        self.args.count.is_some_and(|count| self.taken >= count)
    }

    /// One object a line, until the reader or the user has enough.
    async fn lines(&mut self, mut signals: Signals) -> anyhow::Result<()> {
        let mut next = Instant::now() + self.args.interval;
        while !self.is_over() {
            tokio::select! {
                () = signals.end() => break,
                () = tokio::time::sleep_until(next) => {}
            }
            let (report, written) = self.next();
            if let Err(error) = written {
                terminal::complain(&error);
            }
            let mut line = serde_json::to_vec(&report).context("cannot write the report as JSON")?;
            line.push(b'\n');
            if !terminal::offer_bytes(&line)? {
                break;
            }
            next = later(next, self.args.interval);
        }
        Ok(())
    }

    async fn screen(&mut self, mut signals: Signals, place: Option<String>, choice: Choice) -> anyhow::Result<()> {
        let looks = Looks { utf8: Terminal::of_environment().utf8, colored: terminal::colored(choice) };
        let mut board = Board::new(looks, self.args.interval, place, self.args.drops);
        // The bars are known at once, the rates after the first interval.
        let still = HostReport::new(&self.before, &self.before, &[]);
        board.begin(still, clock::local_time(SystemTime::now()));
        let mut screen = Screen::take()?;
        let mut events = events();
        let mut next = Instant::now() + self.args.interval;
        let drawn = loop {
            if let Err(error) = screen.draw(|frame| draw(frame, &board)) {
                break Err(error);
            }
            let deed = tokio::select! {
                () = signals.end() => Deed::Quit,
                event = events.recv() => match event {
                    Some(event) => heard(&mut board, event, &mut events),
                    None => Deed::Quit,
                },
                () = tokio::time::sleep_until(next), if board.interval().is_some() => {
                    let (report, written) = self.next();
                    if let Err(error) = written {
                        board.tell(format!("{error:#}"));
                    }
                    board.take(report, clock::local_time(SystemTime::now()));
                    next = later(next, board.interval().unwrap_or(self.args.interval));
                    if self.is_over() { Deed::Quit } else { Deed::Draw }
                }
            };
            match deed {
                Deed::Quit => break Ok(()),
                Deed::Pace => next = Instant::now() + board.interval().unwrap_or(self.args.interval),
                Deed::Draw | Deed::Nothing => {}
            }
        };
        drop(screen);
        drawn
    }
}

/// The keys that came together are one drawing.
fn heard(board: &mut Board, first: Event, events: &mut mpsc::Receiver<Event>) -> Deed {
    let mut deed = Deed::Nothing;
    let mut event = Some(first);
    while let Some(heard) = event {
        let asked = match heard {
            Event::Key(key) => board.press(key),
            Event::Resize(..) => Deed::Draw,
            _ => Deed::Nothing,
        };
        if asked == Deed::Quit {
            return asked;
        }
        deed = if asked == Deed::Nothing || deed == Deed::Pace { deed } else { asked };
        event = events.try_recv().ok();
    }
    deed
}

/// Keys and changes of size, read on a thread of their own, which sleeps in the kernel until there is one. It ends with the program.
fn events() -> mpsc::Receiver<Event> {
    let (send, receive) = mpsc::channel(MOST_KEYS);
    let listen = move || {
        while let Ok(event) = read() {
            if send.blocking_send(event).is_err() {
                break;
            }
        }
    };
    // Without the thread the channel is closed, and the screen goes away at once.
    let _ = std::thread::Builder::new().name("keys".to_owned()).spawn(listen);
    receive
}

/// The next place on the grid; those that were missed are left out.
fn later(due: Instant, interval: Duration) -> Instant {
    let next = due + interval;
    let now = Instant::now();
    if next > now { next } else { now + interval }
}

/// What ends a program from outside.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let hear = |kind| signal(kind).context("cannot hear signals");
        Ok(Self([hear(SignalKind::interrupt())?, hear(SignalKind::terminate())?, hear(SignalKind::hangup())?]))
    }

    async fn end(&mut self) {
        let [interrupted, terminated, hung_up] = self.0.each_mut();
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
            _ = hung_up.recv() => {}
        }
    }
}
