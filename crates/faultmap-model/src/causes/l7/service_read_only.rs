//! The service reads, and refuses to write.

use super::clients::with_clients;
use super::refusal::{Meaning, meant};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::Spoken;
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.service-read-only`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.service-read-only",
    layer: Layer::L7,
    title: "the service is read-only",
    what: "A writable service was asked for, and this one only reads: it is a replica (a failover left the name at the old primary, or the balancer's write port \
           leads to a replica), it was switched to read-only, or its disk is full and it refuses writes to save its data.",
    shows: "Its own words: PostgreSQL in_hot_standby or default_transaction_read_only where target_session_attrs asks for read-write, MySQL 1290 and 1836, Redis READONLY \
            and MISCONF. A replica that is asked nothing but to read is well.",
    confirm: &[Tool { run: "df -h; df -i", on: "{ip}", why: "a full disk switches databases to read-only" }],
    fix: &[
        "Send writes to the primary: correct the name, the balancer's pool or its health check.",
        "After a failover, promote this server or point the name at the new primary.",
        "If it was switched to read-only, find out why, and switch it back.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let refusal = meant(ev, Meaning::ReadOnly)?;
    let ask = match refusal.dialogue.protocol {
        Spoken::Postgres => "psql -c 'SELECT pg_is_in_recovery(), current_setting($$default_transaction_read_only$$)'",
        Spoken::Mysql => "mysql -e 'SELECT @@read_only, @@super_read_only; SHOW REPLICA STATUS'",
        _ => "redis-cli INFO replication; redis-cli INFO persistence | grep -e bgsave_status -e write_status",
    };
    let summary = format!("{} is read-only: {}.", refusal.who(), refusal.words());
    let to = refusal.dialogue.to;
    let claim = Claim::proven(0.97, Where::Remote, to.to_string(), summary).citing([refusal.id]).despite_answers();
    let claim = claim.decided_by(ask, to.ip().to_string(), "whether it is a replica, and of whom");
    Some(with_clients(claim, ev, "the same question by hand"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::DialogueOutcome;
    use crate::testkit::{claims, refusing, spoken};

    #[test]
    fn only_who_asks_to_write_finds_a_replica_at_fault() {
        assert_eq!(claims(&CAUSE, &refusing("postgres://db.test/shop", "25006", "the session is read-only")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &refusing("redis://db.test", "MISCONF", "unable to persist to disk")), Some((0.97, true)));
        assert_eq!(claims(&CAUSE, &spoken("postgres://db.test", "session", DialogueOutcome::Done { what: "logged in".to_owned() })), None);
    }
}
