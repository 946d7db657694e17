//! The topologies that are compiled into the program.

use super::Topology;
use crate::error::LabError;

/// Name and TOML text, in the order they are listed to users.
const BUILTIN: &[(&str, &str)] = &[
    ("on-link-pair", include_str!("../../topologies/on-link-pair.toml")),
    ("client-router-server", include_str!("../../topologies/client-router-server.toml")),
    ("two-routers-two-paths", include_str!("../../topologies/two-routers-two-paths.toml")),
    ("nat", include_str!("../../topologies/nat.toml")),
    ("balancer", include_str!("../../topologies/balancer.toml")),
    ("ocean", include_str!("../../topologies/ocean.toml")),
    ("cdn", include_str!("../../topologies/cdn.toml")),
];

/// The topology of that name.
pub fn builtin(name: &str) -> Result<Topology, LabError> {
    match BUILTIN.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Topology::parse(text),
        None => {
            let have = builtin_names().map(str::to_owned).collect::<Vec<_>>();
            Err(LabError::unknown("topology", name, have.iter()))
        }
    }
}

/// The names that [`builtin`] knows.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topology_parses_and_is_filed_under_its_own_name() {
        for name in builtin_names() {
            assert_eq!(builtin(name).unwrap().name, name);
        }
    }

    #[test]
    fn no_network_of_scenarios_hides_one_of_these() {
        for name in builtin_names() {
            assert_eq!(crate::scenario::embedded_topology(name), None, "{name}");
        }
    }
}
