//! The records of a pcap file (draft-ietf-opsawg-pcap): both byte orders, microseconds and nanoseconds, and the modified format of
//! old Linux kernels, whose records have eight bytes more.

use super::error::Problem;
use super::input::Input;
use super::{Record, pcapng};
use crate::packet::Stamp;
use faultmap_wire::dissect::LinkType;

/// Longest packet that libpcap writes, bytes (`MAXIMUM_SNAPLEN`; more for USB).
const MOST_PACKET: u32 = 262_144;

pub(crate) struct Reader {
    big: bool,
    nanoseconds: bool,
    record_header: usize,
    link: LinkType,
    snap: u32,
    minor: u16,
}

impl Reader {
    /// The reader for a file that begins so.
    pub(crate) const fn with_magic(magic: [u8; 4]) -> Option<Self> {
        let (big, nanoseconds, record_header) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (false, false, 16),
            [0xa1, 0xb2, 0xc3, 0xd4] => (true, false, 16),
            [0x4d, 0x3c, 0xb2, 0xa1] => (false, true, 16),
            [0xa1, 0xb2, 0x3c, 0x4d] => (true, true, 16),
            [0x34, 0xcd, 0xb2, 0xa1] => (false, false, 24),
            [0xa1, 0xb2, 0xcd, 0x34] => (true, false, 24),
            _ => return None,
        };
        Some(Self { big, nanoseconds, record_header, link: LinkType::ETHERNET, snap: 0, minor: 4 })
    }

    /// Reads the header of the file.
    pub(crate) fn header(&mut self, input: &mut Input) -> Result<(), Problem> {
        if !input.need(24)? {
            return Err(Problem::Truncated { what: "the file header", have: input.available().len() as u64, want: 24 });
        }
        let header = input.available();
        let version = u32_at(header, 4, self.big);
        self.minor = if self.big { version as u16 } else { (version >> 16) as u16 };
        self.snap = u32_at(header, 16, self.big);
        // The upper bits say how long the frame check sequence is (libpcap, LT_LINKTYPE).
        self.link = LinkType(u32_at(header, 20, self.big) & 0x03ff_ffff);
        input.consume(24);
        Ok(())
    }

    pub(crate) fn next(&self, input: &mut Input) -> Result<Option<Record>, Problem> {
        if !input.need(self.record_header)? {
            return match input.available().len() {
                0 => Ok(None),
                have => Err(Problem::Truncated { what: "a record's header", have: have as u64, want: self.record_header as u64 }),
            };
        }
        let Some(header) = input.available().first_chunk::<16>() else { return Ok(None) };
        let field = |at: usize| u32_at(header, at, self.big);
        let (seconds, fraction, mut kept, mut wire_len) = (field(0), field(4), field(8), field(12));
        // Before version 2.4 the two lengths were written in either order (libpcap, sf-pcap.c).
        if self.minor < 3 || (self.minor == 3 && kept > wire_len) {
            (kept, wire_len) = (wire_len, kept);
        }
        if kept > MOST_PACKET.max(self.snap).min(16 * 1024 * 1024) {
            return Err(Problem::Damaged(format!("a record claims a packet of {kept} bytes")));
        }
        let want = self.record_header + kept as usize;
        if !input.need(want)? {
            return Err(Problem::Truncated { what: "a packet", have: input.available().len() as u64, want: want as u64 });
        }
        let place = input.place(self.record_header, kept as usize);
        input.consume(want);
        let unit = if self.nanoseconds { 1 } else { 1000 };
        let at = Stamp(i64::from(seconds) * 1_000_000_000 + i64::from(fraction) * unit);
        Ok(Some(Record { at: Some(at), link: self.link, wire_len, place }))
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize, big: bool) -> u32 {
    pcapng::array(bytes, at).map_or(0, |field| if big { u32::from_be_bytes(field) } else { u32::from_le_bytes(field) })
}
