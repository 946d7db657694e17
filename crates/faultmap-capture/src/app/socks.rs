//! SOCKS 4 and 5 (RFC 1928, RFC 1929): what the client asked the proxy for, what the proxy said to it, and what is spoken in the tunnel. It keeps no user name and no
//! password.
//!
//! Memory: 600 bytes of one message in each direction, and the conversation in the tunnel.

use super::recognise::Likely;
use super::tell::{Mark, Open, Rules, tell};
use super::{Below, Chunk, Conversation, End, Ends, Exchange, Sink, Talk, text};
use crate::finding::Weight;
use crate::flow::Side;
use crate::flow::record::PerSide;
use crate::packet::Stamp;
use faultmap_model::Layer;
use std::net::{IpAddr, Ipv6Addr};

const RULES: Rules = Rules { think: "socks.proxy-slow", unanswered: super::tell::TUNNEL_UNANSWERED, closed: "socks.closed" };
/// The usual ports: 1080 (IANA), Tor's, and what tools take beside them.
const PORTS: [u16; 5] = [1080, 1081, 9050, 9150, 10_808];
/// Longest message of a login (RFC 1929: 3 + 255 + 255), and more than any request.
const LONGEST: usize = 600;
/// A tunnel that ends so soon without a byte was never one, in milliseconds.
const AT_ONCE_MS: f64 = 1000.0;
const REFUSED: &str = "l5.proxy-refused";

/// Which message comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The client's greeting of version 5, or its whole request of version 4.
    Greeting,
    Method,
    Login,
    LoginAnswer,
    Request,
    Reply,
    Tunnel,
    Over,
}

/// A connection that speaks SOCKS.
pub(super) struct Socks {
    ends: Ends,
    step: Step,
    version: u8,
    kept: PerSide<Vec<u8>>,
    began: PerSide<Mark>,
    /// The question that waits, and its target.
    asked: Option<(Mark, Stamp)>,
    target: String,
    inner: Option<Box<Talk>>,
    /// When the tunnel opened.
    opened: Option<Mark>,
    spoken: bool,
}

/// The first bytes of a client of SOCKS. They are few, so that beyond the usual ports the proxy's answer must confirm them.
pub(super) fn greeting(port: u16, client: &[u8], server: &[u8]) -> Likely {
    let known = match client {
        [5, count @ 1..=10, methods @ ..] if methods.len() == usize::from(*count) => Likely::Yes,
        [5, count @ 1..=10, methods @ ..] if methods.len() < usize::from(*count) => Likely::Maybe,
        // What follows the proxy's answer.
        [5, 1..=10, ..] if !server.is_empty() => Likely::Yes,
        [4, 1 | 2, rest @ ..] if rest.len() < 7 => Likely::Maybe,
        [4, 1 | 2, _, _, a, b, c, d, rest @ ..] if rest.last() == Some(&0) && [*a, *b, *c, *d] != [0; 4] => Likely::Yes,
        [5] | [4] => Likely::Maybe,
        _ => Likely::No,
    };
    if known != Likely::Yes || PORTS.contains(&port) {
        return known;
    }
    match (client.first(), server) {
        (_, []) | (Some(4), [0]) | (Some(5), [5]) => Likely::Maybe,
        (Some(5), [5, method, ..]) if *method == 0xff || offered(client).contains(method) => Likely::Yes,
        (Some(4), [0, 90..=93, ..]) => Likely::Yes,
        _ => Likely::No,
    }
}

/// The ways to log in that a greeting offers.
fn offered(client: &[u8]) -> &[u8] {
    let count = client.get(1).map_or(0, |count| usize::from(*count));
    client.get(2..2 + count).unwrap_or_default()
}

/// Length of the message that `bytes` begin; `None` while that is not known.
fn length(step: Step, version: u8, bytes: &[u8]) -> Option<usize> {
    match (step, version) {
        (Step::Greeting, 4) => {
            let user = bytes.get(8..)?.iter().position(|byte| *byte == 0)? + 9;
            // 4a: an address of 0.0.0.x means that a name follows.
            match bytes.get(4..8) {
                Some([0, 0, 0, 1..=255]) => Some(bytes.get(user..)?.iter().position(|byte| *byte == 0)? + user + 1),
                _ => Some(user),
            }
        }
        (Step::Greeting, _) => Some(2 + usize::from(*bytes.get(1)?)),
        (Step::Method | Step::LoginAnswer, _) => Some(2),
        (Step::Login, _) => {
            let user = usize::from(*bytes.get(1)?);
            Some(3 + user + usize::from(*bytes.get(2 + user)?))
        }
        (Step::Reply, 4) => Some(8),
        (Step::Request | Step::Reply, _) => match bytes.get(3)? {
            1 => Some(10),
            4 => Some(22),
            _ => Some(7 + usize::from(*bytes.get(4)?)),
        },
        (Step::Tunnel | Step::Over, _) => None,
    }
}

