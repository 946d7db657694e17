//! scratch: cost per dropped packet
#![allow(clippy::print_stdout, clippy::unwrap_used)]
use faultmap_host::drops::*;
use std::net::UdpSocket;
use std::time::Instant;
fn round(sock: &UdpSocket, to: &std::net::SocketAddr, n: u32) -> f64 {
    let b = Instant::now();
    for _ in 0..n {
        let _ = sock.send_to(&[0; 64], to);
    }
    b.elapsed().as_secs_f64() * 1e9 / f64::from(n)
}
fn main() {
    let lazy = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = lazy.local_addr().unwrap();
    let s = UdpSocket::bind("127.0.0.1:0").unwrap();
    round(&s, &at, 50_000);
    let (mut off, mut on, mut other) = (vec![], vec![], vec![]);
    for _ in 0..15 {
        off.push(round(&s, &at, 100_000));
        let w = DropWatch::start(Scope::OwnNamespace).unwrap();
        on.push(round(&s, &at, 100_000));
        drop(w);
        let w = DropWatch::start(Scope::Namespace(1)).unwrap();
        other.push(round(&s, &at, 100_000));
        drop(w);
    }
    for (n, v) in [("off", &mut off), ("on", &mut on), ("elsewhere", &mut other)] {
        v.sort_by(f64::total_cmp);
        println!("{n}: min {:.0} median {:.0} ns/packet", v[0], v[7]);
    }
    let mut t: Vec<f64> = (0..7)
        .map(|_| {
            let b = Instant::now();
            let _w = DropWatch::start(Scope::OwnNamespace).unwrap();
            b.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    t.sort_by(f64::total_cmp);
    println!("start {:.1} ms", t[3]);
    let w = DropWatch::start(Scope::All).unwrap();
    let mut t: Vec<f64> = (0..7)
        .map(|_| {
            let b = Instant::now();
            let _ = w.read().unwrap();
            b.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    t.sort_by(f64::total_cmp);
    println!("read {:.2} ms", t[3]);
}
