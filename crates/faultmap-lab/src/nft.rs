//! Packet filter rules of a host's own kernel, spoken to nftables directly because the `nft` program may be absent.
//! It knows the few matches and verdicts that the lab's faults need; it is not a general nftables client.
//!
//! Layouts: linux/netfilter/nf_tables.h. Every rule counts the packets it decided about, for the oracle.

use std::io;
use std::net::IpAddr;

use crate::nfnl::{Buffer, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, SUBSYS_NFTABLES, Socket, attribute, attributes};

const MSG_NEWTABLE: u16 = 0;
const MSG_NEWCHAIN: u16 = 3;
const MSG_NEWRULE: u16 = 6;
const MSG_GETRULE: u16 = 7;
const TABLE_NAME: u16 = 1;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;
const REG_VERDICT: u32 = 0;
const REG_1: u32 = 1;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const CT_STATE: u32 = 0;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const REJECT_TCP_RESET: u32 = 1;
const REJECT_ICMPX: u32 = 2;

/// The packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFamily {
    /// IPv4 only.
    Ip,
    /// IPv6 only.
    Ip6,
    /// Both.
    Inet,
}

impl TableFamily {
    /// NFPROTO_*, linux/netfilter.h.
    fn code(self) -> u8 {
        match self {
            TableFamily::Inet => 1,
            TableFamily::Ip => 2,
            TableFamily::Ip6 => 10,
        }
    }
}

/// Where in the kernel's path of a packet a chain is asked (enum nf_inet_hooks).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Arrived, not yet routed.
    Prerouting,
    /// For this host.
    Input,
    /// Passing through.
    Forward,
    /// Made by this host.
    Output,
    /// About to leave.
    Postrouting,
}

impl Hook {
    fn number(self) -> u32 {
        match self {
            Hook::Prerouting => 0,
            Hook::Input => 1,
            Hook::Forward => 2,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        }
    }

    /// The name its chain is given.
    pub fn name(self) -> &'static str {
        match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        }
    }
}

/// A condition on a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// The IP protocol number behind every extension header.
    Protocol(u8),
    /// Source port of TCP or UDP.
    SourcePort(u16),
    /// Destination port of TCP or UDP.
    DestinationPort(u16),
    /// Source address.
    Source(IpAddr),
    /// Destination address.
    Destination(IpAddr),
    /// ICMP or ICMPv6 message type.
    IcmpType(u8),
    /// Any of these states of the connection: a mask of [`ct_state`] bits.
    ConnectionState(u32),
}

/// Bits of [`Match::ConnectionState`] (linux/netfilter/nf_conntrack_common.h).
pub mod ct_state {
    /// Fits no known connection and cannot start one.
    pub const INVALID: u32 = 1;
    /// Belongs to a connection seen in both directions.
    pub const ESTABLISHED: u32 = 2;
    /// An error about, or a helper's child of, a known connection.
    pub const RELATED: u32 = 4;
    /// Starts a connection.
    pub const NEW: u32 = 8;
}

/// What "unreachable" says; each stands for the ICMP and the ICMPv6 code (enum nft_reject_inet_code).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// 3/0; ICMPv6 1/0.
    NoRoute,
    /// 3/3; ICMPv6 1/4.
    Port,
    /// 3/1; ICMPv6 1/3.
    Host,
    /// 3/13; ICMPv6 1/1.
    AdminProhibited,
}

impl Unreachable {
    fn code(self) -> u8 {
        match self {
            Unreachable::NoRoute => 0,
            Unreachable::Port => 1,
            Unreachable::Host => 2,
            Unreachable::AdminProhibited => 3,
        }
    }
}

/// What becomes of a packet that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It vanishes.
    Drop,
    /// A TCP reset answers.
    RejectReset,
    /// An ICMP destination unreachable answers.
    Reject(Unreachable),
}

/// A rule: every match must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The conditions.
    pub matches: Vec<Match>,
    /// What follows.
    pub verdict: Verdict,
}

