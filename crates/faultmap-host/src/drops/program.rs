//! The program that the kernel runs for each dropped packet: it counts by reason, namespace and place in the kernel, and by flow.
//! Here its instructions are written; nothing is loaded. It reads the packet's headers and never its content, and changes nothing.

use super::assembler::{Assembler, AssemblerError, Helper, Label, Reg, When, Width};
use super::layout::{HeaderPath, Layout, SocketPath};
use Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use Width::{Byte, Double, Half, Word};

/// The maps that the program writes, by their descriptors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maps {
    /// Hash: reason, namespace, location → count, symbol.
    pub(super) counts: i32,
    /// LRU hash: reason, namespace, addresses, ports, protocol → count, inode.
    pub(super) flows: i32,
    /// Array of one value: [`ELSEWHERE`], [`LOST`].
    pub(super) totals: i32,
    /// Array of one read-only value: [`SYMBOL_FORMAT`].
    pub(super) format: i32,
}

/// Key of `counts`: reason (u32), namespace (u32), location (u64).
pub(super) const COUNT_KEY_LEN: usize = 16;
/// Value of `counts`: count (u64), symbol (text).
pub(super) const COUNT_VALUE_LEN: usize = 64;
/// Key of `flows`: reason (u32), namespace (u32), source and destination (16 bytes each), the first four bytes of the transport header,
/// protocol (u8), IP version (u8), two bytes of nothing.
pub(super) const FLOW_KEY_LEN: usize = 48;
/// Value of `flows`: count (u64), inode of the socket or 0 (u64).
pub(super) const FLOW_VALUE_LEN: usize = 16;
/// Value of `totals`: two counts (u64).
pub(super) const TOTALS_LEN: usize = 16;
/// Drops in other namespaces than the one that is watched.
pub(super) const ELSEWHERE: i32 = 0;
/// Drops that found no room in `counts`.
pub(super) const LOST: i32 = 8;
/// The kernel's printf puts the name of the function that holds an address; no privilege over kernel addresses is needed for it.
pub(super) const SYMBOL_FORMAT: &[u8; 8] = b"%ps\0\0\0\0\0";

// The frame, downward from R10.
const KEY: i16 = -16;
const KEY_NAMESPACE: i16 = KEY + 4;
const KEY_LOCATION: i16 = KEY + 8;
const TMP: i16 = -24;
/// Bytes of the packet from its network header to the end of its first part.
const ROOM: i16 = -32;
const VALUE: i16 = -96;
const FLOW_KEY: i16 = -144;
const FLOW_SOURCE: i16 = FLOW_KEY + 8;
const FLOW_DESTINATION: i16 = FLOW_KEY + 24;
const FLOW_PORTS: i16 = FLOW_KEY + 40;
const FLOW_PROTOCOL: i16 = FLOW_KEY + 44;
const FLOW_VERSION: i16 = FLOW_KEY + 45;
const FLOW_VALUE: i16 = -160;
const HEADER: i16 = -208;
/// The namespace that was found, as the kernel's pointer.
const NET: i16 = -216;

const SYMBOL_LEN: i32 = COUNT_VALUE_LEN as i32 - 8;
/// `BPF_NOEXIST`: only if there is no such key yet.
const NO_EXIST: i32 = 1;
/// States of sockets that are no full `struct sock` (net/tcp_states.h: TCP_TIME_WAIT, TCP_NEW_SYN_RECV).
const NOT_FULL_SOCKETS: [i32; 2] = [6, 12];
const ETH_P_IP: [u8; 2] = [0x08, 0x00];
const ETH_P_IPV6: [u8; 2] = [0x86, 0xdd];
/// The bits of an IPv4 header's seventh and eighth byte that hold the place of a fragment.
const FRAGMENT_PLACE: [u8; 2] = [0x1f, 0xff];

/// The instructions. `only`: count packets of this namespace (and of none that can be told), others only in sum.
pub(super) fn program(layout: &Layout, maps: Maps, only: Option<u32>) -> Result<Vec<[u8; 8]>, AssemblerError> {
    let mut code = Assembler::default();
    let done = code.label();
    code.copy(R6, R1);
    load_key(&mut code, layout);
    find_namespace(&mut code, layout);
    if let Some(only) = only {
        leave_if_elsewhere(&mut code, maps, only, done);
    }
    count(&mut code, maps);
    if let Some(headers) = &layout.headers {
        read_flow(&mut code, headers, done);
        if let Some(socket) = &layout.socket {
            read_inode(&mut code, layout, socket);
        }
        count_flow(&mut code, maps, done);
    }
    code.place(done);
    code.set(R0, 0);
    code.exit();
    code.finish()
}

/// A raw tracepoint's arguments are an array of eight bytes each.
fn load_argument(code: &mut Assembler, dst: Reg, place: u8) {
    code.load(Double, dst, R6, i16::from(place) * 8);
}

