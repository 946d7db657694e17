//! TLS in one connection (RFC 8446, RFC 5246): what was offered and chosen, the server's certificates as far as they are sent in the open, alerts, and how long the handshake took.
//! What is sealed is read as far as the user has the keys ([`inside`]); without them it decrypts nothing.
//!
//! Memory: one handshake message of each side of at most [`LONGEST_MESSAGE`] bytes while it is incomplete; names and sentences of about 2 KiB.

mod agreed;
mod alert;
mod certificate;
mod encrypted;
mod glance;
pub(super) mod hello;
mod inside;
#[cfg(test)]
mod inside_tests;
mod record;
#[cfg(test)]
mod tests;
mod way;

use super::gather::{Gather, Gathered};
use super::tell::{Mark, Open, Rules, SLOW_MS, tell};
use super::{Below, Chunk, Conversation, End, Ends, Exchange, Glance, Sink, text};
use crate::finding::{Finding, Weight};
use crate::flow::Side;
use crate::packet::Stamp;
use alert::Stage;
use certificate::{Defect, Shown};
use encrypted::Turns;
use faultmap_model::Layer;
use hello::{ClientHello, ServerHello};
pub(super) use inside::Within;
pub(crate) use inside::sealed_handshake;
use inside::{Inside, Read};
use record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Records, Step};
use tls_parser::{TlsMessage, TlsMessageHandshake, parse_tls_message_handshake};

/// Longest handshake message that is read: chains of certificates are seldom longer than 10 KiB.
const LONGEST_MESSAGE: usize = 64 * 1024;
/// No client takes a longer message (OpenSSL: 100 KiB, Go: 256 KiB, NSS: 128 KiB).
const LARGEST_CHAIN: u32 = 256 * 1024;
/// A server that says nothing for so long to a ClientHello stalls, in milliseconds.
const STALL_MS: f64 = 5000.0;
/// An encrypted alert of TLS 1.3: level and description, the true type, and the tag of the cipher (RFC 8446 §5.2).
const SEALED_ALERT: u16 = 2 + 1 + 16;
/// The server's words to somebody who is refused come at once, in milliseconds.
const AT_ONCE_MS: f64 = 1000.0;
/// Bytes of an answer in plain text that are looked at.
const PLAIN: usize = 16;
const TLS13: u16 = 0x0304;
/// The version of a ServerHello that was cut before it says so.
const UNKNOWN: u16 = 0;

const RULES: Rules = Rules { think: "tls.handshake-slow", unanswered: "tls.no-server-hello", closed: "tls.closed-in-handshake" };

/// The name of an alert, for QUIC.
pub(super) fn alert_name(code: u8) -> &'static str {
    alert::name(code)
}

/// What an alert in a handshake weighs, and the cause that it points to, for QUIC.
pub(super) fn alert_weight(code: u8, from: Side, chosen: bool) -> Option<(Weight, &'static str)> {
    let stage = Stage { chosen, certificate_requested: false };
    // QUIC knows fatal ones only (RFC 9001 §4.8).
    Some((alert::weight(2, code)?, alert::cause(code, from, stage, &Shown::default())))
}

/// Whether a record may begin here.
pub(super) fn record_begins(bytes: &[u8]) -> bool {
    Records::begins(bytes)
}

/// A connection that speaks TLS.
pub(super) struct Tls {
    ends: Ends,
    halves: [Half; 2],
    hello: Option<(ClientHello, Mark)>,
    chosen: Option<(ServerHello, Mark)>,
    shown: Shown,
    stage: Stage,
    finished: bool,
    finished_at: Option<Mark>,
    /// A sealed record of the length of an alert, the server's first word after the handshake, to a client that did not take its leave.
    refused: Option<Mark>,
    server_spoke: bool,
    failed: Option<&'static str>,
    plain: Option<(Vec<u8>, Mark)>,
    turns: Turns,
    told: bool,
    last: Mark,
    /// Of a hello only the beginning was captured.
    glanced: bool,
    within: Within,
    inside: Option<Box<Inside>>,
}

