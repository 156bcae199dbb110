//! A steady load of 30 requests a second, each on a connection of its own, and what came of it.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_micros(33_333);

/// How long it lasts at least: what happened amid it may be over sooner than a load says anything.
const LEAST: Duration = Duration::from_secs(4);

/// The load while it lasts.
pub struct Load {
    began: Instant,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Figures>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Figures {
    pub total: u32,
    pub failed: Vec<String>,
    pub longest: Duration,
}

impl Load {
    /// On this Superset: every fourth request is its login page, the others ask for its health.
    pub fn on(url: &str) -> Self {
        let (stop, url) = (CancellationToken::new(), url.to_owned());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut requests, mut figures) = (JoinSet::new(), Figures::default());
            let mut ticks = tokio::time::interval(EVERY);
            while !stopped.is_cancelled() {
                ticks.tick().await;
                let path = if figures.total.is_multiple_of(4) { "/login/" } else { "/health" };
                figures.total += 1;
                requests.spawn(request(format!("{url}{path}")));
                while let Some(done) = requests.try_join_next() {
                    figures.add(done.unwrap());
                }
            }
            while let Some(done) = requests.join_next().await {
                figures.add(done.unwrap());
            }
            figures
        });
        Self { began: Instant::now(), stop, task }
    }

    /// Ends it.
    pub async fn figures(self) -> Figures {
        tokio::time::sleep(LEAST.saturating_sub(self.began.elapsed())).await;
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

impl Figures {
    fn add(&mut self, (took, failed): (Duration, Option<String>)) {
        self.longest = self.longest.max(took);
        self.failed.extend(failed);
    }
}

async fn request(url: String) -> (Duration, Option<String>) {
    let began = Instant::now();
    let answer = super::http().get(url).timeout(Duration::from_secs(60)).send().await;
    let failed = match answer {
        Ok(answer) if answer.status().is_success() => answer.bytes().await.err().map(|error| error.to_string()),
        Ok(answer) => Some(answer.status().to_string()),
        Err(error) => Some(format!("{error:?}")),
    };
    (began.elapsed(), failed)
}

/// Fails where a request failed, and shows the longest.
pub fn assert_unharmed(what: &str, figures: &Figures) {
    println!("{what}: {} of {} failed, longest {:?}", figures.failed.len(), figures.total, figures.longest);
    assert!(figures.failed.is_empty(), "{what}: {figures:?}");
    assert!(figures.total > 60, "{what}: {figures:?}");
}
