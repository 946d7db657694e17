//! Raw offers: a ClientHello of our own for one version or one trait, answered by a ServerHello or an alert. Never goes further.

use super::failure::{Failure, not_tls, outcome, silent};
use super::handshake::sni_of;
use super::hello::{Hello, MODERN, OLD, RARE, TLS12, TLS13};
use super::record::{FirstFlight, first_flight, version_name};
use super::tap::{Tap, Traffic};
use crate::sock;
use faultmap_model::observation::{Role, TlsHandshake, TlsOffer, TlsOutcome};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Most bytes of the answer to read: a ServerHello is far smaller.
const MOST: usize = 32 * 1024;
/// A name that is surely not the target's (RFC 2606).
const OTHER_NAME: &str = "example.com";

/// X25519MLKEM768 adds 1184 bytes to an ordinary hello; browsers come to 1.7 to 1.9 KiB.
const LONG: usize = 1_800;
/// So long that the two parts of a hello are two segments (the socket has `TCP_NODELAY`).
const BETWEEN_SEGMENTS: Duration = Duration::from_millis(20);

/// A TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// RFC 2246.
    V10,
    /// RFC 4346.
    V11,
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}

impl TlsVersion {
    /// On the wire.
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::V10 => 0x0301,
            Self::V11 => 0x0302,
            Self::V12 => 0x0303,
            Self::V13 => 0x0304,
        }
    }
}

/// Which trait of the offer is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OfferKind {
    /// One version, with a broad cipher list of its era.
    Only(TlsVersion),
    /// Every version and every cipher suite that any server of the last twenty years may know.
    AllCiphers,
    /// No SNI extension.
    NoSni,
    /// SNI of a name that is surely not the target's.
    OtherSni,
    /// No ALPN extension.
    NoAlpn,
    /// Under 256 bytes with a name of ordinary length: fits where large hellos are lost.
    ShortHello,
    /// An ordinary offer, filled up (RFC 7685) to the length of one with a post-quantum key share: more than one segment.
    LongHello,
    /// An ordinary offer in two segments.
    SplitHello,
    /// An ordinary offer, beside others.
    Ordinary,
    /// An ordinary offer, on a socket with a small `TCP_MAXSEG`.
    ClampedMss,
    /// An ordinary offer again.
    SecondTry,
}

impl OfferKind {
    /// As recorded in [`TlsOffer::name`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Only(TlsVersion::V10) => "only-tls1.0",
            Self::Only(TlsVersion::V11) => "only-tls1.1",
            Self::Only(TlsVersion::V12) => "only-tls1.2",
            Self::Only(TlsVersion::V13) => "only-tls1.3",
            Self::AllCiphers => "all-ciphers",
            Self::NoSni => "no-sni",
            Self::OtherSni => "other-sni",
            Self::NoAlpn => "no-alpn",
            Self::ShortHello => "short-hello",
            Self::LongHello => "long-hello",
            Self::SplitHello => "split-hello",
            Self::Ordinary => "ordinary",
            Self::ClampedMss => "clamped-mss",
            Self::SecondTry => "second-try",
        }
    }

    fn versions(self) -> Vec<TlsVersion> {
        match self {
            Self::Only(version) => vec![version],
            Self::AllCiphers => vec![TlsVersion::V13, TlsVersion::V12, TlsVersion::V11, TlsVersion::V10],
            Self::ShortHello => vec![TlsVersion::V12],
            _ => vec![TlsVersion::V13, TlsVersion::V12],
        }
    }

    fn ciphers(self) -> Vec<u16> {
        let lists: &[&[u16]] = match self {
            Self::Only(TlsVersion::V13) => &[TLS13],
            Self::Only(TlsVersion::V12) => &[TLS12],
            Self::Only(_) => &[OLD],
            Self::AllCiphers => &[TLS13, TLS12, OLD, RARE],
            Self::ShortHello => &[MODERN],
            _ => &[TLS13, MODERN],
        };
        let mut all = Vec::new();
        for cipher in lists.iter().copied().flatten() {
            if !all.contains(cipher) {
                all.push(*cipher);
            }
        }
        all
    }
}

