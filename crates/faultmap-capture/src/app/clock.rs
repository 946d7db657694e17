//! NTP and SNTP in one flow (RFC 5905): what a client asked and a server answered, and whether the answer is any good: refusals, servers without a time of their own, and
//! clocks that differ. How far they differ is told only where both clocks are known to be clocks: many clients send a random number in place of theirs.
//!
//! Memory: [`MOST_OPEN`] open questions.

use super::ntp::Ntp;
use super::tell::{Mark, tell};
use super::{Below, Chunk, Conversation, End, Ends, Exchange, Sink, text};
use crate::finding::{Party, Weight};
use crate::flow::Side;
use crate::packet::Stamp;
use faultmap_model::Layer;
use std::collections::VecDeque;

/// Questions that wait at once.
const MOST_OPEN: usize = 16;
/// From 1900, where NTP counts from, to 1970.
const EPOCHS: i64 = 2_208_988_800;
/// A number within this of another clock is a clock: one chosen at random is so once in 25,000 times. Seconds.
const PLAUSIBLE_S: f64 = 86_400.0;
/// Two numbers of a client that differ as its questions do are a clock, wherever it stands. Seconds.
const IN_STEP_S: f64 = 0.5;
/// Farther apart, certificates and tickets begin to fail (RFC 4120 §1.6: 5 min); ntpd steps from 128 ms on. Seconds.
const SKEW_S: f64 = 60.0;
/// Worth a word. Seconds.
const APART_S: f64 = 1.0;
/// Clients do not use a server whose time is less sure (RFC 5905 §11.2.1: MAXDIST is 1 s; ntpd: 1.5 s; chrony: 3 s). Seconds.
const UNSURE_S: f64 = 3.0;
/// A question is lost now and then; so many in a row are not.
const SILENT_TRIES: u32 = 3;

/// Whether a datagram to or from the port of NTP is a message between client and server.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    Ntp::parse(bytes).is_some_and(|message| matches!(message.mode, 3 | 4))
}

struct Query {
    asked: Mark,
    /// What the client calls its time.
    time: u64,
}

/// NTP in one flow.
pub(super) struct Clock {
    ends: Ends,
    open: VecDeque<Query>,
    /// A question before the last one, to see whether the client's numbers are a clock.
    before: Option<(Stamp, u64)>,
    in_step: bool,
    /// What the last answer said of the clocks: when, how far the client's is ahead, and that of the capture. Seconds.
    last: Option<(Mark, f64, f64)>,
    /// Questions in a row without an answer, and the first of them.
    silent: u32,
    silent_since: Option<Mark>,
    answered: u64,
    told: [bool; 3],
}

/// A time of NTP in seconds since 1970, of the era that is nearest to `near`.
fn seconds(time: u64, near: Stamp) -> f64 {
    let whole = i64::try_from(time >> 32).unwrap_or_default() - EPOCHS;
    let eras = ((near.0 / 1_000_000_000 - whole) as f64 / 2_f64.powi(32)).round();
    whole as f64 + eras * 2_f64.powi(32) + (time & 0xffff_ffff) as f64 / 2_f64.powi(32)
}

fn ahead(seconds: f64) -> String {
    let how = if seconds > 0.0 { "ahead of" } else { "behind" };
    let size = seconds.abs();
    match size {
        size if size >= 2.0 * 86_400.0 => format!("{:.0} days {how}", size / 86_400.0),
        size if size >= 7200.0 => format!("{:.1} h {how}", size / 3600.0),
        size => format!("{size:.1} s {how}"),
    }
}

impl Clock {
    /// A flow between these.
    pub(super) fn new(ends: Ends) -> Self {
        let (open, told) = (VecDeque::new(), [false; 3]);
        Self { ends, open, before: None, in_step: false, last: None, silent: 0, silent_since: None, answered: 0, told }
    }

