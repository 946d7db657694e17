//! SSH (RFC 4253), as far as it is in the open: banners, how long the server took for its own, whether the two have algorithms in common, and a disconnect before
//! encryption begins.
//!
//! Memory: one line of at most 256 bytes and 8 KiB of one packet in each direction until encryption begins.

mod algorithms;

use super::gather::keep;
use super::packets::{Cursor, Packets, Step};
use super::tell::{Mark, Open, Rules, SLOW_MS, tell};
use super::{Below, Chunk, Conversation, End, Ends, Exchange, Glance, Sink, text};
use crate::finding::Weight;
use crate::flow::Side;
use crate::flow::record::PerSide;
use crate::packet::Stamp;
use algorithms::{KEXINIT, Offer};
use faultmap_model::Layer;
use faultmap_model::causes::l7::cause_of_refusal;
use faultmap_model::observation::Spoken;

const RULES: Rules = Rules { think: "ssh.greeting-slow", unanswered: "ssh.unanswered", closed: "ssh.closed-without-answer" };
const LONGEST_LINE: usize = 255;
/// Offers have one to three thousand.
const MOST_KEPT: usize = 8 * 1024;
const LONGEST_PACKET: u32 = 256 * 1024;
/// Message numbers (RFC 4250 §4.1.2).
const DISCONNECT: u8 = 1;
const NEWKEYS: u8 = 21;

/// A connection that speaks SSH.
pub(super) struct Ssh {
    ends: Ends,
    halves: PerSide<Half>,
    told: bool,
}

struct Half {
    line: Vec<u8>,
    /// The banner, and when it began.
    banner: Option<(String, Mark)>,
    began: Mark,
    packets: Packets<4>,
    offer: Option<(Offer, Mark)>,
    /// What follows is encrypted, or its place is lost.
    over: bool,
}

impl Default for Half {
    fn default() -> Self {
        Self { line: Vec::new(), banner: None, began: Mark::default(), packets: Packets::keeping(MOST_KEPT), offer: None, over: false }
    }
}

impl Ssh {
    /// A connection between these.
    pub(super) fn new(ends: Ends) -> Self {
        Self { ends, halves: PerSide::default(), told: false }
    }

    fn line(&mut self, from: Side, line: &[u8], mark: Mark, below: &Below, sink: &mut Sink) {
        if !line.starts_with(b"SSH-") {
            let words = String::from_utf8_lossy(line);
            if from == Side::Server && (words.contains("MaxStartups") || words.contains("Not allowed at this time")) {
                let text = format!("the server refuses one more login: {}", text::printable(line, 80));
                let finding = tell("ssh.refused", Weight::Fault, Layer::L7, mark, text);
                sink.findings.push(finding.for_cause("l7.too-many-connections").on(self.ends.service()));
                self.told = true;
            }
            return;
        }
        let half = self.halves.of_mut(from);
        let began = half.began;
        half.banner = Some((text::printable(line, 80), began));
        if from == Side::Client {
            return;
        }
        if let Some(waited) = below.greeted_after_ms(began.at).filter(|waited| *waited >= SLOW_MS) {
            let text = format!("the server showed its banner {} after the connection stood", text::time(waited));
            let finding = tell(RULES.think, Weight::Warning, Layer::L7, began, text);
            sink.findings.push(finding.for_cause("l7.service-slow").on(self.ends.service()).worth(waited));
        }
    }

    /// Both sides have said what they know.
    fn compare(&mut self, sink: &mut Sink) {
        let PerSide { client, server } = &self.halves;
        let (Some((ours, asked)), Some((theirs, answered))) = (&client.offer, &server.offer) else { return };
        let (mark, other) = if asked.at > answered.at { (*asked, *answered) } else { (*answered, *asked) };
        if let Some(why) = ours.differs(theirs) {
            let finding = tell("ssh.no-common-algorithm", Weight::Fault, Layer::L6, mark, why).and(other);
            sink.findings.push(finding.for_cause("l6.tls-cipher-mismatch").on(self.ends.service()));
            self.told = true;
        }
        (self.halves.client.offer, self.halves.server.offer) = (None, None);
    }

    fn packet(&mut self, from: Side, mark: Mark, sink: &mut Sink) {
        let half = self.halves.of_mut(from);
        let mut cursor = Cursor(half.packets.kept());
        let (Some(_padding), Some(kind)) = (cursor.byte(), cursor.byte()) else { return };
        if kind == NEWKEYS {
            *half = Half { banner: half.banner.take(), over: true, ..Half::default() };
            return;
        }
        if kind == KEXINIT && half.offer.is_none() {
            half.offer = Offer::read(cursor.0).map(|offer| (offer, mark));
            return self.compare(sink);
        }
        if kind != DISCONNECT {
            return;
        }
        let Some(reason) = cursor.u32() else { return };
        let words =
            cursor.u32().and_then(|len| cursor.take((len as usize).min(80))).map(|words| text::printable(words, 80)).unwrap_or_default();
        // 11: by application, the ordinary goodbye.
        if reason == 11 {
            return;
        }
        // The offers have said so.
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let who = if from == Side::Client { "the client" } else { "the server" };
        let text = format!("{who} disconnected before a session was agreed on: {words:?} ({reason})");
        let cause = cause_of_refusal(Spoken::Ssh, &reason.to_string(), &words);
        // 3: no algorithm in common.
        let layer = if reason == 3 { Layer::L6 } else { Layer::L7 };
        sink.findings.push(tell("ssh.disconnect", Weight::Fault, layer, mark, text).for_cause(cause).on(self.ends.service()).worth(reason));
    }
}

