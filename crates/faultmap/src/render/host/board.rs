//! What the full screen knows: the last report, the curves, what is open, and what a key does. Pure: it neither draws nor reads keys.

use super::tracks::Tracks;
use faultmap_model::Layer;
use faultmap_model::host::{HostReport, Reading};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::time::Duration;

/// What `+` and `-` step through, in milliseconds.
const INTERVALS_MS: [u64; 9] = [200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000];
/// Lines of a page.
const PAGE: usize = 10;

/// How it may look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks {
    /// More than ASCII can be shown.
    pub(crate) utf8: bool,
    /// Colours are wanted.
    pub(crate) colored: bool,
}

/// What is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Map,
    Layer(Layer),
    Drops,
    Help,
}

/// What a key asks of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Nothing,
    Draw,
    /// Sample at another pace, or not at all: see [`Board::interval`].
    Pace,
    Quit,
}

/// Everything that the screen shows.
pub(crate) struct Board {
    pub(super) looks: Looks,
    pub(super) report: Option<HostReport>,
    pub(super) tracks: Tracks,
    pub(super) view: View,
    /// The layer that Enter opens.
    pub(super) selected: Layer,
    /// First line of the body that is shown.
    pub(super) scroll: usize,
    pub(super) interval: Duration,
    pub(super) paused: bool,
    /// When the last sample was taken, as people read it.
    pub(super) at: String,
    /// Namespace that the user chose.
    pub(super) place: Option<String>,
    /// What went wrong beside, such as a history that cannot be written.
    pub(super) note: Option<String>,
    /// Drops are counted.
    pub(super) drops: bool,
}

impl Board {
    pub(crate) fn new(looks: Looks, interval: Duration, place: Option<String>, drops: bool) -> Self {
        Self {
            looks,
            report: None,
            tracks: Tracks::default(),
            view: View::Map,
            selected: Layer::L7,
            scroll: 0,
            interval,
            paused: false,
            at: String::new(),
            place,
            note: None,
            drops,
        }
    }

    /// A report of one moment, before rates are known: shown, no part of a curve.
    pub(crate) fn begin(&mut self, report: HostReport, at: String) {
        self.report = Some(report);
        self.at = at;
    }

    /// The next report.
    pub(crate) fn take(&mut self, report: HostReport, at: String) {
        self.tracks.take(&report);
        self.begin(report, at);
    }

    /// Says something beside the map.
    pub(crate) fn tell(&mut self, note: String) {
        self.note = Some(note);
    }

    /// Time between samples; `None` while it is paused.
    pub(crate) fn interval(&self) -> Option<Duration> {
        (!self.paused).then_some(self.interval)
    }

    /// What a key does.
    pub(crate) fn press(&mut self, key: KeyEvent) -> Deed {
        if key.kind == KeyEventKind::Release {
            return Deed::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if matches!(key.code, KeyCode::Char('c' | 'C' | 'd')) { Deed::Quit } else { Deed::Nothing };
        }
        match key.code {
            KeyCode::Char('q' | 'Q') => Deed::Quit,
            KeyCode::Char('p' | 'P' | ' ') => {
                self.paused = !self.paused;
                Deed::Pace
            }
            KeyCode::Char('+' | '=') => self.pace(1),
            KeyCode::Char('-' | '_') => self.pace(-1),
            KeyCode::Char('?' | 'h' | 'H') => self.open(if self.view == View::Help { View::Map } else { View::Help }),
            KeyCode::Char('d' | 'D') if self.drops => self.open(if self.view == View::Drops { View::Map } else { View::Drops }),
            KeyCode::Char(digit @ '1'..='7') => {
                let layer = Layer::ALL.into_iter().find(|layer| char::from(b'0' + layer.number()) == digit);
                layer.map_or(Deed::Nothing, |layer| self.open_layer(layer))
            }
            KeyCode::Enter | KeyCode::Right if self.view == View::Map => self.open_layer(self.selected),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.open(View::Map),
            code => self.travel(code),
        }
    }

    fn open(&mut self, view: View) -> Deed {
        let changed = self.view != view;
        self.view = view;
        self.scroll = 0;
        if changed { Deed::Draw } else { Deed::Nothing }
    }

