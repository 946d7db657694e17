//! What witnesses saw: typed, timed, of one layer. Never what it means.
//!
//! One file per subject. Every payload is plain data that serde can write and read again, so that a recording is
//! the whole evidence and a verdict can be replayed from it.

mod baseline;
mod capture;
mod dialogue;
mod dns;
mod dns_trace;
mod drops;
mod fragments;
mod http;
mod http3;
mod icmp;
mod local;
mod onward;
mod packets;
mod path;
mod peer;
mod proxy;
mod session;
mod tls;
mod transport;

pub use baseline::*;
pub use capture::*;
pub use dialogue::*;
pub use dns::*;
pub use dns_trace::*;
pub use drops::*;
pub use fragments::*;
pub use http::*;
pub use http3::*;
pub use icmp::*;
pub use local::*;
pub use onward::*;
pub use packets::*;
pub use path::*;
pub use peer::*;
pub use proxy::*;
pub use session::*;
pub use tls::*;
pub use transport::*;

use crate::Layer;
use serde::{Deserialize, Serialize};

/// The number of an observation within its recording, from 1.
pub type ObservationId = u32;

/// One answer of the network or the kernel to one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Number within the recording, from 1, in the order of completion.
    pub id: ObservationId,
    /// The layer that the question was about.
    pub layer: Layer,
    /// When the question was asked, since the start of the check.
    pub at_ms: f64,
    /// How long the answer took.
    pub took_ms: f64,
    /// The answer.
    #[serde(flatten)]
    pub seen: Seen,
}

/// A payload of [`Seen`]: lets evidence be asked for by type.
pub trait Payload: Into<Seen> {
    /// The payload, if the answer is of this kind.
    fn of(seen: &Seen) -> Option<&Self>;
}

