//! The way out: what kind of terminal there is, and the only places that write to stdout and stderr. It formats nothing.

mod screen;

pub(crate) use screen::{Screen, give_back as restore};

use anyhow::Context as _;
use std::io::{self, IsTerminal as _, Write};

pub(crate) use anstream::ColorChoice as Choice;

/// Width when nobody tells: a pipe, a file.
const WIDTH_UNKNOWN: usize = 100;
/// Narrower is not laid out, wider is not filled.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=140;

/// What the text is laid out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Columns.
    pub(crate) width: usize,
    /// More than ASCII can be shown.
    pub(crate) utf8: bool,
}

impl Terminal {
    /// As the environment and the terminal behind stdout tell.
    pub(crate) fn of_environment() -> Self {
        let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse::<usize>().ok()).filter(|width| *width > 0);
        let seen = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0);
        let width = told.or_else(seen).unwrap_or(WIDTH_UNKNOWN);
        Self { width: width.clamp(*WIDTHS.start(), *WIDTHS.end()), utf8: speaks_utf8(|name| std::env::var(name).ok()) }
    }
}

/// The character set of the locale (POSIX 8.2): the first of LC_ALL, LC_CTYPE and LANG that is set and not empty.
fn speaks_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// The user's word, or that of the environment (NO_COLOR, CLICOLOR_FORCE, TERM) and of the terminal.
pub(crate) fn choice(color: crate::cli::Color) -> Choice {
    match color {
        crate::cli::Color::Auto => Choice::Auto,
        crate::cli::Color::Always => Choice::Always,
        crate::cli::Color::Never => Choice::Never,
    }
}

/// Whether colours will be seen on stdout.
pub(crate) fn colored(choice: Choice) -> bool {
    match choice {
        Choice::Auto => anstream::AutoStream::choice(&io::stdout()) != Choice::Never,
        choice => choice != Choice::Never,
    }
}

/// Somebody watches stderr.
pub(crate) fn watched() -> bool {
    io::stderr().is_terminal()
}

/// Writes styled text to stdout and reports failure with its exit code, for callers with nothing else to do.
pub(crate) fn show(text: &str, choice: Choice) {
    if let Err(error) = print(text, choice) {
        complain(&error);
        std::process::exit(crate::cli::EXIT_FAILED);
    }
}

/// Writes styled text to stdout. A reader that has gone away is no error.
pub(crate) fn print(text: &str, choice: Choice) -> anyhow::Result<()> {
    let mut out = anstream::AutoStream::new(io::stdout(), choice).lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    forgive(written)
}

/// Writes bytes to stdout as they are.
pub(crate) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    forgive(written)
}

/// Writes styled text to stdout; false when the reader has gone away, and a command that goes on for ever should end.
pub(crate) fn offer(text: &str, choice: Choice) -> anyhow::Result<bool> {
    let mut out = anstream::AutoStream::new(io::stdout(), choice).lock();
    taken(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// The same with bytes as they are.
pub(crate) fn offer_bytes(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    taken(out.write_all(bytes).and_then(|()| out.flush()))
}

fn taken(written: io::Result<()>) -> anyhow::Result<bool> {
    let gone = written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    forgive(written).map(|()| !gone)
}

/// Lines of the terminal behind stdout; `None` when it is no terminal, or one that cannot be drawn on.
pub(crate) fn drawable_lines() -> Option<usize> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let size = terminal_size::terminal_size().filter(|_| io::stdout().is_terminal() && !dumb);
    size.map(|(_, height)| usize::from(height.0))
}

/// Writes styled text to stderr. If even that fails, there is nobody left to tell.
pub(crate) fn say(text: &str) {
    let mut out = anstream::AutoStream::auto(io::stderr()).lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes styled text to stderr, with the user's choice of colours.
pub(crate) fn say_as(text: &str, choice: Choice) {
    let mut out = anstream::AutoStream::new(io::stderr(), choice).lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// One of our own failures, on stderr.
pub(crate) fn complain(error: &anyhow::Error) {
    let text = format!("{error:#}");
    let lines: Vec<String> = text.lines().map(|line| crate::render::guard(line, true).into_owned()).collect();
    say(&format!("faultmap: {}\n", lines.join("\n")));
}

/// From here on a panic, ours or a dependency's, is a failure of faultmap like any other: a message and its exit code, no half a report.
/// With RUST_BACKTRACE set the usual report comes too.
pub(crate) fn fail_in_order() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            usual(panic);
        }
        let what = panic.payload_as_str().unwrap_or("unknown");
        let place = panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        complain(&anyhow::anyhow!(
            "internal error{place}: {what}\nThis is a bug of faultmap; please report it, with a recording (--record FILE) if you can."
        ));
        std::process::exit(crate::cli::EXIT_FAILED);
    }));
}

fn forgive(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

#[cfg(test)]
mod tests {
    use super::speaks_utf8;

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let check = |set: &[(&str, &str)], expect: bool| {
            let found = speaks_utf8(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()));
            assert_eq!(found, expect, "{set:?}");
        };
        check(&[], false);
        check(&[("LANG", "C.UTF-8")], true);
        check(&[("LANG", "de_DE.utf8")], true);
        check(&[("LC_ALL", "C"), ("LANG", "C.UTF-8")], false);
        check(&[("LC_ALL", ""), ("LANG", "C.UTF-8")], true);
        check(&[("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], true);
    }
}
