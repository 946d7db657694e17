//! Turns off the shortcuts a virtual interface takes: checksums left undone and segments larger than the MTU.
//! With them on, an MTU fault or a corrupted byte passes unnoticed and the lab would prove nothing.

use std::io;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::error::LabError;

// linux/ethtool.h; switching off transmit checksums takes TSO and UDP segmentation with it.
const SWITCHES: [(u32, &str); 5] =
    [(0x17, "ETHTOOL_STXCSUM"), (0x19, "ETHTOOL_SSG"), (0x1f, "ETHTOOL_STSO"), (0x24, "ETHTOOL_SGSO"), (0x2c, "ETHTOOL_SGRO")];

/// Switches every offload of `name` off, in the calling thread's namespace.
pub(super) fn disable(name: &str) -> Result<(), LabError> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|e| LabError::system("open", "ethtool socket", e))?;
    for (command, label) in SWITCHES {
        ethtool_off(socket.as_raw_fd(), name, command)
            .map_err(|e| LabError::system("switch off offload of", format!("{name} ({label})"), e))?;
    }
    Ok(())
}

#[allow(unsafe_code)]
fn ethtool_off(socket: i32, name: &str, command: u32) -> io::Result<()> {
    // struct ethtool_value: command, data.
    let mut value = [command, 0_u32];
    // SAFETY: ifreq is plain data for which all zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (slot, byte) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: the request is NUL-terminated and points to an ethtool_value, both of which live through the call.
    let result = unsafe { libc::ioctl(socket, libc::SIOCETHTOOL as _, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
