//! The full screen of a live capture: who talks now and how fast, sorted, and the latest findings below. Pure: flows in, cells of a frame out.

use super::super::{BOLD, CYAN, DIM, PLAIN, Paper, RED, YELLOW, canvas, count, time};
use super::bytes;
use crate::render::Looks;
use crate::terminal::Terminal;
use faultmap_capture::analysis::{FlowNow, Fresh};
use faultmap_capture::finding::Weight;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;
use unicode_width::UnicodeWidthStr as _;

/// Nothing can be laid out on less.
const SMALLEST: (u16, u16) = (30, 8);
/// Findings kept for the lower part, and lines of them that are shown.
const MOST_FINDINGS: usize = 32;
const SHOWN_FINDINGS: usize = 5;

/// What the table lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Connections and other flows.
    Flows,
    /// Hosts.
    Hosts,
}

/// What it is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rate,
    Bytes,
    Packets,
    Again,
}

impl By {
    const ALL: [Self; 4] = [Self::Rate, Self::Bytes, Self::Packets, Self::Again];

    const fn words(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Again => "sent again",
        }
    }
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Nothing,
    Draw,
    Quit,
}

/// How the capture goes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Course {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
    pub(crate) running: Duration,
    /// The interface is down.
    pub(crate) down: bool,
}

/// A line of the table.
#[derive(Debug, Clone, Default)]
struct Entry {
    name: String,
    peer: String,
    what: String,
    rate: f64,
    bytes: u64,
    packets: u64,
    again: u64,
    flows: u64,
    rtt_ms: Option<f64>,
}

/// What was found, of one rule at one party: the last of it, and how often.
struct Told {
    fresh: Fresh,
    times: u64,
}

impl Told {
    fn is_of(&self, other: &Fresh) -> bool {
        let server = |fresh: &Fresh| fresh.ends.map(|(_, server)| server);
        let of = |fresh: &Fresh| (fresh.finding.rule, fresh.finding.cause, fresh.finding.blames, server(fresh));
        of(&self.fresh) == of(other)
    }
}

/// The state of the screen.
pub(crate) struct LiveBoard {
    interface: String,
    looks: Looks,
    of: Of,
    by: usize,
    paused: bool,
    course: Course,
    /// Bytes a second of everything, since the last time.
    rate: f64,
    before: HashMap<u64, u64>,
    flows: Vec<(FlowNow, f64)>,
    findings: VecDeque<Told>,
    found: u64,
}

impl LiveBoard {
    pub(crate) fn new(interface: &str, looks: Looks, of: Of) -> Self {
        Self {
            interface: interface.to_owned(),
            looks,
            of,
            by: 0,
            paused: false,
            course: Course::default(),
            rate: 0.0,
            before: HashMap::new(),
            flows: Vec::new(),
            findings: VecDeque::new(),
            found: 0,
        }
    }

    /// The keys: q quits, s sorts by the next column, p holds the picture, t shows hosts or flows.
    pub(crate) fn press(&mut self, key: char) -> Ask {
        match key {
            'q' => return Ask::Quit,
            's' => self.by = (self.by + 1) % By::ALL.len(),
            'p' => self.paused = !self.paused,
            't' => self.of = if self.of == Of::Flows { Of::Hosts } else { Of::Flows },
            _ => return Ask::Nothing,
        }
        Ask::Draw
    }

    /// The flows as they stand, so long after the last time.
    pub(crate) fn take(&mut self, flows: Vec<FlowNow>, course: Course, since: Duration) {
        let seconds = since.as_secs_f64().max(0.001);
        let rate = |bytes: u64, before: Option<&u64>| bytes.saturating_sub(before.copied().unwrap_or(0)) as f64 / seconds;
        let total = rate(course.bytes, Some(&self.course.bytes));
        let now: HashMap<u64, u64> = flows.iter().map(|flow| (flow.id.0, sum(flow))).collect();
        if !self.paused {
            self.flows = flows.into_iter().map(|flow| (rate(sum(&flow), self.before.get(&flow.id.0)), flow)).map(|(r, f)| (f, r)).collect();
            self.rate = total;
        }
        self.before = now;
        self.course = course;
    }

