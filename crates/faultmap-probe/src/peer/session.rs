//! The check's side of a session with a witness: meet, open windows, close them. Every step has a deadline of the caller's.

use super::frame::{Frames, FromCheck, FromFar};
use super::proof::Side;
use super::{PeerAuth, PeerOptions, tls};
use crate::ProbeError;
use faultmap_model::observation::FarSide;
use faultmap_model::peer::{FromWitness, PROTOCOL, ToWitness};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// Most characters of a refusal that are repeated to the user.
const MOST_SAID: usize = 160;

/// Why a witness gives no report. The check goes on without.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No TCP connection, or it broke.
    #[error("cannot reach the witness: {0}")]
    Unreachable(io::Error),
    /// No answer in time.
    #[error("the witness does not answer in time")]
    Late,
    /// Something else listens there, or the certificates do not fit.
    #[error("no session with the witness: {0}; is it a faultmap witness, with the same kind of proof?")]
    NoSession(io::Error),
    /// It said no.
    #[error("the witness refuses: {0}")]
    Refused(String),
    /// It could not prove that it holds the secret.
    #[error("whoever answers there does not hold the secret: not trusted, not asked")]
    Impostor,
    /// Its word is out of order or out of bounds.
    #[error("the witness answers out of order")]
    Confused,
    /// Our own side.
    #[error(transparent)]
    Own(#[from] ProbeError),
}

/// A session with a witness that has proven itself.
#[derive(Debug)]
pub struct PeerSession {
    frames: Frames<TlsStream<TcpStream>, FromFar, FromCheck>,
    peer: SocketAddr,
    windows: u32,
}

impl PeerSession {
    /// Connects and proves, each to the other.
    ///
    /// # Errors
    /// When it is not there, is somebody else, or refuses.
    pub async fn meet(options: &PeerOptions, wait: Duration) -> Result<Self, PeerError> {
        timeout(wait, Self::meet_in_time(options)).await.map_err(|_| PeerError::Late)?
    }

    async fn meet_in_time(options: &PeerOptions) -> Result<Self, PeerError> {
        let stream = TcpStream::connect((options.host.as_str(), options.port)).await.map_err(PeerError::Unreachable)?;
        let peer = stream.peer_addr().map_err(PeerError::Unreachable)?;
        stream.set_nodelay(true).map_err(PeerError::Unreachable)?;
        let (connector, name) = tls::connector(&options.auth, &options.host)?;
        let stream = connector.connect(name, stream).await.map_err(PeerError::NoSession)?;
        let binding = tls::binding(stream.get_ref().1).map_err(PeerError::NoSession)?;
        let mut session = Self { frames: Frames::new(stream), peer, windows: 0 };
        let secret = match &options.auth {
            PeerAuth::Secret(secret) => Some(secret),
            PeerAuth::Certificates { .. } => None,
        };
        let proof = secret.map(|secret| secret.proof(Side::Check, &binding));
        let answer = session.ask(&ToWitness::Hello { protocol: PROTOCOL.to_owned(), proof }).await?;
        let FromWitness::Welcome { protocol, proof } = answer else { return Err(PeerError::Confused) };
        if protocol != PROTOCOL {
            return Err(PeerError::Confused);
        }
        match (secret, proof) {
            (None, _) => Ok(session),
            (Some(secret), Some(proof)) if secret.proves(Side::Witness, &binding, &proof) => Ok(session),
            (Some(_), _) => Err(PeerError::Impostor),
        }
    }

    /// Where the witness is, as we reach it.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Asks it to look at its address `to` from now on; gives the window's number.
    ///
    /// # Errors
    /// When it refuses or has gone.
    pub async fn open(&mut self, to: SocketAddr, from: Vec<IpAddr>, way_back: bool, wait: Duration) -> Result<u32, PeerError> {
        self.windows += 1;
        let window = self.windows;
        let asked = timeout(wait, self.ask(&ToWitness::Open { window, to, from, way_back })).await;
        match asked.map_err(|_| PeerError::Late)?? {
            FromWitness::Opened { window: opened } if opened == window => Ok(window),
            _ => Err(PeerError::Confused),
        }
    }

    /// Closes the window; gives what was seen within it.
    ///
    /// # Errors
    /// When it has gone, or its report is out of bounds.
    pub async fn close(&mut self, window: u32, wait: Duration) -> Result<FarSide, PeerError> {
        let asked = timeout(wait, self.ask(&ToWitness::Close { window })).await;
        match asked.map_err(|_| PeerError::Late)?? {
            FromWitness::Report { window: closed, far } if closed == window && far.sound() => Ok(*far),
            _ => Err(PeerError::Confused),
        }
    }

    async fn ask(&mut self, words: &ToWitness) -> Result<FromWitness, PeerError> {
        self.frames.say(words).await.map_err(PeerError::Unreachable)?;
        match self.frames.next().await {
            Ok(Some(FromWitness::Refused { why })) => Err(PeerError::Refused(crate::recorder::printable(why.as_bytes(), MOST_SAID))),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(PeerError::NoSession(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended the session"))),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(PeerError::Confused),
            Err(error) => Err(PeerError::NoSession(error)),
        }
    }
}
