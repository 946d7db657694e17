//! A pcap-filter expression to a tree of primitives. A value without a keyword takes the keywords of the value before: `tcp port 80 or 443`.

use crate::filter::{FilterError, MOST_TEXT};
use faultmap_wire::Mac;
use std::net::{IpAddr, Ipv4Addr};

/// Deepest nest of parentheses and negations.
const MOST_DEPTH: usize = 64;

/// A tree of primitives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Is(Primitive),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Primitive {
    /// A protocol by itself.
    Protocol(Protocol),
    /// Addresses whose first bits are these.
    Net(Protocol, Dir, IpAddr, u8),
    EtherHost(Dir, Mac),
    /// From the first to the last, both included.
    Ports(Protocol, Dir, u16, u16),
    EtherType(u16),
    /// A protocol number over IPv4, IPv6 or both.
    IpProto(Protocol, u8),
    /// This id, or any.
    Vlan(Option<u16>),
    Broadcast,
    Multicast,
    /// At most so many bytes.
    Less(u32),
    /// At least so many bytes.
    Greater(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Whatever fits.
    Any,
    Ether,
    Ip,
    Ip6,
    Arp,
    Rarp,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmp6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dir {
    Either,
    Both,
    Src,
    Dst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

/// The keywords of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Qualifiers {
    protocol: Protocol,
    dir: Dir,
    kind: Type,
}

const PROTOCOLS: [(&str, Protocol); 10] = [
    ("ether", Protocol::Ether),
    ("ip", Protocol::Ip),
    ("ip6", Protocol::Ip6),
    ("arp", Protocol::Arp),
    ("rarp", Protocol::Rarp),
    ("tcp", Protocol::Tcp),
    ("udp", Protocol::Udp),
    ("sctp", Protocol::Sctp),
    ("icmp", Protocol::Icmp),
    ("icmp6", Protocol::Icmp6),
];

/// The names of ports that filters are written with.
const SERVICES: [(&str, u16); 16] = [
    ("ssh", 22),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("http", 80),
    ("ntp", 123),
    ("imap", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("syslog", 514),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("amqp", 5672),
    ("redis", 6379),
];

pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    let mut parser = Parser { text, words: words(text)?, at: 0, depth: 0, last: None };
    if parser.words.is_empty() {
        return Err(FilterError::at(text, 0, "empty; an example: tcp port 443 and host 10.0.0.1"));
    }
    let expr = parser.any()?;
    match parser.peek() {
        None => Ok(expr),
        Some(")") => Err(parser.error("this parenthesis closes nothing")),
        Some(_) => Err(parser.error("before this, \"and\" or \"or\" is missing")),
    }
}

/// Words and signs with the byte where each begins; `&&`, `||` and `!` as their words.
fn words(text: &str) -> Result<Vec<(usize, &str)>, FilterError> {
    if text.len() > MOST_TEXT {
        return Err(FilterError::at("", 0, format!("longer than {MOST_TEXT} bytes")));
    }
    let (mut words, mut at) = (Vec::new(), 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let blank = rest.len() - rest.trim_start().len();
        if blank > 0 {
            at += blank;
            continue;
        }
        let sign = [("&&", "and"), ("||", "or"), ("!", "not"), ("(", "("), (")", ")")].into_iter().find(|(sign, _)| rest.starts_with(sign));
        let (word, len) = match sign {
            Some((sign, word)) => (word, sign.len()),
            None => {
                let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"._:-/\\".contains(c)).unwrap_or(rest.len());
                (rest.get(..len).unwrap_or_default(), len)
            }
        };
        if len == 0 {
            let what = match rest.starts_with('[') {
                true => "bytes such as tcp[13] are not known here; --filter knows tcp.flags.syn and the like",
                false => "this sign has no meaning here",
            };
            return Err(FilterError::at(text, at, what));
        }
        words.push((at, word));
        at += len;
    }
    Ok(words)
}

