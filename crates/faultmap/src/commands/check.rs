//! `faultmap check`: asks, judges, prints. The asking is the probe's, the judging the model's.

use super::credentials::{self, Secrets};
use super::file::Sink;
use super::keylog::{self, Kept};
use super::packets::Beside;
use super::targets::{self, Written};
use super::{Way, deliver, many, place, watch};
use crate::cli::{CheckArgs, EXIT_FAILED, without_credentials};
use crate::render::Progress;
use crate::terminal::{self, Choice as Colours, Terminal};
use anyhow::{Context as _, bail};
use faultmap_model::compare;
use faultmap_model::observation::{
    Baseline, ConnectOutcome, DnsOutcome, DnsQuery, HostTables, NotAsked, RecordType, Role, SystemLookup, TcpConnect, Transport,
};
use faultmap_model::recording::{Expect, Header, SCHEMA, Vantage};
use faultmap_model::target::TargetError;
use faultmap_model::{Observation, Recording, Report, Scheme, Seen, Target};
use faultmap_probe::options::Family;
use faultmap_probe::proxy::{Choice, choose};
use faultmap_probe::recorder::Listener;
use faultmap_probe::{CheckOptions, ProbeError};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Bytes of a file of root hints that are read; IANA's has 3,000.
const HINTS_LIMIT: u64 = 1 << 20;
/// Largest body that is sent.
const DATA_LIMIT: u64 = 16 << 20;
/// What a shell says of a program that SIGINT ended (128 + 2).
pub(super) const EXIT_INTERRUPTED: i32 = 130;
/// errno of a process, and of a system, that has no file descriptor left (Linux, asm-generic/errno-base.h).
const NO_DESCRIPTOR: [(i32, &str); 2] = [(24, "EMFILE"), (23, "ENFILE")];

pub(super) fn run(args: &CheckArgs, choice: Colours) -> anyhow::Result<i32> {
    let written = targets::all(&args.targets, &args.many)?;
    // Before the first thread: a namespace is entered by the whole process or by a part of it.
    let from = place::enter(&args.many)?;
    let plans = plans(args, &written, from.as_ref())?;
    if args.capture.is_some() && (plans.len() != 1 || args.many.watch.is_some() || args.many.list.is_some()) {
        bail!("--capture records the packets of one check; check one target, once");
    }
    let keys = keylog::begin(args)?;
    match (&args.many.watch, plans.as_slice()) {
        (None, [plan]) if args.many.list.is_none() => one(args, plan, keys, choice),
        (None, plans) => many::run(args, plans, choice),
        (Some(_), plans) => watch::run(args, plans, choice),
    }
}

/// One target, once.
fn one(args: &CheckArgs, plan: &Plan, keys: Option<Kept>, choice: Colours) -> anyhow::Result<i32> {
    let sink = Sink::prepare(args.record.as_deref(), args.shown.json)?;
    let progress = Progress::begin(
        terminal::watched() && !args.shown.quiet && !args.shown.json,
        Terminal::of_environment(),
        &format!("asking about {}", plan.target.input),
    );
    let beside = Beside::begin(args.capture.as_deref(), keys)?;
    let mut recording = witness(plan, &progress)?;
    progress.end();
    let captured = beside.map_or(Ok(()), |beside| beside.end(&mut recording));
    tell_of_lost_peer(&recording);
    let (report, bytes) = plan.conclude(recording)?;
    let code = i32::from(report.verdict.exit_code());

    let recorded = sink.write(&bytes);
    let way = if sink.is_stdout() { Way::Stderr } else { Way::Stdout };
    deliver(&report, args.shown, way, choice)?;
    let failed: Vec<anyhow::Error> = [recorded, captured].into_iter().filter_map(Result::err).collect();
    failed.iter().for_each(terminal::complain);
    Ok(if failed.is_empty() { code } else { EXIT_FAILED })
}