/// The target of a request, as a person writes it.
fn target(version: u8, message: &[u8]) -> String {
    let (host, port): (String, &[u8]) = if version == 4 {
        let name = message.get(8..).and_then(|rest| rest.split(|byte| *byte == 0).nth(1)).unwrap_or_default();
        let host = match message.get(4..8) {
            Some([0, 0, 0, 1..=255]) => text::printable(name, 253),
            Some([a, b, c, d]) => IpAddr::from([*a, *b, *c, *d]).to_string(),
            _ => String::new(),
        };
        (host, message.get(2..4).unwrap_or_default())
    } else {
        let tail = message.len().saturating_sub(2);
        let host = match (message.get(3), message.get(4..tail)) {
            (Some(1), Some([a, b, c, d])) => IpAddr::from([*a, *b, *c, *d]).to_string(),
            (Some(4), Some(bytes)) => bytes.first_chunk::<16>().map(|bytes| format!("[{}]", Ipv6Addr::from(*bytes))).unwrap_or_default(),
            (Some(3), Some([_, name @ ..])) => text::printable(name, 253),
            _ => String::new(),
        };
        (host, message.get(tail..).unwrap_or_default())
    };
    let port = port.first_chunk::<2>().map_or(0, |port| u16::from_be_bytes(*port));
    format!("{host}:{port}")
}

/// What a reply code says (RFC 1928 §6; version 4 by its memo); `None` if the way is open.
fn reply(version: u8, code: u8) -> Option<&'static str> {
    Some(match (version, code) {
        (4, 90) | (5, 0) => return None,
        (4, 92 | 93) => "it cannot be sure who the user is (identd)",
        (4, _) => "it refuses, or could not reach the target",
        (_, 1) => "it failed in general",
        (_, 2) => "its rules do not allow the target",
        (_, 3) => "the target's network cannot be reached from it",
        (_, 4) => "it cannot reach or resolve the target",
        (_, 5) => "the target refused its connection",
        (_, 6) => "the way to the target took too many hops",
        (_, 7) => "it does not know this command",
        (_, 8) => "it does not know this type of address",
        _ => "a code without a name",
    })
}

impl Socks {
    /// A connection between these.
    pub(super) fn new(ends: Ends) -> Self {
        Self {
            ends,
            step: Step::Greeting,
            version: 0,
            kept: PerSide::default(),
            began: PerSide::default(),
            asked: None,
            target: String::new(),
            inner: None,
            opened: None,
            spoken: false,
        }
    }

    /// Whose message comes next.
    const fn turn(&self) -> Side {
        match self.step {
            Step::Greeting | Step::Login | Step::Request => Side::Client,
            _ => Side::Server,
        }
    }

    fn question(&self) -> String {
        if self.target.is_empty() { "SOCKS greeting".to_owned() } else { format!("SOCKS connect to {}", self.target) }
    }

    fn message(&mut self, message: &[u8], mark: Mark, sink: &mut Sink) {
        let began = *self.began.of(self.turn());
        let second = message.get(1).copied().unwrap_or_default();
        match self.step {
            Step::Greeting if self.version == 4 => self.requested(message, began, mark, sink),
            Step::Greeting => {
                self.asked = Some((began, mark.at));
                self.step = Step::Method;
            }
            Step::Method => match second {
                _ if message.first() != Some(&5) => self.stranger(message, mark, sink),
                0xff => self.refuse("it takes none of the ways to log in that the client offers", mark, sink),
                2 => self.step = Step::Login,
                // Other ways to log in (GSSAPI) are not followed.
                0 => self.step = Step::Request,
                _ => self.step = Step::Over,
            },
            Step::Login => {
                self.asked = Some((began, mark.at));
                self.step = Step::LoginAnswer;
            }
            Step::LoginAnswer if second == 0 => self.step = Step::Request,
            Step::LoginAnswer => self.refuse("it does not accept the login", mark, sink),
            Step::Request => self.requested(message, began, mark, sink),
            Step::Reply => match reply(self.version, second) {
                Some(why) => self.refuse(&format!("{why} (code {second})"), mark, sink),
                None => self.open(mark, sink),
            },
            Step::Tunnel | Step::Over => {}
        }
    }

