//! Puts BPF instructions together (Documentation/bpf/standardization/instruction-set.rst): the few that we use, and labels. Pure.

/// A register. R0 holds answers, R1 to R5 arguments (a call spoils all six), R6 to R9 are kept, R10 is the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// Bytes that a load or a store moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Byte = 0x10,
    Half = 0x08,
    Word = 0x00,
    Double = 0x18,
}

/// `BPF_FUNC_*` of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helper {
    MapLookup = 1,
    MapUpdate = 2,
    ProbeReadKernel = 113,
    Snprintf = 165,
}

/// When a jump is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Equal = 0x10,
    Above = 0x20,
    AnyBitOf = 0x40,
    Differs = 0x50,
    Below = 0xa0,
}

/// A place that jumps lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Why a program could not be put together: a fault of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssemblerError {
    /// A label that jumps lead to stands nowhere.
    #[error("a jump of our BPF program leads nowhere")]
    NoPlace,
    /// Longer than a jump reaches.
    #[error("a jump of our BPF program is too long")]
    TooFar,
}

const WORD: usize = 8;
const REG_SOURCE: u8 = 0x08;
/// Where `ld_imm64` finds its value: the number of a map, or an address within a map's only value.
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;

/// A program as it grows.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Vec<[u8; WORD]>,
    /// Where each label stands.
    places: Vec<Option<usize>>,
    /// Jumps whose distance is filled in at the end.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// The label stands before the next instruction.
    pub(super) fn place(&mut self, label: Label) {
        let here = self.code.len();
        if let Some(place) = self.places.get_mut(label.0) {
            *place = Some(here);
        }
    }

    fn emit(&mut self, op: u8, dst: Reg, src: u8, offset: i16, imm: i32) {
        let registers = if cfg!(target_endian = "little") { (src << 4) | dst as u8 } else { ((dst as u8) << 4) | src };
        let [o0, o1] = offset.to_ne_bytes();
        let [i0, i1, i2, i3] = imm.to_ne_bytes();
        self.code.push([op, registers, o0, o1, i0, i1, i2, i3]);
    }

    pub(super) fn copy(&mut self, dst: Reg, src: Reg) {
        self.emit(0xb7 | REG_SOURCE, dst, src as u8, 0, 0);
    }

    pub(super) fn set(&mut self, dst: Reg, value: i32) {
        self.emit(0xb7, dst, 0, 0, value);
    }

    pub(super) fn add(&mut self, dst: Reg, value: i32) {
        self.emit(0x07, dst, 0, 0, value);
    }

    pub(super) fn add_reg(&mut self, dst: Reg, src: Reg) {
        self.emit(0x07 | REG_SOURCE, dst, src as u8, 0, 0);
    }

    pub(super) fn subtract_reg(&mut self, dst: Reg, src: Reg) {
        self.emit(0x17 | REG_SOURCE, dst, src as u8, 0, 0);
    }

    pub(super) fn and(&mut self, dst: Reg, mask: i32) {
        self.emit(0x57, dst, 0, 0, mask);
    }

    pub(super) fn shift_left(&mut self, dst: Reg, bits: i32) {
        self.emit(0x67, dst, 0, 0, bits);
    }

    pub(super) fn shift_right(&mut self, dst: Reg, bits: i32) {
        self.emit(0x77, dst, 0, 0, bits);
    }

    /// `dst = *(src + offset)`
    pub(super) fn load(&mut self, width: Width, dst: Reg, src: Reg, offset: i16) {
        self.emit(0x61 | width as u8, dst, src as u8, offset, 0);
    }

    /// `*(dst + offset) = src`
    pub(super) fn store(&mut self, width: Width, dst: Reg, offset: i16, src: Reg) {
        self.emit(0x63 | width as u8, dst, src as u8, offset, 0);
    }

    /// `*(dst + offset) = value`
    pub(super) fn store_value(&mut self, width: Width, dst: Reg, offset: i16, value: i32) {
        self.emit(0x62 | width as u8, dst, 0, offset, value);
    }

    /// `*(u64 *)(dst + offset) += src`, whoever else does so at the same time.
    pub(super) fn atomic_add(&mut self, dst: Reg, offset: i16, src: Reg) {
        self.emit(0xdb, dst, src as u8, offset, 0);
    }

    /// The map behind a descriptor.
    pub(super) fn map(&mut self, dst: Reg, fd: i32) {
        self.emit(0x18, dst, PSEUDO_MAP_FD, 0, fd);
        self.emit(0, Reg::R0, 0, 0, 0);
    }

    /// An address within the first value of an array.
    pub(super) fn map_value(&mut self, dst: Reg, fd: i32, offset: i32) {
        self.emit(0x18, dst, PSEUDO_MAP_VALUE, 0, fd);
        self.emit(0, Reg::R0, 0, 0, offset);
    }

    pub(super) fn call(&mut self, helper: Helper) {
        self.emit(0x85, Reg::R0, 0, 0, helper as i32);
    }

    pub(super) fn exit(&mut self) {
        self.emit(0x95, Reg::R0, 0, 0, 0);
    }

    pub(super) fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(0x05, Reg::R0, 0, 0, 0);
    }

    /// Compares 64 bits with a value (extended by its sign).
    pub(super) fn jump_if(&mut self, when: When, reg: Reg, value: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(0x05 | when as u8, reg, 0, 0, value);
    }

    /// Compares 64 bits of two registers.
    pub(super) fn jump_if_reg(&mut self, when: When, reg: Reg, other: Reg, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(0x05 | REG_SOURCE | when as u8, reg, other as u8, 0, 0);
    }

    /// Compares the lower 32 bits with a value.
    pub(super) fn jump_if_word(&mut self, when: When, reg: Reg, value: u32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.emit(0x06 | when as u8, reg, 0, 0, value.cast_signed());
    }

    /// The instructions, with every jump filled in.
    pub(super) fn finish(mut self) -> Result<Vec<[u8; WORD]>, AssemblerError> {
        for (at, label) in &self.jumps {
            let place = self.places.get(label.0).copied().flatten().ok_or(AssemblerError::NoPlace)?;
            let distance = i64::try_from(place).ok().zip(i64::try_from(*at).ok()).map(|(to, from)| to - from - 1);
            let distance = distance.and_then(|distance| i16::try_from(distance).ok()).ok_or(AssemblerError::TooFar)?;
            let jump = self.code.get_mut(*at).ok_or(AssemblerError::NoPlace)?;
            jump[2..4].copy_from_slice(&distance.to_ne_bytes());
        }
        Ok(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_count_from_the_instruction_behind_them() {
        let mut code = Assembler::default();
        let (start, end) = (code.label(), code.label());
        code.place(start);
        code.jump_if(When::Equal, Reg::R1, 0, end);
        code.jump(start);
        code.place(end);
        code.exit();
        let code = code.finish().expect("a program");
        assert_eq!(code[0], [0x15, 0x01, 1, 0, 0, 0, 0, 0]);
        assert_eq!(code[1], [0x05, 0x00, 0xfe, 0xff, 0, 0, 0, 0]);
    }

    #[test]
    fn a_label_without_a_place_is_told() {
        let mut code = Assembler::default();
        let nowhere = code.label();
        code.jump(nowhere);
        assert_eq!(code.finish(), Err(AssemblerError::NoPlace));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn loads_stores_and_maps_are_encoded_as_the_kernel_reads_them() {
        let mut code = Assembler::default();
        code.load(Width::Half, Reg::R3, Reg::R10, -24);
        code.store(Width::Double, Reg::R10, -8, Reg::R7);
        code.map_value(Reg::R4, 5, 16);
        code.atomic_add(Reg::R0, 0, Reg::R1);
        let code = code.finish().expect("a program");
        assert_eq!(code[0], [0x69, 0xa3, 0xe8, 0xff, 0, 0, 0, 0]);
        assert_eq!(code[1], [0x7b, 0x7a, 0xf8, 0xff, 0, 0, 0, 0]);
        assert_eq!(code[2..4], [[0x18, 0x24, 0, 0, 5, 0, 0, 0], [0, 0, 0, 0, 16, 0, 0, 0]]);
        assert_eq!(code[4], [0xdb, 0x10, 0, 0, 0, 0, 0, 0]);
    }
}
