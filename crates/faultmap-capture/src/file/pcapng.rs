//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng): sections in either byte order, interfaces with their own link type and clock, packets
//! in all three kinds of packet block, and what the recorder dropped. Session keys of TLS go to who opens
//! connections with them; names, other secrets and unknown blocks are passed over unread.

use super::error::Problem;
use super::input::{Input, MOST_RECORD};
use super::pcap::u32_at;
use super::{KeyLog, Notes, Record};
use crate::packet::Stamp;
use faultmap_wire::dissect::LinkType;
use pcap_parser::pcapng::{Block, parse_block_be, parse_block_le};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{InterfaceDescriptionBlock, OptionCode, PcapNGOption};

/// Type of the block that begins a section, the same in both byte orders.
pub(crate) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Interfaces of one section.
const MOST_INTERFACES: usize = 65_536;

const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const SECRETS: u32 = 10;
/// The secrets are lines of a key log.
pub(crate) const TLS_KEY_LOG: u32 = 0x544c_534b;
const SECTION: u32 = 0x0a0d_0d0a;

#[derive(Default)]
pub(crate) struct Reader {
    big: bool,
    interfaces: Vec<Interface>,
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    link: LinkType,
    snap: u32,
    clock: Clock,
    /// Drops that its statistics told last; they count from the interface's beginning.
    dropped: u64,
}

/// How an interface counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Units of one second; 0 if there is no such number.
    pub(crate) per_second: u128,
    /// Seconds to be added.
    pub(crate) offset_s: i64,
}

impl Clock {
    /// `if_tsresol`: a power of ten, or of two if the highest bit is set.
    pub(crate) fn new(resolution: u8, offset_s: i64) -> Self {
        let power = u32::from(resolution & 0x7f);
        let per_second = if resolution & 0x80 == 0 { 10_u128.checked_pow(power) } else { 2_u128.checked_pow(power) };
        Self { per_second: per_second.unwrap_or(0), offset_s }
    }

    pub(crate) fn stamp(self, units: u64) -> Stamp {
        // The resolutions that capture tools write need no division of 128 bits, which costs as much as reading the rest of a block.
        let factor = match self.per_second {
            1_000_000_000 => 1,
            1_000_000 => 1000,
            1000 => 1_000_000,
            _ => 0,
        };
        let ns = match units.checked_mul(factor) {
            Some(ns) if factor > 0 => u128::from(ns),
            _ => (u128::from(units) * 1_000_000_000).checked_div(self.per_second).unwrap_or(0),
        };
        let ns = i64::try_from(ns).unwrap_or(i64::MAX);
        Stamp(ns.saturating_add(self.offset_s.saturating_mul(1_000_000_000)))
    }
}

impl Reader {
    pub(crate) fn next(&mut self, input: &mut Input, notes: &mut Notes, keys: &mut Vec<KeyLog>) -> Result<Option<Record>, Problem> {
        loop {
            let Some((kind, len)) = self.block_header(input)? else { return Ok(None) };
            let wanted = matches!(kind, SECTION | INTERFACE | PACKET | SIMPLE_PACKET | STATISTICS | ENHANCED_PACKET)
                || (kind == SECRETS && len <= MOST_RECORD);
            if !wanted {
                let have = input.skip(len as u64)?;
                if have < len as u64 {
                    return Err(Problem::Truncated { what: "a block", have, want: len as u64 });
                }
                continue;
            }
            if len > MOST_RECORD {
                return Err(Problem::Damaged(format!("a block claims {len} bytes")));
            }
            if !input.need(len)? {
                let what = if kind == SECTION { "a section's header" } else { "a block" };
                return Err(Problem::Truncated { what, have: input.available().len() as u64, want: len as u64 });
            }
            if kind == SECRETS {
                self.secrets(input.available().get(..len).unwrap_or_default(), keys);
                input.consume(len);
                continue;
            }
            let record = self.block(input, kind, len, notes)?;
            input.consume(len);
            if record.is_some() {
                return Ok(record);
            }
        }
    }

    /// Type and length of the next block; a section's header sets the byte order first.
    fn block_header(&mut self, input: &mut Input) -> Result<Option<(u32, usize)>, Problem> {
        if !input.need(12)? {
            return match input.available().len() {
                0 => Ok(None),
                have => Err(Problem::Truncated { what: "a block's header", have: have as u64, want: 12 }),
            };
        }
        let header = input.available();
        if header.starts_with(&SECTION_HEADER) {
            self.big = match header.get(8..12) {
                Some([0x1a, 0x2b, 0x3c, 0x4d]) => true,
                Some([0x4d, 0x3c, 0x2b, 0x1a]) => false,
                _ => return Err(Problem::Damaged("a section's header has no byte order".to_owned())),
            };
        }
        let (kind, len) = (u32_at(header, 0, self.big), u32_at(header, 4, self.big));
        if len < 12 {
            return Err(Problem::Damaged(format!("a block claims {len} bytes")));
        }
        // Some writers forget that blocks are padded to four bytes; Wireshark forgives it, too.
        Ok(Some((kind, (len as usize).next_multiple_of(4))))
    }

