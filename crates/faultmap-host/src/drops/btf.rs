//! The kernel's description of its own types (BTF, Documentation/bpf/btf.rst): where a member lies, what an enum's values are
//! called, which arguments a tracepoint has. Pure; whatever the bytes, it ends and never panics. Never opens a file.

use std::ops::Range;

const MAGIC: u16 = 0xeb9f;
/// `struct btf_header` of version 1.
const HEADER_LEN: usize = 24;
/// `struct btf_type`.
const TYPE_LEN: usize = 12;
/// A distribution's kernel has some 150,000.
const TYPES_MAX: usize = 4_000_000;
/// Anonymous structs and unions within each other, and chains of typedefs and qualifiers: the kernel's own limit for the
/// latter is 32 (`MAX_RESOLVE_DEPTH`, kernel/bpf/btf.c).
const DEPTH_MAX: usize = 32;
/// Members looked at for one name: `struct net_device` has some 200.
const MEMBERS_MAX: u32 = 20_000;

/// Why bytes are no description that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Another magic number, byte order or version.
    #[error("no BTF of this machine's byte order and of version 1")]
    Foreign,
    /// A part lies outside the bytes.
    #[error("BTF is cut short")]
    CutShort,
    /// A kind of type whose length nobody told us.
    #[error("BTF has a type of kind {0}, newer than this program")]
    NewKind(u32),
    /// More types than any kernel has.
    #[error("BTF has more than {TYPES_MAX} types")]
    TooMany,
}

/// `BTF_KIND_*`, those that we take apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Pointer,
    Struct,
    Union,
    Enum,
    Enum64,
    Typedef,
    FuncProto,
    /// `volatile`, `const`, `restrict` and type tags: the type behind is the same.
    Qualifier,
    Other,
}

impl Kind {
    fn of(number: u32) -> Self {
        match number {
            1 => Self::Int,
            2 => Self::Pointer,
            4 => Self::Struct,
            5 => Self::Union,
            6 => Self::Enum,
            8 => Self::Typedef,
            9..=11 | 18 => Self::Qualifier,
            13 => Self::FuncProto,
            19 => Self::Enum64,
            _ => Self::Other,
        }
    }
}

/// Bytes behind `struct btf_type`, by kind and number of elements.
fn tail_len(kind: u32, elements: usize) -> Option<usize> {
    match kind {
        1 | 14 | 17 => Some(4),
        3 => Some(12),
        4 | 5 | 15 | 19 => elements.checked_mul(12),
        6 | 13 => elements.checked_mul(8),
        2 | 7..=12 | 16 | 18 => Some(0),
        _ => None,
    }
}

/// One type of the description.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type<'a> {
    pub(super) kind: Kind,
    name: u32,
    /// Bytes for structs, unions, integers and enums; another type's number for the rest.
    size_or_type: u32,
    /// Bit 31 of `info`: members carry bit-field sizes; enumerators are signed.
    flag: bool,
    tail: &'a [u8],
}

/// Where a member lies within the struct that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// Bytes from the start of the struct.
    pub(super) offset: u32,
    /// The number of its type.
    pub(super) type_id: u32,
}

/// A description, checked in its outline.
#[derive(Debug)]
pub(super) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type starts in `types`; the first is number 1.
    starts: Vec<u32>,
    /// Structs, enums and typedefs with their names and numbers: a fifth of all, and the only ones that we look for by name.
    named: Vec<Named>,
}

/// Kind, place of the name, number.
type Named = (Kind, u32, u32);

