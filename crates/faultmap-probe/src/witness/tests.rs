//! Check and witness face to face, on loopback: who is let in, who is not, and what is told.

use super::{Event, WitnessOptions, serve};
use crate::peer::{Frames, FromCheck, FromFar, PeerAuth, PeerError, PeerOptions, PeerSession, Secret, connector};
use faultmap_model::observation::FarSide;
use faultmap_model::peer::{FromWitness, ToWitness};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const WAIT: Duration = Duration::from_secs(20);
const SECRET: &str = "a long and varied secret text";

fn secret(text: &str) -> PeerAuth {
    PeerAuth::Secret(Secret::new(text).expect("a good secret"))
}

fn peer(at: SocketAddr, auth: PeerAuth) -> PeerOptions {
    PeerOptions { host: "127.0.0.1".to_owned(), port: at.port(), auth }
}

/// A witness on loopback while `body` runs; gives what it told.
async fn with_witness(auth: PeerAuth, body: impl AsyncFnOnce(SocketAddr)) -> Vec<Event> {
    let told = RefCell::new(Vec::new());
    let (ready, listening) = oneshot::channel();
    let ready = RefCell::new(Some(ready));
    let tell = |event: Event| {
        if let (Event::Listening { at, .. }, Some(ready)) = (&event, ready.borrow_mut().take()) {
            let _ = ready.send(*at);
        }
        told.borrow_mut().push(event);
    };
    let options = WitnessOptions { listen: "127.0.0.1:0".parse().expect("addr"), auth, also_for: Vec::new() };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = serve(&options, &tell, async { drop(stopped.await) });
    let asking = async {
        body(listening.await.expect("it listens")).await;
        // Sessions that have ended are told of before the witness stops.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _ = stop.send(());
    };
    let (served, ()) = tokio::join!(serving, asking);
    served.expect("it serves");
    told.into_inner()
}

async fn window(session: &mut PeerSession, to: SocketAddr, during: impl AsyncFnOnce()) -> FarSide {
    let window = session.open(to, vec![to.ip()], false, WAIT).await.expect("it looks");
    during().await;
    session.close(window, WAIT).await.expect("it tells")
}

#[tokio::test]
async fn it_tells_what_listens_and_what_waits() {
    let told = with_witness(secret(SECRET), async |at: SocketAddr| {
        let mut session = PeerSession::meet(&peer(at, secret(SECRET)), WAIT).await.expect("both hold the secret");
        let service = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let to = service.local_addr().expect("bound");
        let mut client = None;
        let far = window(&mut session, to, async || {
            let mut stream = TcpStream::connect(to).await.expect("connects");
            stream.write_all(b"nobody reads this").await.expect("sent");
            tokio::time::sleep(Duration::from_millis(400)).await;
            client = Some(stream);
        })
        .await;
        assert_eq!(far.bound, [to]);
        assert!(far.queue.is_some_and(|queue| queue.waiting == 1 && queue.at_end == 1 && !queue.full()));
        assert_eq!((far.established_ours, far.unread_bytes), (1, 17));
        assert!(far.window_ms > 0.0 && far.sound());
        if let Some(wire) = &far.wire {
            assert_eq!((wire.syns, wire.syn_acks), (1, 1));
        }
    })
    .await;
    assert!(told.iter().any(|event| matches!(event, Event::Served { about, .. } if about.len() == 1)), "{told:?}");
}

#[tokio::test]
async fn it_looks_at_nothing_but_its_own_host() {
    with_witness(secret(SECRET), async |at: SocketAddr| {
        let mut session = PeerSession::meet(&peer(at, secret(SECRET)), WAIT).await.expect("both hold the secret");
        let refused = session.open("192.0.2.1:80".parse().expect("addr"), Vec::new(), false, WAIT).await;
        assert!(matches!(&refused, Err(PeerError::Refused(why)) if why.contains("--for 192.0.2.1")), "{refused:?}");
        let many: Vec<IpAddr> = (0..20).map(|n| IpAddr::from([127, 0, 0, n])).collect();
        assert!(matches!(session.open("127.0.0.1:80".parse().expect("addr"), many, false, WAIT).await, Err(PeerError::Refused(_))));
        assert!(matches!(session.close(7, WAIT).await, Err(PeerError::Refused(_))));
    })
    .await;
}

