//! The map on paper, the full screen and the metrics, as they look.

use super::fixture::{WIDE, full, healthy, sample};
use super::*;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

fn plain(report: &HostReport, shown: HostShown, terminal: Terminal) -> String {
    anstream::adapter::strip_str(&host(report, None, shown, terminal)).to_string()
}

#[test]
fn a_host_in_order_has_seven_bars_and_its_fullest_reading() {
    insta::assert_snapshot!(plain(&healthy(), HostShown::default(), WIDE));
}

#[test]
fn a_full_table_is_named_with_its_proof_its_remedy_and_the_price() {
    insta::assert_snapshot!(plain(&full(), HostShown { verbose: true, ..HostShown::default() }, WIDE));
}

#[test]
fn a_narrow_terminal_without_utf8_gets_the_same_facts() {
    insta::assert_snapshot!(plain(&full(), HostShown::default(), Terminal { width: 44, utf8: false }));
}

#[test]
fn the_four_layers_of_tcp_ip_hold_the_seven() {
    insta::assert_snapshot!(plain(&full(), HostShown { tcpip: true, ..HostShown::default() }, WIDE));
}

#[test]
fn one_line_says_status_layer_and_cause() {
    let quiet = HostShown { quiet: true, ..HostShown::default() };
    assert_eq!(plain(&healthy(), quiet, WIDE), "healthy L4 - fullest: conntrack.entries 62 %\n");
    assert!(plain(&full(), quiet, WIDE).starts_with("fault L4 l4.conntrack-full The connection table is full"));
}

fn dropping() -> HostReport {
    let drops = serde_json::from_value(serde_json::json!({
        "state": "counted", "window_ms": 1000.0, "namespace": 4_026_531_840_u32, "elsewhere": 7, "unattributed": 0, "lost": 0,
        "rows": [
            {"reason": "SOCKET_RCVBUFF", "layer": "L4", "weight": "loss", "count": 1_470, "per_second": 1_470.0, "location": "__udp_enqueue_schedule_skb+0x1a",
             "own": 1_470, "meaning": "the receive buffer of a socket was full", "cause": "l4.udp-buffer-overflow", "namespace": 4_026_531_840_u32,
             "flows": [{"protocol": "udp", "source": "10.0.0.2:53", "destination": "10.0.0.1:4000", "count": 1_470, "socket": 5,
                        "process": {"pid": 812, "name": "dns\u{1b}masq"}}]},
            {"reason": "TCP_OLD_DATA", "layer": "L4", "weight": "ignored", "count": 2, "per_second": 2.0, "location": null,
             "own": 0, "meaning": "sent again", "cause": null, "namespace": null, "flows": []}
        ]
    }));
    HostReport { drops: Some(drops.expect("drops")), ..healthy() }
}

#[test]
fn drops_are_told_by_reason_and_flow_and_no_name_commands_the_terminal() {
    insta::assert_snapshot!(plain(&dropping(), HostShown::default(), WIDE));
}

#[test]
fn the_screen_of_drops() {
    let mut board = Board::new(Looks { utf8: true, colored: false }, std::time::Duration::from_secs(1), None, true);
    board.take(dropping(), "10:23:05".to_owned());
    board.press(KeyEvent::new(KeyCode::Char('d'), KeyModifiers::NONE));
    insta::assert_snapshot!(screen(&board, 100, 14));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for report in [healthy(), full()] {
        for width in 40..=140 {
            for shown in [HostShown { verbose: true, ..HostShown::default() }, HostShown { tcpip: true, ..HostShown::default() }] {
                let text = plain(&report, shown, Terminal { width, utf8: true });
                // A command to be copied is never wrapped; none of these is long.
                let widest = text.lines().map(unicode_width::UnicodeWidthStr::width).max().unwrap_or(0);
                assert!(widest <= width, "{widest} of {width}:\n{text}");
            }
        }
    }
}

fn board(reports: &[HostReport], keys: &[KeyCode]) -> Board {
    let mut board = Board::new(Looks { utf8: true, colored: false }, std::time::Duration::from_secs(1), None, false);
    for report in reports {
        board.take(report.clone(), "10:23:05".to_owned());
    }
    for code in keys {
        board.press(KeyEvent::new(*code, KeyModifiers::NONE));
    }
    board
}

fn screen(board: &Board, width: u16, height: u16) -> String {
    let mut terminal = ratatui::Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| draw(frame, board)).expect("drawn");
    terminal.backend().to_string()
}

#[test]
fn the_screen_of_a_host_in_order() {
    insta::assert_snapshot!(screen(&board(&[healthy(), healthy(), healthy()], &[]), 100, 20));
}

#[test]
fn the_screen_of_a_full_table() {
    insta::assert_snapshot!(screen(&board(&[healthy(), full()], &[KeyCode::Down, KeyCode::Char('p')]), 100, 20));
}

#[test]
fn a_layer_opened_shows_its_readings() {
    insta::assert_snapshot!(screen(&board(&[healthy(), full()], &[KeyCode::Char('4')]), 100, 24));
}

#[test]
fn help_tells_the_keys_and_what_is_not_available() {
    insta::assert_snapshot!(screen(&board(&[healthy()], &[KeyCode::Char('?')]), 80, 22));
}

#[test]
fn a_screen_of_any_size_is_drawn() {
    for keys in [&[][..], &[KeyCode::Char('4'), KeyCode::End], &[KeyCode::Char('?'), KeyCode::PageDown]] {
        let mut board = board(&[healthy(), full()], keys);
        board.tell("cannot write the history /x: No space left on device".to_owned());
        for width in (1..200).step_by(7) {
            for height in 1..40 {
                screen(&board, width, height);
            }
        }
    }
    screen(&board(&[], &[]), 80, 24);
}

#[test]
fn every_reading_is_a_metric() {
    let units = Units { page_bytes: 4096, ticks_per_second: 100 };
    let report = full();
    insta::assert_snapshot!(prometheus(&sample(), units, Beside { report: Some(&report), took_s: Some(0.004), drops: None }));
}