#[derive(Default)]
struct Half {
    records: Records,
    message: Gather,
    /// Its handshake can no longer be read.
    deaf: bool,
    /// The place of the next record is lost.
    lost: bool,
    /// Records of it were cut off, headers and all.
    missed: bool,
    /// Because something was not captured: a later chunk may begin with a record again. Bytes that break the rules are no TLS any more.
    hole: bool,
    encrypted: bool,
    /// A record of its handshake came after encryption began.
    sealed: bool,
    alert: [u8; 2],
    alert_have: usize,
    /// Encrypted records, and the first of them.
    data: u64,
    first_data: Option<(u16, Mark)>,
    last_len: u16,
}

impl Tls {
    /// A connection between these.
    pub(super) fn new(ends: Ends) -> Self {
        Self {
            ends,
            halves: [Half::default(), Half::default()],
            hello: None,
            chosen: None,
            shown: Shown::default(),
            stage: Stage::default(),
            finished: false,
            finished_at: None,
            refused: None,
            server_spoke: false,
            failed: None,
            plain: None,
            turns: Turns::default(),
            told: false,
            last: Mark::default(),
            glanced: false,
            within: Within::default(),
            inside: None,
        }
    }

    /// TLS that a protocol begins within itself, and goes on inside.
    pub(super) fn secures(within: Within, ends: Ends) -> Self {
        Self { within, ..Self::new(ends) }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        &mut self.halves[usize::from(side == Side::Server)]
    }

    fn content(&mut self, chunk: Chunk<'_>, (kind, len, part, last): (u8, u16, &[u8], bool), below: &Below, sink: &mut Sink) {
        let mark = Mark::from(&chunk);
        self.settle_version(chunk.from, kind);
        let chosen = self.chosen.map(|(hello, _)| hello);
        let half = self.half(chunk.from);
        match kind {
            // In TLS 1.3 it means nothing, and may stand before a second ClientHello (RFC 8446 §D.4).
            CHANGE_CIPHER_SPEC if last => half.encrypted |= chosen.is_none_or(|chosen| chosen.version != TLS13 && !chosen.retry),
            ALERT if len == 2 => {
                for byte in part {
                    half.alert[half.alert_have % 2] = *byte;
                    half.alert_have += 1;
                }
                if last {
                    let [level, code] = half.alert;
                    half.alert_have = 0;
                    self.alert(chunk.from, level, code, mark, sink);
                }
            }
            HANDSHAKE if half.encrypted => {
                half.sealed |= last;
                if last {
                    self.maybe_finished(mark, sink);
                }
            }
            HANDSHAKE if !half.deaf => self.handshake(chunk.from, part, mark, below, sink),
            APPLICATION_DATA if last => self.data(chunk.from, len, mark, below, sink),
            _ => {}
        }
    }

    fn handshake(&mut self, from: Side, part: &[u8], mark: Mark, below: &Below, sink: &mut Sink) {
        let mut rest = part;
        while !rest.is_empty() {
            let mut gather = std::mem::take(&mut self.half(from).message);
            match gather.offer(rest, LONGEST_MESSAGE, framed) {
                Gathered::Whole(len, taken) => {
                    self.message(from, gather.whole(rest, len), mark, below, sink);
                    rest = rest.get(taken..).unwrap_or_default();
                }
                Gathered::More => {
                    if let Some(head) = gather.kept().first_chunk::<4>().filter(|_| from == Side::Server) {
                        self.odd(*head, mark, sink);
                    }
                    self.half(from).message = gather;
                    return;
                }
                Gathered::TooLong => {
                    self.half(from).deaf = true;
                    return;
                }
            }
        }
    }

    /// A message that no client takes: another than the ServerHello as the first, or one beyond all measure.
    fn odd(&mut self, head: [u8; 4], mark: Mark, sink: &mut Sink) {
        let [kind, high, middle, low] = head;
        let len = u32::from_be_bytes([0, high, middle, low]);
        let first = self.chosen.is_none() && !matches!(kind, 0 | 2);
        let known = self.failed.is_some() || self.hello.is_none() || self.halves[1].deaf || self.halves[1].lost;
        if known || !(first || len > LARGEST_CHAIN) {
            return;
        }
        let what =
            if first { "answers the ClientHello with another message than a ServerHello" } else { "sends a message beyond all measure" };
        let text = format!("the server {what}: type {kind}, {len} bytes");
        let finding = tell("tls.malformed", Weight::Fault, Layer::L6, mark, text);
        sink.findings.push(finding.for_cause("l6.tls-handshake-failed").on(self.ends.service()));
        self.failed = Some("malformed");
    }

