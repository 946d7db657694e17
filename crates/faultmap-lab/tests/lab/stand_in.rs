//! A check that tries its target with plain sockets and reports what it met as its summary. Its verdict is always the
//! same: it exists to make traffic before the real check does, and to show what a socket sees.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

const LIMIT: Duration = Duration::from_millis(4000);
const READ_LIMIT: Duration = Duration::from_millis(1500);

pub(crate) fn main(target: &str) -> ExitCode {
    let started = Instant::now();
    let summary = attempt(target);
    let total_ms = started.elapsed().as_secs_f64() * 1000.0;
    let verdict = json!({
        "schema": "faultmap.check/1",
        "verdict": { "status": "inconclusive", "layer": null, "cause": null, "summary": summary, "candidates": [] },
        "timing": { "total_ms": total_ms },
    });
    println!("{verdict}");
    ExitCode::from(4)
}

/// Stands in for `faultmap host`: lets the second pass in which the load must meet the fault, and finds nothing.
pub(crate) fn host() -> ExitCode {
    std::thread::sleep(Duration::from_secs(1));
    println!("{}", json!({ "schema": "faultmap.host/1", "status": "healthy", "bottleneck": null, "findings": [] }));
    ExitCode::SUCCESS
}

fn attempt(target: &str) -> String {
    let (scheme, rest) = target.split_once("://").unwrap_or(("https", target));
    let authority = rest.split('/').next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let port = match scheme {
        "http" | "ws" => 80,
        "dns" => 53,
        _ => 443,
    };
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let full = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    let addrs = match full.to_socket_addrs() {
        Ok(addrs) => addrs.collect::<Vec<_>>(),
        Err(error) => return format!("resolve {full}: {error}"),
    };
    let outcomes = addrs.iter().map(|addr| format!("{addr}: {}", one(scheme, authority, *addr))).collect::<Vec<_>>();
    let prefix = if outcomes.iter().all(|o| o.contains(": ok")) { "ok " } else { "" };
    format!("{prefix}{}", outcomes.join("; "))
}

fn one(scheme: &str, authority: &str, addr: SocketAddr) -> String {
    match scheme {
        "udp" => return datagram(addr, b"hello"),
        "dns" => return datagram(addr, &query()),
        _ => {}
    }
    let started = Instant::now();
    let mut stream = match TcpStream::connect_timeout(&addr, LIMIT) {
        Ok(stream) => stream,
        Err(error) => {
            return format!("connect: {error} after {} ms", started.elapsed().as_millis());
        }
    };
    let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    let hello = match scheme {
        "http" | "ws" | "grpc" => request.as_bytes(),
        "postgres" => &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f],
        "redis" => b"PING\r\n",
        "tcp" => b"hello",
        _ => &bad_hello(),
    };
    let _ = stream.set_read_timeout(Some(READ_LIMIT));
    if let Err(error) = stream.write_all(hello) {
        return format!("write: {error}");
    }
    let (mut total, mut first, mut chunk) = (0, Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) if total == 0 => return "closed without a byte".to_owned(),
            Ok(0) => break,
            Ok(n) => {
                total += n;
                if first.is_empty() {
                    first = chunk[..n.min(24)].to_vec();
                }
                if scheme != "http" {
                    break;
                }
            }
            Err(error) if total == 0 => return format!("read: {error}"),
            Err(error) => return format!("read after {total} bytes: {error}"),
        }
    }
    format!("ok {total} bytes, {:?}", String::from_utf8_lossy(&first))
}

fn datagram(addr: SocketAddr, payload: &[u8]) -> String {
    let local: SocketAddr = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().expect("a literal");
    let exchange = || {
        let socket = UdpSocket::bind(local)?;
        socket.set_read_timeout(Some(READ_LIMIT))?;
        socket.connect(addr)?;
        socket.send(payload)?;
        let mut answer = [0; 4096];
        socket.recv(&mut answer)
    };
    match exchange() {
        Ok(len) => format!("ok {len} bytes"),
        Err(error) => error.to_string(),
    }
}

/// No ClientHello that makes sense, but one that fills several packets and that a TLS server answers with an alert.
fn bad_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 0x10, 0, 1, 0, 0x0f, 0xfc];
    hello.resize(5 + 0x1000, 0);
    hello
}

/// server.lab A.
fn query() -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend(b"\x06server\x03lab\x00\x00\x01\x00\x01");
    query
}
