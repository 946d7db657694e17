//! Name resolution as seen: configuration, hosts file, the system resolver, and each resolver asked directly.

use super::{IcmpError, Role};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// `/etc/resolv.conf` as read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Resolvers in order.
    pub resolvers: Vec<SocketAddr>,
    /// Search list.
    pub search: Vec<String>,
    /// `ndots`.
    pub ndots: u8,
    /// Where it was read from; or why there is none.
    pub source: String,
}

/// The hosts file's entry for the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostsFile {
    /// The name asked for.
    pub name: String,
    /// Its addresses there; empty when the file does not name it.
    pub addresses: Vec<IpAddr>,
}

/// Outcome of getaddrinfo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemLookup {
    /// The name asked for.
    pub name: String,
    /// Addresses in the order that the system gave; empty on failure.
    pub addresses: Vec<IpAddr>,
    /// The `EAI_*` name on failure, such as `EAI_NONAME`, `EAI_AGAIN`; `timeout` when we stopped waiting.
    pub error: Option<String>,
}

/// Record types that we ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Any other, for `dns://` targets.
    Other,
}

/// UDP or TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// One question to one resolver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DnsQuery {
    /// The resolver asked.
    pub resolver: SocketAddr,
    /// `Resolver` for a configured one; `Target` when the check's target is this DNS server.
    pub role: Role,
    /// Over UDP or TCP.
    pub transport: Transport,
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    pub record_type: RecordType,
    /// The CD (checking disabled) bit was set (RFC 4035 3.2.2).
    pub checking_disabled: bool,
    /// The UDP payload that EDNS(0) offered to take, where it was not the usual 1232 bytes (RFC 6891 6.2.3); 0: asked without EDNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<u16>,
    /// Datagrams sent (retransmissions included).
    pub sent: u32,
    /// What came back.
    pub outcome: DnsOutcome,
}

/// What came back for a DNS question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum DnsOutcome {
    /// An answer that parses and matches the question.
    Answer(DnsAnswer),
    /// Nothing in time.
    Silent {
        /// How long we waited.
        waited_ms: f64,
        /// Answers that came but did not match (wrong id, wrong question, unparsable).
        mismatched: u32,
    },
    /// An ICMP error, a reset, or an error of our own kernel.
    Failed {
        /// errno name, such as `ECONNREFUSED`.
        errno: String,
        /// The ICMP error behind it, if there was one.
        icmp: Option<IcmpError>,
    },
}

/// The parts of a DNS answer that evidence needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DnsAnswer {
    /// RCODE (RFC 1035, 6895): 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    pub rcode: u16,
    /// AA.
    pub authoritative: bool,
    /// TC.
    pub truncated: bool,
    /// RA.
    pub recursion_available: bool,
    /// AD.
    pub authentic: bool,
    /// A and AAAA records of the answer section, after following CNAMEs within it.
    pub addresses: Vec<IpAddr>,
    /// CNAME targets in order.
    pub cnames: Vec<String>,
    /// The smallest TTL in the answer section, seconds.
    pub min_ttl_s: Option<u32>,
    /// Extended DNS errors (RFC 8914): code and text.
    pub ede: Vec<(u16, String)>,
    /// Without authority and without an answer: the zone further down to whose servers it refers (RFC 1034 4.3.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<String>,
    /// Records in the answer section.
    pub records: u32,
    /// Bytes of the message.
    pub bytes: u32,
}
