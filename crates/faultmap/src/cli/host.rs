//! The arguments of `faultmap host`. They read nothing of the host.

use super::duration;
use clap::{Args, ValueHint};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  faultmap host                                   the map: seven bars to 100 %, the bottleneck, and what to do
  faultmap host --interval 10s -v                 a longer look, with every reading
  faultmap host --watch                           full screen; 1 … 7 opens a layer, ? helps, q leaves
  faultmap host --watch --json | jq -c .bottleneck    one object per line, for ever
  faultmap host --json --count 5 --watch          five of them
  faultmap host --history /var/lib/faultmap/host.jsonl    remember, and tell when what grows will be full
  faultmap host --prometheus > /var/lib/node_exporter/net.prom
  faultmap host --listen 127.0.0.1:9876           serve /metrics to Prometheus
  sudo faultmap host --pid 4711                   the network namespace of that container
  sudo faultmap host --drops                      where in the kernel packets die

Rates come from two samples, --interval apart; totals since boot are never called a fault. No root is needed; what cannot be
read without it says so.

Exit code: 0 healthy, 2 usage or faultmap itself failed, 3 degraded: at risk, 11 … 17 fault at L1 … L7.
--watch: that of the last sample. --prometheus and --listen: 0, the metrics tell.";

/// `faultmap host`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HostArgs {
    /// Time between two samples: 1s, 500ms, 2m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// Go on, full screen, until q or Ctrl-C; with --json, one object per line
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// With --watch: end after N samples
    #[arg(long, value_name = "N", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Also count the packets that the kernel drops, by reason, layer and flow (needs CAP_BPF and CAP_PERFMON)
    #[arg(long, conflicts_with = "prometheus")]
    pub(crate) drops: bool,
    /// With --drops: those of every network namespace (container), not only of this one
    #[arg(long, requires = "drops")]
    pub(crate) all_namespaces: bool,
    /// Append readings to FILE (JSON lines, at most 8 MiB: the oldest go), and use those of earlier runs for the forecast
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) history: Option<PathBuf>,

    /// Look at this network namespace: a name of `ip netns`, or a path
    #[arg(long, value_name = "NAME|PATH", conflicts_with = "pid", help_heading = "Place")]
    pub(crate) netns: Option<String>,
    /// Look at the network namespace of this process: a container's view
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..), help_heading = "Place")]
    pub(crate) pid: Option<i32>,

    /// Print every reading in the text format of Prometheus (0.0.4), at once: counters are totals and need no interval
    #[arg(long, conflicts_with_all = ["json", "watch", "verbose", "quiet", "tcpip", "history"], help_heading = "Prometheus")]
    pub(crate) prometheus: bool,
    /// Serve /metrics on this address until Ctrl-C or SIGTERM: ADDRESS:PORT, or unix:/path
    #[arg(long, value_name = "ADDRESS", value_parser = listen, help_heading = "Prometheus")]
    #[arg(conflicts_with_all = ["json", "watch", "verbose", "quiet", "tcpip", "history", "prometheus"])]
    pub(crate) listen: Option<Listen>,

    /// One JSON object on stdout (schema faultmap.host/1), nothing else
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Show every reading
    #[arg(short, long, conflicts_with_all = ["json", "watch"], help_heading = "Output")]
    pub(crate) verbose: bool,
    /// One line: status layer cause summary
    #[arg(short, long, conflicts_with_all = ["json", "verbose", "watch"], help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Show the four layers of TCP/IP (RFC 1122) instead of the seven of OSI
    #[arg(long, conflicts_with_all = ["json", "quiet", "watch"], help_heading = "Output")]
    pub(crate) tcpip: bool,
}

/// Where `--listen` listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Shorter times would measure the sampling itself.
fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(100);
    duration(text).and_then(|time| if time < SHORTEST { Err("must be between 100ms and 60m".to_owned()) } else { Ok(time) })
}

fn listen(text: &str) -> Result<Listen, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err("unix: wants a path: unix:/run/faultmap.sock".to_owned()),
        Some(path) => Ok(Listen::Unix(PathBuf::from(path))),
        None => text
            .parse()
            .map(Listen::Tcp)
            .map_err(|_| "write it as ADDRESS:PORT, such as 127.0.0.1:9876 or [::1]:9876, or unix:/path".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_listen_is_an_address_with_its_port_or_a_path() {
        assert_eq!(listen("127.0.0.1:9876"), Ok(Listen::Tcp(([127, 0, 0, 1], 9876).into())));
        assert!(matches!(listen("[::1]:9876"), Ok(Listen::Tcp(at)) if at.is_ipv6()));
        assert_eq!(listen("unix:/run/f.sock"), Ok(Listen::Unix(PathBuf::from("/run/f.sock"))));
        for text in ["", "9876", "127.0.0.1", "localhost:9876", "unix:", "127.0.0.1:99999"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_interval_is_long_enough_to_measure() {
        assert_eq!(interval("100ms"), Ok(Duration::from_millis(100)));
        assert!(interval("99ms").is_err() && interval("0").is_err() && interval("2h").is_err());
    }
}
