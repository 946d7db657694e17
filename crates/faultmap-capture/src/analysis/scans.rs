//! Connections that came to nothing, held back for a while: many of one client to many ports or hosts are a scan, and a scan is one finding, not a
//! thousand.

use crate::finding::{Cited, Finding, Party, Weight};
use crate::packet::{PacketNo, Stamp};
use faultmap_model::Layer;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Services tried in vain that make a scan. A browser or a crawler does not meet so many dead ones of one host, or one dead port on so many hosts.
const SCAN_FROM: usize = 15;
/// Clients that are watched.
const MOST_CLIENTS: usize = 4096;
/// Services remembered of each.
const MOST_SERVICES: usize = 64;

#[derive(Default)]
struct Client {
    services: HashSet<SocketAddr, RandomState>,
    /// Found so far, as long as it is no scan.
    held: Vec<(Finding, SocketAddr)>,
    scan: bool,
    /// Of a scan: by rule, what it cites, and from when to when.
    rules: BTreeMap<&'static str, (Finding, Cited, Stamp)>,
}

/// Failed attempts by client.
#[derive(Default)]
pub(super) struct Scans {
    clients: HashMap<IpAddr, Client, RandomState>,
}

impl Scans {
    /// An attempt of `client` at `service` failed. Gives back what is to be told at once.
    pub(super) fn failed(&mut self, client: IpAddr, service: SocketAddr, finding: Finding) -> Option<Finding> {
        if self.clients.len() >= MOST_CLIENTS && !self.clients.contains_key(&client) {
            return Some(finding);
        }
        let known = self.clients.entry(client).or_default();
        if known.services.len() < MOST_SERVICES {
            known.services.insert(service);
        }
        if !known.scan {
            known.held.push((finding, service));
            known.scan = is_scan(&known.services);
            if known.scan {
                for (held, _) in std::mem::take(&mut known.held) {
                    known.sum_up(held);
                }
            } else if known.held.len() >= 4 * MOST_SERVICES {
                // Many failures of few services: no scan.
                return Some(known.held.remove(0).0);
            }
            return None;
        }
        known.sum_up(finding);
        None
    }

    /// All that was held back.
    pub(super) fn release(&mut self) -> Vec<Finding> {
        let held = |client: &mut Client| std::mem::take(&mut client.held).into_iter().map(|(finding, _)| finding);
        let mut due: Vec<Finding> = self.clients.values_mut().flat_map(held).collect();
        due.sort_by(|a, b| a.first.cmp(&b.first).then(a.flow.cmp(&b.flow)));
        due
    }

    /// Scans, each as one finding and one for each rule that matched.
    pub(super) fn sums(self) -> Vec<Finding> {
        let mut scans: Vec<(IpAddr, Client)> = self.clients.into_iter().filter(|(_, client)| client.scan).collect();
        scans.sort_by_key(|(address, _)| *address);
        scans.into_iter().flat_map(|(address, client)| client.sum(address)).collect()
    }
}

/// Many ports of one host, or one port of many hosts.
fn is_scan(services: &HashSet<SocketAddr, RandomState>) -> bool {
    if services.len() < SCAN_FROM {
        return false;
    }
    let (mut hosts, mut ports) = (BTreeMap::<IpAddr, usize>::new(), BTreeMap::<u16, usize>::new());
    for service in services {
        *hosts.entry(service.ip()).or_default() += 1;
        *ports.entry(service.port()).or_default() += 1;
    }
    hosts.values().chain(ports.values()).any(|count| *count >= SCAN_FROM)
}

impl Client {
    fn sum_up(&mut self, finding: Finding) {
        let (first, last) = (finding.cited.packets.first().copied(), finding.last);
        let (_, cited, until) = self.rules.entry(finding.rule).or_insert_with(|| (finding, Cited::default(), last));
        *until = (*until).max(last);
        if let Some(first) = first {
            cited.add(PacketNo(first));
        }
    }

    fn sum(self, client: IpAddr) -> Vec<Finding> {
        let tried: u64 = self.rules.values().map(|(_, cited, _)| cited.count).sum();
        let hosts: HashSet<IpAddr, RandomState> = self.services.iter().map(SocketAddr::ip).collect();
        let mut sums: Vec<Finding> = self.rules.into_values().map(|(first, cited, last)| summed(first, cited, last, client)).collect();
        let Some(template) = sums.first() else { return sums };
        let (first, last) = (sums.iter().map(|sum| sum.first).min(), sums.iter().map(|sum| sum.last).max());
        let scan = Finding {
            rule: "tcp.scan",
            weight: Weight::Note,
            layer: Some(Layer::L4),
            cause: None,
            flow: None,
            blames: Some(Party::Host(client)),
            first: first.unwrap_or_default(),
            last: last.unwrap_or_default(),
            cited: Cited { count: tried, ..template.cited.clone() },
            text: format!("{client} tried {tried} connections to {} hosts or more in vain: a scan", hosts.len()),
            said_by: None,
            value: Some(tried as f64),
        };
        sums.push(scan);
        sums
    }
}

fn summed(first: Finding, cited: Cited, last: Stamp, client: IpAddr) -> Finding {
    let what = match first.rule {
        "tcp.syn-refused" => "were refused",
        "tcp.syn-unanswered" => "got no answer",
        "tcp.synack-retransmit" | "tcp.handshake-incomplete" => "were answered, and not followed up",
        _ => "failed",
    };
    let text = format!("{} attempts of a scan by {client} {what}", cited.count);
    let value = Some(cited.count as f64);
    Finding { weight: Weight::Note, cause: None, flow: None, blames: None, cited, last, text, value, ..first }
}