/// A base chain, accepting what no rule decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Where it is asked.
    pub hook: Hook,
    /// Order among chains of one hook, lower first; 0 is the usual filter.
    pub priority: i32,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// A table to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The packets it sees.
    pub family: TableFamily,
    /// Its name.
    pub name: String,
    /// Its chains.
    pub chains: Vec<Chain>,
}

/// How often a rule of ours decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCount {
    /// The chain's name, that of its hook.
    pub chain: String,
    /// Packets that matched.
    pub packets: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// Creates the table in the network namespace of the calling thread, all or nothing.
pub fn install(table: &Table) -> io::Result<()> {
    let socket = Socket::open()?;
    let buffer = encode(table);
    socket.send(&buffer)?;
    let rules = table.chains.iter().map(|chain| chain.rules.len()).sum::<usize>();
    socket.acknowledgements(1 + table.chains.len() + rules)
}

/// The counters of every rule of the table, in order, in the namespace of the calling thread.
pub fn counts(family: TableFamily, table: &str) -> io::Result<Vec<RuleCount>> {
    let socket = Socket::open()?;
    let mut buffer = Buffer::new();
    buffer.message(SUBSYS_NFTABLES, MSG_GETRULE, NLM_F_DUMP, family.code(), |b| b.attr_text(RULE_TABLE, table));
    socket.send(&buffer)?;
    Ok(socket.dump()?.iter().filter_map(|payload| rule_count(payload)).collect())
}

fn encode(table: &Table) -> Buffer {
    let family = table.family.code();
    let create = NLM_F_CREATE | NLM_F_ACK;
    let mut buffer = Buffer::new();
    buffer.batch(SUBSYS_NFTABLES, |b| {
        b.message(SUBSYS_NFTABLES, MSG_NEWTABLE, create, family, |b| b.attr_text(TABLE_NAME, &table.name));
        for chain in &table.chains {
            b.message(SUBSYS_NFTABLES, MSG_NEWCHAIN, create, family, |b| encode_chain(b, &table.name, chain));
        }
        for chain in &table.chains {
            for rule in &chain.rules {
                b.message(SUBSYS_NFTABLES, MSG_NEWRULE, create | NLM_F_APPEND, family, |b| {
                    b.attr_text(RULE_TABLE, &table.name);
                    b.attr_text(RULE_CHAIN, chain.hook.name());
                    b.nest(RULE_EXPRESSIONS, |b| encode_rule(b, rule));
                });
            }
        }
    });
    buffer
}

fn encode_chain(b: &mut Buffer, table: &str, chain: &Chain) {
    b.attr_text(CHAIN_TABLE, table);
    b.attr_text(CHAIN_NAME, chain.hook.name());
    b.nest(CHAIN_HOOK, |b| {
        b.attr_u32(HOOK_NUMBER, chain.hook.number());
        b.attr_u32(HOOK_PRIORITY, chain.priority.cast_unsigned());
    });
    b.attr_u32(CHAIN_POLICY, NF_ACCEPT);
    b.attr_text(CHAIN_TYPE, "filter");
}

fn encode_rule(b: &mut Buffer, rule: &Rule) {
    for condition in &rule.matches {
        encode_match(b, *condition);
    }
    expression(b, "counter", |b| {
        b.attr(COUNTER_BYTES, &0_u64.to_be_bytes());
        b.attr(COUNTER_PACKETS, &0_u64.to_be_bytes());
    });
    match rule.verdict {
        Verdict::Accept => immediate(b, NF_ACCEPT),
        Verdict::Drop => immediate(b, NF_DROP),
        Verdict::RejectReset => reject(b, REJECT_TCP_RESET, 0),
        Verdict::Reject(what) => reject(b, REJECT_ICMPX, what.code()),
    }
}

