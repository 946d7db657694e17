//! Walks the stack for one target: what to ask first, what a failure makes us ask next, and when enough is known.
//!
//! The driver sets every deadline and gives every answer its time. It decides which question comes next by outcomes only; what they mean is
//! for the judge.

mod converse;
mod datagram;
mod edns;
mod fragments;
mod gateway;
mod local;
mod map_path;
mod meddling;
mod onward;
mod peer;
mod proxy;
mod quality;
mod reach;
mod resolve;
mod sessions;
mod split;
mod trace;

use crate::recorder::{Listener, Recorder, ms};
use crate::tls::TrustStore;
use crate::{CheckOptions, ProbeError};
use faultmap_host::Snapshot;
use faultmap_model::observation::NotAsked;
use faultmap_model::recording::{Expect, Header, SCHEMA, Sent};
use faultmap_model::{Recording, Scheme, Target};
use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time that is kept at the end of the budget for the last readings of the kernel.
const KEPT_FOR_LAST: Duration = Duration::from_millis(300);

/// A check that is done waits no longer than this for resolvers that nothing depends on.
const LATE_RESOLVERS: Duration = Duration::from_millis(250);

/// One check under way.
struct Check<'a> {
    target: &'a Target,
    options: &'a CheckOptions,
    rec: &'a Recorder<'a>,
    /// No question outlives this.
    deadline: Instant,
    raw: bool,
    approaches: RefCell<Vec<local::Approach>>,
    store: OnceCell<Arc<TrustStore>>,
    /// Connects to the target that are under way, with the time of their first SYN.
    pending: RefCell<Vec<(std::net::SocketAddr, Instant)>>,
    /// Packets received and not delivered since boot, at the start; IPv4, IPv6.
    undelivered_at_start: [Option<u64>; 2],
    /// The same within one window while nothing was provoked yet.
    quiet: [Cell<Option<u64>>; 2],
    /// The target's address as resolved here, for a proxy that wants one.
    far: Cell<Option<IpAddr>>,
    /// The session with the witness at the other end, and its open windows.
    witness: RefCell<Option<peer::Far>>,
}

/// Checks one target: asks, and gives the evidence. It does not judge.
///
/// # Errors
/// Only for faultmap's own failures, such as an unreadable `--ca` file. A sick network is in the recording.
pub async fn check(target: &Target, options: &CheckOptions, listener: Option<Listener<'_>>) -> Result<Recording, ProbeError> {
    let started = SystemTime::now();
    let recorder = Recorder::new(listener);
    let privileges = faultmap_host::privileges();
    let raw = privileges.iter().any(|held| held == "CAP_NET_RAW");
    let deadline = recorder.start() + options.whole_budget().saturating_sub(KEPT_FOR_LAST);
    let mut cut_short = one_place(target, options, &recorder, deadline, raw).await?;
    let mut been = vec![target.clone()];
    let mut there = options.clone();
    while !cut_short {
        let seen = recorder.look(<[_]>::to_vec);
        let Some((onward, next)) = onward::next(&been, &there, &seen).await else { break };
        been.push(onward.target.clone());
        there = next;
        recorder.note(Instant::now(), onward.clone());
        recorder.move_on();
        cut_short = Box::pin(one_place(&onward.target, &there, &recorder, deadline, raw)).await?;
    }
    let total_ms = ms(recorder.elapsed());
    let header = Header {
        schema: SCHEMA.to_owned(),
        target: target.clone(),
        started_unix_ms: unix_ms(started),
        total_ms,
        cut_short,
        privileges,
        expect: expectations(options),
        from: None,
    };
    Ok(Recording { header, observations: recorder.finish() })
}

/// Everything that is asked of one place. True when the budget or the user ended it.
async fn one_place(
    target: &Target,
    options: &CheckOptions,
    recorder: &Recorder<'_>,
    deadline: Instant,
    raw: bool,
) -> Result<bool, ProbeError> {
    let before = Snapshot::take();
    let check = Check {
        target,
        options,
        rec: recorder,
        deadline,
        raw,
        approaches: RefCell::default(),
        store: OnceCell::new(),
        pending: RefCell::default(),
        undelivered_at_start: [split::undelivered(false), split::undelivered(true)],
        quiet: [Cell::new(None), Cell::new(None)],
        far: Cell::new(None),
        witness: RefCell::new(None),
    };
    let cut_short = check.run_within_budget().await?;
    check.leave_peer().await;
    check.note_pending();
    check.last_readings(&before);
    Ok(cut_short)
}

