//! `--write`: packets of a flow, of a finding, or all, as pcapng. The file appears when it is whole.

use super::narrow::Narrow;
use super::secrets::Secrets;
use super::{limits, reading};
use crate::cli::CaptureArgs;
use crate::commands::file::Growing;
use anyhow::{Context as _, bail};
use faultmap_capture::analysis::{Analysis, Outcome};
use faultmap_capture::flow::FlowId;
use faultmap_capture::live::settle;
use faultmap_capture::packet::Captured;
use faultmap_capture::pcapng::PcapNgWriter;
use faultmap_capture::report::Report;
use std::collections::BTreeSet;
use std::io::BufWriter;
use std::ops::ControlFlow;
use std::path::Path;

/// Which packets are wanted.
struct Wanted<'a> {
    /// Those that match.
    narrow: Option<(&'a Narrow, &'a Outcome)>,
    /// Of these flows; `None`: of all.
    flows: Option<BTreeSet<FlowId>>,
    /// And these, by number.
    packets: BTreeSet<u64>,
}

/// Reads the files again and writes what is wanted.
pub(super) fn write(args: &CaptureArgs, narrow: Option<&Narrow>, outcome: &Outcome, report: &Report, path: &Path) -> anyhow::Result<()> {
    let mut wanted = wanted(args, outcome, report)?;
    wanted.narrow = narrow.map(|narrow| (narrow, outcome));
    fill(args, &wanted, path)
}

fn wanted(args: &CaptureArgs, outcome: &Outcome, report: &Report) -> anyhow::Result<Wanted<'static>> {
    if let Some(id) = args.flow {
        super::sequence::flow(outcome, id)?;
        return Ok(Wanted { narrow: None, flows: Some(BTreeSet::from([FlowId(id)])), packets: BTreeSet::new() });
    }
    let Some(number) = args.finding else { return Ok(Wanted { narrow: None, flows: None, packets: BTreeSet::new() }) };
    let group = super::finding(report, number)?;
    let flows = group.all_flows.clone();
    Ok(Wanted { narrow: None, flows: Some(flows), packets: group.packets.packets.iter().copied().collect() })
}

fn fill(args: &CaptureArgs, wanted: &Wanted<'_>, path: &Path) -> anyhow::Result<()> {
    let (growing, out) = Growing::begin(path)?;
    let what = || growing.cannot();
    let mut writer = PcapNgWriter::new(BufWriter::new(out)).with_context(what)?;
    let mut analysis = Analysis::new(limits(args));
    let mut secrets = args.keep_keys.then(|| Secrets::begin(&mut writer)).transpose().with_context(what)?;
    let keys = reading::keys(args)?;
    analysis.use_keys(keys.clone());
    let reading = reading::read(args, &keys, |packet| {
        let wanted = wanted.includes(packet, &mut analysis, secrets.is_some());
        if let Some(secrets) = &mut secrets {
            secrets.packet(&keys, analysis.place(), wanted, &mut writer).with_context(what)?;
        }
        if wanted {
            let interface = writer.interface(packet.link, "").with_context(what)?;
            writer.packet(interface, packet).with_context(what)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if reading.cut_short {
        bail!("{}: it was ended before all packets were read", growing.cannot());
    }
    let out = writer.into_inner().with_context(what)?;
    let file = out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(what)?;
    settle(&file).with_context(what)?;
    growing.place()
}

impl Wanted<'_> {
    /// The engine numbers flows as it did at the first reading. `followed`: it is asked for the packet's flow in any case.
    fn includes(&self, packet: &Captured<'_>, analysis: &mut Analysis, followed: bool) -> bool {
        let all = self.flows.is_none() && self.narrow.is_none();
        if followed || !all {
            analysis.packet(packet);
        }
        if all {
            return true;
        }
        let place = analysis.place();
        let chosen = self
            .flows
            .as_ref()
            .is_none_or(|flows| place.is_some_and(|place| flows.contains(&place.flow)) || self.packets.contains(&packet.number.0));
        chosen && self.narrow.is_none_or(|(narrow, outcome)| narrow.wants(packet, place, outcome))
    }
}
