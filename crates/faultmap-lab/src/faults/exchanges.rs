//! Many short TCP connections from one thread: connect, ask, hear the answer out, close. One that gets nowhere is given up after a second.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::traffic::begin_connect;

/// Understood by web servers, sent back by echo services, taken in by everything else.
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(1);
/// Attempts under way at once.
const MOST: usize = 4_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Asked,
    /// Something was heard, and more may follow.
    Heard,
    Over,
}

struct Exchange {
    stream: TcpStream,
    born: Instant,
    stage: Stage,
}

pub(super) struct Exchanges {
    to: SocketAddr,
    going: Vec<Exchange>,
}

impl Exchanges {
    pub(super) fn new(to: SocketAddr) -> Exchanges {
        Exchanges { to, going: Vec::new() }
    }

    /// Starts so many and moves all of them on.
    pub(super) fn round(&mut self, starting: u64, now: Instant) {
        for _ in 0..starting {
            // No port left, no descriptor left: what some faults are about.
            if self.going.len() < MOST
                && let Ok(stream) = begin_connect(self.to)
            {
                self.going.push(Exchange { stream, born: now, stage: Stage::Connecting });
            }
        }
        for exchange in &mut self.going {
            exchange.stage = exchange.next();
        }
        self.going.retain(|exchange| exchange.stage != Stage::Over && now.saturating_duration_since(exchange.born) < PATIENCE);
    }
}

impl Exchange {
    fn next(&mut self) -> Stage {
        match self.stage {
            Stage::Connecting => match self.stream.write(REQUEST) {
                Ok(_) => Stage::Asked,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Stage::Connecting,
                Err(_) => Stage::Over,
            },
            Stage::Asked | Stage::Heard => self.hear(),
            Stage::Over => Stage::Over,
        }
    }

    /// A service that keeps the connection open has said all once a round brings nothing new.
    fn hear(&mut self) -> Stage {
        let mut chunk = [0; 16 * 1024];
        let mut stage = if self.stage == Stage::Heard { Stage::Over } else { Stage::Asked };
        loop {
            match self.stream.read(&mut chunk) {
                Ok(1..) => stage = Stage::Heard,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return stage,
                Ok(0) | Err(_) => return Stage::Over,
            }
        }
    }
}
