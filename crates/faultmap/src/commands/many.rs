//! `faultmap check` with several targets: side by side, the worst first, and what they share. The asking is the crew's.

use super::check::Plan;
use super::crew::{self, Done, Event};
use super::file;
use crate::cli::{CheckArgs, EXIT_FAILED};
use crate::render::{self, Progress};
use crate::terminal::{self, Choice, Terminal};
use anyhow::{Context as _, bail};
use faultmap_model::many::{Checks, SCHEMA, Tally, badness};
use faultmap_model::{Report, Status};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Looking again at verdicts that others may have spoiled takes no longer than this.
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// A cause that has been confirmed so often in a row is believed of the others.
const CONFIRMED: usize = 2;
/// So many at a time do not hold each other up.
const FEW: usize = 4;
/// A check that waited so long for a processor, and for such a share of its time, may call a target slow when we are.
const STARVED_MS: f64 = 15.0;
const STARVED_SHARE: f64 = 0.05;
/// Observations that tell of the whole host, and so of the checks beside too.
const HOST_WIDE: [&str; 5] = ["counters", "link.delta", "ingress.gap", "host.tables", "host.flows"];

/// One target's place in the result.
pub(super) type Slot = Option<Box<Done>>;

/// Everything that a round brought.
pub(super) struct Round {
    pub(super) slots: Vec<Slot>,
    pub(super) failures: Vec<anyhow::Error>,
    pub(super) interrupted: bool,
}

pub(super) fn run(args: &CheckArgs, plans: &[Plan], choice: Choice) -> anyhow::Result<i32> {
    let folder = args.record.as_deref().map(folder).transpose()?;
    let wanted = usize::from(args.many.jobs).min(plans.len());
    let (jobs, limit) = crew::room_for(wanted);
    crew::tell_room(jobs, wanted, limit);
    let watched = terminal::watched() && !args.shown.json;
    let progress = Progress::begin(watched, Terminal::of_environment(), &format!("checking {} targets, {jobs} at a time", plans.len()));
    let mut record = Recorder { folder, plans, failed: None };
    let round = check(plans, jobs, &progress, &mut |number, done| record.keep(number, done))?;
    progress.end();
    if round.interrupted {
        terminal::say("faultmap: interrupted; this is what was seen until then\n");
    }
    let reports: Vec<&Report> = round.slots.iter().flatten().map(|done| &done.report).collect();
    let verdicts: Vec<_> = reports.iter().map(|report| &report.verdict).collect();
    let tally = Tally::of(&verdicts, plans.len());
    let code = i32::from(tally.exit_code);
    deliver(args, reports, tally, choice)?;
    let failures = round.failures.iter().chain(&record.failed);
    let failed = failures.map(terminal::complain).count() > 0;
    Ok(if failed { EXIT_FAILED } else { code })
}

/// Prints what came out.
fn deliver(args: &CheckArgs, mut reports: Vec<&Report>, tally: Tally, choice: Choice) -> anyhow::Result<()> {
    if args.shown.json {
        let checks = Checks { schema: SCHEMA, results: reports, summary: tally };
        let mut line = serde_json::to_vec(&checks).context("cannot write the reports as JSON")?;
        line.push(b'\n');
        return terminal::print_bytes(&line);
    }
    reports.sort_by_key(|report| badness(&report.verdict));
    terminal::print(&render::table(&reports, &tally, args.shown, Terminal::of_environment()), choice)
}

/// Checks all of them once; `keep` is called with each verdict that stands.
pub(super) fn check(plans: &[Plan], jobs: usize, progress: &Progress, keep: &mut dyn FnMut(usize, &Done)) -> anyhow::Result<Round> {
    let mut round = Round { slots: plans.iter().map(|_| None).collect(), failures: Vec::new(), interrupted: false };
    let numbers: Vec<usize> = (0..plans.len()).collect();
    round.ask(plans, &numbers, jobs, progress, keep)?;
    if jobs > 1 {
        round.look_again(plans, progress, keep)?;
    }
    Ok(round)
}

impl Round {
    fn ask(
        &mut self,
        plans: &[Plan],
        numbers: &[usize],
        jobs: usize,
        progress: &Progress,
        keep: &mut dyn FnMut(usize, &Done),
    ) -> anyhow::Result<()> {
        let (mut ended, mut running) = (0, 0_usize);
        crew::work(plans, numbers, jobs, |event| match event {
            Event::Began => running += 1,
            Event::Ended(number, done) => {
                (ended, running) = (ended + 1, running.saturating_sub(1));
                match done {
                    Ok(done) => {
                        keep(number, &done);
                        self.tell(progress, ended, numbers.len(), running, &done.report);
                        if let Some(slot) = self.slots.get_mut(number) {
                            *slot = Some(done);
                        }
                    }
                    Err(error) => {
                        let target = plans.get(number).map_or("", |plan| plan.target.input.as_str());
                        self.failures.push(error.context(format!("could not check {target}")));
                    }
                }
            }
            Event::Interrupted => {
                self.interrupted = true;
                progress.tell(|| "interrupted: judging what was seen; Ctrl-C again to leave at once".to_owned());
            }
        })
    }