#[tokio::test]
async fn whoever_holds_another_secret_is_told_so_and_nothing_else() {
    let told = with_witness(secret(SECRET), async |at: SocketAddr| {
        let met = PeerSession::meet(&peer(at, secret("another long and varied text")), WAIT).await;
        assert!(matches!(&met, Err(PeerError::Refused(why)) if why.contains("secret")), "{met:?}");
        PeerSession::meet(&peer(at, secret(SECRET)), WAIT).await.expect("others are served as before");
    })
    .await;
    assert!(told.iter().any(|event| matches!(event, Event::TurnedAway { .. })), "{told:?}");
}

#[tokio::test]
async fn an_impostor_who_says_welcome_is_not_believed() {
    let acceptor = crate::peer::acceptor(&secret(SECRET)).expect("a certificate of the moment");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let at = listener.local_addr().expect("bound");
    let impostor = async {
        let (stream, _) = listener.accept().await.expect("accepts");
        let mut frames: Frames<_, FromCheck, FromFar> = Frames::new(acceptor.accept(stream).await.expect("TLS"));
        let Ok(Some(ToWitness::Hello { protocol, proof })) = frames.next().await else { panic!("hello") };
        // The check's own proof sent back, and no proof at all.
        frames.say(&FromWitness::Welcome { protocol, proof }).await.expect("said");
        let _ = frames.next().await;
    };
    let options = peer(at, secret(SECRET));
    let ((), met) = tokio::join!(impostor, PeerSession::meet(&options, WAIT));
    assert!(matches!(met, Err(PeerError::Impostor)), "{met:?}");
}

#[tokio::test]
async fn another_version_and_garbage_are_turned_away_and_others_served() {
    with_witness(secret(SECRET), async |at: SocketAddr| {
        let mut garbage = TcpStream::connect(at).await.expect("connects");
        garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
        let mut answer = Vec::new();
        let _ = garbage.read_to_end(&mut answer).await;
        assert!(answer.len() < 64, "a TLS alert at the most: {answer:?}");

        let (connector, name) = connector(&secret(SECRET), "127.0.0.1").expect("TLS");
        let open = async || {
            let stream = TcpStream::connect(at).await.expect("connects");
            connector.connect(name.clone(), stream).await.expect("TLS")
        };
        let mut newer: Frames<_, FromFar, FromCheck> = Frames::new(open().await);
        newer.say(&ToWitness::Hello { protocol: "faultmap.witness/9".to_owned(), proof: None }).await.expect("said");
        let answer = newer.next().await;
        assert!(matches!(&answer, Ok(Some(FromWitness::Refused { why })) if why.contains("faultmap.witness/1")), "{answer:?}");

        for bytes in [&[0xff; 8][..], b"\0\0\0\x04nope", b"\0\0\0\x02{}"] {
            let mut stream = open().await;
            stream.write_all(bytes).await.expect("sent");
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert_eq!(answer, b"", "nothing is said to a stranger");
        }
        PeerSession::meet(&peer(at, secret(SECRET)), WAIT).await.expect("others are served as before");
    })
    .await;
}

/// An authority, and a certificate of it for 127.0.0.1, as files: `(authority, certificate, key)`.
fn certificates(folder: &std::path::Path, name: &str) -> (PathBuf, PathBuf, PathBuf) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("self-signed");
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().expect("key");
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("params").signed_by(&leaf_key, &issuer).expect("signed");
    let write = |what: &str, text: String| {
        let path = folder.join(format!("{name}-{what}.pem"));
        std::fs::write(&path, text).expect("written");
        path
    };
    (write("ca", authority.pem()), write("cert", leaf.pem()), write("key", leaf_key.serialize_pem()))
}

#[tokio::test]
async fn certificates_of_both_sides_do_in_place_of_a_secret() {
    let folder = std::env::temp_dir().join(format!("faultmap-witness-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    let (ca, cert, key) = certificates(&folder, "ours");
    let (_, foreign_cert, foreign_key) = certificates(&folder, "foreign");
    let ours = PeerAuth::Certificates { cert, key, ca: ca.clone() };
    let foreign = PeerAuth::Certificates { cert: foreign_cert, key: foreign_key, ca };
    with_witness(ours.clone(), async |at: SocketAddr| {
        PeerSession::meet(&peer(at, ours.clone()), WAIT).await.expect("one authority");
        assert!(PeerSession::meet(&peer(at, foreign), WAIT).await.is_err(), "of another authority");
        assert!(PeerSession::meet(&peer(at, secret(SECRET)), WAIT).await.is_err(), "a secret where certificates are wanted");
    })
    .await;
    let _ = std::fs::remove_dir_all(&folder);
}
