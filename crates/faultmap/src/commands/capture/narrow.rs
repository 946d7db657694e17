//! `--filter`: which flows, findings and packets are meant. The engine always sees every packet, for a half of a conversation would be judged wrongly;
//! the filter chooses what of the outcome is told.

use super::{limits, reading};
use crate::cli::CaptureArgs;
use anyhow::bail;
use faultmap_capture::analysis::{Analysis, Outcome, Place};
use faultmap_capture::filter::{Facts, Filter, FindingFacts, FlowFacts, Subject};
use faultmap_capture::finding::Finding;
use faultmap_capture::flow::FlowId;
use faultmap_capture::packet::Captured;
use faultmap_capture::report::Left;
use faultmap_wire::dissect::dissect;
use std::collections::{HashMap, HashSet};

/// Packets that match and are remembered by number, for findings of no flow.
const MOST_PACKETS: usize = 1 << 20;

/// A filter, and what of the capture matches it.
pub(super) struct Narrow {
    filter: Filter,
    flows: HashSet<FlowId>,
    packets: HashSet<u64>,
    /// The flows that are left, and where each stands in the outcome.
    left: HashMap<FlowId, usize>,
}

impl Narrow {
    pub(super) fn of(args: &CaptureArgs) -> anyhow::Result<Option<Self>> {
        let Some(text) = &args.filter else { return Ok(None) };
        let filter = Filter::parse(text)?;
        let asks = filter.asks();
        if asks.flows && asks.packets && args.interface.is_some() {
            bail!(
                "this filter asks of packets what is known of their flows at the end only, and packets that pass cannot be read again: choose \
                 packets with --bpf, or record with --write and filter the file"
            );
        }
        if asks.flows && args.interface.is_some() && (args.top || args.flows) && crate::terminal::Screen::possible() && !args.json {
            bail!(
                "layer, cause and rule of a flow are known at its end, and the table shows flows as they run: filter by host, port or protocol"
            );
        }
        if asks.flows && asks.packets && args.reads_stdin() {
            bail!(
                "this filter asks of packets what is known at the end only, and the standard input can be read once; save it to a file first"
            );
        }
        Ok(Some(Self { filter, flows: HashSet::new(), packets: HashSet::new(), left: HashMap::new() }))
    }

    /// Looks at a packet at the first reading, where the packet alone decides.
    pub(super) fn look(&mut self, packet: &Captured<'_>, place: Option<Place>) {
        if !self.filter.asks().flows && self.matches(packet, None) {
            self.remember(packet, place);
        }
    }

    /// Whether a packet that passes is to be kept: what asks of flows is known too late to leave any out.
    pub(super) fn keeps(&self, packet: &Captured<'_>) -> bool {
        self.filter.asks().flows || self.matches(packet, None)
    }

    /// It asks of flows: every packet is kept.
    pub(super) fn keeps_all(&self) -> bool {
        self.filter.asks().flows
    }

    /// Whether a finding is to be told while the capture runs.
    pub(super) fn tells(&self, finding: &Finding) -> bool {
        if self.filter.asks().flows {
            return self.filter.matches(&Subject { packet: None, facts: Some(&FindingFacts { finding, record: None }) });
        }
        finding.flow.is_some_and(|flow| self.flows.contains(&flow))
            || finding.cited.packets.iter().any(|number| self.packets.contains(number))
    }

    /// Whether a flow is to be shown while the capture runs.
    pub(super) fn shows(&self, flow: FlowId) -> bool {
        self.filter.asks().flows || self.flows.contains(&flow)
    }

    fn matches(&self, packet: &Captured<'_>, facts: Option<&dyn Facts>) -> bool {
        let frame = dissect(packet.link, packet.bytes, packet.wire_len as usize);
        self.filter.matches(&Subject { packet: Some((packet, &frame)), facts })
    }

    fn remember(&mut self, packet: &Captured<'_>, place: Option<Place>) {
        if let Some(place) = place {
            self.flows.insert(place.flow);
        }
        if self.packets.len() < MOST_PACKETS {
            self.packets.insert(packet.number.0);
        }
    }

    /// Leaves in the outcome what matches.
    pub(super) fn apply(&mut self, args: &CaptureArgs, outcome: &mut Outcome) -> anyhow::Result<Left> {
        let asks = self.filter.asks();
        let of = outcome.flows.len();
        if asks.flows && asks.packets {
            self.second_look(args, outcome)?;
        }
        let by_facts = asks.flows && !asks.packets;
        let findings = std::mem::take(&mut outcome.findings);
        let matches = |facts: &dyn Facts| self.filter.matches(&Subject { packet: None, facts: Some(facts) });
        outcome.flows.retain(|record| match by_facts {
            true => matches(&FlowFacts { record, findings: &findings }),
            false => self.flows.contains(&record.id),
        });
        let left: HashMap<FlowId, usize> = outcome.flows.iter().enumerate().map(|(at, flow)| (flow.id, at)).collect();
        outcome.findings = findings
            .into_iter()
            .filter(|finding| match finding.flow {
                Some(flow) => left.contains_key(&flow),
                None if by_facts => matches(&FindingFacts { finding, record: None }),
                None => finding.cited.packets.iter().any(|number| self.packets.contains(number)),
            })
            .collect();
        self.left = left;
        let anything = !(outcome.flows.is_empty() && outcome.findings.is_empty() && self.packets.is_empty());
        Ok(Left { flows: outcome.flows.len(), of, anything })
    }

    /// What is known of a packet's flow is known at the end only: the packets are read again.
    fn second_look(&mut self, args: &CaptureArgs, outcome: &Outcome) -> anyhow::Result<()> {
        let mut analysis = Analysis::new(limits(args));
        let keys = reading::keys(args)?;
        analysis.use_keys(keys.clone());
        let records: HashMap<FlowId, _> = outcome.flows.iter().map(|record| (record.id, record)).collect();
        reading::follow(args, &keys, &mut analysis, |packet, place| {
            let record = place.and_then(|place| records.get(&place.flow));
            let facts = record.map(|record| FlowFacts { record, findings: &outcome.findings });
            if self.matches(packet, facts.as_ref().map(|facts| facts as &dyn Facts)) {
                self.remember(packet, place);
            }
        })?;
        Ok(())
    }

    /// Whether a packet is to be written: of what is left in the outcome, the packets that match.
    pub(super) fn wants(&self, packet: &Captured<'_>, place: Option<Place>, outcome: &Outcome) -> bool {
        let asks = self.filter.asks();
        let record = place.and_then(|place| outcome.flows.get(*self.left.get(&place.flow)?));
        if asks.flows && !asks.packets {
            return record.is_some();
        }
        let facts = record.filter(|_| asks.flows).map(|record| FlowFacts { record, findings: &outcome.findings });
        self.matches(packet, facts.as_ref().map(|facts| facts as &dyn Facts))
    }
}
