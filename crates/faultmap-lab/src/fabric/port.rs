//! The fabric's end of a host's interface: a raw packet socket bound to one far veth end, or the descriptor of a TAP device.
//! It sees only frames the host sent, never the ones the fabric sends itself.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socket};

use super::tap::Tap;
use crate::error::LabError;
use crate::rtnl::Rtnl;

const ETH_P_ALL: u16 = 0x0003;
/// PACKET_IGNORE_OUTGOING, linux/if_packet.h, since 4.20; libc does not name it on every target.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
const WANTED_BUFFER: libc::c_int = 8 << 20;

/// One port of the fabric.
#[derive(Debug)]
pub(super) struct Port {
    plug: Plug,
    /// Nobody takes frames out: an adapter that hangs.
    stalled: AtomicBool,
    /// Drops of the ring told so far.
    told: AtomicU64,
}

#[derive(Debug)]
enum Plug {
    /// The far end of a veth pair, in the fabric's namespace.
    Veth(PacketSocket),
    Tap(Tap),
}

impl Port {
    /// Opens a packet socket on a far veth end, in the calling thread's namespace.
    pub(super) fn veth(far: &str, index: u32) -> Result<Port, LabError> {
        PacketSocket::open(far, index).map(|socket| Port::of(Plug::Veth(socket)))
    }

    pub(super) fn tap(tap: Tap) -> Port {
        Port::of(Plug::Tap(tap))
    }

    fn of(plug: Plug) -> Port {
        Port { plug, stalled: AtomicBool::new(false), told: AtomicU64::new(0) }
    }

    /// The next frame, if one waits. A port whose interface is down has none.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Option<usize> {
        match &self.plug {
            Plug::Veth(socket) => socket.receive(buffer),
            Plug::Tap(tap) => tap.receive(buffer),
        }
    }

    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        match &self.plug {
            Plug::Veth(socket) => socket.send(frame),
            Plug::Tap(tap) => tap.send(frame),
        }
    }

    /// Frames the kernel dropped because this process did not read in time, since the last call.
    pub(super) fn take_drops(&self) -> u64 {
        match &self.plug {
            Plug::Veth(socket) => socket.take_drops(),
            Plug::Tap(tap) => {
                let now = tap.dropped();
                now.saturating_sub(self.told.swap(now, Ordering::Relaxed))
            }
        }
    }

    /// Gives or takes the carrier of the host's interface. `rtnl` acts on the fabric's namespace.
    pub(super) fn set_carrier(&self, up: bool, rtnl: &Rtnl) -> Result<(), LabError> {
        match &self.plug {
            Plug::Veth(socket) => rtnl.set_up(&socket.far, up),
            Plug::Tap(tap) => tap.set_carrier(up),
        }
    }

    /// Waits until frames pass. A TAP device's only side is the host's; it is given its carrier now.
    pub(super) fn make_ready(&self, rtnl: &Rtnl) -> Result<(), LabError> {
        match &self.plug {
            Plug::Veth(socket) => rtnl.await_operational(&socket.far),
            Plug::Tap(tap) => tap.set_carrier(true),
        }
    }

    pub(super) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }
}

/// A raw packet socket bound to one interface.
#[derive(Debug)]
struct PacketSocket {
    socket: OwnedFd,
    far: String,
}

impl PacketSocket {
    /// Opens the socket in the calling thread's namespace.
    fn open(far: &str, index: u32) -> Result<PacketSocket, LabError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, flags, None).map_err(|e| LabError::system("open packet socket on", far, e))?;
        let port = PacketSocket { socket, far: far.to_owned() };
        port.set(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1).map_err(|e| port.fail("ignore outgoing on", e))?;
        // Only the first works for the machine's real root; the second is cut to net.core.rmem_max.
        if port.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, WANTED_BUFFER).is_err() {
            let _ = port.set(libc::SOL_SOCKET, libc::SO_RCVBUF, WANTED_BUFFER);
        }
        port.bind(index).map_err(|e| port.fail("bind packet socket to", e))?;
        Ok(port)
    }

    /// The next frame, if one waits. A port whose interface is down has none.
    fn receive(&self, buffer: &mut [u8]) -> Option<usize> {
        recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()).ok()
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).map(|_| ()).map_err(io::Error::from)
    }

    /// Frames the kernel dropped because this process did not read in time, since the last call.
    #[allow(unsafe_code)]
    fn take_drops(&self) -> u64 {
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the structure and its length match and live through the call.
        let result = unsafe {
            libc::getsockopt(self.socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, (&raw mut stats).cast(), &raw mut len)
        };
        if result == 0 { u64::from(stats.tp_drops) } else { 0 }
    }

    #[allow(unsafe_code)]
    fn set(&self, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the value is an int that lives through the call.
        let result = unsafe { libc::setsockopt(self.socket.as_raw_fd(), level, option, (&raw const value).cast(), len) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    #[allow(unsafe_code)]
    fn bind(&self, index: u32) -> io::Result<()> {
        // SAFETY: sockaddr_ll is plain data for which all zero is valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ETH_P_ALL.to_be();
        address.sll_ifindex = i32::try_from(index).unwrap_or(0);
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the address is a sockaddr_ll of the given length that lives through the call.
        let result = unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), len) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn fail(&self, doing: &'static str, error: io::Error) -> LabError {
        LabError::system(doing, &self.far, error)
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.plug {
            Plug::Veth(socket) => socket.socket.as_fd(),
            Plug::Tap(tap) => tap.as_fd(),
        }
    }
}
