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

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};
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

/// Free ports. None is given twice, since a server may start long after it got its own, and all lie below those that the kernel
/// gives to clients, so that none is taken before.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    std::array::from_fn(|_| {
        let mut given = GIVEN.lock().unwrap();
        let mut tries = std::iter::repeat_with(|| rand::random_range(10_000..32_000));
        tries
            .find(|port| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok() && given.insert(*port))
            .unwrap()
    })
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
