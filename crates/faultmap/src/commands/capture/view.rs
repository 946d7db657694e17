//! What a user sees while a live capture runs: findings line by line beside a line of progress, or the full screen of `--top` and `--flows`. It
//! shows; what to show is given.

use super::narrow::Narrow;
use super::telling::{Telling, Way};
use crate::cli::CaptureArgs;
use crate::render::{self, Ask, Course, LiveBoard, Looks, Of, draw_live};
use crate::terminal::{self, Choice, Screen, Terminal};
use faultmap_capture::analysis::{Analysis, Fresh};
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// The table is drawn anew so often.
const DRAWN: Duration = Duration::from_secs(1);
/// Keys that wait; a paste of more is cut.
const MOST_KEYS: usize = 64;

/// Lines or a screen.
pub(super) enum View {
    Lines { telling: Telling, progress: render::Progress },
    Screen { screen: Screen, board: Box<LiveBoard>, keys: Receiver<Event>, drawn: Option<Instant> },
}

impl View {
    pub(super) fn begin(args: &CaptureArgs, interface: &str, choice: Choice) -> anyhow::Result<Self> {
        let table = if args.flows { Some(Of::Flows) } else { args.top.then_some(Of::Hosts) };
        if let Some(of) = table.filter(|_| !args.json && Screen::possible()) {
            let looks = Looks { utf8: Terminal::of_environment().utf8, colored: terminal::colored(choice) };
            let (board, keys) = (Box::new(LiveBoard::new(interface, looks, of)), keys());
            return Ok(Self::Screen { screen: Screen::take()?, board, keys, drawn: None });
        }
        let way = match (args.json_lines, args.json || args.quiet) {
            (true, _) => Way::Json,
            (false, true) => Way::Silent,
            (false, false) => Way::Words,
        };
        let progress = render::Progress::begin(terminal::watched() && !args.quiet, Terminal::of_environment(), "waiting for packets");
        Ok(Self::Lines { telling: Telling::new(way, choice), progress })
    }

    /// Shows how it stands. False when the user, or whoever read the lines, has had enough.
    pub(super) fn show(&mut self, analysis: &mut Analysis, narrow: Option<&Narrow>, course: Course, over: bool) -> anyhow::Result<bool> {
        let mut found: Vec<Fresh> = analysis.take_findings();
        found.retain(|fresh| narrow.is_none_or(|narrow| narrow.tells(&fresh.finding)));
        match self {
            Self::Lines { telling, progress } => {
                progress.tell(|| line(course));
                telling.tell(progress, found, over)
            }
            Self::Screen { screen, board, keys, drawn } => {
                board.found(found.into_iter());
                let mut asked = Ask::Nothing;
                for event in keys.try_iter() {
                    match heard(board, &event) {
                        Ask::Quit => return Ok(false),
                        Ask::Draw => asked = Ask::Draw,
                        Ask::Nothing => {}
                    }
                }
                let since = drawn.map(|drawn| drawn.elapsed());
                if since.is_none_or(|since| since >= DRAWN) {
                    let mut flows = analysis.flows_now();
                    flows.retain(|flow| narrow.is_none_or(|narrow| narrow.shows(flow.id)));
                    board.take(flows, course, since.unwrap_or(DRAWN));
                    *drawn = Some(Instant::now());
                    asked = Ask::Draw;
                }
                if asked == Ask::Draw {
                    screen.draw(|frame| draw_live(frame, board))?;
                }
                Ok(true)
            }
        }
    }

    /// Something to say that is no finding.
    pub(super) fn say(&self, text: &str) {
        if let Self::Lines { progress, .. } = self {
            progress.aside(|| terminal::say(text));
        }
    }

    /// Takes the line or the screen away.
    pub(super) fn end(self) {
        if let Self::Lines { progress, .. } = &self {
            progress.end();
        }
    }
}

fn heard(board: &mut LiveBoard, event: &Event) -> Ask {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => Ask::Nothing,
        // A raw terminal sends Ctrl-C as a key.
        Event::Key(key) if key.modifiers.contains(KeyModifiers::CONTROL) => match key.code {
            KeyCode::Char('c' | 'd') => Ask::Quit,
            _ => Ask::Nothing,
        },
        Event::Key(key) => match key.code {
            KeyCode::Char(key) => board.press(key),
            KeyCode::Esc => Ask::Quit,
            _ => Ask::Nothing,
        },
        Event::Resize(..) => Ask::Draw,
        _ => Ask::Nothing,
    }
}

/// Keys, read on a thread of their own, which sleeps in the kernel until there is one. It ends with the program.
fn keys() -> Receiver<Event> {
    let (send, receive) = sync_channel(MOST_KEYS);
    let listen = move || {
        while let Ok(event) = read() {
            if send.send(event).is_err() {
                break;
            }
        }
    };
    // Without the thread there are no keys; signals still end the capture.
    let _ = std::thread::Builder::new().name("keys".to_owned()).spawn(listen);
    receive
}

fn line(course: Course) -> String {
    let lost = if course.dropped > 0 { format!(", {} lost for want of room (--buffer)", course.dropped) } else { String::new() };
    let down = if course.down { ", the interface is down" } else { "" };
    format!("{} packets{lost} in {:.0} s{down}; Ctrl-C ends and judges", course.packets, course.running.as_secs_f64())
}