struct Parser<'t> {
    text: &'t str,
    words: Vec<(usize, &'t str)>,
    at: usize,
    depth: usize,
    last: Option<Qualifiers>,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.words.get(self.at).map(|(_, word)| *word)
    }

    fn eat(&mut self, word: &str) -> bool {
        let eaten = self.peek() == Some(word);
        self.at += usize::from(eaten);
        eaten
    }

    fn error(&self, what: impl Into<String>) -> FilterError {
        let byte = self.words.get(self.at).map_or(self.text.len(), |(at, _)| *at);
        FilterError::at(self.text, byte, what)
    }

    /// `and` and `or` have one rank, from left to right, as pcap-filter(7) says.
    fn any(&mut self) -> Result<Expr, FilterError> {
        let mut left = self.not()?;
        loop {
            if self.eat("and") {
                let right = self.not()?;
                // One chain, so that what `vlan` says holds beyond its parentheses.
                left = match (left, right) {
                    (Expr::All(mut parts), Expr::All(more)) => {
                        parts.extend(more);
                        Expr::All(parts)
                    }
                    (Expr::All(mut parts), right) => {
                        parts.push(right);
                        Expr::All(parts)
                    }
                    (left, Expr::All(more)) => Expr::All([vec![left], more].concat()),
                    (left, right) => Expr::All(vec![left, right]),
                };
            } else if self.eat("or") {
                let right = self.not()?;
                left = match left {
                    Expr::Any(mut parts) => {
                        parts.push(right);
                        Expr::Any(parts)
                    }
                    left => Expr::Any(vec![left, right]),
                };
            } else {
                return Ok(left);
            }
        }
    }

    fn not(&mut self) -> Result<Expr, FilterError> {
        if self.depth >= MOST_DEPTH {
            return Err(self.error(format!("nested deeper than {MOST_DEPTH}")));
        }
        self.depth += 1;
        let expr = if self.eat("not") {
            Expr::Not(Box::new(self.not()?))
        } else if self.eat("(") {
            let inner = self.any()?;
            if !self.eat(")") {
                return Err(self.error("here a parenthesis should be closed"));
            }
            inner
        } else {
            Expr::Is(self.primitive()?)
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn primitive(&mut self) -> Result<Primitive, FilterError> {
        match self.peek() {
            None => return Err(self.error("something is missing here")),
            Some("vlan") => return self.vlan(),
            Some(word @ ("less" | "greater")) => {
                self.at += 1;
                let len = self.number("a length in bytes")?;
                return Ok(if word == "less" { Primitive::Less(len) } else { Primitive::Greater(len) });
            }
            _ => {}
        }
        let started = self.at;
        let protocol = self.protocol();
        match self.peek() {
            Some("broadcast") if matches!(protocol, Protocol::Any | Protocol::Ether) => {
                self.at += 1;
                return Ok(Primitive::Broadcast);
            }
            Some("multicast") if matches!(protocol, Protocol::Any | Protocol::Ether) => {
                self.at += 1;
                return Ok(Primitive::Multicast);
            }
            _ => {}
        }
        let dir = self.dir();
        let kind = self.kind();
        let named = self.at > started;
        if dir.is_none() && kind.is_none() && protocol != Protocol::Any {
            return match protocol {
                Protocol::Ether if self.value_follows() => Err(self.error("after ether write host, src, dst or proto")),
                Protocol::Ether => Err(self.error("after ether something is missing")),
                _ if self.value_follows() => self.value(Qualifiers { protocol, dir: Dir::Either, kind: Type::Host }),
                _ => Ok(Primitive::Protocol(protocol)),
            };
        }
        let qualifiers = match (named, self.last) {
            (false, Some(last)) if self.fits_after(last) => last,
            _ => Qualifiers { protocol, dir: dir.unwrap_or(Dir::Either), kind: kind.unwrap_or(Type::Host) },
        };
        self.last = Some(qualifiers);
        self.value(qualifiers)
    }

    /// Whether the next word may be meant with the keywords before: an address behind a port begins anew.
    fn fits_after(&self, last: Qualifiers) -> bool {
        let addr = self.peek().and_then(|word| word.parse::<IpAddr>().ok());
        match last.kind {
            Type::Host if last.protocol == Protocol::Ether => addr.is_none(),
            Type::Host | Type::Net => addr.is_none_or(|addr| fits(last.protocol, addr).is_ok()),
            Type::Port | Type::PortRange | Type::Proto => addr.is_none(),
        }
    }

    /// Whether the next word is a value and not a sign.
    fn value_follows(&self) -> bool {
        self.peek().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit()) || word.contains(':'))
    }

    fn protocol(&mut self) -> Protocol {
        let found = self.peek().and_then(|word| PROTOCOLS.iter().find(|(name, _)| *name == word));
        self.at += usize::from(found.is_some());
        found.map_or(Protocol::Any, |(_, protocol)| *protocol)
    }

    /// `src`, `dst`, `src or dst`, `src and dst`.
    fn dir(&mut self) -> Option<Dir> {
        let word = |at: usize| self.words.get(at).map(|(_, word)| *word);
        let (dir, words) = match (word(self.at), word(self.at + 1), word(self.at + 2)) {
            (Some("src"), Some("or"), Some("dst")) | (Some("dst"), Some("or"), Some("src")) => (Dir::Either, 3),
            (Some("src"), Some("and"), Some("dst")) | (Some("dst"), Some("and"), Some("src")) => (Dir::Both, 3),
            (Some("src"), ..) => (Dir::Src, 1),
            (Some("dst"), ..) => (Dir::Dst, 1),
            _ => return None,
        };
        self.at += words;
        Some(dir)
    }

    fn kind(&mut self) -> Option<Type> {
        let kind = match self.peek()? {
            "host" => Type::Host,
            "net" => Type::Net,
            "port" => Type::Port,
            "portrange" => Type::PortRange,
            "proto" => Type::Proto,
            _ => return None,
        };
        self.at += 1;
        Some(kind)
    }

    fn value(&mut self, qualifiers: Qualifiers) -> Result<Primitive, FilterError> {
        let Qualifiers { protocol, dir, kind } = qualifiers;
        let Some(word) = self.peek() else { return Err(self.error("here a value is missing")) };
        let primitive = match kind {
            Type::Host if protocol == Protocol::Ether => {
                mac(word).map(|mac| Primitive::EtherHost(dir, mac)).ok_or("is not a MAC address, such as 02:00:00:00:00:01")
            }
            Type::Host => host(protocol, dir, word),
            Type::Net => return self.net(protocol, dir, word),
            Type::Port | Type::PortRange if !matches!(protocol, Protocol::Any | Protocol::Tcp | Protocol::Udp | Protocol::Sctp) => {
                return Err(self.error("only tcp, udp and sctp have ports"));
            }
            Type::Port => port(word).map(|port| Primitive::Ports(protocol, dir, port, port)).ok_or("is not a port: a number up to 65535"),
            Type::PortRange => port_range(word)
                .map(|(low, high)| Primitive::Ports(protocol, dir, low, high))
                .ok_or("is not a range of ports, such as 6000-6008"),
            Type::Proto => by_number(protocol, word),
        };
        let primitive = primitive.map_err(|what| self.error(format!("{word} {what}")))?;
        self.at += 1;
        Ok(primitive)
    }

    /// `10.0.0.0/8`, `10`, `192.168`, `10.0.0.0 mask 255.0.0.0`, `2001:db8::/32`.
    fn net(&mut self, protocol: Protocol, dir: Dir, word: &str) -> Result<Primitive, FilterError> {
        let (net, bits) = net(word).ok_or_else(|| self.error(format!("{word} is not a network, such as 10.0.0.0/8")))?;
        fits(protocol, net).map_err(|what| self.error(format!("{word} {what}")))?;
        self.at += 1;
        if !self.eat("mask") {
            return Ok(Primitive::Net(protocol, dir, net, bits));
        }
        let mask = self.peek().and_then(|mask| mask.parse::<Ipv4Addr>().ok()).map(u32::from);
        let Some(mask) = mask.filter(|mask| net.is_ipv4() && mask.leading_ones() + mask.trailing_zeros() == 32) else {
            return Err(self.error("this is not a mask, such as 255.255.0.0"));
        };
        self.at += 1;
        Ok(Primitive::Net(protocol, dir, net, mask.leading_ones() as u8))
    }

    fn vlan(&mut self) -> Result<Primitive, FilterError> {
        self.at += 1;
        if !self.peek().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
            return Ok(Primitive::Vlan(None));
        }
        match self.number("a VLAN id")? {
            id @ 0..=4095 => Ok(Primitive::Vlan(Some(id as u16))),
            _ => {
                self.at -= 1;
                Err(self.error("VLAN ids end at 4095"))
            }
        }
    }

    fn number(&mut self, what: &str) -> Result<u32, FilterError> {
        let number = self.peek().and_then(number).ok_or_else(|| self.error(format!("here {what} is expected")))?;
        self.at += 1;
        Ok(number)
    }
}