    fn question(&mut self, message: &Ntp, mark: Mark, sink: &mut Sink) {
        let time = message.times[2];
        if let Some((at, earlier)) = self.before {
            let (clock, capture) = (seconds(time, mark.at) - seconds(earlier, at), mark.at.ms_since(at) / 1e3);
            self.in_step = capture >= 1.0 && (clock - capture).abs() <= IN_STEP_S;
        }
        self.before = Some((mark.at, time));
        if self.open.len() >= MOST_OPEN
            && let Some(query) = self.open.pop_front()
        {
            sink.exchanges.push(exchange(&query, None));
        }
        self.silent = self.silent.saturating_add(1);
        self.silent_since.get_or_insert(mark);
        self.open.push_back(Query { asked: mark, time });
    }

    fn answer(&mut self, message: &Ntp, mark: Mark, sink: &mut Sink) {
        // An answer bears the time of its question (RFC 5905 §8).
        let Some(index) = self.open.iter().position(|query| query.time == message.times[0]) else { return };
        for query in self.open.drain(..index) {
            sink.exchanges.push(exchange(&query, None));
        }
        let Some(query) = self.open.pop_front() else { return };
        (self.silent, self.silent_since) = (0, None);
        self.answered += 1;
        let refusal = message.refusal().map(str::to_owned);
        let good = refusal.is_none() && message.leap != 3 && (1..16).contains(&message.stratum);
        let answer = refusal.clone().unwrap_or_else(|| format!("stratum {}", message.stratum));
        sink.exchanges.push(exchange(&query, Some((mark, answer, good))));
        match refusal {
            Some(code) => self.refused(&code, mark, sink),
            None if !good => self.unset(message, mark, sink),
            None => self.compare(message, &query, mark, sink),
        }
    }

    /// Tells once in a flow.
    fn once(&mut self, which: usize) -> bool {
        self.told.get_mut(which).is_some_and(|told| !std::mem::replace(told, true))
    }

    /// RFC 5905 §7.4.
    fn refused(&mut self, code: &str, mark: Mark, sink: &mut Sink) {
        let (weight, why) = match code {
            "RATE" => (Weight::Warning, "it is asked too often: the client is to ask less, and has no time from this answer"),
            "DENY" | "RSTR" => (Weight::Fault, "it does not serve this client"),
            "INIT" | "STEP" | "DROP" => (Weight::Warning, "it has no time yet"),
            _ => (Weight::Warning, "it has no time for this client"),
        };
        if self.once(0) {
            let cause = if matches!(code, "INIT" | "STEP") { "l7.service-starting" } else { "l7.service-error" };
            let text = format!("The time server refuses with {code}: {why}");
            sink.findings.push(tell("ntp.kiss-of-death", weight, Layer::L7, mark, text).for_cause(cause).on(self.ends.service()));
        }
    }

    fn unset(&mut self, message: &Ntp, mark: Mark, sink: &mut Sink) {
        if self.once(1) {
            let leap = if message.leap == 3 { ", alarm" } else { "" };
            let text = format!("The time server has no time of its own (stratum {}{leap}): its clients do not follow it", message.stratum);
            let finding = tell("ntp.unsynchronised", Weight::Warning, Layer::L7, mark, text).for_cause("l7.service-starting");
            sink.findings.push(finding.on(self.ends.service()));
        }
    }

    fn compare(&mut self, message: &Ntp, query: &Query, mark: Mark, sink: &mut Sink) {
        let unsure = message.root_distance();
        if unsure > UNSURE_S && self.once(2) {
            let text = format!("The time server is unsure of its time by {unsure:.1} s (root distance): its clients do not follow it");
            let finding = tell("ntp.unsure", Weight::Warning, Layer::L7, mark, text).for_cause("l7.service-error");
            sink.findings.push(finding.on(self.ends.service()).worth(unsure * 1e3));
        }
        let (asked, [_, received, sent]) = (query.time, message.times);
        let waited = mark.at.ms_since(query.asked.at) / 1e3;
        let client = seconds(asked, mark.at);
        let server = f64::midpoint(seconds(received, mark.at), seconds(sent, mark.at));
        let capture = query.asked.at.0 as f64 / 1e9 + waited / 2.0;
        let skew = client + waited / 2.0 - server;
        if self.in_step || skew.abs() < PLAUSIBLE_S {
            self.last = Some((mark, skew, capture - server));
        }
    }

