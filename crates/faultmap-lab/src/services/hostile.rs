//! Peers that mean harm, or are broken beyond any protocol: answers without end, bytes that drip, certificates and archives that swell.
//! Each runs until the client has had enough. It decides nothing; it only does not stop.

use std::{io, time::Duration};

use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use super::{
    io::{BoxStream, HOLD},
    stats::Counters,
};

/// What a hostile peer does after the first bytes of the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "attack", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Hostile {
    /// An HTTP head whose header fields never end.
    EndlessHead,
    /// `103 Early Hints` for ever, never a final answer.
    EndlessInterim,
    /// A good HTTP answer, a byte at a time.
    SlowDrip {
        /// Milliseconds between two bytes.
        every_ms: u64,
    },
    /// A good head, and a body that never ends.
    EndlessBody,
    /// A body that a few kilobytes of gzip blow up without end.
    Bomb,
    /// TLS records of random bytes.
    GarbageTls,
    /// A TLS 1.2 Certificate message of 16 MiB, the largest that its length field can announce (RFC 8446 4).
    GiantCertificate,
    /// Random bytes, without end.
    Noise,
}

impl Hostile {
    fn name(&self) -> &'static str {
        match self {
            Self::EndlessHead => "endless-head",
            Self::EndlessInterim => "endless-interim",
            Self::SlowDrip { .. } => "slow-drip",
            Self::EndlessBody => "endless-body",
            Self::Bomb => "bomb",
            Self::GarbageTls => "garbage-tls",
            Self::GiantCertificate => "giant-certificate",
            Self::Noise => "noise",
        }
    }
}

/// Waits for the client to speak, then acts until it leaves.
pub(crate) async fn serve(io: &mut BoxStream, hostile: &Hostile, counters: &Counters) {
    let mut first = [0; 16 * 1024];
    if !matches!(timeout(HOLD, io.read(&mut first)).await, Ok(Ok(1..))) {
        return;
    }
    Counters::add(&counters.requests, 1);
    counters.bite(hostile.name());
    // The client's leaving is the only end, as a write that fails.
    let _ = timeout(HOLD, act(io, hostile)).await;
}

async fn act(io: &mut BoxStream, hostile: &Hostile) -> io::Result<()> {
    match hostile {
        Hostile::EndlessHead => repeat(io, b"HTTP/1.1 200 OK\r\n", b"X-Filler: the quick brown fox jumps over the lazy dog\r\n").await,
        Hostile::EndlessInterim => repeat(io, b"", b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n").await,
        Hostile::SlowDrip { every_ms } => drip(io, Duration::from_millis(*every_ms)).await,
        Hostile::EndlessBody => repeat(io, b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n", b"more and more and more\n").await,
        Hostile::Bomb => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n";
            let archive = bomb()?;
            let mut chunk = format!("{:x}\r\n", archive.len()).into_bytes();
            chunk.extend_from_slice(&archive);
            chunk.extend_from_slice(b"\r\n");
            // Members one after another are one gzip file (RFC 1952 2.2).
            repeat(io, head, &chunk).await
        }
        Hostile::GarbageTls => {
            let mut record = vec![22, 3, 3, 0x10, 0x00];
            record.extend(noise(0x1000));
            repeat(io, b"", &record).await
        }
        Hostile::GiantCertificate => giant_certificate(io).await,
        Hostile::Noise => repeat(io, b"", &noise(8_192)).await,
    }
}

async fn repeat(io: &mut BoxStream, head: &[u8], piece: &[u8]) -> io::Result<()> {
    io.write_all(head).await?;
    loop {
        io.write_all(piece).await?;
        io.flush().await?;
    }
}

async fn drip(io: &mut BoxStream, every: Duration) -> io::Result<()> {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4096\r\n\r\n";
    for byte in answer.iter().chain(std::iter::repeat_n(&b'.', 4096)) {
        io.write_all(std::slice::from_ref(byte)).await?;
        io.flush().await?;
        sleep(every).await;
    }
    Ok(())
}

/// A megabyte of nothing in a kilobyte.
fn bomb() -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b'0'; 1 << 20])?;
    encoder.finish()
}

/// A ServerHello of TLS 1.2, then a Certificate message in records of 16 KiB.
async fn giant_certificate(io: &mut BoxStream) -> io::Result<()> {
    let mut hello = vec![2, 0, 0, 38, 3, 3];
    hello.extend([0x42; 32]);
    // No session, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
    hello.extend([0, 0xc0, 0x2b, 0]);
    send_record(io, &hello).await?;
    let mut message = vec![11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc];
    message.extend(noise(0x4000 - message.len()));
    loop {
        send_record(io, &message).await?;
        message = noise(0x4000);
    }
}

async fn send_record(io: &mut BoxStream, payload: &[u8]) -> io::Result<()> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    io.write_all(&[22, 3, 3, length[0], length[1]]).await?;
    io.write_all(payload).await?;
    io.flush().await
}

/// The same bytes at every run (xorshift64).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_small_and_swells() {
        let archive = bomb().expect("memory takes it");
        assert!(archive.len() < 4_096, "{}", archive.len());
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(archive.as_slice()), &mut out).expect("gzip");
        assert_eq!(out.len(), 1 << 20);
    }

    #[test]
    fn every_attack_is_written_by_its_name() {
        for (text, attack) in [
            ("attack = \"endless-head\"", Hostile::EndlessHead),
            ("attack = \"slow-drip\"\nevery-ms = 200", Hostile::SlowDrip { every_ms: 200 }),
            ("attack = \"giant-certificate\"", Hostile::GiantCertificate),
        ] {
            assert_eq!(toml::from_str::<Hostile>(text).expect(text), attack);
        }
    }
}
