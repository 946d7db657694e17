//! Holds connections idle, kept alive and active, side by side, until it is known how long one may be idle and what keeps it alive.

use super::speech::can_be_active;
use crate::driver::Check;
use crate::recorder::ms;
use crate::session::{Course, Line, Wish, gap};
use crate::sock::AnswerTap;
use crate::sock::keep_alive::SHORTEST;
use faultmap_model::Scheme;
use faultmap_model::observation::{HeldFor, KeptBy, Means, OnUse, SessionIdle, WhileIdle};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Between two connections of a ladder, so that they do not come as a burst.
const STAGGER: Duration = Duration::from_millis(20);

/// A connection that has reported: when it was opened, its round, its wish, and what it has seen; `None`: it could not be had, or was called
/// off.
type Report = (Instant, u8, Wish, Option<SessionIdle>);

/// What all held connections share.
struct Hold<'h> {
    to: SocketAddr,
    asked: Duration,
    /// True: report now.
    stop: watch::Receiver<bool>,
    tap: &'h RefCell<Option<AnswerTap>>,
}

impl Check<'_> {
    /// The whole experiment. Each connection is recorded when it reports.
    pub(super) async fn hold(&self, to: SocketAddr, asked: Duration) {
        let (call, stop) = watch::channel(false);
        let tap = RefCell::new(AnswerTap::open(to.ip()).filter(|_| self.raw && !self.is_local(to.ip())));
        let hold = Hold { to, asked, stop, tap: &tap };
        let scheme = self.target.scheme;
        let pings = matches!(scheme, Scheme::Https) || scheme.dialogue().is_some();
        let (mut course, mut wishes) = Course::begin(asked, can_be_active(scheme), pings);
        let mut lines = FuturesUnordered::new();
        let (mut round, mut reported) = (1_u8, 0_u32);
        loop {
            for (delay, wish) in (0_u32..).map(|n| STAGGER * n).zip(wishes.drain(..)) {
                lines.push(self.line(&hold, round, wish, delay));
            }
            let Some((opened, of_round, wish, line)) = lines.next().await else { break };
            match line {
                Some(line) => {
                    self.rec.note(opened, line.clone());
                    reported += 1;
                    wishes = course.heard(of_round, &line);
                    round = 2;
                }
                None => course.unopened(wish),
            }
            if course.over() {
                let _ = call.send(true);
            }
        }
        if reported == 0 {
            self.not_held("no further connection could be opened");
        }
    }

    async fn line(&self, hold: &Hold<'_>, round: u8, wish: Wish, delay: Duration) -> Report {
        // The second of the active ones is opened later; its age tells an age limit from an event that ends all at one moment.
        tokio::time::sleep(delay).await;
        let opened = Instant::now();
        let line = self.held(hold, wish).await;
        (opened, round, wish, line)
    }

    async fn held(&self, hold: &Hold<'_>, wish: Wish) -> Option<SessionIdle> {
        if let Wish::Active(later) = wish {
            tokio::time::sleep(later).await;
        }
        let wait = self.session_patience();
        let (mut line, protocol) = self.session_line(hold.to, wait).await?;
        // A request begins the idle time of HTTP; a connection without one is under other limits.
        let spoken = !line.says_nothing();
        let first = if spoken { line.exchange(wait).await } else { OnUse::Answered { status: None, took_ms: 0.0 } };
        if wish != Wish::Fresh && !matches!(first, OnUse::Answered { .. }) {
            return None;
        }
        let mut stop = hold.stop.clone();
        let ended = match wish {
            Wish::Fresh => Ended { on_use: Some(if spoken { first } else { line.exchange(wait).await }), ..Ended::quiet() },
            Wish::Idle(time) => {
                tokio::select! {
                    ended = idle(&mut line, time, wait) => ended,
                    _ = stop.wait_for(|stop| *stop) => return None,
                }
            }
            Wish::Active(_) => active(&mut line, gap(hold.asked), wait, &mut stop).await,
            Wish::Kept { by, every, hold } => kept(&mut line, by, every, hold, wait).await?,
        };
        Some(self.report(hold, wish, line, protocol, ended).await)
    }

    async fn report(&self, hold: &Hold<'_>, wish: Wish, line: Line, protocol: &str, ended: Ended) -> SessionIdle {
        let by_reset = ended.while_idle == WhileIdle::Reset || ended.on_use == Some(OnUse::Reset);
        let ttls = match (hold.tap.borrow_mut().as_mut(), line.local) {
            (Some(tap), Some(local)) => tap.ttls_of(hold.to, local),
            _ => (None, None),
        };
        let held = SessionIdle {
            to: hold.to,
            protocol: protocol.to_owned(),
            purpose: match wish {
                Wish::Idle(_) => HeldFor::Idle,
                Wish::Active(_) => HeldFor::Active,
                Wish::Kept { .. } => HeldFor::KeptAlive,
                Wish::Fresh => HeldFor::Fresh,
            },
            kept_by: ended.kept_by,
            asked_ms: ms(hold.asked),
            idle_ms: ms(ended.idle),
            age_ms: ms(line.age()),
            while_idle: ended.while_idle,
            on_use: ended.on_use,
            last_words: line.last_words(),
            announced_close: line.announced_close,
            answer_ttl: ttls.0,
            reset_ttl: ttls.1.filter(|_| by_reset),
            tcp: line.tcp(),
        };
        line.end(held.survived()).await;
        held
    }
}