    /// The clocks as they were at the end: a client that has set its own is healthy.
    fn clocks(&self, sink: &mut Sink) {
        let Some((mark, skew, of_capture)) = self.last.filter(|(_, skew, _)| skew.abs() >= APART_S) else { return };
        let (client, server) = (self.ends.client.ip(), self.ends.server.ip());
        let far = skew.abs() >= SKEW_S;
        let capture = if (skew - of_capture).abs() < APART_S {
            "; the clock of this capture goes with the client's"
        } else if of_capture.abs() < APART_S {
            "; the clock of this capture goes with the server's"
        } else {
            ""
        };
        let text = format!("The clock of {client} is {} that of the time server {server}{capture}", ahead(skew));
        let weight = if far { Weight::Warning } else { Weight::Note };
        let finding = tell("ntp.clock-skew", weight, Layer::L6, mark, text).worth(skew * 1e3).on(Party::Host(client));
        sink.findings.push(finding.for_cause(far.then_some("l6.clock-skew")));
    }

    /// Questions in a row without an answer, where earlier ones were answered: the flow tells of those where none ever was.
    fn silence(&self, at: Stamp, sink: &mut Sink) {
        let Some(since) = self.silent_since.filter(|_| self.silent >= SILENT_TRIES && self.answered > 0) else { return };
        let waited = at.ms_since(since.at);
        let text = format!("The time server answered {} questions, and then none of {}", self.answered, self.silent);
        let finding = tell("ntp.unanswered", Weight::Warning, Layer::L7, since, text).for_cause("l7.service-mute");
        sink.findings.push(finding.on(self.ends.service()).worth(waited));
    }
}

fn exchange(query: &Query, answer: Option<(Mark, String, bool)>) -> Exchange {
    let answer = answer.map(|(mark, words, good)| (mark, text::printable(words.as_bytes(), 20), good));
    Exchange::of_datagrams("ntp", "time".to_owned(), query.asked, answer)
}

impl Conversation for Clock {
    fn chunk(&mut self, chunk: Chunk<'_>, _below: &Below, sink: &mut Sink) {
        let Some(message) = Ntp::parse(chunk.bytes) else { return };
        match (chunk.from, message.mode) {
            (Side::Client, 3) => self.question(&message, Mark::from(&chunk), sink),
            (Side::Server, 4) => self.answer(&message, Mark::from(&chunk), sink),
            _ => {}
        }
    }

    fn gap(&mut self, _from: Side, _missing: u64, _sink: &mut Sink) {}

    fn end(&mut self, _how: End, at: Stamp, _below: &Below, sink: &mut Sink) {
        for query in self.open.drain(..) {
            sink.exchanges.push(exchange(&query, None));
        }
        self.silence(at, sink);
        self.clocks(sink);
    }
}

#[cfg(test)]
mod tests {
    use crate::app::testkit::{C, S, rules, told_of_datagrams};
    use proptest::prelude::*;

    const NOW: u64 = 1_700_000_000 + 2_208_988_800;

    fn stamp(ms: i64) -> u64 {
        let ms = (NOW as i64 * 1000 + ms) as u64;
        ((ms / 1000) << 32) | ((ms % 1000) * ((1 << 32) / 1000))
    }

    fn message(mode: u8, leap: u8, stratum: u8, reference: &[u8; 4], times: [u64; 3]) -> Vec<u8> {
        let mut bytes = vec![0; 48];
        bytes[0] = leap << 6 | 4 << 3 | mode;
        bytes[1] = stratum;
        bytes[12..16].copy_from_slice(reference);
        for (place, time) in times.into_iter().enumerate() {
            bytes[24 + place * 8..32 + place * 8].copy_from_slice(&time.to_be_bytes());
        }
        bytes
    }

    fn ask(time: u64) -> Vec<u8> {
        message(3, 0, 0, &[0; 4], [0, 0, time])
    }

    /// One question at the time of the capture; the server's clock is that of the capture.
    #[track_caller]
    fn check(time: u64, leap: u8, stratum: u8, reference: &[u8; 4], expect: &[&str]) {
        let answer = message(4, leap, stratum, reference, [time, stamp(10), stamp(10)]);
        assert_eq!(rules(&told_of_datagrams(123, &[(C, 0, &ask(time)), (S, 20, &answer)], 900)), expect);
    }

