//! One DHCP message, of IPv4 (RFC 2131) or IPv6 (RFC 8415), in the words that both share: who asks for what, who offers, gives or refuses what.

use crate::app::dhcp::Dhcp;
use crate::app::dhcp6::{Dhcp6, status_name};
use crate::app::text;
use std::net::{IpAddr, Ipv4Addr};

/// Longest reason that is shown.
const LONGEST_REASON: usize = 80;

/// What a message is for. IPv6 names in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Who serves here? (SOLICIT)
    Discover,
    /// An address is offered. (ADVERTISE)
    Offer,
    /// An address is wanted.
    Request(Stage),
    /// It is given. (REPLY)
    Ack,
    /// It is refused, or there is none. (a status)
    Nak,
    /// Somebody else has it.
    Decline,
    /// Only options are wanted. (INFORMATION-REQUEST)
    Inform,
}

/// Where in its life the lease is that a request is about (RFC 2131 §4.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The offer of one server is taken. (REQUEST)
    Select,
    /// The address of the last time, is it still right here? (CONFIRM)
    Reboot,
    /// Half of the time is over: its server is asked for more. (RENEW)
    Renew,
    /// Most of the time is over: any server is asked. (REBIND)
    Rebind,
}

impl Stage {
    pub(super) const fn name(self, six: bool) -> &'static str {
        match (self, six) {
            (Self::Select, _) => "REQUEST",
            (Self::Reboot, true) => "CONFIRM",
            (Self::Reboot, false) => "REQUEST of the former address",
            (Self::Renew, true) => "RENEW",
            (Self::Renew, false) => "renewing REQUEST",
            (Self::Rebind, true) => "REBIND",
            (Self::Rebind, false) => "broadcast renewing REQUEST",
        }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) six: bool,
    pub(super) kind: Kind,
    /// The client: its MAC address, or its link-local address.
    pub(super) client: String,
    pub(super) transaction: u32,
    /// Offered, wanted or given.
    pub(super) address: Option<IpAddr>,
    /// The server that speaks, or that is spoken to.
    pub(super) server: Option<IpAddr>,
    /// The relay that the message went through.
    pub(super) relay: Option<IpAddr>,
    /// The way out and the mask that the server names.
    pub(super) network: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Why it refuses, printable.
    pub(super) why: String,
}

/// Reads a datagram between these addresses; `None` if it is no message of DHCP that has to do with leases.
pub(super) fn read(src: IpAddr, dst: IpAddr, payload: &[u8]) -> Option<Said> {
    if src.is_ipv4() { four(src, dst, payload) } else { six(src, dst, payload) }
}

fn real(ip: Ipv4Addr) -> Option<IpAddr> {
    (!ip.is_unspecified()).then_some(IpAddr::V4(ip))
}

fn four(src: IpAddr, dst: IpAddr, payload: &[u8]) -> Option<Said> {
    let message = Dhcp::parse(payload)?;
    let option = |number: u8| message.options().find_map(|(kind, _, data)| (kind == number).then_some(data));
    let address = |number: u8| option(number)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets));
    let named = address(54).and_then(real);
    let group = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.is_broadcast() || ip.octets()[3] == 255);
    let held = real(message.client);
    let kind = match (message.op, message.kind()?) {
        (1, 1) => Kind::Discover,
        (2, 2) => Kind::Offer,
        (1, 3) if named.is_some() => Kind::Request(Stage::Select),
        (1, 3) if held.is_none() => Kind::Request(Stage::Reboot),
        (1, 3) if group(dst) || real(message.relay).is_some() => Kind::Request(Stage::Rebind),
        (1, 3) => Kind::Request(Stage::Renew),
        (1, 4) => Kind::Decline,
        (2, 5) => Kind::Ack,
        (2, 6) => Kind::Nak,
        (1, 8) => Kind::Inform,
        _ => return None,
    };
    let asks = message.op == 1;
    let wanted = address(50).and_then(real).or(held);
    let spoken_to = named.or((!group(dst)).then_some(dst));
    Some(Said {
        six: false,
        kind,
        client: message.mac.to_string(),
        transaction: message.transaction,
        address: if asks { wanted } else { real(message.yours) },
        server: if asks { spoken_to } else { named.or(Some(src)) },
        relay: real(message.relay),
        network: (!asks).then(|| address(3).zip(address(1))).flatten(),
        why: option(56).map(|words| text::printable(words, LONGEST_REASON)).unwrap_or_default(),
    })
}

fn six(src: IpAddr, dst: IpAddr, payload: &[u8]) -> Option<Said> {
    let message = Dhcp6::parse(payload)?;
    let asks = !matches!(message.kind, 2 | 7 | 10);
    let refused = if asks { None } else { message.refusal() };
    let kind = match message.kind {
        1 => Kind::Discover,
        2 | 7 if refused.is_some_and(|(code, _)| code != 5) => Kind::Nak,
        2 => Kind::Offer,
        3 => Kind::Request(Stage::Select),
        4 => Kind::Request(Stage::Reboot),
        5 => Kind::Request(Stage::Renew),
        6 => Kind::Request(Stage::Rebind),
        7 => Kind::Ack,
        9 => Kind::Decline,
        11 => Kind::Inform,
        _ => return None,
    };
    let why = refused.map_or_else(String::new, |(code, words)| {
        let words = text::printable(words, LONGEST_REASON);
        if words.is_empty() { status_name(code).to_owned() } else { format!("{}, \"{words}\"", status_name(code)) }
    });
    let client = message.peer.map_or(if asks { src } else { dst }, IpAddr::V6);
    Some(Said {
        six: true,
        kind,
        client: client.to_string(),
        transaction: message.transaction,
        address: None,
        server: if asks { Some(dst).filter(|ip| !ip.is_multicast()) } else { Some(src) },
        relay: message.peer.map(|_| if asks { src } else { dst }),
        network: None,
        why,
    })
}
