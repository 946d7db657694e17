//! `faultmap capture`: reads packets, and shows what they say. One loop over a source of packets; the views choose what is told of it.

mod extract;
mod folders;
mod keep;
mod live;
mod narrow;
mod packet;
mod reading;
mod secrets;
mod sequence;
mod talkers;
mod telling;
mod view;

pub(crate) use sequence::{Row, Sequence};
pub(crate) use talkers::Top;

use super::file::Growing;
use crate::cli::{CaptureArgs, Sort};
use crate::render::{self, Told};
use crate::terminal::{self, Choice, Terminal};
use anyhow::{Context as _, bail};
use faultmap_capture::analysis::{Analysis, Limits, Outcome};
use faultmap_capture::bpf::{Program, Tags};
use faultmap_capture::columns;
use faultmap_capture::file::{self, Notes};
use faultmap_capture::flow::FlowRecord;
use faultmap_capture::report::{Report, ShownGroup, Source};
use narrow::Narrow;
use reading::Reading;
use std::path::Path;

/// Ended by SIGINT, as a shell tells it.
const EXIT_INTERRUPTED: i32 = 130;

pub(super) fn run(args: &CaptureArgs, choice: Choice) -> anyhow::Result<i32> {
    if args.write.as_deref() == Some(Path::new("-")) {
        bail!("--write -: the report goes to stdout; give --write a file or a pipe, such as `--write >(wireshark -k -i -)` in bash");
    }
    let args = &CaptureArgs { files: folders::opened(&args.files)?, ..args.clone() };
    args.parquet.as_deref().map(super::file::writable).transpose()?;
    args.write.as_deref().map(super::file::writable).transpose()?;
    if let Some(interface) = &args.interface {
        return from_interface(args, interface, choice);
    }
    if let Some(number) = args.packet {
        packet::show(args, number, choice)?;
        return Ok(0);
    }
    // Told at once: a pipe may give packets for hours.
    let twice = args.flow.is_some() || args.write.is_some();
    if twice && args.reads_stdin() {
        bail!("--flow and --write read the packets twice, and the standard input can be read once; save it to a file first");
    }
    let mut narrow = Narrow::of(args)?;
    let (mut outcome, reading) = analyse(args, narrow.as_mut())?;
    let left = narrow.as_mut().map(|narrow| narrow.apply(args, &mut outcome)).transpose()?;
    let mut report = Report::new(&outcome, sources(args, &reading), &reading.notes, reading.cut_short);
    if let Some(left) = &left {
        report.narrowed(left);
    }
    if let Some(path) = &args.write {
        if reading.cut_short {
            bail!("{} was not written: the reading was ended before its end", path.display());
        }
        extract::write(args, narrow.as_ref(), &outcome, &report, path)?;
    }
    show(args, &outcome, &report, choice)?;
    Ok(i32::from(report.exit_code()))
}

/// What passes an interface, until it ends.
fn from_interface(args: &CaptureArgs, interface: &str, choice: Choice) -> anyhow::Result<i32> {
    let mut narrow = Narrow::of(args)?;
    let mut analysis = Analysis::new(limits(args));
    let keys = args.keylog.as_deref().map(live::LiveKeys::begin).transpose()?;
    if let Some(keys) = &keys {
        analysis.use_keys(keys.keys());
    }
    let columns = args.parquet.as_deref().map(|path| Columns::begin(path, &mut analysis)).transpose()?;
    let errors = live::watch(args, interface, (&mut analysis, keys), narrow.as_mut(), choice)?;
    let mut outcome = analysis.finish();
    let left = narrow.as_mut().map(|narrow| narrow.apply(args, &mut outcome)).transpose()?;
    if let Some(columns) = columns {
        columns.done()?;
    }
    let source = Source { name: format!("interface {interface}"), error: errors.first().cloned() };
    let mut report = Report::new(&outcome, vec![source], &Notes::default(), false);
    if let Some(left) = &left {
        report.narrowed(left);
    }
    if outcome.totals.all.packets == 0 {
        let (other, filter) =
            (if interface == "any" { "" } else { " Is it the right one?" }, if args.bpf.is_some() { " that matches --bpf" } else { "" });
        report.capture.notes.push(format!("No packet{filter} passed interface {interface}.{other}"));
    }
    show(args, &outcome, &report, choice)?;
    errors.iter().for_each(|error| terminal::say(&format!("faultmap: {}\n", render::guard(error, true))));
    Ok(if errors.is_empty() { i32::from(report.exit_code()) } else { crate::cli::EXIT_FAILED })
}

/// A pcap filter as the kernel takes it.
fn kernel_filter(text: &str) -> anyhow::Result<Vec<libc::sock_filter>> {
    let program = Program::compile(text, Tags::Kernel).context("--bpf")?;
    Ok(program.for_kernel())
}