    fn requested(&mut self, message: &[u8], began: Mark, mark: Mark, sink: &mut Sink) {
        self.target = target(self.version, message);
        if sink.server_name.is_none() {
            sink.server_name = self.target.rsplit_once(':').map(|(host, _)| host.to_owned());
        }
        self.asked = Some((began, mark.at));
        self.step = Step::Reply;
    }

    /// The first words are not those of a proxy of this kind.
    fn stranger(&mut self, words: &[u8], mark: Mark, sink: &mut Sink) {
        let what = if words.starts_with(b"HT") { "those of HTTP: a proxy of another kind" } else { "none of SOCKS" };
        self.refuse(&format!("its first words are {what}"), mark, sink);
    }

    fn refuse(&mut self, why: &str, mark: Mark, sink: &mut Sink) {
        let question = self.question();
        let finding = tell("socks.reply", Weight::Fault, Layer::L5, mark, format!("{question}: the proxy gives no way: {why}"));
        let finding = self.asked.map_or(finding.clone(), |(asked, _)| finding.and(asked));
        sink.findings.push(finding.for_cause(REFUSED).on(self.ends.service()));
        self.exchange("refused", Some(mark), false, sink);
        self.step = Step::Over;
    }

    fn open(&mut self, mark: Mark, sink: &mut Sink) {
        self.exchange("open", Some(mark), true, sink);
        self.step = Step::Tunnel;
        self.opened = Some(mark);
        self.inner = Some(Box::new(Talk::new(self.ends, true)));
    }

    fn exchange(&mut self, answer: &str, answered: Option<Mark>, ok: bool, sink: &mut Sink) {
        let question = self.question();
        let Some((asked, done)) = self.asked.take() else { return };
        let wait_ms = answered.map(|mark| mark.at.ms_since(done));
        // What the proxy does meanwhile is to connect, which is the network's time and the target's: it is not said to think.
        sink.exchanges.push(Exchange {
            answer: answer.to_owned(),
            wait_ms,
            total_ms: wait_ms,
            answered_in: answered.map(|mark| mark.packet.0),
            ok,
            ..Exchange::unanswered("socks", question, asked)
        });
    }

    /// What is said in the tunnel, and through which proxy.
    fn through(&mut self, sink: &mut Sink, say: impl FnOnce(&mut Talk, &mut Sink)) {
        let Some(inner) = &mut self.inner else { return };
        let told = sink.findings.len();
        say(inner, sink);
        super::tell::through(&self.target, told, sink);
    }
}