    fn message(&mut self, from: Side, bytes: &[u8], mark: Mark, below: &Below, sink: &mut Sink) {
        if let Some(head) = bytes.first_chunk::<4>().filter(|_| from == Side::Server && self.chosen.is_none()) {
            self.odd(*head, mark, sink);
        }
        if bytes.first() == Some(&13) && from == Side::Server {
            self.stage.certificate_requested = true;
            return;
        }
        if self.sealed_message(from, bytes, mark, sink) {
            return;
        }
        // The others hold nothing that is told, and are not parsed.
        if !matches!(bytes.first(), Some(1 | 2 | 11)) {
            return;
        }
        let Ok((_, TlsMessage::Handshake(message))) = parse_tls_message_handshake(bytes) else { return };
        match (from, message) {
            (Side::Client, TlsMessageHandshake::ClientHello(hello)) if self.hello.is_none() => {
                let read = hello::client(&hello);
                self.inside = Inside::begin(hello.random, sink);
                if sink.server_name.is_none() {
                    sink.server_name.clone_from(&read.name);
                }
                sink.hello_bytes = u32::try_from(bytes.len()).ok().map(|len| len.saturating_add(5));
                self.hello = Some((read, mark));
            }
            (Side::Server, TlsMessageHandshake::ServerHello(hello)) => {
                let chosen = hello::server(&hello);
                if let Some(inside) = self.inside.as_mut().filter(|_| !chosen.retry) {
                    inside.chose(&hello, chosen.version, sink.keys.as_ref());
                }
                self.chose(chosen, mark, below, sink);
            }
            (Side::Server, TlsMessageHandshake::Certificate(certificates)) => {
                let chain: Vec<&[u8]> = certificates.cert_chain.iter().map(|one| one.data).collect();
                let name = self.hello.as_ref().and_then(|(hello, _)| hello.name.as_deref());
                self.shown = certificate::read(&chain, name, mark.at);
                self.certificates(mark, sink);
            }
            _ => {}
        }
    }

    fn chose(&mut self, chosen: ServerHello, mark: Mark, below: &Below, sink: &mut Sink) {
        let first = self.chosen.is_none();
        self.chosen = Some((chosen, mark));
        self.stage.chosen = !chosen.retry;
        let Some((_, asked)) = self.hello.as_ref().filter(|_| first) else { return };
        let (asked, think) = (*asked, below.think_ms(mark.at.ms_since(asked.at)));
        if think >= SLOW_MS {
            let text = format!("the server took {} to answer the ClientHello, beyond the network's time", text::time(think));
            let finding = tell(RULES.think, Weight::Warning, Layer::L6, mark, text).and(asked);
            sink.findings.push(finding.on(self.ends.service()).worth(think));
        }
        if (1..0x0303).contains(&chosen.version) {
            let text = format!("the server chose {}, which RFC 8996 gives up", hello::version_name(chosen.version));
            sink.findings.push(tell("tls.old-version", Weight::Note, Layer::L6, mark, text).on(self.ends.service()));
        }
    }

    fn certificates(&self, mark: Mark, sink: &mut Sink) {
        for (defect, text) in &self.shown.defects {
            let (rule, weight, cause) = match defect {
                Defect::Expired => ("tls.cert-expired", Weight::Fault, "l6.cert-expired"),
                Defect::NotYetValid => ("tls.cert-not-yet-valid", Weight::Fault, "l6.cert-not-yet-valid"),
                // Whether the client minds, its alert says.
                Defect::WrongHost => ("tls.cert-wrong-host", Weight::Warning, "l6.cert-wrong-host"),
                Defect::ChainIncomplete => ("tls.chain-incomplete", Weight::Warning, "l6.cert-chain-incomplete"),
                Defect::SelfSigned => ("tls.cert-self-signed", Weight::Note, "l6.cert-self-signed"),
                Defect::ExpiresSoon => ("tls.cert-expiring-soon", Weight::Warning, "l6.cert-expiring-soon"),
            };
            sink.findings.push(tell(rule, weight, Layer::L6, mark, text.clone()).for_cause(cause).on(self.ends.service()));
        }
    }

