//! `faultmap lab`: networks broken on purpose. The lab builds, breaks and grades; this file chooses and shows.

use super::file;
use crate::cli::{EXIT_FAILED, LabArgs, LabCommand, LabRunArgs, LabUpArgs};
use crate::render::{self, BOLD, CYAN, DIM, GREEN, PLAIN, Paper, Progress, RED};
use crate::terminal::{self, Choice, Terminal};
use anyhow::{Context as _, bail};
use faultmap_lab::report::Accuracy;
use faultmap_lab::runner::{CheckProgram, Ended, Run, UpJob, Variant, WORKER_SUBCOMMAND};
use faultmap_lab::scenario::{Status, Subject};
use faultmap_lab::{Library, Privilege, Progress as Step, Results, RunOptions, Scenario, Worker, report};
use serde_json::json;
use std::io::{ErrorKind, stdin, stdout};
use std::path::{Path, PathBuf};

/// Some run did not go as its scenario calls for.
const EXIT_NOT_AS_EXPECTED: i32 = 1;

/// Does a worker's job, if this process was started as one. `None` for everybody else.
///
/// Must be called before any thread exists: the worker enters namespaces of its own.
pub(crate) fn worker() -> Option<i32> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != WORKER_SUBCOMMAND {
        return None;
    }
    let job = arguments.next().map(|job| job.to_string_lossy().into_owned());
    let done = faultmap_lab::worker_main(job.as_deref(), &mut stdin().lock(), &mut stdout().lock());
    Some(done.unwrap_or_else(|error| {
        terminal::complain(&error.into());
        EXIT_FAILED
    }))
}

pub(super) fn run(args: LabArgs, choice: Choice) -> anyhow::Result<i32> {
    let library = || match &args.scenarios {
        Some(folder) => Library::folder(folder).context("cannot read the scenarios"),
        None => Library::embedded().context("the scenarios built in are broken"),
    };
    match args.command {
        LabCommand::List { text, json } => list(&library()?, text.as_deref().unwrap_or_default(), json, choice),
        LabCommand::Show { name } => show(library()?.get(&name)?, choice),
        LabCommand::Run(run) => run_scenarios(&library()?, &run, choice),
        LabCommand::Up(up) => live(library()?.get(&up.name)?, up),
        LabCommand::Demo => demo(choice),
    }
}

fn list(library: &Library, text: &str, json: bool, choice: Choice) -> anyhow::Result<i32> {
    let chosen: Vec<&Scenario> = library.matching(text).collect();
    if json {
        let all: Vec<_> = chosen.iter().map(|scenario| scenario.summary()).collect();
        let object = json!({ "schema": report::SCHEMA, "scenarios": all });
        terminal::print_bytes(format!("{object}\n").as_bytes())?;
        return Ok(0);
    }
    if chosen.is_empty() {
        library.get(text)?;
    }
    let mut paper = Paper::new(Terminal::of_environment());
    let mut sorted = chosen.clone();
    sorted.sort_by(|a, b| (a.expect.layer, &a.expect.cause, &a.id).cmp(&(b.expect.layer, &b.expect.cause, &b.id)));
    let widest = sorted.iter().map(|scenario| scenario.id.len()).max().unwrap_or(0);
    let mut layer = None;
    for scenario in sorted {
        if layer != Some(scenario.expect.layer) {
            layer = Some(scenario.expect.layer);
            paper.put(BOLD, &format!("{}", scenario.expect.layer)).end();
        }
        paper.blank(2).put(CYAN, &scenario.id).blank(widest - scenario.id.len() + 2).wrapped(PLAIN, &scenario.name, 4 + widest.min(34));
    }
    paper.end().put(DIM, &format!("{}; faultmap lab show NAME, run NAME, up NAME", render::count(chosen.len() as u64, "scenario"))).end();
    terminal::print(&paper.finish(), choice)?;
    Ok(0)
}

