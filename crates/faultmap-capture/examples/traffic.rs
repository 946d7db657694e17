//! Writes a made-up capture to the standard output, for measurements: `traffic mixed 1600000 > mixed.pcap` or `traffic connections 1300000`.
//! The same arguments give the same bytes. Nothing of it was ever on a wire.
//!
//! `mixed`: 200 conversations at a time over 50 servers. A fifth are HTTP downloads of 1 to 300 KB, a fifth bulk bytes of no known protocol, two fifths
//! DNS questions, a fifth Redis dialogues of 40 commands. One data segment in a hundred is lost before the point of capture, and sent again when SACK asks
//! for it. `connections`: one short HTTP exchange after the other, 500 at a time, each from another port.

use faultmap_wire::tcp::emit_options;
use faultmap_wire::{Ethernet, Ipv4, Mac, Tcp, TcpFlags, TcpOption, Udp, proto};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};

const MSS: usize = 1448;
const ACK: TcpFlags = TcpFlags::ACK;

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

/// One end of a connection.
#[derive(Clone, Copy)]
struct End {
    ip: Ipv4Addr,
    port: u16,
    mac: Mac,
    seq: u32,
    id: u16,
}

/// A conversation: its packets, in order of time.
struct Talk {
    client: End,
    server: End,
    now: u64,
    rtt: u64,
    packets: Vec<(u64, Vec<u8>)>,
}

impl Talk {
    fn frame(&mut self, from_client: bool, protocol: u8, body: &[u8]) {
        let (from, to) = if from_client { (&mut self.client, &self.server) } else { (&mut self.server, &self.client) };
        from.id = from.id.wrapping_add(1);
        let ip = Ipv4 { id: from.id, ..Ipv4::new(from.ip, to.ip, protocol) }.emit(body);
        let frame = Ethernet::new(to.mac, from.mac, 0x0800).emit(&ip);
        self.packets.push((self.now, frame));
    }

    fn segment(&mut self, from_client: bool, flags: TcpFlags, seq: u32, sack: Option<(u32, u32)>, payload: &[u8]) {
        let (from, to) = if from_client { (self.client, self.server) } else { (self.server, self.client) };
        let clock = (self.now / 1_000_000) as u32;
        let mut options = vec![TcpOption::Timestamps { value: clock, echo: clock.saturating_sub(1) }];
        if flags.has(TcpFlags::SYN) {
            options.extend([TcpOption::Mss(1460), TcpOption::WindowScale(7), TcpOption::SackPermitted]);
        }
        let block = sack.map(|(left, right)| [left.to_be_bytes(), right.to_be_bytes()].concat());
        if let Some(block) = &block {
            options.push(TcpOption::Sack(block));
        }
        let options = emit_options(&options);
        let header = Tcp {
            seq,
            ack: if flags.has(ACK) { to.seq } else { 0 },
            window: 2000,
            options: &options,
            ..Tcp::new(from.port, to.port, flags)
        };
        let bytes = header.emit(IpAddr::V4(from.ip), IpAddr::V4(to.ip), payload);
        self.frame(from_client, proto::TCP, &bytes);
    }

    /// Sends in order, and moves on by what it takes.
    fn send(&mut self, from_client: bool, flags: TcpFlags, payload: &[u8]) {
        let seq = if from_client { self.client.seq } else { self.server.seq };
        let flags = if flags.has(TcpFlags::SYN) && from_client { flags } else { flags.with(ACK) };
        self.segment(from_client, flags, seq, None, payload);
        let taken = payload.len() as u32 + u32::from(flags.has(TcpFlags::SYN)) + u32::from(flags.has(TcpFlags::FIN));
        let end = if from_client { &mut self.client } else { &mut self.server };
        end.seq = end.seq.wrapping_add(taken);
        self.now += 5_000;
    }

    fn open(&mut self) {
        self.send(true, TcpFlags::SYN, &[]);
        self.now += self.rtt;
        self.send(false, TcpFlags::SYN, &[]);
        self.now += 20_000;
        self.send(true, ACK, &[]);
    }

    fn close(&mut self) {
        self.send(true, TcpFlags::FIN, &[]);
        self.now += self.rtt;
        self.send(false, TcpFlags::FIN, &[]);
        self.send(true, ACK, &[]);
    }

    /// The server sends bytes; one segment in `loss` is lost on its way, and sent again after three duplicate ACKs.
    fn download(&mut self, bytes: &[u8], loss: u64, random: &mut Random) {
        let mut pieces = bytes.chunks(MSS).peekable();
        let mut count = 0_u64;
        while let Some(piece) = pieces.next() {
            let lost = pieces.peek().is_some() && random.below(loss) == 0;
            if !lost {
                self.send(false, TcpFlags::PSH, piece);
                count += 1;
                if count.is_multiple_of(2) {
                    self.send(true, ACK, &[]);
                }
                continue;
            }
            let hole = self.server.seq;
            let behind = hole.wrapping_add(piece.len() as u32);
            let mut top = behind;
            for next in pieces.by_ref().take(3) {
                self.segment(false, ACK, top, None, next);
                top = top.wrapping_add(next.len() as u32);
                self.now += 10_000;
                self.segment(true, ACK, self.client.seq, Some((behind, top)), &[]);
            }
            self.now += self.rtt;
            self.segment(false, ACK, hole, None, piece);
            self.server.seq = top;
            self.send(true, ACK, &[]);
        }
    }
}

