//! Packets into a pcapng file (draft-ietf-opsawg-pcapng): section, interfaces, packets, drop counts. Nanosecond times. It writes to what it is given
//! and neither opens nor renames files.

use crate::file::TLS_KEY_LOG;
use crate::packet::{Captured, Stamp};
use faultmap_wire::dissect::LinkType;
use std::io::{self, Write};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;
const SECRETS: u32 = 10;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const OPTION_USERAPPL: u16 = 4;
const OPTION_IF_NAME: u16 = 2;
const OPTION_TSRESOL: u16 = 9;
const OPTION_RECEIVED: u16 = 4;
const OPTION_DROPPED: u16 = 5;
const NANOSECONDS: u8 = 9;
/// Interfaces of one file; packets of further ones are refused.
const MOST_INTERFACES: usize = 1024;

/// Writes one section.
#[derive(Debug)]
pub struct PcapNgWriter<W> {
    out: W,
    interfaces: Vec<(LinkType, String)>,
    block: Vec<u8>,
    written: u64,
}

impl<W: Write> PcapNgWriter<W> {
    /// Begins the section.
    ///
    /// # Errors
    /// Those of the writer, as everywhere below.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = Self { out, interfaces: Vec::new(), block: Vec::with_capacity(2048), written: 0 };
        let mut body = Vec::new();
        body.extend(BYTE_ORDER_MAGIC.to_ne_bytes());
        body.extend(1_u16.to_ne_bytes());
        body.extend(0_u16.to_ne_bytes());
        // The section's length is not known yet.
        body.extend((-1_i64).to_ne_bytes());
        option(&mut body, OPTION_USERAPPL, concat!("faultmap ", env!("CARGO_PKG_VERSION")).as_bytes());
        end_of_options(&mut body);
        writer.put(SECTION, &[&body])?;
        Ok(writer)
    }

    /// The number of an interface with this link type and name; it is described in the file when it is new.
    ///
    /// # Errors
    /// Also when there are more interfaces than a file may have here (1024).
    pub fn interface(&mut self, link: LinkType, name: &str) -> io::Result<u32> {
        if let Some(known) = self.interfaces.iter().position(|(l, n)| *l == link && n == name) {
            return Ok(known as u32);
        }
        if self.interfaces.len() >= MOST_INTERFACES {
            return Err(io::Error::other("more than 1024 interfaces in one capture"));
        }
        let mut body = Vec::new();
        body.extend(u16::try_from(link.0).unwrap_or(u16::MAX).to_ne_bytes());
        body.extend(0_u16.to_ne_bytes());
        // No limit on the length of packets.
        body.extend(0_u32.to_ne_bytes());
        if !name.is_empty() {
            option(&mut body, OPTION_IF_NAME, name.as_bytes());
        }
        option(&mut body, OPTION_TSRESOL, &[NANOSECONDS]);
        end_of_options(&mut body);
        self.put(INTERFACE, &[&body])?;
        self.interfaces.push((link, name.to_owned()));
        Ok((self.interfaces.len() - 1) as u32)
    }

    /// Session keys of TLS, as lines of a key log: they belong before the packets that they open.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn secrets(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut head = [0_u8; 8];
        head[..4].copy_from_slice(&TLS_KEY_LOG.to_ne_bytes());
        head[4..].copy_from_slice(&u32::try_from(lines.len()).map_err(io::Error::other)?.to_ne_bytes());
        self.put(SECRETS, &[&head, lines])
    }

    /// One packet of an interface.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn packet(&mut self, interface: u32, packet: &Captured<'_>) -> io::Result<()> {
        let time = time(packet.at);
        let mut head = [0_u8; 20];
        let fields = [interface, (time >> 32) as u32, time as u32, packet.bytes.len() as u32, packet.wire_len];
        for (slot, field) in head.chunks_exact_mut(4).zip(fields) {
            slot.copy_from_slice(&field.to_ne_bytes());
        }
        self.put(PACKET, &[&head, packet.bytes])
    }

    /// What the kernel counted on an interface up to `at`: packets that matched, and those of them that were lost for want of room.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn statistics(&mut self, interface: u32, at: Stamp, received: u64, dropped: u64) -> io::Result<()> {
        let time = time(at);
        let mut body = Vec::new();
        for field in [interface, (time >> 32) as u32, time as u32] {
            body.extend(field.to_ne_bytes());
        }
        option(&mut body, OPTION_RECEIVED, &received.to_ne_bytes());
        option(&mut body, OPTION_DROPPED, &dropped.to_ne_bytes());
        end_of_options(&mut body);
        self.put(STATISTICS, &[&body])
    }

    /// Bytes written so far, those that the writer below still holds included.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Hands on what the writer below holds.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The writer below, flushed.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn into_inner(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    /// One block: type, length, body padded to four bytes, length. In one write, so that a full disk cuts between blocks where it can.
    fn put(&mut self, kind: u32, parts: &[&[u8]]) -> io::Result<()> {
        let body: usize = parts.iter().map(|part| part.len()).sum();
        let padded = body.next_multiple_of(4);
        let length = ((padded + 12) as u32).to_ne_bytes();
        self.block.clear();
        self.block.extend(kind.to_ne_bytes());
        self.block.extend(length);
        for part in parts {
            self.block.extend_from_slice(part);
        }
        self.block.resize(8 + padded, 0);
        self.block.extend(length);
        self.out.write_all(&self.block)?;
        self.written = self.written.saturating_add(self.block.len() as u64);
        Ok(())
    }
}