    /// Something was found.
    pub(crate) fn found(&mut self, fresh: impl Iterator<Item = Fresh>) {
        for fresh in fresh.filter(|fresh| fresh.finding.weight >= Weight::Warning) {
            self.found += 1;
            let known = self.findings.iter().position(|told| told.is_of(&fresh));
            let times = known.and_then(|known| self.findings.remove(known)).map_or(0, |told| told.times);
            if self.findings.len() >= MOST_FINDINGS {
                self.findings.pop_front();
            }
            self.findings.push_back(Told { fresh, times: times + 1 });
        }
    }

    fn by(&self) -> By {
        By::ALL.get(self.by).copied().unwrap_or(By::Rate)
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = match self.of {
            Of::Flows => self.flows.iter().map(of_flow).collect(),
            Of::Hosts => self.hosts(),
        };
        let by = self.by();
        entries.sort_by(|a, b| {
            let order = match by {
                By::Rate => b.rate.total_cmp(&a.rate),
                By::Bytes => b.bytes.cmp(&a.bytes),
                By::Packets => b.packets.cmp(&a.packets),
                By::Again => b.again.cmp(&a.again),
            };
            order.then(b.bytes.cmp(&a.bytes)).then_with(|| a.name.cmp(&b.name)).then_with(|| a.peer.cmp(&b.peer))
        });
        entries
    }

    fn hosts(&self) -> Vec<Entry> {
        let mut hosts: HashMap<IpAddr, Entry> = HashMap::new();
        for (flow, rate) in &self.flows {
            for ip in [flow.client.ip(), flow.server.ip()] {
                let host = hosts.entry(ip).or_insert_with(|| Entry { name: ip.to_string(), ..Entry::default() });
                host.rate += rate;
                host.bytes = host.bytes.saturating_add(sum(flow));
                host.packets = host.packets.saturating_add(flow.packets.client).saturating_add(flow.packets.server);
                host.again = host.again.saturating_add(flow.again);
                host.flows += 1;
            }
        }
        hosts.into_values().collect()
    }
}

const fn sum(flow: &FlowNow) -> u64 {
    flow.bytes.client.saturating_add(flow.bytes.server)
}

fn of_flow((flow, rate): &(FlowNow, f64)) -> Entry {
    Entry {
        name: flow.client.to_string(),
        peer: flow.server.to_string(),
        what: flow.app.map_or_else(|| flow.protocol.to_string(), str::to_owned),
        rate: *rate,
        bytes: sum(flow),
        packets: flow.packets.client.saturating_add(flow.packets.server),
        again: flow.again,
        flows: 1,
        rtt_ms: flow.rtt_ms,
    }
}

/// Draws it.
pub(crate) fn draw_live(frame: &mut Frame<'_>, board: &LiveBoard) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        frame.render_widget(Paragraph::new("terminal too small; q quits"), area);
        return;
    }
    let height = usize::from(area.height);
    let sheet = Sheet { board, paper: Paper::new(Terminal { width: usize::from(area.width), utf8: board.looks.utf8 }) };
    let found = sheet.findings();
    let mut lines = sheet.head();
    let room = height.saturating_sub(lines.len() + found.len() + 1);
    let mut table = sheet.table();
    table.truncate(room);
    table.resize(room, Line::default());
    lines.extend(table);
    lines.extend(found);
    lines.push(sheet.foot());
    frame.render_widget(Paragraph::new(lines), Rect { ..area });
}

struct Sheet<'a> {
    board: &'a LiveBoard,
    paper: Paper,
}

/// Columns of numbers: rate, bytes, packets, sent again.
const NUMBERS: [usize; 4] = [11, 9, 9, 6];
/// An address of IPv4 with its port.
const LEAST_END: usize = 21;