    fn alert(&mut self, from: Side, level: u8, code: u8, mark: Mark, sink: &mut Sink) {
        let Some(weight) = alert::weight(level, code) else { return };
        let name = alert::name(code);
        let cause = (weight == Weight::Fault).then(|| alert::cause(code, from, self.stage, &self.shown));
        let who = if from == Side::Client { "the client" } else { "the server" };
        let when = match (self.stage.chosen, self.finished) {
            (_, true) => "after the handshake",
            (true, _) => "in the handshake, after the server's choice",
            (false, _) => "in answer to the ClientHello",
        };
        let level = if level == 1 { "warning" } else { "fatal" };
        let text = format!("{who} sent the {level} alert {name} ({code}) {when}{}", self.against(from));
        if weight == Weight::Fault {
            self.failed = Some(name);
        }
        sink.findings.push(tell("tls.alert", weight, Layer::L6, mark, text).for_cause(cause).on(self.ends.service()).worth(code));
    }

    /// What a client may have had against the server's certificate.
    fn against(&self, from: Side) -> String {
        let worst = self.shown.defects.first().filter(|_| from == Side::Client);
        worst.map(|(_, text)| format!(": {text}")).unwrap_or_default()
    }

    fn data(&mut self, from: Side, len: u16, mark: Mark, below: &Below, sink: &mut Sink) {
        let chosen = self.chosen.map(|(hello, _)| hello);
        let half = self.half(from);
        half.data += 1;
        half.last_len = len;
        half.first_data.get_or_insert((len, mark));
        let before = self.finished;
        if from == Side::Client && chosen.is_some_and(|chosen| chosen.version == TLS13) && len > SEALED_ALERT {
            self.done(mark, sink);
        }
        // The first sealed record of a client of TLS 1.3 ends the handshake; it asks nothing.
        if !before && chosen.is_some_and(|chosen| matches!(chosen.version, TLS13 | UNKNOWN)) {
            return;
        }
        // What was asked or answered may have been cut off.
        if self.halves.iter().any(|half| half.missed) {
            return;
        }
        let client_leaves = self.halves[0].last_len == SEALED_ALERT;
        let at_once = self.finished_at.is_some_and(|done| mark.at.ms_since(done.at) < AT_ONCE_MS);
        if from == Side::Server && !std::mem::replace(&mut self.server_spoke, true) && len == SEALED_ALERT && at_once && !client_leaves {
            self.refused = Some(mark);
        }
        match from {
            Side::Client => self.turns.client(len, mark, chosen.is_none_or(|chosen| chosen.version == TLS13), &self.ends, below, sink),
            Side::Server => {
                let tickets = chosen.is_none_or(|chosen| chosen.version == TLS13);
                self.turns.server(len, mark, tickets, &self.ends, below, sink);
            }
        }
    }

    /// Up to TLS 1.2 both sides end the handshake with a sealed message.
    fn maybe_finished(&mut self, mark: Mark, sink: &mut Sink) {
        if self.halves.iter().all(|half| half.sealed) {
            self.done(mark, sink);
        }
    }

