//! The system call `bpf(2)`, as far as a count of drops needs it: make a map, write and read it, load a program, attach it to a raw
//! tracepoint. Each object lives as long as its descriptor; the kernel lets go of all when the last is closed. Interprets nothing.

use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

// linux/bpf.h, enum bpf_cmd.
const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_MAP_FREEZE: libc::c_long = 22;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
/// The program may only read the map (`BPF_F_RDONLY_PROG`).
const READ_ONLY_FOR_PROGRAMS: u32 = 1 << 7;
/// Longer than every command's part of `union bpf_attr` that is used here; the kernel takes the rest if it is zero.
const ATTR_LEN: usize = 72;
/// The kernel's verifier tells why in as many bytes.
const LOG_LEN: usize = 64 * 1024;
/// Reading the kernel's memory is for programs under a licence that goes with the GPL (`gpl_only` of the helpers). It concerns
/// these instructions only, which are offered under both.
const LICENSE: &CStr = c"Dual MIT/GPL";

/// The kernel refused a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// What was asked.
    pub(super) operation: &'static str,
    pub(super) errno: Errno,
    /// The last line of the verifier, if it spoke.
    pub(super) detail: Option<String>,
}

/// What kind of map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MapKind {
    Hash = 1,
    Array = 2,
    /// A hash that forgets what was not used for longest when it is full.
    LruHash = 9,
}

/// Sizes of a map, in bytes and entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MapShape {
    pub(super) kind: MapKind,
    pub(super) key_len: usize,
    pub(super) value_len: usize,
    pub(super) entries: u32,
}

/// A map in the kernel.
#[derive(Debug)]
pub(super) struct Map {
    fd: OwnedFd,
    shape: MapShape,
}

/// `union bpf_attr`, filled by offsets.
struct Attr([u8; ATTR_LEN]);

impl Attr {
    fn new() -> Self {
        Self([0; ATTR_LEN])
    }

    fn with(mut self, offset: usize, bytes: &[u8]) -> Self {
        if let Some(place) = self.0.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self
    }

    fn word(self, offset: usize, value: u32) -> Self {
        self.with(offset, &value.to_ne_bytes())
    }

    fn descriptor(self, offset: usize, fd: RawFd) -> Self {
        self.with(offset, &fd.to_ne_bytes())
    }

    /// Pointers are 64 bits wide on every machine.
    fn pointer<T>(self, offset: usize, to: *const T) -> Self {
        self.with(offset, &(to.expose_provenance() as u64).to_ne_bytes())
    }

    /// # Safety
    /// Every pointer within must be good for what `command` does with it, for the length of the call.
    #[allow(unsafe_code)]
    unsafe fn call(&mut self, command: libc::c_long) -> Result<libc::c_int, Errno> {
        // SAFETY: the attribute is as long as told and outlives the call; the caller answers for the pointers within.
        let answer = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), ATTR_LEN) };
        Errno::result(answer).map(|answer| libc::c_int::try_from(answer).unwrap_or(-1))
    }

    /// For commands that answer with a new descriptor.
    ///
    /// # Safety
    /// As [`Attr::call`], and the command must be such a one.
    #[allow(unsafe_code)]
    unsafe fn open(&mut self, command: libc::c_long) -> Result<OwnedFd, Errno> {
        // SAFETY: the caller answers for the pointers; on success the descriptor is new and nobody else's.
        unsafe { self.call(command).map(|fd| OwnedFd::from_raw_fd(fd)) }
    }
}

