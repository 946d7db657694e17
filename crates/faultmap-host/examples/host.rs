//! Prints what this crate reads of the namespace it runs in, for a look by eye:
//! `cargo run -p faultmap-host --example host -- 192.0.2.1:443`. Also says how long each reading takes.
#![allow(clippy::print_stdout)]

use faultmap_host::{NeighborWatch, Snapshot, flows, ip_in_counts, ping_socket_allowed, privileges, route};
use faultmap_model::observation::Role;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

fn timed<T>(what: &str, reading: impl Fn() -> T) -> T {
    let mut took: Vec<Duration> = (0..21)
        .map(|_| {
            let start = Instant::now();
            let _ = reading();
            start.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("{what}: median {:?}, worst {:?}", took.get(10), took.last());
    reading()
}

fn main() {
    let target: Option<SocketAddr> = std::env::args().nth(1).and_then(|argument| argument.parse().ok());
    println!("{:?} ping sockets {}", timed("privileges", privileges), ping_socket_allowed());
    let before = timed("Snapshot::take", Snapshot::take);
    for link in timed("links", || before.links()) {
        println!("{link:?}");
    }
    println!("{:?}", before.unavailable());
    println!("{:?} {:?}", timed("ip_in_counts", || ip_in_counts(false)), ip_in_counts(true));
    if let Some(target) = target {
        println!("{:?}", timed("route", || route(target.ip(), Role::Target)));
        println!("{:?}", timed("flows", || flows(target.ip(), None, Duration::from_secs(5), &[])));
        let watched = [(target.ip(), "eth0".to_owned())];
        let mut watch = NeighborWatch::start(&watched);
        watch.poll();
        println!("{:?} {:?}", watch.states_seen(target.ip()), watch.macs_seen(target.ip()));
    }
    let after = Snapshot::take();
    println!("{:?}", timed("tables", || before.tables(Some(&after), target)));
    println!("{:?}", timed("counters", || before.counters(&after, Some("lo"))));
    println!("{:?}", timed("link_deltas", || before.link_deltas(&after)));
}
