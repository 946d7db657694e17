//! The walk from the root of the DNS to a name, with every delegated server asked. What was said, and whether the signatures hold.

use super::IcmpError;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The walk from the root to one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DnsTrace {
    /// The name asked for.
    pub name: String,
    /// The roots are not IANA's but were given by the user.
    pub given_roots: bool,
    /// Our clock, seconds since 1970: signatures are held against it.
    pub clock_unix: i64,
    /// The zones on the way, from the root down. After an alias (CNAME) into another tree the walk goes on there.
    pub zones: Vec<TracedZone>,
    /// Aliases that were followed, in order.
    pub aliases: Vec<String>,
    /// How the walk ended.
    pub end: TraceEnd,
    /// Addresses that the owners of the name give.
    pub addresses: Vec<IpAddr>,
    /// The smallest TTL of them as the owners give it, seconds.
    pub ttl_s: Option<u32>,
    /// Questions sent.
    pub questions: u32,
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceEnd {
    /// An owner gave addresses.
    Found,
    /// An owner says that the name does not exist (RCODE 3).
    NoName,
    /// An owner says that the name has no address.
    NoAddress,
    /// No server of the last zone is any good.
    Stuck,
    /// No server of the root was reached from here.
    NoRoot,
    /// A resolver answers in the place of the root's servers (RA set): port 53 is intercepted.
    Intercepted,
    /// A bound was met: zones, aliases, questions, or time.
    CutShort,
}

/// One zone on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TracedZone {
    /// Its name; `.` is the root.
    pub zone: String,
    /// Name servers as the parent delegates to them; for the root, as the hints name them. Sorted.
    pub parent_ns: Vec<String>,
    /// Name servers as the zone itself names them. Sorted; empty if that was not learnt.
    pub child_ns: Vec<String>,
    /// TTL of the delegation, seconds.
    pub delegation_ttl_s: Option<u32>,
    /// The servers asked, one for each address.
    pub servers: Vec<TracedServer>,
    /// Addresses left out because there are many.
    pub left_out: u32,
    /// Name servers for whose names no address was found.
    pub nameless: Vec<String>,
    /// The chain of signatures down to this zone's keys and the answer.
    pub security: Security,
}

/// One address of one name server of a zone, and what it said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TracedServer {
    /// The server's name.
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
    /// How long its answer took, milliseconds.
    pub took_ms: f64,
    /// What it said.
    pub said: ServerSaid,
    /// The zone's serial number there, if it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
    /// Its answer over UDP was cut short: what over TCP?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpFallback>,
}

/// After a truncated answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpFallback {
    /// Answered.
    Answered,
    /// Not answered.
    Failed,
}

/// What a delegated server said when it was asked for the name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum ServerSaid {
    /// Addresses of the name, with authority.
    Answer {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// The smallest TTL, seconds.
        ttl_s: Option<u32>,
    },
    /// The name is an alias of another, with authority.
    Alias {
        /// The other.
        to: String,
    },
    /// Another zone is further down: its name and its servers' names.
    Referral {
        /// The zone.
        zone: String,
        /// Its servers, sorted.
        ns: Vec<String>,
    },
    /// With authority: no such name.
    NoName,
    /// With authority: the name has no address.
    NoAddress,
    /// An error code.
    Refused {
        /// The RCODE.
        rcode: u16,
    },
    /// An answer without authority that leads nowhere: the zone is not served there.
    NotAuthoritative {
        /// It offers recursion.
        recursion_available: bool,
    },
    /// Nothing came in time.
    Silent {
        /// How long we waited.
        waited_ms: f64,
    },
    /// An ICMP error, a reset, or an error of our own kernel.
    Failed {
        /// errno name.
        errno: String,
        /// The ICMP error behind it.
        icmp: Option<IcmpError>,
    },
    /// An answer that cannot be read.
    Unreadable,
}

impl ServerSaid {
    /// The server knows the zone: it answers with authority or refers further down.
    #[must_use]
    pub const fn serves(&self) -> bool {
        matches!(self, Self::Answer { .. } | Self::Alias { .. } | Self::Referral { .. } | Self::NoName | Self::NoAddress)
    }

    /// The server was reached, and does not serve the zone that is delegated to it.
    #[must_use]
    pub const fn lame(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NotAuthoritative { .. } | Self::Unreadable)
    }
}

/// The chain of signatures at one zone (RFC 4035 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Security {
    /// Every signature down to here holds.
    Secure,
    /// The parent has no DS for it, or is not signed itself: signatures prove nothing here.
    Unsigned,
    /// The chain breaks here.
    Bogus {
        /// How.
        broken: Broken,
        /// Which records: `DNSKEY`, `DS`, `A`, …
        records: String,
        /// The server whose answer shows it.
        server: String,
    },
    /// It was not found out.
    Unknown {
        /// Why, in a user's words.
        why: String,
    },
}

/// How a chain of signatures breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Broken {
    /// The signature's time is over.
    Expired {
        /// When it ended, seconds since 1970.
        at_unix: i64,
    },
    /// The signature's time has not begun.
    NotYetValid {
        /// When it begins, seconds since 1970.
        at_unix: i64,
    },
    /// None of the zone's keys matches the DS that the parent publishes.
    NoKeyForDs {
        /// The key tag in the DS.
        key_tag: u16,
    },
    /// The parent publishes a DS, and the zone shows no key.
    NoKeys,
    /// There is no signature.
    NoSignature,
    /// There is a signature, by a key that the zone does not publish.
    UnknownKey {
        /// The key tag in the signature.
        key_tag: u16,
    },
    /// The signature does not fit the records.
    BadSignature {
        /// The key tag in the signature.
        key_tag: u16,
    },
}
