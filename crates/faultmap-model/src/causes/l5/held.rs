//! Held sessions as several causes read them: where the limit lies, whether it is one of idleness or of age, what keeps a session alive. It
//! claims nothing.

use crate::causes::Claim;
use crate::causes::l7::answer::spoken;
use crate::observation::{HeldFor, Means, OnUse, SessionIdle, WhileIdle};
use crate::verdict::Where;
use crate::{Evidence, ObservationId, Scheme};

/// One held connection with its number.
pub(in crate::causes) type Line<'a> = (ObservationId, &'a SessionIdle);

/// How idle connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::causes) enum Ending {
    /// The peer closes in order while they are idle.
    Closed,
    /// A RST comes while they are idle.
    Reset,
    /// Nothing is seen; what is sent then is not even acknowledged.
    Lost,
    /// Nothing is seen; what is sent then is met by a RST.
    ResetOnUse,
    /// Nothing is seen; what is sent then is acknowledged, and not answered, or answered by a close or an error of the server.
    Failed,
}

/// The idle time that connections do not survive.
#[derive(Debug, Clone)]
pub(in crate::causes) struct Limit<'a> {
    /// How they end.
    pub(in crate::causes) ending: Ending,
    /// The shortest idle time that ended so.
    pub(in crate::causes) died: Line<'a>,
    /// All that ended so.
    pub(in crate::causes) alike: Vec<Line<'a>>,
    /// The longest idle time below it that was survived.
    pub(in crate::causes) survived: Option<Line<'a>>,
}

/// Idle times that differ by no more are the same.
const ALIKE: f64 = 1.1;
/// Servers look at their idle clients once in so long, or count in whole seconds: Redis does both.
const SLACK_MS: f64 = 1_500.0;
/// Ages that differ by no more are the same: clocks, round trips, the pause between two looks.
const AGE_SHARE: f64 = 0.06;
const AGE_MS: f64 = 300.0;
/// Deaths so close together are one event, such as a restart.
const MOMENT_MS: f64 = 250.0;

impl<'a> Limit<'a> {
    /// The limit, if the recording shows one. A single death that longer idleness survives is none.
    pub(in crate::causes) fn of(ev: &Evidence<'a>) -> Option<Self> {
        let idle: Vec<Line<'a>> = lines(ev, HeldFor::Idle).filter(|(_, line)| !line.announced_close).collect();
        let mut deaths: Vec<Line<'a>> = idle.iter().copied().filter(|(_, line)| line.died()).collect();
        deaths.sort_by(|a, b| a.1.idle_ms.total_cmp(&b.1.idle_ms));
        let first = (0..deaths.len()).find(|first| is_limit(&deaths[*first..], &idle))?;
        let deaths = deaths.split_off(first);
        let died = plainest(&deaths)?;
        let ending = ending(died.1)?;
        let alike = deaths.into_iter().filter(|(_, line)| self::ending(line) == Some(ending)).collect();
        let below = idle.into_iter().filter(|(_, line)| line.survived() && line.idle_ms < died.1.idle_ms);
        let survived = below.max_by(|a, b| a.1.idle_ms.total_cmp(&b.1.idle_ms));
        Some(Self { ending, died, alike, survived })
    }

    /// A connection that was used went on beyond the age at which idle ones ended: it is idleness that ends them.
    pub(in crate::causes) fn is_of_idleness(&self, ev: &Evidence<'_>) -> bool {
        lines(ev, HeldFor::Active).any(|(_, line)| line.age_ms > self.died.1.age_ms * ALIKE && line.survived())
    }

    /// Several connections, opened at different times, ended after the same idle time.
    pub(in crate::causes) fn is_repeated(&self, ev: &Evidence<'_>) -> bool {
        let moments: Vec<f64> = self.alike.iter().filter_map(|line| ended_at(ev, line)).collect();
        spread(&moments) > MOMENT_MS
    }

    /// The observations that show it.
    pub(in crate::causes) fn ids(&self) -> Vec<ObservationId> {
        let alike = self.alike.iter().take(3).map(|(id, _)| *id);
        alike.chain(self.survived.map(|(id, _)| id)).collect()
    }

    /// `after 60.0 s`, or `for 31.2 s or longer (29.0 s is survived)`.
    pub(in crate::causes) fn words(&self) -> String {
        let died = spoken(self.died.1.idle_ms);
        match (self.ending, self.survived) {
            (Ending::Closed | Ending::Reset, _) => {
                let longest = self.alike.iter().map(|(_, line)| line.idle_ms).fold(0.0, f64::max);
                if longest > self.died.1.idle_ms * ALIKE { format!("after {died} to {}", spoken(longest)) } else { format!("after {died}") }
            }
            (_, Some((_, survived))) => format!("for {died} or longer ({} is survived)", spoken(survived.idle_ms)),
            (_, None) => format!("for {died} or longer"),
        }
    }
}

