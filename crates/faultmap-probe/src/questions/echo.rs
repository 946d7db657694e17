//! Does the host answer ICMP echo, how fast, and how many are lost? Sends echo requests only.

use crate::recorder::ms;
use crate::sock::datagram::DatagramOptions;
use crate::sock::errno;
use crate::sock::ping::{Ping, PingHeard, PingRefused};
use faultmap_model::observation::{Echo, NotAsked, Role};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

const MOST_REQUESTS: u32 = 1000;
/// After the last reply is in, a little longer: a duplicate follows close behind.
const FOR_DUPLICATES: Duration = Duration::from_millis(3);

/// A train of echo requests.
#[derive(Debug, Clone)]
pub struct EchoAsk {
    /// Where to.
    pub to: IpAddr,
    /// Whose address it is.
    pub role: Role,
    /// How many (at most 1000).
    pub count: u32,
    /// Time between two requests.
    pub interval: Duration,
    /// ICMP payload bytes.
    pub payload_bytes: u32,
    /// Forbid fragmentation. Otherwise the kernel may fragment.
    pub dont_fragment: bool,
    /// How long to wait after the last request.
    pub wait: Duration,
}

/// Sends the train. `Err` when this process may not send echo requests. Ends early when every request has its answer.
pub async fn echo(ask: &EchoAsk) -> Result<Echo, NotAsked> {
    let mut seen = Echo {
        to: ask.to,
        role: ask.role,
        payload_bytes: ask.payload_bytes,
        dont_fragment: ask.dont_fragment,
        sent: 0,
        received: 0,
        duplicates: 0,
        rtts_ms: Vec::new(),
        reply_ttl: None,
        icmp: None,
        errno: None,
    };
    let with = DatagramOptions { ttl: None, dont_fragment: Some(ask.dont_fragment) };
    match Ping::open(ask.to, with) {
        Ok(ping) => Train { ask, ping, requests: Vec::new() }.run(&mut seen).await,
        Err(PingRefused::NotAllowed) => {
            return Err(ping_not_allowed("icmp.echo", "whether the host answers ICMP echo"));
        }
        Err(PingRefused::Errno(raw)) => seen.errno = Some(errno::name(raw)),
    }
    Ok(seen)
}

/// What a question that needs echo requests answers when it may not send them.
pub(super) fn ping_not_allowed(question: &str, would_settle: &str) -> NotAsked {
    NotAsked {
        question: question.to_owned(),
        why: "net.ipv4.ping_group_range does not allow ping sockets, and CAP_NET_RAW is missing".to_owned(),
        would_settle: would_settle.to_owned(),
        missing: Some("CAP_NET_RAW".to_owned()),
    }
}

struct Request {
    sent_at: Instant,
    rtt_ms: Option<f64>,
    /// An ICMP error answered instead.
    refused: bool,
}

struct Train<'a> {
    ask: &'a EchoAsk,
    ping: Ping,
    requests: Vec<Request>,
}

impl Train<'_> {
    async fn run(mut self, seen: &mut Echo) {
        let started = Instant::now();
        let count = self.ask.count.min(MOST_REQUESTS);
        for number in 0..count {
            self.listen(started + self.ask.interval * number, false, seen).await;
            self.send(number, seen);
        }
        self.listen(Instant::now() + self.ask.wait, true, seen).await;
        if seen.received > 0 {
            self.listen(Instant::now() + FOR_DUPLICATES.min(self.ask.wait), false, seen).await;
        }
        seen.rtts_ms = self.requests.iter().filter_map(|request| request.rtt_ms).collect();
    }

    fn send(&mut self, number: u32, seen: &mut Echo) {
        let sent_at = Instant::now();
        let wire_number = u16::try_from(number).unwrap_or(u16::MAX);
        let sent = self.ping.send(wire_number, usize::try_from(self.ask.payload_bytes.min(65_507)).unwrap_or(0));
        match &sent {
            Ok(()) => seen.sent += 1,
            Err(error) => {
                seen.errno.get_or_insert_with(|| errno::name(errno::of(error)));
            }
        }
        // One entry per number, sent or not: replies are found by their number.
        self.requests.push(Request { sent_at, rtt_ms: None, refused: sent.is_err() });
    }

    async fn listen(&mut self, until: Instant, until_answered: bool, seen: &mut Echo) {
        loop {
            if until_answered && self.requests.iter().all(|request| request.rtt_ms.is_some() || request.refused) {
                return;
            }
            let Some(heard) = self.ping.hear(until).await else {
                return;
            };
            self.note(&heard, seen);
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn note(&mut self, heard: &PingHeard, seen: &mut Echo) {
        match heard {
            PingHeard::Reply { number, ttl } => {
                let Some(request) = self.requests.get_mut(usize::from(*number)) else {
                    return;
                };
                if request.rtt_ms.is_some() {
                    seen.duplicates += 1;
                    return;
                }
                request.rtt_ms = Some(ms(request.sent_at.elapsed()));
                seen.received += 1;
                seen.reply_ttl = seen.reply_ttl.or(*ttl);
            }
            PingHeard::Error { number, error } => {
                if let Some(request) = number.and_then(|number| self.requests.get_mut(usize::from(number))) {
                    request.refused = true;
                }
                seen.icmp = seen.icmp.or(error.icmp);
            }
        }
    }
}