/// The user named a witness, and there is nothing of it: he will want to know, whatever the verdict.
fn tell_of_lost_peer(recording: &Recording) {
    let lost = recording.observations.iter().find_map(|seen| match &seen.seen {
        Seen::NotAsked(skipped) if skipped.question == "peer.report" => Some(&skipped.why),
        _ => None,
    });
    if let Some(why) = lost {
        terminal::say(&format!("faultmap: {}; the verdict is that of this end alone\n", crate::render::guard(why, true)));
    }
}

/// A target and all that is needed to check it, as often as one likes.
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) options: CheckOptions,
    secrets: Secrets,
    baseline: Option<Baseline>,
    from: Option<Vantage>,
}

/// What is to be checked. Every mistake is told before the first packet.
fn plans(args: &CheckArgs, written: &[Written], from: Option<&Vantage>) -> anyhow::Result<Vec<Plan>> {
    let data = args.data.as_deref().map(body).transpose()?;
    let password = credentials::password(args.password_file.as_deref())?;
    let mut plans = Vec::with_capacity(written.len());
    for Written { text, place } in written {
        let target = target(text);
        let target = match place {
            Some(place) => target.with_context(|| place.clone())?,
            None => target?,
        };
        let mut options = options(args, &target, data.clone())?;
        let secrets = credentials::secrets(text, &target, password.as_deref(), &options);
        credentials::authorize(text, &target, password.clone(), &mut options);
        plans.push(Plan { target, options, secrets, baseline: None, from: from.cloned() });
    }
    if let Some(path) = &args.many.baseline {
        let [plan] = plans.as_mut_slice() else { bail!("--baseline is the recording of one target; check that one alone") };
        plan.baseline = Some(baseline(path, &plan.target)?);
    }
    if plans.len() > 1 && plans.iter().any(|plan| plan.target.scheme.uses_tls() || plan.target.scheme.upgrades_to_tls()) {
        let store = Arc::new(faultmap_probe::tls::TrustStore::load(args.ca.as_deref())?);
        plans.iter_mut().for_each(|plan| plan.options.store = Some(Arc::clone(&store)));
    }
    Ok(plans)
}

impl Plan {
    /// Judges. What is judged is what is recorded.
    pub(super) fn conclude(&self, mut recording: Recording) -> anyhow::Result<(Report, Vec<u8>)> {
        self.secrets.scrub(&mut recording);
        recording.header.from.clone_from(&self.from);
        if let Some(baseline) = &self.baseline {
            let id = recording.observations.last().map_or(0, |last| last.id).saturating_add(1);
            let (at_ms, seen) = (recording.header.total_ms, Seen::from(baseline.clone()));
            recording.observations.push(Observation { id, layer: seen.layer(), at_ms, took_ms: 0.0, seen });
        }
        let (recording, bytes) = as_recorded(recording)?;
        Ok((Report::new(recording), bytes))
    }
}

/// The earlier recording, which must be of the same target.
fn baseline(path: &Path, target: &Target) -> anyhow::Result<Baseline> {
    let recording = super::replay::read(path).context("--baseline")?;
    let earlier = &recording.header.target;
    if (earlier.scheme, &earlier.host, earlier.port) != (target.scheme, &target.host, target.port) {
        bail!("--baseline {}: it is a recording of {}, not of {}", path.display(), earlier.input, target.input);
    }
    Ok(compare::baseline(&recording, &path.display().to_string()))
}

/// The target. A text with credentials is not quoted, for what is wrong with it may be within them.
fn target(text: &str) -> anyhow::Result<Target> {
    match Target::parse(text) {
        Ok(target) => Ok(target),
        Err(error) if text.contains('@') && quotes(&error) => {
            let shown = without_credentials(text);
            bail!("not a target: {shown:?}; write reserved characters in a user name or password as %XX, such as %2F for /")
        }
        Err(error) => Err(error).context("not a target"),
    }
}

/// Its message holds a piece of the target that may be a piece of a password.
fn quotes(error: &TargetError) -> bool {
    match error {
        TargetError::BadPort(_) | TargetError::BadHost(_) => true,
        TargetError::UnknownScheme(name) => !name.bytes().all(|b| b.is_ascii_alphanumeric()),
        TargetError::PortMissing(_) | TargetError::Empty | TargetError::BadCredentials => false,
    }
}

