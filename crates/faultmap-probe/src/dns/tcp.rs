//! A question over TCP: two bytes of length before each message (RFC 1035 4.2.2, RFC 7766). One connection, one question.

use super::message::{self, Question};
use super::query::Exchange;
use crate::recorder::ms;
use crate::sock::errno;
use crate::sock::options::{self, Family};
use crate::sock::syn::{self, Syn, SynEnd, SynOptions};
use faultmap_model::observation::{DnsAnswer, DnsOutcome};
use socket2::Socket;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Messages read that are not the answer, before we call it a protocol error (`EPROTO`).
const MOST_MISMATCHED: u32 = 16;

/// Asks until there is an answer or an error, or until `deadline`. An orderly close without an answer is `Failed` with the name `EOF`,
/// which is no errno but is what happened.
pub(super) async fn exchange(to: SocketAddr, question: &Question, deadline: Instant) -> Exchange {
    let started = Instant::now();
    let left = deadline.saturating_duration_since(started);
    let mut asking = Asking { question, id: message::random_id(), sent: 0, mismatched: 0, message: Vec::new() };
    let outcome = match connected(syn::connect(to, SynOptions::default(), left).await, Family::of(to.ip())) {
        Ok(mut stream) => match timeout_at(deadline, asking.ask(&mut stream)).await {
            Ok(Ok(answer)) => Some(DnsOutcome::Answer(answer)),
            Ok(Err(error)) => Some(DnsOutcome::Failed { errno: named(&error), icmp: None }),
            Err(_) => None,
        },
        Err(outcome) => outcome,
    };
    let silent = || DnsOutcome::Silent { waited_ms: ms(started.elapsed()), mismatched: asking.mismatched };
    Exchange { sent: asking.sent, outcome: outcome.unwrap_or_else(silent), message: asking.message }
}

/// The stream; or the outcome of a connect that failed; or nothing when it was still under way and no error had come.
fn connected(syn: Syn, family: Family) -> Result<TcpStream, Option<DnsOutcome>> {
    use crate::sock::error_queue::behind;
    match syn.end {
        SynEnd::Connected(socket) => {
            into_stream(socket, family).map_err(|error| Some(DnsOutcome::Failed { errno: named(&error), icmp: None }))
        }
        SynEnd::Failed(raw) => Err(Some(DnsOutcome::Failed { errno: errno::name(raw), icmp: behind(&syn.errors, raw) })),
        // A soft ICMP error does not end the connect, but it says why nothing came.
        SynEnd::Pending => Err(syn
            .errors
            .iter()
            .rev()
            .find(|error| error.icmp.is_some())
            .map(|error| DnsOutcome::Failed { errno: error.errno_name(), icmp: error.icmp })),
    }
}

fn into_stream(socket: Socket, family: Family) -> io::Result<TcpStream> {
    options::report_errors(&socket, family, false)?;
    TcpStream::from_std(socket.into())
}

fn named(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        _ => errno::name(errno::of(error)),
    }
}

struct Asking<'q> {
    question: &'q Question,
    id: u16,
    sent: u32,
    mismatched: u32,
    /// The bytes of the answer.
    message: Vec<u8>,
}

impl Asking<'_> {
    async fn ask(&mut self, stream: &mut TcpStream) -> io::Result<DnsAnswer> {
        let bytes = self.question.encode(self.id).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let length = u16::try_from(bytes.len()).map_err(|_| io::Error::from_raw_os_error(libc::EMSGSIZE))?;
        // In one write: some servers want length and message in one segment (RFC 7766 section 8).
        stream.write_all(&[&length.to_be_bytes(), bytes.as_slice()].concat()).await?;
        self.sent = 1;
        loop {
            let length = stream.read_u16().await?;
            let mut message = vec![0; usize::from(length)];
            stream.read_exact(&mut message).await?;
            if let Some(answer) = self.question.answer_in(self.id, &message) {
                self.message = message;
                return Ok(answer);
            }
            self.mismatched = self.mismatched.saturating_add(1);
            if self.mismatched >= MOST_MISMATCHED {
                return Err(io::Error::from_raw_os_error(libc::EPROTO));
            }
        }
    }
}
