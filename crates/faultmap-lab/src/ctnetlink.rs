//! Puts made-up connections into the kernel's connection table, and counts what is there. It never removes any:
//! they die with the namespace.
//!
//! The count belongs to a network namespace, the maximum (net.netfilter.nf_conntrack_max) to the whole machine; a
//! namespace fills up at its own count, so filling one leaves the others alone but costs about 250 bytes of kernel
//! memory an entry. Layouts: linux/netfilter/nfnetlink_conntrack.h.

use std::io;
use std::net::Ipv4Addr;

use crate::nfnl::{Buffer, NLM_F_CREATE, NLM_F_EXCL, SUBSYS_CTNETLINK, Socket};

const MSG_CT_NEW: u16 = 0;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const TCP_ESTABLISHED: u8 = 3;
const PROTO_TCP: u8 = 6;
/// SEEN_REPLY, ASSURED and CONFIRMED: the kernel never evicts such an entry early. (It confirms the entry itself before
/// it looks at the status asked for, and calls a status that lacks the bit busy.)
const STATUS_ASSURED: u32 = 1 << 1 | 1 << 2 | 1 << 3;
const AF_INET: u8 = 2;
/// Messages in one send; about 25 kB.
const BATCH: u32 = 200;
/// Source ports used per made-up address, 1024 upwards.
const PORTS_PER_ADDRESS: u32 = 60_000;
const COUNT_PATH: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const MAX_PATH: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// Fill level of a connection table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Entries of the namespace asked from.
    pub count: u64,
    /// Entries allowed per namespace.
    pub max: u64,
}

/// The connection table of the calling thread's namespace.
pub fn fill() -> io::Result<Fill> {
    Ok(Fill { count: read_number(COUNT_PATH)?, max: read_number(MAX_PATH)? })
}

/// Adds `wanted` established TCP connections between addresses of 198.18.0.0/15 (RFC 2544: never routed) that live
/// for an hour. Entries are numbered, and those below `first` are taken to be there. Returns how many the table took.
pub fn insert_assured(first: u32, wanted: u32) -> io::Result<u64> {
    let socket = Socket::open()?;
    let before = fill()?.count;
    let mut refused = None;
    for start in (0..wanted).step_by(BATCH as usize) {
        let mut buffer = Buffer::new();
        for number in start..wanted.min(start.saturating_add(BATCH)) {
            entry(&mut buffer, first.saturating_add(number));
        }
        socket.send(&buffer)?;
        refused = refused.or_else(|| socket.waiting_refusal());
    }
    let added = fill()?.count.saturating_sub(before);
    match refused {
        Some(error) if added == 0 && wanted > 0 => Err(error),
        _ => Ok(added),
    }
}

fn entry(buffer: &mut Buffer, number: u32) {
    let [client, server] = [Ipv4Addr::from_bits(0xC612_0001 + number / PORTS_PER_ADDRESS), Ipv4Addr::new(198, 19, 0, 1)];
    let port = u16::try_from(1024 + number % PORTS_PER_ADDRESS).unwrap_or(u16::MAX);
    buffer.message(SUBSYS_CTNETLINK, MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL, AF_INET, |b| {
        tuple(b, CTA_TUPLE_ORIG, (client, port), (server, 443));
        tuple(b, CTA_TUPLE_REPLY, (server, 443), (client, port));
        b.attr_u32(CTA_STATUS, STATUS_ASSURED);
        b.nest(CTA_PROTOINFO, |b| b.nest(CTA_PROTOINFO_TCP, |b| b.attr(CTA_PROTOINFO_TCP_STATE, &[TCP_ESTABLISHED])));
        b.attr_u32(CTA_TIMEOUT, 3600);
    });
}

fn tuple(b: &mut Buffer, kind: u16, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) {
    b.nest(kind, |b| {
        b.nest(CTA_TUPLE_IP, |b| {
            b.attr(CTA_IP_V4_SRC, &from.0.octets());
            b.attr(CTA_IP_V4_DST, &to.0.octets());
        });
        b.nest(CTA_TUPLE_PROTO, |b| {
            b.attr(CTA_PROTO_NUM, &[PROTO_TCP]);
            b.attr(CTA_PROTO_SRC_PORT, &from.1.to_be_bytes());
            b.attr(CTA_PROTO_DST_PORT, &to.1.to_be_bytes());
        });
    });
}

fn read_number(path: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(path)?;
    text.trim().parse().map_err(|_| io::Error::other(format!("{path} holds {:?}, not a number", text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nfnl::attribute;

    #[test]
    fn made_up_connections_differ_and_stay_within_the_benchmark_network() {
        let bytes = |number| {
            let mut b = Buffer::new();
            entry(&mut b, number);
            b.bytes()[20..].to_vec()
        };
        let source = |number| {
            let bytes = bytes(number);
            let tuple = attribute(&bytes, CTA_TUPLE_ORIG).unwrap().to_vec();
            let ip = attribute(&tuple, CTA_TUPLE_IP).unwrap().to_vec();
            attribute(&ip, CTA_IP_V4_SRC).unwrap().to_vec()
        };
        assert_ne!(bytes(0), bytes(1));
        assert_eq!(source(0), [198, 18, 0, 1]);
        assert_eq!(source(60_000), [198, 18, 0, 2]);
        assert_eq!(source(1_000_000), [198, 18, 0, 17]);
    }
}
