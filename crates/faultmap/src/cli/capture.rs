//! The arguments of `faultmap capture`. They run nothing.

use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  faultmap capture slow.pcapng                      which layer is at fault, and which packets show it?
  tcpdump -w - -i eth0 | faultmap capture -         from a pipe
  faultmap capture day.pcap.zst --json | jq .groups
  faultmap capture slow.pcapng --flows --sort bytes    every flow in a table
  faultmap capture slow.pcapng --flow 12            one connection, packet by packet
  faultmap capture slow.pcapng --finding 1 --write evidence.pcapng
  faultmap capture day.pcap --parquet flows.parquet    columns for DuckDB, DataFusion, Spark

Exit code: 0 healthy, 2 usage or nothing could be read, 3 degraded, 4 inconclusive, 11 … 17 fault at L1 … L7.
A damaged file is judged by what stands before the damage; the damage is told on stderr.";

/// `faultmap capture`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CaptureArgs {
    /// Capture files in the order of their packets: pcap or pcapng, plain, gzip or zstd; `-` is stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// JSON on stdout (schema faultmap.capture/1), nothing else; with --flows one object a line
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Tell more: every group with its advice, services, findings about the capture
    #[arg(short, long, conflicts_with = "json", help_heading = "Output")]
    pub(crate) verbose: bool,
    /// One line: status layer cause file summary
    #[arg(short, long, conflicts_with_all = ["json", "verbose"], help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Show the flows as a table
    #[arg(long, group = "view", help_heading = "Views")]
    pub(crate) flows: bool,
    /// Sort the flows by this
    #[arg(long, value_name = "KEY", value_enum, default_value_t = Sort::Worst, requires = "flows", help_heading = "Views")]
    pub(crate) sort: Sort,
    /// Show one flow packet by packet: who sent what, when, and what TCP made of it
    #[arg(long, value_name = "ID", group = "view", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Views")]
    pub(crate) flow: Option<u64>,
    /// Show who talked most, the services, and the slowest of them
    #[arg(long, group = "view", help_heading = "Views")]
    pub(crate) top: bool,

    /// Write packets to FILE as pcapng: those of --flow, --finding or, without them, all that were read
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Files")]
    pub(crate) write: Option<PathBuf>,
    /// With --write: the packets of this finding, by its number in the report
    #[arg(long, value_name = "N", requires = "write", conflicts_with = "flow", help_heading = "Files")]
    pub(crate) finding: Option<usize>,
    /// Write the flows to FILE as Parquet, one row a flow
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Files")]
    pub(crate) parquet: Option<PathBuf>,

    /// Follow so many flows at once; beyond, the one silent for longest is closed early
    #[arg(long, value_name = "N", default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(16..=10_000_000), help_heading = "Bounds")]
    pub(crate) max_flows: u32,
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
