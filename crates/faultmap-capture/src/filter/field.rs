//! The fields a filter may name, what kind of value each has, and where it is found. One list, read by the parser and the evaluator; docs/capture-filter.md
//! says what they mean.

use faultmap_wire::dissect::Header;

/// Where a field is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// In a packet only.
    Packet,
    /// In a packet, or in what is known of a flow.
    Both,
    /// In what is known of a flow or finding.
    Flow,
}

/// What kind of value a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    /// 0 or 1; alone it asks whether it is 1.
    Flag,
    Addr,
    Mac,
    Text,
    Layer,
    /// Bytes of the frame.
    Bytes,
    /// Is there or not; has no value to compare.
    Presence,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) what: What,
}

/// How a field is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    FrameBytes,
    FrameNumber,
    FrameLen,
    FrameCaptured,
    Eth,
    EthSrc,
    EthDst,
    VlanId,
    Vni,
    /// A header is there.
    Has(Header),
    IpAddr,
    IpSrc,
    IpDst,
    IpTtl,
    IpProto,
    IpLen,
    IpId,
    IpFragment,
    DontFragment,
    MoreFragments,
    IcmpType,
    IcmpCode,
    TcpFlags,
    /// One flag, by its bit.
    TcpFlag(u8),
    TcpLen,
    TcpSeq,
    TcpAck,
    TcpWindow,
    UdpLen,
    /// Ports of a protocol, or of both: which protocol (0 for both), and whether source, destination or any.
    Port(u8, End),
    Tcp,
    Udp,
    /// An application protocol, by what was recognised in the flow.
    Spoken,
    Flow,
    Layer,
    Cause,
    Rule,
    Weight,
    Finding,
    Server,
}

/// Which end of a packet or flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Src,
    Dst,
    Any,
}

const fn field(name: &'static str, kind: Kind, what: What) -> Field {
    Field { name, kind, what }
}

