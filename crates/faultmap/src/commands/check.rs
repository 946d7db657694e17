//! `faultmap check`: asks, judges, prints. The asking is the probe's, the judging the model's.

use super::credentials;
use super::file::Sink;
use super::{Way, deliver};
use crate::cli::{CheckArgs, EXIT_FAILED, without_credentials};
use crate::render::Progress;
use crate::terminal::{self, Choice as Colours, Terminal};
use anyhow::{Context as _, bail};
use faultmap_model::observation::{
    ConnectOutcome, DnsOutcome, DnsQuery, HostTables, NotAsked, RecordType, Role, SystemLookup, TcpConnect, Transport,
};
use faultmap_model::recording::{Expect, Header, SCHEMA};
use faultmap_model::target::TargetError;
use faultmap_model::{Observation, Recording, Report, Seen, Target};
use faultmap_probe::options::Family;
use faultmap_probe::proxy::{Choice, choose};
use faultmap_probe::{CheckOptions, ProbeError};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Largest body that is sent.
const DATA_LIMIT: u64 = 16 << 20;
/// What a shell says of a program that SIGINT ended (128 + 2).
const EXIT_INTERRUPTED: i32 = 130;
/// errno of a process, and of a system, that has no file descriptor left (Linux, asm-generic/errno-base.h).
const NO_DESCRIPTOR: [(i32, &str); 2] = [(24, "EMFILE"), (23, "ENFILE")];

pub(super) fn run(args: &CheckArgs, choice: Colours) -> anyhow::Result<i32> {
    let target = target(&args.target)?;
    let mut options = options(args, &target)?;
    let secrets = credentials::secrets(&args.target, &target, &options);
    credentials::authorize(&args.target, &target, &mut options);
    let sink = Sink::prepare(args.record.as_deref(), args.shown.json)?;

    let progress = Progress::begin(
        terminal::watched() && !args.shown.quiet && !args.shown.json,
        Terminal::of_environment(),
        &format!("asking about {}", target.input),
    );
    let mut recording = witness(&target, &options, &progress)?;
    progress.end();
    tell_of_lost_peer(&recording);
    secrets.scrub(&mut recording);
    let (recording, bytes) = as_recorded(recording)?;
    let report = Report::new(recording);
    let code = i32::from(report.verdict.exit_code());

    let recorded = sink.write(&bytes);
    let way = if sink.is_stdout() { Way::Stderr } else { Way::Stdout };
    deliver(&report, args.shown, way, choice)?;
    if let Err(error) = recorded {
        terminal::complain(&error);
        return Ok(EXIT_FAILED);
    }
    Ok(code)
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

fn options(args: &CheckArgs, target: &Target) -> anyhow::Result<CheckOptions> {
    let data = args.data.as_deref().map(body).transpose()?;
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

/// Lets the probe ask. Without a file descriptor nothing can be asked, and that is the finding.
fn witness(target: &Target, options: &CheckOptions, progress: &Progress) -> anyhow::Result<Recording> {
    let (started, clock) = (SystemTime::now(), Instant::now());
    let room = room_for_runtime();
    let runtime = match room.and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build()) {
        Ok(runtime) => runtime,
        Err(error) => {
            let Some(errno) = no_descriptor(&error) else { return Err(error).context("cannot start the runtime") };
            return Ok(nothing_asked(target, options, errno, started, clock));
        }
    };
    let listener = Box::new(|seen: &Observation| progress.heard(seen));
    let interrupted = Cell::new(false);
    let checked = runtime.block_on(async {
        tokio::select! {
            checked = faultmap_probe::check(target, options, Some(listener)) => checked,
            never = interrupts(options.interrupt.as_deref(), &interrupted, progress) => never,
        }
    });
    if interrupted.get() {
        progress.end();
        terminal::say("faultmap: interrupted; the verdict rests on what was seen until then\n");
    }
    // Not dropped: that would wait for a thread that still is in getaddrinfo.
    runtime.shutdown_background();
    match checked {
        Ok(recording) => Ok(recording),
        Err(ProbeError::File { source, .. } | ProbeError::Own { source, .. }) if no_descriptor(&source).is_some() => {
            Ok(nothing_asked(target, options, no_descriptor(&source).unwrap_or("EMFILE"), started, clock))
        }
        Err(error) => Err(error.into()),
    }
}

/// tokio panics when it cannot open its pair of sockets for signals: see beforehand whether there is room for all that it opens.
fn room_for_runtime() -> io::Result<()> {
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
        expect: Expect { status: options.expect_status, body: options.expect_body.is_some(), media_type: None },
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
