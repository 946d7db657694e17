//! How things look on a terminal. Pure: a report in, styled text out; nothing is judged and nothing is written here.

mod canvas;
mod capture;
mod comparison;
mod history;
mod host;
mod idle;
mod observations;
mod pages;
mod paper;
mod progress;
mod sentence;
mod table;
mod tcpip;
mod tower;
mod trace;
mod watch;
mod waterfall;

pub(crate) use capture::{
    Ask, Course, LiveBoard, Of, Told, dolls as capture_packet, draw_live, finding as capture_finding, flows as capture_flows, live_finding,
    live_more, report as capture_report, sequence as capture_flow, top as capture_top,
};
pub(crate) use comparison::comparison;
pub(crate) use history::Track;
pub(crate) use host::{Beside, Board, Deed, Looks, Units, draw, host, prometheus};
pub(crate) use pages::{cause, causes, layer, layers};
pub(crate) use paper::{BOLD, CYAN, DIM, GREEN, PLAIN, Paper, RED, YELLOW, guard};
pub(crate) use progress::Progress;
pub(crate) use table::table;
pub(crate) use watch::{round_line, run_line, watch_head, watch_summary, watch_table};

use crate::cli::Shown;
use crate::terminal::Terminal;
use anstyle::Style;
use faultmap_model::report::LayerStatus;
use faultmap_model::{Report, Status};

/// The report as text for a terminal.
pub(crate) fn report(report: &Report, shown: Shown, terminal: Terminal) -> String {
    let mut paper = Paper::new(terminal);
    if shown.quiet {
        sentence::one_line(&mut paper, report);
        return paper.finish();
    }
    let healthy = report.verdict.status == Status::Healthy;
    sentence::header(&mut paper, report);
    sentence::verdict(&mut paper, report);
    paper.end();
    if shown.tcpip {
        tcpip::map(&mut paper, report);
    } else {
        tower::tower(&mut paper, report);
    }
    waterfall::waterfall(&mut paper, report);
    idle::idle(&mut paper, report);
    comparison::since_baseline(&mut paper, report);
    trace::trace(&mut paper, report);
    if !healthy {
        sentence::remaining(&mut paper, report.verdict.status, &report.verdict.candidates);
        sentence::because(&mut paper, report);
        sentence::ruled_out(&mut paper, report);
        sentence::also(&mut paper, report);
        sentence::open(&mut paper, report);
        sentence::next(&mut paper, report);
        sentence::fix(&mut paper, report);
    }
    let cut_short = report.limits.iter().any(|limit| limit.missing == "time");
    if healthy && (cut_short || shown.verbose) {
        sentence::open(&mut paper, report);
    }
    if shown.verbose {
        if healthy {
            sentence::ruled_out(&mut paper, report);
        }
        observations::all(&mut paper, report);
    }
    paper.finish()
}

/// Sign and colour of a layer's status.
fn sign(paper: &Paper, status: LayerStatus) -> (&'static str, Style) {
    let utf8 = paper.utf8();
    let pick = |sign, ascii| if utf8 { sign } else { ascii };
    match status {
        LayerStatus::Ok => (pick("✔", "+"), GREEN),
        LayerStatus::Warn => ("!", YELLOW.bold()),
        LayerStatus::Fail => (pick("✘", "x"), RED.bold()),
        LayerStatus::Unknown => ("?", YELLOW),
        LayerStatus::NotReached => (pick("·", "."), DIM),
    }
}

/// A time a person can read: `0.4 ms`, `312 ms`, `3.0 s`.
pub(crate) fn time(ms: f64) -> String {
    const HOUR: f64 = 3_600_000.0;
    match ms {
        ms if !ms.is_finite() => "?".to_owned(),
        ms if ms >= 48.0 * HOUR => format!("{:.0} d", (ms / (24.0 * HOUR)).min(9_999_999.0)),
        ms if ms >= 2.0 * HOUR => format!("{:.1} h", ms / HOUR),
        ms if ms >= 99_950.0 => format!("{:.0} s", ms / 1e3),
        ms if ms >= 999.5 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 9.95 => format!("{ms:.0} ms"),
        ms if ms >= 0.095 => format!("{ms:.1} ms"),
        ms => format!("{:.2} ms", ms.max(0.0)),
    }
}

/// `1 SYN`, `2 SYNs`.
pub(crate) fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_keep_two_digits_that_matter() {
        for (ms, text) in [
            (0.04, "0.04 ms"),
            (0.44, "0.4 ms"),
            (9.96, "10 ms"),
            (312.4, "312 ms"),
            (999.6, "1.0 s"),
            (3004.0, "3.0 s"),
            (3_600_000.0, "3600 s"),
            (9_000_000.0, "2.5 h"),
            (14_403_230_818.0, "167 d"),
            (1e300, "9999999 d"),
        ] {
            assert_eq!(time(ms), text);
        }
        assert_eq!((time(-1.0), time(f64::NAN)), ("0.00 ms".to_owned(), "?".to_owned()));
    }
}
