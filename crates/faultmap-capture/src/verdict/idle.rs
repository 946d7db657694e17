//! Connections that die of silence: what is sent after a pause never arrives or is answered by RST, in each connection that paused so long and in none that
//! paused less. Somebody on the way forgets connections that say nothing for a while. One such connection alone is told by its own rule.

use super::insight;
use super::problem::Problem;
use crate::analysis::Outcome;
use crate::flow::record::{Pause, TcpRecord};
use crate::flow::{FlowRecord, Protocol};
use crate::packet::Stamp;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// One may have died of something else.
const FEWEST: usize = 2;
/// Shorter pauses are those of a slow program.
const PAUSE_MS: f64 = 1000.0;

/// Services whose connections die of silence.
pub(super) fn all(outcome: &Outcome) -> Vec<Problem> {
    let died = |flow: &&FlowRecord| flow.tcp.as_ref().is_some_and(|tcp| tcp.died_after.is_some());
    if outcome.flows.iter().filter(died).nth(FEWEST - 1).is_none() {
        return Vec::new();
    }
    let mut between: BTreeMap<(IpAddr, SocketAddr), Vec<(&FlowRecord, &TcpRecord)>> = BTreeMap::new();
    for flow in outcome.flows.iter().filter(|flow| flow.protocol == Protocol::Tcp) {
        if let Some(tcp) = flow.tcp.as_ref().filter(|tcp| tcp.handshake.ack.is_some()) {
            between.entry((flow.client.ip(), flow.server)).or_default().push((flow, tcp));
        }
    }
    between.into_iter().filter_map(|((_, server), flows)| one(server, &flows, outcome)).collect()
}

fn one(server: SocketAddr, flows: &[(&FlowRecord, &TcpRecord)], outcome: &Outcome) -> Option<Problem> {
    let died: Vec<(&FlowRecord, Pause)> = flows.iter().filter_map(|(flow, tcp)| Some((*flow, tcp.died_after?))).collect();
    let least = died.iter().map(|(_, pause)| pause.ms).fold(f64::INFINITY, f64::min);
    let survived = flows.iter().map(|(_, tcp)| tcp.survived_ms).fold(0.0, f64::max);
    if died.len() < FEWEST || least < PAUSE_MS || survived >= least {
        return None;
    }
    if one_event_explains(&died, flows) {
        return None;
    }
    // The path was there: a connection that was opened after one had died was answered.
    let fresh = |(flow, _): &&(&FlowRecord, &TcpRecord)| {
        flow.bytes.server > 0 && died.iter().any(|(dead, _)| flow.first > dead.first && flow.first < dead.last)
    };
    let works = flows.iter().any(|flow| fresh(&flow));
    // Others that only paused less show where the limit lies.
    let bracket = if survived > 0.0 { format!(", {:.1} s of it did no harm", survived / 1e3) } else { String::new() };
    let beside = if works { "; a fresh connection works meanwhile" } else { "" };
    let resets = died.iter().filter(|(flow, _)| flow.tcp.is_some_and(|tcp| tcp.reset.is_some())).count();
    let how = if resets * 2 > died.len() { "answered by RST" } else { "never acknowledged" };
    let text = format!(
        "{} connections died of silence: what was sent after {:.1} s of it and more was {how}{bracket}{beside}",
        died.len(),
        least / 1e3
    );
    if survived <= 0.0 && !works {
        return None;
    }
    let dead: Vec<&FlowRecord> = died.iter().map(|(flow, _)| *flow).collect();
    insight::problem("tcp.idle-forgotten", "l4.nat-idle-timeout", (server, &dead), (0.88, true), text, outcome)
}

/// All were silent at one moment, at which the server may have been restarted, and no connection was at work through it.
fn one_event_explains(died: &[(&FlowRecord, Pause)], flows: &[(&FlowRecord, &TcpRecord)]) -> bool {
    let start = |pause: &Pause| Stamp(pause.until.0.saturating_sub((pause.ms * 1e6) as i64));
    let (Some(last_start), Some(first_end)) =
        (died.iter().map(|(_, pause)| start(pause)).max(), died.iter().map(|(_, pause)| pause.until).min())
    else {
        return false;
    };
    let lived_through = |(flow, tcp): &(&FlowRecord, &TcpRecord)| {
        tcp.died_after.is_none() && tcp.reset.is_none() && flow.first < last_start && flow.last > first_end && flow.bytes.server > 0
    };
    last_start < first_end && !flows.iter().any(lived_through)
}
