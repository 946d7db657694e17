//! The kernel's ring of packets, mapped (TPACKET_V3; Documentation/networking/packet_mmap.rst). The kernel fills whole blocks and hands them over; we
//! read one and hand it back. Nothing is copied here, and every offset that the ring holds is checked before it is followed.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// One block; a packet of 64 KiB must fit, and many small ones should share.
const BLOCK: usize = 1 << 20;
/// Only a unit of count for this version.
const FRAME: usize = 1 << 11;
/// A block that is not full is handed over after so many milliseconds.
const RETIRE_MS: u32 = 50;
/// `tpacket_block_desc` up to `hdr`, then `block_status`.
const STATUS_AT: usize = 8;
const PACKETS_AT: usize = 12;
const FIRST_AT: usize = 16;
/// `struct tpacket3_hdr`, aligned to 16; behind it the `sockaddr_ll`.
const HEADER: usize = 48;
const ADDRESS: usize = 20;

const TP_STATUS_KERNEL: u32 = 0;
const TP_STATUS_USER: u32 = 1;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;

/// One packet in the ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) at_ns: i64,
    pub(super) wire_len: u32,
    pub(super) bytes: &'a [u8],
    pub(super) interface: u32,
    /// `ARPHRD_` number.
    pub(super) kind: u16,
    /// `PACKET_HOST`, `PACKET_OUTGOING`, ...
    pub(super) direction: u8,
    /// The VLAN tag that the card or the kernel took out: EtherType and control.
    pub(super) vlan: Option<(u16, u16)>,
}

/// The mapped ring of one socket.
#[derive(Debug)]
pub(super) struct Ring {
    base: NonNull<u8>,
    blocks: usize,
    next: usize,
}

// SAFETY: the mapping belongs to this value alone; the kernel's side is synchronised through the status word of each block.
#[allow(unsafe_code, reason = "a mapping that nobody else holds may change its thread")]
unsafe impl Send for Ring {}

impl Ring {
    /// Asks the kernel for a ring of about `bytes` and maps it; half of it again and again while memory is short.
    pub(super) fn map(socket: &OwnedFd, bytes: usize) -> io::Result<Self> {
        set(socket, libc::PACKET_VERSION, &2_i32)?;
        let mut blocks = (bytes / BLOCK).clamp(2, 1024);
        loop {
            match request(socket, blocks).and_then(|()| map(socket, blocks)) {
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && blocks > 2 => blocks /= 2,
                Err(error) => return Err(error),
                Ok(base) => return Ok(Self { base, blocks, next: 0 }),
            }
        }
    }

    /// Hands every packet of the next block to `take`, and the block back to the kernel. False when no block is ready.
    pub(super) fn next_block(&mut self, mut take: impl FnMut(Slot<'_>)) -> bool {
        if self.status().load(Ordering::Acquire) & TP_STATUS_USER == 0 {
            return false;
        }
        let block = self.block();
        let count = u32_at(block, PACKETS_AT).unwrap_or(0);
        let mut at = u32_at(block, FIRST_AT).map_or(usize::MAX, |at| at as usize);
        for _ in 0..count {
            let Some((slot, next)) = slot(block, at) else { break };
            take(slot);
            at = at.saturating_add(next);
        }
        self.status().store(TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % self.blocks;
        true
    }

    #[allow(unsafe_code)]
    fn status(&self) -> &AtomicU32 {
        // SAFETY: `next` is below `blocks`, so the word lies within the mapping, aligned to four; kernel and we both access it atomically.
        unsafe { &*self.base.as_ptr().add(self.next * BLOCK + STATUS_AT).cast::<AtomicU32>() }
    }

    /// The block that is ours now.
    #[allow(unsafe_code)]
    fn block(&self) -> &[u8] {
        // SAFETY: within the mapping, and since the status word gave the block to us the kernel does not write to it until we give it back, which
        // needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(self.next * BLOCK), BLOCK) }
    }
}

impl Drop for Ring {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and nothing borrowed from it lives on.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.blocks * BLOCK) };
    }
}

fn request(socket: &OwnedFd, blocks: usize) -> io::Result<()> {
    let wanted = libc::tpacket_req3 {
        tp_block_size: BLOCK as u32,
        tp_block_nr: blocks as u32,
        tp_frame_size: FRAME as u32,
        tp_frame_nr: (BLOCK / FRAME * blocks) as u32,
        tp_retire_blk_tov: RETIRE_MS,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    };
    set(socket, libc::PACKET_RX_RING, &wanted)
}

