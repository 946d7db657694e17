//! The fields a filter may name, what kind of value each has, and where it is found. One list, read by the parser, the evaluator and the help.

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
    help: &'static str,
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

/// A field as help and docs show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldHelp {
    /// As it is written.
    pub name: &'static str,
    /// What it is, with an example where that helps.
    pub help: &'static str,
}

const fn field(name: &'static str, kind: Kind, what: What, help: &'static str) -> Field {
    Field { name, kind, what, help }
}

/// All fields.
pub(super) const ALL: &[Field] = &[
    field("frame", Kind::Bytes, What::FrameBytes, "its bytes: frame contains \"GET /\""),
    field("frame.number", Kind::Number, What::FrameNumber, "the packet's number: frame.number in {1..20, 44}"),
    field("frame.len", Kind::Number, What::FrameLen, "bytes on the wire"),
    field("frame.cap_len", Kind::Number, What::FrameCaptured, "bytes captured"),
    field("eth", Kind::Presence, What::Has(Header::Ethernet), "Ethernet"),
    field("eth.addr", Kind::Mac, What::Eth, "either MAC address"),
    field("eth.src", Kind::Mac, What::EthSrc, "the sender's MAC address"),
    field("eth.dst", Kind::Mac, What::EthDst, "the receiver's MAC address"),
    field("vlan", Kind::Presence, What::Has(Header::Vlan), "has a VLAN tag"),
    field("vlan.id", Kind::Number, What::VlanId, "VLAN ids, of every tag"),
    field("mpls", Kind::Presence, What::Has(Header::Mpls), "has an MPLS label"),
    field("pppoes", Kind::Presence, What::Has(Header::PppoeSession), "in a PPPoE session"),
    field("gre", Kind::Presence, What::Has(Header::Gre), "in a GRE tunnel"),
    field("vxlan", Kind::Presence, What::Has(Header::Vxlan), "in a VXLAN"),
    field("vxlan.vni", Kind::Number, What::Vni, "VXLAN number"),
    field("geneve", Kind::Presence, What::Has(Header::Geneve), "in a Geneve tunnel"),
    field("arp", Kind::Presence, What::Has(Header::Arp), "ARP"),
    field("ip", Kind::Presence, What::Has(Header::Ipv4), "IPv4"),
    field("ipv6", Kind::Presence, What::Has(Header::Ipv6), "IPv6"),
    field("ip.addr", Kind::Addr, What::IpAddr, "either address, in tunnels too: ip.addr == 10.0.0.0/8, ip.addr == 2001:db8::1"),
    field("ip.src", Kind::Addr, What::IpSrc, "sender"),
    field("ip.dst", Kind::Addr, What::IpDst, "receiver"),
    field("ipv6.addr", Kind::Addr, What::IpAddr, "as ip.addr"),
    field("ipv6.src", Kind::Addr, What::IpSrc, "as ip.src"),
    field("ipv6.dst", Kind::Addr, What::IpDst, "as ip.dst"),
    field("host", Kind::Addr, What::IpAddr, "as ip.addr"),
    field("ip.ttl", Kind::Number, What::IpTtl, "TTL or hop limit"),
    field("ipv6.hlim", Kind::Number, What::IpTtl, "as ip.ttl"),
    field("ip.proto", Kind::Number, What::IpProto, "protocol number: 6 is TCP"),
    field("ip.len", Kind::Number, What::IpLen, "length of the IP packet"),
    field("ip.id", Kind::Number, What::IpId, "IPv4 identification"),
    field("ip.frag_offset", Kind::Number, What::IpFragment, "offset of a fragment, bytes"),
    field("ip.flags.df", Kind::Flag, What::DontFragment, "may not be fragmented"),
    field("ip.flags.mf", Kind::Flag, What::MoreFragments, "more fragments follow"),
    field("icmp", Kind::Presence, What::Has(Header::Icmp), "ICMP"),
    field("icmp.type", Kind::Number, What::IcmpType, "type of ICMP or ICMPv6: icmp.type == 3"),
    field("icmp.code", Kind::Number, What::IcmpCode, "code of ICMP or ICMPv6"),
    field("icmpv6", Kind::Presence, What::Has(Header::Icmpv6), "ICMPv6"),
    field("icmpv6.type", Kind::Number, What::IcmpType, "as icmp.type"),
    field("icmpv6.code", Kind::Number, What::IcmpCode, "as icmp.code"),
    field("esp", Kind::Presence, What::Has(Header::Esp), "IPsec"),
    field("sctp", Kind::Presence, What::Has(Header::Sctp), "SCTP"),
    field("tcp", Kind::Presence, What::Tcp, "TCP"),
    field("tcp.port", Kind::Number, What::Port(6, End::Any), "either TCP port"),
    field("tcp.srcport", Kind::Number, What::Port(6, End::Src), "the sender's TCP port"),
    field("tcp.dstport", Kind::Number, What::Port(6, End::Dst), "the receiver's TCP port"),
    field("tcp.len", Kind::Number, What::TcpLen, "bytes of payload"),
    field("tcp.seq_raw", Kind::Number, What::TcpSeq, "sequence number as sent"),
    field("tcp.ack_raw", Kind::Number, What::TcpAck, "acknowledgement as sent"),
    field("tcp.window_size_value", Kind::Number, What::TcpWindow, "window as sent, before scaling"),
    field("tcp.flags", Kind::Number, What::TcpFlags, "all flags as a number: tcp.flags == 0x12"),
    field("tcp.flags.fin", Kind::Flag, What::TcpFlag(0x01), "FIN"),
    field("tcp.flags.syn", Kind::Flag, What::TcpFlag(0x02), "SYN"),
    field("tcp.flags.reset", Kind::Flag, What::TcpFlag(0x04), "RST"),
    field("tcp.flags.push", Kind::Flag, What::TcpFlag(0x08), "PSH"),
    field("tcp.flags.ack", Kind::Flag, What::TcpFlag(0x10), "ACK"),
    field("tcp.flags.urg", Kind::Flag, What::TcpFlag(0x20), "URG"),
    field("tcp.flags.ece", Kind::Flag, What::TcpFlag(0x40), "ECE"),
    field("tcp.flags.cwr", Kind::Flag, What::TcpFlag(0x80), "CWR"),
    field("udp", Kind::Presence, What::Udp, "UDP"),
    field("udp.port", Kind::Number, What::Port(17, End::Any), "either UDP port"),
    field("udp.srcport", Kind::Number, What::Port(17, End::Src), "the sender's UDP port"),
    field("udp.dstport", Kind::Number, What::Port(17, End::Dst), "the receiver's UDP port"),
    field("udp.length", Kind::Number, What::UdpLen, "length of the datagram, header included"),
    field("port", Kind::Number, What::Port(0, End::Any), "either port of TCP or UDP"),
    field("dns", Kind::Presence, What::Spoken, "flow that speaks DNS"),
    field("tls", Kind::Presence, What::Spoken, "flow that speaks TLS"),
    field("http", Kind::Presence, What::Spoken, "flow that speaks HTTP/1"),
    field("http2", Kind::Presence, What::Spoken, "flow that speaks HTTP/2"),
    field("grpc", Kind::Presence, What::Spoken, "flow that speaks gRPC"),
    field("websocket", Kind::Presence, What::Spoken, "flow that speaks WebSocket"),
    field("quic", Kind::Presence, What::Spoken, "flow that speaks QUIC"),
    field("dhcp", Kind::Presence, What::Spoken, "flow that speaks DHCP"),
    field("ntp", Kind::Presence, What::Spoken, "flow that speaks NTP"),
    field("pgsql", Kind::Presence, What::Spoken, "flow that speaks PostgreSQL"),
    field("mysql", Kind::Presence, What::Spoken, "flow that speaks MySQL"),
    field("redis", Kind::Presence, What::Spoken, "flow that speaks Redis"),
    field("mqtt", Kind::Presence, What::Spoken, "flow that speaks MQTT"),
    field("amqp", Kind::Presence, What::Spoken, "flow that speaks AMQP"),
    field("socks", Kind::Presence, What::Spoken, "flow that speaks SOCKS"),
    field("smtp", Kind::Presence, What::Spoken, "flow that speaks SMTP"),
    field("ftp", Kind::Presence, What::Spoken, "flow that speaks FTP"),
    field("ssh", Kind::Presence, What::Spoken, "flow that speaks SSH"),
    field("flow", Kind::Number, What::Flow, "a flow by its number, as --flows shows it"),
    field("layer", Kind::Layer, What::Layer, "a finding at this layer: layer == L4"),
    field("cause", Kind::Text, What::Cause, "a finding of this cause: cause == l4.zero-window"),
    field("rule", Kind::Text, What::Rule, "a finding of this rule: rule == tcp.rto, rule contains \"dns.\""),
    field("weight", Kind::Text, What::Weight, "a finding that weighs so: fault, warning, note, capture"),
    field("finding", Kind::Presence, What::Finding, "has any finding"),
    field("server", Kind::Text, What::Server, "the name asked for: server contains \"shop\""),
];

/// The fields with their help, in the order of the layers.
pub const FIELDS: &[FieldHelp] = &{
    let mut out = [FieldHelp { name: "", help: "" }; ALL.len()];
    let mut at = 0;
    while at < ALL.len() {
        out[at] = FieldHelp { name: ALL[at].name, help: ALL[at].help };
        at += 1;
    }
    out
};

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
