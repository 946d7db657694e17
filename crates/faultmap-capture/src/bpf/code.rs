//! A tree of tests to instructions. Every jump leads forward; where one leads further than 255 instructions, it goes by way of an unconditional one.

use super::Instruction;
use super::lower::{Load, Op, Test, Tree};

/// Bytes of a frame to keep: all.
const TAKE: u32 = 0x40000;

/// `linux/bpf_common.h`.
mod op {
    pub(super) const LOAD_WORD: u16 = 0x20;
    pub(super) const LOAD_HALF: u16 = 0x28;
    pub(super) const LOAD_BYTE: u16 = 0x30;
    pub(super) const LOAD_HALF_AT_X: u16 = 0x48;
    pub(super) const LOAD_LEN: u16 = 0x80;
    /// X = 4 × (low half of the byte): the length of an IPv4 header.
    pub(super) const X_IPV4_LEN: u16 = 0xb1;
    pub(super) const AND: u16 = 0x54;
    pub(super) const JUMP: u16 = 0x05;
    pub(super) const JUMP_EQUAL: u16 = 0x15;
    pub(super) const JUMP_MORE: u16 = 0x25;
    pub(super) const JUMP_AT_LEAST: u16 = 0x35;
    pub(super) const RETURN: u16 = 0x06;
    /// `SKF_AD_OFF + SKF_AD_PROTOCOL`.
    pub(super) const PROTOCOL: u32 = 0xffff_f000;
    /// `SKF_AD_OFF + SKF_AD_VLAN_TAG`.
    pub(super) const TAG: u32 = 0xffff_f000 + 44;
    /// `SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT`.
    pub(super) const HAS_TAG: u32 = 0xffff_f000 + 48;
}

/// A place in the program that jumps lead to.
type Label = usize;

enum Item {
    Plain(u16, u32),
    /// A comparison: where to if it holds, and where if not.
    Branch(u16, u32, Label, Label),
    Here(Label),
    /// Where nothing is left to test.
    Go(Label),
}

struct Generator {
    items: Vec<Item>,
    labels: usize,
}

pub(super) fn generate(tree: &Tree) -> Vec<Instruction> {
    let mut generator = Generator { items: Vec::new(), labels: 0 };
    let (take, leave) = (generator.label(), generator.label());
    generator.emit(tree, take, leave);
    generator.items.extend([Item::Here(take), Item::Plain(op::RETURN, TAKE), Item::Here(leave), Item::Plain(op::RETURN, 0)]);
    generator.placed()
}

impl Generator {
    fn label(&mut self) -> Label {
        self.labels += 1;
        self.labels - 1
    }

    fn emit(&mut self, tree: &Tree, yes: Label, no: Label) {
        match tree {
            Tree::Not(inner) => self.emit(inner, no, yes),
            Tree::Test(test) => self.test(test, yes, no),
            Tree::All(parts) => self.chain(parts, yes, no, true),
            Tree::Any(parts) => self.chain(parts, yes, no, false),
        }
    }

    /// Each part but the last goes on to the next: if it holds in a chain of `and`s, if not in one of `or`s.
    fn chain(&mut self, parts: &[Tree], yes: Label, no: Label, all: bool) {
        let Some((last, before)) = parts.split_last() else {
            self.items.push(Item::Go(if all { yes } else { no }));
            return;
        };
        for part in before {
            let next = self.label();
            let (yes, no) = if all { (next, no) } else { (yes, next) };
            self.emit(part, yes, no);
            self.items.push(Item::Here(next));
        }
        self.emit(last, yes, no);
    }