#[allow(unsafe_code)]
fn map(socket: &OwnedFd, blocks: usize) -> io::Result<NonNull<u8>> {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice, of the size that was just requested.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), blocks * BLOCK, access, flags, socket.as_raw_fd(), 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
}

/// Sets an option of the packet layer.
#[allow(unsafe_code)]
pub(super) fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is plain data of the length given and lives through the call.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, std::ptr::from_ref(value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The packet at an offset of a block, and the way to the next one.
fn slot(block: &[u8], at: usize) -> Option<(Slot<'_>, usize)> {
    let header = block.get(at..at.checked_add(HEADER + ADDRESS)?)?;
    let word = |at: usize| u32_at(header, at);
    let half = |at: usize| header.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b));
    let (next, seconds, nanoseconds) = (word(0)?, word(4)?, word(8)?);
    let (kept, wire_len, status) = (word(12)? as usize, word(16)?, word(20)?);
    let start = at.checked_add(usize::from(half(24)?))?;
    let bytes = block.get(start..start.checked_add(kept)?)?;
    let vlan = (status & TP_STATUS_VLAN_VALID != 0).then(|| {
        let kind = half(36).filter(|_| status & TP_STATUS_VLAN_TPID_VALID != 0).unwrap_or(0x8100);
        (kind, word(32).unwrap_or(0) as u16)
    });
    let slot = Slot {
        at_ns: i64::from(seconds).saturating_mul(1_000_000_000).saturating_add(i64::from(nanoseconds)),
        wire_len,
        bytes,
        // struct sockaddr_ll: family, protocol, ifindex, hatype, pkttype.
        interface: word(HEADER + 4)?,
        kind: half(HEADER + 8)?,
        direction: *header.get(HEADER + 10)?,
        vlan,
    };
    // The last packet of a block has no way to a next one.
    Some((slot, if next == 0 { block.len() } else { next as usize }))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A block with these packets, as the kernel lays it out.
    fn block(packets: &[&[u8]]) -> (Vec<u8>, usize) {
        let first = 48;
        let mut block = vec![0_u8; first];
        for (place, packet) in packets.iter().enumerate() {
            let at = block.len();
            let room = (HEADER + ADDRESS + 14 + packet.len()).next_multiple_of(16);
            block.resize(at + room, 0);
            let mut put = |offset: usize, bytes: &[u8]| block[at + offset..at + offset + bytes.len()].copy_from_slice(bytes);
            put(0, &(if place + 1 == packets.len() { 0 } else { room as u32 }).to_ne_bytes());
            put(4, &7_u32.to_ne_bytes());
            put(8, &9_u32.to_ne_bytes());
            put(12, &(packet.len() as u32).to_ne_bytes());
            put(16, &1500_u32.to_ne_bytes());
            put(20, &(TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID).to_ne_bytes());
            put(24, &82_u16.to_ne_bytes());
            put(32, &42_u32.to_ne_bytes());
            put(36, &0x88a8_u16.to_ne_bytes());
            put(HEADER + 4, &3_u32.to_ne_bytes());
            put(HEADER + 8, &1_u16.to_ne_bytes());
            put(HEADER + 10, &[4]);
            put(82, packet);
        }
        (block, first)
    }

    #[test]
    fn packets_of_a_block_are_read_one_after_the_other() {
        let (bytes, first) = block(&[b"one", b"second"]);
        let (one, next) = slot(&bytes, first).expect("the first");
        assert_eq!((one.bytes, one.wire_len, one.at_ns), (&b"one"[..], 1500, 7_000_000_009));
        assert_eq!((one.interface, one.kind, one.direction, one.vlan), (3, 1, 4, Some((0x88a8, 42))));
        let (two, next) = slot(&bytes, first + next).map(|(slot, n)| (slot, first + next + n)).expect("the second");
        assert_eq!(two.bytes, b"second");
        assert!(slot(&bytes, next).is_none(), "behind the last");
    }

    proptest! {
        #[test]
        fn no_bytes_lead_out_of_the_block(bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<usize>()) {
            let _ = slot(&bytes, at % 400);
            let _ = slot(&bytes, at);
        }
    }
}
