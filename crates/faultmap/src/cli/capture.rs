//! The arguments of `faultmap capture`. They run nothing.

use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  faultmap capture slow.pcapng                      which layer is at fault, and what shows it?
  faultmap capture /var/tmp/ring                    all captures of a folder, in order
  tcpdump -w - -i eth0 | faultmap capture -         from a pipe
  faultmap capture day.pcap.zst --json | jq .findings
  faultmap capture slow.pcapng --flows --sort bytes    every flow in a table
  faultmap capture slow.pcapng --flow 12            one connection, packet by packet
  faultmap capture slow.pcapng --filter 'ip.addr == 10.2.0.10 && layer == L4'
  faultmap capture slow.pcapng --packet 44          one packet as nested headers, beside its bytes
  faultmap capture slow.pcapng --finding 2          one finding, with what to do about it
  faultmap capture slow.pcapng --finding 2 --write evidence.pcapng
  faultmap capture day.pcap --parquet flows.parquet    columns for DuckDB, DataFusion, Spark
  faultmap capture slow.pcapng --keylog keys.log    inside TLS, with the keys of SSLKEYLOGFILE
  sudo faultmap capture -i eth0 --bpf 'port 5432'      live, until Ctrl-C
  sudo faultmap capture -i eth0 --top               who talks now, until q
  sudo faultmap capture -i any --ring /var/tmp/ring --files 20 --size 200M    the last 4 GB, always

Exit code: 0 healthy, 2 usage or nothing could be read, 3 degraded, 4 inconclusive,
11 … 17 fault at L1 … L7. A damaged file is judged by what stands before the damage; the damage
is told on stderr.";

const USAGE: &str = "\
faultmap capture [OPTIONS] <FILE>...
       faultmap capture [OPTIONS] --interface <NAME>";