/// R7 is the packet from here on.
fn load_key(code: &mut Assembler, layout: &Layout) {
    load_argument(code, R7, layout.arguments.skb);
    load_argument(code, R1, layout.arguments.reason);
    code.store(Word, R10, KEY, R1);
    code.store_value(Word, R10, KEY_NAMESPACE, 0);
    load_argument(code, R1, layout.arguments.location);
    code.store(Double, R10, KEY_LOCATION, R1);
}

/// Reads `size` bytes at `base + offset` of kernel memory into the frame; R0 is 0 if they could be read. Never faults.
fn read(code: &mut Assembler, to: i16, size: i32, base: Reg, offset: u32) {
    code.copy(R1, R10);
    code.add(R1, i32::from(to));
    code.set(R2, size);
    code.copy(R3, base);
    if offset != 0 {
        code.add(R3, offset.cast_signed());
    }
    code.call(Helper::ProbeReadKernel);
}

/// Reads a pointer into `dst`; goes on at `otherwise` if it cannot be read or is null.
fn read_pointer(code: &mut Assembler, dst: Reg, base: Reg, offset: u32, otherwise: Label) {
    read(code, TMP, 8, base, offset);
    code.jump_if(When::Differs, R0, 0, otherwise);
    code.load(Double, dst, R10, TMP);
    code.jump_if(When::Equal, dst, 0, otherwise);
}

/// The namespace of the socket that the packet reached, else of its device, else of the socket that it came from.
///
/// The device stands in a union: packets in socket queues keep tree links and sizes in its place. So a namespace is believed
/// only if its loopback device says that it belongs there.
fn find_namespace(code: &mut Assembler, layout: &Layout) {
    let path = layout.namespace;
    let found = code.label();
    if let Some(socket) = layout.arguments.socket {
        let next = code.label();
        load_argument(code, R9, socket);
        code.jump_if(When::Equal, R9, 0, next);
        read_namespace(code, layout, path.sock_net, next);
        code.jump(found);
        code.place(next);
    }
    for (member, net) in [(path.skb_dev, path.dev_net), (path.skb_sk, path.sock_net)] {
        let next = code.label();
        read_pointer(code, R9, R7, member, next);
        read_namespace(code, layout, net, next);
        code.jump(found);
        code.place(next);
    }
    // A read that failed has left zeroes; a wrong turn may not.
    code.store_value(Word, R10, KEY_NAMESPACE, 0);
    code.set(R8, 0);
    code.place(found);
    code.store(Double, R10, NET, R8);
}

/// R9 is a device or a socket; `net` is where it says to which namespace it belongs.
fn read_namespace(code: &mut Assembler, layout: &Layout, net: u32, otherwise: Label) {
    let path = layout.namespace;
    read_pointer(code, R8, R9, net, otherwise);
    read_pointer(code, R9, R8, path.net_loopback, otherwise);
    read_pointer(code, R9, R9, path.dev_net, otherwise);
    code.jump_if_reg(When::Differs, R9, R8, otherwise);
    read(code, KEY_NAMESPACE, 4, R8, path.net_inum);
    code.jump_if(When::Differs, R0, 0, otherwise);
}

fn leave_if_elsewhere(code: &mut Assembler, maps: Maps, only: u32, done: Label) {
    let here = code.label();
    code.load(Word, R1, R10, KEY_NAMESPACE);
    code.jump_if_word(When::Equal, R1, only, here);
    code.jump_if_word(When::Equal, R1, 0, here);
    add_to_total(code, maps, ELSEWHERE);
    code.jump(done);
    code.place(here);
}

fn add_to_total(code: &mut Assembler, maps: Maps, total: i32) {
    code.map_value(R2, maps.totals, total);
    code.set(R1, 1);
    code.atomic_add(R2, 0, R1);
}

/// The first packet of a place in the kernel pays for the place's name.
fn count(code: &mut Assembler, maps: Maps) {
    let (new, add, counted) = (code.label(), code.label(), code.label());
    lookup(code, maps.counts, KEY);
    code.jump_if(When::Equal, R0, 0, new);
    code.place(add);
    code.set(R1, 1);
    code.atomic_add(R0, 0, R1);
    code.jump(counted);
    code.place(new);
    zero(code, VALUE, COUNT_VALUE_LEN);
    code.store_value(Double, R10, VALUE, 1);
    code.copy(R1, R10);
    code.add(R1, i32::from(VALUE) + 8);
    code.set(R2, SYMBOL_LEN);
    code.map_value(R3, maps.format, 0);
    code.copy(R4, R10);
    code.add(R4, i32::from(KEY_LOCATION));
    code.set(R5, 8);
    code.call(Helper::Snprintf);
    update(code, maps.counts, KEY, VALUE, NO_EXIST);
    code.jump_if(When::Equal, R0, 0, counted);
    // Another CPU was quicker, or there is no room.
    lookup(code, maps.counts, KEY);
    code.jump_if(When::Differs, R0, 0, add);
    add_to_total(code, maps, LOST);
    code.place(counted);
}