/// What to offer to whom.
#[derive(Debug, Clone, Copy)]
pub struct OfferAsk<'a> {
    /// The server, as connected.
    pub to: SocketAddr,
    /// `Target` or `Control`.
    pub role: Role,
    /// The trait under test.
    pub kind: OfferKind,
    /// Host name or IP literal of the target; SNI unless it is an IP literal or `kind` says otherwise.
    pub name: &'a str,
    /// ALPN protocols, unless `kind` says otherwise.
    pub alpn: &'a [&'a str],
    /// Bound of the whole.
    pub wait: Duration,
    /// `TCP_MAXSEG` that was set on the socket.
    pub clamped_mss: Option<u32>,
}

/// Makes one raw offer on a fresh connection.
pub async fn offer(stream: TcpStream, ask: &OfferAsk<'_>) -> TlsHandshake {
    let socket = sock::no_delay_dup(&stream);
    let sni = match ask.kind {
        OfferKind::NoSni => None,
        OfferKind::OtherSni => Some(OTHER_NAME.to_owned()),
        _ => sni_of(ask.name),
    };
    let alpn = if ask.kind == OfferKind::NoAlpn { &[] } else { ask.alpn };
    let fill_to = if ask.kind == OfferKind::LongHello { LONG } else { 0 };
    let hello = Hello { versions: ask.kind.versions(), ciphers: ask.kind.ciphers(), sni: sni.as_deref(), alpn, fill_to };
    let record = hello.record();
    let parts = if ask.kind == OfferKind::SplitHello { record.split_at(record.len() / 2) } else { (record.as_slice(), [].as_slice()) };
    let outcome = converse(stream, parts, ask.wait).await;
    let clamped = if ask.kind == OfferKind::LongHello && ask.clamped_mss.is_some() { "-clamped" } else { "" };
    let offer = TlsOffer {
        name: format!("{}{clamped}", ask.kind.name()),
        alpn: alpn.iter().map(|name| (*name).to_owned()).collect(),
        versions: hello.versions.iter().map(|version| version_name(version.code())).collect(),
        sni,
        hello_bytes: u32::try_from(record.len()).ok(),
        clamped_mss: ask.clamped_mss,
    };
    let tcp = socket.as_ref().and_then(sock::tcp_health);
    TlsHandshake { to: ask.to, role: ask.role, offer, outcome, tcp }
}

async fn converse(stream: TcpStream, parts: (&[u8], &[u8]), wait: Duration) -> TlsOutcome {
    let started = Instant::now();
    let (mut tapped, seen) = Tap::new(stream);
    let result = tokio::time::timeout(wait, ask_and_read(&mut tapped, parts)).await;
    let seen = seen.borrow();
    match result {
        Ok(Ok(flight)) => read(flight, started.elapsed(), &seen),
        Ok(Err(error)) => {
            let failure = Failure { error: &error, waited: started.elapsed(), client_cert_requested: false, after_handshake: false };
            outcome(&failure, &seen)
        }
        Err(_) => silent(started.elapsed(), &seen),
    }
}

async fn ask_and_read(stream: &mut Tap<TcpStream>, (first, second): (&[u8], &[u8])) -> io::Result<FirstFlight> {
    let mut sent = stream.write_all(first).await;
    if sent.is_ok() && !second.is_empty() {
        tokio::time::sleep(BETWEEN_SEGMENTS).await;
        sent = stream.write_all(second).await;
    }
    let mut answer = Vec::new();
    loop {
        match first_flight(&answer) {
            FirstFlight::Partial if answer.len() < MOST => {}
            decided => return Ok(decided),
        }
        // An answer that came before our write failed is still there to read.
        if stream.read_buf(&mut answer).await? == 0 {
            sent?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn read(flight: FirstFlight, waited: Duration, seen: &Traffic) -> TlsOutcome {
    match flight {
        FirstFlight::ServerHello { version, cipher } => TlsOutcome::Accepted { version: version_name(version), cipher },
        FirstFlight::Alert(code) => {
            TlsOutcome::Alert { code, name: super::alert_name(code).to_owned(), after_handshake: false, client_cert_requested: false }
        }
        FirstFlight::CloseNotify => TlsOutcome::Closed { received_bytes: seen.received },
        FirstFlight::Malformed(why) => TlsOutcome::Rejected { why: why.to_owned() },
        FirstFlight::NotTls | FirstFlight::Partial => not_tls(seen).unwrap_or_else(|| silent(waited, seen)),
    }
}
