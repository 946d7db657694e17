//! Two samples and the map between them.

use super::drops::{Counting, with_drops};
use super::history::History;
use crate::cli::{EXIT_FAILED, HostArgs};
use crate::commands::check::{EXIT_INTERRUPTED, room_for_runtime};
use crate::render::{self, Progress};
use crate::terminal::{self, Choice, Terminal};
use anyhow::Context as _;
use faultmap_host::{Sampler, Wanted};
use faultmap_model::host::HostReport;
use std::time::Duration;

pub(super) fn run(args: &HostArgs, mut history: History, place: Option<&str>, choice: Choice) -> anyhow::Result<i32> {
    let terminal = Terminal::of_environment();
    let words = format!("watching this host for {}", render::time(args.interval.as_secs_f64() * 1e3));
    let progress = Progress::begin(terminal::watched() && !args.quiet && !args.json, terminal, &words);
    let mut counting = Counting::begin(args);
    let mut sampler = Sampler::new(Wanted::default());
    let before = sampler.sample();
    let interrupted = wait(args.interval);
    let after = sampler.sample();
    progress.tell(|| "reading".to_owned());
    let report = HostReport::new(&before, &after, history.points(after.hostname.as_deref(), after.namespace));
    let report = with_drops(report, counting.as_mut());
    progress.end();
    if interrupted {
        terminal::say("faultmap: interrupted; the rates are those of a shorter time\n");
    }
    if args.json {
        let mut line = serde_json::to_vec(&report).context("cannot write the report as JSON")?;
        line.push(b'\n');
        terminal::print_bytes(&line)?;
    } else {
        terminal::print(&render::host(&report, place, args.into(), terminal), choice)?;
    }
    // After the report: it is not worth losing for a full disk.
    if let Err(error) = history.write(&report) {
        terminal::complain(&error);
        return Ok(EXIT_FAILED);
    }
    Ok(i32::from(report.exit_code()))
}

/// Waits; true when Ctrl-C came first. A second one, while the report is made, ends the program.
fn wait(time: Duration) -> bool {
    let runtime = room_for_runtime().and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
    let Ok(runtime) = runtime else {
        // Without a descriptor Ctrl-C ends the program as usual.
        std::thread::sleep(time);
        return false;
    };
    let interrupted = runtime.block_on(async {
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed.is_ok(),
            () = tokio::time::sleep(time) => false,
        }
    });
    if interrupted {
        std::thread::spawn(move || {
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                std::process::exit(EXIT_INTERRUPTED);
            }
        });
    }
    interrupted
}
