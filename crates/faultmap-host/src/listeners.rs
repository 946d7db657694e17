//! Who listens on a port of this host, how full its queue is, who is connected to it, and which program it is.
//! Reads the kernel's socket list and `/proc`; never touches a socket or a program.

use crate::proc_text;
use crate::procfs;
use crate::sock_diag::{self, Ask, CLOSE_WAIT, ESTABLISHED, LISTEN, SYN_RECV, Socket};
use std::net::{IpAddr, SocketAddr};

/// Listeners looked at, per family.
const LISTENERS_MAX: usize = 8192;
/// Connections looked at, per family: about 1 µs each.
const SOCKETS_MAX: usize = 32_768;
/// Processes whose descriptors are read.
const PROCESSES_MAX: usize = 8192;
/// Descriptors read, of all processes together: some 2 µs each.
const DESCRIPTORS_MAX: usize = 50_000;

/// A listening TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// What it is bound to.
    pub bound: SocketAddr,
    /// Connections that wait for `accept`.
    pub waiting: u32,
    /// How many may wait; one more still fits.
    pub room: u32,
    /// On `::`: it takes no IPv4 connections.
    pub v6_only: bool,
    inode: u32,
}

impl Listener {
    /// It takes connections to this address.
    #[must_use]
    pub fn takes(&self, address: IpAddr) -> bool {
        let any = self.bound.ip().is_unspecified();
        let family = self.bound.is_ipv4() == address.is_ipv4() || (self.bound.is_ipv6() && !self.v6_only);
        self.bound.ip() == address || (any && family)
    }
}

/// The TCP listeners on this port, of every address; empty when the list could not be read.
#[must_use]
pub fn listeners(port: u16) -> Vec<Listener> {
    let mut found = Vec::new();
    for v6 in [false, true] {
        let ask = Ask { states: 1 << LISTEN, to: None, v6, with_info: false };
        // A family that cannot be read has no listeners for us.
        let _ = sock_diag::list(&ask, LISTENERS_MAX, |socket| {
            if socket.local.port() == port {
                found.push(Listener {
                    bound: socket.local,
                    waiting: socket.receive_queue,
                    room: socket.send_queue,
                    v6_only: socket.v6_only,
                    inode: socket.inode,
                });
            }
        });
    }
    found
}

/// Connections to a port of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Visitors {
    /// Half-open ones (SYN_RECV), of everybody.
    pub half_open: u32,
    /// Half-open ones from the addresses asked for.
    pub half_open_from: u32,
    /// Complete ones from the addresses asked for.
    pub established_from: u32,
    /// Bytes that these have received and that no program has read.
    pub unread_bytes: u64,
}

/// Counts connections to `port` of this host, and those from the addresses `from` apart. At most 32 768 a family are looked at.
#[must_use]
pub fn visitors(port: u16, from: &[IpAddr]) -> Visitors {
    let mut seen = Visitors::default();
    let states = (1 << ESTABLISHED) | (1 << SYN_RECV) | (1 << CLOSE_WAIT);
    for v6 in [false, true] {
        let ask = Ask { states, to: None, v6, with_info: false };
        let _ = sock_diag::list(&ask, SOCKETS_MAX, |socket| {
            if socket.local.port() == port {
                count(&mut seen, &socket, from);
            }
        });
    }
    seen
}

fn count(seen: &mut Visitors, socket: &Socket, from: &[IpAddr]) {
    let wanted = from.contains(&socket.remote.ip());
    // The kernel shows a half-open connection as TCP_SYN_RECV (inet_req_diag_fill).
    if socket.state == SYN_RECV {
        seen.half_open += 1;
        seen.half_open_from += u32::from(wanted);
    } else if wanted {
        seen.established_from += 1;
        seen.unread_bytes = seen.unread_bytes.saturating_add(u64::from(socket.receive_queue));
    }
}

/// The program behind a listener, as `/proc/PID/stat` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// `T` and `t` are stopped, `D` waits for a disk, `Z` is dead, `S` and `R` are usual.
    pub state: char,
}

/// The program that holds the listener; `None` when its descriptors may not be read (another user's), or there are too many to look at.
#[must_use]
pub fn program_of(listener: &Listener) -> Option<Program> {
    let wanted = format!("socket:[{}]", listener.inode);
    let mut looked_at = 0;
    for entry in std::fs::read_dir("/proc").ok()?.flatten().take(PROCESSES_MAX) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.flatten() {
            looked_at += 1;
            if looked_at > DESCRIPTORS_MAX {
                return None;
            }
            if std::fs::read_link(descriptor.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()) {
                let stat = proc_text::process_stat(&procfs::read(&format!("/proc/{pid}/stat"), 4096).ok()?)?;
                return Some(Program { name: stat.name, state: stat.state });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(bound: &str, v6_only: bool) -> Listener {
        Listener { bound: bound.parse().expect("an address"), waiting: 0, room: 128, v6_only, inode: 1 }
    }

    #[test]
    fn a_listener_on_loopback_takes_no_connection_from_outside() {
        let outside = "10.0.2.20".parse().expect("an address");
        assert!(!listener("127.0.0.1:80", false).takes(outside));
        assert!(listener("0.0.0.0:80", false).takes(outside) && listener("[::]:80", false).takes(outside));
        assert!(!listener("[::]:80", true).takes(outside));
    }

    #[test]
    fn our_own_listener_and_its_program_are_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let at = socket.local_addr().expect("bound");
        let client = std::net::TcpStream::connect(at).expect("connects");
        let found = listeners(at.port());
        assert_eq!(found.iter().map(|l| (l.bound, l.waiting)).collect::<Vec<_>>(), [(at, 1)]);
        assert!(program_of(&found[0]).is_some_and(|program| matches!(program.state, 'R' | 'S')));
        assert_eq!(visitors(at.port(), &[at.ip()]).established_from, 1);
        drop(client);
    }
}
