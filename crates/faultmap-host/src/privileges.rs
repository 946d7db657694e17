//! What this thread may do: which capabilities are in force here, and whether ping sockets open.
//! Never raises or drops a privilege.

use crate::procfs;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use std::fs::File;
use std::os::fd::AsRawFd;

/// `NS_GET_USERNS` (linux/nsfs.h): the user namespace that owns a namespace.
const NS_GET_USERNS: libc::c_ulong = 0xb701;
/// `PROC_USER_INIT_INO` (linux/proc_ns.h): the inode of the first user namespace is fixed.
const INIT_USER_NAMESPACE: &str = "user:[4026531837]";

/// What a capability must cover to be of use to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The network namespace we are in.
    Network,
    /// The whole host.
    Host,
}

/// Bits of linux/capability.h.
const CAPABILITIES: [(u32, &str, Scope); 4] = [
    (13, "CAP_NET_RAW", Scope::Network),
    (12, "CAP_NET_ADMIN", Scope::Network),
    (39, "CAP_BPF", Scope::Host),
    (38, "CAP_PERFMON", Scope::Host),
];

/// Of CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON, those that are effective *and* in force here.
///
/// `unshare -Ur` without `-n` shows every bit set, yet none of them reaches the network namespace outside; BPF and
/// perf events ask for the capability in the first user namespace. Such bits are left out.
#[must_use]
pub fn privileges() -> Vec<String> {
    let Some(effective) = procfs::read("/proc/thread-self/status", 64 * 1024).ok().and_then(|s| effective_mask(&s)) else {
        return Vec::new();
    };
    if effective == 0 {
        return Vec::new();
    }
    let (owner, init) = (owns_network_namespace(), in_first_user_namespace());
    CAPABILITIES
        .iter()
        .filter(|(bit, _, _)| effective & (1 << bit) != 0)
        .filter(|(_, _, scope)| match scope {
            Scope::Network => owner,
            Scope::Host => init,
        })
        .map(|(_, name, _)| (*name).to_owned())
        .collect()
}

/// Whether an ICMP datagram socket opens: our group is in `net.ipv4.ping_group_range` and nothing else forbids it.
/// Tried rather than read, since a seccomp filter or a security module may say no as well. IPv6 shares the range.
#[must_use]
pub fn ping_socket_allowed() -> bool {
    let icmp = SockProtocol::Icmp;
    socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, icmp).is_ok()
}

/// `CapEff` of a `/proc/PID/status`.
fn effective_mask(status: &str) -> Option<u64> {
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

/// The kernel answers `EPERM` when the owner of the network namespace lies outside our user namespace
/// (`ns_get_owner`, kernel/user_namespace.c). Without the call (Linux before 4.9) the bits are taken at their word.
fn owns_network_namespace() -> bool {
    let Ok(namespace) = File::open("/proc/thread-self/ns/net") else {
        return true;
    };
    !matches!(owner_of(&namespace), Err(nix::errno::Errno::EPERM))
}

/// Asks for the owning user namespace and closes it again.
#[allow(unsafe_code)]
fn owner_of(namespace: &File) -> nix::Result<()> {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: NS_GET_USERNS takes no argument; the descriptor is open for the length of the call.
    let fd = nix::errno::Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) })?;
    // SAFETY: on success the call returns a new descriptor that nobody else owns.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

pub(crate) fn in_first_user_namespace() -> bool {
    // Without user namespaces in the kernel there is no such file, and only the first one.
    std::fs::read_link("/proc/thread-self/ns/user").map_or(true, |link| link.as_os_str() == INIT_USER_NAMESPACE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_effective_set_is_the_hexadecimal_line_capeff() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t0000000000003000\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(effective_mask(status), Some((1 << 12) | (1 << 13)));
        assert_eq!(effective_mask("CapEff:\tzz\n"), None);
        assert_eq!(effective_mask(""), None);
    }

    proptest! {
        #[test]
        fn any_status_text_is_read_without_a_panic(text in "(CapEff:[ \\t0-9a-fx]{0,20}\\n|.{0,20}\\n){0,5}") {
            let _ = effective_mask(&text);
        }
    }
}
