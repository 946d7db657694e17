//! One question to one resolver, over UDP, TCP, or UDP and then TCP. Says what came back; never what it means.

use super::message::{self, Question};
use super::{tcp, udp};
use faultmap_model::observation::{DnsAnswer, DnsOutcome, DnsQuery, RecordType, Role, Transport};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// DNS Flag Day 2020: fits in every path that carries IPv6, so answers are not lost to fragmentation.
const DEFAULT_PAYLOAD: u16 = 1232;
/// Answered by every server that answers at all.
const TYPE_SOA: u16 = 6;

/// What to ask whom, and how.
#[derive(Debug, Clone)]
pub struct DnsAsk {
    /// The resolver or server.
    pub resolver: SocketAddr,
    /// Whose it is.
    pub role: Role,
    /// UDP or TCP. [`query_with_fallback`] goes from UDP to TCP by itself.
    pub transport: Transport,
    /// The name, ASCII, with or without the final dot; `.` is the root.
    pub name: String,
    /// The type.
    pub record_type: RecordType,
    /// The number of the type when `record_type` is `Other`. SOA unless set.
    pub other_type: u16,
    /// Sets CD: the resolver shall not validate (RFC 4035 3.2.2).
    pub checking_disabled: bool,
    /// Sets RD.
    pub recursion: bool,
    /// How long to wait for the answer, retransmissions included.
    pub wait: Duration,
    /// Largest UDP answer that EDNS(0) offers to take (RFC 6891); 0 leaves EDNS out.
    pub max_payload: u16,
}

impl DnsAsk {
    /// A recursive question with EDNS and a wait of five seconds.
    #[must_use]
    pub fn new(resolver: SocketAddr, role: Role, transport: Transport, name: impl Into<String>, record_type: RecordType) -> Self {
        Self {
            resolver,
            role,
            transport,
            name: name.into(),
            record_type,
            other_type: TYPE_SOA,
            checking_disabled: false,
            recursion: true,
            wait: Duration::from_secs(5),
            max_payload: DEFAULT_PAYLOAD,
        }
    }

    const fn type_number(&self) -> u16 {
        match self.record_type {
            RecordType::A => message::TYPE_A,
            RecordType::Aaaa => message::TYPE_AAAA,
            RecordType::Other => self.other_type,
        }
    }

    fn question(&self, max_payload: u16) -> Option<Question> {
        Question::new(&self.name, self.type_number()).map(|question| Question {
            checking_disabled: self.checking_disabled,
            recursion: self.recursion,
            max_payload,
            ..question
        })
    }
}

/// What one transport gave, and how often the question was written to it.
pub(super) struct Exchange {
    pub(super) sent: u32,
    pub(super) outcome: DnsOutcome,
    /// The bytes of the answer, if there is one.
    pub(super) message: Vec<u8>,
}

/// Asks once over `ask.transport`. A name that cannot be put into a question is `Failed` with `EINVAL`.
///
/// A server that does not know EDNS (FORMERR, NOTIMP, BADVERS; RFC 6891 section 7) is asked again without it, within the same wait.
pub async fn query(ask: &DnsAsk) -> DnsQuery {
    let deadline = Instant::now() + ask.wait;
    let mut exchange = exchange(ask, ask.max_payload, deadline).await;
    if ask.max_payload > 0 && refuses_edns(&exchange.outcome) {
        let plain = self::exchange(ask, 0, deadline).await;
        exchange.sent += plain.sent;
        if matches!(plain.outcome, DnsOutcome::Answer(_)) {
            exchange.outcome = plain.outcome;
        }
    }
    DnsQuery {
        resolver: ask.resolver,
        role: ask.role,
        transport: ask.transport,
        name: ask.name.clone(),
        record_type: ask.record_type,
        checking_disabled: ask.checking_disabled,
        offered: (ask.max_payload != DEFAULT_PAYLOAD && ask.transport == Transport::Udp).then_some(ask.max_payload),
        sent: exchange.sent,
        outcome: exchange.outcome,
    }
}

async fn exchange(ask: &DnsAsk, max_payload: u16, deadline: Instant) -> Exchange {
    let Some(question) = ask.question(max_payload) else {
        let outcome = DnsOutcome::Failed { errno: "EINVAL".to_owned(), icmp: None };
        return Exchange { sent: 0, outcome, message: Vec::new() };
    };
    match ask.transport {
        Transport::Udp => udp::exchange(ask.resolver, &question, deadline).await,
        Transport::Tcp => tcp::exchange(ask.resolver, &question, deadline).await,
    }
}

const fn refuses_edns(outcome: &DnsOutcome) -> bool {
    matches!(outcome, DnsOutcome::Answer(DnsAnswer { rcode: message::FORMERR | message::NOTIMP | message::BADVERS, .. }))
}

/// Asks over UDP and, when the answer is truncated, over TCP (RFC 7766 section 5); both are told, in that order. TCP gets what is left of
/// the wait but at least half of it, so the whole takes at most one and a half times `ask.wait`. With `Transport::Tcp`, only TCP.
pub async fn query_with_fallback(ask: &DnsAsk) -> Vec<DnsQuery> {
    let deadline = Instant::now() + ask.wait;
    let first = query(ask).await;
    let truncated = matches!(&first.outcome, DnsOutcome::Answer(answer) if answer.truncated);
    if !truncated || ask.transport == Transport::Tcp {
        return vec![first];
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let over_tcp = DnsAsk { transport: Transport::Tcp, wait: left.max(ask.wait / 2), ..ask.clone() };
    vec![first, query(&over_tcp).await]
}
