//! The inside of a TLS connection whose keys the user has: sealed records are opened, the handshake goes on to be read, and what the application says goes to a
//! conversation of its own. A key that does not fit, a record that does not verify and a hole of the capture end that; none of them is the network's fault.
//!
//! Memory: one record of each direction, at most 18 KiB, and what the conversation keeps. Connections without keys have none of it.

use super::agreed::{Agreed, H2};
use super::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};
use super::way::{Record, Trust, Way};
use super::{SEALED_ALERT, TLS13, Tls, certificate};
use crate::app::lines::{Kind, Lines};
use crate::app::mysql::Mysql;
use crate::app::tell::{Mark, tell};
use crate::app::{Below, Chunk, Conversation, End, Ends, Sink, Talk, Unsealed, text};
use crate::finding::Weight;
use crate::flow::Side;
use crate::keys::{Keys, Label, Random, Secrets, Served, Suite, opener, openers_of_master};
use crate::packet::Stamp;
use faultmap_model::Layer;
use tls_parser::TlsServerHelloContents;

/// Sessions of TLS one in the other that are opened: through a proxy that is spoken to by TLS there are two.
const MOST_WITHIN: u8 = 3;
/// Opened records that are kept for showing, of one packet.
const MOST_SHOWN: usize = 64;
/// So many bytes that no conversation takes the next ones for a continuation: how much of a hole was content is not known.
const UNKNOWN: u64 = 1 << 60;
/// Handshake messages (RFC 8446 §4).
const ENCRYPTED_EXTENSIONS: u8 = 8;
const CERTIFICATE: u8 = 11;
const FINISHED: u8 = 20;
const KEY_UPDATE: u8 = 24;

/// What is said inside, where the protocol around it has decided that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::app) enum Within {
    /// Its first words tell.
    #[default]
    Anything,
    /// The rest of a login of MySQL.
    Mysql,
    /// Mail after STARTTLS.
    Smtp,
    /// FTP after AUTH.
    Ftp,
}

impl Within {
    fn open(self, ends: Ends, from_the_start: bool) -> Box<dyn Conversation> {
        match self {
            Self::Mysql => Box::new(Mysql::secured(ends)),
            Self::Smtp => Box::new(Lines::secured(Kind::Smtp, ends)),
            Self::Ftp => Box::new(Lines::secured(Kind::Ftp, ends)),
            Self::Anything => Box::new(Talk::inside_tls(ends, from_the_start)),
        }
    }
}

/// The inside of a connection.
pub(super) struct Inside {
    random: Random,
    /// Whether it is TLS 1.3, and the server's random.
    chosen: Option<(bool, Random)>,
    suite: Option<Suite>,
    ways: [Way; 2],
    /// The state of the keys when this connection's were looked for.
    edition: Option<u64>,
    /// All its keys are here.
    complete: bool,
    /// Every sealed record was seen by who has the keys.
    from_the_start: bool,
    talk: Option<Box<dyn Conversation>>,
    /// Something was opened.
    pub(super) opened: bool,
    /// What is said can no longer be followed.
    blind: bool,
    /// It was told that the keys do not fit.
    misfit: bool,
    /// Who took leave first.
    goodbye: Option<Side>,
    /// The application protocol that was agreed on.
    pub(super) agreed: Agreed,
    /// The server said something inside.
    server_spoke: bool,
    plain: Vec<u8>,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

impl Inside {
    /// A ClientHello with this random; `None` where no key could ever fit.
    pub(super) fn begin(random: &[u8], sink: &Sink) -> Option<Box<Self>> {
        let keys = sink.keys.as_ref().filter(|keys| sink.within < MOST_WITHIN && !keys.is_idle())?;
        let random = Random::try_from(random).ok()?;
        // Keys that are not here may still come, where a log grows.
        if keys.of(&random).is_none() && !keys.is_growing() {
            return None;
        }
        Some(Box::new(Self {
            random,
            chosen: None,
            suite: None,
            ways: [Way::default(), Way::default()],
            edition: None,
            complete: false,
            from_the_start: true,
            talk: None,
            opened: false,
            blind: false,
            misfit: false,
            goodbye: None,
            agreed: Agreed::Unknown,
            server_spoke: false,
            plain: Vec::new(),
        }))
    }

    /// The server has chosen.
    pub(super) fn chose(&mut self, hello: &TlsServerHelloContents<'_>, version: u16, keys: Option<&Keys>) {
        self.chosen = Random::try_from(hello.random).ok().map(|random| (version == TLS13, random));
        self.suite = Suite::of(hello.cipher.0).filter(|_| version >= 0x0303);
        // In TLS 1.3 it says so later, sealed.
        if version < TLS13 {
            self.agreed = Agreed::on(hello.ext.and_then(alpn));
        }
        if let Some(keys) = keys.filter(|_| self.suite.is_none()) {
            keys.served(&self.random, Served::UnreadCipher);
        }
        self.look(keys);
    }

