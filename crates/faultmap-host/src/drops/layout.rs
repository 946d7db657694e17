//! Where the program finds what it reads in this kernel, and what this kernel calls its reasons: from BTF. Pure.
//! Nothing is assumed of a version: a member that the description lacks leaves out what needs it, and says so.

use super::btf::{Btf, BtfError, Kind};
use std::collections::BTreeMap;

/// Reasons of subsystems carry their number in the upper half (`SKB_DROP_REASON_SUBSYS_MASK`, net/dropreason.h).
const SUBSYSTEM_SHIFT: u32 = 16;
/// Offsets within structs are added to pointers as signed 16-bit displacements at most.
const OFFSET_MAX: u32 = 1 << 20;

/// Why drops cannot be read on this kernel, as far as its description tells.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The description itself.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// No such tracepoint in the description.
    #[error("this kernel does not describe its tracepoint kfree_skb")]
    NoTracepoint,
    /// The tracepoint carries no reason: Linux before 5.17.
    #[error("this kernel gives no reason for a drop: Linux 5.17 and later do")]
    NoReasons,
    /// A member that is needed to tell whose drop it is.
    #[error("this kernel does not describe {0}")]
    Missing(&'static str),
}

/// The tracepoint's arguments, by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) skb: u8,
    pub(super) location: u8,
    pub(super) reason: u8,
    /// The socket that the packet had reached (Linux 6.11 and later).
    pub(super) socket: Option<u8>,
}

/// Where the namespace of a packet is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NamespacePath {
    pub(super) skb_dev: u32,
    pub(super) skb_sk: u32,
    pub(super) dev_net: u32,
    pub(super) sock_net: u32,
    pub(super) net_loopback: u32,
    pub(super) net_inum: u32,
}

/// Where a packet's headers are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeaderPath {
    pub(super) skb_head: u32,
    pub(super) skb_tail: u32,
    pub(super) skb_network_header: u32,
    pub(super) skb_protocol: u32,
}

/// Where the inode of a packet's socket is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketPath {
    pub(super) sock_state: u32,
    pub(super) sock_socket: u32,
    pub(super) socket_file: u32,
    pub(super) socket_inode: u32,
}

/// What the description says of everything that we read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub(super) arguments: Arguments,
    pub(super) namespace: NamespacePath,
    pub(super) headers: Option<HeaderPath>,
    pub(super) socket: Option<SocketPath>,
    reasons: BTreeMap<u32, String>,
    subsystems: BTreeMap<u32, String>,
}

impl Layout {
    /// Reads it out of the bytes of `/sys/kernel/btf/vmlinux`.
    pub fn read(bytes: &[u8]) -> Result<Self, LayoutError> {
        let btf = Btf::parse(bytes)?;
        Ok(Self {
            arguments: arguments(&btf)?,
            namespace: namespace_path(&btf)?,
            headers: header_path(&btf),
            socket: socket_path(&btf),
            reasons: names(&btf, "skb_drop_reason", "SKB_DROP_REASON_"),
            subsystems: names(&btf, "skb_drop_reason_subsys", "SKB_DROP_REASON_SUBSYS_"),
        })
    }

    /// The kernel's name of a reason without its `SKB_DROP_REASON_`; one of a subsystem as `OPENVSWITCH_3`, for modules keep their
    /// names to themselves.
    #[must_use]
    pub fn reason_name(&self, reason: u32) -> String {
        let (subsystem, number) = (reason >> SUBSYSTEM_SHIFT, reason & 0xffff);
        match (self.reasons.get(&reason), self.subsystems.get(&subsystem)) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) if subsystem != 0 => format!("{name}_{number}"),
            (None, _) => format!("REASON_{reason}"),
        }
    }
}

fn names(btf: &Btf<'_>, of: &str, prefix: &str) -> BTreeMap<u32, String> {
    let short = |name: &str| name.strip_prefix(prefix).or_else(|| name.strip_prefix("SKB_")).unwrap_or(name).to_owned();
    let printable = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let named = btf.enumerators(of).into_iter().filter(|(_, name)| printable(name));
    // The number of reasons, and the mask of subsystems, are no reasons.
    named.map(|(value, name)| (value, short(name))).filter(|(_, name)| name != "MAX" && name != "SUBSYS_MASK").collect()
}

fn arguments(btf: &Btf<'_>) -> Result<Arguments, LayoutError> {
    let types = btf.tracepoint("kfree_skb").ok_or(LayoutError::NoTracepoint)?;
    let place = |is_it: &dyn Fn(u32) -> bool| types.iter().position(|&id| is_it(id)).and_then(|at| u8::try_from(at).ok());
    Ok(Arguments {
        skb: place(&|id| btf.points_to_struct(id, "sk_buff")).ok_or(LayoutError::NoTracepoint)?,
        location: place(&|id| btf.points_to_void(id)).ok_or(LayoutError::NoTracepoint)?,
        reason: place(&|id| btf.is_enum(id, "skb_drop_reason")).ok_or(LayoutError::NoReasons)?,
        socket: place(&|id| btf.points_to_struct(id, "sock")),
    })
}