fn encode_match(b: &mut Buffer, condition: Match) {
    match condition {
        Match::Protocol(number) => {
            meta(b, META_L4PROTO);
            compare_equal(b, &[number]);
        }
        Match::SourcePort(port) => {
            payload(b, BASE_TRANSPORT, 0, 2);
            compare_equal(b, &port.to_be_bytes());
        }
        Match::DestinationPort(port) => {
            payload(b, BASE_TRANSPORT, 2, 2);
            compare_equal(b, &port.to_be_bytes());
        }
        Match::Source(addr) => address(b, addr, 12, 8),
        Match::Destination(addr) => address(b, addr, 16, 24),
        Match::IcmpType(kind) => {
            payload(b, BASE_TRANSPORT, 0, 1);
            compare_equal(b, &[kind]);
        }
        Match::ConnectionState(mask) => connection_state(b, mask),
    }
}

/// Offsets of an address in the IPv4 and in the IPv6 header.
fn address(b: &mut Buffer, addr: IpAddr, offset4: u32, offset6: u32) {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    meta(b, META_NFPROTO);
    match addr {
        IpAddr::V4(v4) => {
            compare_equal(b, &[AF_INET]);
            payload(b, BASE_NETWORK, offset4, 4);
            compare_equal(b, &v4.octets());
        }
        IpAddr::V6(v6) => {
            compare_equal(b, &[AF_INET6]);
            payload(b, BASE_NETWORK, offset6, 16);
            compare_equal(b, &v6.octets());
        }
    }
}

fn connection_state(b: &mut Buffer, mask: u32) {
    expression(b, "ct", |b| {
        b.attr_u32(1, REG_1);
        b.attr_u32(2, CT_STATE);
    });
    // The register holds the state in host order: state & mask != 0.
    expression(b, "bitwise", |b| {
        b.attr_u32(1, REG_1);
        b.attr_u32(2, REG_1);
        b.attr_u32(3, 4);
        b.nest(4, |b| b.attr(DATA_VALUE, &mask.to_ne_bytes()));
        b.nest(5, |b| b.attr(DATA_VALUE, &[0; 4]));
    });
    compare(b, 1, &[0; 4]);
}

fn expression(b: &mut Buffer, name: &str, fill: impl FnOnce(&mut Buffer)) {
    b.nest(LIST_ELEMENT, |b| {
        b.attr_text(EXPR_NAME, name);
        b.nest(EXPR_DATA, fill);
    });
}

fn meta(b: &mut Buffer, key: u32) {
    expression(b, "meta", |b| {
        b.attr_u32(1, REG_1);
        b.attr_u32(2, key);
    });
}

fn payload(b: &mut Buffer, base: u32, offset: u32, len: u32) {
    expression(b, "payload", |b| {
        b.attr_u32(1, REG_1);
        b.attr_u32(2, base);
        b.attr_u32(3, offset);
        b.attr_u32(4, len);
    });
}

fn compare_equal(b: &mut Buffer, value: &[u8]) {
    compare(b, 0, value);
}

/// `operator`: 0 equal, 1 not equal (enum nft_cmp_ops).
fn compare(b: &mut Buffer, operator: u32, value: &[u8]) {
    expression(b, "cmp", |b| {
        b.attr_u32(1, REG_1);
        b.attr_u32(2, operator);
        b.nest(3, |b| b.attr(DATA_VALUE, value));
    });
}

fn immediate(b: &mut Buffer, verdict: u32) {
    expression(b, "immediate", |b| {
        b.attr_u32(1, REG_VERDICT);
        b.nest(2, |b| b.nest(DATA_VERDICT, |b| b.attr_u32(VERDICT_CODE, verdict)));
    });
}

fn reject(b: &mut Buffer, kind: u32, code: u8) {
    expression(b, "reject", |b| {
        b.attr_u32(1, kind);
        b.attr(2, &[code]);
    });
}

