//! The command line: one definition for parsing, help, completions and man pages. It runs nothing.
//!
//! No message of this file quotes a credential: clap's own messages are searched for the arguments before they are shown.

mod capture;
mod host;
mod many;

pub(crate) use capture::{CaptureArgs, Sort};
pub(crate) use host::{HostArgs, Listen};
pub(crate) use many::{CompareArgs, Every, Many, Until};

use crate::terminal;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

/// Usage error, or a failure of faultmap itself.
pub(crate) const EXIT_FAILED: i32 = 2;

const EXIT_CODES: &str = "\
Exit codes of check, replay, host and capture:
  0         healthy
  2         usage error, or faultmap itself failed (nothing on stdout)
  3         degraded: works, but slow or at risk
  4         inconclusive: two or more causes remain
  11 … 17   fault at L1 … L7";

const CHECK_EXAMPLES: &str = "\
Targets:
  https://shop.test/path  http://…  tcp://host:port  tls://host:port  udp://host:port
  grpc(s)://host/package.Service[/Method]  ws(s)://host/path
  icmp://host  dns://server/name  ssh://host  smtp(s)://host  mqtt(s)://user:password@host
  postgres://user:password@host/database  mysql://…  redis(s)://:password@host/0
  amqp(s)://user:password@host/vhost
  host:port (protocol by port, else tcp)  host (https)

Examples:
  faultmap check shop.test                            is the shop up, and if not, which layer?
  faultmap check db.test:5432 -v                      with everything that was seen
  faultmap check https://api.test/health --json | jq .verdict
  faultmap check https://api.test/ --samples 20       does one of the backends fail?
  faultmap check wss://live.test/feed --idle 2m       does an idle session live for two minutes?
  faultmap check https://me:secret@api.test/ --expect-status 200
  faultmap check shop.test --record bad.jsonl         keep the evidence ...
  faultmap replay bad.jsonl                           ... and judge it again, anywhere
  faultmap check --targets hosts.txt                  many at once, the worst first
  faultmap check shop.test --watch 10s                again and again: what changes, and when
  faultmap check shop.test --baseline good.jsonl      what is different from last week?
  sudo faultmap check db.test:5432 --pid 4711         as that container sees it

Exit code: 0 healthy, 2 usage, 3 degraded, 4 inconclusive, 11 … 17 fault at L1 … L7.
Several targets: that of the worst (fault, lowest layer first; inconclusive; degraded). --watch: that of the last round.";

/// Names the network layer that failed, and the cause.
///
/// faultmap asks the kernel and the network, from the cable to the application, and gives one verdict: the broken layer
/// (L1 … L7), the cause, where it sits, what proves it, what is ruled out, and what to do next.
#[derive(Debug, Parser)]
#[command(name = "faultmap", version, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// When to use colours [the environment: NO_COLOR, CLICOLOR_FORCE]
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN", help_heading = "Output")]
    pub(crate) color: Color,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check one target and name the layer that fails
    Check(Box<CheckArgs>),
    /// Judge a recording of `check --record` again, without a network
    Replay(ReplayArgs),
    /// Serve checks from afar: tell them what arrives at this host (`check --peer`)
    Witness(WitnessArgs),
    /// Which layer of this host reaches 100 % first: utilisation, saturation and errors of each
    Host(Box<HostArgs>),
    /// Hold two recordings of a target side by side: what changed
    Compare(CompareArgs),
    /// Name the layer at fault from packets: of a capture file, or as they pass an interface
    Capture(CaptureArgs),
    /// Teach about a layer or a cause: `explain L4`, `explain l4.port-filtered`
    Explain(ExplainArgs),
    /// List the causes that faultmap can name
    Causes(CausesArgs),
    /// Networks broken on purpose, on this machine, without root
    Lab(LabArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write one page per command into a folder
    Man(ManArgs),
}

/// How a report is shown.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Shown {
    /// One JSON object on stdout (schema faultmap.check/1), nothing else
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Show every observation
    #[arg(short, long, conflicts_with = "json", help_heading = "Output")]
    pub(crate) verbose: bool,
    /// One line: status layer cause target summary
    #[arg(short, long, conflicts_with_all = ["json", "verbose"], help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Show the four layers of TCP/IP (RFC 1122) instead of the seven of OSI
    #[arg(long, conflicts_with_all = ["json", "quiet"], help_heading = "Output")]
    pub(crate) tcpip: bool,
}

