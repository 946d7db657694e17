//! What does a port that answers no ClientHello say to plain text? Sends a minimal request without anything of the user's. Never judges.

use super::failure::FIRST_BYTES;
use super::greeting::{looks_like, may_be_tls};
use crate::recorder::{ms, printable};
use crate::sock;
use faultmap_model::observation::{Role, TlsHandshake, TlsOffer, TlsOutcome};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Its blank line ends the wait of every server that reads lines.
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// A status line fits.
const MOST: usize = 512;

/// Sends a plain request, and keeps the first bytes of the answer.
pub async fn plain_request(mut stream: TcpStream, to: SocketAddr, wait: Duration) -> TlsHandshake {
    let socket = sock::no_delay_dup(&stream);
    let started = Instant::now();
    let mut first = [0_u8; MOST];
    let asked = async {
        stream.write_all(REQUEST).await?;
        stream.read(&mut first).await
    };
    let answered = tokio::time::timeout(wait, asked).await;
    let outcome = match answered {
        Ok(Ok(0)) => TlsOutcome::Closed { received_bytes: 0 },
        Ok(Ok(count)) => said(first.get(..count).unwrap_or_default()),
        Ok(Err(_)) => TlsOutcome::Reset { received_bytes: 0 },
        Err(_) => TlsOutcome::Silent { waited_ms: ms(started.elapsed()), received_bytes: 0 },
    };
    let offer = TlsOffer {
        name: "plain-request".to_owned(),
        sni: None,
        alpn: Vec::new(),
        versions: Vec::new(),
        hello_bytes: None,
        clamped_mss: None,
    };
    TlsHandshake { to, role: Role::Target, offer, outcome, tcp: socket.as_ref().and_then(sock::tcp_health) }
}

fn said(first: &[u8]) -> TlsOutcome {
    if may_be_tls(first) {
        return TlsOutcome::Closed { received_bytes: first.len() as u64 };
    }
    TlsOutcome::NotTls { first_bytes: printable(first, FIRST_BYTES), looks_like: looks_like(first).map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_text_is_kept_and_one_in_tls_is_not() {
        let expect = TlsOutcome::NotTls { first_bytes: "HTTP/1.0 200 OK".to_owned(), looks_like: Some("http".to_owned()) };
        assert_eq!(said(b"HTTP/1.0 200 OK"), expect);
        assert_eq!(said(&[21, 3, 1, 0, 2, 2, 70]), TlsOutcome::Closed { received_bytes: 7 });
    }
}
