//! The paper that reports are written on: width, colours, and the guard that every text passes. It knows nothing of networks.
//!
//! Text can only be put down through [`Paper::put`], which escapes control characters: whatever a server or a recording says, it never
//! reaches the terminal as a command.

use crate::terminal::Terminal;
use anstyle::{AnsiColor, Style};
use std::borrow::Cow;
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Ordinary text.
pub(crate) const PLAIN: Style = Style::new();
/// Headings and what must be seen first.
pub(crate) const BOLD: Style = Style::new().bold();
/// What is read last.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Works.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// At risk.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Broken.
pub(crate) const RED: Style = AnsiColor::Red.on_default();
/// Ids and commands.
pub(crate) const CYAN: Style = AnsiColor::Cyan.on_default();

/// Styled text under construction.
pub(crate) struct Paper {
    out: String,
    column: usize,
    terminal: Terminal,
}

impl Paper {
    /// An empty sheet.
    pub(crate) const fn new(terminal: Terminal) -> Self {
        Self { out: String::new(), column: 0, terminal }
    }

    /// Columns.
    pub(crate) const fn width(&self) -> usize {
        self.terminal.width
    }

    /// Columns left on this line.
    pub(crate) const fn room(&self) -> usize {
        self.terminal.width.saturating_sub(self.column)
    }

    /// More than ASCII can be shown.
    pub(crate) const fn utf8(&self) -> bool {
        self.terminal.utf8
    }

    /// The first when the terminal speaks UTF-8, else the second.
    pub(crate) const fn either<'a>(&self, utf8: &'a str, ascii: &'a str) -> &'a str {
        if self.terminal.utf8 { utf8 } else { ascii }
    }

    /// Puts text down, guarded.
    pub(crate) fn put(&mut self, style: Style, text: &str) -> &mut Self {
        let safe = guard(text, self.terminal.utf8);
        self.column += safe.width();
        if style.is_plain() || safe.is_empty() {
            self.out.push_str(&safe);
        } else {
            let _ = write!(self.out, "{style}{safe}{style:#}");
        }
        self
    }

    /// Puts text down and fills up to so many columns, cut if it is longer.
    pub(crate) fn cell(&mut self, style: Style, text: &str, columns: usize) -> &mut Self {
        let safe = self.cut(text, columns);
        let fill = columns.saturating_sub(safe.width());
        self.put(style, &safe).blank(fill)
    }

    /// The same, filled on the left.
    pub(crate) fn cell_right(&mut self, style: Style, text: &str, columns: usize) -> &mut Self {
        let safe = self.cut(text, columns);
        let fill = columns.saturating_sub(safe.width());
        self.blank(fill).put(style, &safe)
    }

    /// Spaces.
    pub(crate) fn blank(&mut self, columns: usize) -> &mut Self {
        self.out.extend(std::iter::repeat_n(' ', columns));
        self.column += columns;
        self
    }

    /// Ends the line.
    pub(crate) fn end(&mut self) -> &mut Self {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        self.out.push('\n');
        self.column = 0;
        self
    }

    /// A heading on a line of its own, after an empty line.
    pub(crate) fn heading(&mut self, text: &str) -> &mut Self {
        self.end().put(BOLD, text).end()
    }

    /// The mark before an item of a list; its text goes to column 4.
    pub(crate) fn item(&mut self) -> &mut Self {
        let mark = self.either("–", "-");
        self.blank(2).put(DIM, mark).blank(1)
    }

    /// Text wrapped at words from the present column on; the further lines begin at `indent`.
    pub(crate) fn wrapped(&mut self, style: Style, text: &str, indent: usize) -> &mut Self {
        if self.column < indent {
            self.blank(indent - self.column);
        }
        let safe = guard(text, self.terminal.utf8).into_owned();
        let mut line = String::new();
        for word in safe.split(' ').filter(|word| !word.is_empty()) {
            let begun = !line.is_empty();
            if begun && line.width() + 1 + word.width() > self.room() {
                self.put(style, &line).end().blank(indent);
                line.clear();
            } else if begun {
                line.push(' ');
            } else if word.width() > self.room() && self.column > indent {
                self.end().blank(indent);
            }
            line.push_str(word);
        }
        self.put(style, &line).end()
    }

    /// Guarded, and at most so many columns wide.
    pub(crate) fn cut(&self, text: &str, columns: usize) -> String {
        cut(&guard(text, self.terminal.utf8), columns, self.either("…", "~"))
    }

    /// The text with its styles as ANSI sequences.
    pub(crate) fn finish(self) -> String {
        self.out
    }
}

fn cut(text: &str, columns: usize, mark: &str) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = mark.width();
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > columns {
            break;
        }
        kept.push(c);
    }
    kept.push_str(mark);
    kept
}

/// Control characters, and those that turn the direction of writing, as escapes; without UTF-8 everything that is not ASCII.
pub(crate) fn guard(text: &str, utf8: bool) -> Cow<'_, str> {
    let bad = |c: char| harmful(c) || (!utf8 && !c.is_ascii());
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if harmful(c) => out.extend(c.escape_default()),
            c if utf8 || c.is_ascii() => out.push(c),
            c => match plain(c) {
                Some(text) => out.push_str(text),
                None => out.extend(c.escape_default()),
            },
        }
    }
    Cow::Owned(out)
}

/// Commands to a terminal: C0, C1, DEL, and what reorders or hides text (Unicode 9, UAX #9).
fn harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Our own signs in ASCII.
const fn plain(c: char) -> Option<&'static str> {
    match c {
        '\u{a0}' => Some(" "),
        '…' => Some("..."),
        '—' | '–' | '─' | '→' => Some("-"),
        '·' => Some("|"),
        '×' => Some("x"),
        '“' | '”' => Some("\""),
        '‘' | '’' => Some("'"),
        '≥' => Some(">="),
        '≤' => Some("<="),
        'µ' => Some("u"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Terminal = Terminal { width: 20, utf8: true };

    #[test]
    fn no_text_can_command_the_terminal() {
        assert_eq!(guard("a\x1b[2Jb\r\n\u{9b}c", true), "a\\u{1b}[2Jb\\r\\n\\u{9b}c");
        assert_eq!(guard("abc\u{202e}def", true), "abc\\u{202e}def");
        assert_eq!(guard("grün", true), "grün");
        assert_eq!(guard("grün … ✔", false), "gr\\u{fc}n ... \\u{2714}");
    }

    #[test]
    fn text_is_wrapped_at_words_and_keeps_its_indent() {
        let mut paper = Paper::new(NARROW);
        paper.put(PLAIN, "- ").wrapped(PLAIN, "one two three four five", 2);
        assert_eq!(paper.finish(), "- one two three four\n  five\n");
        // What stands before it counts, and a line is styled once.
        let mut paper = Paper::new(NARROW);
        paper.put(PLAIN, "because of ").wrapped(BOLD, "everything we know", 2);
        let bold = |text: &str| format!("{BOLD}{text}{BOLD:#}");
        assert_eq!(paper.finish(), format!("because of\n  {}\n", bold("everything we know")));
    }

    #[test]
    fn a_cut_text_is_never_wider_than_its_cell() {
        for text in ["", "short", "a text that is too long for it", "漢字漢字漢字漢字漢字"] {
            for columns in 1..12 {
                assert!(cut(text, columns, "…").width() <= columns, "{text} in {columns}");
            }
        }
    }
}
