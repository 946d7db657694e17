//! A scenario: a healthy network, what breaks in it, what is checked, and what the verdict must be. It is read from
//! one TOML file and checked as a whole before anything is built; it runs nothing.

mod expect;
mod host;
mod library;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use expect::{Expect, Layer, Status, TwinExpect, Unprivileged};
pub use host::{HostQuestion, Subject, TapEnd};
pub use library::{Library, embedded_topology};

use crate::error::LabError;
use crate::faults::{Fault, Place};
use crate::services::ServiceSpec;
use crate::topology::{self, Topology};

/// One scenario, sound in itself: its places exist, its expectation is consistent.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The file's name without `.toml`.
    pub id: String,
    /// What is broken, in a few words.
    pub name: String,
    /// How somebody meets it in real life.
    pub story: String,
    /// The name of the network it happens in.
    pub topology: String,
    /// What is checked, with placeholders: see [`expand`]. Empty if a host is asked about instead.
    pub target: String,
    /// The host that `faultmap host` is asked about, instead of a check.
    pub host: Option<HostQuestion>,
    /// Interfaces that are TAP devices.
    pub taps: Vec<TapEnd>,
    /// Further arguments of the check, with placeholders.
    pub args: Vec<String>,
    /// The services that run, and where.
    pub services: Vec<Placed<ServiceSpec>>,
    /// Peculiarities of the network that are no faults, with faults and in the twin: a narrow hop that says so, an
    /// asymmetric path. A check that blames them blames a healthy network.
    pub given: Vec<Placed<Fault>>,
    /// What breaks, in order.
    pub faults: Vec<Placed<Fault>>,
    /// What the check must say with the faults.
    pub expect: Expect,
    /// What the check must say without them, if not "healthy".
    pub twin: TwinExpect,
    /// The host at which a witness runs, which the check asks over a wire of their own.
    pub witness: Option<String>,
    /// Whether it touches kernel state that the whole machine shares; such scenarios run only when asked to.
    pub affects_host: bool,
    /// The file's text, by which the scenario travels to the process that runs it.
    pub text: String,
}

/// Something at a host, a link or a middlebox.
#[derive(Debug, Clone)]
pub struct Placed<T> {
    /// The name of the place; empty for what has none.
    pub at: String,
    /// The thing.
    pub what: T,
}

/// What can be wrong with a scenario file.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file is not TOML, or not a scenario.
    #[error("scenario {id}: {reason}")]
    Syntax {
        /// The scenario.
        id: String,
        /// Line, column and complaint.
        reason: String,
    },
    /// A part contradicts the rest.
    #[error("scenario {id}: {part}: {reason}")]
    Contradiction {
        /// The scenario.
        id: String,
        /// "target", "fault 2 (at router)", …
        part: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The network it names is no network.
    #[error("scenario {id}: {source}")]
    Topology {
        /// The scenario.
        id: String,
        /// Why not.
        #[source]
        source: LabError,
    },
    /// A scenario folder or file cannot be read.
    #[error("read {path}: {source}")]
    Unreadable {
        /// The path.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No scenario has that name.
    #[error("no scenario is called {wanted:?}; nearest: {nearest}")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Scenarios whose names resemble it.
        nearest: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    name: String,
    story: String,
    topology: String,
    #[serde(default)]
    target: String,
    host: Option<HostQuestion>,
    #[serde(default, rename = "tap")]
    taps: Vec<TapEnd>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default, rename = "service")]
    services: Vec<toml::Table>,
    #[serde(default)]
    given: Vec<toml::Table>,
    #[serde(default, rename = "fault")]
    faults: Vec<toml::Table>,
    expect: Expect,
    #[serde(default)]
    twin: TwinExpect,
    witness: Option<String>,
    #[serde(default)]
    affects_host: bool,
}

/// A line of `lab list`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The scenario's id.
    pub id: String,
    /// What is broken.
    pub name: String,
    /// The cause a check must name.
    pub cause: String,
    /// The network.
    pub topology: String,
}