fn show(scenario: &Scenario, choice: Choice) -> anyhow::Result<i32> {
    let mut paper = Paper::new(Terminal::of_environment());
    paper.put(CYAN.bold(), &scenario.id).blank(2).wrapped(BOLD, &scenario.name, 2);
    paper.wrapped(PLAIN, &scenario.story, 2);
    let verdict =
        format!("{} at {}, {}", format!("{:?}", scenario.expect.status).to_lowercase(), scenario.expect.layer, scenario.expect.cause);
    for (name, value) in [("network", scenario.topology.as_str()), ("check", &check_line(scenario)), ("expected", &verdict)] {
        paper.blank(2).cell(DIM, name, 10).wrapped(PLAIN, value, 12);
    }
    paper.heading(&format!("{}.toml", scenario.id));
    for line in scenario.text.lines() {
        paper.blank(2).put(PLAIN, line).end();
    }
    terminal::print(&paper.finish(), choice)?;
    Ok(0)
}

fn check_line(scenario: &Scenario) -> String {
    if let Some(host) = &scenario.host {
        let arguments: String = host.args.iter().map(|argument| format!(" {argument}")).collect();
        return format!("faultmap host{arguments}, on {}", host.at);
    }
    let arguments: String = scenario.args.iter().map(|argument| format!(" {argument}")).collect();
    format!("faultmap check {}{arguments}", scenario.target)
}

fn run_scenarios(library: &Library, args: &LabRunArgs, choice: Choice) -> anyhow::Result<i32> {
    let mut options = RunOptions::new(chosen(library, args)?, this_program()?, this_worker()?);
    options.privileges = match (args.root, args.unprivileged) {
        (true, _) => vec![Privilege::Root],
        (_, true) => vec![Privilege::Unprivileged],
        _ => options.privileges,
    };
    if args.no_twin {
        options.variants = vec![Variant::Faulty];
    }
    if let Some(jobs) = args.jobs {
        options.jobs = usize::try_from(jobs).unwrap_or(1);
    }
    options.affects_host = args.affects_host;
    options.witness = args.witness;
    options.record = args.record.as_deref().map(folder).transpose()?;
    options.capture = args.capture.as_deref().map(folder).transpose()?;
    let results = run_and_tell(&options, args.json, choice)?;
    if let Some(path) = &args.report {
        file::replace(path, report::markdown(&results).as_bytes())?;
    }
    if args.json {
        terminal::print_bytes(format!("{}\n", report::json(&results)).as_bytes())?;
    } else {
        terminal::print(&summary(&results, args.report.as_deref()), choice)?;
    }
    Ok(if results.runs.iter().all(|run| run.as_expected) { 0 } else { EXIT_NOT_AS_EXPECTED })
}

/// A folder to write into, made if it is not there.
fn folder(path: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
    path.canonicalize().with_context(|| format!("cannot find the folder {}", path.display()))
}

fn chosen(library: &Library, args: &LabRunArgs) -> anyhow::Result<Vec<Scenario>> {
    if args.all {
        return Ok(library.all().to_vec());
    }
    let mut chosen: Vec<Scenario> = Vec::new();
    for name in &args.names {
        let found: Vec<&Scenario> = library.matching(name).collect();
        if found.is_empty() {
            library.get(name)?;
        }
        chosen
            .extend(found.into_iter().filter(|scenario| !chosen.iter().any(|known| known.id == scenario.id)).cloned().collect::<Vec<_>>());
    }
    if chosen.is_empty() {
        bail!("no scenario chosen; `faultmap lab list` shows them");
    }
    Ok(chosen)
}

