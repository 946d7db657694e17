//! The service answers with an error of its own that has no page here, or breaks its own protocol.

use super::clients::with_clients;
use super::refusal::{Meaning, meant};
use crate::causes::{Cause, Claim, Tool};
use crate::observation::{DialogueOutcome, Spoken};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l7.service-error`
pub(super) static CAUSE: Cause = Cause {
    id: "l7.service-error",
    layer: Layer::L7,
    title: "the service answers with an error of its own",
    what: "The service is up, speaks its protocol and refuses in words of its own that are no matter of login, database, room or readiness: an internal error, a full disk, \
           a policy (a mail server that does not take this client, a host blocked after many broken connections), another version of the protocol; or its messages break \
           the protocol's rules.",
    shows: "Its own code and words, which the verdict quotes. They prove every layer below.",
    confirm: &[Tool {
        run: "journalctl -u SERVICE --since -5min; df -h; free -m",
        on: "{ip}",
        why: "the error on the server's side, and whether disk or memory is at its end",
    }],
    fix: &["Do what the quoted words ask for; the service's manual lists its codes."],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    Some(with_clients(refused(ev).or_else(|| malformed(ev))?.despite_answers(), ev, "the same question by hand"))
}

fn refused(ev: &Evidence<'_>) -> Option<Claim> {
    let refusal = meant(ev, Meaning::Other)?;
    let how = if temporary(refusal.dialogue.protocol, refusal.code) { "refuses for now" } else { "refuses" };
    let summary = format!("{} {how}: {}.", refusal.who(), refusal.words());
    let claim = Claim::proven(0.93, Where::Remote, refusal.dialogue.to.to_string(), summary).citing([refusal.id]);
    Some(match (refusal.dialogue.protocol, refusal.code) {
        (Spoken::Mysql, "1129") => claim.advising(
            "MySQL blocks a host after max_connect_errors broken connections (health checks that connect and leave are such): mysqladmin flush-hosts, or \
             TRUNCATE performance_schema.host_cache, and mend who breaks them off.",
        ),
        (Spoken::Smtp, "554" | "550" | "521") => {
            claim.advising("The mail server does not take this client: look at block lists, its access rules, and the reverse name of this address.")
        }
        (Spoken::Ssh, "PerSourcePenalties") => {
            claim.advising("sshd bars this address for a while after failed or broken logins (PerSourcePenalties): wait, and find who fails them.")
        }
        _ => claim,
    })
}

/// The code itself says that it will pass (RFC 5321 4.2.1: 4yz).
fn temporary(protocol: Spoken, code: &str) -> bool {
    protocol == Spoken::Smtp && code.starts_with('4')
}

fn malformed(ev: &Evidence<'_>) -> Option<Claim> {
    let (id, dialogue) = ev.dialogue()?;
    let DialogueOutcome::Malformed { why } = &dialogue.outcome else { return None };
    if matches!(dialogue.protocol, Spoken::Grpc | Spoken::Websocket) {
        return None;
    }
    let summary = format!(
        "{} at {} breaks the rules of its protocol at the step {:?}: {why}.",
        dialogue.protocol.title(),
        dialogue.to,
        dialogue.ended_at()
    );
    Some(Claim::proven(0.85, Where::Remote, dialogue.to.to_string(), summary).citing([id]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{claims, refusing, spoken};

    #[test]
    fn an_error_without_a_page_is_quoted() {
        assert_eq!(claims(&CAUSE, &refusing("postgres://db.test", "XX000", "could not open file")), Some((0.93, true)));
        assert_eq!(claims(&CAUSE, &refusing("mysql://db.test", "1129", "Host is blocked")), Some((0.93, true)));
        assert_eq!(claims(&CAUSE, &refusing("mysql://db.test", "1045", "Access denied")), None);
        let odd = spoken("redis://db.test", "ping", DialogueOutcome::Malformed { why: "neither a status nor an error".to_owned() });
        assert_eq!(claims(&CAUSE, &odd), Some((0.85, true)));
    }
}