impl Scenario {
    /// Reads a scenario and checks that its parts fit together and fit its network.
    pub fn parse(id: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let syntax = |e: toml::de::Error| ScenarioError::Syntax { id: id.to_owned(), reason: e.to_string() };
        let file: File = toml::from_str(text).map_err(syntax)?;
        let scenario = Scenario {
            id: id.to_owned(),
            services: placed(id, "service", file.services)?,
            given: placed(id, "given", file.given)?,
            faults: placed(id, "fault", file.faults)?,
            name: file.name,
            story: file.story,
            topology: file.topology,
            target: file.target,
            host: file.host,
            taps: file.taps,
            args: file.args,
            expect: file.expect,
            twin: file.twin,
            witness: file.witness,
            affects_host: file.affects_host,
            text: text.to_owned(),
        };
        scenario.validate()?;
        Ok(scenario)
    }

    /// The network, freshly read.
    pub fn topology(&self) -> Result<Topology, LabError> {
        match embedded_topology(&self.topology) {
            Some(text) => Topology::parse(text),
            None => topology::builtin(&self.topology),
        }
    }

    /// The network with what the scenario changes of its wires.
    pub(crate) fn wired(&self) -> Result<Topology, LabError> {
        let mut topology = self.topology()?;
        self.taps.iter().try_for_each(|tap| tap.plug(&mut topology))?;
        Ok(topology)
    }

    /// What it puts to the test.
    pub fn subject(&self) -> Subject {
        if self.host.is_some() { Subject::Host } else { Subject::Check }
    }

    /// Whether its network has TAP devices, which not every machine lets everybody make.
    pub fn needs_tap(&self) -> bool {
        self.wired().is_ok_and(|topology| topology.needs_tap())
    }

    /// The same with a witness at the host that its target services run on, unless the file names another.
    #[must_use]
    pub fn witnessed(mut self) -> Scenario {
        if self.witness.is_none() && self.host.is_none() {
            self.witness = self.topology().ok().map(|topology| topology.server).filter(|server| !server.is_empty());
        }
        self
    }

    /// Whether an argument names [`BASELINE`], a recording of the healthy network.
    pub(crate) fn wants_baseline(&self) -> bool {
        self.args.iter().any(|arg| placeholders(arg).any(|name| name == BASELINE))
    }

    /// What `lab list` says about it.
    pub fn summary(&self) -> Summary {
        Summary { id: self.id.clone(), name: self.name.clone(), cause: self.expect.cause.clone(), topology: self.topology.clone() }
    }

    fn validate(&self) -> Result<(), ScenarioError> {
        let topology = self.wired().map_err(|source| ScenarioError::Topology { id: self.id.clone(), source })?;
        for (part, text) in [("name", &self.name), ("story", &self.story)] {
            if text.trim().is_empty() {
                return Err(self.contradiction(part, "must not be empty"));
            }
        }
        self.check_question(&topology)?;
        if self.faults.is_empty() {
            return Err(self.contradiction("fault", "a scenario without a fault is no scenario"));
        }
        self.expect.contradiction().map_or(Ok(()), |reason| Err(self.contradiction("expect", &reason)))?;
        for (number, service) in self.services.iter().enumerate() {
            let part = format!("service {} (at {:?})", number + 1, service.at);
            check_place(&topology, Place::Host, &service.at).map_err(|e| self.contradiction(&part, &e))?;
        }
        if let Some(witness) = &self.witness {
            check_place(&topology, Place::Host, witness).map_err(|e| self.contradiction("witness", &e))?;
        }
        self.check_places(&topology, "given", &self.given)?;
        self.check_places(&topology, "fault", &self.faults)?;
        self.check_placeholders(&topology)
    }

    /// Either a target is checked or a host is asked about.
    fn check_question(&self, topology: &Topology) -> Result<(), ScenarioError> {
        match &self.host {
            None if self.target.trim().is_empty() => Err(self.contradiction("target", "must not be empty")),
            Some(_) if !self.target.is_empty() || self.witness.is_some() || !self.args.is_empty() => {
                Err(self.contradiction("host", "a host is asked about in place of a target: leave target, args and witness out"))
            }
            Some(host) => check_place(topology, Place::Host, &host.at).map_err(|e| self.contradiction("host", &e)),
            None => Ok(()),
        }
    }