    fn block(&mut self, input: &Input, kind: u32, len: usize, notes: &mut Notes) -> Result<Option<Record>, Problem> {
        let bytes = input.available().get(..len).unwrap_or_default();
        if kind == PACKET {
            return self.obsolete_packet(input, bytes, notes).map(Some);
        }
        let parsed = if self.big { parse_block_be(bytes) } else { parse_block_le(bytes) };
        let Ok((_, block)) = parsed else { return Err(Problem::Damaged(format!("a block of type {kind} does not hold what it must"))) };
        match block {
            Block::SectionHeader(_) => {
                self.interfaces.clear();
                Ok(None)
            }
            Block::InterfaceDescription(interface) => self.interface(&interface).map(|()| None),
            Block::EnhancedPacket(packet) => {
                if let Some(dropped) = number(&packet.options, OptionCode(4), self.big) {
                    add_drops(notes, dropped);
                }
                let units = (u64::from(packet.ts_high) << 32) | u64::from(packet.ts_low);
                let kept = packet.packet_data().len();
                self.record(input, packet.if_id, Some(units), (28, kept), packet.origlen).map(Some)
            }
            Block::SimplePacket(packet) => {
                let snap = self.interfaces.first().map_or(0, |interface| interface.snap);
                let kept = packet.packet_data().len();
                let kept = if snap == 0 { kept } else { kept.min(snap as usize) };
                self.record(input, 0, None, (12, kept), packet.origlen).map(Some)
            }
            Block::InterfaceStatistics(statistics) => {
                let dropped = number(&statistics.options, OptionCode::IsbIfDrop, self.big);
                let lost = number(&statistics.options, OptionCode::IsbOsDrop, self.big);
                if dropped.is_some() || lost.is_some() {
                    self.statistics(statistics.if_id, dropped.unwrap_or(0).saturating_add(lost.unwrap_or(0)), notes);
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// What does not hold what it must opens nothing, and is no reason to stop reading packets.
    fn secrets(&self, block: &[u8], keys: &mut Vec<KeyLog>) {
        let len = u32_at(block, 12, self.big) as usize;
        if u32_at(block, 8, self.big) == TLS_KEY_LOG {
            let end = len.saturating_add(16).min(block.len().saturating_sub(4));
            keys.push(KeyLog::of(block.get(16..end).unwrap_or_default()));
        }
    }

    fn interface(&mut self, block: &InterfaceDescriptionBlock<'_>) -> Result<(), Problem> {
        if self.interfaces.len() >= MOST_INTERFACES {
            return Err(Problem::Damaged(format!("more than {MOST_INTERFACES} interfaces in one section")));
        }
        let option = |code: OptionCode| block.options.iter().find(|option| option.code == code);
        let resolution = option(OptionCode::IfTsresol).and_then(|option| option.value.first().copied()).unwrap_or(6);
        let offset = number(&block.options, OptionCode::IfTsoffset, self.big).unwrap_or(0);
        let link = LinkType(u32::from(block.linktype.0 as u16));
        self.interfaces.push(Interface { link, snap: block.snaplen, clock: Clock::new(resolution, offset.cast_signed()), dropped: 0 });
        Ok(())
    }

    fn statistics(&mut self, interface: u32, dropped: u64, notes: &mut Notes) {
        if let Some(interface) = self.interfaces.get_mut(interface as usize) {
            add_drops(notes, dropped.saturating_sub(interface.dropped));
            interface.dropped = dropped.max(interface.dropped);
        }
    }

    /// The block that the enhanced packet block replaced.
    fn obsolete_packet(&self, input: &Input, block: &[u8], notes: &mut Notes) -> Result<Record, Problem> {
        let first = u32_at(block, 8, self.big);
        let (interface, dropped) = if self.big { (first >> 16, first & 0xffff) } else { (first & 0xffff, first >> 16) };
        if dropped != 0xffff {
            add_drops(notes, u64::from(dropped));
        }
        let units = (u64::from(u32_at(block, 12, self.big)) << 32) | u64::from(u32_at(block, 16, self.big));
        let (kept, wire_len) = (u32_at(block, 20, self.big) as usize, u32_at(block, 24, self.big));
        if kept.saturating_add(32) > block.len() {
            return Err(Problem::Damaged(format!("a packet of {kept} bytes in a block of {}", block.len())));
        }
        self.record(input, interface, Some(units), (28, kept), wire_len)
    }

    fn record(
        &self,
        input: &Input,
        interface: u32,
        units: Option<u64>,
        (skip, kept): (usize, usize),
        wire_len: u32,
    ) -> Result<Record, Problem> {
        let Some(from) = self.interfaces.get(interface as usize) else {
            let known = self.interfaces.len();
            return Err(Problem::Damaged(format!("a packet of interface {interface}, but only {known} interfaces were described")));
        };
        let at = units.map(|units| from.clock.stamp(units));
        Ok(Record { at, link: from.link, wire_len, place: input.place(skip, kept) })
    }
}

const fn add_drops(notes: &mut Notes, more: u64) {
    let known = match notes.dropped {
        Some(known) => known,
        None => 0,
    };
    notes.dropped = Some(known.saturating_add(more));
}

/// A number of eight bytes in the section's byte order.
fn number(options: &[PcapNGOption<'_>], code: OptionCode, big: bool) -> Option<u64> {
    let option = options.iter().find(|option| option.code == code && option.len == 8)?;
    let field = array(&option.value, 0)?;
    Some(if big { u64::from_be_bytes(field) } else { u64::from_le_bytes(field) })
}

/// `N` bytes from `at` on.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
