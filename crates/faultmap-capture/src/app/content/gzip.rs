//! Whether bytes are gzip (RFC 1952) from the first to the last: header, deflate stream (RFC 1951), checksum and length of each member. What they unpack to is
//! shown in pieces and never kept; nothing is allocated by what the bytes announce.

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// The first bytes of every member: its signature, and the only method there is.
pub(super) const BEGIN: [u8; 3] = [0x1f, 0x8b, 8];
/// Unpacked at a time, bytes.
const PIECE: usize = 16 * 1024;
/// So much is unpacked in all; who packs more into a body of the length that is kept wants to do harm, and nothing is said of it.
const MOST: u64 = 8 * 1024 * 1024;
/// Length of a header without its optional fields, and of the trailer.
const HEADER: usize = 10;
const TRAILER: usize = 8;
/// Optional fields of the header.
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// What is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The deflate stream breaks the rules after so many bytes.
    Stream(u64),
    /// They end in its middle.
    Short(u64),
    Checksum,
    Length,
}

/// How far unpacking came.
enum Member<'a> {
    /// It is sound, and these follow it.
    Sound(&'a [u8]),
    /// It is longer than what is unpacked.
    Endless,
}

/// Unpacks all members; what follows the last is left alone, as browsers do.
pub(super) fn unpack(bytes: &[u8], content: &mut dyn FnMut(&[u8])) -> Result<(), Broken> {
    let (mut rest, mut left, mut piece) = (bytes, MOST, vec![0; PIECE]);
    while rest.starts_with(&BEGIN) {
        let before = bytes.len() - rest.len();
        match member(rest, &mut left, &mut piece, content).map_err(|broken| broken.later(before as u64))? {
            Member::Sound(tail) => rest = tail,
            Member::Endless => return Ok(()),
        }
    }
    Ok(())
}

fn member<'a>(bytes: &'a [u8], left: &mut u64, piece: &mut [u8], content: &mut dyn FnMut(&[u8])) -> Result<Member<'a>, Broken> {
    let body = header(bytes).ok_or(Broken::Short(bytes.len() as u64))?;
    let (mut inflate, mut sum) = (Decompress::new(false), Crc::new());
    let at = |inflate: &Decompress| (bytes.len() - body.len()) as u64 + inflate.total_in();
    loop {
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let input = body.get(read as usize..).unwrap_or_default();
        let status = inflate.decompress(input, piece, FlushDecompress::None).map_err(|_| Broken::Stream(at(&inflate)))?;
        let unpacked = piece.get(..(inflate.total_out() - written) as usize).unwrap_or_default();
        sum.update(unpacked);
        content(unpacked);
        *left = left.saturating_sub(unpacked.len() as u64);
        match status {
            Status::StreamEnd => break,
            _ if *left == 0 => return Ok(Member::Endless),
            _ if unpacked.is_empty() && inflate.total_in() == read => return Err(Broken::Short(bytes.len() as u64)),
            _ => {}
        }
    }
    let rest = body.get(inflate.total_in() as usize..).unwrap_or_default();
    // A trailer that is missing harms nobody: all that it protects is there.
    let Some((trailer, rest)) = rest.split_at_checked(TRAILER) else { return Ok(Member::Sound(&[])) };
    if trailer[..4] != sum.sum().to_le_bytes() {
        return Err(Broken::Checksum);
    }
    if trailer[4..] != sum.amount().to_le_bytes() {
        return Err(Broken::Length);
    }
    Ok(Member::Sound(rest))
}

/// What follows the header; `None` if it is not whole.
fn header(bytes: &[u8]) -> Option<&[u8]> {
    let (fixed, mut rest) = bytes.split_at_checked(HEADER)?;
    let flags = fixed[3];
    if flags & EXTRA != 0 {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        rest = tail.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            rest = rest.get(rest.iter().position(|byte| *byte == 0)? + 1..)?;
        }
    }
    if flags & HEADER_CRC != 0 { rest.get(2..) } else { Some(rest) }
}

impl Broken {
    fn later(self, before: u64) -> Self {
        match self {
            Self::Stream(at) => Self::Stream(at + before),
            Self::Short(at) => Self::Short(at + before),
            other => other,
        }
    }

    /// In words, after "is declared as gzip".
    pub(super) fn words(self) -> String {
        match self {
            Self::Stream(at) => format!("breaks the rules of its deflate stream after {at} bytes"),
            Self::Short(at) => format!("ends in the middle of its deflate stream, after {at} bytes"),
            Self::Checksum => "does not unpack to what its checksum says".to_owned(),
            Self::Length => "does not unpack to the length that it says".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn pack(text: &[u8]) -> Vec<u8> {
        let mut packer = flate2::GzBuilder::new().filename("a").comment("b").extra("cd").write(Vec::new(), Compression::default());
        packer.write_all(text).expect("memory");
        packer.finish().expect("memory")
    }

    fn unpacked(bytes: &[u8]) -> (Result<(), Broken>, Vec<u8>) {
        let mut out = Vec::new();
        (unpack(bytes, &mut |piece| out.extend_from_slice(piece)), out)
    }

    #[test]
    fn members_are_unpacked_one_after_the_other_and_what_follows_is_left_alone() {
        let two = [pack(b"hello "), pack(b"world"), b"tail".to_vec()].concat();
        assert_eq!(unpacked(&two), (Ok(()), b"hello world".to_vec()));
        let long = vec![b'x'; 100_000];
        assert_eq!(unpacked(&pack(&long)), (Ok(()), long));
        assert_eq!(unpacked(b""), (Ok(()), vec![]));
    }

    #[test]
    fn damage_is_told_by_what_it_breaks() {
        let whole = pack(&(0..2000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        let check = |bytes: &[u8], expect: Broken| assert_eq!(unpacked(bytes).0, Err(expect));
        check(&whole[..whole.len() / 2], Broken::Short(whole.len() as u64 / 2));
        check(&whole[..5], Broken::Short(5));
        let changed = |from_the_end: usize| {
            let mut bytes = whole.clone();
            let at = bytes.len() - from_the_end;
            bytes[at] ^= 0x55;
            bytes
        };
        check(&changed(8), Broken::Checksum);
        check(&changed(4), Broken::Length);
        assert!(unpacked(&[&whole[..18], &[0xff; 64]].concat()).0.is_err());
        assert_eq!(unpacked(&whole[..whole.len() - 8]).0, Ok(()), "a trailer that is missing harms nobody");
    }

    #[test]
    fn a_bomb_is_let_go() {
        let bomb = pack(&vec![0; 3 * MOST as usize]);
        let (said, out) = unpacked(&bomb);
        assert_eq!(said, Ok(()));
        assert!(out.len() as u64 <= MOST + PIECE as u64);
    }

    proptest! {
        #[test]
        fn what_is_packed_is_sound_and_no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..3000), noise in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(unpacked(&pack(&text)), (Ok(()), text));
            let _ = unpacked(&[&BEGIN[..], &noise].concat());
        }
    }
}
