//! Filters for the kernel: pcap-filter(7) expressions, the part of them that captures are made with, to classic BPF. The kernel then hands over
//! only what was asked for. Known: `host`, `net`, `port`, `portrange`, `proto`, `src`, `dst`, `ether`, `ip`, `ip6`, `arp`, `rarp`, `tcp`, `udp`, `sctp`, `icmp`,
//! `icmp6`, `vlan`, `broadcast`, `multicast`, `less`, `greater`, `and`, `or`, `not`. Names of hosts are not looked up: that would put a question into the network
//! that is being captured.
//!
//! After `vlan` what follows in the same chain of `and`s is looked for behind the tag, and only there; libpcap does so for all that follows, also behind `or`.

mod code;
mod lower;
mod parse;

use crate::filter::FilterError;

/// Instructions that the kernel takes (`BPF_MAXINSNS`).
const MOST_INSTRUCTIONS: usize = 4096;

/// Where the outermost VLAN tag of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// In the frame, as in files.
    InFrame,
    /// Beside the frame, or in it: AF_PACKET, where the kernel takes the tag out before filters see the frame. Such a program reads from the network header
    /// on where the kernel says that it begins, so that it fits tunnel interfaces without Ethernet, too; only MAC addresses are looked for at their place.
    Kernel,
}

/// One instruction, as `struct sock_filter` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// Instructions to skip if a comparison holds.
    pub jt: u8,
    /// Instructions to skip if not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// A program that takes or leaves frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// Compiles an expression: for Ethernet frames, or for whatever the kernel hands over.
    ///
    /// # Errors
    /// If the text is no expression that is known here; the message shows where.
    pub fn compile(text: &str, tags: Tags) -> Result<Program, FilterError> {
        let tree = lower::lower(&parse::parse(text)?, tags);
        let program = code::generate(&tree);
        match program.len() {
            0..=MOST_INSTRUCTIONS => Ok(Program(program)),
            more => Err(FilterError::at(text, 0, format!("{more} instructions; the kernel takes {MOST_INSTRUCTIONS}"))),
        }
    }

    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// The same for `SO_ATTACH_FILTER`.
    #[must_use]
    pub fn for_kernel(&self) -> Vec<libc::sock_filter> {
        self.0.iter().map(|i| libc::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect()
    }
}

#[cfg(test)]
mod tests;
