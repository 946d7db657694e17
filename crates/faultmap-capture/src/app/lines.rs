//! SMTP (RFC 5321) and FTP (RFC 959): greetings, commands by their verb, and replies by their number. It keeps no argument of a command: addresses, names, passwords.
//!
//! Memory: one line of at most [`LONGEST_LINE`] bytes in each direction, and the questions of [`Pairing`].

use super::gather::keep;
use super::pairing::Pairing;
use super::tell::{Mark, Rules, SLOW_MS, tell};
use super::{Below, Chunk, Conversation, End, Ends, Glance, Sink, text, tls};
use crate::finding::Weight;
use crate::flow::Side;
use crate::packet::Stamp;
use faultmap_model::Layer;
use faultmap_model::causes::l7::cause_of_refusal;
use faultmap_model::observation::Spoken;

/// Longest line that is kept (RFC 5321 §4.5.3.1 has 512 for a reply).
const LONGEST_LINE: usize = 512;

pub(super) const SMTP: Rules = Rules { think: "smtp.server-think", unanswered: "smtp.unanswered", closed: "smtp.closed-without-answer" };
pub(super) const FTP: Rules = Rules { think: "ftp.server-think", unanswered: "ftp.unanswered", closed: "ftp.closed-without-answer" };

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Smtp,
    Ftp,
}

/// A connection that speaks lines.
pub(super) struct Lines {
    kind: Kind,
    ends: Ends,
    buffers: [Vec<u8>; 2],
    marks: [Mark; 2],
    pairing: Pairing,
    greeted: bool,
    /// The client sends a message, up to a line with a dot.
    message: bool,
    /// The server asked for a part of a login: the client's next line is a secret.
    secret: bool,
    inner: Option<tls::Tls>,
    lost: bool,
}

impl Lines {
    /// A connection between these.
    pub(super) fn new(kind: Kind, ends: Ends) -> Self {
        let (name, rules) = match kind {
            Kind::Smtp => ("smtp", &SMTP),
            Kind::Ftp => ("ftp", &FTP),
        };
        Self {
            kind,
            ends,
            buffers: [Vec::new(), Vec::new()],
            marks: [Mark::default(); 2],
            pairing: Pairing::new(name, rules, ends),
            greeted: false,
            message: false,
            secret: false,
            inner: None,
            lost: false,
        }
    }

    /// The same after TLS was agreed on: it goes on without a greeting.
    pub(super) fn secured(kind: Kind, ends: Ends) -> Self {
        Self { greeted: true, ..Self::new(kind, ends) }
    }

    fn client(&mut self, line: &[u8], mark: Mark) {
        if self.message {
            if line == b"." {
                self.message = false;
                self.pairing.ask("message".to_owned(), self.marks[0], Some(mark.at), false);
            }
            return;
        }
        let verb = if std::mem::take(&mut self.secret) { "login".to_owned() } else { verb(line) };
        self.pairing.ask(verb, self.marks[0], Some(mark.at), false);
    }