/// `faultmap check`.
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct CheckArgs {
    /// What to check: a URL, host:port, or host. Several are checked side by side
    #[arg(value_name = "TARGET", value_hint = ValueHint::Url, required_unless_present_any = ["list", "watch"])]
    pub(crate) targets: Vec<String>,
    #[command(flatten)]
    pub(crate) many: Many,

    #[command(flatten)]
    pub(crate) shown: Shown,
    /// Write the observations to FILE as JSON lines, for `faultmap replay`; `-` is stdout (the report goes to stderr). With several targets, or
    /// --watch, FILE is a folder
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) record: Option<PathBuf>,
    /// Record the packets of the check in FILE (pcapng) and cite them beside the evidence (needs CAP_NET_RAW)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) capture: Option<PathBuf>,

    /// Append the session keys of the check's own TLS connections to FILE, as SSLKEYLOGFILE makes curl and browsers do; faultmap, Wireshark and others open
    /// captured packets with them. Whoever has FILE can read what was said. SSLKEYLOGFILE is heeded, too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) keylog: Option<PathBuf>,
    /// With --capture: put these session keys into the packets' file, so that it opens by itself. Without this it holds none
    #[arg(long, requires = "capture", help_heading = "Output")]
    pub(crate) capture_keys: bool,

    /// Bound of the whole check: 15, 15s, 500ms
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration, help_heading = "Time limits")]
    pub(crate) budget: Duration,
    /// Wait so long for name resolution
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, help_heading = "Time limits")]
    pub(crate) dns_timeout: Duration,
    /// Wait so long for a TCP connection
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Time limits")]
    pub(crate) connect_timeout: Duration,
    /// Wait so long for the TLS handshake
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Time limits")]
    pub(crate) tls_timeout: Duration,
    /// Wait so long for the answer to the request
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Time limits")]
    pub(crate) request_timeout: Duration,

    /// Use IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6", help_heading = "Connection")]
    pub(crate) ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', long, help_heading = "Connection")]
    pub(crate) ipv6: bool,
    /// Walk from the root of the DNS to the name: every delegated server asked, signatures (DNSSEC) checked
    #[arg(long, help_heading = "Connection")]
    pub(crate) dns_trace: bool,
    /// Begin the walk at these root servers instead of IANA's: an address, or a file of root hints; may be repeated
    #[arg(long, value_name = "ADDRESS|FILE", requires = "dns_trace", help_heading = "Connection")]
    pub(crate) dns_root: Vec<String>,
    /// Trust the certificates in FILE (PEM) beside the system's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub(crate) ca: Option<PathBuf>,

    /// Go through this proxy, whatever the environment says: `http://[USER:PASSWORD@]HOST:PORT`, socks5://… (name resolved here), socks5h://… (by the proxy)
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, conflicts_with = "no_proxy", help_heading = "Connection")]
    pub(crate) proxy: Option<String>,
    /// Check the direct way: HTTPS_PROXY, http_proxy, ALL_PROXY and their like are not read
    #[arg(long, help_heading = "Connection")]
    pub(crate) no_proxy: bool,

    /// Take the password for the target's user from the first line of FILE, so that it stands in no command line; else FAULTMAP_PASSWORD is read
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub(crate) password_file: Option<PathBuf>,

    /// HTTP method [default: GET, or POST with --data]
    #[arg(long, value_name = "METHOD", help_heading = "Request")]
    pub(crate) method: Option<String>,
    /// Send this header; may be repeated. Values are never recorded
    #[arg(long = "header", value_name = "NAME: VALUE", help_heading = "Request")]
    pub(crate) headers: Vec<String>,
    /// Send this body; @FILE sends a file, @- what is on stdin
    #[arg(long, value_name = "TEXT|@FILE", help_heading = "Request")]
    pub(crate) data: Option<String>,
    /// Any other status is a fault
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(100..=599), help_heading = "Request")]
    pub(crate) expect_status: Option<u16>,
    /// A body without this text is a fault
    #[arg(long, value_name = "TEXT", help_heading = "Request")]
    pub(crate) expect_body: Option<String>,
    /// An https target that does not answer over HTTP/3 (QUIC) is a fault; without this, HTTP/3 is tried only where it is advertised
    #[arg(long, help_heading = "Request")]
    pub(crate) http3: bool,
    /// Make N equal requests, to catch a backend that fails now and then. From 2 on, also ask twice on one connection and resume TLS
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "Request")]
    pub(crate) samples: u32,

    /// Find out how long a connection may be idle, up to TIME: hold some idle, bisect, and prove a keep-alive that helps. Adds to the budget
    #[arg(long, value_name = "TIME", value_parser = idle, help_heading = "Sessions")]
    pub(crate) idle: Option<Duration>,
    /// Ask a `faultmap witness` at the other end what arrives there
    #[arg(long, value_name = "HOST:PORT", help_heading = "Second vantage point")]
    pub(crate) peer: Option<String>,
    /// The secret shared with the witness [the environment: FAULTMAP_WITNESS_SECRET]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "peer", conflicts_with = "peer_cert", help_heading = "Second vantage point")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Instead of a secret: our certificate for the witness (PEM), with --peer-key and --peer-ca
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires_all = ["peer", "peer_key", "peer_ca"], help_heading = "Second vantage point")]
    pub(crate) peer_cert: Option<PathBuf>,
    /// The private key of --peer-cert
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "peer_cert", help_heading = "Second vantage point")]
    pub(crate) peer_key: Option<PathBuf>,
    /// The authority that signed the witness's certificate
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "peer_cert", help_heading = "Second vantage point")]
    pub(crate) peer_ca: Option<PathBuf>,
}

