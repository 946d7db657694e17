//! `faultmap witness`: serves checks from afar. The serving is the probe's; this file starts it and tells what it tells.

use super::secret;
use super::signals::Signals;
use crate::cli::WitnessArgs;
use crate::render::guard;
use crate::terminal;
use anyhow::Context as _;
use faultmap_probe::peer::{PeerAuth, Secret};
use faultmap_probe::witness::{Event, WitnessOptions, serve};

pub(super) fn run(args: &WitnessArgs) -> anyhow::Result<i32> {
    if args.new_secret {
        terminal::print_bytes(format!("{}\n", Secret::new_text()?).as_bytes())?;
        return Ok(0);
    }
    let certificates = (args.cert.clone(), args.key.clone(), args.client_ca.clone());
    let auth = secret::auth(certificates, args.secret_file.as_deref(), "--cert, --key and --client-ca")?;
    if let (PeerAuth::Secret(_), Some(path)) = (&auth, &args.secret_file) {
        warn_if_readable(path);
    }
    let options = WitnessOptions { listen: args.listen, auth, also_for: args.also_for.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        // Before it says that it listens: whoever reads that may end it at once.
        let signals = Signals::listen();
        serve(&options, &|event| tell(&event), signals.ended()).await
    })?;
    terminal::say("faultmap witness: ended\n");
    Ok(0)
}

/// Others on this host could prove to be us.
fn warn_if_readable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let open = std::fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o077 != 0);
    if open {
        let place = path.display().to_string();
        let place = guard(&place, true);
        terminal::say(&format!("faultmap witness: others on this host may read {place}; chmod 600 {place}\n"));
    }
}

/// One line for each event.
fn tell(event: &Event) {
    let line = match event {
        Event::Listening { at, taps } => {
            let how =
                if *taps { "counts packets and reads counters" } else { "reads counters; with CAP_NET_RAW it would also count packets" };
            format!("listening on {at}; {how}; Ctrl-C ends it")
        }
        Event::Served { from, about, took } => {
            let targets: Vec<String> = about.iter().map(ToString::to_string).collect();
            let about = if targets.is_empty() { "nothing".to_owned() } else { targets.join(", ") };
            format!("{from} asked about {about} for {:.1} s", took.as_secs_f64())
        }
        Event::TurnedAway { from, why } => format!("{from} turned away: {}", guard(why, true)),
    };
    terminal::say(&format!("faultmap witness: {line}\n"));
}