fn lookup(code: &mut Assembler, map: i32, key: i16) {
    code.map(R1, map);
    code.copy(R2, R10);
    code.add(R2, i32::from(key));
    code.call(Helper::MapLookup);
}

fn update(code: &mut Assembler, map: i32, key: i16, value: i16, flags: i32) {
    code.map(R1, map);
    code.copy(R2, R10);
    code.add(R2, i32::from(key));
    code.copy(R3, R10);
    code.add(R3, i32::from(value));
    code.set(R4, flags);
    code.call(Helper::MapUpdate);
}

fn zero(code: &mut Assembler, from: i16, len: usize) {
    (from..).step_by(8).take(len / 8).for_each(|at| code.store_value(Double, R10, at, 0));
}

/// Fills the flow's key from the packet's network header and the first four bytes behind it. A packet of no known namespace, of
/// another protocol than IP, or whose header is not in its first part has no flow.
fn read_flow(code: &mut Assembler, path: &HeaderPath, done: Label) {
    let (v4, v6, complete) = (code.label(), code.label(), code.label());
    zero(code, FLOW_VALUE, FLOW_VALUE_LEN + FLOW_KEY_LEN);
    code.load(Double, R1, R10, KEY);
    code.store(Double, R10, FLOW_KEY, R1);
    code.load(Word, R1, R10, KEY_NAMESPACE);
    code.jump_if_word(When::Equal, R1, 0, done);
    load_network_header(code, path, done);
    read(code, TMP, 2, R7, path.skb_protocol);
    code.load(Half, R1, R10, TMP);
    code.jump_if(When::Equal, R1, i32::from(u16::from_ne_bytes(ETH_P_IP)), v4);
    code.jump_if(When::Equal, R1, i32::from(u16::from_ne_bytes(ETH_P_IPV6)), v6);
    code.jump(done);
    code.place(v4);
    read_v4(code, complete, done);
    code.place(v6);
    read_v6(code, complete, done);
    code.place(complete);
}

/// R8 becomes the address of the network header; the bytes from there on are in `ROOM`.
fn load_network_header(code: &mut Assembler, path: &HeaderPath, done: Label) {
    read_pointer(code, R8, R7, path.skb_head, done);
    read(code, TMP, 2, R7, path.skb_network_header);
    code.jump_if(When::Differs, R0, 0, done);
    code.load(Half, R9, R10, TMP);
    // Not set: all ones.
    code.jump_if(When::Equal, R9, 0xffff, done);
    read(code, TMP, 4, R7, path.skb_tail);
    code.jump_if(When::Differs, R0, 0, done);
    code.load(Word, R1, R10, TMP);
    code.jump_if_reg(When::Below, R1, R9, done);
    code.subtract_reg(R1, R9);
    code.store(Double, R10, ROOM, R1);
    code.add_reg(R8, R9);
}

/// RFC 791, 3.1. R9 becomes the length of the header.
fn read_v4(code: &mut Assembler, complete: Label, done: Label) {
    read_header(code, 20, 4, done);
    code.load(Byte, R9, R10, HEADER);
    code.and(R9, 0x0f);
    code.shift_left(R9, 2);
    code.jump_if(When::Below, R9, 20, done);
    for (to, from) in [(FLOW_SOURCE, HEADER + 12), (FLOW_DESTINATION, HEADER + 16)] {
        code.load(Word, R1, R10, from);
        code.store(Word, R10, to, R1);
    }
    code.load(Byte, R1, R10, HEADER + 9);
    code.store(Byte, R10, FLOW_PROTOCOL, R1);
    code.store_value(Byte, R10, FLOW_VERSION, 4);
    // Only the first fragment has ports.
    code.load(Half, R1, R10, HEADER + 6);
    code.jump_if(When::AnyBitOf, R1, i32::from(u16::from_ne_bytes(FRAGMENT_PLACE)), complete);
    read_ports(code, complete);
    code.jump(complete);
}

/// RFC 8200, 3. Behind an extension header there are ports, but not in its first four bytes: who reads the key knows.
fn read_v6(code: &mut Assembler, complete: Label, done: Label) {
    read_header(code, 40, 6, done);
    code.set(R9, 40);
    for word in 0..4 {
        code.load(Double, R1, R10, HEADER + 8 + word * 8);
        code.store(Double, R10, FLOW_SOURCE + word * 8, R1);
    }
    code.load(Byte, R1, R10, HEADER + 6);
    code.store(Byte, R10, FLOW_PROTOCOL, R1);
    code.store_value(Byte, R10, FLOW_VERSION, 6);
    read_ports(code, complete);
}