    fn done(&mut self, mark: Mark, sink: &mut Sink) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.finished_at = Some(mark);
        let version = self.chosen.map_or("TLS", |(chosen, _)| hello::version_name(chosen.version));
        let protocol = self.inside.as_ref().and_then(|inside| inside.agreed.protocol());
        let answer = protocol.map_or_else(|| version.to_owned(), |protocol| format!("{version}, {protocol}"));
        self.tell_handshake(answer, Some(mark.at), true, sink);
    }

    fn tell_handshake(&mut self, answer: String, until: Option<Stamp>, ok: bool, sink: &mut Sink) {
        let Some((hello, asked)) = &self.hello else { return };
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let answered = self.chosen.map(|(_, mark)| mark);
        let question = format!("ClientHello {}", hello.name.as_deref().unwrap_or_default()).trim_end().to_owned();
        sink.exchanges.push(Exchange {
            answer,
            wait_ms: answered.map(|mark| mark.at.ms_since(asked.at)),
            total_ms: until.map(|until| until.ms_since(asked.at)),
            answered_in: answered.map(|mark| mark.packet.0),
            ok,
            ..Exchange::unanswered("tls", question, *asked)
        });
    }

    /// Bytes of a server that are no records.
    fn broken(&mut self, chunk: Chunk<'_>, rest: &[u8], sink: &mut Sink) {
        let first =
            chunk.from == Side::Server && self.chosen.is_none() && self.hello.is_some() && self.plain.is_none() && self.failed.is_none();
        let half = self.half(chunk.from);
        if half.lost {
            return;
        }
        half.lost = true;
        if first {
            let mut said = half.records.odd().to_vec();
            let room = PLAIN.saturating_sub(said.len());
            said.extend_from_slice(rest.get(..room).unwrap_or(rest));
            self.plain = Some((said, Mark::from(&chunk)));
            self.plain_reply(false, sink);
        }
    }

    /// What a client that speaks HTTP/2 only asked of a server that does not: the choice stands in the open up to TLS 1.2.
    fn unagreed(&self, told: usize, sink: &mut Sink) {
        let only = self
            .hello
            .as_ref()
            .is_some_and(|(hello, _)| !hello.protocols.is_empty() && hello.protocols.iter().all(|one| one == agreed::H2));
        let refused = self.chosen.is_some_and(|(chosen, _)| (1..TLS13).contains(&chosen.version) && !chosen.agrees);
        let unanswered = |finding: &&mut Finding| matches!(finding.rule, "tls.unanswered" | "tls.closed-without-answer");
        if only && refused {
            let told = sink.findings.iter_mut().skip(told).filter(unanswered);
            told.for_each(|finding| agreed::not_agreed(finding, "chose no protocol"));
        }
    }

    fn plain_reply(&mut self, ended: bool, sink: &mut Sink) {
        let Some((said, mark)) = &self.plain else { return };
        if self.failed.is_some() || (said.len() < PLAIN && !ended) {
            return;
        }
        let words = text::printable(said.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default(), PLAIN);
        let text = format!("the server answered the ClientHello in plain text: {words:?}");
        let finding = tell("tls.plaintext-reply", Weight::Fault, Layer::L6, *mark, text);
        let finding = match &self.hello {
            Some((_, asked)) => finding.and(*asked),
            None => finding,
        };
        sink.findings.push(finding.for_cause("l6.plaintext-on-tls-port").on(self.ends.service()));
        self.failed = Some("plain text");
    }

    /// An encrypted record can be an alert by its length alone; it is told only where nothing else has that length, and the end follows.
    fn sealed_alerts(&mut self, how: End, sink: &mut Sink) {
        let Some((chosen, _)) = self.chosen.filter(|_| !matches!(how, End::Idle | End::Cut)) else { return };
        let [client, server] = &self.halves;
        if chosen.version != TLS13 || self.failed.is_some() {
            return;
        }
        let service = self.ends.service();
        match (client.first_data, server.first_data) {
            (Some((SEALED_ALERT, mark)), _) if client.data == 1 && !client.missed => {
                let text = "the client ended the handshake with a message of the length of an alert, after the server's certificate: most likely \
                            it has something against that (what it said is encrypted)";
                // Which of its defects it is, the client alone knows.
                sink.findings.push(tell("tls.sealed-refusal", Weight::Fault, Layer::L6, mark, text.to_owned()).on(service));
                self.failed = Some("encrypted alert");
            }
            _ => {
                let Some(mark) = self.refused else { return };
                let text = "the server ended the session right after the client's part of the handshake with a message of the length of an alert: \
                            most likely it wants a certificate of the client (what it said is encrypted)";
                let finding = tell("tls.alert", Weight::Fault, Layer::L6, mark, text.to_owned());
                sink.findings.push(finding.for_cause("l6.client-cert-required").on(service));
                self.failed = Some("encrypted alert");
            }
        }
    }

    fn unfinished(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        let Some((hello, asked)) = &self.hello else { return };
        let asked = *asked;
        let name = hello.name.as_deref().map(|name| format!(" for {name}")).unwrap_or_default();
        let waited = at.ms_since(asked.at);
        let service = self.ends.service();
        if self.chosen.is_none() {
            let question = format!("ClientHello{name}");
            let open = Open { question: &question, asked, done: Some(asked.at), reused: false };
            let told = sink.findings.len();
            RULES.unanswered(&self.ends, &open, how, at, below, sink);
            for finding in sink.findings.iter_mut().skip(told) {
                let silent = finding.rule == RULES.unanswered;
                finding.layer = Some(Layer::L6);
                finding.cause = Some(if silent { "l6.tls-handshake-stalled" } else { "l6.tls-handshake-failed" });
                if silent && waited >= STALL_MS {
                    finding.weight = Weight::Fault;
                }
            }
            return;
        }
        let (weight, who, party) = match how {
            End::Idle | End::Cut if at.ms_since(self.last.at) < STALL_MS => return,
            End::Idle | End::Cut => (Weight::Warning, "neither side", service),
            // A client that does not like the certificate says so by an alert; one that just goes has changed its mind, as browsers do.
            End::Reset(Side::Client) | End::HalfClosed(Side::Client) => (Weight::Note, "the client", self.ends.asker()),
            End::Closed if below.first_fin == Some(Side::Client) => (Weight::Note, "the client", self.ends.asker()),
            End::Reset(Side::Server) | End::HalfClosed(Side::Server) => (Weight::Warning, "the server", service),
            End::Closed => (Weight::Warning, "the server", service),
        };
        let does = if matches!(how, End::Idle | End::Cut) { "went on with" } else { "broke off" };
        let text =
            format!("{who} {does} the handshake{name} after the server's choice, without a readable alert{}", self.against(Side::Client));
        let finding = tell("tls.handshake-unfinished", weight, Layer::L6, self.last, text).and(asked);
        sink.findings.push(finding.for_cause("l6.tls-handshake-failed").on(party));
    }
}