const WITNESS_EXAMPLES: &str = "\
In three commands:
  faultmap witness --new-secret > secret                              a secret, to copy to both hosts
  faultmap witness --listen 10.0.2.20:7317 --secret-file secret       at the other end (root sees packets, too)
  faultmap check https://10.0.2.20/ --peer 10.0.2.20:7317 --secret-file secret

The witness listens on loopback unless --listen says otherwise, serves only those who prove themselves, and tells
them what this host's network stack saw of their own packets. It may be reached by another way than the one that
is broken: another address, a management network, an SSH tunnel (ssh -L 7317:127.0.0.1:7317 HOST).";

/// `faultmap witness`.
#[derive(Debug, Args)]
#[command(after_help = WITNESS_EXAMPLES)]
pub(crate) struct WitnessArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7317")]
    pub(crate) listen: std::net::SocketAddr,
    /// Make a secret, print it, and do nothing else
    #[arg(long, exclusive = true)]
    pub(crate) new_secret: bool,
    /// The secret shared with the checks [the environment: FAULTMAP_WITNESS_SECRET]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "cert", help_heading = "Who may ask")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Instead of a secret: our certificate (PEM), with --key and --client-ca
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires_all = ["key", "client_ca"], help_heading = "Who may ask")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of --cert
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert", help_heading = "Who may ask")]
    pub(crate) key: Option<PathBuf>,
    /// The authority that signed the certificates of the checks
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert", help_heading = "Who may ask")]
    pub(crate) client_ca: Option<PathBuf>,
    /// On a router or NAT: also answer about this address; may be repeated
    #[arg(long = "for", value_name = "ADDRESS", help_heading = "Who may ask")]
    pub(crate) also_for: Vec<std::net::IpAddr>,
}

/// `faultmap replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The recording; `-` reads stdin
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) shown: Shown,
}

/// `faultmap explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A layer (L4, 4, transport) or a cause (l4.port-filtered); without it, the seven layers in short
    #[arg(value_name = "LAYER|CAUSE")]
    pub(crate) what: Option<String>,
}

/// `faultmap causes`.
#[derive(Debug, Args)]
pub(crate) struct CausesArgs {
    /// Only this layer: L4, 4, transport
    #[arg(long, value_parser = layer)]
    pub(crate) layer: Option<faultmap_model::Layer>,
    /// One JSON object on stdout (schema faultmap.causes/1)
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// `faultmap lab`.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct LabArgs {
    /// Read scenarios (*.toml) from this folder instead of those built in
    #[arg(long, global = true, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) scenarios: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

/// What to do in the lab.
#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// List the scenarios
    List {
        /// Only those whose name or cause contains this text
        text: Option<String>,
        /// One JSON object on stdout (schema faultmap.lab/1)
        #[arg(long, help_heading = "Output")]
        json: bool,
    },
    /// Show a scenario: the story, the network, the fault, the expected verdict
    Show {
        /// Its name
        name: String,
    },
    /// Run scenarios: break a network, check it, compare the verdict with the truth
    Run(LabRunArgs),
    /// Build a scenario and open a shell on its client
    Up(LabUpArgs),
    /// A guided tour: a healthy network, a fault that fills up slowly, and its verdict
    Demo,
}