fn talk(random: &mut Random, now: u64, serial: u64, port: u16) -> Talk {
    let client = Ipv4Addr::from(0x0a01_0000 + (serial % 200) as u32 + 1);
    let server = Ipv4Addr::from(0x0a02_0000 + random.below(50) as u32 + 1);
    let end = |ip, port, mac, seq| End { ip, port, mac: Mac([2, 0, 0, 0, 0, mac]), seq, id: seq as u16 };
    let from = 20_000 + (serial / 200 % 45_000) as u16;
    let (a, b) = (random.below(1 << 32) as u32, random.below(1 << 32) as u32);
    Talk {
        client: end(client, from, 1, a),
        server: end(server, port, 2, b),
        now,
        rtt: 200_000 + random.below(20_000_000),
        packets: Vec::new(),
    }
}

fn http(random: &mut Random, now: u64, serial: u64, most: u64) -> Talk {
    let mut talk = talk(random, now, serial, 80);
    talk.open();
    talk.send(true, TcpFlags::PSH, b"GET /item HTTP/1.1\r\nHost: shop.test\r\nAccept: */*\r\n\r\n");
    talk.now += talk.rtt;
    let body = vec![b'x'; (random.below(most) + 100) as usize];
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(body);
    talk.download(&answer, 100, random);
    talk.send(true, ACK, &[]);
    talk.close();
    talk
}

fn bulk(random: &mut Random, now: u64, serial: u64) -> Talk {
    let mut talk = talk(random, now, serial, 5201);
    talk.open();
    let bytes: Vec<u8> = (0..random.below(300_000) + 1000).map(|n| (n.wrapping_mul(serial | 1) >> 3) as u8 | 0x80).collect();
    talk.download(&bytes, 100, random);
    talk.send(true, ACK, &[]);
    talk.close();
    talk
}

fn redis(random: &mut Random, now: u64, serial: u64) -> Talk {
    let mut talk = talk(random, now, serial, 6379);
    talk.open();
    for _ in 0..40 {
        talk.send(true, TcpFlags::PSH, b"*1\r\n$4\r\nPING\r\n");
        talk.now += talk.rtt;
        talk.send(false, TcpFlags::PSH, b"+PONG\r\n");
        talk.now += random.below(5_000_000);
        talk.send(true, ACK, &[]);
    }
    talk.close();
    talk
}

fn dns(random: &mut Random, now: u64, serial: u64) -> Talk {
    let mut talk = talk(random, now, serial, 53);
    let id = (random.below(1 << 16) as u16).to_be_bytes();
    let question = b"\x04shop\x04test\x00\x00\x01\x00\x01";
    let ask = [&id[..], b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", question].concat();
    let answer = [
        &id[..],
        b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00",
        question,
        b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x02\x00\x01",
    ]
    .concat();
    for (from_client, message) in [(true, ask), (false, answer)] {
        let (from, to) = if from_client { (talk.client, talk.server) } else { (talk.server, talk.client) };
        let bytes = Udp::new(from.port, to.port).emit(IpAddr::V4(from.ip), IpAddr::V4(to.ip), &message);
        talk.frame(from_client, proto::UDP, &bytes);
        talk.now += talk.rtt;
    }
    talk
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mixed, wanted) = match arguments.as_slice() {
        [kind, packets] if kind == "mixed" || kind == "connections" => (kind == "mixed", packets.parse::<u64>().unwrap_or(0)),
        _ => return Err(io::Error::other("usage: traffic mixed|connections PACKETS > FILE")),
    };
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    // pcap with nanoseconds, version 2.4, snap length 262144, Ethernet.
    for word in [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 262_144, 1] {
        out.write_all(&word.to_le_bytes())?;
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut queue, mut talks, mut serial, mut written) = (BinaryHeap::new(), Vec::new(), 0_u64, 0_u64);
    let at_once = if mixed { 200 } else { 500 };
    let mut begin = |random: &mut Random, now: u64| {
        serial += 1;
        match if mixed { random.below(5) } else { 9 } {
            0 => http(random, now, serial, 300_000),
            1 => bulk(random, now, serial),
            2 => redis(random, now, serial),
            3 | 4 => dns(random, now, serial),
            _ => http(random, now, serial, 1000),
        }
    };
    for place in 0..at_once {
        let talk = begin(&mut random, 1_700_000_000_000_000_000 + place as u64 * 1_000_000);
        queue.push(Reverse((talk.packets[0].0, place, 0_usize)));
        talks.push(talk);
    }
    while written < wanted {
        let Some(Reverse((at, place, index))) = queue.pop() else { break };
        let frame = &talks[place].packets[index].1;
        for word in [(at / 1_000_000_000) as u32, (at % 1_000_000_000) as u32, frame.len() as u32, frame.len() as u32] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(frame)?;
        written += 1;
        if let Some((next, _)) = talks[place].packets.get(index + 1) {
            queue.push(Reverse((*next, place, index + 1)));
        } else {
            let pause = random.below(3_000_000);
            talks[place] = begin(&mut random, at + pause);
            queue.push(Reverse((talks[place].packets[0].0, place, 0)));
        }
    }
    out.flush()
}