fn rule_count(payload: &[u8]) -> Option<RuleCount> {
    let chain = text(attribute(payload, RULE_CHAIN)?);
    let expressions = attribute(payload, RULE_EXPRESSIONS)?;
    let counter = attributes(expressions)
        .filter(|(kind, _)| *kind == LIST_ELEMENT)
        .map(|(_, element)| element)
        .find(|element| attribute(element, EXPR_NAME).is_some_and(|name| text(name) == "counter"))?;
    let data = attribute(counter, EXPR_DATA)?;
    let number = |kind| attribute(data, kind)?.try_into().ok().map(u64::from_be_bytes);
    Some(RuleCount { chain, packets: number(COUNTER_PACKETS)?, bytes: number(COUNTER_BYTES)? })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rules: Vec<Rule>) -> Table {
        let chains = vec![Chain { hook: Hook::Output, priority: 0, rules }];
        Table { family: TableFamily::Inet, name: "t".to_owned(), chains }
    }

    /// The bytes `nft` itself sends for the same expression, as its `--debug=mnl` prints them.
    #[cfg(target_endian = "little")]
    #[test]
    fn a_drop_verdict_is_an_immediate_into_the_verdict_register() {
        let mut b = Buffer::new();
        immediate(&mut b, NF_DROP);
        let expected: &[u8] = &[
            0x30, 0, 0x01, 0x80, // element
            0x0e, 0, 0x01, 0, b'i', b'm', b'm', b'e', b'd', b'i', b'a', b't', b'e', 0, 0, 0, // name
            0x1c, 0, 0x02, 0x80, // data
            0x08, 0, 0x01, 0, 0, 0, 0, 0, // register: verdict
            0x10, 0, 0x02, 0x80, 0x0c, 0, 0x02, 0x80, 0x08, 0, 0x01, 0, 0, 0, 0, 0, // verdict: drop
        ];
        assert_eq!(b.bytes(), expected);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_destination_port_is_two_bytes_of_the_transport_header_compared() {
        let mut b = Buffer::new();
        encode_match(&mut b, Match::DestinationPort(443));
        let expected: &[u8] = &[
            0x34, 0, 0x01, 0x80, 0x0c, 0, 0x01, 0, b'p', b'a', b'y', b'l', b'o', b'a', b'd', 0, //
            0x24, 0, 0x02, 0x80, // data
            0x08, 0, 0x01, 0, 0, 0, 0, 1, // register 1
            0x08, 0, 0x02, 0, 0, 0, 0, 2, // transport header
            0x08, 0, 0x03, 0, 0, 0, 0, 2, // offset
            0x08, 0, 0x04, 0, 0, 0, 0, 2, // length
            0x2c, 0, 0x01, 0x80, 0x08, 0, 0x01, 0, b'c', b'm', b'p', 0, //
            0x20, 0, 0x02, 0x80, // data
            0x08, 0, 0x01, 0, 0, 0, 0, 1, // register 1
            0x08, 0, 0x02, 0, 0, 0, 0, 0, // equal
            0x0c, 0, 0x03, 0x80, 0x06, 0, 0x01, 0, 0x01, 0xbb, 0, 0, // 443
        ];
        assert_eq!(b.bytes(), expected);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_batch_names_the_subsystem_at_both_ends() {
        let buffer = encode(&Table { chains: Vec::new(), ..table(Vec::new()) });
        let begin: &[u8] = &[20, 0, 0, 0, 16, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10];
        let end: &[u8] = &[20, 0, 0, 0, 17, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10];
        assert_eq!(&buffer.bytes()[..20], begin);
        assert_eq!(&buffer.bytes()[buffer.bytes().len() - 20..], end);
    }

    #[test]
    fn the_counter_of_a_rule_is_found_among_its_expressions() {
        let mut b = Buffer::new();
        b.attr_text(RULE_CHAIN, "output");
        let rule = Rule { matches: vec![Match::Protocol(6)], verdict: Verdict::Drop };
        b.nest(RULE_EXPRESSIONS, |b| encode_rule(b, &rule));
        let expected = RuleCount { chain: "output".to_owned(), packets: 0, bytes: 0 };
        assert_eq!(rule_count(b.bytes()), Some(expected));
    }
}