    fn tell(&self, progress: &Progress, ended: usize, of: usize, running: usize, last: &Report) {
        progress.tell(|| {
            let sick = self.slots.iter().flatten().filter(|done| done.report.verdict.status != Status::Healthy).count();
            let bad = if sick > 0 { format!(" · {sick} not healthy") } else { String::new() };
            format!("{ended} of {of} checked · {running} under way{bad} · {} {}", last.target.input, last.verdict.status.word())
        });
    }

    /// A verdict that other checks may have spoiled is taken again, and the second one counts: with nothing beside it when it rests on what the
    /// whole host shares, else a few at a time. A cause that a few of them confirm is believed of the others.
    fn look_again(&mut self, plans: &[Plan], progress: &Progress, keep: &mut dyn FnMut(usize, &Done)) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut suspects: Vec<(Option<String>, Spoiled, Vec<usize>)> = Vec::new();
        for (number, done) in self.slots.iter().enumerate().filter_map(|(number, slot)| Some((number, slot.as_ref()?))) {
            let Some(how) = spoiled(done) else { continue };
            let cause = &done.report.verdict.cause;
            match suspects.iter_mut().find(|(known, known_how, _)| (known, *known_how) == (cause, how)) {
                Some((_, _, numbers)) => numbers.push(number),
                None => suspects.push((cause.clone(), how, vec![number])),
            }
        }
        for (cause, how, numbers) in suspects {
            let jobs = if how == Spoiled::Shared { 1 } else { FEW };
            for few in numbers.chunks(if how == Spoiled::Shared { CONFIRMED } else { FEW }) {
                if self.interrupted || started.elapsed() > AGAIN_AT_MOST {
                    return Ok(());
                }
                progress.tell(|| format!("looking again at {}, with little beside", cause.as_deref().unwrap_or("what stays open")));
                self.ask(plans, few, jobs, progress, keep)?;
                let stands =
                    |number: &usize| self.slots.get(*number).and_then(Option::as_ref).is_some_and(|d| d.report.verdict.cause == cause);
                if few.iter().all(stands) {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// What other checks may have done to a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoiled {
    /// It rests on what the whole host counts, or on routers that answer only so many times a second.
    Shared,
    /// It rests on time, and the check waited for a processor.
    Late,
}

fn spoiled(done: &Done) -> Option<Spoiled> {
    let verdict = &done.report.verdict;
    if verdict.status == Status::Healthy {
        return None;
    }
    let cited = done.report.observations.iter().filter(|o| verdict.because.contains(&o.id)).map(|o| o.seen.kind());
    let shared = |kind: &str| HOST_WIDE.contains(&kind) || matches!(kind, "path.walk" | "icmp.echo");
    if verdict.status == Status::Inconclusive || cited.into_iter().any(shared) {
        return Some(Spoiled::Shared);
    }
    let late = done.starved_ms >= STARVED_MS.max(done.report.timing.total_ms * STARVED_SHARE);
    late.then_some(Spoiled::Late)
}

/// The folder of the recordings: there, or made now.
pub(super) fn folder(path: &Path) -> anyhow::Result<PathBuf> {
    if path == Path::new("-") {
        bail!("--record - can hold one recording; give --record a folder");
    }
    if path.exists() && !path.is_dir() {
        bail!("cannot write into {}: it is no folder, and several recordings want one", path.display());
    }
    std::fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
    Ok(path.to_owned())
}

/// Writes recordings as they come. The first that cannot be written is told at the end.
struct Recorder<'a> {
    folder: Option<PathBuf>,
    plans: &'a [Plan],
    failed: Option<anyhow::Error>,
}

impl Recorder<'_> {
    fn keep(&mut self, number: usize, done: &Done) {
        let (Some(folder), Some(plan)) = (&self.folder, self.plans.get(number)) else { return };
        let digits = self.plans.len().to_string().len();
        let name = format!("{:0digits$}-{}.jsonl", number + 1, file_name(&plan.target.input));
        if let Err(error) = file::replace(&folder.join(name), &done.bytes) {
            self.failed.get_or_insert(error);
        }
    }
}

/// A target as part of a file's name.
pub(super) fn file_name(target: &str) -> String {
    const LONGEST: usize = 80;
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    let name: String = target.replace("://", "_").chars().take(LONGEST).map(plain).collect();
    name.trim_matches(['.', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_target_makes_a_plain_file_name() {
        let check = |target: &str, expect: &str| assert_eq!(file_name(target), expect);
        check("https://shop.test/a/../b?x=1", "https_shop.test_a_.._b_x_1");
        check("tcp://[::1]:80", "tcp____1__80");
        check("../../etc", "etc");
        check("\u{1b}[2J", "2J");
        check(&"a".repeat(500), &"a".repeat(80));
    }
}