impl Conversation for Ssh {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let (mark, mut rest) = (Mark::from(&chunk), chunk.bytes);
        while !rest.is_empty() && !self.halves.of(chunk.from).over {
            let half = self.halves.of_mut(chunk.from);
            if half.banner.is_some() {
                let (step, tail) = half.packets.step(rest, |header| {
                    let len = u32::from_be_bytes(*header);
                    (2..LONGEST_PACKET).contains(&len).then(|| u64::from(len))
                });
                rest = tail;
                match step {
                    Step::Whole(_) => self.packet(chunk.from, mark, sink),
                    Step::More => {}
                    Step::Broken => half.over = true,
                }
                continue;
            }
            if half.line.is_empty() {
                half.began = mark;
            }
            let end = rest.iter().position(|byte| *byte == b'\n');
            let part = rest.get(..end.map_or(rest.len(), |end| end + 1)).unwrap_or(rest);
            keep(&mut half.line, part, LONGEST_LINE);
            rest = rest.get(part.len()..).unwrap_or_default();
            if end.is_some() {
                let line = std::mem::take(&mut half.line);
                self.line(chunk.from, line.trim_ascii_end(), mark, below, sink);
            }
        }
    }

    fn glance(&mut self, glance: Glance<'_>, below: &Below, sink: &mut Sink) {
        let Glance { chunk, missing } = glance;
        self.chunk(chunk, below, sink);
        let half = self.halves.of_mut(chunk.from);
        // The beginning of a banner says that it is one.
        if half.banner.is_none() && !half.line.is_empty() {
            let line = std::mem::take(&mut half.line);
            self.line(chunk.from, &line, Mark::from(&chunk), below, sink);
        }
        self.gap(chunk.from, missing, sink);
    }

    fn gap(&mut self, from: Side, _missing: u64, _sink: &mut Sink) {
        self.halves.of_mut(from).over = true;
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        let PerSide { client, server } = &self.halves;
        let Some((hello, asked)) = &client.banner else { return };
        let over = client.over || server.over;
        if server.banner.is_none() && !over && !self.told {
            let open = Open { question: "the client's banner", asked: *asked, done: Some(asked.at), reused: false };
            RULES.unanswered(&self.ends, &open, how, at, below, sink);
        }
        let answered = server.banner.as_ref();
        // What came in its place was not captured.
        if answered.is_none() && server.over {
            return;
        }
        // Both sides begin at once: neither banner waits for the other.
        sink.exchanges.push(Exchange {
            answer: answered.map(|(banner, _)| banner.clone()).unwrap_or_default(),
            answered_in: answered.map(|(_, mark)| mark.packet.0),
            ok: answered.is_some() && !self.told,
            ..Exchange::unanswered("ssh", hello.clone(), *asked)
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, Line, S, rules, told};

    #[track_caller]
    fn check(lines: &[Line<'_>], expect: &[&str]) {
        assert_eq!(rules(&told(22, lines, End::Closed, 9000)), expect);
    }

    #[test]
    fn banners_and_disconnects_in_the_open_are_told() {
        check(&[(S, 11, b"SSH-2.0-OpenSSH_9.2\r\n"), (C, 12, b"SSH-2.0-x\r\n")], &[]);
        check(&[(S, 4000, b"SSH-2.0-OpenSSH_9.2\r\n"), (C, 4001, b"SSH-2.0-x\r\n")], &["ssh.greeting-slow warning l7.service-slow"]);
        check(&[(C, 12, b"SSH-2.0-x\r\n")], &["ssh.closed-without-answer fault l5.closed-without-answer"]);
        check(&[(C, 12, b"SSH-2.0-x\r\n"), (S, 13, b"Exceeded MaxStartups\r\n")], &["ssh.refused fault l7.too-many-connections"]);
        let packet = |kind: u8, body: &[u8]| [&(body.len() as u32 + 6).to_be_bytes()[..], &[4, kind], body, &[0; 4]].concat();
        let offers = |lists| packet(super::KEXINIT, &super::algorithms::tests::body(lists));
        let mut old = super::algorithms::tests::MODERN;
        old[0] = "diffie-hellman-group1-sha1";
        let says = |banner: &[u8], lists, rest: &[u8]| [banner, &offers(lists), rest].concat();
        let client = says(b"SSH-2.0-x\r\n", super::algorithms::tests::MODERN, b"");
        let same = says(b"SSH-2.0-y\r\n", super::algorithms::tests::MODERN, &packet(super::NEWKEYS, b""));
        check(&[(C, 12, &client), (S, 13, &same)], &[]);
        let goodbye = packet(super::DISCONNECT, b"\0\0\0\x03\0\0\0\x02no");
        let other = says(b"SSH-2.0-y\r\n", old, &goodbye);
        check(&[(C, 12, &client), (S, 13, &other)], &["ssh.no-common-algorithm fault l6.tls-cipher-mismatch"]);
        let disconnect = b"SSH-2.0-y\r\n\0\0\0\x0c\x04\x01\0\0\0\x02\0\0\0\x02no";
        check(&[(C, 12, b"SSH-2.0-x\r\n"), (S, 13, disconnect)], &["ssh.disconnect fault -"]);
    }
}
