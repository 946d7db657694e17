//! `faultmap explain`: the page of a layer or a cause, or what it may have been called.

use crate::cli::{EXIT_FAILED, ExplainArgs};
use crate::render;
use crate::terminal::{self, Choice, Terminal};
use faultmap_model::Layer;
use faultmap_model::causes::{self, Cause};

/// Most suggestions.
const MOST: usize = 5;
/// Less alike is no suggestion (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.72;

pub(super) fn run(args: &ExplainArgs, choice: Choice) -> anyhow::Result<i32> {
    let terminal = Terminal::of_environment();
    let Some(what) = args.what.as_deref().map(str::trim) else {
        terminal::print(&render::layers(terminal), choice)?;
        return Ok(0);
    };
    let page = match (what.parse::<Layer>(), named(what)) {
        (Ok(layer), _) => render::layer(layer, terminal),
        (_, Some(cause)) => render::cause(cause, terminal),
        _ => {
            terminal::complain(&anyhow::anyhow!(unknown(what)));
            return Ok(EXIT_FAILED);
        }
    };
    terminal::print(&page, choice)?;
    Ok(0)
}

/// By its id, or by its name alone where only one layer has it.
fn named(what: &str) -> Option<&'static Cause> {
    let mut by_name = causes::all().filter(|cause| name_of(cause).eq_ignore_ascii_case(what));
    causes::find(what).or_else(|| by_name.next().filter(|_| by_name.next().is_none()))
}

fn name_of(cause: &Cause) -> &'static str {
    cause.id.split_once('.').map_or(cause.id, |(_, name)| name)
}

fn unknown(what: &str) -> String {
    let shown: String = what.chars().take(64).collect();
    let alike = suggestions(what);
    if alike.is_empty() {
        return format!("no layer or cause is called {shown:?}; layers are L1 to L7, `faultmap causes` lists the causes");
    }
    format!("no layer or cause is called {shown:?}; did you mean:\n  {}", alike.join("\n  "))
}

fn suggestions(what: &str) -> Vec<&'static str> {
    let what: String = what.to_ascii_lowercase().chars().take(64).collect();
    let name = what.split_once('.').map_or(what.as_str(), |(_, name)| name);
    let likeness = |cause: &'static Cause| {
        let within = if name.len() > 2 && (cause.id.contains(name) || cause.title.contains(name)) { 0.95 } else { 0.0 };
        strsim::jaro_winkler(name, name_of(cause)).max(within)
    };
    let layers = Layer::ALL.into_iter().map(|layer| (strsim::jaro_winkler(&what, &layer.name().to_ascii_lowercase()), layer.name()));
    let mut all: Vec<(f64, &'static str)> = causes::all().map(|cause| (likeness(cause), cause.id)).chain(layers).collect();
    all.retain(|(likeness, _)| *likeness >= ALIKE);
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().take(MOST).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_cause_that_was_meant() {
        for (typed, meant) in [
            ("l4.port-filterd", "l4.port-filtered"),
            ("port-closd", "l4.port-closed"),
            ("transprt", "Transport"),
            ("conntrack", "l4.conntrack-full"),
        ] {
            assert!(suggestions(typed).contains(&meant), "{typed}: {:?}", suggestions(typed));
        }
        assert!(suggestions("xyzzy").is_empty());
    }

    #[test]
    fn a_cause_is_found_without_its_layer() {
        assert_eq!(named("port-closed").map(|cause| cause.id), Some("l4.port-closed"));
        assert_eq!(named("L4.Port-Closed").map(|cause| cause.id), Some("l4.port-closed"));
        assert!(named("closed").is_none());
    }
}