fn framed(bytes: &[u8], _seen: usize) -> Option<usize> {
    let [_, a, b, c, ..] = *bytes else { return None };
    Some(4 + u32::from_be_bytes([0, a, b, c]) as usize)
}

impl Conversation for Tls {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        self.last = Mark::from(&chunk);
        if let Some((said, _)) = self.plain.as_mut().filter(|_| chunk.from == Side::Server && self.failed.is_none()) {
            let room = PLAIN.saturating_sub(said.len());
            said.extend_from_slice(chunk.bytes.get(..room).unwrap_or(chunk.bytes));
            self.plain_reply(false, sink);
            return;
        }
        let half = self.half(chunk.from);
        if half.lost {
            if !half.hole || !Records::begins(chunk.bytes) {
                self.miss(chunk.from, chunk.bytes.len() as u64, (None, false), sink);
                return;
            }
            (half.lost, half.hole, half.records) = (false, false, Records::default());
        }
        let mut rest = chunk.bytes;
        loop {
            let (step, tail) = self.half(chunk.from).records.step(rest);
            match step {
                Step::Part { kind, len, part, last } => {
                    if self.unseal(chunk, part, last, below, sink) == Read::FromOutside {
                        self.content(chunk, (kind, len, part, last), below, sink);
                    }
                }
                Step::More => return,
                Step::Broken => return self.broken(chunk, tail, sink),
            }
            rest = tail;
        }
    }

    fn glance(&mut self, glance: Glance<'_>, below: &Below, sink: &mut Sink) {
        self.cut(glance, below, sink);
    }

    fn gap(&mut self, from: Side, missing: u64, sink: &mut Sink) {
        let half = self.half(from);
        half.message.clear();
        half.deaf = true;
        let (ended, known) = half.records.skip(missing);
        if !known {
            (half.lost, half.hole) = (true, !half.lost || half.hole);
        }
        self.miss(from, missing, (ended, known), sink);
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        self.plain_reply(true, sink);
        if !self.end_inside(how, at, below, sink) {
            let told = sink.findings.len();
            self.turns.end((how, at), &self.ends, below, sink);
            self.unagreed(told, sink);
            self.sealed_alerts(how, sink);
        }
        if let Some(why) = self.failed {
            return self.tell_handshake(why.to_owned(), None, false, sink);
        }
        // What the capture lost may have been the rest of the handshake.
        let readable = |half: &Half| !half.deaf && !half.lost;
        let silent = self.glanced && self.chosen.is_none() && readable(&self.halves[1]);
        if !self.finished && (silent || self.halves.iter().all(readable)) {
            self.unfinished(how, at, below, sink);
        }
        // The end of the handshake may have been cut off.
        if self.glanced && !silent {
            return;
        }
        let answer = if self.chosen.is_some() { "unfinished" } else { "" };
        self.tell_handshake(answer.to_owned(), None, false, sink);
    }
}