/// All fields, in the order of the layers.
pub(super) const ALL: &[Field] = &[
    field("frame", Kind::Bytes, What::FrameBytes),
    field("frame.number", Kind::Number, What::FrameNumber),
    field("frame.len", Kind::Number, What::FrameLen),
    field("frame.cap_len", Kind::Number, What::FrameCaptured),
    field("eth", Kind::Presence, What::Has(Header::Ethernet)),
    field("eth.addr", Kind::Mac, What::Eth),
    field("eth.src", Kind::Mac, What::EthSrc),
    field("eth.dst", Kind::Mac, What::EthDst),
    field("vlan", Kind::Presence, What::Has(Header::Vlan)),
    field("vlan.id", Kind::Number, What::VlanId),
    field("mpls", Kind::Presence, What::Has(Header::Mpls)),
    field("pppoes", Kind::Presence, What::Has(Header::PppoeSession)),
    field("gre", Kind::Presence, What::Has(Header::Gre)),
    field("vxlan", Kind::Presence, What::Has(Header::Vxlan)),
    field("vxlan.vni", Kind::Number, What::Vni),
    field("geneve", Kind::Presence, What::Has(Header::Geneve)),
    field("arp", Kind::Presence, What::Has(Header::Arp)),
    field("ip", Kind::Presence, What::Has(Header::Ipv4)),
    field("ipv6", Kind::Presence, What::Has(Header::Ipv6)),
    field("ip.addr", Kind::Addr, What::IpAddr),
    field("ip.src", Kind::Addr, What::IpSrc),
    field("ip.dst", Kind::Addr, What::IpDst),
    field("ipv6.addr", Kind::Addr, What::IpAddr),
    field("ipv6.src", Kind::Addr, What::IpSrc),
    field("ipv6.dst", Kind::Addr, What::IpDst),
    field("host", Kind::Addr, What::IpAddr),
    field("ip.ttl", Kind::Number, What::IpTtl),
    field("ipv6.hlim", Kind::Number, What::IpTtl),
    field("ip.proto", Kind::Number, What::IpProto),
    field("ip.len", Kind::Number, What::IpLen),
    field("ip.id", Kind::Number, What::IpId),
    field("ip.frag_offset", Kind::Number, What::IpFragment),
    field("ip.flags.df", Kind::Flag, What::DontFragment),
    field("ip.flags.mf", Kind::Flag, What::MoreFragments),
    field("icmp", Kind::Presence, What::Has(Header::Icmp)),
    field("icmp.type", Kind::Number, What::IcmpType),
    field("icmp.code", Kind::Number, What::IcmpCode),
    field("icmpv6", Kind::Presence, What::Has(Header::Icmpv6)),
    field("icmpv6.type", Kind::Number, What::IcmpType),
    field("icmpv6.code", Kind::Number, What::IcmpCode),
    field("esp", Kind::Presence, What::Has(Header::Esp)),
    field("sctp", Kind::Presence, What::Has(Header::Sctp)),
    field("tcp", Kind::Presence, What::Tcp),
    field("tcp.port", Kind::Number, What::Port(6, End::Any)),
    field("tcp.srcport", Kind::Number, What::Port(6, End::Src)),
    field("tcp.dstport", Kind::Number, What::Port(6, End::Dst)),
    field("tcp.len", Kind::Number, What::TcpLen),
    field("tcp.seq_raw", Kind::Number, What::TcpSeq),
    field("tcp.ack_raw", Kind::Number, What::TcpAck),
    field("tcp.window_size_value", Kind::Number, What::TcpWindow),
    field("tcp.flags", Kind::Number, What::TcpFlags),
    field("tcp.flags.fin", Kind::Flag, What::TcpFlag(0x01)),
    field("tcp.flags.syn", Kind::Flag, What::TcpFlag(0x02)),
    field("tcp.flags.reset", Kind::Flag, What::TcpFlag(0x04)),
    field("tcp.flags.push", Kind::Flag, What::TcpFlag(0x08)),
    field("tcp.flags.ack", Kind::Flag, What::TcpFlag(0x10)),
    field("tcp.flags.urg", Kind::Flag, What::TcpFlag(0x20)),
    field("tcp.flags.ece", Kind::Flag, What::TcpFlag(0x40)),
    field("tcp.flags.cwr", Kind::Flag, What::TcpFlag(0x80)),
    field("udp", Kind::Presence, What::Udp),
    field("udp.port", Kind::Number, What::Port(17, End::Any)),
    field("udp.srcport", Kind::Number, What::Port(17, End::Src)),
    field("udp.dstport", Kind::Number, What::Port(17, End::Dst)),
    field("udp.length", Kind::Number, What::UdpLen),
    field("port", Kind::Number, What::Port(0, End::Any)),
    field("dns", Kind::Presence, What::Spoken),
    field("tls", Kind::Presence, What::Spoken),
    field("http", Kind::Presence, What::Spoken),
    field("http2", Kind::Presence, What::Spoken),
    field("grpc", Kind::Presence, What::Spoken),
    field("websocket", Kind::Presence, What::Spoken),
    field("quic", Kind::Presence, What::Spoken),
    field("dhcp", Kind::Presence, What::Spoken),
    field("ntp", Kind::Presence, What::Spoken),
    field("pgsql", Kind::Presence, What::Spoken),
    field("mysql", Kind::Presence, What::Spoken),
    field("redis", Kind::Presence, What::Spoken),
    field("mqtt", Kind::Presence, What::Spoken),
    field("amqp", Kind::Presence, What::Spoken),
    field("socks", Kind::Presence, What::Spoken),
    field("smtp", Kind::Presence, What::Spoken),
    field("ftp", Kind::Presence, What::Spoken),
    field("ssh", Kind::Presence, What::Spoken),
    field("flow", Kind::Number, What::Flow),
    field("layer", Kind::Layer, What::Layer),
    field("cause", Kind::Text, What::Cause),
    field("rule", Kind::Text, What::Rule),
    field("weight", Kind::Text, What::Weight),
    field("finding", Kind::Presence, What::Finding),
    field("server", Kind::Text, What::Server),
];

/// The field of this name.
pub(super) fn find(name: &str) -> Option<&'static Field> {
    let name = name.to_ascii_lowercase();
    let name = match name.as_str() {
        "bootp" => "dhcp",
        "postgres" | "postgresql" => "pgsql",
        "h2" => "http2",
        "ssl" => "tls",
        "tcp.flags.rst" => "tcp.flags.reset",
        "tcp.flags.psh" => "tcp.flags.push",
        "tcp.window" | "tcp.window_size" => "tcp.window_size_value",
        name => name,
    };
    ALL.iter().find(|field| field.name == name)
}

/// The known name most like this one, if any is much like it.
pub(super) fn like(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let best = ALL.iter().map(|field| (strsim::jaro_winkler(&name, field.name), field.name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}

impl Field {
    pub(super) fn scope(&self) -> Scope {
        match self.what {
            What::IpAddr | What::IpSrc | What::IpDst | What::Port(..) | What::Tcp | What::Udp => Scope::Both,
            What::Has(Header::Ipv4 | Header::Ipv6 | Header::Icmp | Header::Icmpv6) => Scope::Both,
            What::Spoken | What::Flow | What::Layer | What::Cause | What::Rule | What::Weight | What::Finding | What::Server => Scope::Flow,
            _ => Scope::Packet,
        }
    }
}