impl Conversation for Socks {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let mut rest = chunk.bytes;
        while !rest.is_empty() {
            if self.step == Step::Tunnel {
                self.spoken = true;
                return self.through(sink, |inner, sink| inner.chunk(Chunk { bytes: rest, ..chunk }, below, sink));
            }
            if self.step == Step::Over {
                return;
            }
            // Out of turn: nothing that is known here.
            if chunk.from != self.turn() {
                self.step = Step::Over;
                return;
            }
            let mark = Mark::from(&chunk);
            let mut kept = std::mem::take(self.kept.of_mut(chunk.from));
            if kept.is_empty() {
                *self.began.of_mut(chunk.from) = mark;
            }
            while let Some((byte, tail)) = rest.split_first() {
                kept.push(*byte);
                rest = tail;
                if self.step == Step::Greeting && self.version == 0 {
                    self.version = *byte;
                }
                if kept.len() > LONGEST || length(self.step, self.version, &kept) == Some(kept.len()) {
                    break;
                }
            }
            match length(self.step, self.version, &kept) {
                _ if kept.len() > LONGEST => self.step = Step::Over,
                Some(whole) if whole == kept.len() => self.message(&kept, mark, sink),
                _ => *self.kept.of_mut(chunk.from) = kept,
            }
        }
    }

    fn gap(&mut self, from: Side, missing: u64, sink: &mut Sink) {
        match &mut self.inner {
            Some(inner) => inner.gap(from, missing, sink),
            None => self.step = Step::Over,
        }
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        if self.step == Step::Tunnel {
            self.through(sink, |inner, sink| inner.end(how, at, below, sink));
            let by_server = match how {
                End::Reset(side) | End::HalfClosed(side) => side == Side::Server,
                End::Closed => below.first_fin == Some(Side::Server),
                End::Idle | End::Cut => false,
            };
            if let Some(opened) = self.opened.filter(|opened| by_server && !self.spoken && below.last_word.ms_since(opened.at) < AT_ONCE_MS)
            {
                let text = format!("the tunnel to {} was opened and closed at once, without a byte", self.target);
                let finding = tell("socks.closed", Weight::Fault, Layer::L5, opened, text);
                sink.findings.push(finding.for_cause("l5.closed-without-answer").on(self.ends.service()));
            }
            return;
        }
        let Some((asked, done)) = self.asked.filter(|_| self.step != Step::Over) else { return };
        let question = self.question();
        let open = Open { question: &question, asked, done: Some(done), reused: false };
        RULES.unanswered(&self.ends, &open, how, at, below, sink);
        super::tell::of_tunnel(RULES.closed, sink);
        self.exchange("", None, false, sink);
    }
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, Line, S, exchanges, rules, told};
    use crate::flow::Side;

    const HELLO: &[u8] = &[5, 1, 0];
    const ASK: &[u8] = b"\x05\x01\0\x03\x09shop.test\x01\xbb";

    #[track_caller]
    fn check(port: u16, lines: &[Line<'_>], how: End, end_ms: u64, expect: &[&str], said: &[&str]) {
        let sink = told(port, lines, how, end_ms);
        let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        assert_eq!((rules(&sink), exchanges(&sink)), (rows(expect), rows(said)), "{:?}", sink.findings);
        assert!(!format!("{sink:?}").contains("secret"));
    }

    #[test]
    fn a_proxy_that_gives_no_way_says_why() {
        let refused = ["socks.reply fault l5.proxy-refused"];
        let lines = [(C, 1, HELLO), (S, 9, &[5, 0][..]), (C, 10, ASK), (S, 30, b"\x05\x04\0\x01\0\0\0\0\0\0")];
        check(1080, &lines, End::Closed, 40, &refused, &["SOCKS connect to shop.test:443 > refused"]);
        check(3000, &lines, End::Closed, 40, &refused, &["SOCKS connect to shop.test:443 > refused"]);
        check(1080, &[(C, 1, HELLO), (S, 9, &[5, 0xff])], End::Closed, 40, &refused, &["SOCKS greeting > refused"]);
        let login = [(C, 1, &[5, 2, 0, 2][..]), (S, 9, &[5, 2]), (C, 10, b"\x01\x03joe\x06secret"), (S, 20, &[1, 1])];
        check(1080, &login, End::Closed, 40, &refused, &["SOCKS greeting > refused"]);
        let four = [(C, 1, &b"\x04\x01\0\x50\x0a\x02\0\x0ajoe\0"[..]), (S, 9, &[0, 91, 0, 0, 0, 0, 0, 0])];
        check(1080, &four, End::Closed, 40, &refused, &["SOCKS connect to 10.2.0.10:80 > refused"]);
    }

    #[test]
    fn what_is_spoken_in_the_tunnel_is_followed() {
        let open = b"\x05\0\0\x01\0\0\0\0\0\0";
        let lines = [
            (C, 1, HELLO),
            (S, 9, &[5, 0][..]),
            (C, 10, ASK),
            (S, 30, open),
            (C, 31, b"GET / HTTP/1.1\r\n\r\n"),
            (S, 60, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        ];
        let sink = told(1080, &lines, End::Closed, 90);
        assert_eq!(rules(&sink), ["http.status fault l7.http-unavailable"]);
        assert!(sink.findings[0].text.ends_with("(through the proxy, to shop.test:443)"), "{}", sink.findings[0].text);
        check(1080, &lines[..4], End::Cut, 9000, &[], &["SOCKS connect to shop.test:443 > open"]);
    }

    #[test]
    fn a_silent_proxy_is_no_mute_service() {
        let lines = [(C, 1, HELLO), (S, 9, &[5, 0][..]), (C, 10, ASK)];
        let asked = ["SOCKS connect to shop.test:443 > "];
        check(1080, &lines, End::HalfClosed(Side::Client), 9000, &["proxy.tunnel-unanswered fault -"], &asked);
        check(3000, &lines, End::HalfClosed(Side::Client), 9000, &["proxy.tunnel-unanswered fault -"], &asked);
        check(1080, &lines, End::Reset(Side::Server), 40, &["socks.closed fault l5.proxy-refused"], &asked);
        check(1080, &lines, End::Cut, 900, &[], &asked);
    }
}