    /// Looks for the keys, if they are not here and something has come since.
    fn look(&mut self, keys: Option<&Keys>) {
        let (Some(keys), Some(suite), Some((modern, server))) = (keys, self.suite, self.chosen) else { return };
        if self.complete || self.edition.replace(keys.edition()) == Some(keys.edition()) {
            return;
        }
        let Some(secrets) = keys.of(&self.random) else { return };
        let [client, server_way] = &mut self.ways;
        if modern {
            let whole = unlock_modern(client, suite, &secrets, [Label::ClientHandshake, Label::ClientTraffic]);
            self.complete = unlock_modern(server_way, suite, &secrets, [Label::ServerHandshake, Label::ServerTraffic]) && whole;
        } else if let Some([one, two]) =
            secrets.of(Label::Master).and_then(|master| openers_of_master(suite, master, &self.random, &server))
        {
            client.unlock(vec![Some(one)], None);
            server_way.unlock(vec![Some(two)], None);
            self.complete = true;
        }
    }

    /// Whether a record of this kind is sealed. `encrypted`: its sender said so (up to TLS 1.2).
    fn is_sealed(&self, header: [u8; 5], encrypted: bool) -> bool {
        match (self.chosen, header[0]) {
            (Some((true, _)), kind) => kind == APPLICATION_DATA,
            (Some((false, _)), kind) => encrypted && kind != CHANGE_CIPHER_SPEC,
            (None, _) => false,
        }
    }

    fn way(&mut self, side: Side) -> &mut Way {
        &mut self.ways[index(side)]
    }

    /// The sender begins to seal once more: other keys than those of this log line.
    fn sealed_again(&mut self) {
        self.ways.iter_mut().for_each(Way::lock);
        self.go_blind();
    }

    /// What is said can no longer be followed in both directions: half a conversation would mislead.
    fn go_blind(&mut self) {
        (self.blind, self.talk) = (true, None);
    }

    fn below(&self, below: &Below, finished: Option<Mark>) -> Below {
        Below { established: finished.map(|mark| mark.at), first_fin: self.goodbye.or(below.first_fin), from_the_start: true, ..*below }
    }
}

/// Whether every key is here.
fn unlock_modern(way: &mut Way, suite: Suite, secrets: &Secrets, labels: [Label; 2]) -> bool {
    // The place of what the log lacks stays.
    let openers = labels.map(|label| secrets.of(label).and_then(|secret| opener(suite, secret)));
    let whole = openers.iter().all(Option::is_some);
    if openers.iter().any(Option::is_some) {
        way.unlock(openers.into(), secrets.of(labels[1]).cloned());
    }
    whole
}

/// What was done with a part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// All that can be: it was opened, or belongs to what can no longer be followed.
    Done,
    /// Nothing: it is to be taken as what it looks like from outside.
    FromOutside,
}

impl Tls {
    /// A part of a record; opened and read, if there are keys for it.
    pub(super) fn unseal(&mut self, chunk: Chunk<'_>, part: &[u8], last: bool, below: &Below, sink: &mut Sink) -> Read {
        let half = self.half(chunk.from);
        let (header, encrypted) = (half.records.header(), half.encrypted);
        let Some(inside) = &mut self.inside else { return Read::FromOutside };
        // Early data (RFC 8446 §2.3) is not read, so what answers it would not be understood.
        if header[0] == APPLICATION_DATA && inside.chosen.is_none() {
            inside.go_blind();
        }
        if header[0] == CHANGE_CIPHER_SPEC && encrypted && inside.chosen.is_some_and(|(modern, _)| !modern) {
            inside.sealed_again();
        }
        if !inside.is_sealed(header, encrypted) {
            return Read::FromOutside;
        }
        inside.look(sink.keys.as_ref());
        let suite = inside.suite;
        let mut plain = std::mem::take(&mut inside.plain);
        let locked = inside.way(chunk.from).is_locked();
        let record = inside.way(chunk.from).take((header, part, last), suite, &mut plain);
        let mark = Mark::from(&chunk);
        let read = match record {
            Record::Part if inside.opened => Read::Done,
            Record::Part => Read::FromOutside,
            Record::Torn(missing) => {
                self.missed(chunk.from, missing, sink);
                self.unread(chunk.from, header, mark, sink);
                Read::Done
            }
            Record::Opened(kind, hole) => {
                self.first_opened(sink);
                if hole {
                    self.missed(chunk.from, UNKNOWN, sink);
                }
                self.opened(Chunk { bytes: &plain, ..chunk }, kind, below, sink);
                Read::Done
            }
            Record::Sealed => {
                let read = if locked { inside.passed(sink.keys.as_ref()) } else { self.not_opened(chunk.from, mark, sink) };
                if read == Read::Done {
                    self.unread(chunk.from, header, mark, sink);
                }
                read
            }
        };
        if let Some(inside) = &mut self.inside {
            plain.clear();
            inside.plain = plain;
        }
        read
    }