/// Reads everything once.
fn analyse(args: &CaptureArgs, mut narrow: Option<&mut Narrow>) -> anyhow::Result<(Outcome, Reading)> {
    let mut analysis = Analysis::new(limits(args));
    let columns = args.parquet.as_deref().map(|path| Columns::begin(path, &mut analysis)).transpose()?;
    let keys = reading::keys(args)?;
    analysis.use_keys(keys.clone());
    let reading = reading::follow(args, &keys, &mut analysis, |packet, place| {
        if let Some(narrow) = narrow.as_deref_mut() {
            narrow.look(packet, place);
        }
    })?;
    let outcome = analysis.finish();
    if reading.packets == 0
        && let Some(error) = reading.errors.first()
    {
        bail!("{error}");
    }
    for error in &reading.errors {
        terminal::say(&format!("faultmap: warning: {}\n", render::guard(&error.to_string(), true)));
    }
    if let Some(columns) = columns {
        columns.done()?;
    }
    Ok((outcome, reading))
}

fn limits(args: &CaptureArgs) -> Limits {
    Limits { max_flows: args.max_flows as usize, ..Limits::default() }
}

fn sources(args: &CaptureArgs, reading: &Reading) -> Vec<Source> {
    let error = |path: &Path| reading.errors.iter().find(|error| error.file() == file::name_of(path)).map(ToString::to_string);
    args.files.iter().map(|path| Source { name: path.display().to_string(), error: error(path) }).collect()
}

/// The finding of this number.
fn finding(report: &Report, number: usize) -> anyhow::Result<&ShownGroup> {
    let found = report.groups.iter().find(|group| group.id == number);
    found.with_context(|| format!("there is no finding {number}: the report has {}", report.groups.len()))
}

/// The view that was asked for.
fn show(args: &CaptureArgs, outcome: &Outcome, report: &Report, choice: Choice) -> anyhow::Result<()> {
    let terminal = Terminal::of_environment();
    if let Some(id) = args.flow {
        let sequence = sequence::of(args, outcome, id)?;
        return if args.json { json(&sequence) } else { terminal::print(&render::capture_flow(&sequence, terminal), choice) };
    }
    if args.flows {
        let flows = sorted(outcome, args.sort);
        if args.json {
            return flows.into_iter().try_for_each(json);
        }
        return terminal::print(&render::capture_flows(&flows, outcome, args.sort, terminal), choice);
    }
    if args.top {
        let top = talkers::of(outcome, report);
        return if args.json { json(&top) } else { terminal::print(&render::capture_top(&top, terminal), choice) };
    }
    let found = args.finding.map(|number| finding(report, number)).transpose()?;
    if args.json || args.json_lines {
        return json(report);
    }
    if let Some(group) = found.filter(|_| args.write.is_none()) {
        return terminal::print(&render::capture_finding(group, terminal), choice);
    }
    let told = match (args.quiet, args.verbose) {
        (true, _) => Told::Line,
        (false, true) => Told::All,
        (false, false) => Told::Report,
    };
    terminal::print(&render::capture_report(report, told, terminal), choice)
}

fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(value).context("cannot write the report as JSON")?;
    line.push(b'\n');
    terminal::print_bytes(&line)
}

fn sorted(outcome: &Outcome, sort: Sort) -> Vec<&FlowRecord> {
    let mut flows: Vec<&FlowRecord> = outcome.flows.iter().collect();
    let again = |flow: &FlowRecord| {
        let side = |side: &faultmap_capture::flow::record::TcpSide| u64::from(side.retransmits.total());
        flow.tcp.as_ref().map_or(0, |tcp| side(&tcp.sides.client) + side(&tcp.sides.server))
    };
    let rtt = |flow: &FlowRecord| flow.tcp.as_ref().and_then(|tcp| tcp.handshake.rtt_ms()).unwrap_or(-1.0);
    flows.sort_by(|a, b| match sort {
        Sort::Worst => b.worst().cmp(&a.worst()).then(b.exchanges.failing.cmp(&a.exchanges.failing)).then(a.id.cmp(&b.id)),
        Sort::Start => a.first.cmp(&b.first).then(a.id.cmp(&b.id)),
        Sort::Duration => b.duration_ms().total_cmp(&a.duration_ms()),
        Sort::Packets => (b.packets.client + b.packets.server).cmp(&(a.packets.client + a.packets.server)),
        Sort::Bytes => (b.bytes.client + b.bytes.server).cmp(&(a.bytes.client + a.bytes.server)),
        Sort::Rtt => rtt(b).total_cmp(&rtt(a)),
        Sort::Wait => b.exchanges.worst_wait_ms.unwrap_or(-1.0).total_cmp(&a.exchanges.worst_wait_ms.unwrap_or(-1.0)),
        Sort::Retransmits => again(b).cmp(&again(a)),
        Sort::Server => a.server.cmp(&b.server).then(a.first.cmp(&b.first)),
        Sort::Client => a.client.cmp(&b.client).then(a.first.cmp(&b.first)),
    });
    flows
}

/// The Parquet file that fills up while flows end.
struct Columns {
    writer: columns::ParquetWriter,
    file: Growing,
}

impl Columns {
    fn begin(path: &Path, analysis: &mut Analysis) -> anyhow::Result<Self> {
        let (growing, file) = Growing::begin(path)?;
        let writer = columns::ParquetWriter::begin(file).with_context(|| growing.cannot())?;
        analysis.set_flow_sink(writer.sink());
        Ok(Self { writer, file: growing })
    }

    fn done(self) -> anyhow::Result<()> {
        self.writer.finish().with_context(|| self.file.cannot())?;
        self.file.place()
    }
}
