//! The styles of reports on the cells of a full screen.

use anstyle::{AnsiColor, Effects};
use ratatui::style::{Color, Modifier, Style};

/// The same style for a cell; its colour only where colours are wanted.
pub(crate) fn style(style: anstyle::Style, colored: bool) -> Style {
    let mut drawn = Style::new();
    if let Some(anstyle::Color::Ansi(color)) = style.get_fg_color().filter(|_| colored) {
        drawn = drawn.fg(match color {
            AnsiColor::Green => Color::Green,
            AnsiColor::Yellow => Color::Yellow,
            AnsiColor::Red => Color::Red,
            AnsiColor::Cyan => Color::Cyan,
            _ => Color::Reset,
        });
    }
    let effects = style.get_effects();
    for (effect, modifier) in [(Effects::BOLD, Modifier::BOLD), (Effects::DIMMED, Modifier::DIM), (Effects::INVERT, Modifier::REVERSED)] {
        if effects.contains(effect) {
            drawn = drawn.add_modifier(modifier);
        }
    }
    drawn
}
