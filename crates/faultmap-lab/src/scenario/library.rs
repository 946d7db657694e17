//! Where scenarios are found: those compiled in, or a folder given at run time. It reads files; it runs nothing.

use std::cmp::Reverse;
use std::fs;
use std::path::Path;

use super::{Scenario, ScenarioError};

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

/// Largest scenario file read.
const FILE_LIMIT: u64 = 256 * 1024;
/// Most scenario files read from one folder.
const FILES_LIMIT: usize = 10_000;

/// Scenarios, sorted by id.
#[derive(Debug, Clone, Default)]
pub struct Library {
    scenarios: Vec<Scenario>,
}

/// The TOML text of a network that only scenarios use.
pub fn embedded_topology(name: &str) -> Option<&'static str> {
    embedded::TOPOLOGIES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

impl Library {
    /// The scenarios compiled into the program.
    pub fn embedded() -> Result<Library, ScenarioError> {
        let scenarios = embedded::SCENARIOS.iter().map(|(id, text)| Scenario::parse(id, text));
        Ok(Library { scenarios: scenarios.collect::<Result<_, _>>()? })
    }

    /// Every `*.toml` directly in a folder.
    pub fn folder(path: &Path) -> Result<Library, ScenarioError> {
        let unreadable = |path: &Path, source| ScenarioError::Unreadable { path: path.display().to_string(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(|e| unreadable(path, e))?.take(FILES_LIMIT) {
            let file = entry.map_err(|e| unreadable(path, e))?.path();
            if file.extension().is_some_and(|extension| extension == "toml") && file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        let read = |file: &std::path::PathBuf| {
            let size = fs::metadata(file).map_err(|e| unreadable(file, e))?.len();
            if size > FILE_LIMIT {
                return Err(unreadable(file, std::io::Error::other(format!("{size} bytes are no scenario"))));
            }
            let text = fs::read_to_string(file).map_err(|e| unreadable(file, e))?;
            Scenario::parse(&file.file_stem().unwrap_or_default().to_string_lossy(), &text)
        };
        Ok(Library { scenarios: files.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// All of them.
    pub fn all(&self) -> &[Scenario] {
        &self.scenarios
    }

    /// The scenario of that id, exactly.
    pub fn get(&self, id: &str) -> Result<&Scenario, ScenarioError> {
        let found = self.scenarios.iter().find(|scenario| scenario.id == id);
        found.ok_or_else(|| ScenarioError::Unknown { wanted: id.to_owned(), nearest: self.nearest(id) })
    }

    /// Scenarios whose id or cause contains the text, exact ids first.
    pub fn matching<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Scenario> + 'a {
        let exact = self.scenarios.iter().any(|s| s.id == text);
        self.scenarios.iter().filter(move |s| if exact { s.id == text } else { s.id.contains(text) || s.expect.cause.contains(text) })
    }

    fn nearest(&self, id: &str) -> String {
        let mut near = self.scenarios.iter().map(|s| (distance(&s.id, id), s.id.as_str())).collect::<Vec<_>>();
        near.sort();
        near.iter().take(3).map(|(_, id)| *id).collect::<Vec<_>>().join(", ")
    }
}

/// How unlike two ids are: by their common beginning, then by the words of the first that the second lacks.
fn distance(a: &str, b: &str) -> (Reverse<usize>, usize) {
    let shared = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let words = a.split('-').filter(|word| !b.split('-').any(|other| other == *word)).count();
    (Reverse(shared), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scenario_is_answered_with_its_neighbours() {
        let library = Library::embedded().unwrap();
        let error = library.get("conntrack-ful").unwrap_err().to_string();
        assert!(error.contains("nearest: conntrack-full"), "{error}");
    }

    #[test]
    fn planned_scenarios_are_sound_already() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/planned");
        if folder.is_dir() {
            Library::folder(&folder).unwrap();
        }
    }

    #[test]
    fn a_folder_is_read_and_its_first_mistake_told() {
        let folder = std::env::temp_dir().join(format!("faultmap-library-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (_, sound) = embedded::SCENARIOS[0];
        fs::write(folder.join("mine.toml"), sound).unwrap();
        assert_eq!(Library::folder(&folder).unwrap().all()[0].id, "mine");
        fs::write(folder.join("worse.toml"), "name = 1").unwrap();
        let error = Library::folder(&folder).unwrap_err().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert!(error.contains("scenario worse"), "{error}");
    }
}
