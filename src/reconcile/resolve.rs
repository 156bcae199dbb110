//! The loop that resolves each new tree into what should be true.
//!
//! Reads the newest tree of the source; sends the newest [`Resolution`]. It owns the resolver, which remembers what it parsed, so that a
//! change costs in proportion to what changed (law 12), and the guard's inventory of what was accepted last (law 2).

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::desired::{Resolution, Resolver};
use crate::model::snapshot::Tree;

/// The loop and what it needs.
pub struct ResolveLoop {
    /// What the source publishes.
    pub tree: watch::Receiver<Option<Tree>>,
    /// Turns a tree into what should be true.
    pub resolver: Resolver,
    /// What should be true.
    pub resolution: watch::Sender<Option<Arc<Resolution>>>,
}

impl ResolveLoop {
    /// Runs until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = self.tree.changed() => if changed.is_err() { return },
            }
            let Some(tree) = self.tree.borrow_and_update().clone() else { continue };
            let resolution = self.resolver.resolve(&tree.key, &tree.snapshot);
            let before = self.resolution.borrow().as_ref().map(|before| before.problems().to_vec());
            for problem in resolution.problems() {
                if before.as_ref().is_none_or(|before| !before.contains(problem)) {
                    warn!(znode = problem.znode, line = problem.line, field = problem.field, "{}", problem.message);
                }
            }
            self.resolution.send_replace(Some(Arc::new(resolution)));
        }
    }
}
