//! Every address of every family is connected; the first good one in the order of Happy Eyeballs (RFC 8305) carries the conversation.

use super::Check;
use crate::questions::{ConnectAsk, answer_ttl, connect};
use crate::recorder::ms;
use crate::sock::AnswerTap;
use faultmap_model::observation::{ConnectOutcome, IcmpMeaning, Role, TcpConnect};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// RFC 8305 5: the delay between two connection attempts.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// A SYN unanswered for so long is suspicious: the first retransmission comes at 1 s.
const SUSPECT: Duration = Duration::from_millis(700);
/// Silence is concluded no earlier: a dead neighbour is reported after 3.07 s (three solicitations, one second apart).
/// (A SYN goes out again every second; the one at 4 s would only wake up the router that is asked for its last word.)
const CONCLUDE: Duration = Duration::from_millis(3_700);

/// A connection with its address.
pub(super) struct Opened {
    /// The peer.
    pub(super) to: SocketAddr,
    /// The connection.
    pub(super) stream: TcpStream,
}

impl Check<'_> {
    /// Connects to all addresses side by side and speaks over the one that Happy Eyeballs would choose.
    pub(super) async fn reach(&self, addresses: &[IpAddr]) {
        let started = Instant::now();
        let attempt = |(rank, ip): (usize, &IpAddr)| {
            let to = SocketAddr::new(*ip, self.near_port());
            async move { (rank, Box::pin(self.attempt(to)).await) }
        };
        let mut attempts: FuturesUnordered<_> = addresses.iter().enumerate().map(attempt).collect();
        let mut best: Option<(usize, Opened)> = None;
        loop {
            // A better-ranked address gets the head start that RFC 8305 gives it.
            let head_start = best.as_ref().map_or(Duration::MAX, |(rank, _)| ATTEMPT_DELAY * u32::try_from(*rank).unwrap_or(u32::MAX));
            let give_up = async {
                match started.checked_add(head_start) {
                    Some(at) if best.is_some() => tokio::time::sleep_until(at.into()).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                done = attempts.next() => match done {
                    Some((rank, Some(opened))) if best.as_ref().is_none_or(|(known, _)| rank < *known) => best = Some((rank, opened)),
                    Some(_) => {}
                    None => break,
                },
                () = give_up => break,
            }
            if matches!(best, Some((0, _))) {
                break;
            }
        }
        let rest = async { while attempts.next().await.is_some() {} };
        match best {
            Some((_, opened)) => {
                tokio::join!(Box::pin(self.converse(opened)), rest);
            }
            None => rest.await,
        }
    }

    /// One address: connect; on failure, ask what splits the candidates.
    async fn attempt(&self, to: SocketAddr) -> Option<Opened> {
        self.approach(to.ip(), Role::Target);
        let asked = Instant::now();
        let ask = ConnectAsk::new(to, Role::Target, self.within(patience(self.options.connect_wait)));
        self.pending.borrow_mut().push((to, asked));
        let connecting = connect(&ask);
        tokio::pin!(connecting);
        let early = tokio::time::timeout(SUSPECT, &mut connecting).await;
        let was_early = early.is_ok();
        let (mut answer, stream) = match early {
            Ok(done) => done,
            Err(_) => {
                let split = Box::pin(self.split_silence(to));
                tokio::pin!(split);
                tokio::select! {
                    done = &mut connecting => {
                        // The last router has looked for the host in vain: more packets would only make it look again.
                        if done.1.is_none() && !self.reported_missing(to.ip(), &done.0.outcome) {
                            split.await;
                        }
                        done
                    }
                    () = &mut split => connecting.await,
                }
            }
        };
        self.pending.borrow_mut().retain(|(pending, _)| *pending != to);
        if answer.outcome.reset() && !self.is_local(to.ip()) {
            answer.answer_ttl = self.ttl_of_answer(to, asked.elapsed()).await;
        }
        let outcome = answer.outcome.clone();
        self.rec.note(asked, answer);
        if was_early && stream.is_none() {
            Box::pin(self.split_answered(to, &outcome)).await;
        }
        stream.map(|stream| Opened { to, stream })
    }

    fn reported_missing(&self, ip: IpAddr, outcome: &ConnectOutcome) -> bool {
        let missing = outcome.icmp().is_some_and(|icmp| icmp.meaning() == IcmpMeaning::HostUnreachable && !self.is_own(icmp.from));
        missing && self.any_router_answered(ip) && !self.host_answered(ip)
    }

    /// The check is cut short: connects that were still waiting are recorded as the silence they met.
    pub(super) fn note_pending(&self) {
        for (to, asked) in self.pending.borrow_mut().drain(..) {
            let outcome = ConnectOutcome::Silent { waited_ms: ms(asked.elapsed()), retransmits: 0, icmp: None };
            self.rec.note(asked, TcpConnect { to, role: Role::Target, outcome, local: None, answer_ttl: None });
        }
    }

    /// Connects once more under a raw listener that reads the TTL of the answer, or a few times more where we may have none. (A listener on
    /// every connect would cost milliseconds.)
    pub(super) async fn ttl_of_answer(&self, to: SocketAddr, round_trip: Duration) -> Option<u8> {
        if !self.raw {
            return answer_ttl(to, round_trip, self.within(Duration::from_millis(400))).await;
        }
        let mut tap = AnswerTap::open(to.ip())?;
        let ask = ConnectAsk::new(to, Role::Target, self.within(Duration::from_millis(500)));
        let (again, _) = connect(&ask).await;
        tap.ttl_of(to, again.local)
    }

    /// A fresh connection to an address that has been reached before; through the proxy, to the target behind it.
    pub(super) async fn reopen(&self, to: SocketAddr, wait: Duration, max_seg: Option<u32>) -> Option<TcpStream> {
        let ask = ConnectAsk { max_seg, ..ConnectAsk::new(to, Role::Target, self.within(wait)) };
        let stream = connect(&ask).await.1?;
        self.tunnel_again(stream, to, wait).await
    }
}

/// The kernel would go on sending SYNs for two minutes; silence is concluded much earlier, unless the user asks for more patience.
fn patience(connect_wait: Duration) -> Duration {
    let default = crate::CheckOptions::default().connect_wait;
    if connect_wait > default { connect_wait } else { connect_wait.min(CONCLUDE) }
}