    fn server(&mut self, line: &[u8], mark: Mark, below: &Below, sink: &mut Sink) {
        let code = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit)).and_then(|digits| std::str::from_utf8(digits).ok());
        // Lines in between have a hyphen, or in FTP anything at all.
        let (Some(code), true) = (code.and_then(|code| code.parse::<u16>().ok()), matches!(line.get(3), None | Some(b' '))) else { return };
        let words = text::printable(line.get(4..).unwrap_or_default(), 100);
        let greeting = !std::mem::replace(&mut self.greeted, true);
        if greeting {
            self.welcome(mark, below, sink);
        } else {
            self.pairing.began(self.marks[1], below, sink);
        }
        let question = self
            .pairing
            .front()
            .map_or_else(|| if greeting { "greeting".to_owned() } else { String::new() }, |entry| entry.question.clone());
        if let Some((weight, cause)) = judge(self.kind, code, &words, &question, greeting) {
            let rule = if self.kind == Kind::Smtp { "smtp.reply" } else { "ftp.reply" };
            let layer = if cause.is_some_and(|cause| cause.starts_with("l6.")) { Layer::L6 } else { Layer::L7 };
            let finding = tell(rule, weight, layer, mark, format!("{question}: {code} {words}"));
            sink.findings.push(finding.for_cause(cause).on(self.ends.service()).worth(code));
        }
        // 1yz of FTP: the answer itself comes later.
        if greeting || (self.kind == Kind::Ftp && code < 200) {
            return;
        }
        self.secret = code == 334;
        self.message = self.kind == Kind::Smtp && code == 354;
        let secured = question == "STARTTLS" || (question == "AUTH" && self.kind == Kind::Ftp);
        self.pairing.finish(code.to_string(), code < 400, mark.at, sink);
        if secured && matches!(code, 220 | 234) {
            let within = if self.kind == Kind::Smtp { tls::Within::Smtp } else { tls::Within::Ftp };
            self.inner = Some(tls::Tls::secures(within, self.ends));
        }
    }

    /// A server that looks up the client's name before it greets makes every connection wait; some wait on purpose, against spam.
    fn welcome(&self, mark: Mark, below: &Below, sink: &mut Sink) {
        if let Some(waited) = below.greeted_after_ms(mark.at).filter(|waited| *waited >= SLOW_MS) {
            let rule = if self.kind == Kind::Smtp { "smtp.greeting-slow" } else { "ftp.greeting-slow" };
            let text = format!("the server greeted {} after the connection stood", text::time(waited));
            sink.findings.push(
                tell(rule, Weight::Warning, Layer::L7, mark, text).for_cause("l7.service-slow").on(self.ends.service()).worth(waited),
            );
        }
    }
}

/// What a reply weighs, and its cause; `None` for those that are no error.
pub(super) fn judge(kind: Kind, code: u16, words: &str, question: &str, greeting: bool) -> Option<(Weight, Option<&'static str>)> {
    let known = cause_of_refusal(Spoken::Smtp, &code.to_string(), words);
    Some(match (kind, code) {
        (_, ..400) => return None,
        (_, 421) | (Kind::Smtp, 554) if greeting || code == 421 => (Weight::Fault, known.or(Some("l7.service-error"))),
        (Kind::Ftp, 530) => (Weight::Fault, Some("l7.auth-failed")),
        // RFC 3207 §4: 530 to whatever is asked before STARTTLS.
        (Kind::Smtp, 530) if words.to_ascii_uppercase().contains("STARTTLS") => (Weight::Fault, Some("l6.tls-on-plaintext-port")),
        (Kind::Smtp, 530 | 534) => (Weight::Warning, known),
        (Kind::Smtp, 525 | 535) => (Weight::Fault, known),
        // A command that this server does not know is asked on the chance.
        (_, 500..=504) => (Weight::Note, None),
        // The size or the time of a file that is none.
        (Kind::Ftp, 550) if matches!(question, "SIZE" | "MDTM" | "CWD" | "MKD") => (Weight::Note, None),
        (Kind::Ftp, 425 | 426 | 451 | 452) => (Weight::Fault, Some("l7.service-error")),
        (Kind::Smtp, 451 | 452) => (Weight::Warning, Some("l7.service-error")),
        _ => (Weight::Warning, None),
    })
}

/// The verb of a command.
pub(super) fn verb(line: &[u8]) -> String {
    let end = line.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(line.len());
    let word = line.get(..end.min(line.len())).unwrap_or_default();
    if (3..=8).contains(&word.len()) { String::from_utf8_lossy(word).to_ascii_uppercase() } else { "command".to_owned() }
}

impl Conversation for Lines {
    fn chunk(&mut self, chunk: Chunk<'_>, below: &Below, sink: &mut Sink) {
        let (mark, side) = (Mark::from(&chunk), usize::from(chunk.from == Side::Server));
        let mut rest = chunk.bytes;
        while !rest.is_empty() && !self.lost {
            if let Some(inner) = &mut self.inner {
                return inner.chunk(Chunk { bytes: rest, ..chunk }, below, sink);
            }
            if self.buffers[side].is_empty() {
                self.marks[side] = mark;
            }
            let end = rest.iter().position(|byte| *byte == b'\n');
            let part = rest.get(..end.map_or(rest.len(), |end| end + 1)).unwrap_or(rest);
            let buffer = &mut self.buffers[side];
            keep(buffer, part, LONGEST_LINE);
            rest = rest.get(part.len()..).unwrap_or_default();
            if end.is_none() {
                continue;
            }
            let line = std::mem::take(&mut self.buffers[side]);
            match chunk.from {
                Side::Client => self.client(line.trim_ascii_end(), mark),
                Side::Server => self.server(line.trim_ascii_end(), mark, below, sink),
            }
        }
    }