/// Which family of address a keyword before it allows.
fn fits(protocol: Protocol, addr: IpAddr) -> Result<(), &'static str> {
    match (protocol, addr) {
        (Protocol::Any, _) | (Protocol::Ip | Protocol::Arp | Protocol::Rarp, IpAddr::V4(_)) | (Protocol::Ip6, IpAddr::V6(_)) => Ok(()),
        (Protocol::Ip | Protocol::Arp | Protocol::Rarp, _) => Err("is not an IPv4 address"),
        (Protocol::Ip6, _) => Err("is not an IPv6 address"),
        _ => Err("is an address; before it ip, ip6, arp or nothing makes sense"),
    }
}

fn host(protocol: Protocol, dir: Dir, word: &str) -> Result<Primitive, &'static str> {
    let (addr, bits) = match word.parse::<IpAddr>() {
        Ok(addr) => (addr, if addr.is_ipv4() { 32 } else { 128 }),
        // libpcap takes the bare form of a network for a host, too.
        Err(_) => word.contains('/').then(|| net(word)).flatten().ok_or("is not a keyword or an address; names are not looked up")?,
    };
    fits(protocol, addr)?;
    Ok(Primitive::Net(protocol, dir, addr, bits))
}

fn net(word: &str) -> Option<(IpAddr, u8)> {
    let (addr, bits) = match word.split_once('/') {
        Some((addr, bits)) => (addr, Some(bits.parse::<u8>().ok()?)),
        None => (word, None),
    };
    if let Ok(IpAddr::V6(v6)) = addr.parse::<IpAddr>() {
        return Some((v6.into(), bits.unwrap_or(128))).filter(|(_, bits)| *bits <= 128);
    }
    let parts: Vec<u8> = addr.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    if parts.is_empty() || parts.len() > 4 {
        return None;
    }
    let mut octets = [0; 4];
    octets.iter_mut().zip(&parts).for_each(|(octet, part)| *octet = *part);
    Some((Ipv4Addr::from(octets).into(), bits.unwrap_or(8 * parts.len() as u8))).filter(|(_, bits)| *bits <= 32)
}