/// How a held connection ended.
struct Ended {
    idle: Duration,
    while_idle: WhileIdle,
    on_use: Option<OnUse>,
    kept_by: Option<KeptBy>,
}

impl Ended {
    const fn quiet() -> Self {
        Self { idle: Duration::ZERO, while_idle: WhileIdle::Quiet, on_use: None, kept_by: None }
    }
}

/// Left alone, then used. Where nothing is said, the kernel's look is no use: idleness goes on meanwhile.
async fn idle(line: &mut Line, time: Duration, wait: Duration) -> Ended {
    let while_idle = line.rest(time).await;
    let idle = line.idle();
    if while_idle != WhileIdle::Quiet {
        return Ended { idle, while_idle, on_use: None, kept_by: None };
    }
    let on_use = line.exchange(wait).await;
    if !line.says_nothing() {
        return Ended { idle, while_idle, on_use: Some(on_use), kept_by: None };
    }
    match on_use {
        OnUse::Closed => Ended { idle: line.idle(), while_idle: WhileIdle::Closed, on_use: None, kept_by: None },
        OnUse::Answered { .. } => Ended { idle: line.idle(), while_idle, on_use: Some(on_use), kept_by: None },
        // The kernel's first probe comes no earlier.
        _ => Ended { idle: idle.max(SHORTEST), while_idle, on_use: Some(on_use), kept_by: None },
    }
}

/// Used again and again until it ends or is stopped.
async fn active(line: &mut Line, every: Duration, wait: Duration, stop: &mut watch::Receiver<bool>) -> Ended {
    let started = Instant::now();
    let mut answered = 0_u32;
    let mut last = OnUse::Answered { status: None, took_ms: 0.0 };
    let mut while_idle = WhileIdle::Quiet;
    while !line.announced_close {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            rested = line.rest(every) => while_idle = rested,
        }
        if while_idle != WhileIdle::Quiet {
            break;
        }
        last = line.exchange(wait).await;
        if !matches!(last, OnUse::Answered { .. }) {
            break;
        }
        answered = answered.saturating_add(1);
    }
    let kept_by = Some(KeptBy { by: Means::Request, every_ms: ms(every), answered: Some(answered) });
    let on_use = (while_idle == WhileIdle::Quiet).then_some(last);
    Ended { idle: started.elapsed(), while_idle, on_use, kept_by }
}

/// Kept alive for a while, then used. `None`: this means cannot be had.
async fn kept(line: &mut Line, by: Means, every: Duration, hold: Duration, wait: Duration) -> Option<Ended> {
    let started = Instant::now();
    let (while_idle, failed, answered) = match by {
        Means::Ping if line.has_ping() => pinged(line, every, hold, wait).await,
        Means::TcpKeepAlive if line.keep_alive(every) => (line.rest(hold).await, None, None),
        _ => return None,
    };
    let idle = started.elapsed();
    let on_use = match (while_idle == WhileIdle::Quiet, failed) {
        (false, _) => None,
        (true, Some(failed)) => Some(failed),
        (true, None) => Some(line.exchange(wait).await),
    };
    Some(Ended { idle, while_idle, on_use, kept_by: Some(KeptBy { by, every_ms: ms(every), answered }) })
}

async fn pinged(line: &mut Line, every: Duration, hold: Duration, wait: Duration) -> (WhileIdle, Option<OnUse>, Option<u32>) {
    let started = Instant::now();
    let mut answered = 0_u32;
    while started.elapsed() < hold {
        let while_idle = line.rest(every).await;
        if while_idle != WhileIdle::Quiet {
            return (while_idle, None, Some(answered));
        }
        let pong = line.ping(wait).await;
        if !matches!(pong, OnUse::Answered { .. }) {
            return (WhileIdle::Quiet, Some(pong), Some(answered));
        }
        answered = answered.saturating_add(1);
    }
    (WhileIdle::Quiet, None, Some(answered))
}