fn options(args: &CheckArgs, target: &Target, data: Option<Vec<u8>>) -> anyhow::Result<CheckOptions> {
    let usual = if data.is_some() { "POST" } else { "GET" };
    let options = CheckOptions {
        budget: args.budget,
        dns_wait: args.dns_timeout,
        connect_wait: args.connect_timeout,
        tls_wait: args.tls_timeout,
        request_wait: args.request_timeout,
        ca_file: args.ca.clone(),
        method: args.method.clone().unwrap_or_else(|| usual.to_owned()),
        headers: headers(&args.headers)?,
        credentials: None,
        data,
        proxy: proxy(args, target)?,
        onward: everywhere_direct(args, target),
        request_path: target.path.clone(),
        expect_status: args.expect_status,
        expect_body: args.expect_body.clone(),
        http3: args.http3,
        samples: args.samples,
        idle: args.idle,
        only_family: match (args.ipv4, args.ipv6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        },
        peer: super::secret::peer(args)?,
        store: None,
        map_path: args.record.is_some() || args.many.baseline.is_some(),
        dns_trace: args.dns_trace,
        dns_roots: roots(&args.dns_root)?,
        interrupt: Some(Arc::new(Notify::new())),
    };
    faultmap_probe::http::validate(&options.method, &options.headers).context("the request cannot be made")?;
    Ok(options)
}

/// `--proxy`, else the variables of the environment. What is not Unicode is no URL, and counts as unset.
fn proxy(args: &CheckArgs, target: &Target) -> anyhow::Result<Choice> {
    if args.no_proxy {
        return Ok(Choice::Direct);
    }
    Ok(choose(target, args.proxy.as_deref(), |name| std::env::var(name).ok())?)
}

/// No proxy is configured, for http nor for https, that another place might be behind.
fn everywhere_direct(args: &CheckArgs, target: &Target) -> bool {
    let direct = |scheme| matches!(proxy(args, &Target { scheme, ..target.clone() }), Ok(Choice::Direct));
    direct(Scheme::Http) && direct(Scheme::Https)
}

/// Addresses, or files of root hints.
fn roots(given: &[String]) -> anyhow::Result<Vec<SocketAddr>> {
    let mut roots = Vec::new();
    for text in given {
        let mut found = faultmap_probe::dns::trace::parse_roots(text);
        if found.is_empty() {
            let mut hints = String::new();
            let read = File::open(text).and_then(|file| file.take(HINTS_LIMIT).read_to_string(&mut hints));
            read.with_context(|| format!("--dns-root {text:?} is neither an address nor a file that can be read"))?;
            found = faultmap_probe::dns::trace::parse_roots(&hints);
        }
        if found.is_empty() {
            bail!("--dns-root {text:?} names no address; a file of root hints has lines such as: a.root-servers.net. 3600000 A 198.41.0.4");
        }
        roots.extend(found);
    }
    Ok(roots)
}

/// `Name: value`. What is wrong is told by its number, for it may be a secret.
fn headers(given: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let header = |(number, text): (usize, &String)| {
        let pair = text.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        let sound = pair.filter(|(name, value)| is_token(name) && !value.chars().any(char::is_control));
        sound.with_context(|| format!("the {number}. --header is not a header; write --header 'Name: value'"))
    };
    (1..).zip(given).map(header).collect()
}