/// `faultmap lab run`.
#[derive(Debug, Args)]
pub(crate) struct LabRunArgs {
    /// Names, or parts of names or causes
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) names: Vec<String>,
    /// Run every scenario
    #[arg(long)]
    pub(crate) all: bool,
    /// Only checks without any capability
    #[arg(long, conflicts_with = "root")]
    pub(crate) unprivileged: bool,
    /// Only checks with root's capabilities (inside the lab; no root is needed outside)
    #[arg(long)]
    pub(crate) root: bool,
    /// Do not run the clean twins, which show that a healthy network is not blamed
    #[arg(long)]
    pub(crate) no_twin: bool,
    /// Run so many at a time; twice the number of CPUs unless given, for most runs wait most of the time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) jobs: Option<u32>,
    /// Run a witness at the other end of every scenario, over a wire of its own (see `faultmap witness`)
    #[arg(long)]
    pub(crate) witness: bool,
    /// Also run scenarios that change kernel state which the whole machine shares
    #[arg(long)]
    pub(crate) affects_host: bool,
    /// Keep every check's observations in this folder
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, help_heading = "Output")]
    pub(crate) record: Option<PathBuf>,
    /// Keep the packets of every check as root in this folder, and ask `faultmap capture` what they say by themselves
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, help_heading = "Output")]
    pub(crate) capture: Option<PathBuf>,
    /// Write the report card to FILE as Markdown
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
    /// One JSON object on stdout (schema faultmap.lab/1)
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// `faultmap lab up`.
#[derive(Debug, Args)]
pub(crate) struct LabUpArgs {
    /// The scenario's name
    pub(crate) name: String,
    /// The healthy twin: the same network, nothing broken
    #[arg(long)]
    pub(crate) twin: bool,
    /// A shell without any capability
    #[arg(long)]
    pub(crate) unprivileged: bool,
    /// Run this instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// `faultmap completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// `faultmap man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write faultmap.1, faultmap-check.1, … into this folder; without it, print faultmap.1
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
}

/// The whole definition, for completions and man pages.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

/// Reads the arguments of this process. `Err` is the exit code, everything else has been said.
pub(crate) fn parse() -> Result<Cli, i32> {
    let read = || {
        let matches = Cli::command().try_get_matches()?;
        many::unbroken(&matches)?;
        Cli::from_arg_matches(&matches)
    };
    read().map_err(|error| {
        let code = error.exit_code();
        if error.use_stderr() {
            terminal::say(&complaint(&error));
        } else {
            terminal::show(&error.render().ansi().to_string(), terminal::Choice::Auto);
        }
        code
    })
}

/// What is wrong with the arguments. A stray word may be the second half of a secret that was not quoted: it is not repeated.
fn complaint(error: &clap::Error) -> String {
    let stray = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::TooManyValues)
        && invalid_argument(error).is_none_or(|argument| !argument.starts_with('-'));
    if stray {
        return "error: one argument too many: it belongs to no option, or a value with spaces is not in quotes (--header 'Name: value')\n\n\
                For more information, try '--help'.\n"
            .to_owned();
    }
    let mut text = error.render().ansi().to_string();
    for argument in std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()) {
        if argument.contains('@') {
            text = text.replace(&argument, &without_credentials(&argument));
        }
    }
    if error.kind() == ErrorKind::InvalidSubcommand {
        text.push_str("\nTo check a target: faultmap check TARGET\n");
    }
    text
}

fn invalid_argument(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => Some(argument.clone()),
        _ => None,
    }
}

/// The text with everything before its last `@` hidden, the scheme left.
pub(crate) fn without_credentials(text: &str) -> String {
    let Some((credentials, rest)) = text.rsplit_once('@') else { return text.to_owned() };
    match credentials.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://***@{rest}"),
        None => format!("***@{rest}"),
    }
}

fn layer(text: &str) -> Result<faultmap_model::Layer, String> {
    text.parse().map_err(|error: faultmap_model::layer::UnknownLayer| error.to_string())
}

/// `5`, `5s`, `500ms`, `1.5s`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST_S: f64 = 3600.0;
    let wanted = "write it as 5, 5s, 500ms or 2m";
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| format!("not a time; {wanted}"))?;
    let seconds = match unit {
        "" | "s" => number,
        "ms" => number / 1e3,
        "m" => number * 60.0,
        _ => return Err(format!("unknown unit; {wanted}")),
    };
    if !(0.001..=LONGEST_S).contains(&seconds) {
        return Err("must be between 1ms and 60m".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// An idle time: shorter ones are none that anything limits.
fn idle(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_secs(1);
    duration(text).and_then(|time| if time < SHORTEST { Err("must be between 1s and 60m".to_owned()) } else { Ok(time) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn a_time_is_seconds_unless_it_says_otherwise() {
        for (text, ms) in [("5", 5_000), ("5s", 5_000), ("500ms", 500), ("1.5s", 1_500), ("2m", 120_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1", "0", "5h", "1e9", "NaN", "inf", "99999", "1.2.3", "٣"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn credentials_are_cut_out_of_any_text() {
        assert_eq!(without_credentials("https://me:pa@55@host/x"), "https://***@host/x");
        assert_eq!(without_credentials("me:pa55@host"), "***@host");
        assert_eq!(without_credentials("host:1"), "host:1");
    }
}
