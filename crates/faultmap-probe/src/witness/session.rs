//! One session: TLS, proof, then windows that are opened and closed. Never looks by itself; that is a window's.

use super::gate::Visitor;
use super::window::Window;
use super::{Event, WitnessOptions, gate};
use crate::peer::{Frames, FromCheck, FromFar, PeerAuth, Side, binding};
use faultmap_model::observation::{Role, RouteOutcome};
use faultmap_model::peer::{FromWitness, MOST_ADDRESSES, PROTOCOL, ToWitness};
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A stranger has so long to prove himself.
const PROVE_WITHIN: Duration = Duration::from_secs(3);
/// A wrong proof is answered no sooner.
const WRONG_AFTER: Duration = Duration::from_millis(300);
/// The longest check, and some.
const LONGEST_SESSION: Duration = Duration::from_secs(180);
/// Between two looks at the sockets of an open window.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Windows open at a time: one for each address, and one for what is provoked.
const MOST_WINDOWS: usize = MOST_ADDRESSES + 1;

type Conversation = Frames<TlsStream<TcpStream>, FromCheck, FromFar>;

/// What every session needs.
pub(super) struct Desk<'d> {
    pub(super) options: &'d WitnessOptions,
    pub(super) acceptor: TlsAcceptor,
    pub(super) gate: &'d gate::Gate,
    pub(super) tell: &'d dyn Fn(Event),
}

impl Desk<'_> {
    /// A line, but not for every packet of a flood.
    pub(super) fn turn_away_quietly(&self, from: SocketAddr, why: &str) {
        if self.gate.worth_a_line() {
            (self.tell)(Event::TurnedAway { from, why: why.to_owned() });
        }
    }

    /// The whole session; its end is told.
    pub(super) async fn serve(&self, stream: TcpStream, from: SocketAddr, visitor: Visitor<'_>) {
        let started = Instant::now();
        let mut conversation = match timeout(PROVE_WITHIN, self.admit(stream, &visitor)).await {
            Ok(Ok(conversation)) => conversation,
            Ok(Err(why)) => return self.turn_away_quietly(from, &why),
            Err(_) => return self.turn_away_quietly(from, "nothing was proven in time"),
        };
        let about = RefCell::new(Vec::new());
        // How a session ends is the check's business: it may be killed at any moment.
        let _ = timeout(LONGEST_SESSION, self.talk(&mut conversation, from.ip(), &about)).await;
        (self.tell)(Event::Served { from, about: about.into_inner(), took: started.elapsed() });
    }

    /// TLS and hello. `Err` says why it came to nothing.
    async fn admit(&self, stream: TcpStream, visitor: &Visitor<'_>) -> Result<Conversation, String> {
        let _ = stream.set_nodelay(true);
        let stream = self.acceptor.accept(stream).await.map_err(|error| {
            // With certificates this is where a wrong one shows.
            if matches!(self.options.auth, PeerAuth::Certificates { .. }) {
                visitor.fail();
            }
            format!("no TLS session: {error}")
        })?;
        let binding = binding(stream.get_ref().1).map_err(|error| error.to_string())?;
        let mut conversation = Conversation::new(stream);
        let hello = conversation.next().await.map_err(|error| error.to_string())?.ok_or("it said nothing")?;
        let ToWitness::Hello { protocol, proof } = hello else { return Err("it did not begin with hello".to_owned()) };
        if protocol != PROTOCOL {
            return Err(refuse(&mut conversation, &format!("this witness speaks {PROTOCOL}; use the same version of faultmap")).await);
        }
        let ours = match &self.options.auth {
            PeerAuth::Certificates { .. } => None,
            PeerAuth::Secret(secret) => {
                if !proof.is_some_and(|proof| secret.proves(Side::Check, &binding, &proof)) {
                    visitor.fail();
                    sleep(WRONG_AFTER).await;
                    return Err(refuse(&mut conversation, "the secret is not the same at both ends").await);
                }
                Some(secret.proof(Side::Witness, &binding))
            }
        };
        if !visitor.prove() {
            return Err(refuse(&mut conversation, "this witness serves as many checks as it can; try again").await);
        }
        let welcome = FromWitness::Welcome { protocol: PROTOCOL.to_owned(), proof: ours };
        conversation.say(&welcome).await.map_err(|error| error.to_string())?;
        Ok(conversation)
    }

    async fn talk(&self, conversation: &mut Conversation, asker: IpAddr, about: &RefCell<Vec<SocketAddr>>) -> io::Result<()> {
        let mut windows: Vec<Window> = Vec::new();
        let mut look_at = Instant::now() + LOOK_EVERY;
        loop {
            let words = tokio::select! {
                words = conversation.next() => words?,
                () = sleep_until(look_at), if !windows.is_empty() => {
                    windows.iter_mut().for_each(Window::look);
                    look_at = Instant::now() + LOOK_EVERY;
                    continue;
                }
            };
            let answer = match words {
                None | Some(ToWitness::Hello { .. }) => return Ok(()),
                Some(ToWitness::Open { window, to, from, way_back }) => match self.open(&windows, window, to, from, asker) {
                    Err(why) => FromWitness::Refused { why },
                    Ok(from) => {
                        if !about.borrow().contains(&to) {
                            about.borrow_mut().push(to);
                        }
                        windows.push(Window::open(window, to, from, way_back));
                        FromWitness::Opened { window }
                    }
                },
                Some(ToWitness::Close { window }) => match windows.iter().position(|open| open.number() == window) {
                    None => FromWitness::Refused { why: "no such window is open".to_owned() },
                    Some(place) => {
                        let far = Box::new(windows.swap_remove(place).close().await);
                        FromWitness::Report { window, far }
                    }
                },
            };
            conversation.say(&answer).await?;
        }
    }

    /// Whether such a window may be opened, and whose packets it counts.
    fn open(&self, windows: &[Window], number: u32, to: SocketAddr, from: Vec<IpAddr>, asker: IpAddr) -> Result<Vec<IpAddr>, String> {
        if windows.len() >= MOST_WINDOWS || windows.iter().any(|open| open.number() == number) {
            return Err("too many windows are open".to_owned());
        }
        if from.len() > MOST_ADDRESSES {
            return Err("too many addresses".to_owned());
        }
        let to_ip = to.ip().to_canonical();
        if !self.options.also_for.contains(&to_ip) && !is_own(to_ip) {
            return Err(format!("{to_ip} is no address of this host; on a router or NAT start the witness with --for {to_ip}"));
        }
        let mut clients: Vec<IpAddr> = Vec::new();
        for ip in from.into_iter().chain([asker]).map(|ip| ip.to_canonical()) {
            let usable = ip.is_ipv4() == to_ip.is_ipv4() && !ip.is_multicast() && !ip.is_unspecified();
            if usable && !clients.contains(&ip) {
                clients.push(ip);
            }
        }
        Ok(clients)
    }
}

fn is_own(ip: IpAddr) -> bool {
    matches!(faultmap_host::route(ip, Role::Target).outcome, RouteOutcome::Found { local: true, .. })
}

/// Says no, and gives the reason back.
async fn refuse(conversation: &mut Conversation, why: &str) -> String {
    let _ = conversation.say(&FromWitness::Refused { why: why.to_owned() }).await;
    why.to_owned()
}
