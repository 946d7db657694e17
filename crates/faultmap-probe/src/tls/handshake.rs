//! One TLS handshake with the offer of an ordinary client (TLS 1.2 and 1.3), and the chain that came with it.

use super::certificate::server_name;
use super::chain::{ChainAsk, judge};
use super::failure::{Failure, outcome, silent};
use super::record::version_name;
use super::tap::{Seen, Tap};
use super::verifier::{ChainWitness, ClientCertWitness};
use super::{TlsStream, TrustStore};
use crate::recorder::printable;
use crate::sock;
use faultmap_model::observation::{Role, TlsChain, TlsHandshake, TlsOffer, TlsOutcome};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a server that asked for a certificate may take to refuse us after the handshake. Most answer with session tickets or an
/// alert within one round trip.
const AFTERTHOUGHT: Duration = Duration::from_millis(400);

/// What to ask of a TLS server.
#[derive(Debug, Clone, Copy)]
pub struct TlsAsk<'a> {
    /// The server, as connected.
    pub to: SocketAddr,
    /// `Target` or `Control`.
    pub role: Role,
    /// Host name or IP literal that the certificate must hold.
    pub name: &'a str,
    /// Send SNI (never sent for an IP literal).
    pub sni: bool,
    /// ALPN protocols to offer, preferred first; empty: no extension.
    pub alpn: &'a [&'a str],
    /// Whom to trust.
    pub store: &'a TrustStore,
    /// Bound of the handshake.
    pub wait: Duration,
    /// Our clock, Unix seconds.
    pub now_unix: i64,
    /// Why this offer: `default`, `no-sni`, ... (see [`TlsOffer::name`]).
    pub offer_name: &'a str,
    /// `TCP_MAXSEG` that was set on the socket.
    pub clamped_mss: Option<u32>,
}

/// What a handshake gave.
#[derive(Debug)]
pub struct TlsResult {
    /// How it went.
    pub handshake: TlsHandshake,
    /// The chain as sent, judged; also when the handshake failed after the certificate.
    pub chain: Option<TlsChain>,
    /// The session, when it is usable.
    pub stream: Option<TlsStream>,
}

/// Performs one handshake on a fresh connection. When the server asks for a client certificate in TLS 1.3, also waits briefly for its refusal,
/// which comes after our side is done.
pub async fn handshake(stream: TcpStream, ask: &TlsAsk<'_>) -> TlsResult {
    perform(stream, ask, &Kit::new(ask, Resumption::disabled())).await
}

/// The same, resuming the session that the memory holds, and remembering the one that comes of it.
pub(crate) async fn handshake_remembering(stream: TcpStream, ask: &TlsAsk<'_>, memory: &Memory) -> TlsResult {
    perform(stream, ask, memory.kit.get_or_init(|| Kit::new(ask, Resumption::in_memory_sessions(8)))).await
}

/// Sessions of one server, to be resumed. A session is resumed only under the configuration that it was made under.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    kit: OnceCell<Kit>,
}

impl Memory {
    /// A handshake has filled it.
    pub(crate) fn is_used(&self) -> bool {
        self.kit.get().is_some()
    }
}

/// What a handshake is made with.
#[derive(Debug)]
struct Kit {
    config: Result<Arc<ClientConfig>, TlsOutcome>,
    chain: Arc<ChainWitness>,
    client_cert: Arc<ClientCertWitness>,
}

impl Kit {
    fn new(ask: &TlsAsk<'_>, resumption: Resumption) -> Self {
        let provider = Arc::new(ring::default_provider());
        let chain = ChainWitness::new(provider.signature_verification_algorithms);
        let client_cert = Arc::new(ClientCertWitness::default());
        let config = config(ask, provider, &chain, &client_cert, resumption).map(Arc::new);
        Self { config, chain, client_cert }
    }
}

