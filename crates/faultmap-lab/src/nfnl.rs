//! Messages of the netfilter subsystems of netlink: header, attributes, batches, answers. It knows the frame of a
//! message (linux/netfilter/nfnetlink.h), not what nftables or connection tracking put into it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
pub(crate) const SUBSYS_CTNETLINK: u16 = 1;
pub(crate) const SUBSYS_NFTABLES: u16 = 10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;
const HEADER_LEN: usize = 16;
const NFGEN_LEN: usize = 4;
const REPLY_LIMIT: usize = 64 * 1024;
/// Replies read for one request before giving up; a dump of the lab's few rules needs a handful.
const REPLIES_LIMIT: usize = 4096;
/// The kernel answers at once; this only bounds a lost answer.
const ANSWER_WAIT_S: i64 = 5;

/// One or more netlink messages under construction.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Buffer {
    pub(crate) fn new() -> Buffer {
        Buffer::default()
    }

    /// Appends a message of a subsystem; `fill` writes its attributes.
    pub(crate) fn message(&mut self, subsystem: u16, kind: u16, flags: u16, family: u8, fill: impl FnOnce(&mut Buffer)) {
        self.frame((subsystem << 8) | kind, flags, family, 0, fill);
    }

    /// Wraps the messages that `fill` appends into a transaction of a subsystem.
    pub(crate) fn batch(&mut self, subsystem: u16, fill: impl FnOnce(&mut Buffer)) {
        self.frame(BATCH_BEGIN, NLM_F_REQUEST, 0, subsystem, |_| {});
        fill(self);
        self.frame(BATCH_END, NLM_F_REQUEST, 0, subsystem, |_| {});
    }

    fn frame(&mut self, kind: u16, flags: u16, family: u8, resource: u16, fill: impl FnOnce(&mut Buffer)) {
        let start = self.bytes.len();
        self.sequence = self.sequence.wrapping_add(1);
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        // struct nfgenmsg: family, version, resource id in network order.
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        fill(self);
        let len = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.patch(start, &len.to_ne_bytes());
    }

    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// A 32-bit attribute; netfilter wants network order.
    pub(crate) fn attr_u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub(crate) fn attr_text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Buffer)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NLA_F_NESTED).to_ne_bytes());
        fill(self);
        let len = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.patch(start, &len.to_ne_bytes());
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(slot) = self.bytes.get_mut(at..at + value.len()) {
            slot.copy_from_slice(value);
        }
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A netlink socket of the netfilter family, of the namespace it was opened in.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
}

impl Socket {
    pub(crate) fn open() -> io::Result<Socket> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_WAIT_S, 0))?;
        Ok(Socket { fd })
    }

    pub(crate) fn send(&self, buffer: &Buffer) -> io::Result<()> {
        send(self.fd.as_raw_fd(), buffer.bytes(), MsgFlags::empty())?;
        Ok(())
    }

    /// Waits for `expected` acknowledgements; the first refusal is the error.
    pub(crate) fn acknowledgements(&self, expected: usize) -> io::Result<()> {
        let mut seen = 0;
        let mut refused = None;
        while seen < expected {
            let reply = self.receive(MsgFlags::empty())?;
            for message in messages(&reply) {
                if message.kind == NLMSG_ERROR {
                    seen += 1;
                    refused = refused.or(refusal(message.payload));
                }
            }
            // A refused batch is answered with the refusals only.
            if refused.is_some() {
                break;
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// The payloads (behind `struct nfgenmsg`) of every message of a dump.
    pub(crate) fn dump(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut payloads = Vec::new();
        for _ in 0..REPLIES_LIMIT {
            let reply = self.receive(MsgFlags::empty())?;
            for message in messages(&reply) {
                match message.kind {
                    NLMSG_DONE => return Ok(payloads),
                    NLMSG_ERROR => return refusal(message.payload).map_or(Ok(payloads), Err),
                    _ => payloads.push(message.payload.get(NFGEN_LEN..).unwrap_or_default().to_vec()),
                }
            }
        }
        Err(io::Error::other("a netlink dump did not end"))
    }

    /// The first refusal that is already waiting, without waiting for one.
    pub(crate) fn waiting_refusal(&self) -> Option<io::Error> {
        let mut first = None;
        while let Ok(reply) = self.receive(MsgFlags::MSG_DONTWAIT) {
            let found = messages(&reply).filter(|m| m.kind == NLMSG_ERROR).find_map(|m| refusal(m.payload));
            first = first.or(found);
        }
        first
    }

    fn receive(&self, flags: MsgFlags) -> io::Result<Vec<u8>> {
        let mut reply = vec![0; REPLY_LIMIT];
        let len = recv(self.fd.as_raw_fd(), &mut reply, flags)?;
        reply.truncate(len);
        Ok(reply)
    }
}

struct Message<'a> {
    kind: u16,
    payload: &'a [u8],
}

/// The messages of one datagram; stops at the first that does not fit.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = usize::try_from(u32_ne(bytes.get(..4)?)?).ok()?;
        let kind = u16_ne(bytes.get(4..6)?)?;
        let payload = bytes.get(HEADER_LEN..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, payload })
    })
}

fn refusal(payload: &[u8]) -> Option<io::Error> {
    let code = u32_ne(payload.get(..4)?)?.cast_signed();
    (code != 0).then(|| io::Error::from_raw_os_error(code.saturating_neg()))
}

/// The attributes in a block: type without flags, value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_ne(bytes.get(..2)?)?);
        let kind = u16_ne(bytes.get(2..4)?)? & NLA_TYPE_MASK;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of that type.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn u16_ne(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_ne(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_back_as_they_were_written() {
        let mut buffer = Buffer::new();
        buffer.attr(1, b"abc");
        buffer.nest(2, |b| b.attr_u32(3, 7));
        let found = attributes(buffer.bytes()).collect::<Vec<_>>();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], (1, &b"abc"[..]));
        assert_eq!(attribute(found[1].1, 3), Some(&[0, 0, 0, 7][..]));
    }

    #[test]
    fn truncated_answers_end_the_iteration_instead_of_panicking() {
        let mut buffer = Buffer::new();
        buffer.message(10, 6, 0, 1, |b| b.attr_text(1, "table"));
        for len in 0..buffer.bytes().len() {
            assert_eq!(messages(&buffer.bytes()[..len]).count(), 0);
            let _ = attributes(&buffer.bytes()[..len]).count();
        }
        assert_eq!(messages(buffer.bytes()).count(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_the_readers_panic(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                let _ = refusal(message.payload);
                let _ = attributes(message.payload).count();
            }
            let _ = attribute(&bytes, 1);
        }

        #[test]
        fn any_attributes_read_back_as_they_were_written(
            written in proptest::collection::vec((0_u16..0x3fff, proptest::collection::vec(0_u8.., 0..64)), 0..8)
        ) {
            let mut buffer = Buffer::new();
            for (kind, value) in &written {
                buffer.attr(*kind, value);
            }
            let read = attributes(buffer.bytes()).map(|(kind, value)| (kind, value.to_vec())).collect::<Vec<_>>();
            proptest::prop_assert_eq!(read, written);
        }
    }
}
