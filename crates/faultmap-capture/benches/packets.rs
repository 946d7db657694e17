//! What does one packet cost? Taking it apart the short way and the long way, its checksum, and following whole exchanges, of which each is a flow of its own.

#![allow(missing_docs, reason = "criterion's macros make functions")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use faultmap_capture::analysis::{Analysis, Limits};
use faultmap_capture::packet::{Captured, PacketNo, Stamp};
use faultmap_wire::dissect::{LinkType, Network, dissect, transport_checksum};
use faultmap_wire::{Ethernet, Ipv4, Mac, Tcp, TcpFlags, proto};
use std::hint::black_box;
use std::net::IpAddr;

/// Exchanges followed in one go.
const EXCHANGES: u16 = 1000;

/// A segment between a client's port and a web server.
fn segment(port: u16, id: u16, from_client: bool, flags: TcpFlags, (seq, ack): (u32, u32), payload: &[u8]) -> Vec<u8> {
    let (a, b) = ([10, 1, 0, 1], [10, 2, 0, 1]);
    let (src, dst, from, to) = if from_client { (a, b, port, 80) } else { (b, a, 80, port) };
    let options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1];
    let header = Tcp { seq, ack, window: 2000, options: &options, ..Tcp::new(from, to, flags) };
    let packet = Ipv4 { id, ..Ipv4::new(src.into(), dst.into(), proto::TCP) };
    let packet = packet.emit(&header.emit(IpAddr::from(src), IpAddr::from(dst), payload));
    Ethernet::new(Mac([2; 6]), Mac([4; 6]), 0x0800).emit(&packet)
}

/// A request on a connection of its own, and its answer.
fn exchange(port: u16) -> Vec<Vec<u8>> {
    let ack = TcpFlags::ACK;
    let (syn, fin) = (TcpFlags::SYN, TcpFlags::FIN.with(ack));
    let (ask, answer) = (b"GET /item HTTP/1.1\r\nHost: shop.test\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let (q, a) = (ask.len() as u32, answer.len() as u32);
    vec![
        segment(port, 1, true, syn, (0, 0), &[]),
        segment(port, 2, false, syn.with(ack), (0, 1), &[]),
        segment(port, 3, true, ack, (1, 1), &[]),
        segment(port, 4, true, ack, (1, 1), ask),
        segment(port, 5, false, ack, (1, 1 + q), answer),
        segment(port, 6, true, ack, (1 + q, 1 + a), &[]),
        segment(port, 7, true, fin, (1 + q, 1 + a), &[]),
        segment(port, 8, false, fin, (1 + a, 2 + q), &[]),
        segment(port, 9, true, ack, (2 + q, 2 + a), &[]),
    ]
}

fn taking_apart(criterion: &mut Criterion) {
    let full = segment(40_000, 1, false, TcpFlags::ACK, (1, 1), &[b'x'; 1448]);
    // The same behind a VLAN tag, which the short way leaves to the long one.
    let (macs, rest) = full.split_at(12);
    let tagged = [macs, &[0x81, 0, 0, 7], rest].concat();
    for (name, frame) in [("dissect, the short way", &full), ("dissect, the long way", &tagged)] {
        criterion.bench_function(name, |bench| bench.iter(|| dissect(LinkType::ETHERNET, black_box(frame), frame.len())));
    }
    let frame = dissect(LinkType::ETHERNET, &full, full.len());
    if let Network::Ip(packet) = &frame.network {
        criterion.bench_function("checksum of 1448 bytes", |bench| bench.iter(|| transport_checksum(black_box(packet))));
    }
}

fn following(criterion: &mut Criterion) {
    let frames: Vec<Vec<u8>> = (0..EXCHANGES).flat_map(|number| exchange(20_000 + number)).collect();
    let mut group = criterion.benchmark_group("follow");
    group.throughput(Throughput::Elements(frames.len() as u64));
    group.bench_function("connections with one exchange each, by packet", |bench| {
        let follow = |mut analysis: Analysis| {
            for (number, bytes) in (1_u32..).zip(&frames) {
                let at = Stamp(i64::from(number) * 10_000);
                let (number, wire_len) = (PacketNo(number.into()), bytes.len() as u32);
                analysis.packet(&Captured { number, at, link: LinkType::ETHERNET, wire_len, bytes });
            }
            analysis
        };
        bench.iter_batched(|| Analysis::new(Limits::default()), follow, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(all, taking_apart, following);
criterion_main!(all);