/// The death that tells most of those at the limit. A connection that is used just when the other end closes it fails in use; others of the same
/// idle time, that were seen to be closed before they were used, show what ended it.
fn plainest<'a>(deaths: &[Line<'a>]) -> Option<Line<'a>> {
    let first = *deaths.first()?;
    let in_order = |line: &&Line<'_>| ending(line.1) == Some(Ending::Closed);
    let at_limit = deaths.iter().filter(|line| line.1.idle_ms <= first.1.idle_ms * ALIKE);
    Some(match ending(first.1) {
        Some(Ending::Failed | Ending::ResetOnUse) => at_limit.copied().find(|line| in_order(&line)).unwrap_or(first),
        _ => first,
    })
}

/// From the first of these deaths on nothing lives longer, but for the slack of servers that look at their idle clients now and then.
fn is_limit(deaths: &[Line<'_>], idle: &[Line<'_>]) -> bool {
    let Some((_, first)) = deaths.first() else { return false };
    let surely = first.idle_ms * ALIKE;
    let beyond: Vec<f64> =
        idle.iter().filter(|(_, line)| line.survived()).map(|(_, line)| line.idle_ms).filter(|ms| *ms > surely).collect();
    beyond.is_empty() || (beyond.iter().all(|ms| *ms <= surely + SLACK_MS) && deaths.len() >= beyond.len() + 2)
}

/// The held connections of one kind.
pub(in crate::causes) fn lines<'a>(ev: &Evidence<'a>, purpose: HeldFor) -> impl Iterator<Item = Line<'a>> + use<'a> {
    ev.all::<SessionIdle>().filter(move |(_, line)| line.purpose == purpose)
}

fn ending(line: &SessionIdle) -> Option<Ending> {
    match (&line.while_idle, &line.on_use) {
        (WhileIdle::Closed, _) => Some(Ending::Closed),
        (WhileIdle::Reset, _) => Some(Ending::Reset),
        (WhileIdle::Failed { .. }, _) | (_, Some(OnUse::Silent { acknowledged: false, .. })) => Some(Ending::Lost),
        (_, Some(OnUse::Reset)) => Some(Ending::ResetOnUse),
        (_, Some(OnUse::Closed | OnUse::Silent { .. } | OnUse::Answered { .. } | OnUse::Failed { .. })) => Some(Ending::Failed),
        (_, None) => None,
    }
}

/// When a connection ended, on the clock of the check.
fn ended_at(ev: &Evidence<'_>, (id, line): &Line<'_>) -> Option<f64> {
    let observation = ev.get(*id)?;
    let waited = match line.on_use {
        Some(OnUse::Silent { waited_ms, .. }) => waited_ms,
        _ => 0.0,
    };
    Some(observation.at_ms + observation.took_ms - waited)
}

fn spread(moments: &[f64]) -> f64 {
    let least = moments.iter().copied().fold(f64::INFINITY, f64::min);
    let most = moments.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (most - least).max(0.0)
}

/// Connections that end at one age, active or idle.
#[derive(Debug, Clone)]
pub(in crate::causes) struct Cut<'a> {
    /// The active one.
    pub(in crate::causes) active: Line<'a>,
    /// Others that ended at that age.
    pub(in crate::causes) alike: Vec<Line<'a>>,
    /// They ended at one age, at different times.
    pub(in crate::causes) repeated: bool,
}

/// A connection that was used all the time ended at the age at which idle ones did; and not all at one moment, which would be an event.
pub(in crate::causes) fn cut<'a>(ev: &Evidence<'a>) -> Option<Cut<'a>> {
    let ended = |line: &Line<'a>| line.1.died() && !line.1.announced_close;
    let active = lines(ev, HeldFor::Active).filter(ended).min_by(|a, b| a.1.age_ms.total_cmp(&b.1.age_ms))?;
    let age = active.1.age_ms;
    let tolerance = (age * AGE_SHARE).max(AGE_MS);
    let same_age = |line: &Line<'a>| line.0 != active.0 && ended(line) && (line.1.age_ms - age).abs() <= tolerance;
    let outlived = |line: &Line<'a>| line.1.purpose == HeldFor::Active && line.1.survived() && line.1.age_ms > age + tolerance;
    if ev.all::<SessionIdle>().any(|line| outlived(&line)) {
        return None;
    }
    let alike: Vec<Line<'a>> = ev.all::<SessionIdle>().filter(same_age).collect();
    let moments: Vec<f64> = alike.iter().chain([&active]).filter_map(|line| ended_at(ev, line)).collect();
    let repeated = spread(&moments) > MOMENT_MS;
    // Another active one that ended at that moment, at another age, was ended by the same event.
    let by_event =
        lines(ev, HeldFor::Active).filter(|line| line.0 != active.0 && ended(line)).any(|line| (line.1.age_ms - age).abs() > tolerance);
    (!alike.is_empty() && !by_event).then_some(Cut { active, alike, repeated })
}

