//! Every behaviour of every service, met by a real client on loopback. Each test is data and one check; what a client
//! saw is compared, and that the service counted its own misbehaviour.

mod dns;
mod http;
mod lifecycle;
mod tls;
mod transport;

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::OnceLock,
    time::Duration,
};

use super::{Pki, ServiceHandle, ServiceSpec, SpawnIn, start};

/// Silence is what lasts longer than this; long against loopback, short against the suite.
const SILENCE: Duration = Duration::from_millis(700);

struct Threads;

impl SpawnIn for Threads {
    fn spawn(&self, name: &str, f: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        std::thread::Builder::new().name(name.to_owned()).spawn(f).map(drop)
    }
}

fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| Pki::new(["server.lab", "www.server.lab"]).unwrap())
}

fn spec(toml: &str) -> ServiceSpec {
    toml::from_str(toml).unwrap_or_else(|e| panic!("{toml}\n{e}"))
}

/// Starts a service on both loopback addresses; the kernel chooses the port.
fn serve(toml: &str) -> ServiceHandle {
    let bind = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    start(&spec(&format!("port = 0\n{toml}")), &bind, pki(), &Threads).unwrap()
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
    Silent,
}

/// Reads until the connection ends or falls silent.
fn read_all(stream: &mut impl Read) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (bytes, End::Fin),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return (bytes, End::Silent);
            }
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return (bytes, End::Reset);
            }
            Err(e) => panic!("read: {e}"),
        }
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5)).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    stream
}

/// Sends `bytes` and reads what comes.
fn exchange(addr: SocketAddr, bytes: &[u8]) -> (Vec<u8>, End) {
    let mut stream = connect(addr);
    stream.write_all(bytes).unwrap();
    read_all(&mut stream)
}

#[track_caller]
fn assert_bitten(service: &ServiceHandle, bite: &str) {
    let stats = service.stats();
    assert!(stats.bites.contains_key(bite), "no {bite:?} in {stats:#?}");
}
