//! The kernel's filter before a witness's tap: packets of the asking check, SYNs to its target, ICMP. Everything else never reaches us.
//! Classic BPF (linux/filter.h), by hand; opens nothing.

use socket2::SockFilter;
use std::net::{IpAddr, SocketAddr};

/// Bytes of each packet that are copied: headers, and what an ICMP error quotes.
const SNAP: u32 = 192;
const PROTOCOL_TCP: u32 = 6;
const PROTOCOL_ICMP: u32 = 1;
const PROTOCOL_ICMPV6: u32 = 58;

// Opcodes (linux/bpf_common.h).
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_AFTER_HEADER: u16 = 0x48;
const LOAD_WORD: u16 = 0x20;
const HEADER_LENGTH: u16 = 0xb1;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// One test; all tests of a clause must hold.
enum Test {
    /// The version nibble.
    Version(u32),
    Byte {
        at: u32,
        is: u32,
    },
    Word {
        at: u32,
        is: u32,
    },
    /// The destination port, after an IPv4 header of any length.
    PortAfterV4(u16),
    Half {
        at: u32,
        is: u16,
    },
}

/// Lets pass: anything from or to one of `clients`, ICMP, and TCP to `target`.
pub(super) fn program(target: SocketAddr, clients: &[IpAddr]) -> Vec<SockFilter> {
    let mut clauses: Vec<Vec<Test>> = clients.iter().flat_map(|client| [address(*client, false), address(*client, true)]).collect();
    let mut to_target = address(target.ip(), true);
    if target.is_ipv4() {
        clauses.push(vec![Test::Version(0x40), Test::Byte { at: 9, is: PROTOCOL_ICMP }]);
        to_target.push(Test::Byte { at: 9, is: PROTOCOL_TCP });
        to_target.push(Test::PortAfterV4(target.port()));
    } else {
        clauses.push(vec![Test::Version(0x60), Test::Byte { at: 6, is: PROTOCOL_ICMPV6 }]);
        to_target.push(Test::Byte { at: 6, is: PROTOCOL_TCP });
        to_target.push(Test::Half { at: 42, is: target.port() });
    }
    clauses.push(to_target);
    let mut program: Vec<SockFilter> = clauses.iter().flat_map(|tests| assemble(tests)).collect();
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program
}

fn address(ip: IpAddr, destination: bool) -> Vec<Test> {
    match ip {
        IpAddr::V4(ip) => vec![Test::Version(0x40), Test::Word { at: if destination { 16 } else { 12 }, is: u32::from(ip) }],
        IpAddr::V6(ip) => {
            let start = if destination { 24 } else { 8 };
            let bits = u128::from(ip);
            let word = |place: u32| u32::try_from((bits >> (96 - 32 * place)) & 0xffff_ffff).unwrap_or(0);
            let words = (0..4).map(|place| Test::Word { at: start + 4 * place, is: word(place) });
            std::iter::once(Test::Version(0x60)).chain(words).collect()
        }
    }
}

/// A clause: every test jumps past its end when it fails; at the end the packet passes.
fn assemble(tests: &[Test]) -> Vec<SockFilter> {
    let total: usize = tests.iter().map(length).sum::<usize>() + 1;
    let mut out: Vec<SockFilter> = Vec::with_capacity(total);
    for test in tests {
        let wanted = match test {
            Test::Version(is) => {
                out.push(SockFilter::new(LOAD_BYTE, 0, 0, 0));
                out.push(SockFilter::new(AND, 0, 0, 0xf0));
                *is
            }
            Test::Byte { at, is } => {
                out.push(SockFilter::new(LOAD_BYTE, 0, 0, *at));
                *is
            }
            Test::Word { at, is } => {
                out.push(SockFilter::new(LOAD_WORD, 0, 0, *at));
                *is
            }
            Test::PortAfterV4(is) => {
                out.push(SockFilter::new(HEADER_LENGTH, 0, 0, 0));
                out.push(SockFilter::new(LOAD_HALF_AFTER_HEADER, 0, 0, 2));
                u32::from(*is)
            }
            Test::Half { at, is } => {
                out.push(SockFilter::new(0x28, 0, 0, *at));
                u32::from(*is)
            }
        };
        // From the instruction after the jump to the one after the clause.
        let past_end = u8::try_from(total - out.len() - 1).unwrap_or(u8::MAX);
        out.push(SockFilter::new(JUMP_IF_EQUAL, 0, past_end, wanted));
    }
    out.push(SockFilter::new(RETURN, 0, 0, SNAP));
    out
}

const fn length(test: &Test) -> usize {
    match test {
        Test::Version(_) | Test::PortAfterV4(_) => 3,
        Test::Byte { .. } | Test::Word { .. } | Test::Half { .. } => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sock::link_layer;

    #[test]
    fn the_kernel_takes_the_program_of_the_most_addresses() {
        let v6: Vec<IpAddr> = (1..=9_u16).map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n])).collect();
        for (target, clients) in [("[fd00::9]:443", v6), ("10.0.0.1:80", vec!["10.0.0.2".parse().expect("ip")])] {
            let program = program(target.parse().expect("addr"), &clients);
            assert!(program.len() < 512);
            // Without CAP_NET_RAW there is no packet socket to attach it to.
            if let Ok(socket) = link_layer::open() {
                socket.attach_filter(&program).expect("a valid program");
            }
        }
    }
}
