//! A TCP segment as the rules read it: what of header and options matters, and where it came from.

use crate::flow::Side;
use crate::packet::{PacketNo, Stamp};
use faultmap_wire::dissect::Packet;
use faultmap_wire::{Tcp, TcpFlags, TcpOption};

/// SACK blocks that fit beside each other in a header.
const MOST_SACKS: usize = 4;

/// The options of a segment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    /// The sender's clock and the echo of the peer's.
    pub(crate) times: Option<(u32, u32)>,
    sacks: [(u32, u32); MOST_SACKS],
    sack_count: u8,
}

impl Options {
    fn read(tcp: &Tcp<'_>) -> Self {
        let mut options = Self::default();
        // What nearly every segment bears: the clocks, and two bytes of padding before them or behind.
        if let [1, 1, 8, 10, a, b, c, d, e, f, g, h] | [8, 10, a, b, c, d, e, f, g, h, 0 | 1, 0 | 1] = *tcp.options {
            options.times = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
        } else {
            options.read_all(tcp);
        }
        options
    }

    fn read_all(&mut self, tcp: &Tcp<'_>) {
        for option in tcp.options() {
            match option {
                TcpOption::Mss(mss) => self.mss = Some(mss),
                // RFC 7323 §2.3: a larger shift is taken as 14.
                TcpOption::WindowScale(shift) => self.window_scale = Some(shift.min(14)),
                TcpOption::SackPermitted => self.sack_permitted = true,
                TcpOption::Timestamps { value, echo } => self.times = Some((value, echo)),
                TcpOption::Sack(blocks) => self.read_sacks(blocks),
                TcpOption::Other { .. } => {}
            }
        }
    }

    fn read_sacks(&mut self, blocks: &[u8]) {
        for (block, slot) in blocks.as_chunks::<8>().0.iter().zip(&mut self.sacks) {
            let [a, b, c, d, e, f, g, h] = *block;
            *slot = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
            self.sack_count += 1;
        }
    }

    /// The blocks: left and right edge.
    pub(crate) fn sacks(&self) -> &[(u32, u32)] {
        self.sacks.get(..usize::from(self.sack_count)).unwrap_or_default()
    }
}

/// One segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) no: PacketNo,
    pub(crate) at: Stamp,
    pub(crate) from: Side,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: TcpFlags,
    pub(crate) window: u16,
    /// Payload bytes on the wire.
    pub(crate) len: u32,
    /// Payload bytes captured.
    pub(crate) payload: &'a [u8],
    pub(crate) options: Options,
    pub(crate) ttl: u8,
    /// IPv4's identification; 0 where it says nothing.
    pub(crate) ip_id: u16,
    pub(crate) dont_fragment: bool,
    /// Its bytes are those of a packet at most 10 ms before, but nothing in it is unique to one sending.
    pub(crate) like_a_copy: bool,
}

impl<'a> Segment<'a> {
    pub(crate) fn new(no: PacketNo, at: Stamp, from: Side, packet: &Packet<'a>, tcp: &Tcp<'a>, payload: &'a [u8]) -> Self {
        Self {
            no,
            at,
            from,
            seq: tcp.seq,
            ack: tcp.ack,
            flags: tcp.flags,
            window: tcp.window,
            len: packet.payload_len,
            payload,
            options: Options::read(tcp),
            ttl: packet.ip.hop_limit,
            ip_id: packet.id.unwrap_or(0),
            dont_fragment: packet.ip.dont_fragment,
            like_a_copy: false,
        }
    }

    pub(crate) fn is(&self, flag: TcpFlags) -> bool {
        self.flags.has(flag)
    }

    /// No SYN, FIN or RST.
    pub(crate) fn is_plain(&self) -> bool {
        self.flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0) == 0
    }
}

/// Whether the clock value `a` is before `b`; they wrap (RFC 7323 §5.2).
pub(crate) const fn before(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) > 0
}
