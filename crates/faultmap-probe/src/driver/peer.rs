//! The witness at the other end: met before the walk, asked to look while we walk, and once more while we knock a few times on what failed.
//!
//! Whatever goes wrong with it is noted once, and the check goes on without: its verdict is then that of a check without a witness.

use super::Check;
use crate::peer::{PeerError, PeerSession};
use crate::questions::repeat;
use faultmap_model::Seen;
use faultmap_model::observation::{ConnectOutcome, FarSide, NotAsked, PeerReport, Role, RouteOutcome, TcpRepeat};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// A witness that is there answers within a few round trips.
const MEET_WITHIN: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_millis(800);
/// Closing a window may include an ARP request and a walk from the other end.
const REPORT_WITHIN: Duration = Duration::from_millis(2_500);
/// When the budget has run out, the reports are waited for no longer.
const LAST_WORD_WITHIN: Duration = Duration::from_millis(250);
/// Addresses of the target that are looked at.
const MOST_WINDOWS: usize = 4;
/// Connects of the provocation: enough to tell a share from a whole, too few for a short queue to be filled by them alone.
const KNOCKS: u32 = 12;
const KNOCK_WAIT: Duration = Duration::from_millis(700);
const FEW_KNOCKS: u32 = 4;
const FEW_KNOCK_WAIT: Duration = Duration::from_millis(300);

/// The session, and what it looks at.
pub(super) struct Far {
    session: PeerSession,
    /// Windows that span the check: number, address, when it was opened.
    windows: Vec<(u32, SocketAddr, Instant)>,
}

impl Check<'_> {
    /// Meets the witness, if the user named one.
    pub(super) async fn meet_peer(&self) {
        let Some(options) = &self.options.peer else { return };
        let asked = Instant::now();
        match PeerSession::meet(options, self.within(MEET_WITHIN)).await {
            Ok(session) => *self.witness.borrow_mut() = Some(Far { session, windows: Vec::new() }),
            Err(error) => self.note_lost(asked, &error),
        }
    }

    /// Asks it to look at the target's addresses from now on.
    pub(super) async fn open_windows(&self, addresses: &[IpAddr]) {
        let Some(mut far) = self.witness.take() else { return };
        for ip in addresses.iter().take(MOST_WINDOWS) {
            let (asked, to) = (Instant::now(), SocketAddr::new(*ip, self.near_port()));
            match far.session.open(to, source_toward(*ip), false, self.within(ANSWER_WITHIN)).await {
                Ok(window) => far.windows.push((window, to, asked)),
                Err(error @ PeerError::Refused(_)) => self.note_lost(asked, &error),
                // Out of step: nothing that follows could be believed.
                Err(error) => return self.note_lost(asked, &error),
            }
        }
        *self.witness.borrow_mut() = Some(far);
    }

    /// Knocks on what failed while a window is open: what happens to these few connects is the whole question.
    pub(super) async fn provoke_for_peer(&self) {
        let Some((to, knocks, wait)) = self.what_to_provoke() else { return };
        let Some(mut far) = self.witness.take() else { return };
        if !far.windows.iter().any(|(_, looked_at, _)| *looked_at == to) {
            *self.witness.borrow_mut() = Some(far);
            return;
        }
        let asked = Instant::now();
        match self.knock(&mut far, to, knocks, wait).await {
            Ok((provoked, seen)) => {
                self.note_report(asked, &far, to, Some(provoked), seen);
                *self.witness.borrow_mut() = Some(far);
            }
            Err(error) => self.note_lost(asked, &error),
        }
    }

    async fn knock(&self, far: &mut Far, to: SocketAddr, knocks: u32, wait: Duration) -> Result<(TcpRepeat, FarSide), PeerError> {
        let window = far.session.open(to, source_toward(to.ip()), true, self.within(ANSWER_WITHIN)).await?;
        let provoked = repeat(to, knocks, self.within(wait)).await;
        Ok((provoked, far.session.close(window, self.within(REPORT_WITHIN)).await?))
    }

    /// Closes the windows that span the check, and records what was seen. Short, for the budget may have run out.
    pub(super) async fn leave_peer(&self) {
        let Some(mut far) = self.witness.take() else { return };
        let end = Instant::now() + LAST_WORD_WITHIN.max(self.within(ANSWER_WITHIN));
        for (window, to, asked) in std::mem::take(&mut far.windows) {
            match far.session.close(window, end.saturating_duration_since(Instant::now())).await {
                Ok(seen) => self.note_report(asked, &far, to, None, seen),
                Err(error) => return self.note_lost(asked, &error),
            }
        }
    }

    /// The failed attempt at the target that tells most, and how to repeat it. Nothing when some address works.
    fn what_to_provoke(&self) -> Option<(SocketAddr, u32, Duration)> {
        if self.something_connected() {
            return None;
        }
        self.rec.look(|seen| {
            let attempts = seen.iter().filter_map(|o| match &o.seen {
                Seen::TcpConnect(connect) if connect.role == Role::Target => Some(connect),
                _ => None,
            });
            let attempts: Vec<_> = attempts.collect();
            // The first of each kind: it is the one whose failure the judge explains.
            let reset = attempts.iter().find(|connect| connect.outcome.reset());
            let silent = attempts.iter().find(|connect| matches!(connect.outcome, ConnectOutcome::Silent { icmp: None, .. }));
            reset.map(|connect| (connect.to, FEW_KNOCKS, FEW_KNOCK_WAIT)).or(silent.map(|connect| (connect.to, KNOCKS, KNOCK_WAIT)))
        })
    }

    fn note_report(&self, asked: Instant, far: &Far, to: SocketAddr, provoked: Option<TcpRepeat>, seen: FarSide) {
        self.rec.note(asked, PeerReport { peer: far.session.peer(), to, provoked, far: Box::new(seen) });
    }

    fn note_lost(&self, asked: Instant, error: &PeerError) {
        let place = self.options.peer.as_ref().map_or_else(String::new, |peer| format!("{}:{}", peer.host, peer.port));
        let skipped = NotAsked {
            question: "peer.report".to_owned(),
            why: error.to_string(),
            would_settle: "what arrived at the other end, and what left there".to_owned(),
            missing: Some(format!("the witness at {place} ({error})")),
        };
        self.rec.note(asked, skipped);
    }
}

/// The address that our packets to `ip` carry.
fn source_toward(ip: IpAddr) -> Vec<IpAddr> {
    match faultmap_host::route(ip, Role::Target).outcome {
        RouteOutcome::Found { source, .. } => source.into_iter().collect(),
        _ => Vec::new(),
    }
}