    /// Bytes that were not captured, or not read: the record that they end, and whether the place of the next is known.
    pub(super) fn miss(&mut self, from: Side, missing: u64, (ended, known): (Option<(u8, u16)>, bool), sink: &mut Sink) {
        let Some(inside) = &mut self.inside else { return };
        let suite = inside.suite;
        let way = inside.way(from);
        match ended {
            _ if !known => way.lose(missing),
            None => way.tear(),
            Some((_, len)) => {
                if let Some(content) = way.pass(len, suite) {
                    self.missed(from, content, sink);
                }
            }
        }
    }

    /// Records of this connection are read.
    pub(super) fn is_opened(&self) -> bool {
        self.inside.as_ref().is_some_and(|inside| inside.opened)
    }

    /// A record that is not read within a connection that is: it shows how far the handshake has come, and no more.
    fn unread(&mut self, from: Side, header: [u8; 5], mark: Mark, sink: &mut Sink) {
        let long = u16::from_be_bytes([header[3], header[4]]) > SEALED_ALERT;
        match header[0] {
            HANDSHAKE => {
                self.half(from).sealed = true;
                self.maybe_finished(mark, sink);
            }
            APPLICATION_DATA if from == Side::Client && long => self.done(mark, sink),
            _ => {}
        }
    }

    fn first_opened(&mut self, sink: &mut Sink) {
        sink.unsealed = true;
        if let Some(inside) = self.inside.as_mut().filter(|inside| !inside.opened) {
            inside.opened = true;
            if let Some(keys) = &sink.keys {
                keys.served(&inside.random, Served::Opened);
            }
        }
    }

    /// A record that its key did not open.
    fn not_opened(&mut self, from: Side, mark: Mark, sink: &mut Sink) -> Read {
        let Some(inside) = &mut self.inside else { return Read::FromOutside };
        match inside.way(from).trust {
            Trust::Damaged => {
                let who = if from == Side::Client { "the client" } else { "the server" };
                let text = format!(
                    "a record of {who} does not verify under the key that opened those before it: its bytes in the capture are not those that were sent; \
                     what follows is not read"
                );
                sink.findings.push(tell("tls.record-damaged", Weight::Note, Layer::L6, mark, text));
                inside.go_blind();
            }
            Trust::Lost => inside.go_blind(),
            Trust::Misfit => {
                inside.go_blind();
                if let Some(keys) = sink.keys.as_ref().filter(|_| !inside.opened && !std::mem::replace(&mut inside.misfit, true)) {
                    keys.served(&inside.random, Served::Misfit);
                }
            }
            Trust::Untried | Trust::Good => {}
        }
        inside.seen_through()
    }

    /// So many bytes of what the application says are not known.
    fn missed(&mut self, from: Side, missing: u64, sink: &mut Sink) {
        let half = self.half(from);
        half.message.clear();
        half.deaf = true;
        if let Some(talk) = self.inside.as_mut().and_then(|inside| inside.talk.as_mut()) {
            talk.gap(from, missing, sink);
        }
    }

    fn opened(&mut self, chunk: Chunk<'_>, kind: u8, below: &Below, sink: &mut Sink) {
        let (from, mark) = (chunk.from, Mark::from(&chunk));
        if let Some(shown) = sink.shown.as_mut().filter(|shown| shown.len() < MOST_SHOWN) {
            shown.push(Unsealed { from, kind, bytes: chunk.bytes.to_vec(), packet: chunk.packet });
        }
        let modern = self.inside.as_ref().is_some_and(|inside| inside.chosen.is_some_and(|(modern, _)| modern));
        match (kind, chunk.bytes) {
            (HANDSHAKE, _) if !modern => {
                self.half(from).sealed = true;
                self.maybe_finished(mark, sink);
            }
            (HANDSHAKE, bytes) if !self.half(from).deaf => self.handshake(from, bytes, mark, below, sink),
            (ALERT, &[level, code]) => {
                if let Some(inside) = self.inside.as_mut().filter(|_| code == 0) {
                    inside.goodbye.get_or_insert(from);
                }
                // In TLS 1.3 the level means nothing (RFC 8446 §6).
                self.alert(from, if modern { 2 } else { level }, code, mark, sink);
            }
            (APPLICATION_DATA, bytes) if !bytes.is_empty() => {
                if from == Side::Client {
                    self.done(mark, sink);
                }
                self.said(chunk, below, sink);
            }
            _ => {}
        }
    }