fn namespace_path(btf: &Btf<'_>) -> Result<NamespacePath, LayoutError> {
    let pointer = |of: &str, name: &str| at(btf, of, name, 8);
    // `possible_net_t` is a struct around the pointer.
    let net = |of: &str, name: &str| {
        let outer = btf.member(of, name)?;
        btf.member_of(outer.type_id, "net")?.offset.checked_add(outer.offset).filter(|&offset| offset < OFFSET_MAX)
    };
    let inum = || {
        let outer = btf.member("net", "ns")?;
        btf.member_of(outer.type_id, "inum")?.offset.checked_add(outer.offset).filter(|&offset| offset < OFFSET_MAX)
    };
    Ok(NamespacePath {
        skb_dev: pointer("sk_buff", "dev").ok_or(LayoutError::Missing("sk_buff.dev"))?,
        skb_sk: pointer("sk_buff", "sk").ok_or(LayoutError::Missing("sk_buff.sk"))?,
        dev_net: net("net_device", "nd_net").ok_or(LayoutError::Missing("net_device.nd_net"))?,
        sock_net: net("sock_common", "skc_net").ok_or(LayoutError::Missing("sock_common.skc_net"))?,
        net_loopback: pointer("net", "loopback_dev").ok_or(LayoutError::Missing("net.loopback_dev"))?,
        net_inum: inum().ok_or(LayoutError::Missing("net.ns.inum"))?,
    })
}

fn header_path(btf: &Btf<'_>) -> Option<HeaderPath> {
    Some(HeaderPath {
        skb_head: at(btf, "sk_buff", "head", 8)?,
        // Where it is no distance from `head` but a pointer (32 bits), its size tells.
        skb_tail: at(btf, "sk_buff", "tail", 4)?,
        skb_network_header: at(btf, "sk_buff", "network_header", 2)?,
        skb_protocol: at(btf, "sk_buff", "protocol", 2)?,
    })
}

fn socket_path(btf: &Btf<'_>) -> Option<SocketPath> {
    let (_, _) = btf.named(Kind::Struct, "socket_alloc")?;
    let number = at(btf, "inode", "i_ino", 8)?;
    let (socket, inode) = (btf.member("socket_alloc", "socket")?, btf.member("socket_alloc", "vfs_inode")?);
    // A `struct socket` is the front of a `socket_alloc` (`SOCK_INODE`, include/net/sock.h).
    let socket_inode = inode.offset.checked_sub(socket.offset)?.checked_add(number).filter(|&offset| offset < OFFSET_MAX)?;
    Some(SocketPath {
        sock_state: at(btf, "sock_common", "skc_state", 1)?,
        sock_socket: at(btf, "sock", "sk_socket", 8)?,
        socket_file: at(btf, "socket", "file", 8)?,
        socket_inode,
    })
}

/// Where the member lies, if it has this size.
fn at(btf: &Btf<'_>, of: &str, name: &str, size: u32) -> Option<u32> {
    let member = btf.member(of, name).filter(|member| member.offset < OFFSET_MAX)?;
    (btf.size(member.type_id)? == size).then_some(member.offset)
}

#[cfg(test)]
mod tests {
    use super::super::btf_writer::{kernel, kernel_without};
    use super::*;

    #[test]
    fn places_and_names_come_from_the_description() {
        let layout = Layout::read(&kernel().bytes()).expect("a layout");
        assert_eq!(layout.arguments, Arguments { skb: 0, location: 1, reason: 2, socket: Some(3) });
        assert_eq!((layout.namespace.skb_dev, layout.namespace.net_inum, layout.namespace.dev_net), (16, 160, 264));
        assert_eq!(layout.headers.map(|path| (path.skb_protocol, path.skb_network_header)), Some((176, 180)));
        assert_eq!(layout.socket.map(|path| path.socket_inode), Some(192));
        assert_eq!(layout.reason_name(3), "NO_SOCKET");
        assert_eq!(layout.reason_name(0x3_0005), "OPENVSWITCH_5");
        assert_eq!(layout.reason_name(77), "REASON_77");
    }

    #[test]
    fn a_kernel_before_5_17_gives_no_reason_and_one_before_6_11_no_socket() {
        let read = |left_out: &[&str]| Layout::read(&kernel_without(left_out).bytes());
        assert_eq!(read(&["reason"]).err(), Some(LayoutError::NoReasons));
        assert_eq!(read(&["tracepoint"]).err(), Some(LayoutError::NoTracepoint));
        assert_eq!(read(&["rx_sk"]).map(|layout| layout.arguments.socket), Ok(None));
    }

    #[test]
    fn what_the_kernel_does_not_describe_is_left_out_or_named() {
        let read = |left_out: &[&str]| Layout::read(&kernel_without(left_out).bytes());
        assert_eq!(read(&["sk"]).err(), Some(LayoutError::Missing("sk_buff.sk")));
        assert_eq!(read(&["head"]).map(|layout| layout.headers), Ok(None));
    }

    #[test]
    fn this_kernel_is_understood_if_it_describes_itself() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        match Layout::read(&bytes) {
            Ok(layout) => assert!(layout.reasons.values().any(|name| name == "NETFILTER_DROP") && layout.headers.is_some()),
            Err(error) => assert!(matches!(error, LayoutError::NoReasons), "{error}"),
        }
    }

    /// Run with `FAULTMAP_WRITE_SEEDS=fuzz/seeds/btf` to make the fuzz target's seeds anew.
    #[test]
    fn the_smallest_kernels_can_be_written_as_seeds() {
        let kernels = [("whole", kernel()), ("before-5.17", kernel_without(&["reason", "rx_sk"]))];
        for (name, kernel) in kernels {
            assert!(kernel.bytes().len() < 4096, "mutation would cut {name}");
            if let Ok(folder) = std::env::var("FAULTMAP_WRITE_SEEDS") {
                std::fs::write(format!("{folder}/{name}"), kernel.bytes()).expect("a seed");
            }
        }
    }
}
