//! The line on stderr that says what goes on while a check runs. Only for a terminal; it is gone at the end.

use super::{Paper, observations};
use crate::terminal::Terminal;
use faultmap_model::Observation;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use std::io::{self, Write as _};
use std::time::Duration;

/// A spinner, or nothing.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    terminal: Terminal,
}

impl Progress {
    /// Begins, if anybody watches. A style that indicatif does not take means no spinner: it is never worth a failure.
    pub(crate) fn begin(wanted: bool, terminal: Terminal, text: &str) -> Self {
        let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}").ok().filter(|_| wanted);
        let bar = style.map(|style| {
            let ticks = if terminal.utf8 { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" } else { "|/-\\" };
            let target = ProgressDrawTarget::term_like_with_hz(Box::new(Narrow), 15);
            let bar = ProgressBar::with_draw_target(None, target).with_style(style.tick_chars(ticks));
            bar.set_message(line(text, terminal));
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        Self { bar, terminal }
    }

    /// An answer has come.
    pub(crate) fn heard(&self, observation: &Observation) {
        let words = || format!("{} {} {}", observation.layer, observation.seen.kind(), observations::words(&observation.seen));
        self.tell(words);
    }

    /// Says something else.
    pub(crate) fn tell(&self, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(line(&text(), self.terminal));
        }
    }

    /// Does something that prints, with the line out of the way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the line away and gives the cursor back.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(text: &str, terminal: Terminal) -> String {
    /// Spinner and time.
    const BESIDE: usize = 8;
    let room = usize::from(Narrow.width()).saturating_sub(BESIDE);
    Paper::new(terminal).cut(text, room)
}

/// The terminal behind stderr, said to be narrower than it is: indicatif fills the line, and were it really full, the `^C` that a terminal
/// echoes would break it, and it would stay for ever.
#[derive(Debug)]
struct Narrow;

impl Narrow {
    fn move_cursor(steps: usize, to: char) -> io::Result<()> {
        if steps == 0 { Ok(()) } else { write!(io::stderr(), "\x1b[{steps}{to}") }
    }
}

/// ECMA-48 8.3: CUU, CUD, CUF, CUB, EL.
impl TermLike for Narrow {
    fn width(&self) -> u16 {
        /// Columns of `^C`, twice.
        const ECHO: u16 = 4;
        let size = terminal_size::terminal_size_of(io::stderr());
        size.map_or(80, |(width, _)| width.0).saturating_sub(ECHO).max(20)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        Self::move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        Self::move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        Self::move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        Self::move_cursor(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        writeln!(io::stderr(), "{s}")
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        write!(io::stderr(), "{s}")
    }

    fn clear_line(&self) -> io::Result<()> {
        write!(io::stderr(), "\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