impl<'a> Btf<'a> {
    /// Reads header and outline.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let magic = bytes.first_chunk().map(|magic| u16::from_ne_bytes(*magic)).ok_or(BtfError::CutShort)?;
        if magic != MAGIC || bytes.get(2) != Some(&1) {
            return Err(BtfError::Foreign);
        }
        let word = |offset| u32_at(bytes, offset).map(|word| word as usize).ok_or(BtfError::CutShort);
        let header_len = word(4)?;
        if header_len < HEADER_LEN {
            return Err(BtfError::CutShort);
        }
        let part = |from: usize, len: usize| -> Option<&'a [u8]> {
            let from = header_len.checked_add(from)?;
            bytes.get(Range { start: from, end: from.checked_add(len)? })
        };
        let types = part(word(8)?, word(12)?).ok_or(BtfError::CutShort)?;
        let strings = part(word(16)?, word(20)?).ok_or(BtfError::CutShort)?;
        let (starts, named) = outline(types)?;
        Ok(Self { types, strings, starts, named })
    }

    /// The first type of this kind and name, with its number.
    pub(super) fn named(&self, kind: Kind, name: &str) -> Option<(u32, Type<'a>)> {
        let (_, _, id) = self.named.iter().find(|(found, at, _)| *found == kind && self.name_is(*at, name))?;
        Some((*id, self.get(*id)?))
    }

    /// The type of this number; 0 is `void`, which is none.
    fn get(&self, id: u32) -> Option<Type<'a>> {
        let start = *self.starts.get(usize::try_from(id).ok()?.checked_sub(1)?)? as usize;
        type_at(self.types, start).ok().map(|(found, _)| found)
    }

    /// The type itself, behind typedefs and qualifiers.
    pub(super) fn resolve(&self, mut id: u32) -> Option<Type<'a>> {
        for _ in 0..DEPTH_MAX {
            let found = self.get(id)?;
            if !matches!(found.kind, Kind::Typedef | Kind::Qualifier) {
                return Some(found);
            }
            id = found.size_or_type;
        }
        None
    }

    /// What a pointer points to, behind typedefs and qualifiers. `Some(None)`: to `void`.
    fn pointee(&self, id: u32) -> Option<Option<Type<'a>>> {
        let pointer = self.resolve(id).filter(|found| found.kind == Kind::Pointer)?;
        Some(self.resolve(pointer.size_or_type))
    }

    /// It is a pointer to the struct of this name.
    pub(super) fn points_to_struct(&self, id: u32, name: &str) -> bool {
        let target = self.pointee(id).flatten();
        target.is_some_and(|found| found.kind == Kind::Struct && self.name_is(found.name, name))
    }

    /// It is a pointer to nothing in particular.
    pub(super) fn points_to_void(&self, id: u32) -> bool {
        self.pointee(id).is_some_and(|target| target.is_none())
    }

    /// It is the enum of this name.
    pub(super) fn is_enum(&self, id: u32, name: &str) -> bool {
        let found = self.resolve(id);
        found.is_some_and(|found| matches!(found.kind, Kind::Enum | Kind::Enum64) && self.name_is(found.name, name))
    }

    /// The size of an integer, enum, struct or pointer, in bytes.
    pub(super) fn size(&self, id: u32) -> Option<u32> {
        let found = self.resolve(id)?;
        match found.kind {
            Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Struct | Kind::Union => Some(found.size_or_type),
            Kind::Pointer => u32::try_from(size_of::<usize>()).ok(),
            Kind::FuncProto | Kind::Typedef | Kind::Qualifier | Kind::Other => None,
        }
    }

    /// The member of a named struct, also when it lies within anonymous structs and unions. Bit-fields are none.
    pub(super) fn member(&self, of: &str, name: &str) -> Option<Member> {
        let (_, outer) = self.named(Kind::Struct, of)?;
        self.member_within(outer, name, 0, (DEPTH_MAX, &mut { MEMBERS_MAX }))
    }

    /// The member of the struct of this number (behind typedefs and qualifiers).
    pub(super) fn member_of(&self, id: u32, name: &str) -> Option<Member> {
        self.member_within(self.resolve(id)?, name, 0, (DEPTH_MAX, &mut { MEMBERS_MAX }))
    }

    /// `left`: how deep and how many members to look at. Structs that hold themselves many times over would else not end.
    fn member_within(&self, outer: Type<'a>, wanted: &str, base_bits: u32, left: (usize, &mut u32)) -> Option<Member> {
        let (depth, members) = left;
        if depth == 0 || !matches!(outer.kind, Kind::Struct | Kind::Union) {
            return None;
        }
        for (name, type_id, place) in elements12(outer.tail) {
            *members = members.checked_sub(1)?;
            let (bits, field) = if outer.flag { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
            let bits = base_bits.checked_add(bits)?;
            if name == 0 {
                let inner = self.resolve(type_id).filter(|inner| matches!(inner.kind, Kind::Struct | Kind::Union));
                if let Some(found) = inner.and_then(|inner| self.member_within(inner, wanted, bits, (depth - 1, members))) {
                    return Some(found);
                }
            } else if self.name_is(name, wanted) {
                return (field == 0 && bits % 8 == 0).then_some(Member { offset: bits / 8, type_id });
            }
        }
        None
    }

    /// The enumerators, with the low 32 bits of their values.
    pub(super) fn enumerators(&self, name: &str) -> Vec<(u32, &'a str)> {
        if let Some((_, found)) = self.named(Kind::Enum, name) {
            return found.tail.chunks_exact(8).filter_map(|one| Some((u32_at(one, 4)?, self.text(u32_at(one, 0)?)?))).collect();
        }
        let Some((_, found)) = self.named(Kind::Enum64, name) else { return Vec::new() };
        elements12(found.tail).filter_map(|(name, low, _)| Some((low, self.text(name)?))).collect()
    }

    /// The types of the arguments that a raw tracepoint hands on. The kernel has a `typedef void (*btf_trace_NAME)(void *, …)`
    /// for each (`__DEFINE_EVENT`, include/trace/bpf_probe.h); the first argument there is the tracer's own and left out.
    pub(super) fn tracepoint(&self, name: &str) -> Option<Vec<u32>> {
        let (id, _) = self.named(Kind::Typedef, &format!("btf_trace_{name}"))?;
        let function = self.pointee(id).flatten().filter(|found| found.kind == Kind::FuncProto)?;
        Some(function.tail.chunks_exact(8).skip(1).filter_map(|one| u32_at(one, 4)).collect())
    }

    fn text(&self, offset: u32) -> Option<&'a str> {
        let rest = self.strings.get(offset as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(rest.get(..end)?).ok()
    }

    fn name_is(&self, offset: u32, wanted: &str) -> bool {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Where each type starts, and those that have a name worth looking for.
fn outline(types: &[u8]) -> Result<(Vec<u32>, Vec<Named>), BtfError> {
    let mut starts = Vec::with_capacity((types.len() / 24).min(TYPES_MAX));
    let mut named = Vec::new();
    let mut at = 0;
    while at < types.len() {
        if starts.len() >= TYPES_MAX {
            return Err(BtfError::TooMany);
        }
        starts.push(u32::try_from(at).map_err(|_| BtfError::TooMany)?);
        let (found, next) = type_at(types, at)?;
        if found.name != 0 && matches!(found.kind, Kind::Struct | Kind::Enum | Kind::Enum64 | Kind::Typedef) {
            named.push((found.kind, found.name, u32::try_from(starts.len()).map_err(|_| BtfError::TooMany)?));
        }
        at = next;
    }
    Ok((starts, named))
}

/// The type at this byte, and the byte behind it.
fn type_at(types: &[u8], start: usize) -> Result<(Type<'_>, usize), BtfError> {
    let rest = types.get(start..).unwrap_or_default();
    let word = |offset| u32_at(rest, offset).ok_or(BtfError::CutShort);
    let (name, info, size_or_type) = (word(0)?, word(4)?, word(8)?);
    let (number, elements) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
    let len = tail_len(number, elements).ok_or(BtfError::NewKind(number))?;
    let tail = rest.get(TYPE_LEN..TYPE_LEN + len).ok_or(BtfError::CutShort)?;
    let found = Type { kind: Kind::of(number), name, size_or_type, flag: info >> 31 == 1, tail };
    Ok((found, start + TYPE_LEN + len))
}

/// Elements of three words: members, and enumerators of 64 bits.
fn elements12(tail: &[u8]) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
    tail.chunks_exact(12).filter_map(|one| Some((u32_at(one, 0)?, u32_at(one, 4)?, u32_at(one, 8)?)))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    crate::netlink::u32_at(bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::super::btf_writer::{Writer, kernel};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_member_within_an_anonymous_union_of_structs_is_found_at_its_own_place() {
        let bytes = kernel().bytes();
        let btf = Btf::parse(&bytes).expect("a description");
        let dev = btf.member("sk_buff", "dev").expect("a member");
        assert_eq!(dev.offset, 16);
        assert!(btf.points_to_struct(dev.type_id, "net_device") && !btf.points_to_void(dev.type_id));
        assert_eq!(btf.member("sk_buff", "nobody"), None);
        assert_eq!(btf.member("nobody", "dev"), None);
    }

    #[test]
    fn typedefs_and_qualifiers_are_looked_through() {
        let bytes = kernel().bytes();
        let btf = Btf::parse(&bytes).expect("a description");
        let protocol = btf.member("sk_buff", "protocol").expect("a member");
        assert_eq!(btf.size(protocol.type_id), Some(2));
        let net = btf.member("net_device", "nd_net").and_then(|nd_net| btf.member_of(nd_net.type_id, "net")).expect("a member");
        assert_eq!((net.offset, btf.points_to_struct(net.type_id, "net")), (0, true));
    }

    #[test]
    fn a_bit_field_has_no_address() {
        let mut writer = Writer::default();
        let byte = writer.int("__u8", 1);
        writer.bit_fields("sock_common", 4, &[("skc_reuse", byte, 3, 4), ("skc_state", byte, 8, 0)]);
        let bytes = writer.bytes();
        let btf = Btf::parse(&bytes).expect("a description");
        assert_eq!(btf.member("sock_common", "skc_reuse"), None);
        assert_eq!(btf.member("sock_common", "skc_state").map(|state| state.offset), Some(1));
    }

    #[test]
    fn a_typedef_that_leads_to_itself_ends() {
        let mut writer = Writer::default();
        let own = writer.next();
        writer.typedef("loop", own);
        writer.structure("outer", 8, &[("", own, 0), ("x", own, 0)]);
        let bytes = writer.bytes();
        let btf = Btf::parse(&bytes).expect("a description");
        assert!(btf.resolve(own).is_none() && btf.member("outer", "y").is_none());
    }

    #[test]
    fn a_struct_within_itself_ends() {
        let mut writer = Writer::default();
        let own = writer.next();
        writer.structure("outer", 8, &[("", own, 0); 9]);
        let bytes = writer.bytes();
        assert!(Btf::parse(&bytes).expect("a description").member("outer", "y").is_none());
    }

    #[test]
    fn other_byte_orders_and_newer_kinds_are_told() {
        assert_eq!(Btf::parse(&[]).err(), Some(BtfError::CutShort));
        assert_eq!(Btf::parse(&[0; 64]).err(), Some(BtfError::Foreign));
        let mut writer = Writer::default();
        writer.raw(0, 31 << 24, 0, &[]);
        assert_eq!(Btf::parse(&writer.bytes()).err(), Some(BtfError::NewKind(31)));
    }

    proptest! {
        #[test]
        fn any_bytes_behind_a_header_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), strings in 0_u32..64) {
            let mut whole = kernel().bytes();
            whole.truncate(HEADER_LEN);
            let types = u32::try_from(bytes.len()).unwrap_or(0).saturating_sub(strings);
            for (at, word) in [(8, 0), (12, types), (16, types), (20, strings)] {
                whole[at..at + 4].copy_from_slice(&word.to_ne_bytes());
            }
            whole.extend(bytes);
            if let Ok(btf) = Btf::parse(&whole) {
                for id in 0..40 {
                    let _ = (btf.resolve(id), btf.size(id), btf.points_to_void(id), btf.member_of(id, "x"));
                }
                let _ = (btf.tracepoint("kfree_skb"), btf.enumerators("skb_drop_reason"));
            }
        }
    }
}