impl Check<'_> {
    /// True when the budget or the user ended it.
    async fn run_within_budget(&self) -> Result<bool, ProbeError> {
        let interrupted = async {
            match &self.options.interrupt {
                Some(notify) => notify.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = Box::pin(self.run()) => done.map(|()| false),
            () = tokio::time::sleep_until(self.deadline.into()) => Ok(true),
            () = interrupted => Ok(true),
        }
    }

    async fn run(&self) -> Result<(), ProbeError> {
        let ca_file = self.options.ca_file.clone();
        let store = async {
            if self.target.scheme.uses_tls() || self.target.scheme.upgrades_to_tls() {
                let store = match &self.options.store {
                    Some(shared) => Arc::clone(shared),
                    None => Arc::new(load_store(ca_file).await?),
                };
                let _ = self.store.set(store);
            }
            Ok::<(), ProbeError>(())
        };
        self.note_proxy();
        let (stored, resolved, far, ()) =
            tokio::join!(store, Box::pin(self.resolve(self.near_host())), Box::pin(self.resolve_far()), Box::pin(self.meet_peer()));
        stored?;
        if !far {
            resolved.rest.await;
            return Ok(());
        }
        self.open_windows(&resolved.addresses).await;
        let walk = async {
            match self.target.scheme {
                Scheme::Udp => Box::pin(self.speak_udp(&resolved.addresses)).await,
                Scheme::Icmp => Box::pin(self.speak_icmp(&resolved.addresses)).await,
                Scheme::Dns => Box::pin(self.speak_dns(&resolved.addresses)).await,
                _ => Box::pin(self.reach(&resolved.addresses)).await,
            }
        };
        tokio::pin!(walk);
        let mut rest = resolved.rest;
        let checked = async {
            tokio::select! {
                () = &mut walk => { let _ = tokio::time::timeout(LATE_RESOLVERS, rest).await; }
                () = &mut rest => walk.await,
            }
        };
        tokio::join!(checked, Box::pin(self.trace(&resolved.direct)));
        self.try_what_dns_says(&resolved.addresses, &resolved.direct).await;
        Box::pin(self.portal_control()).await;
        Box::pin(self.bypass_unreached()).await;
        Box::pin(self.provoke_for_peer()).await;
        Box::pin(self.map_path(&resolved.addresses)).await;
        self.linger_at_unsteady_link().await;
        Ok(())
    }

    /// Time left before the deadline, at most `most`.
    fn within(&self, most: Duration) -> Duration {
        most.min(self.deadline.saturating_duration_since(Instant::now()))
    }

    /// Keeps the answer of a question that privilege may forbid; gives it back when it was asked.
    fn keep<T: Into<faultmap_model::Seen> + Clone>(&self, asked: Instant, answer: Result<T, NotAsked>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.rec.note(asked, answer.clone());
                Some(answer)
            }
            Err(skipped) => {
                let known =
                    self.rec.look(|seen| seen.iter().any(|o| matches!(&o.seen, faultmap_model::Seen::NotAsked(n) if *n == skipped)));
                if !known {
                    self.rec.note(asked, skipped);
                }
                None
            }
        }
    }

    fn store(&self) -> Option<&TrustStore> {
        self.store.get().map(Arc::as_ref)
    }
}

/// Reading the system's roots takes tens of milliseconds: beside name resolution, on a thread of its own.
async fn load_store(ca_file: Option<PathBuf>) -> Result<TrustStore, ProbeError> {
    let loaded = tokio::task::spawn_blocking(move || TrustStore::load(ca_file.as_deref())).await;
    loaded.map_err(|error| ProbeError::Own { doing: "loading the trust store", source: std::io::Error::other(error) })?
}

fn expectations(options: &CheckOptions) -> Expect {
    let accept = options.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("accept")).map(|(_, value)| value.trim());
    let media_type = accept.filter(|value| !value.contains(['*', ','])).map(|value| value.split(';').next().unwrap_or(value).to_owned());
    Expect { status: options.expect_status, body: options.expect_body.is_some(), media_type, sent: sent(options) }
}

/// Sizes, and the media type of the body; no other value of a header.
fn sent(options: &CheckOptions) -> Sent {
    let kind = options.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let kind = kind.map(|(_, value)| crate::recorder::printable(value.split(';').next().unwrap_or(value).trim().as_bytes(), 64));
    Sent {
        content_type: kind,
        body_bytes: options.data.as_ref().map_or(0, |data| data.len() as u64),
        // As HTTP/1.1 writes them.
        header_bytes: options.headers.iter().map(|(name, value)| (name.len() + value.len() + ": \r\n".len()) as u64).sum(),
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn now_unix() -> i64 {
    unix_ms(SystemTime::now()).div_euclid(1000)
}

/// The family of the user's choice.
fn wanted(options: &CheckOptions, address: &IpAddr) -> bool {
    match options.only_family {
        None => true,
        Some(crate::options::Family::V4) => address.is_ipv4(),
        Some(crate::options::Family::V6) => address.is_ipv6(),
    }
}