fn by_number(protocol: Protocol, word: &str) -> Result<Primitive, &'static str> {
    let word = word.trim_start_matches('\\');
    match protocol {
        Protocol::Ether => {
            let named = match word {
                "ip" => Some(0x0800),
                "arp" => Some(0x0806),
                "ip6" => Some(0x86dd),
                _ => number(word).and_then(|number| u16::try_from(number).ok()),
            };
            named.map(Primitive::EtherType).ok_or("is not an EtherType, such as 0x0800")
        }
        Protocol::Any | Protocol::Ip | Protocol::Ip6 => {
            let named = match word {
                "icmp" => Some(1),
                "tcp" => Some(6),
                "udp" => Some(17),
                "icmp6" => Some(58),
                "sctp" => Some(132),
                _ => number(word).and_then(|number| u8::try_from(number).ok()),
            };
            named.map(|number| Primitive::IpProto(protocol, number)).ok_or("is not a protocol: a number up to 255, tcp, udp or icmp")
        }
        _ => Err("stands after proto; before it ip, ip6 or ether makes sense"),
    }
}

fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

fn port(word: &str) -> Option<u16> {
    word.parse().ok().or_else(|| SERVICES.iter().find(|(name, _)| *name == word).map(|(_, port)| *port))
}

fn port_range(word: &str) -> Option<(u16, u16)> {
    let (low, high) = word.split_once('-').unwrap_or((word, word));
    let (low, high) = (port(low)?, port(high)?);
    Some((low.min(high), low.max(high)))
}

fn mac(word: &str) -> Option<Mac> {
    let bytes: Vec<u8> =
        word.split([':', '-']).map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() <= 2)).collect::<Option<_>>()?;
    <[u8; 6]>::try_from(bytes).ok().map(Mac)
}
