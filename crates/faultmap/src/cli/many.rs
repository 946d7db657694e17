//! The arguments for many targets, many times, another place and an earlier day. They run nothing.

use super::duration;
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// Many targets, many times, another place, an earlier day.
#[derive(Debug, Clone, Args)]
pub(crate) struct Many {
    /// Also check the targets in FILE, one a line; # begins a comment; `-` is stdin
    #[arg(long = "targets", id = "list", value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Many")]
    pub(crate) list: Option<PathBuf>,
    /// Check so many targets at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Many")]
    pub(crate) jobs: u16,
    /// Check again every INTERVAL [default: 5s] until Ctrl-C, and show what changes
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "5s", value_parser = every, help_heading = "Many")]
    pub(crate) watch: Option<Every>,
    /// With --watch: end after N rounds
    #[arg(long, value_name = "N", requires = "watch", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Many")]
    pub(crate) count: Option<u32>,
    /// With --watch: end as soon as every target has this status
    #[arg(long, value_name = "STATUS", requires = "watch", value_enum, help_heading = "Many")]
    pub(crate) until: Option<Until>,
    /// Compare with an earlier recording of the same target (--record)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Many")]
    pub(crate) baseline: Option<PathBuf>,
    /// Check from inside this network namespace: a name of `ip netns`, or a path
    #[arg(long, value_name = "NAME|PATH", conflicts_with = "pid", help_heading = "Many")]
    pub(crate) from_netns: Option<String>,
    /// Check from inside the network namespace of this process, with its resolv.conf and hosts file: a container's view
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..), help_heading = "Many")]
    pub(crate) pid: Option<i32>,
}

/// The value of `--watch`. Without `=`, the word after it may as well be the first target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Every {
    Interval(Duration),
    Target(String),
}

/// The value of `--until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    Healthy,
    Degraded,
    Fault,
    Inconclusive,
}

/// `faultmap compare`.
#[derive(Debug, Args)]
#[command(after_help = "Exit code: 0 the same verdict and nothing changed that matters, 3 something changed, 2 usage.")]
pub(crate) struct CompareArgs {
    /// The earlier recording
    #[arg(value_name = "EARLIER", value_hint = ValueHint::FilePath)]
    pub(crate) earlier: PathBuf,
    /// The later recording; one of the two may be `-`, stdin
    #[arg(value_name = "LATER", value_hint = ValueHint::FilePath)]
    pub(crate) later: PathBuf,
    /// One JSON object on stdout (schema faultmap.compare/1), nothing else
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Targets stand side by side. A word after an option's value is more likely the second half of a secret that was not quoted, and must not be
/// looked up in the DNS.
pub(super) fn unbroken(matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some(("check", check)) = matches.subcommand() else { return Ok(()) };
    let places: Vec<usize> = check.indices_of("targets").map(Iterator::collect).unwrap_or_default();
    let broken = places.windows(2).any(|pair| pair[1] != pair[0] + 1);
    let empty_header = check.get_many::<String>("headers").into_iter().flatten().any(|header| header.trim_end().ends_with(':'));
    if broken || (places.len() > 1 && empty_header) {
        return Err(clap::Error::new(ErrorKind::TooManyValues));
    }
    Ok(())
}

/// A time, else a target.
fn every(text: &str) -> Result<Every, String> {
    match duration(text) {
        Ok(interval) => Ok(Every::Interval(interval)),
        // An address and `2host.test` begin with digits too.
        Err(error) if !text.contains(['.', ':', '/']) && text.starts_with(|c: char| c.is_ascii_digit()) => Err(error),
        Err(_) => Ok(Every::Target(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_after_watch_is_a_time_or_the_first_target() {
        let check = |text: &str, expect: Result<Every, ()>| assert_eq!(every(text).map_err(drop), expect, "{text}");
        check("10", Ok(Every::Interval(Duration::from_secs(10))));
        check("500ms", Ok(Every::Interval(Duration::from_millis(500))));
        check("shop.test", Ok(Every::Target("shop.test".to_owned())));
        check("10.0.0.1:80", Ok(Every::Target("10.0.0.1:80".to_owned())));
        check("2host.test", Ok(Every::Target("2host.test".to_owned())));
        check("5h", Err(()));
        check("0", Err(()));
    }
}
