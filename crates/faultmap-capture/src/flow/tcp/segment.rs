//! A TCP segment as the rules read it: what of header and options matters, and where it came from.

use crate::flow::Side;
use crate::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::Packet;
use faultmap_wire::{Tcp, TcpFlags, TcpOption};

/// SACK blocks that fit beside each other in a header.
const MOST_SACKS: usize = 4;

/// The options of a segment, but for the blocks of SACK.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    /// The sender's clock and the echo of the peer's.
    pub(crate) times: Option<(u32, u32)>,
}

impl Options {
    /// The options, and the bytes of the SACK blocks among them.
    fn read<'a>(tcp: &Tcp<'a>) -> (Self, &'a [u8]) {
        let (mut options, mut sacks) = (Self::default(), &[][..]);
        // What nearly every segment bears: the clocks, and two bytes of padding before them or behind.
        if let [1, 1, 8, 10, a, b, c, d, e, f, g, h] | [8, 10, a, b, c, d, e, f, g, h, 0 | 1, 0 | 1] = *tcp.options {
            options.times = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
            return (options, sacks);
        }
        for option in tcp.options() {
            match option {
                TcpOption::Mss(mss) => options.mss = Some(mss),
                // RFC 7323 §2.3: a larger shift is taken as 14.
                TcpOption::WindowScale(shift) => options.window_scale = Some(shift.min(14)),
                TcpOption::SackPermitted => options.sack_permitted = true,
                TcpOption::Timestamps { value, echo } => options.times = Some((value, echo)),
                // Nobody sends two; of two, the last counts for Linux (`tcp_parse_options`).
                TcpOption::Sack(blocks) => sacks = blocks,
                TcpOption::Other { .. } => {}
            }
        }
        (options, sacks)
    }
}

/// A range of the bytes of a frame.
type Place = (u32, u32);

fn at(bytes: &[u8], (start, len): Place) -> &[u8] {
    bytes.get(start as usize..start as usize + len as usize).unwrap_or_default()
}

/// What the headers of a segment say, without its bytes: who takes a frame apart may hand this to another core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: TcpFlags,
    window: u16,
    options: Options,
    sacks: Place,
    payload: Place,
    /// Payload bytes on the wire.
    pub(crate) len: u32,
    pub(crate) ttl: u8,
    ip_id: u16,
    dont_fragment: bool,
}

impl Header {
    /// Of a segment in the bytes of a frame.
    pub(crate) fn of(frame: &[u8], packet: &Packet<'_>, tcp: &Tcp<'_>, payload: &[u8]) -> Self {
        // Everything that was taken apart lies in the frame.
        let place = |part: &[u8]| ((part.as_ptr() as usize).saturating_sub(frame.as_ptr() as usize) as u32, part.len() as u32);
        let (options, sacks) = Options::read(tcp);
        Self {
            seq: tcp.seq,
            ack: tcp.ack,
            flags: tcp.flags,
            window: tcp.window,
            options,
            sacks: if sacks.is_empty() { (0, 0) } else { place(sacks) },
            payload: place(payload),
            len: packet.payload_len,
            ttl: packet.ip.hop_limit,
            ip_id: packet.id.unwrap_or(0),
            dont_fragment: packet.ip.dont_fragment,
        }
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
    /// The blocks of SACK as they stand in the header.
    sacks: &'a [u8],
    pub(crate) ttl: u8,
    /// IPv4's identification; 0 where it says nothing.
    pub(crate) ip_id: u16,
    pub(crate) dont_fragment: bool,
    /// Its bytes are those of a packet at most 10 ms before, but nothing in it is unique to one sending.
    pub(crate) like_a_copy: bool,
}

impl<'a> Segment<'a> {
    pub(crate) fn new(captured: &Captured<'a>, header: &Header, from: Side, like_a_copy: bool) -> Self {
        Self {
            no: captured.number,
            at: captured.at,
            from,
            seq: header.seq,
            ack: header.ack,
            flags: header.flags,
            window: header.window,
            len: header.len,
            payload: at(captured.bytes, header.payload),
            options: header.options,
            sacks: at(captured.bytes, header.sacks),
            ttl: header.ttl,
            ip_id: header.ip_id,
            dont_fragment: header.dont_fragment,
            like_a_copy,
        }
    }

    pub(crate) fn is(&self, flag: TcpFlags) -> bool {
        self.flags.has(flag)
    }

    /// The blocks of SACK: left and right edge.
    pub(crate) fn sacks(&self) -> impl Iterator<Item = (u32, u32)> {
        let edges = |[a, b, c, d, e, f, g, h]: [u8; 8]| (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        self.sacks.as_chunks().0.iter().take(MOST_SACKS).copied().map(edges)
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
