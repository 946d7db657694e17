//! `faultmap host`: samples this host, twice or again and again, and shows it. The sampling is the host crate's, the judging the model's.

mod drops;
mod history;
mod once;
mod serve;
mod watch;

use super::place;
use crate::cli::HostArgs;
use crate::render::{self, Beside, Units};
use crate::terminal::{self, Choice};
use faultmap_host::{Sampler, Wanted};
use faultmap_model::host::{HostReport, HostSample};
use faultmap_model::recording::Vantage;
use nix::unistd::{SysconfVar, sysconf};
use std::time::Instant;

pub(super) fn run(args: &HostArgs, choice: Choice) -> anyhow::Result<i32> {
    // In our own namespace: a container's metrics are fetched from outside of it.
    let bound = args.listen.as_ref().map(serve::Bound::new).transpose()?;
    let history = history::History::open(args.history.as_deref())?;
    // Before the first thread: a namespace is entered by the whole process or by a part of it.
    let from = place::enter_chosen(args.netns.as_deref(), args.pid)?;
    let place = from.as_ref().map(place_words);
    match bound {
        Some(bound) => serve::serve(bound, scrapes(drops::Counting::begin(args))).map(|()| 0),
        None if args.prometheus => {
            let (sample, took_s) = timed(&mut Sampler::new(Wanted::default()));
            let text = render::prometheus(&sample, units(), Beside { took_s: Some(took_s), ..Beside::default() });
            terminal::print_bytes(text.as_bytes()).map(|()| 0)
        }
        None if args.watch => watch::run(args, history, place, choice),
        None => once::run(args, history, place.as_deref(), choice),
    }
}

/// One sample, and how many seconds it took.
fn timed(sampler: &mut Sampler) -> (HostSample, f64) {
    let began = Instant::now();
    let sample = sampler.sample();
    (sample, began.elapsed().as_secs_f64())
}

/// What `/metrics` answers: the sample, and what happened since the one before.
fn scrapes(counting: Option<drops::Counting>) -> impl FnMut() -> String {
    let mut sampler = Sampler::new(Wanted::default());
    let mut before = sampler.sample();
    move || {
        let (after, took_s) = timed(&mut sampler);
        let report = HostReport::new(&before, &after, &[]);
        before = after;
        let drops = counting.as_ref().and_then(drops::Counting::all);
        render::prometheus(&before, units(), Beside { report: Some(&report), took_s: Some(took_s), drops: drops.as_ref() })
    }
}

/// `netns shop`, `process 4711 (nginx)`.
fn place_words(from: &Vantage) -> String {
    match (&from.netns, from.pid, &from.program) {
        (Some(name), ..) => format!("netns {name}"),
        (None, Some(pid), Some(program)) => format!("process {pid} ({program})"),
        (None, Some(pid), None) => format!("process {pid}"),
        (None, None, _) => String::new(),
    }
}

fn units() -> Units {
    let of = |name, usual| sysconf(name).ok().flatten().and_then(|number| u64::try_from(number).ok()).unwrap_or(usual);
    Units { page_bytes: of(SysconfVar::PAGE_SIZE, 4096), ticks_per_second: of(SysconfVar::CLK_TCK, 100) }
}
