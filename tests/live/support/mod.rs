//! What live tests share: services, faulty networks, an agent to look at, and patience with a limit.

pub mod agent;
pub mod http_proxy;
pub mod load;
pub mod person;
pub mod process;
pub mod program;
pub mod proxy;
pub mod server;
pub mod services;
pub mod tree;
pub mod wire;

use std::net::TcpListener;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// How long anything may take before a test fails: a rollout to three Supersets beside another test takes more than a minute.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// Asks again and again until there is an answer, and fails after [`PATIENCE`], naming `what`.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Free ports. They are held together while they are picked, so that no two are the same, and lie below those that the kernel
/// gives to clients, so that none is taken before its server starts.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [_; N] = std::array::from_fn(|_| {
        let mut tries = std::iter::repeat_with(|| TcpListener::bind(("127.0.0.1", rand::random_range(10_000..32_000))));
        tries.find_map(Result::ok).unwrap()
    });
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A free port.
pub fn free_port() -> u16 {
    free_ports::<1>()[0]
}

/// A client for calls whose connections nobody wants to keep.
pub fn http() -> reqwest::Client {
    // A pool would tie connections to the runtime of the test that opened them.
    static CLIENT: LazyLock<reqwest::Client> =
        LazyLock::new(|| reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build().unwrap());
    CLIENT.clone()
}
