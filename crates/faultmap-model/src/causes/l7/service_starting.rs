//! The service is up, and says that it is not ready.

use super::clients::with_clients;
use super::refusal::{Meaning, meant};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::Spoken;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.service-starting`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.service-starting",
    layer: Layer::L7,
    title: "the service is up, but not ready",
    what: "The service listens and says itself that it is not ready: it starts, replays its log after a crash, loads its data, waits for its primary, or is \
           shutting down. Most often it passes by itself; a service that says it for long restarts over and over, or recovers much.",
    shows: "Its own code: PostgreSQL 57P03, Redis LOADING and MASTERDOWN, MySQL 1053 and 3032, MQTT 3. A service that is not started at all refuses the connection.",
    confirm: &[Tool {
        run: "systemctl status SERVICE; uptime; dmesg | grep -i oom",
        on: "{ip}",
        why: "when it started, and whether it does so again and again",
    }],
    fix: &[
        "Wait, and let clients try again with growing pauses; a readiness probe keeps traffic away meanwhile.",
        "If it starts over and over, its log tells why: memory, disk full, a damaged file.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let refusal = meant(ev, Meaning::Starting)?;
    let summary = format!("{} is up, but not ready: {}.", refusal.who(), refusal.words());
    let to = refusal.dialogue.to;
    let claim = Claim::proven(0.97, Where::Remote, to.to_string(), summary).citing([refusal.id]).despite_answers();
    let claim = match (refusal.dialogue.protocol, refusal.code) {
        (Spoken::Redis, "MASTERDOWN") => claim.advising(
            "This is a replica that has lost its primary: mend the primary or the way to it, or promote the replica (REPLICAOF NO ONE).",
        ),
        (Spoken::Redis, "BUSY") => claim.advising("A script runs and blocks all others: SCRIPT KILL ends it, unless it has written."),
        (Spoken::Redis, _) => {
            claim.decided_by("redis-cli INFO persistence | grep loading", to.ip().to_string(), "how much is loaded, and how long it takes")
        }
        (Spoken::Postgres, _) => claim.decided_by(
            "ps -o etime,cmd -C postgres | grep -e startup -e recovering",
            to.ip().to_string(),
            "which log segment is replayed: the number moves while it gets on",
        ),
        _ => claim,
    };
    Some(with_clients(claim, ev, "the same question a little later"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{claims, refusing};

    #[test]
    fn a_service_that_is_not_ready_says_so() {
        assert_eq!(claims(&CAUSE, &refusing("postgres://db.test", "57P03", "the database system is starting up")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("redis://db.test", "LOADING", "Redis is loading the dataset in memory")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("mqtt://mq.test", "3", "server unavailable")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("redis://db.test", "NOAUTH", "")), None);
    }
}
