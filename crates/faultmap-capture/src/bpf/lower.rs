//! Primitives to tests of bytes at their places in an Ethernet frame. What stands before the network header moves the places: one VLAN tag, four bytes.

use super::Tags;
use super::parse::{Dir, Expr, Primitive, Protocol};
use std::net::IpAddr;

/// What to load and compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Test {
    pub(super) load: Load,
    /// Bits that count.
    pub(super) mask: u32,
    pub(super) op: Op,
    pub(super) k: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    Byte(u32),
    Half(u32),
    Word(u32),
    /// Two bytes behind an IPv4 header: where that begins, and how far behind its end.
    HalfBehindIpv4(u32, u32),
    /// The EtherType as the kernel knows it.
    Protocol,
    /// The frame's length.
    Len,
    /// The id of the tag beside the frame, with its priority.
    Tag,
    /// 1 if there is one.
    HasTag,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    More,
    AtLeast,
}

/// A tree of tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    All(Vec<Tree>),
    Any(Vec<Tree>),
    Not(Box<Tree>),
    Test(Test),
}

const IPV4: u32 = 0x0800;
const ARP: u32 = 0x0806;
const RARP: u32 = 0x8035;
const IPV6: u32 = 0x86dd;
const VLANS: [u32; 3] = [0x8100, 0x88a8, 0x9100];
const IPV6_FRAGMENT: u32 = 44;

/// Where the frame's parts are.
#[derive(Clone, Copy)]
struct Place {
    /// Bytes of tags before the EtherType.
    tags: u32,
    /// The outermost tag may be beside the frame.
    beside: bool,
    /// The kernel knows the EtherType, and where the network header begins: that holds for interfaces without Ethernet, too.
    kernel: bool,
}

/// `SKF_NET_OFF`: from here on places count from the network header.
const NETWORK: u32 = 0xfff0_0000;

impl Place {
    const fn ethertype(self) -> Load {
        match (self.kernel, self.tags) {
            (true, 0) => Load::Protocol,
            (true, tags) => Load::Half(NETWORK + tags - 2),
            (false, tags) => Load::Half(12 + tags),
        }
    }

    const fn network(self) -> u32 {
        if self.kernel { NETWORK + self.tags } else { 14 + self.tags }
    }
}

pub(super) fn lower(expr: &Expr, tags: Tags) -> Tree {
    expression(expr, Place { tags: 0, beside: tags == Tags::Kernel, kernel: tags == Tags::Kernel })
}

fn expression(expr: &Expr, place: Place) -> Tree {
    match expr {
        Expr::All(parts) => chain(parts, place),
        Expr::Any(parts) => match vlan_ids(expr) {
            Some(ids) => tagged(&ids, &[], place),
            None => Tree::Any(parts.iter().map(|part| expression(part, place)).collect()),
        },
        Expr::Not(part) => Tree::Not(Box::new(expression(part, place))),
        Expr::Is(Primitive::Vlan(id)) => tagged(&[*id], &[], place),
        Expr::Is(primitive) => one(primitive, place),
    }
}

/// A chain of `and`s: behind `vlan`, places move.
fn chain(parts: &[Expr], place: Place) -> Tree {
    let mut tests = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        if let Some(ids) = vlan_ids(part) {
            tests.push(tagged(&ids, parts.get(at + 1..).unwrap_or_default(), place));
            break;
        }
        tests.push(expression(part, place));
    }
    Tree::All(tests)
}