async fn perform(stream: TcpStream, ask: &TlsAsk<'_>, kit: &Kit) -> TlsResult {
    let socket = sock::no_delay_dup(&stream);
    let (tapped, below) = Tap::new(stream);
    let (chain_witness, cert_witness) = (&kit.chain, &kit.client_cert);
    let attempt = async {
        let name = server_name(ask.name).ok_or_else(|| no_name(ask.name))?;
        let config = Arc::clone(kit.config.as_ref().map_err(Clone::clone)?);
        let started = Instant::now();
        match tokio::time::timeout(ask.wait, TlsConnector::from(config).connect(name, tapped)).await {
            Ok(Ok(inner)) => Ok(inner),
            Ok(Err(error)) => {
                let failure = Failure {
                    error: &error,
                    waited: started.elapsed(),
                    client_cert_requested: cert_witness.asked(),
                    after_handshake: false,
                };
                Err(outcome(&failure, &below.borrow()))
            }
            Err(_) => Err(silent(started.elapsed(), &below.borrow())),
        }
    };
    let (outcome, stream) = match attempt.await {
        Ok(inner) => {
            let alpn = inner.get_ref().1.alpn_protocol().map(|name| printable(name, 64));
            let below = Seen::clone(&below);
            established(TlsStream { inner: Box::new(inner), alpn, below, client_cert_requested: cert_witness.asked(), socket: None }, ask)
                .await
        }
        Err(outcome) => (outcome, None),
    };
    let tcp = socket.as_ref().and_then(sock::tcp_health);
    let chain_ask = ChainAsk { to: ask.to, name: ask.name, store: ask.store, now_unix: ask.now_unix };
    let chain = chain_witness.sent().map(|sent| judge(sent, &chain_ask));
    let handshake = TlsHandshake { to: ask.to, role: ask.role, offer: offered(ask, &below), outcome, tcp };
    TlsResult { handshake, chain, stream: stream.map(|stream| TlsStream { socket, ..stream }) }
}

async fn established(mut stream: TlsStream, ask: &TlsAsk<'_>) -> (TlsOutcome, Option<TlsStream>) {
    let done = done(&stream);
    let tls13 = stream.inner.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    if tls13
        && stream.client_cert_requested
        && let Some(end) = stream.ended(AFTERTHOUGHT.min(ask.wait)).await
    {
        return (end, None);
    }
    (done, Some(stream))
}

fn done(stream: &TlsStream) -> TlsOutcome {
    let session = stream.inner.get_ref().1;
    let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    TlsOutcome::Done {
        version: session.protocol_version().map(|version| version_name(u16::from(version))).unwrap_or_default(),
        // IANA writes TLS_AES_128_GCM_SHA256.
        cipher: cipher.unwrap_or("unknown").replacen("TLS13_", "TLS_", 1),
        alpn: stream.alpn.clone(),
        client_cert_requested: stream.client_cert_requested,
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}

fn offered(ask: &TlsAsk<'_>, below: &Seen) -> TlsOffer {
    let sent = below.borrow().sent_first;
    TlsOffer {
        name: ask.offer_name.to_owned(),
        sni: sni_of(ask.name).filter(|_| ask.sni),
        alpn: ask.alpn.iter().map(|name| (*name).to_owned()).collect(),
        versions: vec!["TLS 1.3".to_owned(), "TLS 1.2".to_owned()],
        hello_bytes: u32::try_from(sent).ok().filter(|sent| *sent > 0),
        clamped_mss: ask.clamped_mss,
    }
}

/// The name to send as SNI: RFC 6066 3 wants no trailing dot and no address.
pub(super) fn sni_of(name: &str) -> Option<String> {
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    (literal.parse::<IpAddr>().is_err()).then(|| name.trim_end_matches('.').to_owned())
}

fn no_name(name: &str) -> TlsOutcome {
    TlsOutcome::Rejected { why: format!("{} is no name that a certificate can hold", printable(name.as_bytes(), 256)) }
}

fn config(
    ask: &TlsAsk<'_>,
    provider: Arc<rustls::crypto::CryptoProvider>,
    chain: &Arc<ChainWitness>,
    client_cert: &Arc<ClientCertWitness>,
    resumption: Resumption,
) -> Result<ClientConfig, TlsOutcome> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsOutcome::Rejected { why: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<ChainWitness>::clone(chain))
        .with_client_cert_resolver(Arc::<ClientCertWitness>::clone(client_cert));
    config.enable_sni = ask.sni;
    config.alpn_protocols = ask.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    // Unless resumption itself is asked about, every handshake must show the chain and the whole exchange.
    config.resumption = resumption;
    config.key_log = super::key_log();
    Ok(config)
}