/// A line for each run as it ends, unless JSON is wanted; a spinner meanwhile, if anybody watches.
fn run_and_tell(options: &RunOptions, json: bool, choice: Choice) -> anyhow::Result<Results> {
    let terminal = Terminal::of_environment();
    let progress = Progress::begin(terminal::watched(), terminal, "building networks");
    let mut printed = Ok(());
    let results = faultmap_lab::run_all(options, |step| match step {
        Step::Started { scenario, variant, privilege } => {
            progress.tell(|| format!("running {scenario} ({}, {})", variant_word(variant), privilege_word(privilege)))
        }
        Step::Finished { run, done, total } => {
            if !json && printed.is_ok() {
                printed = progress.aside(|| terminal::print(&run_line(run, done, total, terminal), choice));
            }
        }
    });
    printed.map(|()| results)
}

fn run_line(run: &Run, done: usize, total: usize, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    let (sign, style) = if run.as_expected { (paper.either("✔", "+"), GREEN) } else { (paper.either("✘", "x"), RED.bold()) };
    let digits = total.to_string().len();
    paper.cell_right(DIM, &format!("{done}/{total}"), 2 * digits + 1).blank(1).put(style, sign).blank(1);
    paper
        .cell(PLAIN, &run.scenario, 30)
        .blank(1)
        .cell(DIM, variant_word(run.variant), 6)
        .blank(1)
        .cell(DIM, privilege_word(run.privilege), 5)
        .blank(1);
    let said = said(run);
    let room = paper.room();
    paper.cell(PLAIN, &said, room).end();
    paper.finish()
}

fn said(run: &Run) -> String {
    match &run.result.ended {
        Ended::Verdict { verdict, total_ms, .. } => {
            let time = total_ms.map_or_else(String::new, |ms| format!(" ({})", render::time(ms)));
            match (verdict.status, verdict.cause.as_deref()) {
                (Status::Healthy, _) | (_, None) => format!("healthy{time}"),
                (status, Some(cause)) => format!("{} {cause}{time}", format!("{status:?}").to_lowercase()),
            }
        }
        Ended::CheckFailed { reason } => format!("the check failed: {reason}"),
        Ended::LabFailed { reason } => format!("the lab failed: {reason}"),
    }
}

fn summary(results: &Results, written: Option<&Path>) -> String {
    let mut paper = Paper::new(Terminal::of_environment());
    let misses: Vec<&Run> = results.runs.iter().filter(|run| !run.as_expected).collect();
    if !misses.is_empty() {
        paper.heading("not as expected");
    }
    for run in &misses {
        let expected = results.scenarios.iter().find(|scenario| scenario.id == run.scenario).map_or("", |scenario| &scenario.expect.cause);
        let expected = if run.variant == Variant::Twin { "healthy" } else { expected };
        let name = format!("{} ({}, {})", run.scenario, variant_word(run.variant), privilege_word(run.privilege));
        paper.blank(2).put(CYAN, &name).put(PLAIN, ":").end();
        paper.wrapped(PLAIN, &format!("expected {expected}; {}: {}", said(run), sentence(run)), 6);
    }
    paper.heading("report card");
    for privilege in [Privilege::Root, Privilege::Unprivileged] {
        hosts(&mut paper, &report::accuracy(results, Subject::Host, privilege));
        let a = report::accuracy(results, Subject::Check, privilege);
        if a.faulty + a.twins == 0 {
            continue;
        }
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let time = a
            .verdict_ms
            .map_or_else(String::new, |p| format!("; verdict in {} (median), {} (95 of 100)", render::time(p.median), render::time(p.p95)));
        let faulty = format!(
            "{}: layer right {}, cause right {}, inconclusive {}{time}",
            render::count(a.faulty as u64, "fault"),
            percent(a.layer),
            percent(a.cause),
            percent(a.inconclusive)
        );
        let twins = format!("{}: blamed {}", render::count(a.twins as u64, "healthy twin"), percent(a.false_alarms));
        paper.blank(2).cell(BOLD, privilege_word(privilege), 6).wrapped(PLAIN, &faulty, 8);
        if a.twins > 0 {
            paper.wrapped(PLAIN, &twins, 8);
        }
    }
    packets(&mut paper, results);
    if !results.skipped.is_empty() {
        paper.blank(2).wrapped(
            DIM,
            &format!("left out, for they touch the whole machine (--affects-host): {}", results.skipped.join(", ")),
            2,
        );
    }
    if let Some(unavailable) = &results.unavailable {
        let text = format!("left out, for this machine cannot build them ({}): {}", unavailable.reason, unavailable.scenarios.join(", "));
        paper.blank(2).wrapped(DIM, &text, 2);
    }
    let good = results.runs.len() - misses.len();
    let end = format!(
        "{good} of {} as expected, in {}",
        render::count(results.runs.len() as u64, "run"),
        render::time(results.took.as_secs_f64() * 1e3)
    );
    paper.blank(2).put(if misses.is_empty() { GREEN } else { RED.bold() }, &end).end();
    if let Some(path) = written {
        paper.blank(2).put(DIM, &format!("report card written to {}", path.display())).end();
    }
    paper.finish()
}

