//! The filters to show a reader, so that Wireshark shows the same packets: written in the fields that Wireshark itself knows, not in ours.

use crate::finding::{Finding, Party};
use crate::flow::{FlowRecord, Protocol};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The filter that shows a flow.
#[must_use]
pub fn shows_flow(flow: &FlowRecord) -> String {
    let mut out = format!("{} && {}", addr(flow.client.ip()), addr(flow.server.ip()));
    let port = match flow.protocol {
        Protocol::Tcp => "tcp.port",
        Protocol::Udp => "udp.port",
        Protocol::Icmp if flow.client.is_ipv4() => return out + " && icmp",
        Protocol::Icmp => return out + " && icmpv6",
        Protocol::Other(number) => {
            let _ = write!(out, " && {} == {number}", if flow.client.is_ipv4() { "ip.proto" } else { "ipv6.nxt" });
            return out;
        }
    };
    let _ = write!(out, " && {port} == {} && {port} == {}", flow.client.port(), flow.server.port());
    out
}

/// The filter that shows a finding: the packets cited where those are all, else its flow, else whom it blames.
#[must_use]
pub fn shows_finding(finding: &Finding, flow: Option<&FlowRecord>) -> String {
    let cited = &finding.cited;
    let all_cited = cited.count <= cited.packets.len() as u64;
    match (flow, finding.blames) {
        _ if all_cited && !cited.packets.is_empty() => numbers(&cited.packets),
        (Some(flow), _) => shows_flow(flow),
        (None, Some(Party::Host(host))) => addr(host),
        (None, Some(Party::Service(service))) => shows_service(service),
        (None, None) => numbers(&cited.packets),
    }
}

fn numbers(packets: &[u64]) -> String {
    match packets {
        [] => String::new(),
        [only] => format!("frame.number == {only}"),
        packets => {
            let listed: Vec<String> = packets.iter().map(u64::to_string).collect();
            format!("frame.number in {{{}}}", listed.join(", "))
        }
    }
}

fn shows_service(service: SocketAddr) -> String {
    let port = service.port();
    format!("{} && (tcp.port == {port} || udp.port == {port})", addr(service.ip()))
}

fn addr(addr: IpAddr) -> String {
    let field = if addr.is_ipv4() { "ip.addr" } else { "ipv6.addr" };
    format!("{field} == {addr}")
}