    fn open_layer(&mut self, layer: Layer) -> Deed {
        self.selected = layer;
        self.open(View::Layer(layer))
    }

    /// On the map from layer to layer, elsewhere from line to line. L7 stands on top.
    fn travel(&mut self, code: KeyCode) -> Deed {
        let lines: isize = match code {
            KeyCode::Up | KeyCode::Char('k') => -1,
            KeyCode::Down | KeyCode::Char('j') => 1,
            KeyCode::PageUp => -(PAGE as isize),
            KeyCode::PageDown => PAGE as isize,
            KeyCode::Home => isize::MIN,
            KeyCode::End => isize::MAX,
            KeyCode::Tab => 1,
            KeyCode::BackTab => -1,
            _ => return Deed::Nothing,
        };
        if self.view == View::Map {
            let number = isize::from(self.selected.number()).saturating_sub(lines).clamp(1, 7);
            let layer = Layer::ALL.into_iter().find(|layer| isize::from(layer.number()) == number);
            self.selected = layer.unwrap_or(self.selected);
        } else {
            self.scroll = self.scroll.saturating_add_signed(lines);
        }
        Deed::Draw
    }

    fn pace(&mut self, steps: isize) -> Deed {
        let now = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let other = match steps {
            1 => INTERVALS_MS.into_iter().find(|step| *step > now),
            _ => INTERVALS_MS.into_iter().rev().find(|step| *step < now),
        };
        let Some(other) = other else { return Deed::Nothing };
        self.interval = Duration::from_millis(other);
        Deed::Pace
    }

    /// The readings of a layer: those that alarm first, then the fuller ones, in steps so that rows do not jump about.
    pub(super) fn readings(&self, layer: Layer) -> Vec<&Reading> {
        let all = self.report.iter().flat_map(|report| &report.readings);
        let mut own: Vec<&Reading> = all.filter(|reading| reading.layer == layer).collect();
        let tens = |reading: &Reading| (reading.percent.unwrap_or(0.0) / 10.0) as u32;
        own.sort_by_key(|reading| std::cmp::Reverse((reading.state, tens(reading), reading.percent.is_some())));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        Board::new(Looks { utf8: true, colored: false }, Duration::from_secs(1), None, false)
    }

    fn press(board: &mut Board, code: KeyCode) -> Deed {
        board.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn a_digit_opens_its_layer_and_escape_goes_back() {
        let mut board = board();
        assert_eq!(press(&mut board, KeyCode::Char('4')), Deed::Draw);
        assert_eq!(board.view, View::Layer(Layer::L4));
        assert_eq!(press(&mut board, KeyCode::Esc), Deed::Draw);
        assert_eq!((board.view, board.selected), (View::Map, Layer::L4));
        assert_eq!(press(&mut board, KeyCode::Esc), Deed::Nothing);
        assert_eq!(press(&mut board, KeyCode::Char('8')), Deed::Nothing);
    }

    #[test]
    fn the_arrows_walk_down_the_stack_and_stop_at_its_ends() {
        let mut board = board();
        for _ in 0..9 {
            press(&mut board, KeyCode::Down);
        }
        assert_eq!(board.selected, Layer::L1);
        press(&mut board, KeyCode::Home);
        press(&mut board, KeyCode::Down);
        press(&mut board, KeyCode::Enter);
        assert_eq!(board.view, View::Layer(Layer::L6));
    }

    #[test]
    fn the_pace_has_steps_and_a_pause() {
        let mut board = board();
        assert_eq!(press(&mut board, KeyCode::Char('+')), Deed::Pace);
        assert_eq!(board.interval(), Some(Duration::from_secs(2)));
        for _ in 0..20 {
            press(&mut board, KeyCode::Char('-'));
        }
        assert_eq!(board.interval(), Some(Duration::from_millis(200)));
        press(&mut board, KeyCode::Char('p'));
        assert_eq!(board.interval(), None);
    }

    #[test]
    fn it_ends_on_q_and_on_ctrl_c() {
        let mut board = board();
        assert_eq!(press(&mut board, KeyCode::Char('q')), Deed::Quit);
        assert_eq!(board.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Deed::Quit);
        assert_eq!(press(&mut board, KeyCode::Char('d')), Deed::Nothing, "no drops are counted");
    }
}
