//! Faults of name resolution that lie outside the DNS server: the zone points elsewhere, the host asks elsewhere, the
//! hosts file overrides.

use std::net::IpAddr;

use super::world::{FaultError, World};
use crate::oracle::{Sight, Witness};

pub(super) fn moved(world: &mut World, name: &str, addrs: &[IpAddr]) -> Result<Witness, FaultError> {
    let seen = world.redirect_name(name, addrs)?;
    let name = name.to_owned();
    Ok(Witness::new(move |world| {
        let asked = world.queries_for(&name).saturating_sub(seen);
        Ok(Sight::count(&format!("queries for the moved name {name}"), asked))
    }))
}

pub(super) fn resolver(
    world: &mut World,
    at: &str,
    servers: &[IpAddr],
    search: &[String],
    ndots: Option<u8>,
) -> Result<Witness, FaultError> {
    let mut lines = servers.iter().map(|server| format!("nameserver {server}\n")).collect::<String>();
    if !search.is_empty() {
        lines.push_str(&format!("search {}\n", search.join(" ")));
    }
    if let Some(ndots) = ndots {
        lines.push_str(&format!("options ndots:{ndots}\n"));
    }
    world.net.host(at)?.set_resolv_conf(lines);
    let text = format!("{at} asks {servers:?}");
    Ok(Witness::new(move |_| Ok(Sight::state(text, true))))
}

pub(super) fn hosts_entry(world: &mut World, at: &str, name: &str, addr: IpAddr) -> Result<Witness, FaultError> {
    let host = world.net.host(at)?;
    let old = host.etc("/etc/hosts").unwrap_or_default();
    host.set_hosts(format!("{old}{addr} {name}\n"));
    let text = format!("/etc/hosts of {at} says {name} is {addr}");
    Ok(Witness::new(move |_| Ok(Sight::state(text, true))))
}
