//! `TCP_INFO` of a live socket, as much of it as this kernel fills in. Reads only.

use faultmap_model::observation::TcpHealth;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use tokio::net::TcpStream;

/// `TCP_SYN_SENT` of the kernel's `net/tcp_states.h`.
pub(crate) const SYN_SENT: u8 = 2;
/// `TCP_CLOSE` of the same file.
pub(crate) const CLOSED: u8 = 7;

/// `struct tcp_info` with the length that the kernel returned; what lies beyond is zero and means "not told".
pub(crate) struct RawTcpInfo {
    pub(crate) info: libc::tcp_info,
    pub(crate) length: usize,
}

/// Reads `TCP_INFO`; `None` when the descriptor is no TCP socket.
#[allow(unsafe_code)]
pub(crate) fn read(fd: &impl AsFd) -> Option<RawTcpInfo> {
    // SAFETY: tcp_info is a C struct of integers; all zero bytes are a valid value of it.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: `info` is `length` bytes long and outlives the call; the kernel writes at most `length` bytes and updates it.
    let status =
        unsafe { libc::getsockopt(fd.as_fd().as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut length) };
    (status == 0).then_some(RawTcpInfo { info, length: usize::try_from(length).unwrap_or(0) })
}

/// What the kernel knows of a TCP connection; `None` when the descriptor is no TCP socket.
pub fn tcp_health(fd: impl AsFd) -> Option<TcpHealth> {
    let RawTcpInfo { info, length } = read(&fd)?;
    // tcpi_snd_wnd came with Linux 5.4; an older kernel returns a shorter struct.
    let tells_window = length >= std::mem::offset_of!(libc::tcp_info, tcpi_snd_wnd) + size_of::<u32>();
    Some(TcpHealth {
        rtt_ms: from_us(u64::from(info.tcpi_rtt)),
        rttvar_ms: from_us(u64::from(info.tcpi_rttvar)),
        // The kernel's "no sample yet" is all ones.
        min_rtt_ms: if info.tcpi_min_rtt == u32::MAX { 0.0 } else { from_us(u64::from(info.tcpi_min_rtt)) },
        retransmits: info.tcpi_total_retrans,
        data_segs_out: info.tcpi_data_segs_out,
        data_segs_in: info.tcpi_data_segs_in,
        unacked: info.tcpi_unacked,
        backoff: u32::from(info.tcpi_backoff),
        rwnd_limited_ms: from_us(info.tcpi_rwnd_limited),
        snd_wnd: tells_window.then_some(info.tcpi_snd_wnd),
        out_of_order: info.tcpi_rcv_ooopack,
        pmtu: info.tcpi_pmtu,
        snd_mss: info.tcpi_snd_mss,
        dsack_dups: info.tcpi_dsack_dups,
        probes: u32::from(info.tcpi_probes),
        bytes_received: info.tcpi_bytes_received,
        bytes_acked: info.tcpi_bytes_acked,
        last_received_ms: (info.tcpi_bytes_received > 0).then(|| f64::from(info.tcpi_last_data_recv)),
    })
}

/// A second descriptor of the same socket, so that `TCP_INFO` can be read while another owner uses the stream; `None` when this
/// process is out of descriptors.
#[must_use]
pub fn no_delay_dup(stream: &TcpStream) -> Option<OwnedFd> {
    stream.as_fd().try_clone_to_owned().ok()
}

/// Microseconds, as the kernel counts here, in milliseconds.
pub(crate) fn from_us(us: u64) -> f64 {
    crate::recorder::ms(std::time::Duration::from_micros(us))
}
