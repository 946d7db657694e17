//! A host's end of a cable as a TAP device: unlike a veth it has a carrier, a speed and a duplex mode of its own, and a ring that
//! drops what is not taken out in time. It opens and sets the device; it moves no frames by itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::rtnl::Rtnl;

/// The door to all TUN and TAP devices; systemd and udev give it mode 0666.
const DEVICE: &str = "/dev/net/tun";
/// linux/ethtool.h: the old call, which every kernel translates to the new one.
const ETHTOOL_SSET: u32 = 0x2;
const ETHTOOL_CMD_LEN: usize = 44;

/// What a TAP end says of its medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct TapSpec {
    /// Megabits per second. It is what ethtool reports; what slows traffic down are wires and shapers.
    pub speed_mbps: u32,
    /// Whether both sides may send at once.
    pub duplex: Duplex,
    /// Frames that the ring between kernel and cable holds.
    pub ring: u32,
}

impl Default for TapSpec {
    fn default() -> TapSpec {
        TapSpec { speed_mbps: 1000, duplex: Duplex::Full, ring: 1000 }
    }
}

/// A duplex mode (linux/ethtool.h).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duplex {
    /// One side at a time.
    Half,
    /// Both at once.
    #[default]
    Full,
}

/// Why this process can have no TAP devices; `None` if it can.
pub fn tap_refusal() -> Option<String> {
    let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
    opened.err().map(|error| format!("needs {DEVICE}: {error}"))
}

/// An attached TAP device.
#[derive(Debug)]
pub(super) struct Tap {
    file: File,
    iface: String,
    rtnl: Rtnl,
}

impl Tap {
    /// Makes the device in the calling thread's namespace, down, without carrier, with the given MAC address and MTU.
    pub(super) fn create(iface: &str, mac: [u8; 6], mtu: u32, spec: &TapSpec) -> Result<Tap, LabError> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(DEVICE);
        let file = file.map_err(|e| LabError::system("open", DEVICE, e))?;
        attach(&file, iface).map_err(|e| LabError::system("create TAP device", iface, e))?;
        let rtnl = Rtnl::open()?;
        rtnl.set_mac(iface, mac)?;
        rtnl.set_mtu(iface, mtu)?;
        rtnl.set_queue_length(iface, spec.ring)?;
        set_medium(iface, spec.speed_mbps, spec.duplex)?;
        let tap = Tap { file, iface: iface.to_owned(), rtnl };
        // Only a change of the carrier makes the kernel find out the operational state; until then it is "unknown".
        tap.set_carrier(false)?;
        Ok(tap)
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> Option<usize> {
        (&self.file).read(buffer).ok()
    }

    /// A device that is down takes nothing (EIO), as an unplugged veth does (ENETDOWN).
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        match (&self.file).write(frame) {
            Err(e) if e.raw_os_error() == Some(libc::EIO) => Err(io::Error::from_raw_os_error(libc::ENETDOWN)),
            other => other.map(|_| ()),
        }
    }

    /// TUNSETCARRIER, since Linux 5.0.
    #[allow(unsafe_code)]
    pub(super) fn set_carrier(&self, up: bool) -> Result<(), LabError> {
        let value = libc::c_int::from(up);
        // SAFETY: the value is an int that lives through the call.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::TUNSETCARRIER as _, &raw const value) };
        if result == 0 {
            return Ok(());
        }
        Err(LabError::system("set the carrier of", &self.iface, io::Error::last_os_error()))
    }

    /// Frames for which the ring had no room, ever.
    pub(super) fn dropped(&self) -> u64 {
        self.rtnl.transmit_drops(&self.iface).unwrap_or(0)
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[allow(unsafe_code)]
fn attach(file: &File, iface: &str) -> io::Result<()> {
    let mut request = request_for(iface);
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the request is a NUL-terminated ifreq that lives through the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a TAP device of the calling thread's namespace report another speed and duplex mode.
pub(crate) fn set_medium(iface: &str, speed_mbps: u32, duplex: Duplex) -> Result<(), LabError> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|e| LabError::system("open", "ethtool socket", e))?;
    set_link_settings(socket.as_raw_fd(), iface, speed_mbps, duplex).map_err(|e| LabError::system("set speed and duplex of", iface, e))
}

#[allow(unsafe_code)]
fn set_link_settings(socket: i32, iface: &str, speed_mbps: u32, duplex: Duplex) -> io::Result<()> {
    let mut command = ethtool_cmd(speed_mbps, duplex);
    let mut request = request_for(iface);
    request.ifr_ifru.ifru_data = command.as_mut_ptr().cast();
    // SAFETY: the request is NUL-terminated and points to an ethtool_cmd, both of which live through the call.
    let result = unsafe { libc::ioctl(socket, libc::SIOCETHTOOL as _, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// struct ethtool_cmd: cmd, supported, advertising, speed (low half), duplex, port, phy_address, transceiver, autoneg,
/// mdio_support, maxtxpkt, maxrxpkt, speed (high half), …
fn ethtool_cmd(speed_mbps: u32, duplex: Duplex) -> [u8; ETHTOOL_CMD_LEN] {
    let mut command = [0; ETHTOOL_CMD_LEN];
    let [low_half, high_half] = [speed_mbps as u16, (speed_mbps >> 16) as u16].map(u16::to_ne_bytes);
    command[..4].copy_from_slice(&ETHTOOL_SSET.to_ne_bytes());
    command[12..14].copy_from_slice(&low_half);
    command[14] = u8::from(duplex == Duplex::Full);
    command[28..30].copy_from_slice(&high_half);
    command
}

#[allow(unsafe_code)]
fn request_for(iface: &str) -> libc::ifreq {
    // SAFETY: ifreq is plain data for which all zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (slot, byte) in request.ifr_name.iter_mut().take(room).zip(iface.bytes()) {
        *slot = byte as libc::c_char;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_beyond_sixteen_bits_is_split_as_the_kernel_wants_it() {
        let command = ethtool_cmd(100_000, Duplex::Half);
        assert_eq!((u16::from_ne_bytes([command[12], command[13]]), u16::from_ne_bytes([command[28], command[29]])), (34_464, 1));
        assert_eq!(command[14], 0);
        assert_eq!(ethtool_cmd(100, Duplex::Full)[14], 1);
    }
}