/// RFC 9110 5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// `TEXT`, `@FILE`, `@-`.
fn body(given: &str) -> anyhow::Result<Vec<u8>> {
    let Some(path) = given.strip_prefix('@') else { return Ok(given.as_bytes().to_owned()) };
    let mut bytes = Vec::new();
    let read = match path {
        "-" => io::stdin().lock().take(DATA_LIMIT + 1).read_to_end(&mut bytes),
        path => File::open(path).and_then(|file| file.take(DATA_LIMIT + 1).read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("cannot read the body from {path:?}"))?;
    if bytes.len() as u64 > DATA_LIMIT {
        bail!("the body in {path:?} is larger than 16 MiB");
    }
    Ok(bytes)
}

/// Lets the probe ask, with Ctrl-C heard.
fn witness(plan: &Plan, progress: &Progress) -> anyhow::Result<Recording> {
    let listener = Box::new(|seen: &Observation| progress.heard(seen));
    let interrupted = Cell::new(false);
    let recording = asked(plan, Some(listener), interrupts(plan.options.interrupt.as_deref(), &interrupted, progress));
    if interrupted.get() {
        progress.end();
        terminal::say("faultmap: interrupted; the verdict rests on what was seen until then\n");
    }
    recording
}

/// Asks on a runtime of its own. Without a file descriptor nothing can be asked, and that is the finding. `beside` runs beside the check, and
/// ends it if it ends.
pub(super) fn asked(
    plan: &Plan,
    listener: Option<Listener<'_>>,
    beside: impl Future<Output = Result<Recording, ProbeError>>,
) -> anyhow::Result<Recording> {
    let Plan { target, options, .. } = plan;
    let (started, clock) = (SystemTime::now(), Instant::now());
    let room = room_for_runtime();
    let runtime = match room.and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build()) {
        Ok(runtime) => runtime,
        Err(error) => {
            let Some(errno) = no_descriptor(&error) else { return Err(error).context("cannot start the runtime") };
            return Ok(nothing_asked(target, options, errno, started, clock));
        }
    };
    let checked = runtime.block_on(async {
        tokio::select! {
            checked = faultmap_probe::check(target, options, listener) => checked,
            ended = beside => ended,
        }
    });
    // Not dropped: that would wait for a thread that still is in getaddrinfo.
    runtime.shutdown_background();
    outcome(plan, checked, started, clock)
}

/// What came of a check that began then.
pub(super) fn outcome(
    plan: &Plan,
    checked: Result<Recording, ProbeError>,
    started: SystemTime,
    clock: Instant,
) -> anyhow::Result<Recording> {
    match checked {
        Ok(recording) => Ok(recording),
        Err(ProbeError::File { source, .. } | ProbeError::Own { source, .. }) if no_descriptor(&source).is_some() => {
            Ok(nothing_asked(&plan.target, &plan.options, no_descriptor(&source).unwrap_or("EMFILE"), started, clock))
        }
        Err(error) => Err(error.into()),
    }
}

/// tokio panics when it cannot open its pair of sockets for signals: see beforehand whether there is room for all that it opens.
pub(super) fn room_for_runtime() -> io::Result<()> {
    /// epoll, eventfd, the pair and its duplicate; one to spare.
    const OPENED_BY_RUNTIME: usize = 6;
    let held: Vec<_> = (0..OPENED_BY_RUNTIME).map(|_| io::stderr().as_fd().try_clone_to_owned()).collect();
    held.into_iter().filter_map(Result::err).find(|error| no_descriptor(error).is_some()).map_or(Ok(()), Err)
}

/// The first Ctrl-C ends the check, which is judged by what it has; the second ends the program.
async fn interrupts<T>(notify: Option<&Notify>, interrupted: &Cell<bool>, progress: &Progress) -> T {
    if tokio::signal::ctrl_c().await.is_ok() {
        interrupted.set(true);
        progress.tell(|| "interrupted: judging what was seen; Ctrl-C again to leave at once".to_owned());
        if let Some(notify) = notify {
            notify.notify_one();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            progress.end();
            std::process::exit(EXIT_INTERRUPTED);
        }
    }
    std::future::pending().await
}

fn no_descriptor(error: &io::Error) -> Option<&'static str> {
    NO_DESCRIPTOR.into_iter().find(|(number, _)| error.raw_os_error() == Some(*number)).map(|(_, name)| name)
}