macro_rules! seen {
    ($($(#[$doc:meta])* $variant:ident($payload:ty) = $kind:literal @ $layer:ident),* $(,)?) => {
        /// The answer itself, tagged by `kind` in JSON.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        pub enum Seen {
            $($(#[$doc])* #[serde(rename = $kind)] $variant($payload),)*
        }
        impl Seen {
            /// The stable name of the kind of observation, such as `tcp.connect`.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind,)* }
            }
            /// The layer that the question is about.
            #[must_use]
            pub const fn layer(&self) -> Layer {
                match self { $(Self::$variant(_) => Layer::$layer,)* }
            }
        }
        $(impl Payload for $payload {
            fn of(seen: &Seen) -> Option<&Self> {
                match seen { Seen::$variant(payload) => Some(payload), _ => None }
            }
        })*
        $(impl From<$payload> for Seen { fn from(value: $payload) -> Self { Self::$variant(value) } })*
    };
}

seen! {
    /// A local interface as the kernel describes it.
    Link(Link) = "link" @ L1,
    /// What an interface's counters did while the check ran.
    LinkDelta(LinkDelta) = "link.delta" @ L1,
    /// A neighbour (ARP/ND) entry of a next hop or an on-link destination.
    Neighbor(Neighbor) = "neighbor" @ L2,
    /// Answers to a broadcast ARP request that we sent ourselves (needs CAP_NET_RAW).
    ArpProbe(ArpProbe) = "arp.probe" @ L2,
    /// The kernel's answer to "how would you reach this address?".
    Route(Route) = "route" @ L3,
    /// Kernel SNMP and netstat counters that moved while the check ran.
    Counters(Counters) = "counters" @ L3,
    /// Packets that reached this host's IP layer against those delivered upward, while we provoked answers.
    IngressGap(IngressGap) = "ingress.gap" @ L3,
    /// Packets of the check that this host's own kernel dropped, and why (needs CAP_BPF and CAP_PERFMON).
    LocalDrops(LocalDrops) = "host.drops" @ L3,
    /// Limits and fill of this host's tables.
    HostTables(HostTables) = "host.tables" @ L4,
    /// Sockets that this host already holds to the destination.
    Flows(Flows) = "host.flows" @ L4,
    /// Which resolvers and search list the host uses.
    DnsConfig(DnsConfig) = "dns.config" @ L7,
    /// What the hosts file says of the name.
    HostsFile(HostsFile) = "dns.hosts" @ L7,
    /// What the system resolver (getaddrinfo) answered.
    SystemLookup(SystemLookup) = "dns.system" @ L7,
    /// A redirect to another place, followed: what comes after it was seen there.
    Onward(Onward) = "onward" @ L7,
    /// One question to one resolver.
    DnsQuery(DnsQuery) = "dns.query" @ L7,
    /// The walk from the root to the name, with every delegated server asked.
    DnsTrace(DnsTrace) = "dns.trace" @ L7,
    /// One TCP connect.
    TcpConnect(TcpConnect) = "tcp.connect" @ L4,
    /// Several TCP connects to one port, together.
    TcpRepeat(TcpRepeat) = "tcp.repeat" @ L4,
    /// A bare ACK to the port (needs CAP_NET_RAW): a reset proves that packets to the port reach a listener.
    AckProbe(AckProbe) = "tcp.ack-probe" @ L4,
    /// What the peer did after a plain TCP connect.
    SessionEnd(SessionEnd) = "tcp.session" @ L5,
    /// The proxy that is configured for the target, and whether it is used.
    ProxyChoice(ProxyChoice) = "proxy.choice" @ L5,
    /// A request to a proxy for a way to the target.
    ProxyTunnel(ProxyTunnel) = "proxy.tunnel" @ L5,
    /// The way without the proxy, as a control.
    ProxyBypass(ProxyBypass) = "proxy.bypass" @ L5,
    /// A connection that was held, idle or kept alive, and used again.
    SessionIdle(SessionIdle) = "session.idle" @ L5,
    /// Two requests on one connection.
    SessionReuse(SessionReuse) = "session.reuse" @ L5,
    /// One UDP datagram and what came back.
    UdpProbe(UdpProbe) = "udp.probe" @ L4,
    /// A train of ICMP echo requests.
    Echo(Echo) = "icmp.echo" @ L3,
    /// A walk with rising TTL (hop limit).
    Walk(Walk) = "path.walk" @ L3,
    /// Datagrams of growing size, not to be fragmented.
    SizeProbe(SizeProbe) = "path.size" @ L3,
    /// Datagrams in fragments beside whole ones.
    FragmentProbe(FragmentProbe) = "path.fragments" @ L3,
    /// One TLS handshake.
    TlsHandshake(TlsHandshake) = "tls.handshake" @ L6,
    /// The certificate chain as the server sent it.
    TlsChain(TlsChain) = "tls.chain" @ L6,
    /// A handshake as a control: who makes certificates on the way?
    TlsControl(TlsControl) = "tls.control" @ L6,
    /// One request and its answer.
    HttpExchange(HttpExchange) = "http.exchange" @ L7,
    /// How often each outcome came in N equal requests.
    HttpSamples(HttpSamples) = "http.samples" @ L7,
    /// One request over HTTP/3, beside the one over TCP.
    Http3Exchange(Http3Exchange) = "http3.exchange" @ L7,
    /// A conversation in a protocol other than HTTP.
    Dialogue(Dialogue) = "service.dialogue" @ L7,
    /// What a witness at the other end saw.
    PeerReport(PeerReport) = "peer.report" @ L4,
    /// The packets of the check itself (`--capture`).
    Packets(Packets) = "packets" @ L2,
    /// A rule about the packets of a capture that matched.
    CaptureFinding(CaptureFinding) = "capture.finding" @ L4,
    /// The highest answer in a capture.
    CaptureAnswer(CaptureAnswer) = "capture.answer" @ L4,
    /// What an earlier check of the same target saw (`--baseline`).
    Baseline(Baseline) = "baseline" @ L7,
    /// A question that was not asked, and why.
    NotAsked(NotAsked) = "not-asked" @ L7,
}

/// A question that was skipped: for lack of privilege, time, or because an answer below made it pointless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAsked {
    /// The kind of observation that is missing, such as `arp.probe`.
    pub question: String,
    /// Why, in a user's words: `needs CAP_NET_RAW`, `the budget ran out`.
    pub why: String,
    /// What it would have settled; empty when nothing is open.
    pub would_settle: String,
    /// The capability that is missing, if that is the reason: `CAP_NET_RAW`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}