/// The connection that was opened after a failure worked at once; `None` when there was none. `Some(false)`: it failed too.
pub(in crate::causes) fn fresh_works(ev: &Evidence<'_>) -> Option<bool> {
    lines(ev, HeldFor::Fresh).last().map(|(_, line)| line.survived())
}

/// A session is what this service is for: one that ends breaks its user's conversation.
pub(in crate::causes) const fn session_is_service(scheme: Scheme) -> bool {
    use Scheme as S;
    matches!(
        scheme,
        S::Ws
            | S::Wss
            | S::Grpc
            | S::Grpcs
            | S::Postgres
            | S::Mysql
            | S::Redis
            | S::Rediss
            | S::Ssh
            | S::Amqp
            | S::Amqps
            | S::Mqtt
            | S::Mqtts
    )
}

/// A connection over which the kernels exchanged keep-alive segments ended after the same time as this idle one: what ended both looks at what is
/// said, not at segments, and so is no box that forgets flows.
pub(in crate::causes) fn ends_in_spite_of_segments(ev: &Evidence<'_>, died: &SessionIdle) -> bool {
    lines(ev, HeldFor::KeptAlive).any(|(_, line)| {
        let by_segments = line.kept_by.as_ref().is_some_and(|kept| kept.by == Means::TcpKeepAlive && kept.every_ms * 2.0 < line.idle_ms);
        by_segments && line.while_idle == died.while_idle && (line.idle_ms - died.idle_ms).abs() <= died.idle_ms * (ALIKE - 1.0)
    })
}

/// A claim that breaks the target, or degrades it.
pub(in crate::causes) fn claim(breaks: bool, confidence: f64, side: Where, at: impl Into<String>, summary: String) -> Claim {
    if breaks { Claim::proven(confidence, side, at, summary).despite_answers() } else { Claim::degrades(confidence, side, at, summary) }
}

/// What was seen of keep-alives.
#[derive(Debug, Clone, Default)]
pub(in crate::causes) struct Cure {
    /// The observations.
    pub(in crate::causes) ids: Vec<ObservationId>,
    /// A sentence, with a blank before it; empty when none was tried.
    pub(in crate::causes) words: String,
    /// What to set.
    pub(in crate::causes) advice: Vec<String>,
}

/// Which keep-alive lets a connection live, as it was measured.
pub(in crate::causes) fn cure(ev: &Evidence<'_>) -> Cure {
    let mut cure = Cure::default();
    for (id, line) in lines(ev, HeldFor::KeptAlive) {
        let Some(kept) = &line.kept_by else { continue };
        let name = match (kept.by, line.protocol.as_str()) {
            (Means::TcpKeepAlive, _) => "TCP keep-alive",
            (Means::Ping, "websocket") => "a WebSocket ping",
            (Means::Ping, "http/2" | "grpc") => "an HTTP/2 PING",
            (Means::Ping, _) => "a ping",
            (Means::Request, _) => "a request",
        };
        let every = interval(kept.every_ms);
        cure.ids.push(id);
        if line.survived() {
            cure.words.push_str(&format!(" With {name} every {every} a connection lived for {}.", spoken(line.idle_ms)));
            cure.advice.push(advice(kept.by, kept.every_ms, name, &every));
        } else if line.while_idle == WhileIdle::Closed {
            cure.words.push_str(&format!(" With {name} every {every} the other end closes it after {}.", spoken(line.idle_ms)));
        } else {
            cure.words.push_str(&format!(" {}{} every {every} does not help.", name[..1].to_uppercase(), &name[1..]));
        }
    }
    cure
}

fn advice(by: Means, every_ms: f64, name: &str, every: &str) -> String {
    match by {
        Means::TcpKeepAlive => format!(
            "Set TCP keep-alive to {every} (measured: it helps): SO_KEEPALIVE with TCP_KEEPIDLE {0:.0} and TCP_KEEPINTVL {0:.0}, or, for programs that set only SO_KEEPALIVE, sysctl net.ipv4.tcp_keepalive_time={0:.0}.",
            every_ms / 1e3
        ),
        _ => format!("Send {name} every {every} or more often (measured: it helps)."),
    }
}

/// `15 s`, `700 ms`.
fn interval(ms: f64) -> String {
    if ms >= 1_000.0 && (ms / 1e3).fract() == 0.0 { format!("{:.0} s", ms / 1e3) } else { spoken(ms) }
}

