//! A network with faults: a TCP proxy that reads ZooKeeper's frames and cuts, drops, changes or delays by what they are.
//!
//! A fault is chosen by content (which reply, to which request), never by time. Without a rule everything passes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::wire::{Request, reply_xid, with_error};

/// What happens to one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// The connection ends before the client sees it, although the server has done what was asked.
    CutInstead,
    /// The connection ends right after.
    CutAfter,
    /// The client sees this error code in its place.
    Error(i32),
}

/// How the network is, apart from what happens to single replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Good,
    /// Nothing gets through either way, and nobody is told.
    Dead,
    /// What the client sends arrives, what the server sends does not.
    Mute,
    /// New connections end at once.
    Refusing,
    /// Each frame takes this long to the client.
    Slow(Duration),
}

type Rule = Box<dyn FnMut(&Request) -> Fate + Send>;

/// The proxy. Dropping it ends it.
pub struct Proxy {
    pub port: u16,
    network: watch::Sender<Network>,
    rule: Arc<Mutex<Rule>>,
    cut: watch::Sender<u64>,
    _end: DropGuard,
}

#[derive(Clone)]
struct Wiring {
    network: watch::Receiver<Network>,
    rule: Arc<Mutex<Rule>>,
    cut: watch::Receiver<u64>,
    end: CancellationToken,
}

impl Proxy {
    /// Stands between clients and the server at `port`.
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (network, network_rx) = watch::channel(Network::Good);
        let (cut, cut_rx) = watch::channel(0);
        let pass: Rule = Box::new(|_| Fate::Pass);
        let rule = Arc::new(Mutex::new(pass));
        let end = CancellationToken::new();
        let wiring = Wiring { network: network_rx, rule: rule.clone(), cut: cut_rx, end: end.clone() };
        tokio::spawn(end.clone().run_until_cancelled_owned(accept(listener, port, wiring)));
        Self { port: own, network, rule, cut, _end: end.drop_guard() }
    }

    /// How clients reach the server through it.
    pub fn connect(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Changes how the network is.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Ends every connection now.
    pub fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Decides the fate of each reply by its request.
    pub fn rule(&self, rule: impl FnMut(&Request) -> Fate + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// Gives the first reply that `chosen` picks this fate, and lets all others pass. The receiver says when it happened.
    pub fn once(&self, fate: Fate, mut chosen: impl FnMut(&Request) -> bool + Send + 'static) -> watch::Receiver<bool> {
        let (done, happened) = watch::channel(false);
        self.rule(move |request| {
            if !*done.borrow() && chosen(request) {
                done.send_replace(true);
                return fate;
            }
            Fate::Pass
        });
        happened
    }
}

async fn accept(listener: TcpListener, port: u16, wiring: Wiring) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if *wiring.network.borrow() == Network::Refusing {
            continue;
        }
        let wiring = wiring.clone();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            // Without it, each small frame would wait for an acknowledgement that is itself delayed.
            server.set_nodelay(true).unwrap();
            client.set_nodelay(true).unwrap();
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = server.into_split();
            let requests = Arc::new(Mutex::new(HashMap::new()));
            let mut cut = wiring.cut.clone();
            cut.mark_unchanged();
            tokio::select! {
                () = wiring.end.cancelled() => {}
                _ = cut.changed() => {}
                _ = requests_through(client_in, server_out, wiring.clone(), requests.clone()) => {}
                _ = replies_through(server_in, client_out, wiring.clone(), requests) => {}
            }
        });
    }
}

type Requests = Arc<Mutex<HashMap<i32, Request>>>;

async fn requests_through(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut wiring: Wiring,
    requests: Requests,
) -> std::io::Result<()> {
    let mut first = true;
    loop {
        let frame = frame(&mut from).await?;
        if !std::mem::take(&mut first) {
            let request = Request::parse(&frame);
            requests.lock().unwrap().extend(request.map(|request| (request.xid, request)));
        }
        passable(&mut wiring.network, |network| network != Network::Dead).await;
        send(&mut to, &frame).await?;
    }
}

async fn replies_through(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut wiring: Wiring,
    requests: Requests,
) -> std::io::Result<()> {
    let mut first = true;
    loop {
        let frame = frame(&mut from).await?;
        passable(&mut wiring.network, |network| !matches!(network, Network::Dead | Network::Mute)).await;
        let network = *wiring.network.borrow();
        if let Network::Slow(delay) = network {
            tokio::time::sleep(delay).await;
        }
        // The first is the answer to the connect request, which has no header.
        let xid = if std::mem::take(&mut first) { None } else { reply_xid(&frame) };
        let request = xid.and_then(|xid| requests.lock().unwrap().remove(&xid));
        let fate = request.map_or(Fate::Pass, |request| (wiring.rule.lock().unwrap())(&request));
        match fate {
            Fate::Pass => send(&mut to, &frame).await?,
            Fate::Error(code) => send(&mut to, &with_error(&frame, code)).await?,
            Fate::CutInstead => return Ok(()),
            Fate::CutAfter => return send(&mut to, &frame).await,
        }
    }
}

async fn passable(network: &mut watch::Receiver<Network>, passes: impl Fn(Network) -> bool) {
    // The proxy is gone when this fails, and its connections with it.
    let _ = network.wait_for(|network| passes(*network)).await;
}

async fn frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 4];
    from.read_exact(&mut len).await?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(len)).unwrap()];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn send(to: &mut OwnedWriteHalf, frame: &[u8]) -> std::io::Result<()> {
    let len = u32::try_from(frame.len()).unwrap().to_be_bytes();
    to.write_all(&[&len, frame].concat()).await
}