/// Times before 1970 cannot be written.
fn time(at: Stamp) -> u64 {
    u64::try_from(at.0).unwrap_or(0)
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    body.extend(code.to_ne_bytes());
    body.extend((value.len() as u16).to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PacketNo;
    use pcap_parser::traits::PcapReaderIterator;
    use pcap_parser::{Block, PcapBlockOwned, PcapError, PcapNGReader};
    use proptest::prelude::*;

    fn captured(at: i64, bytes: &[u8]) -> Captured<'_> {
        Captured { number: PacketNo(1), at: Stamp(at), link: LinkType::ETHERNET, wire_len: bytes.len() as u32 + 7, bytes }
    }

    /// Time, length on the wire, bytes.
    type Read = (u64, u32, Vec<u8>);

    /// What another implementation reads: the packets; received and dropped.
    fn read(file: &[u8]) -> (Vec<Read>, Option<(u64, u64)>) {
        let (mut packets, mut statistics) = (Vec::new(), None);
        let mut reader = PcapNGReader::new(1 << 20, file).expect("a section");
        loop {
            match reader.next() {
                Ok((used, PcapBlockOwned::NG(block))) => {
                    match block {
                        Block::EnhancedPacket(p) => {
                            let time = (u64::from(p.ts_high) << 32) | u64::from(p.ts_low);
                            packets.push((time, p.origlen, p.data[..p.caplen as usize].to_vec()));
                        }
                        Block::InterfaceStatistics(s) => {
                            let count = |code: u16| {
                                let option = s.options.iter().find(|option| option.code.0 == code).expect("the option");
                                u64::from_ne_bytes(option.value[..8].try_into().expect("eight bytes"))
                            };
                            statistics = Some((count(OPTION_RECEIVED), count(OPTION_DROPPED)));
                        }
                        _ => {}
                    }
                    reader.consume(used);
                }
                Ok((used, _)) => reader.consume(used),
                Err(PcapError::Incomplete(_)) => reader.refill().expect("more"),
                Err(PcapError::Eof) => return (packets, statistics),
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    #[test]
    fn an_interface_is_described_once() {
        let mut writer = PcapNgWriter::new(Vec::new()).expect("a section");
        let first = writer.interface(LinkType::ETHERNET, "eth0").expect("an interface");
        let before = writer.written();
        assert_eq!(writer.interface(LinkType::ETHERNET, "eth0").expect("the same"), first);
        assert_eq!(writer.written(), before);
        assert_eq!(writer.interface(LinkType::RAW, "eth0").expect("another link type"), first + 1);
    }

    #[test]
    fn drops_are_told_in_the_file() {
        let mut writer = PcapNgWriter::new(Vec::new()).expect("a section");
        let eth0 = writer.interface(LinkType::ETHERNET, "eth0").expect("an interface");
        writer.statistics(eth0, Stamp(5), 100, 3).expect("statistics");
        assert_eq!(read(&writer.into_inner().expect("all")).1, Some((100, 3)));
    }

    proptest! {
        #[test]
        fn another_implementation_reads_the_same_packets(
            written in prop::collection::vec((0_i64..i64::MAX, prop::collection::vec(any::<u8>(), 0..300)), 0..20)
        ) {
            let mut writer = PcapNgWriter::new(Vec::new()).expect("a section");
            let eth0 = writer.interface(LinkType::ETHERNET, "eth0").expect("an interface");
            for (at, bytes) in &written {
                writer.packet(eth0, &captured(*at, bytes)).expect("a packet");
            }
            let length = writer.written();
            let file = writer.into_inner().expect("all");
            prop_assert_eq!(length, file.len() as u64);
            let expected: Vec<_> = written.iter().map(|(at, b)| (u64::try_from(*at).expect("after 1970"), b.len() as u32 + 7, b.clone())).collect();
            prop_assert_eq!(read(&file).0, expected);
        }
    }
}
