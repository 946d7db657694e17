//! What the tests share: a wire on which packets made by hand pass the analysis, the analysis of a whole file, and where files to read are.

use faultmap_capture::analysis::{Analysis, Limits, Outcome};
use faultmap_capture::file::Files;
use faultmap_capture::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::LinkType;
use faultmap_wire::tcp::emit_options;
use faultmap_wire::{Arp, Ethernet, Mac, Tcp, TcpFlags, TcpOption, ethernet};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

/// A wire, and the analysis that listens to it.
pub(crate) struct Wire {
    pub(crate) analysis: Analysis,
    packets: u64,
}

/// So many milliseconds after the beginning of a story.
pub(crate) const fn at(ms: f64) -> Stamp {
    Stamp(1_700_000_000_000_000_000 + (ms * 1e6) as i64)
}

impl Wire {
    pub(crate) fn new() -> Self {
        Self { analysis: Analysis::new(Limits::default()), packets: 0 }
    }

    pub(crate) fn put(&mut self, at: Stamp, link: LinkType, bytes: &[u8]) {
        self.packets += 1;
        self.analysis.packet(&Captured { number: PacketNo(self.packets), at, link, wire_len: bytes.len() as u32, bytes });
    }

    /// An IP packet without a link below it.
    pub(crate) fn ip(&mut self, ms: f64, bytes: &[u8]) {
        self.put(at(ms), LinkType::RAW, bytes);
    }

    pub(crate) fn ethernet(&mut self, ms: f64, bytes: &[u8]) {
        self.put(at(ms), LinkType::ETHERNET, bytes);
    }

    /// An ARP message to everybody.
    pub(crate) fn arp(&mut self, ms: f64, message: &Arp) {
        self.ethernet(ms, &Ethernet::new(Mac::BROADCAST, message.sender_mac, ethernet::ARP).emit(&message.emit()));
    }

    /// An identification that no IPv4 packet before had: two with the same one are copies of one packet.
    pub(crate) const fn next_id(&self) -> u16 {
        self.packets as u16 + 1
    }

    pub(crate) fn finish(self) -> Outcome {
        self.analysis.finish()
    }
}

/// A segment of TCP. Its numbers count from the SYN of each side.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) flags: TcpFlags,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) len: usize,
    pub(crate) window: u16,
    pub(crate) times: Option<(u32, u32)>,
    pub(crate) sack: Option<(u32, u32)>,
}

impl Segment {
    pub(crate) const fn new(flags: TcpFlags, (seq, ack): (u32, u32), len: usize) -> Self {
        Self { flags, seq, ack, len, window: 1000, times: None, sack: None }
    }

    pub(crate) fn emit(&self, from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
        /// Where both sides begin to count.
        const FIRST: u32 = 1000;
        let block = self.sack.map(|(left, right)| [(left + FIRST).to_be_bytes(), (right + FIRST).to_be_bytes()].concat());
        let mut options = Vec::new();
        if self.flags.has(TcpFlags::SYN) {
            options.extend([TcpOption::Mss(1460), TcpOption::WindowScale(7), TcpOption::SackPermitted]);
        }
        options.extend(self.times.map(|(value, echo)| TcpOption::Timestamps { value, echo }));
        options.extend(block.as_ref().map(|block| TcpOption::Sack(block)));
        let options = emit_options(&options);
        let ack = if self.flags.has(TcpFlags::ACK) { self.ack + FIRST } else { 0 };
        let header = Tcp::new(from.port(), to.port(), self.flags);
        let header = Tcp { seq: self.seq + FIRST, ack, window: self.window, options: &options, ..header };
        header.emit((*from.ip()).into(), (*to.ip()).into(), &vec![b'.'; self.len])
    }
}

/// What is found in a file. A damaged one is read up to the damage.
pub(crate) fn analyse(path: &Path) -> Outcome {
    let (mut files, mut analysis) = (Files::new(&[path.to_owned()]), Analysis::new(Limits::default()));
    loop {
        match files.next() {
            Ok(Some(packet)) => analysis.packet(&packet),
            Ok(None) => return analysis.finish(),
            Err(_) => {}
        }
    }
}

/// The recordings of the lab.
pub(crate) fn lab() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab")
}

/// The folder of captures of others, which are not ours to commit. Where FAULTMAP_CAPTURES does not name it, the test says that it is skipped.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn captures_of_others() -> Option<PathBuf> {
    let folder = std::env::var_os("FAULTMAP_CAPTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: FAULTMAP_CAPTURES does not name a folder of captures");
    }
    folder
}
