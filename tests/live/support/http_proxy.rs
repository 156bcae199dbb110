//! A proxy in front of a real Superset that makes faults at chosen calls.
//!
//! Each connection carries one call: the proxy reads it whole, takes the first fault that is meant for it, and otherwise
//! forwards it and hands back every byte. A fault is chosen by the call's content, never by time.

use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to do with a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answer this in Superset's place, without asking it.
    Answer(&'static str),
    /// Let Superset carry it out, then close the connection without a byte of the answer.
    CutAfter,
    /// Close the connection without asking Superset.
    CutBefore,
    /// Let Superset carry it out, and hand the answer back this much later.
    Slow(Duration),
}

struct Rule {
    call: String,
    fault: Fault,
    times: usize,
}

/// The proxy.
pub struct Proxy {
    pub url: String,
    state: std::sync::Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    rules: Mutex<Vec<Rule>>,
    calls: Mutex<Vec<String>>,
}

impl Proxy {
    /// In front of the Superset at `url`.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let upstream = url.trim_start_matches("http://").to_owned();
        let state = std::sync::Arc::new(State::default());
        let shared = std::sync::Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, upstream.clone(), std::sync::Arc::clone(&shared)));
            }
        });
        Self { url: own, state, task }
    }

    /// The next `times` calls that begin with `call` (`POST /api/v1/database/`) meet this fault.
    pub fn fault(&self, call: &str, times: usize, fault: Fault) {
        self.state.rules.lock().unwrap().push(Rule { call: call.to_owned(), fault, times });
    }

    /// No fault is left.
    pub fn heal(&self) {
        self.state.rules.lock().unwrap().clear();
    }

    /// Every call that began with one of these, in order.
    pub fn calls(&self, beginnings: &[&str]) -> Vec<String> {
        let calls = self.state.calls.lock().unwrap();
        calls.iter().filter(|seen| beginnings.iter().any(|beginning| seen.starts_with(beginning))).cloned().collect()
    }

    /// Every write to a connection.
    pub fn writes(&self) -> Vec<String> {
        self.calls(&["POST /api/v1/database", "PUT /api/v1/database", "DELETE /api/v1/database"])
    }

    /// How many calls have begun with this, faults included.
    pub fn count(&self, call: &str) -> usize {
        self.state.calls.lock().unwrap().iter().filter(|seen| seen.starts_with(call)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn take(&self, line: &str) -> Option<Fault> {
        self.calls.lock().unwrap().push(line.to_owned());
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && line.starts_with(&rule.call))?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }
}

async fn carry(mut client: TcpStream, upstream: String, state: std::sync::Arc<State>) {
    let Some(request) = read_request(&mut client).await else { return };
    let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
    let fault = state.take(&line);
    let answer = match &fault {
        Some(Fault::Answer(answer)) => answer.replace('\n', "\r\n").into_bytes(),
        Some(Fault::CutBefore) => return,
        Some(Fault::CutAfter | Fault::Slow(_)) | None => ask(&upstream, &request).await,
    };
    match fault {
        Some(Fault::CutAfter) => return,
        Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
        _ => {}
    }
    let _ = client.write_all(&answer).await;
    let _ = client.shutdown().await;
}

/// The request, changed only in that it asks for the connection to be closed after the answer.
async fn read_request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let end = loop {
        if client.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    while request.len() < end + 4 + length {
        if client.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    request.splice(end..end, b"\r\nConnection: close".iter().copied());
    Some(request)
}

async fn ask(upstream: &str, request: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    if let Ok(mut server) = TcpStream::connect(upstream).await {
        let _ = server.write_all(request).await;
        let _ = server.read_to_end(&mut answer).await;
    }
    answer
}

/// A listener that accepts and never says a word: its address.
pub async fn silent() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((client, _)) = listener.accept().await {
            held.push(client);
        }
    });
    address
}
