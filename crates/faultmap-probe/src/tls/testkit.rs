//! Servers for tests, each on a port of its own on loopback: raw bytes by script, and rustls with the same script above it.

use super::{TlsAsk, TrustStore};
use faultmap_model::observation::Role;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// 2026-07-01, within every window that is not named otherwise.
pub(crate) const NOW: i64 = 1_782_864_000;

/// What a scripted server does next.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Wait for the client's first bytes.
    Hear,
    /// Send these bytes.
    Say(Vec<u8>),
    /// Do nothing for a while.
    Pause(u64),
    /// Close with FIN, having read everything.
    Fin,
    /// Close with RST.
    Reset,
    /// Stay open and mute until the client leaves.
    Hold,
}

pub(crate) fn say(bytes: impl AsRef<[u8]>) -> Step {
    Step::Say(bytes.as_ref().to_vec())
}

fn listen(serve: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        serve(stream);
    });
    to
}

/// A server that plays a script on one connection.
pub(crate) fn scripted(steps: Vec<Step>) -> SocketAddr {
    listen(move |mut stream| {
        let socket = stream.try_clone().unwrap();
        play(&mut stream, &socket, &steps);
    })
}

fn play(stream: &mut (impl Read + Write), socket: &TcpStream, steps: &[Step]) {
    let mut buffer = vec![0; 65_536];
    for step in steps {
        match step {
            Step::Hear => {
                let _ = stream.read(&mut buffer);
            }
            Step::Say(bytes) => {
                let _ = stream.write_all(bytes).and_then(|()| stream.flush());
            }
            Step::Pause(ms) => std::thread::sleep(Duration::from_millis(*ms)),
            Step::Fin => {
                let _ = socket.shutdown(std::net::Shutdown::Write);
                let _ = std::io::copy(&mut &*socket, &mut std::io::sink());
                return;
            }
            Step::Reset => {
                socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            Step::Hold => {
                let _ = std::io::copy(&mut &*socket, &mut std::io::sink());
                return;
            }
        }
    }
}

/// A rustls server that plays a script above TLS on one connection.
pub(crate) fn tls(config: ServerConfig, steps: Vec<Step>) -> SocketAddr {
    listen(move |stream| {
        let socket = stream.try_clone().unwrap();
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        play(&mut rustls::StreamOwned::new(session, stream), &socket, &steps);
    })
}

/// A rustls server that pauses between its own flight and the client's, so that its refusal of a client comes late.
pub(crate) fn tls_late(config: ServerConfig, pause_ms: u64) -> SocketAddr {
    listen(move |mut stream| {
        let mut session = ServerConnection::new(Arc::new(config)).unwrap();
        session.read_tls(&mut stream).unwrap();
        session.process_new_packets().unwrap();
        while session.wants_write() {
            session.write_tls(&mut stream).unwrap();
        }
        std::thread::sleep(Duration::from_millis(pause_ms));
        while session.read_tls(&mut stream).is_ok_and(|read| read > 0) {
            let refused = session.process_new_packets().is_err();
            while session.wants_write() && session.write_tls(&mut stream).is_ok() {}
            if refused {
                return;
            }
        }
    })
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// One certificate authority: root and intermediate.
pub(crate) struct Authority {
    pub(crate) root: CertificateDer<'static>,
    pub(crate) root_pem: String,
    pub(crate) intermediate: CertificateDer<'static>,
    root_issuer: Issuer<'static, KeyPair>,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) fn params(organization: &str, name: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    params
}

impl Authority {
    pub(crate) fn new(organization: &str, intermediate_years: (i32, i32)) -> Self {
        Self::with_middle(organization, "ca 1", intermediate_years)
    }

    /// The name of what signs leaves is the caller's.
    pub(crate) fn with_middle(organization: &str, name: &str, intermediate_years: (i32, i32)) -> Self {
        let mut root = params(organization, "root", (2000, 2100));
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let made = root.self_signed(&key).unwrap();
        let root_issuer = Issuer::new(root, key);
        let mut middle = params(organization, name, intermediate_years);
        middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let intermediate = middle.signed_by(&key, &root_issuer).unwrap().der().clone();
        let issuer = Issuer::new(middle, key);
        Self { root: made.der().clone(), root_pem: made.pem(), intermediate, root_issuer, issuer }
    }

    /// A leaf and the intermediate, the key kept.
    pub(crate) fn issue(&self, mut leaf: CertificateParams, names: &[&str], by_root: bool) -> Identity {
        let sans = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        leaf.subject_alt_names = sans.subject_alt_names;
        let key = KeyPair::generate().unwrap();
        let made = leaf.signed_by(&key, if by_root { &self.root_issuer } else { &self.issuer }).unwrap();
        let mut chain = vec![made.der().clone()];
        if !by_root {
            chain.push(self.intermediate.clone());
        }
        Identity { chain, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }

    /// A sound leaf for `server.test` and loopback.
    pub(crate) fn sound(&self) -> Identity {
        self.issue(params("server", "server.test", (2020, 2050)), &["server.test", "127.0.0.1"], false)
    }

    /// A store that trusts this root.
    pub(crate) fn store(&self) -> TrustStore {
        store_of(&self.root_pem)
    }

    /// A server with a sound certificate.
    pub(crate) fn server(&self, versions: &[&'static SupportedProtocolVersion], alpn: &[&str], client: ClientAuth) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match client {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Optional => builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap()),
            ClientAuth::Required => builder.with_client_cert_verifier(verifier.build().unwrap()),
        };
        let sound = self.sound();
        let mut config = builder.with_single_cert(sound.chain, sound.key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A store of the certificates in a PEM file.
pub(crate) fn store_of(pem: &str) -> TrustStore {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("faultmap-root-{}-{number}.pem", std::process::id()));
    std::fs::write(&path, pem).unwrap();
    let store = TrustStore::load(Some(&path)).unwrap();
    std::fs::remove_file(path).unwrap();
    store
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum ClientAuth {
    None,
    Optional,
    Required,
}

pub(crate) fn ask<'a>(to: SocketAddr, store: &'a TrustStore, alpn: &'a [&'a str], wait_ms: u64) -> TlsAsk<'a> {
    TlsAsk {
        to,
        role: Role::Target,
        name: "server.test",
        sni: true,
        alpn,
        store,
        wait: Duration::from_millis(wait_ms),
        now_unix: NOW,
        offer_name: "default",
        clamped_mss: None,
    }
}
