//! The host is up and nothing listens on the port: a RST answers at once.

use super::firewall_reject::{forged_reset, reset_ttl_is_the_hosts};
use crate::causes::peer::{Refusal, refusal};
use crate::causes::{Cause, Claim, Tool};
use crate::evidence::{Failure, How, Told};
use crate::verdict::Where;
use crate::{Evidence, Layer};

/// `l4.port-closed`
pub(super) static CAUSE: Cause = Cause {
    id: "l4.port-closed",
    layer: Layer::L4,
    title: "nothing listens on the port",
    what: "The packet reached the host, and the host's TCP answered with RST because no socket listens on that port and address. The service is \
           stopped, still starting, bound to another port or to another address (127.0.0.1 only), or a container port is not mapped.",
    shows: "A RST at once with no ICMP error. That answer proves L1 to L3. A firewall that rejects with a forged RST looks the same to a socket; \
            a RST whose TTL is not the host's, or that comes before the packet can have reached the host, gives it away.",
    confirm: &[
        Tool { run: "ss -ltnp 'sport = :{port}'", on: "{ip}", why: "shows whether anything listens, and on which address" },
        Tool { run: "systemctl --failed; docker ps", on: "{ip}", why: "shows whether the service died or its port is not published" },
    ],
    fix: &[
        "Start the service on {ip}, or correct the port in the client.",
        "If it listens on 127.0.0.1 only, bind it to {ip} or 0.0.0.0/[::].",
        "For a container, publish the port (-p {port}:...), or correct the Service's targetPort.",
    ],
    claim,
};

fn claim(ev: &Evidence<'_>) -> Option<Claim> {
    let failure = ev.failure().filter(|failure| failure.how == How::Reset)?;
    if let Some((failure, told, refusal)) = refusal(ev) {
        return Some(by_witness(ev, &failure, &told, &refusal));
    }
    if let Some((id, why)) = forged_reset(ev, &failure) {
        return Some(Claim::contradicted(vec![id, failure.id], why));
    }
    let local = ev.is_local(failure.ip);
    let side = if local { Where::Local } else { Where::Remote };
    let sure = local || ev.on_link(failure.ip) || reset_ttl_is_the_hosts(ev, &failure);
    let confidence = if sure { 0.97 } else { 0.9 };
    let summary = format!("{} is up, but nothing listens on port {}: it answers with RST at once.", failure.ip, failure.port);
    let mut claim = Claim::proven(confidence, side, failure.place(), summary).citing([failure.id]).citing(ev.host_answers(failure.ip));
    if !sure && !ev.privileged("CAP_NET_RAW") {
        claim = claim.decided_by(
            format!("sudo faultmap check {}", ev.target().input),
            "here",
            "compares the TTL of the RST with the host's own, to exclude a firewall that rejects with RST",
        );
    }
    Some(claim)
}

/// The host itself tells what listens there.
fn by_witness(ev: &Evidence<'_>, failure: &Failure<'_>, told: &Told<'_>, refusal: &Refusal) -> Claim {
    let proven = |summary: String| Claim::proven(0.98, Where::Remote, failure.place(), summary);
    let claim = match refusal {
        Refusal::Forged => {
            let why = format!("{} sent no RST, says the witness there: somebody before it did", failure.ip);
            return Claim::contradicted(vec![told.id, failure.id], why);
        }
        Refusal::OwnFilter => {
            let why = format!("something listens on port {} there, and the RST is not its TCP's", failure.port);
            return Claim::contradicted(vec![told.id, failure.id], why);
        }
        Refusal::NothingListens => {
            proven(format!("{} is up, but nothing listens on port {}, on no address of it.", failure.ip, failure.port))
        }
        Refusal::ListensElsewhere(bound) => {
            let names: Vec<String> = bound.iter().take(3).map(ToString::to_string).collect();
            let summary = format!(
                "{} is up, but the service listens on {} only, so connections to {} are refused.",
                failure.ip,
                names.join(" and "),
                failure.place()
            );
            proven(summary).advising(format!("Bind the service to {} or to all addresses (0.0.0.0, ::), and restart it.", failure.ip))
        }
    };
    claim.citing([failure.id, told.id]).citing(ev.host_answers(failure.ip))
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{connect, reset, route_via, silent};
    use super::*;
    use crate::observation::Role;
    use crate::testkit::{claims, recording};

    #[test]
    fn a_reset_says_that_the_port_is_closed() {
        let closed = recording("tcp://10.2.0.10:80", vec![route_via("10.2.0.10"), connect("10.2.0.10:80", Role::Target, reset())]);
        assert_eq!(claims(&CAUSE, &closed), Some((0.9, true)));
    }

    #[test]
    fn silence_does_not() {
        let mute = recording("tcp://10.2.0.10:80", vec![connect("10.2.0.10:80", Role::Target, silent())]);
        assert_eq!(claims(&CAUSE, &mute), None);
    }
}