    #[test]
    fn a_good_answer_is_no_finding_whether_the_client_tells_its_time_or_a_random_number() {
        check(stamp(0), 0, 2, &[10, 0, 0, 1], &[]);
        check(0x1234_5678_9abc_def0, 0, 2, &[10, 0, 0, 1], &[]);
    }

    #[test]
    fn refusals_have_their_letters() {
        check(stamp(0), 3, 0, b"RATE", &["ntp.kiss-of-death warning l7.service-error"]);
        check(stamp(0), 3, 0, b"DENY", &["ntp.kiss-of-death fault l7.service-error"]);
        check(stamp(0), 3, 0, b"INIT", &["ntp.kiss-of-death warning l7.service-starting"]);
    }

    #[test]
    fn a_server_that_is_not_set_is_followed_by_nobody() {
        check(stamp(0), 3, 2, &[10, 0, 0, 1], &["ntp.unsynchronised warning l7.service-starting"]);
        check(stamp(0), 0, 16, &[0; 4], &["ntp.unsynchronised warning l7.service-starting"]);
        let mut unsure = message(4, 0, 2, &[10, 0, 0, 1], [stamp(0), stamp(10), stamp(10)]);
        unsure[9] = 9;
        let told = told_of_datagrams(123, &[(C, 0, &ask(stamp(0))), (S, 20, &unsure)], 900);
        assert_eq!(rules(&told), ["ntp.unsure warning l7.service-error"]);
    }

    #[test]
    fn clocks_that_differ_are_told_by_how_much() {
        check(stamp(-600_000), 0, 2, &[10, 0, 0, 1], &["ntp.clock-skew warning l6.clock-skew"]);
        check(stamp(5000), 0, 2, &[10, 0, 0, 1], &["ntp.clock-skew note -"]);
    }

    #[test]
    fn a_clock_years_away_is_known_by_its_steps_and_random_numbers_are_not() {
        let years = 10 * 365 * 86_400_000;
        let story = |second: u64| {
            let (one, two) = (stamp(-years), second);
            let first = message(4, 0, 2, &[10, 0, 0, 1], [one, stamp(10), stamp(10)]);
            let answer = message(4, 0, 2, &[10, 0, 0, 1], [two, stamp(8010), stamp(8010)]);
            rules(&told_of_datagrams(123, &[(C, 0, &ask(one)), (S, 20, &first), (C, 8000, &ask(two)), (S, 8020, &answer)], 9000))
        };
        assert_eq!(story(stamp(8000 - years)), ["ntp.clock-skew warning l6.clock-skew"]);
        assert_eq!(story(0x0102_0304_0506_0708), [""; 0]);
        // It has been set meanwhile.
        assert_eq!(story(stamp(8000)), [""; 0]);
    }

    #[test]
    fn a_server_that_falls_silent_is_told() {
        let questions: Vec<Vec<u8>> = (0..4).map(|number| ask(stamp(number * 1000))).collect();
        let answer = message(4, 0, 2, &[10, 0, 0, 1], [stamp(0), stamp(10), stamp(10)]);
        let lines =
            [(C, 0, &questions[0][..]), (S, 20, &answer), (C, 1000, &questions[1]), (C, 2000, &questions[2]), (C, 3000, &questions[3])];
        assert_eq!(rules(&told_of_datagrams(123, &lines, 9000)), ["ntp.unanswered warning l7.service-mute"]);
        assert_eq!(rules(&told_of_datagrams(123, &lines[..4], 9000)), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 40..60), time in any::<u64>()) {
            let mut answer = bytes;
            answer.resize(48.max(answer.len()), 0);
            answer[0] = answer[0] & 0xc0 | 4 << 3 | 4;
            answer[24..32].copy_from_slice(&time.to_be_bytes());
            let told = told_of_datagrams(123, &[(C, 0, &ask(time)), (S, 20, &answer), (C, 50, &ask(time))], 900);
            prop_assert!(told.findings.iter().all(|finding| finding.text.len() < 200));
        }
    }
}