    fn glance(&mut self, glance: Glance<'_>, below: &Below, sink: &mut Sink) {
        match &mut self.inner {
            Some(inner) => inner.glance(glance, below, sink),
            None => super::bytes_and_a_hole(self, glance, below, sink),
        }
    }

    fn is_read_by_turns(&self) -> bool {
        !self.lost && self.inner.is_none()
    }

    fn gap(&mut self, from: Side, missing: u64, sink: &mut Sink) {
        if let Some(inner) = &mut self.inner {
            return inner.gap(from, missing, sink);
        }
        // A hole in a message matters to nobody.
        if !(self.message && from == Side::Client) {
            self.lost = true;
            self.pairing.lose();
        }
    }

    fn end(&mut self, how: End, at: Stamp, below: &Below, sink: &mut Sink) {
        if let Some(inner) = &mut self.inner {
            return inner.end(how, at, below, sink);
        }
        self.pairing.end_of_lines(how, at, below, sink);
    }
}

#[cfg(test)]
mod tests {
    use crate::app::End;
    use crate::app::testkit::{C, Line, S, exchanges, rules, told};

    #[track_caller]
    fn check(port: u16, lines: &[Line<'_>], expect: &[&str], said: &[&str]) {
        let sink = told(port, lines, End::Closed, 9000);
        let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
        assert_eq!((rules(&sink), exchanges(&sink)), (rows(expect), rows(said)));
        assert!(!format!("{sink:?}").contains("secret"));
    }

    #[test]
    fn mail_is_followed_by_its_verbs_alone() {
        let lines: [Line<'_>; 12] = [
            (S, 11, b"220 mail.test ESMTP\r\n"),
            (C, 12, b"EHLO secret\r\n"),
            (S, 30, b"250-mail.test\r\n250 AUTH LOGIN\r\n"),
            (C, 40, b"AUTH LOGIN\r\n"),
            (S, 50, b"334 VXNlcm5hbWU6\r\n"),
            (C, 51, b"secret\r\n"),
            (S, 60, b"535 5.7.8 authentication failed\r\n"),
            (C, 61, b"MAIL FROM:<secret@a.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\n"),
            (S, 70, b"250 ok\r\n450 4.2.0 greylisted\r\n354 go on\r\n"),
            (C, 71, b"Subject: secret\r\n\r\n.\r\n"),
            (S, 80, b"250 queued\r\n"),
            (C, 81, b"QUIT\r\n"),
        ];
        check(
            25,
            &lines,
            &["smtp.reply fault l7.auth-failed", "smtp.reply warning -"],
            &["EHLO > 250", "AUTH > 334", "login > 535", "MAIL > 250", "RCPT > 450", "DATA > 354", "message > 250"],
        );
    }

    #[test]
    fn a_login_that_ftp_refuses_is_told_without_the_password() {
        let lines: [Line<'_>; 5] = [
            (S, 11, b"220 FTP\r\n"),
            (C, 12, b"USER joe\r\n"),
            (S, 20, b"331 password\r\n"),
            (C, 21, b"PASS secret\r\n"),
            (S, 40, b"530 no\r\n"),
        ];
        check(21, &lines, &["ftp.reply fault l7.auth-failed"], &["USER > 331", "PASS > 530"]);
        let plain: [Line<'_>; 3] = [
            (S, 11, b"220 mail\r\n"),
            (C, 12, b"MAIL FROM:<secret@a.test>\r\n"),
            (S, 20, b"530 5.7.0 Must issue a STARTTLS command first\r\n"),
        ];
        check(25, &plain, &["smtp.reply fault l6.tls-on-plaintext-port"], &["MAIL > 530"]);
        check(25, &[(S, 3000, b"220 slow\r\n")], &["smtp.greeting-slow warning l7.service-slow"], &[]);
        check(25, &[(S, 30, b"421 too many connections\r\n")], &["smtp.reply fault l7.too-many-connections"], &[]);
    }
}