/// Recordings of held sessions, for the tests of the causes that read them.
#[cfg(test)]
pub(in crate::causes) mod kit {
    use crate::causes::tests_support::{connect, connected, route_via};
    use crate::observation::{HeldFor, KeptBy, Means, OnUse, Role, SessionIdle, WhileIdle};
    use crate::testkit::recording;
    use crate::{Observation, Recording, Seen};

    pub(in crate::causes) const ADDR: &str = "10.2.0.10:80";

    pub(in crate::causes) fn answered() -> (WhileIdle, Option<OnUse>) {
        (WhileIdle::Quiet, Some(OnUse::Answered { status: Some(200), took_ms: 1.0 }))
    }

    pub(in crate::causes) fn lost() -> (WhileIdle, Option<OnUse>) {
        (WhileIdle::Quiet, Some(OnUse::Silent { waited_ms: 1_500.0, retransmits: 3, acknowledged: false }))
    }

    pub(in crate::causes) fn used(how: OnUse) -> (WhileIdle, Option<OnUse>) {
        (WhileIdle::Quiet, Some(how))
    }

    pub(in crate::causes) fn closed() -> (WhileIdle, Option<OnUse>) {
        (WhileIdle::Closed, None)
    }

    /// A connection: why, when it was opened, how long it was held, how it ended.
    pub(in crate::causes) struct Held(
        pub(in crate::causes) HeldFor,
        pub(in crate::causes) f64,
        pub(in crate::causes) f64,
        pub(in crate::causes) (WhileIdle, Option<OnUse>),
    );

    pub(in crate::causes) fn line(purpose: HeldFor, held_ms: f64, (while_idle, on_use): (WhileIdle, Option<OnUse>)) -> SessionIdle {
        let kept_by = match purpose {
            HeldFor::Idle | HeldFor::Fresh => None,
            HeldFor::Active => Some(KeptBy { by: Means::Request, every_ms: 500.0, answered: Some(9) }),
            HeldFor::KeptAlive => Some(KeptBy { by: Means::TcpKeepAlive, every_ms: 15_000.0, answered: None }),
        };
        SessionIdle {
            to: ADDR.parse().expect("addr"),
            protocol: "http/1.1".to_owned(),
            purpose,
            kept_by,
            asked_ms: 60_000.0,
            idle_ms: held_ms,
            age_ms: held_ms,
            while_idle,
            on_use,
            last_words: None,
            announced_close: false,
            answer_ttl: None,
            reset_ttl: None,
            tcp: None,
        }
    }

    pub(in crate::causes) fn held(target: &str, lines: Vec<Held>) -> Recording {
        let lines = lines.into_iter().map(|Held(purpose, opened, held, end)| (opened, line(purpose, held, end)));
        held_lines(target, lines.collect())
    }

    pub(in crate::causes) fn held_lines(target: &str, lines: Vec<(f64, SessionIdle)>) -> Recording {
        let mut base = recording(target, vec![route_via("10.2.0.10"), connect(ADDR, Role::Target, connected())]);
        for (n, (opened, line)) in (10..).zip(lines) {
            let waited = match line.on_use {
                Some(OnUse::Silent { waited_ms, .. }) => waited_ms,
                _ => 0.0,
            };
            let (took_ms, seen) = (line.age_ms + waited, Seen::from(line));
            base.observations.push(Observation { id: n, layer: seen.layer(), at_ms: opened, took_ms, seen });
        }
        base
    }

    /// A ladder up to 60 s under a limit: what dies ends as said, the active one lives, a fresh one works, the second round repeats it.
    pub(in crate::causes) fn ladder(limit_ms: f64, end: impl Fn() -> (WhileIdle, Option<OnUse>)) -> Vec<Held> {
        let by_itself = end().0 != WhileIdle::Quiet;
        let rung = |opened: f64, idle: f64| {
            let dies = idle > limit_ms;
            Held(HeldFor::Idle, opened, if dies && by_itself { limit_ms } else { idle }, if dies { end() } else { answered() })
        };
        let mut lines: Vec<Held> =
            [3_750.0, 7_500.0, 15_000.0, 30_000.0, 45_000.0, 61_000.0].into_iter().map(|idle| rung(0.0, idle)).collect();
        lines.push(Held(HeldFor::Active, 0.0, limit_ms * 2.0, answered()));
        if limit_ms < 61_000.0 {
            lines.push(rung(limit_ms + 2_000.0, limit_ms * 1.2));
            lines.push(Held(HeldFor::Fresh, limit_ms + 2_000.0, 0.0, answered()));
        }
        lines
    }
}
