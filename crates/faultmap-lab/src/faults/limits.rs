//! Settings of a host's kernel: any one, and the limit on ICMP errors, used up before the check begins.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::world::{FaultError, World};
use crate::host::Family;
use crate::oracle::{Sight, Witness};

/// More datagrams than any bucket of errors holds (net/ipv4/inetpeer.c, net/ipv4/route.c).
const SPENT: usize = 16;
/// No run may wait longer for something to be noticed.
const LONGEST_WAIT_MS: u64 = 10_000;
/// The port of the classic traceroute.
const PORT: u16 = 33_434;

/// The host keeps to the kernel's usual limits, one error a second for each peer, and the client has just used them up on the way to `toward`.
pub(super) fn icmp_limited(world: &mut World, at: &str, toward: &str) -> Result<Witness, FaultError> {
    let host = world.net.host(at)?;
    host.sysctl("net/ipv4/icmp_ratelimit", "1000")?;
    host.sysctl("net/ipv6/icmp/ratelimit", "1000")?;
    for family in [Family::V4, Family::V6] {
        let Some(addr) = world.net.host(toward)?.addr(family) else { continue };
        world.net.client()?.run(move || spend(addr))?.map_err(|source| FaultError::Kernel {
            doing: "send datagrams to",
            what: addr.to_string(),
            source,
        })?;
    }
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let limit = world.net.host(&at)?.read("/proc/sys/net/ipv4/icmp_ratelimit")?;
        Ok(Sight::state(format!("icmp_ratelimit of {at}: {} ms", limit.trim()), limit.trim() == "1000"))
    }))
}

/// Time passes.
pub(super) fn wait(ms: u64) -> Witness {
    std::thread::sleep(std::time::Duration::from_millis(ms.min(LONGEST_WAIT_MS)));
    Witness::new(move |_| Ok(Sight::state(format!("{ms} ms have passed"), true)))
}

/// A setting has a value; what it does is up to the traffic that meets it.
pub(super) fn sysctl(world: &mut World, at: &str, key: &str, value: &str) -> Result<Witness, FaultError> {
    world.net.host(at)?.sysctl(key, value)?;
    let (at, key, value) = (at.to_owned(), key.to_owned(), value.to_owned());
    Ok(Witness::new(move |world| {
        let now = world.net.host(&at)?.read(&format!("/proc/sys/{}", key.replace('.', "/")))?;
        // Settings of several numbers are printed with tabs between them.
        let same = now.split_whitespace().eq(value.split_whitespace());
        Ok(Sight::state(format!("{key} of {at}: {}", now.trim()), same))
    }))
}

fn spend(addr: IpAddr) -> std::io::Result<()> {
    let any: IpAddr = if addr.is_ipv4() { [0, 0, 0, 0].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    for _ in 0..SPENT {
        // What a router said of the one before is no reason to stop.
        let _ = socket.send_to(b"spent", SocketAddr::new(addr, PORT));
    }
    Ok(())
}
