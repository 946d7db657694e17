//! The whole terminal as a canvas: taken, drawn on, and given back, whatever ends the program. It draws nothing of its own.

use anyhow::Context as _;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use std::io::{self, IsTerminal as _, Stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// The terminal is ours now; the hook of a panic must give it back first.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal behind stdin and stdout, until it is dropped.
pub(crate) struct Screen {
    canvas: ratatui::Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Whether there is one to draw on, and keys to read.
    pub(crate) fn possible() -> bool {
        super::drawable_lines().is_some() && io::stdin().is_terminal()
    }

    /// Takes it: raw keys, and a screen beside the one with the user's history.
    pub(crate) fn take() -> anyhow::Result<Self> {
        give_back_on_panic();
        TAKEN.store(true, Ordering::SeqCst);
        let taken = enable_raw_mode()
            .and_then(|()| execute!(io::stdout(), EnterAlternateScreen, Hide))
            .and_then(|()| ratatui::Terminal::new(CrosstermBackend::new(io::stdout())));
        match taken {
            Ok(canvas) => Ok(Self { canvas }),
            Err(error) => {
                give_back();
                Err(error).context("cannot draw on this terminal; try --json")
            }
        }
    }

    /// Draws a frame; only what differs from the one before is sent.
    pub(crate) fn draw(&mut self, frame: impl FnOnce(&mut ratatui::Frame<'_>)) -> anyhow::Result<()> {
        self.canvas.draw(frame).map(|_| ()).context("cannot draw on this terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, if it was taken; for those who end the program without dropping the screen. Does nothing the second time. A terminal
/// that has gone away is past help.
pub(crate) fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Before anything is said of the panic.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            usual(panic);
        }));
    });
}