/// The fixed part of a network header, if it is there and of this version.
fn read_header(code: &mut Assembler, len: i32, version: i32, done: Label) {
    code.load(Double, R1, R10, ROOM);
    code.jump_if(When::Below, R1, len, done);
    read(code, HEADER, len, R8, 0);
    code.jump_if(When::Differs, R0, 0, done);
    code.load(Byte, R1, R10, HEADER);
    code.shift_right(R1, 4);
    code.jump_if(When::Differs, R1, version, done);
}

/// R8 is the network header, R9 its length.
fn read_ports(code: &mut Assembler, complete: Label) {
    code.load(Double, R1, R10, ROOM);
    code.copy(R2, R9);
    code.add(R2, 4);
    code.jump_if_reg(When::Above, R2, R1, complete);
    code.add_reg(R8, R9);
    read(code, FLOW_PORTS, 4, R8, 0);
}

/// The inode of the socket that the packet reached, else of the one that it came from: who holds it, `/proc` tells. The kernel's own
/// sockets, which answer with resets and ICMP errors, have no file and are nobody's. What happens to run on the CPU while a packet
/// is dropped is not asked: in a soft interrupt that is anybody. Before the receiving side lets go of it, a packet between namespaces
/// may still have its sender's socket: only one of this namespace counts.
fn read_inode(code: &mut Assembler, layout: &Layout, path: &SocketPath) {
    let (have, unknown) = (code.label(), code.label());
    if let Some(socket) = layout.arguments.socket {
        load_argument(code, R9, socket);
        code.jump_if(When::Differs, R9, 0, have);
    }
    read_pointer(code, R9, R7, layout.namespace.skb_sk, unknown);
    code.place(have);
    read(code, TMP, 1, R9, path.sock_state);
    code.jump_if(When::Differs, R0, 0, unknown);
    code.load(Byte, R1, R10, TMP);
    for state in NOT_FULL_SOCKETS {
        code.jump_if(When::Equal, R1, state, unknown);
    }
    read_pointer(code, R8, R9, layout.namespace.sock_net, unknown);
    code.load(Double, R1, R10, NET);
    code.jump_if_reg(When::Differs, R8, R1, unknown);
    read_pointer(code, R9, R9, path.sock_socket, unknown);
    read_pointer(code, R8, R9, path.socket_file, unknown);
    read(code, FLOW_VALUE + 8, 8, R9, path.socket_inode);
    code.place(unknown);
}

fn count_flow(code: &mut Assembler, maps: Maps, done: Label) {
    let new = code.label();
    lookup(code, maps.flows, FLOW_KEY);
    code.jump_if(When::Equal, R0, 0, new);
    code.set(R1, 1);
    code.atomic_add(R0, 0, R1);
    code.load(Double, R1, R10, FLOW_VALUE + 8);
    code.jump_if(When::Equal, R1, 0, done);
    code.store(Double, R0, 8, R1);
    code.jump(done);
    code.place(new);
    code.store_value(Double, R10, FLOW_VALUE, 1);
    update(code, maps.flows, FLOW_KEY, FLOW_VALUE, 0);
}

#[cfg(test)]
mod tests {
    use super::super::btf_writer::{kernel, kernel_without};
    use super::*;

    const MAPS: Maps = Maps { counts: 3, flows: 4, totals: 5, format: 6 };

    fn length(left_out: &[&str], only: Option<u32>) -> usize {
        let bytes = if left_out.is_empty() { kernel() } else { kernel_without(left_out) }.bytes();
        program(&Layout::read(&bytes).expect("a layout"), MAPS, only).expect("a program").len()
    }

    #[test]
    fn what_the_kernel_does_not_describe_is_not_read() {
        let whole = length(&[], Some(7));
        assert!(whole < 512, "{whole} instructions");
        assert!(length(&[], None) < whole);
        assert!(length(&["rx_sk"], Some(7)) < whole);
        assert!(length(&["head"], Some(7)) < length(&["rx_sk"], Some(7)));
    }

    #[test]
    fn the_frame_holds_its_parts_without_overlap() {
        let parts = [
            (KEY, COUNT_KEY_LEN),
            (TMP, 8),
            (ROOM, 8),
            (VALUE, COUNT_VALUE_LEN),
            (FLOW_KEY, FLOW_KEY_LEN),
            (FLOW_VALUE, FLOW_VALUE_LEN),
            (HEADER, 48),
            (NET, 8),
        ];
        let ends = parts.iter().map(|(at, len)| i64::from(*at) + i64::try_from(*len).expect("small"));
        let starts = std::iter::once(0).chain(parts.iter().map(|(at, _)| i64::from(*at)));
        assert!(starts.zip(ends).all(|(above, end)| end == above), "each part ends where the one above begins");
    }
}