/// The line of `faultmap capture`, if packets were recorded.
fn packets(paper: &mut Paper, results: &Results) {
    let Some(card) = report::packets(results) else { return };
    let (layer, quiet, wrong) = (card.layer * 100.0, card.quiet * 100.0, card.wrong * 100.0);
    let text = format!(
        "by their packets alone {}: layer right {layer:.0} %, nothing said {quiet:.0} %, misled {wrong:.1} %; {}: blamed {:.0} %",
        render::count(card.faulty as u64, "fault"),
        render::count(card.twins as u64, "healthy twin"),
        card.false_alarms * 100.0
    );
    paper.blank(2).cell(BOLD, "root", 6).wrapped(PLAIN, &text, 8);
}

/// The line of `faultmap host`, if any host was asked about.
fn hosts(paper: &mut Paper, a: &Accuracy) {
    if a.faulty + a.twins == 0 {
        return;
    }
    let (named, alarms) = (a.cause * 100.0, a.false_alarms * 100.0);
    let (faulty, twins) = (render::count(a.faulty as u64, "faulty host"), render::count(a.twins as u64, "healthy host"));
    let text = format!("{faulty}: bottleneck named {named:.0} %; {twins} under load: alarmed {alarms:.0} %");
    paper.blank(2).cell(BOLD, privilege_word(a.privilege), 6).wrapped(PLAIN, &text, 8);
}

fn sentence(run: &Run) -> &str {
    match &run.result.ended {
        Ended::Verdict { verdict, .. } => &verdict.summary,
        Ended::CheckFailed { .. } | Ended::LabFailed { .. } => "",
    }
}

const fn variant_word(variant: Variant) -> &'static str {
    match variant {
        Variant::Faulty => "broken",
        Variant::Twin => "twin",
    }
}

const fn privilege_word(privilege: Privilege) -> &'static str {
    match privilege {
        Privilege::Root => "root",
        Privilege::Unprivileged => "plain",
    }
}

/// Becomes the shell; comes back only if that fails.
fn live(scenario: &Scenario, args: LabUpArgs) -> anyhow::Result<i32> {
    let job = UpJob {
        id: scenario.id.clone(),
        text: scenario.text.clone(),
        variant: if args.twin { Variant::Twin } else { Variant::Faulty },
        privilege: if args.unprivileged { Privilege::Unprivileged } else { Privilege::Root },
        command: args.command,
        program: this_program()?,
    };
    Err(faultmap_lab::up(&this_worker()?, job)).context("cannot start the lab")
}

fn demo(choice: Choice) -> anyhow::Result<i32> {
    let color = terminal::colored(choice);
    match faultmap_lab::demo(&this_worker()?, this_program()?, color, &mut stdout().lock()) {
        // The reader has gone away: the story has no listener.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(0),
        told => told.context("cannot run the demonstration"),
    }
}

fn this_program() -> anyhow::Result<CheckProgram> {
    let path = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(CheckProgram { path, args: vec!["check".to_owned()] })
}

fn this_worker() -> anyhow::Result<Worker> {
    Worker::current().context("cannot find this program's own file")
}