    fn check_places(&self, topology: &Topology, list: &str, faults: &[Placed<Fault>]) -> Result<(), ScenarioError> {
        for (number, fault) in faults.iter().enumerate() {
            let part = format!("{list} {} (at {:?})", number + 1, fault.at);
            check_place(topology, fault.what.place(), &fault.at).map_err(|e| self.contradiction(&part, &e))?;
            for (place, name) in fault.what.further_places() {
                check_place(topology, place, name).map_err(|e| self.contradiction(&part, &e))?;
            }
        }
        Ok(())
    }

    fn check_placeholders(&self, topology: &Topology) -> Result<(), ScenarioError> {
        let known = placeholder_names(topology);
        for (part, text) in self.args.iter().map(|arg| ("args", arg)).chain([("target", &self.target)]) {
            let stranger = placeholders(text).find(|name| !known.iter().any(|k| k == name)).map(str::to_owned);
            if let Some(name) = stranger {
                let reason = format!("{{{name}}} means nothing; known are {}", known.join(", "));
                return Err(self.contradiction(part, &reason));
            }
        }
        Ok(())
    }

    fn contradiction(&self, part: &str, reason: &str) -> ScenarioError {
        ScenarioError::Contradiction { id: self.id.clone(), part: part.to_owned(), reason: reason.to_owned() }
    }
}

/// `[[service]]`, `[[given]]` and `[[fault]]` tables: the key `at`, and the thing itself in the rest.
fn placed<T: for<'de> Deserialize<'de>>(id: &str, part: &str, tables: Vec<toml::Table>) -> Result<Vec<Placed<T>>, ScenarioError> {
    let read = |(number, mut table): (usize, toml::Table)| {
        let at = table.remove("at").and_then(|at| at.as_str().map(str::to_owned)).unwrap_or_default();
        let what = T::deserialize(table).map_err(|e| ScenarioError::Contradiction {
            id: id.to_owned(),
            part: format!("{part} {} (at {at:?})", number + 1),
            reason: e.to_string().trim().to_owned(),
        })?;
        Ok(Placed { at, what })
    };
    tables.into_iter().enumerate().map(read).collect()
}

fn check_place(topology: &Topology, place: Place, name: &str) -> Result<(), String> {
    let hosts = || topology.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>();
    let links = || topology.links.iter().map(|l| l.name.as_str()).collect::<Vec<_>>();
    let boxes = || topology.middleboxes.iter().map(|m| m.name_and_link().0).collect::<Vec<_>>();
    let (kind, known) = match place {
        Place::Nowhere if name.is_empty() => return Ok(()),
        Place::Nowhere => return Err("this kind of fault has no place; leave `at` out".to_owned()),
        Place::Host => ("host", hosts()),
        Place::Link => ("link", links()),
        Place::Middlebox => ("middlebox", boxes()),
    };
    if known.contains(&name) {
        return Ok(());
    }
    Err(format!("{name:?} is no {kind} of the topology; it has {}", known.join(", ")))
}

/// The placeholder of a recording of the healthy network. An argument that holds it makes the runner check before anything breaks.
pub(crate) const BASELINE: &str = "baseline";

/// Replaces `{name}` by its value: `{ca}` is the path of the lab's root certificate, `{baseline}` that of a recording made before anything
/// broke, `{filler}` a long text, `{HOST.v4}` and `{HOST.v6}` are the addresses of a host. What is not known stays as it is.
pub fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name, after)) = next_placeholder(rest) {
        out.push_str(before);
        match values.get(name) {
            Some(value) => out.push_str(value),
            None => {
                out.push('{');
                out.push_str(name);
                out.push('}');
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The name under which a host's address of a family is known to [`expand`].
pub(crate) fn address_placeholder(host: &str, addr: IpAddr) -> String {
    format!("{host}.{}", if addr.is_ipv4() { "v4" } else { "v6" })
}

fn placeholder_names(topology: &Topology) -> Vec<String> {
    let hosts = topology.hosts.iter().flat_map(|h| [format!("{}.v4", h.name), format!("{}.v6", h.name)]);
    ["ca", BASELINE, "filler"].into_iter().map(str::to_owned).chain(hosts).collect()
}

fn placeholders(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (_, name, after) = next_placeholder(text)?;
        text = after;
        Some(name)
    })
}

fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests;
