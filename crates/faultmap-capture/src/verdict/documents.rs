//! Addresses of documents, which nobody has: who asks there wants to see who else answers, as `faultmap check` does. What is asked there fails as it should,
//! and an answer from there is somebody else's.

use crate::analysis::Outcome;
use std::net::IpAddr;

/// The address is nobody's, as far as this capture shows.
pub(super) fn is_nobodys(ip: IpAddr, outcome: &Outcome) -> bool {
    is_for_documents(ip) && !is_in_use(ip, outcome)
}

/// TEST-NET-1 of RFC 5737, and RFC 3849. The other two nets for documents stand for a provider's in many a lab and in captures with changed addresses.
fn is_for_documents(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets().starts_with(&[192, 0, 2]),
        IpAddr::V6(ip) => ip.segments().starts_with(&[0x2001, 0xdb8]),
    }
}

/// Networks that are built of such addresses: somebody asks from one. An answer from one shows nothing, for portals and proxies answer in any name.
fn is_in_use(ip: IpAddr, outcome: &Outcome) -> bool {
    let like_it = |other: IpAddr| is_for_documents(other) && other.is_ipv4() == ip.is_ipv4();
    outcome.flows.iter().any(|flow| like_it(flow.client.ip()))
}
