//! Faults of address resolution: nobody answers, the wrong MAC is believed, two stations share an address.

use super::world::{FaultError, World};
use crate::nft::{Chain, Hook, Match, Rule, Table, TableFamily, Verdict};
use crate::oracle::{Sight, Witness};
use crate::topology::Prefix;
use crate::{host::Host, nft};

const PROTO_ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
/// The kernel asks after a random wait of up to a second; the answer takes no time.
const DETECTION: std::time::Duration = std::time::Duration::from_millis(1_500);
/// Never given out by the fabric, whose addresses start with 02:00:00:00.
const NOBODYS_MAC: [u8; 6] = [0x02, 0xde, 0xad, 0, 0, 0x01];

/// ARP has a switch of its own (arp_ignore=8: never answer); neighbour solicitations are dropped by a rule.
pub(super) fn silent(world: &mut World, at: &str) -> Result<Witness, FaultError> {
    const TABLE: &str = "silent";
    let host = world.net.host(at)?;
    host.sysctl("net/ipv4/conf/all/arp_ignore", "8")?;
    let matches = vec![Match::Protocol(PROTO_ICMPV6), Match::IcmpType(NEIGHBOUR_SOLICITATION)];
    let rules = vec![Rule { matches, verdict: Verdict::Drop }];
    install(host, TABLE, vec![Chain { hook: Hook::Input, priority: 0, rules }])?;
    world.forget_neighbour(at)?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let ignored = world.net.host(&at)?.read("/proc/sys/net/ipv4/conf/all/arp_ignore")?;
        let dropped = world.dropped_by(&at, TABLE)?;
        let evidence = format!("arp_ignore of {at}: {}, neighbour solicitations dropped: {dropped}", ignored.trim());
        Ok(Sight::state(evidence, ignored.trim() == "8"))
    }))
}

pub(super) fn wrong_mac(world: &mut World, at: &str, of: &str, permanent: bool) -> Result<Witness, FaultError> {
    let entries = world.on_link_addresses(at, of)?;
    let Some((interface, _)) = entries.first().cloned() else {
        return Err(FaultError::Impossible { reason: format!("{of} is not on a network of {at}") });
    };
    let rtnl = world.net.host(at)?.rtnl()?;
    for (interface, addr) in &entries {
        rtnl.set_neighbour(interface, *addr, NOBODYS_MAC, permanent)?;
    }
    let at = at.to_owned();
    let before = sent_to_nobody(world, &at, &interface)?;
    Ok(Witness::new(move |world| {
        let sent = sent_to_nobody(world, &at, &interface)?.saturating_sub(before);
        Ok(Sight::count(&format!("frames that {at} sent while it believed the wrong MAC address"), sent))
    }))
}

fn sent_to_nobody(world: &World, at: &str, interface: &str) -> Result<u64, crate::error::LabError> {
    let host = world.net.host(at)?;
    let link = host.interfaces().iter().find(|i| i.name == interface).map(|i| i.link.clone()).unwrap_or_default();
    let link = world.net.link(&link)?;
    let Some(direction) = link.direction_from(at) else {
        return Ok(0);
    };
    Ok(link.stats().way(direction).delivered)
}

/// A host that asks first notices that its IPv6 address is taken; IPv4 addresses it takes without a word, as the kernel does.
pub(super) fn duplicate_address(world: &mut World, at: &str, of: &str, asks_first: bool) -> Result<Witness, FaultError> {
    let taken = world.on_link_addresses(at, of)?;
    let host = world.net.host(at)?;
    let rtnl = host.rtnl()?;
    for (interface, addr) in &taken {
        if asks_first && addr.is_ipv6() {
            for (setting, value) in [("accept_dad", "1"), ("dad_transmits", "1")] {
                host.sysctl(&format!("net/ipv6/conf/{interface}/{setting}"), value)?;
            }
            host.sysctl("net/ipv6/conf/all/accept_dad", "1")?;
            rtnl.add_addr_asking(interface, Prefix { addr: *addr, len: 64 })?;
            // One question, a second for an answer (RFC 4862 section 5.4).
            std::thread::sleep(DETECTION);
            continue;
        }
        rtnl.add_addr(interface, Prefix { addr: *addr, len: if addr.is_ipv4() { 24 } else { 64 } })?;
    }
    world.forget_neighbour(of)?;
    let before = received(host)?;
    let at = at.to_owned();
    Ok(Witness::new(move |world| {
        let met = received(world.net.host(&at)?)?.saturating_sub(before);
        let evidence = format!("{at} holds {} foreign addresses; packets it received meanwhile: {met}", taken.len());
        Ok(Sight::state(evidence, !taken.is_empty()))
    }))
}

fn received(host: &Host) -> Result<u64, crate::error::LabError> {
    let text = host.read("/proc/thread-self/net/dev")?;
    let packets = text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    Ok(packets.filter_map(|(_, counters)| counters.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}

/// Installs a table in a host's kernel.
pub(super) fn install(host: &Host, name: &str, chains: Vec<Chain>) -> Result<(), FaultError> {
    let table = Table { family: TableFamily::Inet, name: name.to_owned(), chains };
    let place = host.name.clone();
    let installed = host.run(move || nft::install(&table))?;
    installed.map_err(|source| FaultError::Kernel { doing: "install packet filter rules in", what: place, source })
}
