//! One question of a walk to one server: over UDP without recursion and with signatures wanted, then over TCP if the answer was cut short.

use super::super::message::Question;
use super::super::query::Exchange;
use super::super::{tcp, udp};
use crate::recorder::ms;
use faultmap_model::observation::{DnsOutcome, TcpFallback};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// DNS Flag Day 2020.
const PAYLOAD: u16 = 1232;
/// Two datagrams.
const UDP_WAIT: Duration = Duration::from_millis(2_200);
const TCP_WAIT: Duration = Duration::from_millis(2_000);

/// What came back.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) outcome: DnsOutcome,
    /// The answer, if it can be read as a whole.
    pub(super) message: Option<Message>,
    pub(super) tcp: Option<TcpFallback>,
    pub(super) took_ms: f64,
}

/// Counts and bounds the questions of a walk.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) sent: Cell<u32>,
    pub(super) most: u32,
    pub(super) deadline: Instant,
}

impl Asker {
    /// Asks; `None` when no question is left, or no time.
    pub(super) async fn ask(&self, server: SocketAddr, name: &Name, kind: RecordType) -> Option<Heard> {
        let started = Instant::now();
        if self.sent.get() >= self.most || started >= self.deadline {
            return None;
        }
        self.sent.set(self.sent.get() + 1);
        let question = Question {
            name: name.clone(),
            type_number: kind.into(),
            checking_disabled: true,
            recursion: false,
            max_payload: PAYLOAD,
            dnssec: true,
        };
        let mut exchange = udp::exchange(server, &question, self.deadline.min(started + UDP_WAIT)).await;
        if refuses_edns(&exchange) {
            let plain = Question { max_payload: 0, dnssec: false, ..question.clone() };
            let again = udp::exchange(server, &plain, self.deadline.min(Instant::now() + UDP_WAIT)).await;
            if matches!(again.outcome, DnsOutcome::Answer(_)) {
                exchange = again;
            }
        }
        let mut tcp = None;
        if matches!(&exchange.outcome, DnsOutcome::Answer(answer) if answer.truncated) {
            let whole = tcp::exchange(server, &question, self.deadline.min(Instant::now() + TCP_WAIT)).await;
            let answered = matches!(whole.outcome, DnsOutcome::Answer(_));
            tcp = Some(if answered { TcpFallback::Answered } else { TcpFallback::Failed });
            if answered {
                exchange = whole;
            }
        }
        let message = Message::from_vec(&exchange.message).ok().filter(|_| !exchange.message.is_empty());
        Some(Heard { outcome: exchange.outcome, message, tcp, took_ms: ms(started.elapsed()) })
    }
}

/// FORMERR, NOTIMP, BADVERS (RFC 6891 section 7).
const fn refuses_edns(exchange: &Exchange) -> bool {
    matches!(&exchange.outcome, DnsOutcome::Answer(answer) if matches!(answer.rcode, 1 | 4 | 16))
}