    fn test(&mut self, test: &Test, yes: Label, no: Label) {
        match test.load {
            Load::Byte(at) => self.items.push(Item::Plain(op::LOAD_BYTE, at)),
            Load::Half(at) => self.items.push(Item::Plain(op::LOAD_HALF, at)),
            Load::Word(at) => self.items.push(Item::Plain(op::LOAD_WORD, at)),
            Load::HalfBehindIpv4(header, behind) => {
                self.items.extend([Item::Plain(op::X_IPV4_LEN, header), Item::Plain(op::LOAD_HALF_AT_X, header + behind)]);
            }
            Load::Protocol => self.items.push(Item::Plain(op::LOAD_HALF, op::PROTOCOL)),
            Load::Len => self.items.push(Item::Plain(op::LOAD_LEN, 0)),
            Load::Tag => self.items.push(Item::Plain(op::LOAD_HALF, op::TAG)),
            Load::HasTag => self.items.push(Item::Plain(op::LOAD_BYTE, op::HAS_TAG)),
        }
        if test.mask != u32::MAX {
            self.items.push(Item::Plain(op::AND, test.mask));
        }
        let code = match test.op {
            Op::Equal => op::JUMP_EQUAL,
            Op::More => op::JUMP_MORE,
            Op::AtLeast => op::JUMP_AT_LEAST,
        };
        self.items.push(Item::Branch(code, test.k, yes, no));
    }

    /// Turns labels into distances. A comparison that leads too far takes three instructions; that moves others, so this is repeated until nothing moves.
    fn placed(&self) -> Vec<Instruction> {
        let mut long = vec![false; self.items.len()];
        loop {
            let places = self.places(&long);
            let too_far = |at: usize, label: &Label, start: usize| {
                let distance = places.labels.get(*label).map_or(0, |place| place.saturating_sub(start + 1));
                distance > usize::from(u8::MAX) && !long.get(at).copied().unwrap_or(true)
            };
            let far: Vec<usize> = self
                .items
                .iter()
                .enumerate()
                .filter_map(|(at, item)| {
                    let start = places.items.get(at).copied().unwrap_or_default();
                    matches!(item, Item::Branch(_, _, yes, no) if too_far(at, yes, start) || too_far(at, no, start)).then_some(at)
                })
                .collect();
            if far.is_empty() {
                return self.written(&places, &long);
            }
            far.into_iter().for_each(|at| long.iter_mut().skip(at).take(1).for_each(|long| *long = true));
        }
    }

    fn places(&self, long: &[bool]) -> Places {
        let mut places = Places { labels: vec![0; self.labels], items: Vec::with_capacity(self.items.len()) };
        let mut at = 0;
        for (item, long) in self.items.iter().zip(long) {
            places.items.push(at);
            match item {
                Item::Here(label) => places.labels.iter_mut().skip(*label).take(1).for_each(|place| *place = at),
                Item::Branch(..) if *long => at += 3,
                _ => at += 1,
            }
        }
        places
    }

    fn written(&self, places: &Places, long: &[bool]) -> Vec<Instruction> {
        let mut out = Vec::new();
        let to = |label: &Label, from: usize| places.labels.get(*label).map_or(0, |place| place.saturating_sub(from + 1)) as u32;
        let go = |k| Instruction { code: op::JUMP, jt: 0, jf: 0, k };
        for (item, long) in self.items.iter().zip(long) {
            let at = out.len();
            match item {
                Item::Here(_) => {}
                Item::Plain(code, k) => out.push(Instruction { code: *code, jt: 0, jf: 0, k: *k }),
                Item::Go(label) => out.push(go(to(label, at))),
                Item::Branch(code, k, yes, no) if *long => {
                    out.push(Instruction { code: *code, jt: 0, jf: 1, k: *k });
                    out.extend([go(to(yes, at + 1)), go(to(no, at + 2))]);
                }
                Item::Branch(code, k, yes, no) => {
                    let near = |label| u8::try_from(to(label, at)).unwrap_or(u8::MAX);
                    out.push(Instruction { code: *code, jt: near(yes), jf: near(no), k: *k });
                }
            }
        }
        out
    }
}

/// The instruction at which each label and each item stands.
struct Places {
    labels: Vec<usize>,
    items: Vec<usize>,
}