    /// What the application says.
    fn said(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let (ends, within, finished) = (self.ends, self.within, self.finished_at);
        let Some(inside) = self.inside.as_mut().filter(|inside| !inside.blind) else { return };
        let below = inside.below(below, finished);
        let from_the_start = inside.from_the_start;
        let talk = inside.talk.get_or_insert_with(|| within.open(ends, from_the_start));
        let told = sink.findings.len();
        sink.within += 1;
        talk.chunk(chunk, &below, sink);
        sink.within -= 1;
        inside.server_spoke |= chunk.from == Side::Server;
        sink.findings.iter_mut().skip(told).for_each(|finding| inside.agreed.weigh(finding));
    }

    /// A message of the handshake that only keys show. True if there is no more to it.
    pub(super) fn sealed_message(&mut self, from: Side, bytes: &[u8], mark: Mark, sink: &mut Sink) -> bool {
        let Some(inside) = self.inside.as_mut().filter(|inside| inside.opened) else { return false };
        match (bytes.first().copied(), from) {
            (Some(ENCRYPTED_EXTENSIONS), Side::Server) => {
                inside.agreed = Agreed::on(bytes.get(4..).and_then(|body| alpn(Bytes(body).vector(2)?)));
            }
            (Some(CERTIFICATE), Side::Server) => {
                let name = self.hello.as_ref().and_then(|(hello, _)| hello.name.as_deref());
                self.shown = certificate::read(&chain(bytes), name, mark.at);
                self.certificates(mark, sink);
            }
            (Some(FINISHED), Side::Client) => self.done(mark, sink),
            (Some(KEY_UPDATE), from) => {
                if let Some(suite) = inside.suite {
                    inside.way(from).update(suite);
                }
            }
            _ => return false,
        }
        true
    }

    /// The connection is over. Whether what was said in it was read, so that its outside tells nothing more.
    pub(super) fn end_inside(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) -> bool {
        let finished = self.finished_at;
        let Some(inside) = &mut self.inside else { return false };
        let below = inside.below(below, finished);
        let failed = inside.ways.iter().any(Way::has_failed);
        let untold = failed && !inside.opened && !inside.misfit;
        if let Some(keys) = sink.keys.as_ref().filter(|_| untold) {
            keys.served(&inside.random, Served::Misfit);
        }
        // Where one direction was never opened, silence of it says nothing.
        if let Some(mut talk) = inside.talk.take().filter(|_| !failed) {
            let told = sink.findings.len();
            sink.within += 1;
            talk.end(how, at, &below, sink);
            sink.within -= 1;
            let offered = self.hello.as_ref().is_some_and(|(hello, _)| hello.offers(H2));
            if offered && !inside.server_spoke {
                sink.findings.iter_mut().skip(told).for_each(|finding| inside.agreed.excuse(finding));
            }
        }
        inside.opened
    }
}

impl Inside {
    /// A record for which there is no key, or none yet.
    fn passed(&mut self, keys: Option<&Keys>) -> Read {
        self.from_the_start = false;
        if self.opened || !keys.is_some_and(Keys::is_growing) {
            self.go_blind();
        }
        self.seen_through()
    }

    /// Records that are not opened look from outside as they do without keys, unless something was opened before.
    const fn seen_through(&self) -> Read {
        if self.opened { Read::Done } else { Read::FromOutside }
    }
}

/// The certificates of a Certificate message of TLS 1.3 (RFC 8446 §4.4.2), the server's first.
fn chain(message: &[u8]) -> Vec<&[u8]> {
    let (mut found, mut rest) = (Vec::new(), Bytes(message.get(4..).unwrap_or_default()));
    if rest.vector(1).is_none() {
        return found;
    }
    let mut list = Bytes(rest.vector(3).unwrap_or_default());
    while let (Some(certificate), Some(_)) = (list.vector(3), list.vector(2)) {
        found.push(certificate);
    }
    found
}

/// The protocol among a server's extensions (RFC 7301 §3.1).
fn alpn(extensions: &[u8]) -> Option<String> {
    let mut extensions = Bytes(extensions);
    loop {
        let kind = extensions.take(2)?;
        let data = extensions.vector(2)?;
        if kind == [0, 16] {
            return Some(text::printable(Bytes(Bytes(data).vector(2)?).vector(1)?, 24));
        }
    }
}

/// Reads whatever bytes as such messages, for who tries any.
pub(crate) fn sealed_handshake(message: &[u8]) {
    let _ = (alpn(message), chain(message));
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A vector behind its length, which has so many bytes.
    fn vector(&mut self, digits: usize) -> Option<&'a [u8]> {
        let len = self.take(digits)?.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
        self.take(len)
    }
}
