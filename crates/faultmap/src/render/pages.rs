//! The pages of `faultmap explain` and the table of `faultmap causes`. The texts are the model's.

use super::{BOLD, CYAN, DIM, PLAIN, Paper};
use crate::terminal::Terminal;
use faultmap_model::causes::{self, Cause, Tool};
use faultmap_model::{Layer, pages};

/// Widest text that reads well.
const MEASURE: usize = 100;

/// The seven in short.
pub(crate) fn layers(terminal: Terminal) -> String {
    let mut paper = sheet(terminal);
    paper.put(BOLD, "The seven layers of the OSI model, from what you see down to the cable").end().end();
    for layer in Layer::ALL.into_iter().rev() {
        let first = pages::page(layer).job.split(['.', ':']).next().unwrap_or_default();
        paper.blank(2).put(BOLD, &format!("{layer} {:12}", layer.name())).blank(2).wrapped(PLAIN, first, 19);
    }
    paper.end().put(DIM, "faultmap explain L4 shows a layer, faultmap causes lists what can go wrong in each.").end();
    paper.finish()
}

/// The page of a layer.
pub(crate) fn layer(layer: Layer, terminal: Terminal) -> String {
    let page = pages::page(layer);
    let mut paper = sheet(terminal);
    paper.put(BOLD, &format!("{layer} {} layer", layer.name())).blank(2);
    paper.put(DIM, &format!("moves: {}; in TCP/IP (RFC 1122): {}", layer.pdu(), layer.tcpip())).end();
    paragraph(&mut paper, "its job", page.job);
    paragraph(&mut paper, "works with", page.works_with);
    list(&mut paper, "protocols", page.protocols);
    list(&mut paper, "how it fails", page.fails);
    paragraph(&mut paper, "how that looks from above", page.from_above);
    paragraph(&mut paper, "what proves that it works", page.proof);
    tools(&mut paper, "toolbox", page.toolbox);
    paper.heading("causes that faultmap names here");
    for cause in causes::all().filter(|cause| cause.layer == layer) {
        entry(&mut paper, cause);
    }
    paper.finish()
}

/// The page of a cause.
pub(crate) fn cause(cause: &Cause, terminal: Terminal) -> String {
    let mut paper = sheet(terminal);
    paper.put(CYAN.bold(), cause.id).blank(2).put(BOLD, cause.title).end();
    paper
        .put(DIM, &format!("{} {}; exit code {} when it breaks the target", cause.layer, cause.layer.name(), 10 + cause.layer.number()))
        .end();
    paragraph(&mut paper, "what it is", cause.what);
    paragraph(&mut paper, "what shows it", cause.shows);
    tools(&mut paper, "confirm", cause.confirm);
    list(&mut paper, "fix", cause.fix);
    paper.end().put(DIM, &format!("faultmap explain {} tells about the layer.", cause.layer)).end();
    paper.finish()
}

/// The table.
pub(crate) fn causes(of: Option<Layer>, terminal: Terminal) -> String {
    let mut paper = sheet(terminal);
    let wanted = Layer::ALL.into_iter().filter(|layer| of.is_none_or(|of| of == *layer));
    for (number, layer) in wanted.enumerate() {
        if number > 0 {
            paper.end();
        }
        paper.put(BOLD, &format!("{layer} {}", layer.name())).end();
        for cause in causes::all().filter(|cause| cause.layer == layer) {
            entry(&mut paper, cause);
        }
    }
    paper.finish()
}

fn sheet(terminal: Terminal) -> Paper {
    Paper::new(Terminal { width: terminal.width.min(MEASURE), ..terminal })
}

fn entry(paper: &mut Paper, cause: &Cause) {
    /// The longest id: `l2.remote-neighbor-unresolved`.
    const ID: usize = 30;
    paper.blank(2).put(CYAN, cause.id).blank(ID.saturating_sub(cause.id.len()).max(1));
    paper.wrapped(PLAIN, cause.title, 2 + ID);
}

fn paragraph(paper: &mut Paper, heading: &str, text: &str) {
    paper.heading(heading).wrapped(PLAIN, text, 2);
}

fn list(paper: &mut Paper, heading: &str, lines: &[&str]) {
    if lines.is_empty() {
        return;
    }
    paper.heading(heading);
    for line in lines {
        paper.item().wrapped(PLAIN, &capitals(line), 4);
    }
}

/// The placeholders of the registry as words to fill in: `{port}` becomes PORT.
fn capitals(text: &str) -> String {
    ["{host}", "{port}", "{ip}", "{gateway}", "{iface}", "{resolver}", "{url}"]
        .into_iter()
        .fold(text.to_owned(), |text, name| text.replace(name, &name.trim_matches(['{', '}']).to_uppercase()))
}

fn tools(paper: &mut Paper, heading: &str, tools: &[Tool]) {
    if tools.is_empty() {
        return;
    }
    paper.heading(heading);
    for tool in tools {
        // A command is never wrapped: it is there to be copied.
        paper.blank(2).put(CYAN, &capitals(tool.run)).end();
        let text = if tool.on == "here" { tool.why.to_owned() } else { format!("on {}: {}", tool.on, tool.why) };
        paper.wrapped(DIM, &capitals(&text), 6);
    }
}