/// `faultmap capture`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(crate) struct CaptureArgs {
    /// Capture files in the order of their packets: pcap or pcapng, plain, gzip or zstd; a folder is all captures in it, `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath, required_unless_present = "interface")]
    pub(crate) files: Vec<PathBuf>,

    /// Capture what passes this interface instead, until Ctrl-C, --for or --count; `any` is every one (needs CAP_NET_RAW)
    #[arg(short, long, value_name = "NAME", value_hint = ValueHint::Other, conflicts_with_all = ["files", "flow", "finding"], help_heading = "Live")]
    pub(crate) interface: Option<String>,
    /// Let the kernel hand over only packets that match this pcap filter: 'host 10.0.0.1 and tcp port 443'
    #[arg(long, value_name = "EXPRESSION", requires = "interface", conflicts_with = "files", help_heading = "Live")]
    pub(crate) bpf: Option<String>,
    /// End after so long: 30s, 5m
    #[arg(long = "for", value_name = "TIME", value_parser = super::duration, requires = "interface", conflicts_with = "files", help_heading = "Live")]
    pub(crate) duration: Option<Duration>,
    /// End after so many packets
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "interface", conflicts_with = "files", help_heading = "Live")]
    pub(crate) count: Option<u64>,
    /// See frames of other stations too, where the medium shows them
    #[arg(long, requires = "interface", conflicts_with = "files", help_heading = "Live")]
    pub(crate) promiscuous: bool,
    /// Megabytes for packets that wait to be read
    #[arg(long, value_name = "MB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=1024), requires = "interface", conflicts_with = "files", help_heading = "Live")]
    pub(crate) buffer: u32,
    /// Record without end into FOLDER: when a file is full the next begins, and the oldest is removed
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, requires = "interface", conflicts_with_all = ["files", "write"], help_heading = "Live")]
    pub(crate) ring: Option<PathBuf>,
    /// Files that --ring keeps
    #[arg(long = "files", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=100_000), requires = "ring", help_heading = "Live")]
    pub(crate) ring_files: u32,
    /// Size of each file of --ring: 500k, 100M, 2G
    #[arg(long = "size", value_name = "SIZE", default_value = "100M", value_parser = size, requires = "ring", help_heading = "Live")]
    pub(crate) ring_size: u64,

    /// JSON on stdout (schema faultmap.capture/1), nothing else; with --flows one object a line
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// While capturing: each finding as it happens as a line of JSON (schema faultmap.capture.finding/1), the report as the last line
    #[arg(long, requires = "interface", conflicts_with_all = ["files", "json", "verbose", "quiet", "flows", "top"], help_heading = "Output")]
    pub(crate) json_lines: bool,
    /// Tell more: every group with its advice, services, findings about the capture
    #[arg(short, long, conflicts_with = "json", help_heading = "Output")]
    pub(crate) verbose: bool,
    /// One line: status layer cause file summary
    #[arg(short, long, conflicts_with_all = ["json", "verbose"], help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Show the flows as a table; with -i on a terminal the flows of now, once a second
    #[arg(long, group = "view", help_heading = "Views")]
    pub(crate) flows: bool,
    /// Sort the flows by this
    #[arg(long, value_name = "KEY", value_enum, default_value_t = Sort::Worst, requires = "flows", help_heading = "Views")]
    pub(crate) sort: Sort,
    /// Show one flow packet by packet: who sent what, when, and what TCP made of it
    #[arg(long, value_name = "ID", group = "view", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Views")]
    pub(crate) flow: Option<u64>,
    /// Show one packet as nested headers: every field beside its bytes, who wrote each layer and who reads it
    #[arg(long, value_name = "N", group = "view", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["write", "parquet", "interface"], help_heading = "Views")]
    pub(crate) packet: Option<u64>,
    /// Show one finding of the report, by its number, with what to do about it; with --write its packets
    #[arg(long, value_name = "N", group = "view", help_heading = "Views")]
    pub(crate) finding: Option<usize>,
    /// Show who talked most, the services, and the slowest of them; with -i on a terminal who talks now, once a second
    #[arg(long, group = "view", help_heading = "Views")]
    pub(crate) top: bool,

    /// Look inside TLS with the session keys in this log, as SSLKEYLOGFILE makes browsers, curl and many programs write it; with -i it is read again as it
    /// grows. Keys in the capture itself are used in any case
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Input")]
    pub(crate) keylog: Option<PathBuf>,

    /// Tell only of flows and findings that match, and with -i keep only such packets: a display filter as Wireshark writes it, and layer, cause, rule, flow, weight
    #[arg(long, value_name = "EXPR", help_heading = "Views")]
    pub(crate) filter: Option<String>,

    /// Write packets to FILE as pcapng: those of --flow, --finding and --filter, without them all
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Files")]
    pub(crate) write: Option<PathBuf>,
    /// With --write: also write the session keys of the TLS connections in it that were opened. Without this FILE holds none, whatever was read
    #[arg(long, requires = "write", help_heading = "Files")]
    pub(crate) keep_keys: bool,
    /// Write the flows to FILE as Parquet, one row a flow
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Files")]
    pub(crate) parquet: Option<PathBuf>,

    /// Follow so many flows at once; beyond, the one silent for longest is closed early
    #[arg(long, value_name = "N", default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(16..=10_000_000), help_heading = "Bounds")]
    pub(crate) max_flows: u32,
}

impl CaptureArgs {
    /// Packets come from the standard input, which can be read once.
    pub(crate) fn reads_stdin(&self) -> bool {
        self.files.iter().any(|file| faultmap_capture::file::is_stdin(file))
    }
}

/// `500k`, `100M`, `2G`: thousands, as disks are sold. At least 10 kB.
fn size(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 10_000;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        _ => return Err("write it as 500k, 100M or 2G".to_owned()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let bytes = bytes.ok_or_else(|| "write it as 500k, 100M or 2G".to_owned())?;
    if bytes < LEAST { Err("at least 10k".to_owned()) } else { Ok(bytes) }
}

/// What `--flows` is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// What was found in them, worst first
    Worst,
    /// Their first packet
    Start,
    /// Their length in time
    Duration,
    /// Packets
    Packets,
    /// Payload bytes
    Bytes,
    /// Round trip of the handshake
    Rtt,
    /// The longest wait for an answer
    Wait,
    /// Segments sent again
    Retransmits,
    /// Server address and port
    Server,
    /// Client address and port
    Client,
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_written_with_a_unit() {
        for (text, bytes) in [("500k", Some(500_000)), ("100M", Some(100_000_000)), ("2GB", Some(2_000_000_000)), ("20000", Some(20_000))] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
        for text in ["", "k", "1k", "-5M", "1T", "99999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