/// The ids, if a part asks for nothing but VLANs: `vlan 5`, `vlan 5 or vlan 6`.
fn vlan_ids(expr: &Expr) -> Option<Vec<Option<u16>>> {
    match expr {
        Expr::Is(Primitive::Vlan(id)) => Some(vec![*id]),
        Expr::Any(parts) => parts
            .iter()
            .map(|part| match part {
                Expr::Is(Primitive::Vlan(id)) => Some(*id),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// A tag with one of the ids, and behind it the rest of the chain.
fn tagged(ids: &[Option<u16>], rest: &[Expr], place: Place) -> Tree {
    let id_is = |load: Load| {
        let wanted: Option<Vec<u16>> = ids.iter().copied().collect();
        wanted.map(|wanted| Tree::Any(wanted.into_iter().map(|id| masked(load, 0x0fff, u32::from(id))).collect()))
    };
    let in_frame = || {
        let kinds = Tree::Any(VLANS.iter().map(|kind| equal(place.ethertype(), *kind)).collect());
        let mut tests = vec![kinds];
        tests.extend(id_is(Load::Half(place.network())));
        tests.push(chain(rest, Place { tags: place.tags + 4, beside: false, ..place }));
        Tree::All(tests)
    };
    if !place.beside {
        return in_frame();
    }
    let mut beside = vec![equal(Load::HasTag, 1)];
    beside.extend(id_is(Load::Tag));
    beside.push(chain(rest, Place { beside: false, ..place }));
    Tree::Any(vec![Tree::All(beside), Tree::All(vec![equal(Load::HasTag, 0), in_frame()])])
}

fn one(primitive: &Primitive, place: Place) -> Tree {
    match primitive {
        Primitive::Protocol(protocol) => alone(*protocol, place),
        Primitive::Net(protocol, dir, addr, bits) => net(*protocol, *dir, *addr, *bits, place),
        Primitive::EtherHost(dir, mac) => {
            let [a, b, c, d, e, f] = mac.0;
            let at = |at: u32| {
                let (high, low) = (u32::from(u16::from_be_bytes([a, b])), u32::from_be_bytes([c, d, e, f]));
                Tree::All(vec![equal(Load::Half(at), high), equal(Load::Word(at + 2), low)])
            };
            directed(*dir, at(6), at(0))
        }
        Primitive::Ports(protocol, dir, low, high) => ports(*protocol, *dir, u32::from(*low), u32::from(*high), place),
        Primitive::EtherType(number) => equal(place.ethertype(), u32::from(*number)),
        Primitive::IpProto(Protocol::Ip, number) => v4_proto(u32::from(*number), place),
        Primitive::IpProto(Protocol::Ip6, number) => v6_proto(u32::from(*number), place),
        Primitive::IpProto(_, number) => Tree::Any(vec![v4_proto(u32::from(*number), place), v6_proto(u32::from(*number), place)]),
        Primitive::Vlan(id) => tagged(&[*id], &[], place),
        Primitive::Broadcast => Tree::All(vec![equal(Load::Half(0), 0xffff), equal(Load::Word(2), u32::MAX)]),
        Primitive::Multicast => masked(Load::Byte(0), 1, 1),
        Primitive::Less(len) => Tree::Not(Box::new(Tree::Test(Test { load: Load::Len, mask: u32::MAX, op: Op::More, k: *len }))),
        Primitive::Greater(len) => Tree::Test(Test { load: Load::Len, mask: u32::MAX, op: Op::AtLeast, k: *len }),
    }
}

fn alone(protocol: Protocol, place: Place) -> Tree {
    let both = |number| Tree::Any(vec![v4_proto(number, place), v6_proto(number, place)]);
    match protocol {
        Protocol::Ip => ethertype(IPV4, place),
        Protocol::Ip6 => ethertype(IPV6, place),
        Protocol::Arp => ethertype(ARP, place),
        Protocol::Rarp => ethertype(RARP, place),
        Protocol::Tcp => both(6),
        Protocol::Udp => both(17),
        Protocol::Sctp => both(132),
        Protocol::Icmp => v4_proto(1, place),
        Protocol::Icmp6 => v6_proto(58, place),
        // The parser gives neither alone.
        Protocol::Any | Protocol::Ether => Tree::All(Vec::new()),
    }
}

const fn equal(load: Load, k: u32) -> Tree {
    masked(load, u32::MAX, k)
}

const fn masked(load: Load, mask: u32, k: u32) -> Tree {
    Tree::Test(Test { load, mask, op: Op::Equal, k })
}

const fn ethertype(number: u32, place: Place) -> Tree {
    equal(place.ethertype(), number)
}

fn v4_proto(number: u32, place: Place) -> Tree {
    Tree::All(vec![ethertype(IPV4, place), equal(Load::Byte(place.network() + 9), number)])
}

/// Directly, or in a fragment.
fn v6_proto(number: u32, place: Place) -> Tree {
    let next = Load::Byte(place.network() + 6);
    let behind = Tree::All(vec![equal(next, IPV6_FRAGMENT), equal(Load::Byte(place.network() + 40), number)]);
    Tree::All(vec![ethertype(IPV6, place), Tree::Any(vec![equal(next, number), behind])])
}

fn directed(dir: Dir, src: Tree, dst: Tree) -> Tree {
    match dir {
        Dir::Src => src,
        Dir::Dst => dst,
        Dir::Either => Tree::Any(vec![src, dst]),
        Dir::Both => Tree::All(vec![src, dst]),
    }
}

fn net(protocol: Protocol, dir: Dir, addr: IpAddr, bits: u8, place: Place) -> Tree {
    let n = place.network();
    match addr {
        IpAddr::V6(addr) => {
            let at = |at: u32| words(at, &addr.octets(), bits);
            Tree::All(vec![ethertype(IPV6, place), directed(dir, at(n + 8), at(n + 24))])
        }
        IpAddr::V4(addr) => {
            let at = |at: u32| words(at, &addr.octets(), bits);
            let ip = || Tree::All(vec![ethertype(IPV4, place), directed(dir, at(n + 12), at(n + 16))]);
            let arp = |kind| Tree::All(vec![ethertype(kind, place), directed(dir, at(n + 14), at(n + 24))]);
            match protocol {
                Protocol::Ip => ip(),
                Protocol::Arp => arp(ARP),
                Protocol::Rarp => arp(RARP),
                _ => Tree::Any(vec![ip(), arp(ARP), arp(RARP)]),
            }
        }
    }
}

/// The first bits of an address, word by word.
fn words(at: u32, octets: &[u8], bits: u8) -> Tree {
    let (chunks, _) = octets.as_chunks::<4>();
    let mut tests = Vec::new();
    for (number, chunk) in (0_u32..).zip(chunks) {
        let left = u32::from(bits).saturating_sub(32 * number).min(32);
        if left > 0 {
            let mask = u32::MAX << (32 - left);
            tests.push(masked(Load::Word(at + 4 * number), mask, u32::from_be_bytes(*chunk) & mask));
        }
    }
    Tree::All(tests)
}

fn ports(protocol: Protocol, dir: Dir, low: u32, high: u32, place: Place) -> Tree {
    let numbers: &[u32] = match protocol {
        Protocol::Tcp => &[6],
        Protocol::Udp => &[17],
        Protocol::Sctp => &[132],
        _ => &[132, 6, 17],
    };
    let n = place.network();
    let carried = |at: u32| Tree::Any(numbers.iter().map(|number| equal(Load::Byte(at), *number)).collect());
    let port = |load: Load| match low == high {
        true => equal(load, low),
        false => {
            let above = Tree::Not(Box::new(Tree::Test(Test { load, mask: u32::MAX, op: Op::More, k: high })));
            Tree::All(vec![Tree::Test(Test { load, mask: u32::MAX, op: Op::AtLeast, k: low }), above])
        }
    };
    let six = vec![ethertype(IPV6, place), carried(n + 6), directed(dir, port(Load::Half(n + 40)), port(Load::Half(n + 42)))];
    // Later fragments have no ports.
    let whole = masked(Load::Half(n + 6), 0x1fff, 0);
    let behind = |at: u32| port(Load::HalfBehindIpv4(n, at));
    let four = vec![ethertype(IPV4, place), carried(n + 9), whole, directed(dir, behind(0), behind(2))];
    Tree::Any(vec![Tree::All(six), Tree::All(four)])
}