impl Sheet<'_> {
    fn put(&self, line: &mut Line<'static>, style: anstyle::Style, text: &str) {
        let room = self.paper.width().saturating_sub(line.width());
        if room > 0 {
            let text = self.paper.cut(text, room);
            line.push_span(Span::styled(text, canvas::style(style, self.board.looks.colored)));
        }
    }

    fn cell(&self, line: &mut Line<'static>, style: anstyle::Style, text: &str, columns: usize, right: bool) {
        let text = self.paper.cut(text, columns);
        let blank = " ".repeat(columns.saturating_sub(text.width()));
        self.put(line, style, &if right { blank + &text } else { text + &blank });
    }

    fn head(&self) -> Vec<Line<'static>> {
        let board = self.board;
        let course = board.course;
        let mut line = Line::default();
        self.put(&mut line, BOLD, &board.interface);
        self.put(
            &mut line,
            PLAIN,
            &format!("  {}/s  {} in {:.0} s", bytes(board.rate as u64), count(course.packets, "packet"), course.running.as_secs_f64()),
        );
        if course.dropped > 0 {
            self.put(&mut line, YELLOW, &format!("  {} lost for want of room (--buffer)", course.dropped));
        }
        if course.down {
            self.put(&mut line, RED, "  the interface is down");
        }
        if board.paused {
            self.put(&mut line, YELLOW, "  held");
        }
        vec![line, Line::default()]
    }

    fn table(&self) -> Vec<Line<'static>> {
        let flows = self.board.of == Of::Flows;
        let numbers: usize = NUMBERS.iter().sum();
        let room = self.paper.width().saturating_sub(numbers);
        // The round trip, the protocol and the other end go before the numbers do.
        let extra = if room >= 64 { 17 } else { 0 };
        // No wider than what stands in it: numbers far from their names are hard to follow.
        let entries = self.board.entries();
        let widest = entries.iter().map(|entry| entry.name.width().max(entry.peer.width())).max().unwrap_or(0).max(LEAST_END);
        let ends = (room.saturating_sub(extra) / if flows { 2 } else { 1 }).min(widest + 2);
        let mut head = Line::default();
        self.cell(&mut head, DIM, if flows { "client" } else { "host" }, ends, false);
        if flows {
            self.cell(&mut head, DIM, "server", ends, false);
        }
        if extra > 0 {
            self.cell(&mut head, DIM, if flows { "app" } else { "" }, 8, false);
            self.cell(&mut head, DIM, if flows { "rtt" } else { "flows" }, 9, true);
        }
        for (name, width) in ["rate", "bytes", "packets", "again"].into_iter().zip(NUMBERS) {
            self.cell(&mut head, DIM, name, width, true);
        }
        let mut lines = vec![head];
        for entry in entries {
            let mut line = Line::default();
            self.cell(&mut line, PLAIN, &entry.name, ends.saturating_sub(1), false);
            self.put(&mut line, PLAIN, " ");
            if flows {
                self.cell(&mut line, PLAIN, &entry.peer, ends.saturating_sub(1), false);
                self.put(&mut line, PLAIN, " ");
            }
            if extra > 0 {
                let last = if flows { entry.rtt_ms.map_or_else(String::new, time) } else { entry.flows.to_string() };
                self.cell(&mut line, CYAN, &entry.what, 8, false);
                self.cell(&mut line, PLAIN, &last, 9, true);
            }
            let [rate, total, packets, again] = NUMBERS;
            self.cell(&mut line, BOLD, &format!("{}/s", bytes(entry.rate as u64)), rate, true);
            self.cell(&mut line, PLAIN, &bytes(entry.bytes), total, true);
            self.cell(&mut line, PLAIN, &entry.packets.to_string(), packets, true);
            self.cell(&mut line, if entry.again > 0 { YELLOW } else { DIM }, &entry.again.to_string(), again, true);
            lines.push(line);
        }
        lines
    }

    fn findings(&self) -> Vec<Line<'static>> {
        let board = self.board;
        let mut lines = vec![Line::default()];
        let mut head = Line::default();
        self.put(&mut head, DIM, &if board.found == 0 { "nothing found so far".to_owned() } else { format!("found {}", board.found) });
        lines.push(head);
        let skip = board.findings.len().saturating_sub(SHOWN_FINDINGS);
        for Told { fresh: Fresh { finding, .. }, times } in board.findings.iter().skip(skip) {
            let mut line = Line::default();
            let style = if finding.weight == Weight::Fault { RED } else { YELLOW };
            self.put(&mut line, DIM, &super::live::clock(finding.last.0));
            self.put(&mut line, style, &format!(" {} ", finding.layer.map_or_else(|| "--".to_owned(), |layer| layer.to_string())));
            if *times > 1 {
                self.put(&mut line, BOLD, &format!("{times} times, the last: "));
            }
            self.put(&mut line, PLAIN, &finding.text);
            lines.push(line);
        }
        lines
    }

    fn foot(&self) -> Line<'static> {
        let mut line = Line::default();
        let other = if self.board.of == Of::Flows { "hosts" } else { "flows" };
        self.put(&mut line, DIM, &format!("sorted by {}", self.board.by().words()));
        self.put(&mut line, DIM, &format!("   q quit  s sort  p hold  t {other}"));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultmap_capture::finding::{Cited, Finding, Party};
    use faultmap_capture::flow::record::PerSide;
    use faultmap_capture::flow::{FlowId, Protocol};
    use faultmap_capture::packet::Stamp;
    use ratatui::Terminal as Screen;
    use ratatui::backend::TestBackend;

    fn flow(id: u64, port: u16, bytes: u64, again: u64) -> FlowNow {
        FlowNow {
            id: FlowId(id),
            protocol: Protocol::Tcp,
            client: format!("10.0.0.1:{port}").parse().expect("socket"),
            server: "10.2.0.10:443".parse().expect("socket"),
            app: Some("tls"),
            server_name: None,
            packets: PerSide { client: 3, server: 4 },
            bytes: PerSide { client: 0, server: bytes },
            again,
            rtt_ms: Some(2.0),
            last: Stamp(0),
        }
    }

    fn shown(board: &LiveBoard, width: u16, height: u16) -> String {
        let mut screen = Screen::new(TestBackend::new(width, height)).expect("a screen");
        screen.draw(|frame| draw_live(frame, board)).expect("drawn");
        screen.backend().to_string()
    }

    fn board() -> LiveBoard {
        let mut board = LiveBoard::new("eth0", Looks { utf8: true, colored: false }, Of::Flows);
        let course = |bytes| Course { packets: 7, bytes, running: Duration::from_secs(4), ..Course::default() };
        board.take(vec![flow(1, 40_001, 1000, 0), flow(2, 40_002, 90_000, 5)], course(91_000), Duration::from_secs(1));
        board.take(vec![flow(1, 40_001, 9000, 0), flow(2, 40_002, 90_000, 5)], course(99_000), Duration::from_secs(1));
        board
    }

    fn order(board: &LiveBoard) -> (usize, usize) {
        let text = shown(board, 120, 20);
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} is not in {text}"));
        (at("40001"), at("40002"))
    }

    #[test]
    fn who_talks_now_stands_above_who_talked_most_until_sorted_otherwise() {
        let mut board = board();
        let (quick, large) = order(&board);
        assert!(quick < large);
        assert_eq!(board.press('s'), Ask::Draw);
        let (quick, large) = order(&board);
        assert!(large < quick);
        assert_eq!((board.press('x'), board.press('q')), (Ask::Nothing, Ask::Quit));
    }

    #[test]
    fn what_is_found_again_at_one_party_is_one_line() {
        let refused = |port: u16, packet: u64| {
            let server: std::net::SocketAddr = format!("10.2.0.10:{port}").parse().expect("socket");
            let finding = Finding {
                rule: "tcp.syn-refused",
                weight: Weight::Fault,
                layer: None,
                cause: None,
                flow: Some(FlowId(packet)),
                blames: Some(Party::Service(server)),
                first: Stamp(0),
                last: Stamp(0),
                cited: Cited { packets: vec![packet], count: 1 },
                text: format!("{server} refused the SYN (packet {packet})"),
                said_by: None,
                value: None,
            };
            Fresh { finding, ends: Some(("10.0.0.1:40000".parse().expect("socket"), server)) }
        };
        let mut board = board();
        board.found([refused(81, 1), refused(81, 2), refused(82, 3), refused(81, 4)].into_iter());
        let text = shown(&board, 120, 20);
        assert!(text.contains("found 4") && text.contains("3 times, the last: 10.2.0.10:81 refused the SYN (packet 4)"), "{text}");
        assert_eq!(text.matches("refused the SYN").count(), 2, "{text}");
    }

    #[test]
    fn what_is_held_stays_as_it_is() {
        let mut board = board();
        board.press('p');
        board.take(vec![flow(3, 40_003, 5, 0)], Course::default(), Duration::from_secs(1));
        let text = shown(&board, 120, 20);
        assert!(text.contains("held") && text.contains("40001") && !text.contains("40003"), "{text}");
    }

    #[test]
    fn every_size_and_view_can_be_drawn() {
        let mut board = board();
        for (width, height) in [(1, 1), (30, 8), (40, 10), (60, 24), (200, 60)] {
            for _ in 0..2 {
                let _ = shown(&board, width, height);
                board.press('t');
            }
        }
        board.press('t');
        let text = shown(&board, 60, 12);
        assert!(text.contains("10.2.0.10") && text.contains("8.0 kB/s"), "{text}");
    }
}
