//! `--top`: who talked most, which services, and which of them made clients wait longest. It counts, and judges nothing.

use faultmap_capture::analysis::{Outcome, Volume};
use faultmap_capture::report::Report;
use faultmap_capture::verdict::Service;
use serde::Serialize;
use std::collections::HashMap;
use std::net::IpAddr;

/// Lines of each table.
const MOST: usize = 10;

/// One host.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Talker {
    /// Its address.
    pub(crate) host: IpAddr,
    /// What it sent.
    pub(crate) sent: Volume,
    /// What it received.
    pub(crate) received: Volume,
    /// Flows that it had a part in.
    pub(crate) flows: u64,
}

/// The tables.
#[derive(Debug, Serialize)]
pub(crate) struct Top {
    /// Schema name of the JSON object.
    schema: &'static str,
    /// The hosts with most bytes.
    pub(crate) talkers: Vec<Talker>,
    /// The services with most flows.
    pub(crate) services: Vec<Service>,
    /// The services whose server thought longest.
    pub(crate) slowest: Vec<Service>,
}

pub(super) fn of(outcome: &Outcome, report: &Report) -> Top {
    let mut hosts: HashMap<IpAddr, Talker> = HashMap::new();
    for flow in &outcome.flows {
        let sent = |packets: u64, bytes: u64| Volume { packets, bytes };
        let (client, server) = (sent(flow.packets.client, flow.bytes.client), sent(flow.packets.server, flow.bytes.server));
        for (host, sent, received) in [(flow.client.ip(), client, server), (flow.server.ip(), server, client)] {
            let nothing = Talker { host, sent: Volume::default(), received: Volume::default(), flows: 0 };
            let talker = hosts.entry(host).or_insert(nothing);
            talker.sent.join(sent);
            talker.received.join(received);
            talker.flows += 1;
        }
    }
    let mut talkers: Vec<Talker> = hosts.into_values().collect();
    let bytes = |talker: &Talker| talker.sent.bytes.saturating_add(talker.received.bytes);
    talkers.sort_by(|a, b| bytes(b).cmp(&bytes(a)).then(a.host.cmp(&b.host)));
    talkers.truncate(MOST);
    let worst = |service: &Service| service.think.or(service.wait).map_or(-1.0, |times| times.worst_ms);
    let mut slowest: Vec<Service> = report.services.iter().filter(|service| worst(service) >= 0.0).cloned().collect();
    slowest.sort_by(|a, b| worst(b).total_cmp(&worst(a)));
    slowest.truncate(MOST);
    let services = report.services.iter().take(MOST).cloned().collect();
    Top { schema: "faultmap.capture.top/1", talkers, services, slowest }
}