/// The recording of a check that could not open a socket. A name stays unresolved: /etc/resolv.conf cannot be opened either, and then the C
/// library asks the resolver on this host (resolv.conf(5)).
fn nothing_asked(target: &Target, options: &CheckOptions, errno: &str, started: SystemTime, clock: Instant) -> Recording {
    let errno = errno.to_owned();
    let why = format!("no file descriptor is left ({errno})");
    let (fd_limit, fd_open) = faultmap_host::fd_usage();
    let mut seen = Vec::new();
    match target.literal() {
        Some(ip) => {
            let outcome = ConnectOutcome::Failed { errno, icmp: None };
            let to = SocketAddr::new(ip, target.port);
            seen.push(Seen::from(TcpConnect { to, role: Role::Target, outcome, local: None, answer_ttl: None }));
        }
        None => {
            let name = target.host.clone();
            seen.push(Seen::from(SystemLookup { name: name.clone(), addresses: Vec::new(), error: Some("EAI_SYSTEM".to_owned()) }));
            seen.push(Seen::from(DnsQuery {
                resolver: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53),
                role: Role::Resolver,
                transport: Transport::Udp,
                name,
                record_type: RecordType::A,
                checking_disabled: false,
                offered: None,
                sent: 0,
                outcome: DnsOutcome::Failed { errno, icmp: None },
            }));
        }
    }
    let question = "everything else".to_owned();
    let would_settle = "whether the target works".to_owned();
    seen.push(Seen::from(HostTables { fd_limit, fd_open, ..HostTables::default() }));
    seen.push(Seen::from(NotAsked { question, why, would_settle, missing: Some("a file descriptor".to_owned()) }));
    let observations = (1..).zip(seen).map(|(id, seen)| Observation { id, layer: seen.layer(), at_ms: 0.0, took_ms: 0.0, seen }).collect();
    let header = Header {
        schema: SCHEMA.to_owned(),
        target: target.clone(),
        started_unix_ms: started.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        total_ms: faultmap_probe::recorder::ms(clock.elapsed()),
        cut_short: false,
        privileges: faultmap_host::privileges(),
        expect: Expect { status: options.expect_status, body: options.expect_body.is_some(), ..Expect::default() },
        from: None,
    };
    Recording { header, observations }
}

/// The recording after being written and read: what is judged is what is recorded, so that a replay cannot differ.
fn as_recorded(recording: Recording) -> anyhow::Result<(Recording, Vec<u8>)> {
    let mut bytes = Vec::new();
    recording.write(&mut bytes).context("cannot write the recording")?;
    // A number that JSON cannot hold makes a recording unreadable; the verdict is still worth having.
    let recording = Recording::read(bytes.as_slice()).unwrap_or(recording);
    Ok((recording, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_none_is_refused_without_being_quoted() {
        let check = |text: &str, sound: bool| {
            let found = headers(&[text.to_owned()]);
            assert_eq!(found.is_ok(), sound, "{text}");
            if let Err(error) = found {
                assert!(!format!("{error:#}").contains("s3cret"), "{error:#}");
            }
        };
        check("Authorization: Bearer s3cret", true);
        check("X-Empty:", true);
        check("Authorization Bearer s3cret", false);
        check("Authorization Bearer: s3cret", false);
        check("X: s3cret\r\nY: z", false);
        check("", false);
    }

    #[test]
    fn a_process_without_descriptors_gets_a_verdict_of_its_own() {
        for target in [
            "https://shop.test/",
            "udp://10.0.0.1:53",
            "icmp://10.0.0.1",
            "dns://10.0.0.1/shop.test",
            "tcp://[::1]:5432",
            "nosuch.invalid:80",
            "localhost:80",
            "tcp://shop.test:5432",
        ] {
            let target = Target::parse(target).expect("target");
            let recording = nothing_asked(&target, &CheckOptions::default(), "EMFILE", SystemTime::now(), Instant::now());
            let verdict = Report::new(recording).verdict;
            assert_eq!((verdict.cause.as_deref(), verdict.exit_code()), (Some("l4.fd-exhausted"), 14), "{target:?}");
        }
    }
}