impl Map {
    /// Makes a map. `read_only`: for programs; it can be written until it is frozen.
    #[allow(unsafe_code)]
    pub(super) fn create(shape: MapShape, read_only: bool) -> Result<Self, Refused> {
        let word = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let mut attr = Attr::new()
            .word(0, shape.kind as u32)
            .word(4, word(shape.key_len))
            .word(8, word(shape.value_len))
            .word(12, shape.entries)
            .word(16, if read_only { READ_ONLY_FOR_PROGRAMS } else { 0 })
            .with(28, b"faultmap_drops");
        // SAFETY: BPF_MAP_CREATE answers with a descriptor; no pointer is within.
        let fd = unsafe { attr.open(BPF_MAP_CREATE) }.map_err(refused("BPF_MAP_CREATE"))?;
        Ok(Self { fd, shape })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Writes the first value of an array, and forbids any further writing from here.
    #[allow(unsafe_code)]
    pub(super) fn fill_and_freeze(&self, value: &[u8]) -> Result<(), Refused> {
        let key = vec![0_u8; self.shape.key_len];
        if value.len() != self.shape.value_len {
            return Err(refused("BPF_MAP_UPDATE_ELEM")(Errno::EINVAL));
        }
        let mut attr = Attr::new().descriptor(0, self.fd()).pointer(8, key.as_ptr()).pointer(16, value.as_ptr());
        // SAFETY: key and value are as long as the map was made for, and outlive the call, which only reads them.
        unsafe { attr.call(BPF_MAP_UPDATE_ELEM) }.map_err(refused("BPF_MAP_UPDATE_ELEM"))?;
        let mut attr = Attr::new().descriptor(0, self.fd());
        // SAFETY: no pointer is within.
        unsafe { attr.call(BPF_MAP_FREEZE) }.map_err(refused("BPF_MAP_FREEZE"))?;
        Ok(())
    }

    /// The first value of an array.
    #[allow(unsafe_code)]
    pub(super) fn first(&self) -> Result<Vec<u8>, Refused> {
        let key = vec![0_u8; self.shape.key_len];
        let mut value = vec![0_u8; self.shape.value_len];
        let mut attr = Attr::new().descriptor(0, self.fd()).pointer(8, key.as_ptr()).pointer(16, value.as_mut_ptr());
        // SAFETY: key and value are as long as the map was made for, and outlive the call, which reads one and writes the other.
        unsafe { attr.call(BPF_MAP_LOOKUP_ELEM) }.map_err(refused("BPF_MAP_LOOKUP_ELEM"))?;
        Ok(value)
    }

    /// Every key and value of a hash, with one call: `each` sees them in no order.
    #[allow(unsafe_code)]
    pub(super) fn each(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Refused> {
        let entries = self.shape.entries as usize;
        let mut keys = vec![0_u8; self.shape.key_len * entries];
        let mut values = vec![0_u8; self.shape.value_len * entries];
        let mut position = 0_u32;
        let mut attr = Attr::new()
            .pointer(8, &raw mut position)
            .pointer(16, keys.as_mut_ptr())
            .pointer(24, values.as_mut_ptr())
            .word(32, self.shape.entries)
            .descriptor(36, self.fd());
        // SAFETY: there is room for as many keys and values as `count` says and the map can hold; a hash's position is four bytes
        // long (its bucket). All of them outlive the call.
        match unsafe { attr.call(BPF_MAP_LOOKUP_BATCH) } {
            // There is no more: the kernel's way to say that it handed out all.
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(refused("BPF_MAP_LOOKUP_BATCH")(errno)),
        }
        let count = crate::netlink::u32_at(&attr.0, 32).map_or(0, |count| count as usize).min(entries);
        keys.chunks_exact(self.shape.key_len).zip(values.chunks_exact(self.shape.value_len)).take(count).for_each(|(k, v)| each(k, v));
        Ok(())
    }
}

/// Loads a program for raw tracepoints. If the verifier refuses it, its last line is told.
pub(super) fn load(code: &[[u8; 8]]) -> Result<OwnedFd, Refused> {
    load_with(code, None).or_else(|errno| {
        if matches!(errno, Errno::EPERM) {
            return Err(refused("BPF_PROG_LOAD")(errno));
        }
        let mut log = vec![0_u8; LOG_LEN];
        load_with(code, Some(&mut log)).map_err(|errno| Refused { detail: last_line(&log), ..refused("BPF_PROG_LOAD")(errno) })
    })
}

#[allow(unsafe_code)]
fn load_with(code: &[[u8; 8]], log: Option<&mut Vec<u8>>) -> Result<OwnedFd, Errno> {
    let mut attr = Attr::new()
        .word(0, BPF_PROG_TYPE_RAW_TRACEPOINT)
        .word(4, u32::try_from(code.len()).map_err(|_| Errno::E2BIG)?)
        .pointer(8, code.as_ptr())
        .pointer(16, LICENSE.as_ptr())
        .with(48, b"faultmap_drops");
    if let Some(log) = log {
        attr = attr.word(24, 1).word(28, u32::try_from(log.len()).unwrap_or(0)).pointer(32, log.as_mut_ptr());
    }
    // SAFETY: the instructions are as many as told, the licence ends with a zero, the log is as long as told; all outlive the call.
    unsafe { attr.open(BPF_PROG_LOAD) }
}

/// Attaches the program; it runs until the descriptor is closed.
#[allow(unsafe_code)]
pub(super) fn attach(program: &OwnedFd, tracepoint: &CStr) -> Result<OwnedFd, Refused> {
    let mut attr = Attr::new().pointer(0, tracepoint.as_ptr()).descriptor(8, program.as_raw_fd());
    // SAFETY: the name ends with a zero and outlives the call, which answers with a new descriptor.
    unsafe { attr.open(BPF_RAW_TRACEPOINT_OPEN) }.map_err(refused("BPF_RAW_TRACEPOINT_OPEN"))
}

fn refused(operation: &'static str) -> impl Fn(Errno) -> Refused {
    move |errno| Refused { operation, errno, detail: None }
}

/// The last line of the verifier that says something, made printable. Behind it comes its bookkeeping.
fn last_line(log: &[u8]) -> Option<String> {
    let text = crate::netlink::text(log);
    let line = text.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("processed "))?;
    Some(line.chars().filter(|c| !c.is_control()).take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_reason_is_the_line_before_its_bookkeeping() {
        let log = b"0: (bf) r6 = r1\nR1 invalid mem access 'scalar'\nprocessed 3 insns (limit 1000000)\n\0\0\0";
        assert_eq!(last_line(log).as_deref(), Some("R1 invalid mem access 'scalar'"));
        assert_eq!(last_line(&[0; 8]), None);
    }

    #[test]
    fn a_map_of_other_sizes_is_not_written() {
        let Ok(map) = Map::create(MapShape { kind: MapKind::Array, key_len: 4, value_len: 8, entries: 1 }, true) else { return };
        assert_eq!(map.fill_and_freeze(b"short").err().map(|refused| refused.errno), Some(Errno::EINVAL));
        assert!(map.fill_and_freeze(b"%ps\0\0\0\0\0").is_ok());
        assert_eq!(map.first().as_deref(), Ok(&b"%ps\0\0\0\0\0"[..]));
        assert_eq!(map.fill_and_freeze(b"%ps\0\0\0\0\0").err().map(|refused| refused.errno), Some(Errno::EPERM));
    }
}
