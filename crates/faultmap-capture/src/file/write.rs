//! Packets to a pcapng file that Wireshark opens: one section, one interface for each link type, times in nanoseconds.

use crate::packet::Captured;
use faultmap_wire::dissect::LinkType;
use std::io::{self, Write};

/// Writes packets to `out`, which should be buffered.
pub struct Writer<W: Write> {
    out: W,
    links: Vec<LinkType>,
    packets: u64,
}

impl<W: Write> Writer<W> {
    /// Begins the file.
    ///
    /// # Errors
    /// `out` refuses.
    pub fn new(mut out: W) -> io::Result<Self> {
        let application = b"faultmap";
        let mut body = Vec::with_capacity(32);
        body.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
        body.extend_from_slice(&1_u16.to_le_bytes());
        body.extend_from_slice(&0_u16.to_le_bytes());
        body.extend_from_slice(&u64::MAX.to_le_bytes());
        body.extend_from_slice(&4_u16.to_le_bytes());
        body.extend_from_slice(&(application.len() as u16).to_le_bytes());
        body.extend_from_slice(application);
        body.extend_from_slice(&[0; 4]);
        block(&mut out, 0x0a0d_0d0a, &[&body])?;
        Ok(Self { out, links: Vec::new(), packets: 0 })
    }

    /// Adds a packet.
    ///
    /// # Errors
    /// `out` refuses: the disk is full.
    pub fn packet(&mut self, packet: &Captured<'_>) -> io::Result<()> {
        let interface = match self.links.iter().position(|link| *link == packet.link) {
            Some(interface) => interface,
            None => self.interface(packet.link)?,
        };
        let units = u64::try_from(packet.at.0).unwrap_or(0);
        let mut head = [0; 20];
        let fields = [interface as u32, (units >> 32) as u32, units as u32, packet.bytes.len() as u32, packet.wire_len];
        for (place, field) in head.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        self.packets += 1;
        block(&mut self.out, 6, &[&head, packet.bytes])
    }

    /// Packets written.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Gives back what was written to, flushed.
    ///
    /// # Errors
    /// `out` refuses.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn interface(&mut self, link: LinkType) -> io::Result<usize> {
        let mut body = Vec::with_capacity(20);
        body.extend_from_slice(&(link.0 as u16).to_le_bytes());
        body.extend_from_slice(&[0; 6]);
        // if_tsresol 9: nanoseconds.
        body.extend_from_slice(&[9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        block(&mut self.out, 1, &[&body])?;
        self.links.push(link);
        Ok(self.links.len() - 1)
    }
}

fn block(out: &mut impl Write, kind: u32, parts: &[&[u8]]) -> io::Result<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let padding = len.next_multiple_of(4) - len;
    let total = ((len + padding + 12) as u32).to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&total)?;
    for part in parts {
        out.write_all(part)?;
    }
    out.write_all([0_u8; 3].get(..padding).unwrap_or_default())?;
    out.write_all(&total)
}
